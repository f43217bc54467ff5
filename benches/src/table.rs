//! The results as text: aligned columns that are Markdown as well.

use std::fmt::Write;

use crate::report::{Cost, Figures, Outcome, PairReport, Report};

/// One table for each pair and one of means.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    for pair in &report.pairs {
        let _ = writeln!(text, "{}\n\n{}", heading(pair), aligned(&rows(pair)));
    }
    if !report.means.is_empty() {
        let _ = writeln!(text, "{}\n\n{}", means_heading(report), aligned(&mean_rows(report)));
    }
    text
}

/// Describes a pair in a line.
pub fn heading(pair: &PairReport) -> String {
    format!(
        "**{}**: new layer {} MB as gzip, {} MB unpacked. `gzip -6` of it takes {:.2} s of CPU, `sha256sum` {:.2} s.",
        pair.name,
        megabytes(pair.layer_size),
        megabytes(pair.new_size),
        pair.yardstick.gzip_cpu,
        pair.yardstick.sha256_cpu,
    )
}

/// Describes the means in a line.
pub fn means_heading(report: &Report) -> String {
    match &report.baseline {
        Some(name) => format!("Geometric means over the pairs, as ratios to **{name}**:"),
        None => "Geometric means over the pairs, as ratios to the new layer as gzip (memory: in MB):".into(),
    }
}

pub(crate) fn rows(pair: &PairReport) -> Vec<Vec<String>> {
    let head = ["tool", "delta MB", "% of layer", "CPU", "wall", "peak MB", "apply CPU", "wall", "peak MB"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for run in &pair.runs {
        let mut row = vec![run.tool.clone()];
        match &run.outcome {
            Outcome::Done(figures) => row.extend(cells(figures, pair)),
            Outcome::Failed(reason) => row.push(format!("failed: {}", reason.replace('|', "/"))),
        }
        row.resize(head.len(), String::new());
        rows.push(row);
    }
    rows
}

fn cells(figures: &Figures, pair: &PairReport) -> [String; 8] {
    let share = 100.0 * figures.delta_size as f64 / pair.layer_size as f64;
    let apply = figures.apply;
    let of_apply = |text: fn(Cost) -> String| apply.map_or_else(|| "-".into(), text);
    let size = megabytes(figures.delta_size);
    [
        if figures.is_quoted { format!("{size} (given)") } else { size },
        format!("{share:.2}"),
        multiple(figures.make.cpu),
        figures.make.wall.map_or_else(|| "-".into(), multiple),
        format!("{:.0}", figures.make.peak as f64 / 1e6),
        of_apply(|cost| multiple(cost.cpu)),
        of_apply(|cost| cost.wall.map_or_else(|| "-".into(), multiple)),
        of_apply(|cost| format!("{:.0}", cost.peak as f64 / 1e6)),
    ]
}

pub(crate) fn mean_rows(report: &Report) -> Vec<Vec<String>> {
    let head = ["tool", "pairs", "size", "CPU", "wall", "peak memory"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(report.means.iter().map(|mean| {
        let peak = match report.baseline {
            Some(_) => format!("{:.2}x", mean.peak),
            None => format!("{:.0} MB", mean.peak / 1e6),
        };
        vec![
            mean.tool.clone(),
            mean.pairs.to_string(),
            format!("{:.3}x", mean.size),
            multiple(mean.cpu),
            mean.wall.map_or_else(|| "-".into(), multiple),
            peak,
        ]
    }));
    rows
}

/// Bytes in units of 10^6, to three digits.
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes as f64 / 1e6 {
        value if value < 1.0 => format!("{value:.3}"),
        value => digits(value),
    }
}

/// A multiple, to three digits.
pub(crate) fn multiple(value: f64) -> String {
    format!("{}x", digits(value))
}

fn digits(value: f64) -> String {
    match value {
        value if value < 0.1 => format!("{value:.3}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Columns of one width; the first is text, the others are numbers. A cell that no other follows
/// (why a tool failed) does not make its column wide.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let is_last = |row: &[String], column: usize| row[column + 1..].iter().all(String::is_empty);
    let width = |column: usize| {
        let cells = rows.iter().filter(|row| column == 0 || column + 1 == columns || !is_last(row, column));
        cells.map(|row| row[column].chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(text, "| {cell:<width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let _ = write!(text, "| {}{} ", "-".repeat(width - 1), if column == 0 { "-" } else { ":" });
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::example;

    #[test]
    fn columns_are_aligned_and_failures_say_why() {
        let text = markdown(&example());
        assert!(text.contains("**x**: new layer 0.001 MB as gzip"), "{text}");
        assert!(text.contains("failed: exit status 1"), "{text}");
        assert!(text.contains("as ratios to **a**"), "{text}");
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
        assert_eq!(lines.len(), 3 * 4 + 4);
        assert_eq!(lines[0].chars().count(), lines[1].chars().count());
        assert_eq!(lines[0].chars().count(), lines[2].chars().count());
    }
}
