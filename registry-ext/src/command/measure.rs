//! `registry-ext measure`

use anyhow::Result;
use registry_ext::measure::{Measurement, measure};

use super::args::{MeasureArgs, short};
use super::context::Context;
use super::table::{Table, percent};
use super::{print, print_json};

pub(super) async fn run(context: &Context, args: &MeasureArgs) -> Result<()> {
    let old = context.images(&args.old, args.platform.as_ref()).await?;
    let new = context.images(&args.new, args.platform.as_ref()).await?;
    let options = context.make_options(args.diff.options());
    let measurements = measure(&old, &new, &options, &context.watch).await?;
    if context.json {
        return print_json(&measurements);
    }
    measurements.iter().try_for_each(show)
}

fn show(measurement: &Measurement) -> Result<()> {
    let mut table = Table::new(&["layer", ">blob", ">delta", ">tardf3", ">ratio", ">seconds"]);
    for layer in &measurement.layers {
        let delta = layer.delta_size.map_or_else(|| "in both".into(), |size| size.to_string());
        let tardf3 = layer.tardf3_size.map_or_else(|| "-".into(), |size| size.to_string());
        let smallest = layer.delta_size.into_iter().chain(layer.tardf3_size).min();
        let ratio = smallest.map_or_else(String::new, |size| percent(size, layer.blob_size));
        let seconds = format!("{:.1}", layer.seconds);
        let (layer, blob) = (short(&layer.diff_id).into(), layer.blob_size.to_string());
        table.row(vec![layer, blob, delta, tardf3, ratio, seconds]);
    }
    print(&format!(
        "{}\n{table}a pull fetches {} bytes with deltas, {} without ({})\n",
        measurement.platform,
        measurement.with_deltas,
        measurement.plain,
        percent(measurement.with_deltas, measurement.plain),
    ))
}
