//! Bars: what a delta takes in memory and to apply, and where its bytes go.

use std::fmt::Write;

use super::{class, escaped, figure};
use crate::kinds::Kind;
use crate::report::{Figures, PairReport, Report};
use crate::table::{megabytes, multiple};

/// A chart of bars: title, caption, the value of a tool, and the value as text.
struct Chart {
    title: &'static str,
    caption: &'static str,
    value: fn(&Figures) -> Option<f64>,
    text: fn(f64) -> String,
}

const CHARTS: [Chart; 4] = [
    Chart {
        title: "Peak memory to make it",
        caption: "MB",
        value: |figures| Some(figures.make.peak as f64 / 1e6),
        text: |value| format!("{value:.0}"),
    },
    Chart {
        title: "Peak memory to apply it",
        caption: "MB",
        value: |figures| figures.apply.map(|cost| cost.peak as f64 / 1e6),
        text: |value| format!("{value:.0}"),
    },
    Chart {
        title: "CPU to apply it",
        caption: "Multiples of sha256sum of the result",
        value: |figures| figures.apply.map(|cost| cost.cpu),
        text: multiple,
    },
    Chart {
        title: "Time to apply it",
        caption: "Multiples of sha256sum of the result, by the clock",
        value: |figures| figures.apply.and_then(|cost| cost.wall),
        text: multiple,
    },
];

/// The charts of a pair.
pub(super) fn charts(report: &Report, pair: &PairReport) -> String {
    CHARTS.iter().map(|chart| chart.draw(report, pair)).collect()
}

impl Chart {
    fn draw(&self, report: &Report, pair: &PairReport) -> String {
        let values: Vec<(&str, f64)> =
            pair.done().filter_map(|(tool, figures)| Some((tool, (self.value)(figures)?))).collect();
        if values.is_empty() {
            return String::new();
        }
        let most = values.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
        let mut rows = String::from("<div class=\"bars\">\n");
        for (tool, value) in values {
            let _ = writeln!(
                rows,
                "<span>{}</span><span class=\"track\"><i class=\"{}\" style=\"width:{:.2}%\"></i></span><span>{}</span>",
                escaped(tool),
                class(report.group(tool)),
                100.0 * value / most,
                (self.text)(value),
            );
        }
        figure(self.title, self.caption, &(rows + "</div>\n"))
    }
}

/// Draws the shares of each tar-diff delta by kind of file: empty if there is none.
pub(super) fn kinds(pair: &PairReport) -> String {
    let deltas: Vec<(&str, &Figures)> =
        pair.done().filter(|(_, figures)| !figures.kinds.is_empty()).collect();
    let most = deltas.iter().map(|(_, figures)| figures.delta_size).max().unwrap_or(0).max(1) as f64;
    let mut rows = String::new();
    for (tool, figures) in &deltas {
        let mut left = 0.0;
        let mut parts = String::new();
        for share in &figures.kinds {
            let width = 1000.0 * share.delta_size as f64 / most;
            let _ = write!(
                parts,
                "<rect class=\"{}\" x=\"{left:.2}\" width=\"{width:.2}\" height=\"20\"><title>{}: {} MB</title></rect>",
                kind_class(share.kind),
                share.kind.name(),
                megabytes(share.delta_size),
            );
            left += width;
        }
        let _ = writeln!(
            rows,
            "<span>{}</span><svg class=\"track\" viewBox=\"0 0 1000 20\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"Bytes by kind\">{parts}</svg><span>{} MB</span>",
            escaped(tool),
            megabytes(figures.delta_size)
        );
    }
    if rows.is_empty() { rows } else { format!("<div class=\"bars\">\n{rows}</div>\n{}", legend(&deltas)) }
}

/// The kinds with their colour and, for each delta, their share in MB.
fn legend(deltas: &[(&str, &Figures)]) -> String {
    let mut table = String::from("<div class=\"wide\"><table class=\"kinds\">\n<thead><tr><th>kind</th>");
    for (tool, _) in deltas {
        let _ = write!(table, "<th>{}</th>", escaped(tool.strip_prefix("tar-diff ").unwrap_or(tool)));
    }
    table.push_str("<th>layer</th></tr></thead>\n<tbody>\n");
    for kind in Kind::ALL {
        let of = |figures: &'_ Figures| figures.kinds.iter().find(|share| share.kind == kind).cloned();
        let shares: Vec<_> = deltas.iter().map(|(_, figures)| of(figures)).collect();
        let Some(first) = shares.iter().flatten().next() else { continue };
        let _ = write!(table, "<tr><td><i class=\"key {}\"></i>{}</td>", kind_class(kind), kind.name());
        for share in &shares {
            let size = share.as_ref().map_or(0, |share| share.delta_size);
            let _ = write!(table, "<td>{}</td>", megabytes(size));
        }
        let in_layer = if kind == Kind::Ops { "-".to_owned() } else { megabytes(first.new_size) };
        let _ = writeln!(table, "<td>{in_layer}</td></tr>");
    }
    table + "</tbody>\n</table></div>\n<p class=\"note\">MB; layer: the new one, unpacked</p>\n"
}

fn kind_class(kind: Kind) -> &'static str {
    match kind {
        Kind::Elf => "elf",
        Kind::Gzip => "gz",
        Kind::Xz => "xz",
        Kind::Zip => "zip",
        Kind::Text => "text",
        Kind::Other => "other",
        Kind::Headers => "headers",
        Kind::Ops => "ops",
    }
}
