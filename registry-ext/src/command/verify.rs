//! `registry-ext verify`

use anyhow::Result;
use cli::Text;
use registry_ext::Verifier;
use registry_ext::verify::{Checked, Verdict};
use tar_diff::DiffOptions;

use super::args::{VerifyArgs, short};
use super::context::Context;
use super::table::Table;
use super::{WRONG_DELTA, print_json};

pub(super) async fn run(context: &Context, args: &VerifyArgs) -> Result<u8> {
    let images = context.images(&args.image, args.platform.as_ref()).await?;
    let mut old = Vec::new();
    for from in &args.from {
        old.push(context.images(from, args.platform.as_ref()).await?);
    }
    let options = context.make_options(DiffOptions::default());
    let mut checked = Vec::new();
    for image in &images.images {
        let verifier =
            Verifier::new(&images.repository, image).options(options.clone()).watch(&context.watch);
        checked.extend(old.iter().fold(verifier, Verifier::old).verify().await?);
    }
    show(context, args, &checked)?;
    let is_wrong = checked.iter().any(|delta| matches!(delta.verdict, Verdict::Wrong(_)));
    Ok(if is_wrong { WRONG_DELTA } else { 0 })
}

fn show(context: &Context, args: &VerifyArgs, checked: &[Checked]) -> Result<()> {
    if context.json {
        return print_json(&checked);
    }
    if context.quiet {
        return Ok(());
    }
    if checked.is_empty() {
        let image = &args.image;
        return Ok(Text::of(format_args!("no deltas for {image}: there was nothing to verify")).print()?);
    }
    let mut table = Table::new(&["layout", "from", "layer", ">delta", "verdict"]);
    for delta in checked {
        table.row(vec![
            delta.layout.name().into(),
            format!("{} {}", delta.from_kind, short(delta.from)),
            short(delta.diff_id),
            delta.size.to_string(),
            match &delta.verdict {
                Verdict::Right => "right".into(),
                Verdict::Wrong(reason) => format!("WRONG: {reason}"),
                Verdict::NoSource => "its bytes are whole; its source is not at hand (--from)".into(),
                _ => "?".into(),
            },
        ]);
    }
    Ok(table.text().print()?)
}
