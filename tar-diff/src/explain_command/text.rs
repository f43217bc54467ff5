//! Tables for people.

use std::fmt::{self, Write as _};

use tar_diff::explain::{Explanation, Group};

/// Directories that are shown.
const MAX_DIRECTORIES: usize = 10;
/// Characters of a path or note that are shown.
const MAX_LINE: usize = 300;

/// The explanation with the `top` costliest files; `name` names the layer. Sizes are in bytes.
pub(super) fn text(explanation: &Explanation, name: &str, top: usize) -> Result<String, fmt::Error> {
    let mut out = String::new();
    let Explanation { version, delta_size, blob_size, frame_size, .. } = *explanation;
    let share = percent(delta_size, blob_size);
    writeln!(out, "{version}: {delta_size} bytes, {share:.2}% of the {blob_size} bytes of {name}")?;
    writeln!(
        out,
        "costs are bytes of the delta; with {frame_size} bytes of framing they add up to its size"
    )?;
    groups(&mut out, "reason", &explanation.reasons, delta_size)?;
    groups(&mut out, "kind of file", &explanation.kinds, delta_size)?;
    let directories = &explanation.directories;
    groups(&mut out, "directory", &directories[..directories.len().min(MAX_DIRECTORIES)], delta_size)?;

    writeln!(out, "\n{:>10} {:>6} {:>10}  {:<18}  file", "cost", "share", "size", "reason")?;
    for file in explanation.costliest(top) {
        let share = 100.0 * file.share;
        let (cost, size, reason) = (file.cost.total, file.size, file.reason.name());
        writeln!(out, "{cost:>10} {share:>5.1}% {size:>10}  {reason:<18}  {}", short(&file.path))?;
        let note = file.note();
        if !note.is_empty() {
            writeln!(out, "{:>28}  {:<18}  {}: {}", "", "", file.kind, short(&note))?;
        }
    }
    if !explanation.has_old {
        writeln!(out, "\nGive the old layers too, and it says more.")?;
    } else if !explanation.hints.is_empty() {
        writeln!(out, "\nwhat would make it smaller:")?;
        for hint in &explanation.hints {
            writeln!(out, "- {hint}")?;
        }
    }
    Ok(out)
}

fn groups(out: &mut String, title: &str, groups: &[Group], delta_size: u64) -> fmt::Result {
    writeln!(out, "\n{:>10} {:>6} {:>8} {:>8} {:>12}  {title}", "cost", "share", "changed", "files", "size")?;
    for group in groups.iter().filter(|group| group.cost > 0) {
        let Group { name, files, changed, size, cost, .. } = group;
        let share = percent(*cost, delta_size);
        writeln!(out, "{cost:>10} {share:>5.1}% {changed:>8} {files:>8} {size:>12}  {}", short(name))?;
    }
    Ok(())
}

fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

/// The text, or its end if it is long: of a path the end says most.
fn short(text: &str) -> String {
    let count = text.chars().count();
    if count <= MAX_LINE {
        return text.to_owned();
    }
    format!("...{}", text.chars().skip(count - MAX_LINE).collect::<String>())
}
