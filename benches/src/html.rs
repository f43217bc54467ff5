//! The results as one page that needs nothing else: no script, no font, no image.

mod bars;
mod labels;
mod scatter;

use std::fmt::Write;

use crate::report::{Group, Outcome, PairReport, Report};
use crate::table;

const STYLE: &str = include_str!("html/style.css");

/// The page.
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>What layer deltas cost</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>What layer deltas cost</h1>\n{}",
        introduction(report)
    );
    page.push_str(&means(report));
    for pair in &report.pairs {
        page.push_str(&section(report, pair));
    }
    page.push_str(&commands(report));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn introduction(report: &Report) -> String {
    format!(
        "<p class=\"lead\">Each tool made a delta from an old to a new layer, applied it, and the result \
         was compared with the new layer by its digest. Sizes are exact. Times are multiples, so that \
         machines can be compared: making a delta is compared with <code>gzip -6</code> of the new layer, \
         applying it with <code>sha256sum</code> of the result, both measured in the same run.</p>\n\
         <p class=\"note\">{}</p>\n",
        escaped(&report.machine)
    )
}

fn means(report: &Report) -> String {
    if report.means.is_empty() {
        return String::new();
    }
    let text = table::means_heading(report).replace("**", "");
    let head = ["tool", "pairs", "size", "CPU", "wall", "peak memory"];
    let (head, rows) = (head.map(str::to_owned).to_vec(), table::mean_rows(report));
    format!(
        "<section>\n<h2>All pairs</h2>\n<p>{}</p>\n{}</section>\n",
        escaped(&text),
        grid(report, &head, &rows[1..])
    )
}

fn section(report: &Report, pair: &PairReport) -> String {
    let mut section = String::new();
    let name = escaped(&pair.name);
    let _ = write!(
        section,
        "<section data-pair=\"{name}\">\n<h2>{name}</h2>\n<p>New layer: {} MB as gzip, {} MB unpacked.</p>\n\
         <div class=\"charts\">\n",
        table::megabytes(pair.layer_size),
        table::megabytes(pair.new_size)
    );
    section.push_str(&figure(
        "Size and CPU of a delta",
        "Lower and further left is better. The line joins the tools that no other beats in both.",
        &(scatter::chart(report, pair) + &groups(report)),
    ));
    section.push_str(&kinds(pair));
    section.push_str(&bars::charts(report, pair));
    section.push_str("</div>\n");
    section.push_str(&failures(pair));
    let rows = table::rows(pair);
    section.push_str(&grid(report, &rows[0], &rows[1..]));
    section.push_str("</section>\n");
    section
}

fn kinds(pair: &PairReport) -> String {
    let chart = bars::kinds(pair);
    if chart.is_empty() {
        return String::new();
    }
    figure("Where the bytes of a delta go", "By the kind of file that they make.", &chart)
}

fn figure(title: &str, caption: &str, chart: &str) -> String {
    format!("<figure>\n<figcaption><b>{title}</b><span>{caption}</span></figcaption>\n{chart}</figure>\n")
}

/// The legend of the marks.
fn groups(report: &Report) -> String {
    let mut legend = String::from("<ul class=\"legend\">");
    for group in [Group::Ours, Group::TarDiff, Group::WholeFile] {
        if report.tools.iter().any(|tool| tool.group == group) {
            let _ = write!(
                legend,
                "<li><svg viewBox=\"-7 -7 14 14\" class=\"{}\" aria-hidden=\"true\">{}</svg>{}</li>",
                class(group),
                scatter::mark(group),
                match group {
                    Group::Ours => "this project",
                    Group::TarDiff => "other tar-diff",
                    Group::WholeFile => "whole tars as two files",
                }
            );
        }
    }
    legend + "</ul>\n"
}

fn failures(pair: &PairReport) -> String {
    let mut list = String::new();
    for run in &pair.runs {
        if let Outcome::Failed(reason) = &run.outcome {
            let tool = escaped(&run.tool);
            let _ = writeln!(
                list,
                "<li class=\"mark\" data-tool=\"{tool}\"><b>{tool}</b> failed: {}</li>",
                escaped(reason)
            );
        }
    }
    if list.is_empty() { list } else { format!("<ul class=\"failures\">\n{list}</ul>\n") }
}

/// A table; the first column is a tool, and a row that ends early says why.
fn grid(report: &Report, head: &[String], rows: &[Vec<String>]) -> String {
    let mut text = String::from("<div class=\"wide\"><table>\n<thead><tr>");
    for cell in head {
        let _ = write!(text, "<th>{}</th>", escaped(cell));
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        let _ = write!(text, "<tr class=\"{}\">", class(report.group(&row[0])));
        let given = row.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1);
        for (column, cell) in row[..given].iter().enumerate() {
            let span = if column + 1 == given { head.len() - column } else { 1 };
            let span = if span > 1 { format!(" colspan=\"{span}\"") } else { String::new() };
            let _ = write!(text, "<td{span}>{}</td>", escaped(cell));
        }
        text.push_str("</tr>\n");
    }
    text + "</tbody>\n</table></div>\n"
}

fn commands(report: &Report) -> String {
    let mut section = String::from("<section>\n<h2>How each tool was called</h2>\n<dl>\n");
    for tool in &report.tools {
        let _ = writeln!(
            section,
            "<dt>{}</dt><dd><code>{}</code></dd>",
            escaped(&tool.name),
            escaped(&tool.command)
        );
    }
    section + "</dl>\n</section>\n"
}

fn class(group: Group) -> &'static str {
    match group {
        Group::Ours => "ours",
        Group::TarDiff => "tar-diff",
        Group::WholeFile => "whole-file",
    }
}

/// Text for HTML and for attributes in double quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn names_cannot_break_the_page() {
        let mut report = example();
        report.pairs[0].name = "<script>\"&".into();
        let page = page(&report);
        assert!(page.contains("data-pair=\"&lt;script&gt;&quot;&amp;\""));
        assert!(!page.contains("<script"));
        for loaded in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(loaded), "{loaded}");
        }
    }
}
