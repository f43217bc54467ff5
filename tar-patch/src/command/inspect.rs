//! `tar-patch inspect DELTA`

use cli::Text;
use explain::Summary;
use tar_patch::Error;

use super::args::InspectArgs;
use super::open_delta;

pub(super) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let (delta, _) = open_delta(&args.delta)?;
    let read = Summary::read(delta).map_err(|error| match error {
        explain::Error::Delta(error) => Error::Delta(error).into(),
        error => anyhow::Error::from(error),
    });
    let mut summary = read?;
    let files = summary.sources.len();
    summary.sources.truncate(args.top);
    if args.json {
        return Ok(Text::json(&summary)?.print()?);
    }
    Ok(text(&summary, files).print()?)
}

/// Tables for people; all sizes are in bytes.
fn text(summary: &Summary, files: usize) -> Text {
    let mut text = Text::new();
    let Summary { version, delta_size, stream_size, output_size, .. } = summary;
    text.line(format_args!("{version}: {delta_size} bytes make {output_size}"));
    text.line(format_args!("op stream before compression: {stream_size} bytes"));
    text.line("");

    text.line(format_args!("{:<9} {:>10} {:>14} {:>14}", "op", "count", "payload", "output"));
    for (name, totals) in summary.by_kind() {
        text.line(format_args!("{name:<9} {:>10} {:>14} {:>14}", totals.ops, totals.payload, totals.output));
    }
    if summary.add_data.payload > 0 {
        text.line(format_args!("{} of the add_data bytes are zero", summary.add_zeros));
    }

    if summary.entries.ops > 0 {
        text.line(format_args!(
            "{} entries are whole sources, whose sizes are not in the delta: they are not in the output",
            summary.whole_sources
        ));
    }
    let parts = &summary.relocated_parts;
    if summary.relocated.ops > 0 {
        text.line(format_args!(
            "relocated payload: rules {}, blocks {}, runs {}, differences {}, new bytes {}",
            parts.rules, parts.blocks, parts.runs, parts.differences, parts.new
        ));
        let kinds: Vec<_> = parts.rule_kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        if !kinds.is_empty() {
            text.line(format_args!("rules of relocated payloads: {}", kinds.join(", ")));
        }
    }

    text.line("");
    text.line(format_args!("source files: {files}"));
    if summary.unlisted_opens > 0 {
        text.line(format_args!("(and {} opens of more files)", summary.unlisted_opens));
    }
    if !summary.sources.is_empty() {
        text.line(format_args!("{:>14} {:>14} {:>14}  path", "payload", "copied", "added"));
    }
    for file in &summary.sources {
        text.line(format_args!("{:>14} {:>14} {:>14}  {}", file.payload, file.copied, file.added, file.path));
    }
    text
}
