//! `registry-ext verify`

use anyhow::Result;
use registry_ext::verify::{Checked, Verdict, verify};
use tar_diff::DiffOptions;

use super::args::{VerifyArgs, short};
use super::context::Context;
use super::table::Table;
use super::{WRONG_DELTA, print, print_json};

pub(super) async fn run(context: &Context, args: &VerifyArgs) -> Result<u8> {
    let images = context.images(&args.image, args.platform.as_ref()).await?;
    let mut old = Vec::new();
    for from in &args.from {
        old.push(context.images(from, args.platform.as_ref()).await?);
    }
    let options = context.make_options(DiffOptions::default());
    let mut checked = Vec::new();
    for image in &images.images {
        checked.extend(verify(&images.repository, image, &old, &options, &context.watch).await?);
    }
    show(context, &checked)?;
    let is_wrong = checked.iter().any(|delta| matches!(delta.verdict, Verdict::Wrong(_)));
    Ok(if is_wrong { WRONG_DELTA } else { 0 })
}

fn show(context: &Context, checked: &[Checked]) -> Result<()> {
    if context.json {
        return print_json(&checked);
    }
    if context.quiet {
        return Ok(());
    }
    let mut table = Table::new(&["layout", "from", "layer", ">delta", "verdict"]);
    for delta in checked {
        table.row(vec![
            delta.layout.name().into(),
            delta.from.split(' ').map(short).collect::<Vec<_>>().join(" "),
            short(&delta.diff_id).into(),
            delta.size.to_string(),
            match &delta.verdict {
                Verdict::Right => "right".into(),
                Verdict::Wrong(reason) => format!("WRONG: {reason}"),
                Verdict::NoSource => "its bytes are whole; its source is not at hand (--from)".into(),
                _ => "?".into(),
            },
        ]);
    }
    print(&table.to_string())
}
