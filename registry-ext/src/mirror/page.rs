//! The page that says what the mirror saved: one file without scripts, for people on the host.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use delta_format::escape;

use super::history::{Outcome, Pull, PulledLayer};
use super::prefetch::{FollowedTag, Stage};

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1b1f24;--back:#fff;--soft:#59636e;--line:#d8dee4;--card:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--text:#e6edf3;--back:#0f1419;--soft:#9198a1;--line:#30363d;--card:#161b22}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:64rem;padding:1rem;font:16px/1.45 system-ui,sans-serif;color:var(--text);background:var(--back)}
h1{font-size:1.35rem;margin:.5rem 0}h2{font-size:1.1rem;margin:1.5rem 0 .25rem}h2,p,td{overflow-wrap:anywhere}
p{color:var(--soft);margin:.25rem 0}
dl{display:flex;flex-wrap:wrap;gap:.75rem;margin:1rem 0}
dl div{flex:1 1 9rem;background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem}
dt{color:var(--soft);font-size:.875rem}dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%}
th{text-align:left;color:var(--soft);font-weight:500;font-size:.875rem}
td,th{padding:.3rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
@media(max-width:34rem){td,th{padding:.3rem .25rem}}
";

/// The figures at the top of the page, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    /// Bytes that registries sent.
    pub(super) fetched: u64,
    /// Bytes that they did not have to send.
    pub(super) saved: u64,
    /// Bytes of the cache.
    pub(super) cache: u64,
    /// Most bytes of the cache.
    pub(super) max_cache: u64,
}

/// The page: the figures, the tags that are prefetched, and the last pulls.
pub(super) fn page(totals: Totals, followed: &[FollowedTag], pulls: &[Pull], now: SystemTime) -> String {
    let mut page = String::new();
    match write_page(&mut page, totals, followed, pulls, now) {
        Ok(()) => page,
        Err(fmt::Error) => String::new(),
    }
}

fn write_page(
    out: &mut String,
    totals: Totals,
    followed: &[FollowedTag],
    pulls: &[Pull],
    now: SystemTime,
) -> fmt::Result {
    writeln!(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">")?;
    writeln!(out, "<title>registry-ext mirror</title>\n<style>\n{STYLE}</style>")?;
    writeln!(out, "<h1>registry-ext mirror</h1>\n<dl>")?;
    let Totals { fetched, saved, cache, max_cache } = totals;
    let share = 100.0 * saved as f64 / (saved + fetched).max(1) as f64;
    figure(out, "saved by deltas", format_args!("{} ({share:.0}%)", Bytes(saved)))?;
    figure(out, "sent by registries", format_args!("{}", Bytes(fetched)))?;
    figure(out, "cache", format_args!("{} of {}", Bytes(cache), Bytes(max_cache)))?;
    writeln!(out, "</dl>")?;
    if !followed.is_empty() {
        writeln!(out, "<h2>Prefetched</h2>\n<table>\n<tr><th>tag<th>state<th class=\"n\">since</tr>")?;
        followed.iter().try_for_each(|tag| tag_row(out, tag, now))?;
        writeln!(out, "</table>")?;
    }
    if pulls.is_empty() {
        writeln!(out, "<p>No layer was asked for yet.</p>")?;
    }
    for pull in pulls {
        let (size, fetched) = pull.sizes();
        let age = now.duration_since(pull.time).unwrap_or_default();
        writeln!(out, "<h2>{}</h2>", Text(&pull.repository))?;
        let (size, fetched, age) = (Bytes(size), Bytes(fetched), Age(age));
        writeln!(out, "<p>{} · {age} ago · {fetched} fetched of {size}</p>", pull.manifest)?;
        writeln!(out, "<table>\n<tr><th>layer<th class=\"n\">size<th class=\"n\">fetched<th>way</tr>")?;
        pull.layers.iter().try_for_each(|layer| row(out, layer))?;
        writeln!(out, "</table>")?;
    }
    writeln!(out, "</html>")
}

fn figure(out: &mut String, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")
}

fn tag_row(out: &mut String, tag: &FollowedTag, now: SystemTime) -> fmt::Result {
    write!(out, "<tr><td>{}<td>", Text(&tag.name))?;
    match &tag.stage {
        Stage::Waiting => write!(out, "waiting")?,
        Stage::Fetching(done, total) => write!(out, "fetching, {done} of {total} layers are here")?,
        Stage::Complete(digest) => write!(out, "here: {digest}")?,
        Stage::Vanished => write!(out, "the registry has no such tag any more")?,
        Stage::Failed(reason) => write!(out, "failed: {}", Text(reason))?,
    }
    let age = Age(now.duration_since(tag.time).unwrap_or_default());
    writeln!(out, "<td class=\"n\">{age}</tr>")
}

fn row(out: &mut String, layer: &PulledLayer) -> fmt::Result {
    let digest = layer.digest.to_string();
    let name = digest.get("sha256:".len().."sha256:".len() + 12).unwrap_or(&digest);
    let (size, fetched) = (Bytes(layer.size), Bytes(layer.fetched));
    write!(out, "<tr><td>{name}<td class=\"n\">{size}<td class=\"n\">{fetched}<td>")?;
    match &layer.outcome {
        Outcome::Rebuilt => write!(out, "made of a delta")?,
        Outcome::Fetched(reason) => write!(out, "fetched: {}", Text(reason))?,
    }
    writeln!(out, "</tr>")
}

/// Text from outside.
struct Text<'t>(&'t str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in escape(self.0).to_string().chars() {
            match letter {
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '&' => out.write_str("&amp;")?,
                '"' => out.write_str("&quot;")?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A number of bytes for people.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            size @ 0..1_000 => write!(out, "{size} B"),
            size @ 1_000..1_000_000 => write!(out, "{:.1} kB", size as f64 / 1e3),
            size @ 1_000_000..1_000_000_000 => write!(out, "{:.1} MB", size as f64 / 1e6),
            size => write!(out, "{:.1} GB", size as f64 / 1e9),
        }
    }
}

/// A time for people.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 0..120 => write!(out, "{seconds} s"),
            seconds @ 120..7200 => write!(out, "{} min", seconds / 60),
            seconds @ 7200..172_800 => write!(out, "{} h", seconds / 3600),
            seconds => write!(out, "{} days", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use layer::{BlobDigest, Digest};

    use super::*;

    #[test]
    fn the_page_says_what_was_saved_and_escapes_what_came_from_outside() {
        let layer = |outcome| PulledLayer {
            digest: BlobDigest(Digest::of(b"layer")),
            size: 7_300_000,
            fetched: 75_000,
            outcome,
        };
        let evil = "<script>alert(1)</script>\u{202e}&";
        let pull = Pull {
            repository: "h.io/a".into(),
            manifest: Digest::of(b"manifest"),
            time: SystemTime::UNIX_EPOCH,
            layers: vec![layer(Outcome::Rebuilt), layer(Outcome::Fetched(evil.into()))],
        };
        let totals = Totals { fetched: 25, saved: 75, cache: 2_000_000_000, max_cache: 10_000_000_000 };
        let tag = |stage| FollowedTag { name: "h.io/<b>:v1".into(), stage, time: SystemTime::UNIX_EPOCH };
        let followed = [tag(Stage::Fetching(1, 4)), tag(Stage::Vanished), tag(Stage::Failed(evil.into()))];
        let page = page(totals, &followed, &[pull], SystemTime::UNIX_EPOCH + Duration::from_secs(300));
        for part in [
            "75 B (75%)",
            "2.0 GB of 10.0 GB",
            "5 min ago",
            "150.0 kB fetched of 14.6 MB",
            "made of a delta",
            "h.io/&lt;b&gt;:v1",
            "1 of 4 layers",
            "no such tag",
            "failed: &lt;script",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(page.contains("fetched: &lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}&amp;"), "{page}");
        assert!(!page.contains("<script"));
    }
}
