//! Makes the decision how each layer of an image is had.
//!
//! It is begun when a client asks for the manifest, so that it is there by the time that the client asks for the
//! first layer. It takes a few requests and a few seconds at most: where it is not done by then, or cannot be made,
//! all layers are fetched.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use oci_spec::image::Descriptor;
use tokio::time::timeout;

use super::decision::{Decision, ImageEntry, RebuildPlan};
use super::shared::Shared;
use super::upstreams::Upstream;
use crate::chain::{Places, UsableDelta, usable_deltas};
use crate::cost::{Known, Prefer, Way, keep_faster};
use crate::discover::discover;
use crate::error::blocking;
use crate::image::{Image, ImageLayer};
use crate::oci::Manifest;
use crate::pull::exact_sources;
use crate::{Error, Result};

/// The longest time that a decision takes. Clients wait at least 30 seconds for the headers of a blob.
const MAX_TIME: Duration = Duration::from_secs(8);

/// Returns the decision about an image; makes it if nobody has.
pub(super) async fn decision(shared: &Shared, upstream: &Upstream, image: &ImageEntry) -> Arc<Decision> {
    let decide = || async { Arc::new(decide(shared, upstream, image.original()).await) };
    Arc::clone(image.decision.get_or_init(decide).await)
}

async fn decide(shared: &Shared, upstream: &Upstream, manifest: &Manifest) -> Decision {
    match timeout(MAX_TIME, try_twice(shared, upstream, manifest)).await {
        Ok(Ok(decision)) => decision,
        Ok(Err(error)) => {
            tracing::warn!(manifest = %manifest.digest, "no deltas are used: {}", error.one_line());
            Decision::default()
        }
        Err(_) => {
            let seconds = MAX_TIME.as_secs();
            tracing::warn!(manifest = %manifest.digest, "no deltas are used: finding them took over {seconds} s");
            Decision::default()
        }
    }
}

/// Tries again after an error of this machine: somebody may have removed the cache at that moment.
async fn try_twice(shared: &Shared, upstream: &Upstream, manifest: &Manifest) -> Result<Decision> {
    match try_decide(shared, upstream, manifest).await {
        Err(Error::Io { .. }) => try_decide(shared, upstream, manifest).await,
        decided => decided,
    }
}

async fn try_decide(shared: &Shared, upstream: &Upstream, manifest: &Manifest) -> Result<Decision> {
    let repository = &upstream.repository;
    let image = Image::load(repository, manifest.clone(), &shared.scratch_dir().await?).await?;
    if image.layers.is_empty() {
        return Ok(Decision { image: Some(image), ..Decision::default() });
    }
    let until = Instant::now() + MAX_TIME / 2;
    let found = discover(repository, &image).await;
    found.warnings.iter().for_each(|warning| tracing::warn!(manifest = %manifest.digest, "{warning}"));
    let layers: Vec<&ImageLayer> = image.layers.iter().collect();
    let (stores, temp_dir) = (shared.stores().await?, shared.scratch_dir().await?);
    let places = Places { repository, stores: &stores, temp_dir: &temp_dir, watch: &shared.watch };
    let mut usable = usable_deltas(&places, &image, &layers, &found, until).await?;
    let line = shared.line(&upstream.registry).into_iter().chain(upstream.limit).min();
    let line = line.filter(|_| shared.prefer == Prefer::Time);
    // The plan with the deltas that are worth it, and the reason why others are not.
    let faster = |layer: &ImageLayer, mut deltas: VecDeque<UsableDelta>, recipe: Option<Descriptor>| {
        let slower = line.and_then(|line| {
            let known = Known { pace: &shared.pace, line, checks_blobs: false };
            keep_faster(layer, &mut deltas, |delta| delta.way(layer, recipe.as_ref()), known)
        });
        let plan = RebuildPlan { layer: layer.clone(), deltas, recipe };
        (Some(plan).filter(|plan| !plan.deltas.is_empty()), slower)
    };
    let (mut rebuilt, mut unrecorded, mut reasons) = (HashMap::new(), HashMap::new(), HashMap::new());
    for layer in layers {
        let deltas = usable.remove(&layer.diff_id).unwrap_or_default();
        if deltas.is_empty() {
            let is_published = found.candidates.iter().any(|delta| delta.to == layer.diff_id);
            let reason = match is_published {
                true => "the old image of its deltas is not here, or they save nothing",
                false => "no delta of it is published",
            };
            reasons.insert(layer.digest, reason.to_owned());
            continue;
        }
        match exact_sources(layer, deltas.clone(), &found.blob_recipes) {
            Some((deltas, recipe)) if !deltas.is_empty() => {
                let (plan, slower) = faster(layer, deltas, recipe);
                reasons.extend(slower.map(|reason| (layer.digest, reason)));
                rebuilt.extend(plan.map(|plan| (layer.digest, plan)));
            }
            Some(_) => {
                reasons.insert(layer.digest, "its delta and its recipe save nothing".into());
            }
            None => {
                reasons.insert(layer.digest, "its compressed form has no recipe".into());
                let (plan, _) = faster(layer, deltas, None);
                // What saves little is not worth another digest of the image.
                let plan = plan.filter(|plan| plan.way().is_some_and(Way::saves_much));
                unrecorded.extend(plan.map(|plan| (layer.digest, plan)));
            }
        }
    }
    // Where all of its layers are here already, nothing is made after which it would be noted.
    let (cache, manifest, config) = (Arc::clone(&shared.cache), manifest.clone(), image.config.clone());
    blocking(move || cache.keep_image(&manifest, &config)).await?;
    Ok(Decision { image: Some(image), rebuilt, unrecorded, reasons })
}
