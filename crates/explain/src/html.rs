//! The explanation as a page.
//!
//! One file: its style is inside, and there is no script. Everything that comes from a delta, a
//! layer or the command line goes through [`Text`].

use std::fmt::{self, Write};

use delta_format::escape;

use crate::{Explanation, FileCost, Group};

/// Groups of one kind that are shown.
const MAX_BARS: usize = 15;

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1b1f24;--back:#fff;--soft:#59636e;--line:#d8dee4;--bar:#2f6fbb;--card:#f6f8fa}
@media(prefers-color-scheme:dark){:root{--text:#e6edf3;--back:#0f1419;--soft:#9198a1;--line:#30363d;--bar:#58a6ff;--card:#161b22}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:64rem;padding:1rem;font:16px/1.45 system-ui,sans-serif;color:var(--text);background:var(--back)}
h1{font-size:1.35rem;margin:.5rem 0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p,.soft{color:var(--soft)}.soft{font-size:.875rem}
dl{display:flex;flex-wrap:wrap;gap:.75rem;margin:1rem 0}
dl div{flex:1 1 9rem;background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.5rem .75rem}
dt{color:var(--soft);font-size:.875rem}dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}
ul{padding-left:1.2rem}li{margin:.4rem 0}
.bars{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr max-content;gap:.3rem .75rem;align-items:center}
.bars span{overflow-wrap:anywhere}.bars .n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:1rem;display:block}rect.v{fill:var(--bar)}rect.t{fill:var(--line)}
table{border-collapse:collapse;width:100%}
th{text-align:left;color:var(--soft);font-weight:500;font-size:.875rem}
td,th{padding:.4rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.f{overflow-wrap:anywhere}
.why{display:inline-block;border:1px solid var(--line);border-radius:1rem;padding:0 .5rem;font-size:.8125rem;white-space:nowrap}
@media(max-width:34rem){td,th{padding:.35rem .25rem}.wide{display:none}}
";

/// The page.
pub(crate) fn page(explanation: &Explanation, title: &str, top: usize) -> String {
    let mut page = String::new();
    write_page(&mut page, explanation, title, top).expect("a String takes everything");
    page
}

fn write_page(out: &mut String, explanation: &Explanation, title: &str, top: usize) -> fmt::Result {
    let title = Text(title);
    writeln!(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">")?;
    writeln!(out, "<title>{title}: what the delta costs</title>\n<style>\n{STYLE}</style>")?;
    writeln!(out, "<h1>{title}</h1>")?;
    let Explanation { delta_size, new_blob_size, new_size, frame_size, version, .. } = *explanation;
    write!(out, "<p>A {version} delta that makes <b>{}</b>", Text(&explanation.new))?;
    if !explanation.old.is_empty() {
        write!(out, " of the files of <b>{}</b>", Text(&explanation.old.join(", ")))?;
    }
    writeln!(out, ".</p>")?;
    writeln!(out, "<dl>")?;
    let share = 100.0 * delta_size as f64 / new_blob_size.max(1) as f64;
    figure(out, "delta", format_args!("{}", Bytes(delta_size)))?;
    figure(out, "format", format_args!("{version}"))?;
    figure(out, "of the layer as given", format_args!("{share:.2}%"))?;
    figure(out, "layer, uncompressed", format_args!("{}", Bytes(new_size)))?;
    let changed = explanation.files.iter().filter(|file| file.reason.is_change()).count();
    figure(out, "files changed", format_args!("{changed} of {}", explanation.files.len()))?;
    writeln!(out, "</dl>")?;
    hints(out, explanation)?;
    bars(out, "By kind of file", &explanation.kinds, delta_size)?;
    bars(out, "By reason", &explanation.reasons, delta_size)?;
    bars(out, "By directory", &explanation.directories, delta_size)?;
    files(out, explanation, top)?;
    writeln!(
        out,
        "<p class=\"soft\">A whole bar is the whole delta. Costs are bytes of the delta as it is stored and sent. With {frame_size} bytes of \
         framing they add up to its size, {delta_size} bytes. Content that occurs twice is paid for where it \
         occurs first.</p>\n</html>"
    )
}

fn figure(out: &mut String, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>")
}

fn hints(out: &mut String, explanation: &Explanation) -> fmt::Result {
    if explanation.hints.is_empty() {
        return Ok(());
    }
    writeln!(out, "<h2>What would make it smaller</h2>\n<ul>")?;
    for hint in &explanation.hints {
        writeln!(out, "<li>{}</li>", Text(&hint.to_string()))?;
    }
    writeln!(out, "</ul>")
}

fn bars(out: &mut String, title: &str, groups: &[Group], delta_size: u64) -> fmt::Result {
    writeln!(out, "<h2>{title}</h2>\n<div class=\"bars\">")?;
    for group in groups.iter().filter(|group| group.cost > 0).take(MAX_BARS) {
        // One scale for all bars of the page: a whole bar is the whole delta.
        let share = 100.0 * group.cost as f64 / delta_size.max(1) as f64;
        write!(out, "<span>{}</span>", Text(&group.name))?;
        write!(
            out,
            "<svg role=\"img\" aria-label=\"{share:.1}%\"><title>{} bytes, {} files, {} changed</title>\
             <rect class=\"t\" width=\"100%\" height=\"100%\" rx=\"3\" opacity=\".5\"/>\
             <rect class=\"v\" width=\"{share:.2}%\" height=\"100%\" rx=\"3\"/></svg>",
            group.cost, group.files, group.changed
        )?;
        writeln!(
            out,
            "<span class=\"n\">{} <span class=\"soft\">{share:.1}%</span></span>",
            Bytes(group.cost)
        )?;
    }
    writeln!(out, "</div>")?;
    if groups.len() > MAX_BARS {
        writeln!(out, "<p class=\"soft\">and {} more</p>", groups.len() - MAX_BARS)?;
    }
    Ok(())
}

fn files(out: &mut String, explanation: &Explanation, top: usize) -> fmt::Result {
    writeln!(out, "<h2>The files that cost most</h2>\n<table>")?;
    writeln!(
        out,
        "<tr><th class=\"n\">cost</th><th class=\"n\">share</th><th class=\"n wide\">size</th><th>file</th></tr>"
    )?;
    for file in explanation.costliest(top) {
        row(out, file)?;
    }
    writeln!(out, "</table>")
}

fn row(out: &mut String, file: &FileCost) -> fmt::Result {
    let cost = file.cost;
    write!(
        out,
        "<tr><td class=\"n\" title=\"{} bytes: {} data, {} differences, {} frames, {} prediction, {} streams, {} lists of \
         headers, {} ops\">{}</td>\
         <td class=\"n\">{:.1}%</td><td class=\"n wide\">{}</td><td class=\"f\">{}",
        cost.total,
        cost.data,
        cost.add,
        cost.frames,
        cost.relocated,
        cost.streams,
        cost.headers,
        cost.ops,
        Bytes(cost.total),
        100.0 * file.share,
        Bytes(file.size),
        Text(&file.path)
    )?;
    write!(out, "<br><span class=\"why\" title=\"{}\">{}</span>", file.reason.meaning(), file.reason)?;
    writeln!(out, " <span class=\"soft\">{}; {}</span></td></tr>", file.kind, Text(&file.note()))
}

/// Text with all that means something in HTML escaped, and what would turn or hide the text around it
/// shown as a number.
struct Text<'t>(&'t str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in escape(self.0).to_string().chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// A size that a person reads: three digits or more, and a unit.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut size = self.0 as f64;
        if size < 1000.0 {
            return write!(out, "{} B", self.0);
        }
        let mut unit = "kB";
        for larger in ["MB", "GB", "TB"] {
            if size < 999_950.0 {
                break;
            }
            size /= 1000.0;
            unit = larger;
        }
        write!(out, "{:.1} {unit}", size / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_markup() {
        let name = "<script>alert(\"1\")</script>&'\u{202e}\n";
        let shown = Text(name).to_string();
        assert_eq!(shown, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;\\u{202e}\\n");
    }

    #[test]
    fn sizes_are_short() {
        for (size, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (2_500_000_000, "2.5 GB"),
        ] {
            assert_eq!(Bytes(size).to_string(), shown);
        }
    }
}
