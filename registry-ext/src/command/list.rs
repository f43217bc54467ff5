//! `registry-ext list`

use anyhow::Result;
use layer::Digest;
use registry_ext::artifact::oci_delta::{Kind, OciDelta};
use registry_ext::discover::{Candidate, Found, Layout, discover};
use serde::Serialize;

use super::args::{ListArgs, short};
use super::context::Context;
use super::table::{Table, percent};
use super::{print, print_json};

#[derive(Debug, Serialize)]
struct Listed {
    platform: String,
    image: String,
    layout: Layout,
    from: String,
    layer: String,
    delta: String,
    delta_size: u64,
    blob_size: u64,
    clients: &'static str,
    /// Whether `pull --exact` makes the layer's blob again.
    exact: bool,
}

pub(super) async fn run(context: &Context, args: &ListArgs) -> Result<()> {
    let images = context.images(&args.image, args.platform.as_ref()).await?;
    let mut listed = Vec::new();
    for image in &images.images {
        let found = discover(&images.repository, image).await;
        for warning in &found.warnings {
            context.warn(warning);
        }
        for candidate in &found.candidates {
            let layer = image.layer(candidate.to);
            listed.push(Listed {
                platform: image.platform.to_string(),
                image: image.manifest.digest.to_string(),
                layout: candidate.layout,
                from: candidate.base.to_string(),
                layer: candidate.to.to_string(),
                delta: candidate.blob.digest().to_string(),
                delta_size: candidate.blob.size(),
                blob_size: layer.map_or(0, |layer| layer.blob.size()),
                clients: clients(candidate, &found),
                exact: layer.is_some_and(|layer| {
                    layer.is_plain_tar() || found.blob_recipes.contains_key(&layer.digest)
                }),
            });
        }
    }
    if context.json {
        return print_json(&listed);
    }
    if listed.is_empty() {
        return print(&format!("no deltas for {}\n", args.image));
    }
    let mut table =
        Table::new(&["platform", "layout", "from", "layer", ">delta", ">blob", ">saves", "exact", "clients"]);
    for delta in &listed {
        let from = delta.from.split(' ').map(short).collect::<Vec<_>>().join(" ");
        table.row(vec![
            delta.platform.clone(),
            delta.layout.name().into(),
            from,
            short(&delta.layer).into(),
            delta.delta_size.to_string(),
            delta.blob_size.to_string(),
            percent(delta.blob_size.saturating_sub(delta.delta_size), delta.blob_size),
            if delta.exact { "yes" } else { "no" }.into(),
            delta.clients.into(),
        ]);
    }
    print(&table.to_string())
}

/// Who reads which layout.
fn clients(candidate: &Candidate, found: &Found) -> &'static str {
    let is_older = |(digest, artifact): &(Digest, OciDelta)| {
        *digest == candidate.manifest && artifact.kind == Kind::Older
    };
    match candidate.layout {
        Layout::DeltaIndex => "flatpak, registry-ext",
        Layout::Artifact if !found.artifacts.iter().any(is_older) => "oci-delta, cfsctl, bootc, registry-ext",
        _ => "registry-ext",
    }
}
