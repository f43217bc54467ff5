//! Reaches the verdict about a manifest: makes the tars of layers that have a delta and no recipe.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use layer::BlobDigest;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Reaching, Record, Rewrite, Tar, compose};
use crate::Result;
use crate::error::blocking;
use crate::image::resolve;
use crate::mirror::decide::decision;
use crate::mirror::decision::{ImageEntry, RebuildPlan};
use crate::mirror::history::{Outcome, PulledLayer};
use crate::mirror::produce::{budget, rebuild_tar};
use crate::mirror::shared::Shared;
use crate::mirror::upstreams::Upstream;
use crate::oci::{Manifest, Name};
use crate::pull::Spent;

/// Returns the verdict about what a tag leads to, for a client that waits for it. One that takes too long is that the
/// manifest is given as it is.
pub(crate) async fn for_tag(
    shared: &Arc<Shared>,
    upstream: &Arc<Upstream>,
    top: &Manifest,
    longest: Duration,
) -> Arc<Record> {
    match timeout(longest, reach(shared, (upstream, upstream), top)).await {
        Ok(record) => record,
        Err(_) => {
            tracing::warn!(
                manifest = %top.digest, "it is given as it is: making its layers takes over {:.1} s",
                longest.as_secs_f64()
            );
            settle(shared, Record::unchanged(top.digest)).await
        }
    }
}

/// Returns the verdict about a manifest or an index; reaches it if nobody has. The first of two views of the repository
/// is for the decision, the second for what is fetched: if that is limited, nobody waits.
pub(crate) async fn reach(
    shared: &Arc<Shared>,
    (upstream, fetching): (&Arc<Upstream>, &Arc<Upstream>),
    top: &Manifest,
) -> Arc<Record> {
    if let Some(record) = shared.rewrites.verdict(top.digest) {
        return record;
    }
    let throttle = fetching.client.throttle();
    let begun = {
        let mut reaching = shared.rewrites.reaching();
        match reaching.get(&top.digest) {
            Some(there) => {
                if let (Some(limit), None) = (&there.throttle, throttle) {
                    limit.release();
                }
                Err(there.verdict.clone())
            }
            None => {
                let (sender, verdict) = watch::channel(None);
                let there = Reaching { verdict: verdict.clone(), throttle: throttle.cloned() };
                reaching.insert(top.digest, there);
                Ok((sender, verdict))
            }
        }
    };
    let mut verdict = match begun {
        Err(verdict) => verdict,
        Ok((sender, verdict)) => {
            let (shared, upstream, fetching) =
                (Arc::clone(shared), Arc::clone(upstream), Arc::clone(fetching));
            let top = top.clone();
            Arc::clone(&shared).spawn(async move {
                let rewrite = make(&shared, (&upstream, &fetching), &top).await.unwrap_or_else(|error| {
                    tracing::warn!(manifest = %top.digest, "it is given as it is: {}", error.one_line());
                    None
                });
                let settled = settle(&shared, Record { original: top.digest, rewrite }).await;
                shared.rewrites.reaching().remove(&top.digest);
                sender.send_replace(Some(settled));
            });
            verdict
        }
    };
    let reached = verdict.wait_for(Option::is_some).await.map(|record| record.clone()).ok().flatten();
    match reached {
        Some(record) => record,
        // The task has ended with the mirror.
        None => settle(shared, Record::unchanged(top.digest)).await,
    }
}

async fn settle(shared: &Arc<Shared>, record: Record) -> Arc<Record> {
    let (of, original) = (Arc::clone(shared), record.original);
    let settled = blocking(move || Ok(of.rewrites.settle(record))).await;
    settled.unwrap_or_else(|_| Arc::new(Record::unchanged(original)))
}

/// Makes the tars and the manifest with them; `None` if there is no layer to make.
async fn make(
    shared: &Arc<Shared>,
    (upstream, fetching): (&Arc<Upstream>, &Arc<Upstream>),
    top: &Manifest,
) -> Result<Option<Rewrite>> {
    let (name, dir) = (Name::Digest(top.digest), shared.scratch_dir().await?);
    let image = resolve(&upstream.repository, Some(&name), shared.prefetcher.platform(), &dir).await?;
    let Some(entry) = upstream.note(&image.manifest) else { return Ok(None) };
    let decision = decision(shared, upstream, &entry).await;
    let made = decision.unrecorded.values().map(|plan| tar(shared, fetching, &entry, plan));
    let mut tars: Vec<Tar> = join_all(made).await.into_iter().flatten().collect();
    if tars.is_empty() {
        return Ok(None);
    }
    tars.sort_by_key(|tar| tar.digest.to_string());
    let rewritten = compose::image(&image.manifest, &tars)?;
    let given = match top.is_index() {
        true => compose::index(top, image.manifest.digest, &rewritten)?,
        false => Some(rewritten.clone()),
    };
    let Some(given) = given else { return Ok(None) };
    let (cache, manifest, config) = (Arc::clone(&shared.cache), rewritten.clone(), image.config);
    blocking(move || cache.keep_image(&manifest, &config)).await?;
    Ok(Some(Rewrite { top: given, image: rewritten, original_image: image.manifest, tars }))
}

/// Makes the tar of a layer; `None` if that fails, which costs no more than the time.
async fn tar(
    shared: &Arc<Shared>,
    fetching: &Arc<Upstream>,
    image: &ImageEntry,
    plan: &RebuildPlan,
) -> Option<Tar> {
    let digest = plan.layer.diff_id.0;
    let cache = Arc::clone(&shared.cache);
    let known =
        blocking(move || Ok(cache.open_blob(digest).and_then(|file| Some(file.metadata().ok()?.len()))));
    if let Ok(Some(size)) = known.await {
        return Some(Tar { digest, size, blob: plan.layer.blob.clone() });
    }
    let (began, mut spent) = (Instant::now(), Spent::default());
    let made = make_tar(shared, fetching, plan, &mut spent).await;
    shared.metrics.rebuilt(&fetching.registry, began.elapsed(), made.is_ok());
    match made {
        Ok(size) => {
            let blob = &plan.layer.blob;
            shared.metrics.saved(&fetching.registry, blob.size().saturating_sub(spent.bytes));
            let (fetched, outcome) = (spent.bytes, Outcome::Rebuilt);
            let layer = PulledLayer { digest: BlobDigest(digest), size: blob.size(), fetched, outcome };
            shared.history.note(&fetching.client.name(), image.manifest.digest, layer);
            tracing::info!(tar = %digest, size, fetched, "made of a delta, to be served uncompressed");
            Some(Tar { digest, size, blob: blob.clone() })
        }
        Err(error) => {
            tracing::warn!(layer = %plan.layer.digest, "it stays as it is: {}", error.one_line());
            None
        }
    }
}

/// Makes the tar of a layer and keeps it. Returns its size.
async fn make_tar(
    shared: &Arc<Shared>,
    fetching: &Arc<Upstream>,
    plan: &RebuildPlan,
    spent: &mut Spent,
) -> Result<u64> {
    let _permit = shared.rebuilds.acquire().await;
    let budget = budget(shared, fetching, plan);
    let (rebuilt, scratch) = rebuild_tar(shared, fetching, plan, budget, spent).await?;
    let (cache, digest) = (Arc::clone(&shared.cache), plan.layer.diff_id.0);
    blocking(move || {
        let _room = cache.reserve(rebuilt.size)?;
        cache.keep(digest, rebuilt.size, rebuilt.tar)?;
        drop(scratch);
        Ok(rebuilt.size)
    })
    .await
}
