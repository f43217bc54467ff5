//! A remark about one file, in a line.

use std::fmt::Write as _;

use crate::{FileCost, Finding, Reason};

impl FileCost {
    /// Returns the facts beyond the reason, in a line: how much of the file the delta carries, where the
    /// rest comes from, what a look inside showed. Empty if there is nothing to say.
    pub fn note(&self) -> String {
        let mut parts = Vec::new();
        let made = &self.made;
        let source = made.sources.first();
        if let Some(source) = source {
            if self.reason.is_change() {
                let percent = 100.0 * made.carried() as f64 / made.size().max(1) as f64;
                let seen = if made.encoded > 0 { " of what it holds" } else { "" };
                let mut part = format!("{percent:.1}%{seen} carried or changed, {} ops", made.ops);
                if made.sources.len() > 1 || made.has_more_sources {
                    part.push_str(", several sources");
                }
                parts.push(part);
            }
            // Paths of tars start with `./` as they like.
            if source.path != self.path.trim_start_matches("./").trim_start_matches('/') {
                parts.push(format!("from {}", source.path));
            }
        }
        if let (Some(old), None) = (&self.old, source) {
            parts.push(format!("the old file has {} bytes, this one {}", old.size, self.size));
        }
        parts.extend(self.finding.map(|finding| self.finding_note(finding)));
        if self.reason == Reason::Headers {
            let mut part = String::new();
            // A String takes everything.
            let _ = write!(part, "{} bytes before compression", made.data + made.listed);
            parts.push(part);
        }
        parts.join("; ")
    }

    fn finding_note(&self, finding: Finding) -> String {
        match finding {
            Finding::SameContent { header_only: true } => {
                "holds the same as before: only the gzip header (time, name) differs".to_owned()
            }
            Finding::SameContent { header_only: false } => {
                "holds the same as before, compressed otherwise".to_owned()
            }
            Finding::SameMembers { members } => {
                format!("all {members} members are the same as before (names, sizes, CRC-32)")
            }
            Finding::Unpacked { estimate, members, .. } => {
                let mut note = String::new();
                if let Some((changed, all)) = members {
                    // A String takes everything.
                    let _ = write!(note, "{changed} of {all} members changed, ");
                }
                let _ = write!(note, "about {estimate} bytes if stored without compression");
                note
            }
        }
    }
}
