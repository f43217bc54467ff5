//! `registry-ext list`

use anyhow::Result;
use cli::Text;
use layer::Digest;
use registry_ext::artifact::oci_delta::{Kind, OciDelta};
use registry_ext::discover::{Candidate, Discovery, Published, discover};
use registry_ext::source_tags::SourceTags;
use registry_ext::store::Base;
use serde::Serialize;

use super::args::{ListArgs, short};
use super::context::Context;
use super::print_json;
use super::table::{Table, percent};

#[derive(Debug, Serialize)]
struct Listed {
    platform: String,
    image: String,
    layout: Published,
    /// True if `from` is the digest of an image's config or the diff_id of a layer.
    from_kind: &'static str,
    from: String,
    /// The tags of the repository that have it.
    from_tags: Vec<String>,
    layer: String,
    delta: String,
    delta_size: u64,
    blob_size: u64,
    clients: String,
    /// True if `pull --exact` makes the layer's blob again.
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
        let bases: Vec<Base> = found.candidates.iter().map(|candidate| candidate.base).collect();
        let tags = SourceTags::find(&images.repository, &bases, &context.temp_dir).await;
        for candidate in &found.candidates {
            let layer = image.layer(candidate.to);
            listed.push(Listed {
                platform: image.platform.to_string(),
                image: image.manifest.digest.to_string(),
                layout: candidate.layout,
                from_kind: candidate.base.kind(),
                from: candidate.base.digest().to_string(),
                from_tags: tags.of(candidate.base).to_vec(),
                layer: candidate.to.to_string(),
                delta: candidate.blob.digest().to_string(),
                delta_size: candidate.blob.size(),
                blob_size: layer.map_or(0, |layer| layer.blob.size()),
                clients: clients(candidate, &found).join(", "),
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
        let image = &args.image;
        let text = format!(
            "no deltas for {image}: `registry-ext publish {image} --from OLD` makes them, from an image OLD that \
             hosts run"
        );
        return Ok(Text::of(text).print()?);
    }
    let mut table =
        Table::new(&["platform", "layout", "from", "layer", ">delta", ">blob", ">saves", "exact", "clients"]);
    for delta in &listed {
        let from = match delta.from_tags.as_slice() {
            [] => format!("{} {}", delta.from_kind, short(&delta.from)),
            tags => format!("{} {} ({})", delta.from_kind, tags.join(", "), short(&delta.from)),
        };
        table.row(vec![
            delta.platform.clone(),
            delta.layout.name().into(),
            from,
            short(&delta.layer),
            delta.delta_size.to_string(),
            delta.blob_size.to_string(),
            percent(delta.blob_size.saturating_sub(delta.delta_size), delta.blob_size),
            if delta.exact { "yes" } else { "no" }.into(),
            delta.clients.clone(),
        ]);
    }
    Ok(table.text().print()?)
}

/// Returns the clients that read a delta where it is published.
fn clients(candidate: &Candidate, found: &Discovery) -> &'static [&'static str] {
    let is_older = |(digest, artifact): &(Digest, OciDelta)| {
        *digest == candidate.manifest && artifact.kind == Kind::Older
    };
    match candidate.layout {
        Published::Artifact if found.artifacts.iter().any(is_older) => Published::Tardf3.clients(),
        layout => layout.clients(),
    }
}
