//! The page in a real browser: nothing missing, nothing wrong, no text over other text.
//!
//! Skipped only where `BENCHES_SKIP_BROWSER` is set.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "figures of its own")]

#[path = "support/browser.rs"]
mod browser;

use std::fs;
use std::path::Path;

use benches::html;
use benches::kinds::{Kind, KindShare};
use benches::report::{Cost, Figures, Group, Outcome, PairReport, Report, Run, ToolInfo, Yardstick};
use browser::{WIDTHS, assert_is_picture, is_left_out, open_in_browser};
use serde_json::Value;

#[test]
fn the_page_is_whole_and_readable_in_a_browser() {
    if is_left_out() {
        return;
    }
    let report = report();
    let dir = tempfile::tempdir().unwrap();
    for width in WIDTHS {
        let (seen, log) = open_in_browser(&html::page(&report), width, dir.path());
        assert_eq!(seen["width"], u64::from(width));
        assert_eq!(seen["errors"], Value::Array(Vec::new()));
        assert!(!log.contains("CONSOLE"), "{log}");
        assert_eq!(seen["overlaps"], Value::Array(Vec::new()), "at {width} px");
        assert!(seen["overflow"].as_i64().unwrap() <= 0, "the page is wider than {width} px");
        assert!(seen["texts"].as_u64().unwrap() > 300, "{seen}");
        for pair in &report.pairs {
            for run in &pair.runs {
                let mark = format!("{} / {}", pair.name, run.tool);
                let marks = seen["marks"].as_array().unwrap();
                assert!(marks.contains(&Value::String(mark.clone())), "no mark of {mark}");
            }
        }
        assert_is_picture(&dir.path().join(format!("{width}.png")));
    }
    if let Some(to) = std::env::var_os("BENCHES_SCREENSHOTS") {
        for width in WIDTHS {
            let name = format!("{width}.png");
            fs::copy(dir.path().join(&name), Path::new(&to).join(name)).unwrap();
        }
    }
}

#[test]
fn the_probe_sees_what_is_wrong() {
    if is_left_out() {
        return;
    }
    let page = "<!doctype html><style></style><p style=\"position:absolute\">one</p><p \
                style=\"position:absolute;width:2000px\">two</p><script>missing()</script>";
    let dir = tempfile::tempdir().unwrap();
    let (seen, log) = open_in_browser(page, 400, dir.path());
    assert_eq!(seen["overlaps"], serde_json::json!(["one / two"]));
    assert!(
        seen["errors"][0].as_str().unwrap().contains("missing") && log.contains("CONSOLE"),
        "{seen} {log}"
    );
    assert!(seen["overflow"].as_i64().unwrap() > 1000, "{seen}");
}

/// A report with all that makes a page hard: values close together and far apart, a tool that failed,
/// given figures, long names.
fn report() -> Report {
    let tools = [
        ("tar-diff fast", Group::Ours),
        ("tar-diff default", Group::Ours),
        ("tar-diff max", Group::Ours),
        ("Go tar-diff", Group::TarDiff),
        ("zstd -3", Group::WholeFile),
        ("zstd -19", Group::WholeFile),
        ("xdelta3", Group::WholeFile),
        ("hdiffz", Group::WholeFile),
        ("qbsdiff", Group::WholeFile),
        ("bsdiff", Group::WholeFile),
    ];
    let spread: [(f64, f64); 10] = [
        (4.3, 0.14),
        (3.4, 0.9),
        (3.1, 4.0),
        (4.28, 2.3),
        (7.4, 0.3),
        (5.66, 18.0),
        (6.1, 3.0),
        (3.9, 6.0),
        (3.6, 14.0),
        (3.7, 40.0),
    ];
    let close: [(f64, f64); 10] =
        std::array::from_fn(|index| (1.0 + 0.003 * index as f64, 2.0 - 0.01 * index as f64));
    let pair = |name: &str, values: [(f64, f64); 10], scale: f64| PairReport {
        name: name.into(),
        about: None,
        new_size: (scale * 200e6) as u64,
        layer_size: (scale * 78e6) as u64,
        yardstick: Yardstick { gzip_cpu: 9.5, sha256_cpu: 0.6, sha256_wall: 0.6 },
        runs: tools
            .iter()
            .zip(values)
            .map(|(&(tool, group), (size, cpu))| Run {
                tool: tool.into(),
                outcome: match tool {
                    "bsdiff" if scale > 1.0 => {
                        Outcome::Failed("took over 900 s, which is more than it was given".into())
                    }
                    _ => Outcome::Done(figures(size * scale, cpu, group)),
                },
            })
            .collect(),
    };
    let mut report = Report {
        machine: "2 cores, Example CPU @ 3.0 GHz, x86_64".into(),
        tools: tools
            .map(|(name, group)| ToolInfo {
                name: name.into(),
                group,
                command: format!("{name} --some-option={{old-layer}} {{new-layer}} {{delta}}"),
            })
            .into(),
        pairs: vec![
            pair("debian-base", spread, 1.0),
            pair("all-in-one-place", close, 0.01),
            pair("a-pair-with-quite-a-long-name-of-its-own", spread, 400.0),
        ],
        baseline: Some("Go tar-diff".into()),
        means: Vec::new(),
    };
    report.set_means();
    report
}

fn figures(megabytes: f64, cpu: f64, group: Group) -> Figures {
    let cost = |cpu: f64| Cost { cpu, wall: Some(cpu * 0.7), peak: (cpu * 1e8) as u64 };
    let kinds = Kind::ALL.iter().enumerate().map(|(index, &kind)| KindShare {
        kind,
        new_size: 10_000_000 * index as u64,
        copied: 9_000_000 * index as u64,
        added: 900_000 * index as u64,
        changed: 30_000 * index as u64,
        literal: 100_000 * index as u64,
        delta_size: (megabytes * 1e6 / 36.0) as u64 * (index as u64 + 1),
    });
    Figures {
        delta_size: (megabytes * 1e6) as u64,
        make: cost(cpu),
        apply: (group != Group::TarDiff).then(|| cost(0.6 + cpu / 10.0)),
        kinds: if group == Group::Ours { kinds.collect() } else { Vec::new() },
        is_quoted: group == Group::TarDiff,
    }
}
