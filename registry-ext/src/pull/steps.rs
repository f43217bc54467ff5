//! The layers that are made on the way to another one, each of the one before.

use std::fs::File;
use std::path::PathBuf;

use layer::Spool;

use super::budget::{Allowance, Budget};
use super::rebuild::{Rebuilder, Spent, apply};
use super::report::PulledStep;
use crate::chain::{Made, Step, UsableDelta};
use crate::error::blocking;
use crate::image::ImageLayer;
use crate::oci::{check_diff_id, hex};
use crate::{Error, Result, scratch};

/// The making of one layer.
pub(super) struct Making {
    /// The time for it.
    pub(super) budget: Budget,
    /// The bytes and the work that are left for it and for the layers before it, all together.
    pub(super) allowance: Allowance,
    /// The layers that were made before.
    pub(super) made: Made,
    /// The directory for downloads.
    pub(super) dir: PathBuf,
}

impl Rebuilder<'_> {
    /// Begins to make a layer.
    pub(super) async fn begin(&self, layer: &ImageLayer, budget: Budget) -> Result<Making> {
        let (allowance, made) = (budget.allowance(), Made::default());
        // Of its own, since the deltas of another layer may be the same blobs, fetched at the same time.
        let dir = self.dir.join(format!("making-{}", hex(layer.diff_id.0)));
        let made_dir = dir.clone();
        blocking(move || scratch::make_within(&made_dir)).await?;
        Ok(Making { budget, allowance, made, dir })
    }

    /// Makes the layers that a delta reads and that are not here. What they write and the work that they take
    /// comes out of the allowance, and each is compared with its diff_id.
    pub(super) async fn make_before(
        &self,
        usable: &UsableDelta,
        making: &mut Making,
        spent: &mut Spent,
    ) -> Result<Vec<PulledStep>> {
        let mut steps = Vec::new();
        for (index, step) in usable.before.iter().enumerate() {
            let (tar, report) = self.make(step, making, spent).await?;
            making.allowance.write(tar.size());
            making.made.insert(step.layer.diff_id, tar);
            forget(usable, index, &making.made);
            steps.push(report);
        }
        Ok(steps)
    }

    async fn make(&self, step: &Step, making: &Making, spent: &mut Spent) -> Result<(Spool, PulledStep)> {
        let (layer, expected) = (&step.layer, step.layer.diff_id);
        let Some((delta, files)) = &step.delta else {
            let path = self.fetch(&layer.blob, layer, making, spent).await?;
            let options = self.spool.clone().max_size(making.allowance.max_output);
            let tar = blocking(move || {
                let tar = Spool::open_blob(&path, &options)?;
                check_diff_id(tar.diff_id()?, expected)?;
                Ok(tar)
            });
            return Ok((tar.await?, PulledStep::of_blob(layer)));
        };
        let path = self.fetch(&delta.blob, layer, making, spent).await?;
        let dir = self.dir.clone();
        // Without a name: it goes away with its last reader.
        let output = move || tempfile::tempfile_in(&dir).map_err(Error::io("make a file in", &dir));
        let open = self.opener(files, making);
        let (file, size): (File, u64) = apply(path, open, expected, making.allowance.clone(), output).await?;
        Ok((Spool::of_file(format!("layer {expected}"), file, size), PulledStep::of_delta(layer, delta)))
    }
}

/// Forgets the layers that no later step reads, so that few of them take room at one time.
fn forget(usable: &UsableDelta, index: usize, made: &Made) {
    let later: Vec<&Step> = usable.before.iter().skip(index + 1).collect();
    for step in usable.before.iter().take(index + 1) {
        let layer = step.layer.diff_id;
        let is_read = later.iter().filter_map(|step| step.delta.as_ref()).any(|(_, files)| files.read(layer));
        if !is_read && !usable.files.read(layer) {
            made.remove(layer);
        }
    }
}
