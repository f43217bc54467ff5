//! The time that a layer takes by its delta, and by its blob.
//!
//! Whoever publishes a delta or a recipe writes down the work that it takes, in units of about a nanosecond of a core
//! (`registry-ext.work`). How long a unit takes on this host is learnt from the blobs that it makes.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use super::decision::RebuildPlan;
use crate::artifact::{is_tardf3, work_of};

/// Units for each byte of a blob that is made by its recipe, where the publisher wrote down none: what `gzip -6` takes.
const RECIPE_WORK: u64 = 130;
/// Units for each byte of a blob to apply its delta.
const DELTA_WORK: u64 = 10;
/// The same for a tardf3 whose publisher wrote down none: streams of xz in it take the most.
const TARDF3_WORK: u64 = 1000;
/// The weight of the last blob in the pace of the host.
const WEIGHT: f64 = 0.3;
/// Work of a blob that says something about the pace.
const MEASURED_WORK: u64 = 50_000_000;

/// The time that a unit of work takes on this host.
#[derive(Debug)]
pub(super) struct Pace(Mutex<f64>);

impl Default for Pace {
    /// A nanosecond.
    fn default() -> Self {
        Self(Mutex::new(1.0))
    }
}

impl Pace {
    /// Learns from work that took so long.
    pub(super) fn learn(&self, units: u64, time: Duration) {
        if units >= MEASURED_WORK {
            let mut pace = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let actual = time.as_secs_f64() * 1e9 / units as f64;
            *pace += WEIGHT * (actual - *pace);
        }
    }

    /// The seconds that so much work takes.
    pub(super) fn seconds(&self, units: u64) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) * units as f64 / 1e9
    }
}

/// The work to make a layer's blob of the first of its deltas.
pub(super) fn work(plan: &RebuildPlan) -> u64 {
    let size = plan.layer.blob.size();
    let usual = |per_byte: u64| size.saturating_mul(per_byte);
    let delta = plan.deltas.front().map(|(delta, _)| {
        let per_byte = if is_tardf3(&delta.blob) { TARDF3_WORK } else { DELTA_WORK };
        work_of(&delta.blob).unwrap_or(usual(per_byte))
    });
    let recipe = plan.recipe.as_ref().map(|recipe| work_of(recipe).unwrap_or(usual(RECIPE_WORK)));
    delta.unwrap_or_default().saturating_add(recipe.unwrap_or_default())
}

/// Returns the seconds that a layer takes by its delta and by its blob, over a line of so many bytes a second.
pub(super) fn seconds(plan: &RebuildPlan, pace: &Pace, line: u64) -> (f64, f64) {
    let line = line.max(1) as f64;
    let of_line = |bytes: u64| bytes as f64 / line;
    let delta = plan.deltas.front().map_or(0, |(delta, _)| delta.blob.size());
    let fetched = delta + plan.recipe.as_ref().map_or(0, |recipe| recipe.size());
    (of_line(fetched) + pace.seconds(work(plan)), of_line(plan.layer.blob.size()))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use layer::{BlobDigest, DiffId, Digest};

    use super::*;
    use crate::artifact::with_work;
    use crate::discover::{Candidate, Published};
    use crate::image::ImageLayer;
    use crate::oci::descriptor;
    use crate::store::{Base, OciLayout};

    fn plan(delta_work: Option<u64>, recipe_work: Option<u64>) -> RebuildPlan {
        let digest = Digest::of(b"x");
        let blob = |size, work: Option<u64>| match work {
            Some(work) => with_work(descriptor("x", digest, size), work),
            None => descriptor("x", digest, size),
        };
        let dir = tempfile::TempDir::new().unwrap();
        let store = Arc::new(OciLayout::create(dir.path()).unwrap());
        let delta = Candidate {
            layout: Published::Artifact,
            base: Base::Image(digest),
            to: DiffId(digest),
            blob: blob(1_000_000, delta_work),
            manifest: digest,
        };
        RebuildPlan {
            layer: ImageLayer {
                blob: blob(100_000_000, None),
                digest: BlobDigest(digest),
                diff_id: DiffId(digest),
            },
            deltas: VecDeque::from([(delta, store as Arc<dyn crate::store::LayerStore>)]),
            recipe: Some(blob(1_000_000, recipe_work)),
        }
    }

    #[test]
    fn work_and_line_decide() {
        let pace = Pace::default();
        // 8 s of work: worth it over 10 MB/s, not over 100.
        let known = plan(Some(1_000_000_000), Some(7_000_000_000));
        assert_eq!(seconds(&known, &pace, 10_000_000), (8.2, 10.0));
        assert_eq!(seconds(&known, &pace, 100_000_000), (8.02, 1.0));
        assert_eq!(work(&plan(None, None)), 14_000_000_000);
        assert_eq!(work(&plan(Some(5), None)), 13_000_000_005);
    }

    #[test]
    fn the_pace_of_the_host_is_learnt() {
        let pace = Pace::default();
        pace.learn(1, Duration::from_secs(100));
        assert!((pace.seconds(1_000_000_000) - 1.0).abs() < 1e-9, "too little says nothing");
        for _ in 0..50 {
            pace.learn(1_000_000_000, Duration::from_secs(3));
        }
        assert!((pace.seconds(1_000_000_000) - 3.0).abs() < 0.01);
    }
}
