//! `tar-patch inspect DELTA`

use std::fmt::Write as _;

use tar_patch::Summary;

use super::args::InspectArgs;
use super::{open_delta, print};

pub(super) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let (delta, _) = open_delta(&args.delta)?;
    let mut summary = Summary::read(delta)?;
    let files = summary.sources.len();
    summary.sources.truncate(args.top);
    if args.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&summary)?));
    }
    print(&text(&summary, files)?)
}

/// Tables for people; all sizes are in bytes.
fn text(summary: &Summary, files: usize) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let Summary { version, delta_size, stream_size, output_size, .. } = summary;
    writeln!(text, "{version}: {delta_size} bytes make {output_size}")?;
    writeln!(text, "op stream before compression: {stream_size} bytes\n")?;

    writeln!(text, "{:<9} {:>10} {:>14} {:>14}", "op", "count", "payload", "output")?;
    for (name, totals) in summary.by_kind() {
        writeln!(text, "{name:<9} {:>10} {:>14} {:>14}", totals.ops, totals.payload, totals.output)?;
    }
    if summary.add_data.payload > 0 {
        writeln!(text, "{} of the add_data bytes are zero", summary.add_zeros)?;
    }

    writeln!(text, "\nsource files: {files}")?;
    if summary.unlisted_opens > 0 {
        writeln!(text, "(and {} opens of more files)", summary.unlisted_opens)?;
    }
    if !summary.sources.is_empty() {
        writeln!(text, "{:>14} {:>14} {:>14}  path", "payload", "copied", "added")?;
    }
    for file in &summary.sources {
        writeln!(text, "{:>14} {:>14} {:>14}  {}", file.payload, file.copied, file.added, file.path)?;
    }
    Ok(text)
}
