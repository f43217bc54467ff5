//! The times of pulls over slow and fast lines, as `registry-ext/interop/pull-times.sh` measures them.

use std::fmt::Write;

use serde::Deserialize;

use crate::chart::{Bar, Chart, Group};

const TITLE: &str = "Seconds of an update, over lines of different rates";
const CAPTION: &str = "The old image is there. The longest bar of each line is the slowest way.";
/// The ways, in the order of the bars: as the figures name them, the class of the bar, the label.
const WAYS: [(&str, &str, &str); 4] = [
    ("podman", "pull", "podman"),
    ("mirror, time", "delta", "with a mirror"),
    ("pull, whole", "pull", "pull, whole"),
    ("pull, deltas", "through", "pull, deltas"),
];

/// A pull that was measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PullTime {
    /// The pair of images.
    pub pair: String,
    /// The way in which the new one was pulled.
    pub way: String,
    /// The rate of the line in Mbit/s.
    pub mbit: u64,
    /// The time in seconds.
    pub seconds: f64,
    /// Bytes that came over the line.
    pub bytes: u64,
    /// Bytes of the blob that a plain pull fetches.
    pub blob: u64,
}

/// Reads the figures: a line of JSON for each pull.
///
/// # Errors
/// If a line is none.
pub fn parse(lines: &str) -> serde_json::Result<Vec<PullTime>> {
    lines.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect()
}

/// The pulls of one pair over one line.
fn groups(pulls: &[PullTime]) -> Vec<(&str, u64)> {
    let mut groups = Vec::new();
    for pull in pulls {
        if !groups.contains(&(pull.pair.as_str(), pull.mbit)) {
            groups.push((pull.pair.as_str(), pull.mbit));
        }
    }
    groups
}

/// Returns the pull that took the median of the times, of those that were measured alike.
fn find<'p>(pulls: &'p [PullTime], (pair, mbit): (&str, u64), way: &str) -> Option<&'p PullTime> {
    let is_alike = |pull: &&PullTime| (pull.pair.as_str(), pull.mbit) == (pair, mbit) && pull.way == way;
    let mut alike: Vec<&PullTime> = pulls.iter().filter(is_alike).collect();
    alike.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    alike.get(alike.len() / 2).copied()
}

/// Returns the table of the pulls, as Markdown.
pub fn markdown(pulls: &[PullTime]) -> String {
    let mut table = String::from(
        "| update | Mbit/s | podman | podman with a mirror | pull, whole | pull, deltas |\n\
         |---|--:|--:|--:|--:|--:|\n",
    );
    for group in groups(pulls) {
        let cell = |way| {
            find(pulls, group, way).map_or_else(String::new, |pull| {
                format!("{:.1} s, {:.1} MB", pull.seconds, pull.bytes as f64 / 1e6)
            })
        };
        let cells: Vec<String> = WAYS.into_iter().map(|(way, ..)| cell(way)).collect();
        let _ = writeln!(table, "| {} | {} | {} |", group.0, group.1, cells.join(" | "));
    }
    table
}

/// Returns the picture of the pulls.
pub fn svg(pulls: &[PullTime]) -> String {
    let group = |group: (&str, u64)| {
        let found = WAYS.into_iter().filter_map(|(way, class, label)| {
            find(pulls, group, way).map(|pull| (class, label, pull.seconds))
        });
        let found: Vec<_> = found.collect();
        let longest = found.iter().map(|(.., seconds)| *seconds).fold(f64::MIN_POSITIVE, f64::max);
        let bars = found.into_iter().map(|(class, label, seconds)| Bar {
            class,
            label,
            value: format!("{seconds:.1} s"),
            share: seconds / longest,
        });
        Group { name: format!("{}, {} Mbit/s", group.0, group.1), bars: bars.collect() }
    };
    Chart { title: TITLE, caption: CAPTION, groups: groups(pulls).into_iter().map(group).collect() }.svg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_are_grouped_by_pair_and_line() {
        let line = |pair: &str, way: &str, mbit: u64, seconds: f64| {
            format!(
                "{{\"pair\":\"{pair}\",\"way\":\"{way}\",\"mbit\":{mbit},\"seconds\":{seconds},\"bytes\":1500000,\"blob\":9}}"
            )
        };
        let lines = [
            line("a", "podman", 10, 20.0),
            line("a", "mirror, time", 10, 9.0),
            line("a", "mirror, time", 10, 5.0),
            line("a", "mirror, time", 10, 4.0),
            line("a", "mirror, size", 10, 5.0),
            line("<b>", "podman", 10, 1.25),
        ];
        let pulls = parse(&lines.join("\n")).unwrap();
        let table = markdown(&pulls);
        assert!(table.contains("| a | 10 | 20.0 s, 1.5 MB | 5.0 s, 1.5 MB |  |  |\n"), "{table}");
        let picture = svg(&pulls);
        assert_eq!(picture.matches("class=\"pair\"").count(), 2);
        assert!(picture.contains("a, 10 Mbit/s: podman 20.0 s; with a mirror 5.0 s."), "{picture}");
        assert!(picture.contains("width=\"100.0\"") && !picture.contains("<b>"), "{picture}");
        assert!(parse("x").is_err());
    }
}
