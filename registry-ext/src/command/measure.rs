//! `registry-ext measure`

use std::path::Path;

use anyhow::Result;
use cli::{Misuse, Text};
use registry_ext::Measurer;
use registry_ext::discover::Published;
use registry_ext::measure::{MeasuredLayer, Measurement};
use registry_ext::publish::FEW_LAYERS;

use super::args::{MeasureArgs, Measured, short};
use super::context::Context;
use super::print_json;
use super::table::{Table, percent};

pub(super) async fn run(context: &Context, args: &MeasureArgs) -> Result<()> {
    let max_layers = args.make.readers.max_layers();
    let measurer = Measurer::new()
        .options(context.make_options(args.make.options(&context.temp_dir)))
        .delta_index_max_layers(max_layers)
        .watch(&context.watch);
    let measurements = match (&args.old, &args.new) {
        (Measured::Image(old), Measured::Image(new)) => {
            let old = context.images(old, args.platform.as_ref()).await?;
            let new = context.images(new, args.platform.as_ref()).await?;
            measurer.images(&old, &new).await?
        }
        (Measured::Layer(old), Measured::Layer(new)) => {
            vec![measurer.layers(old, new).await?]
        }
        (Measured::Layer(file), Measured::Image(image)) | (Measured::Image(image), Measured::Layer(file)) => {
            let text = format!(
                "{} is a layer and {image} an image: give two images or two layers",
                Path::display(file)
            );
            return Err(Misuse(text).into());
        }
    };
    if context.json {
        return print_json(&measurements);
    }
    let mut text = Text::new();
    measurements.iter().for_each(|measurement| show(measurement, max_layers, &mut text));
    Ok(text.print()?)
}

fn show(measurement: &Measurement, max_layers: usize, text: &mut Text) {
    let mut table =
        Table::new(&["layer", ">blob", ">oci-delta", ">_deltaindex", ">tardf3", ">smallest", ">seconds"]);
    let size = |size: Option<u64>| size.map_or_else(|| "-".into(), |size| size.to_string());
    for layer in &measurement.layers {
        let without = if layer.has_failed { "cannot be made" } else { "in both" };
        table.row(vec![
            short(layer.diff_id),
            layer.blob_size.to_string(),
            layer.delta_size.map_or_else(|| without.into(), |size| size.to_string()),
            size(layer.delta_index_size),
            size(layer.tardf3_size),
            layer.smallest().map_or_else(String::new, |size| percent(size, layer.blob_size)),
            format!("{:.1}", layer.seconds),
        ]);
    }
    if let Some(platform) = &measurement.platform {
        text.line(platform);
    }
    text.append(&table.text());
    text.line(format_args!(
        "a pull by registry-ext fetches {} bytes with deltas, {} without ({})",
        measurement.with_deltas,
        measurement.plain,
        percent(measurement.with_deltas, measurement.plain),
    ));
    let is_there = |made: fn(&MeasuredLayer) -> bool| measurement.layers.iter().any(made);
    for (made, is_there) in [
        (Published::Artifact, is_there(|layer| layer.delta_size.is_some())),
        (Published::DeltaIndex, is_there(|layer| layer.delta_index_size.is_some())),
        (Published::Tardf3, is_there(|layer| layer.tardf3_size.is_some())),
    ] {
        if is_there {
            text.line(made.readers());
        }
    }
    if max_layers == FEW_LAYERS && measurement.platform.is_some() && !measurement.has_delta_index {
        text.line(no_delta_index());
    }
}

/// The reason why nothing is in `_deltaindex`.
pub(super) fn no_delta_index() -> String {
    format!(
        "_deltaindex: none, since the old image has over {FEW_LAYERS} layers and only flatpak, whose images have \
         one, reads it first; --for flatpak makes it"
    )
}
