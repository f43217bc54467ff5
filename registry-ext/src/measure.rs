//! Measures what deltas between two images would save, and publishes none.

use std::path::Path;

use delta_format::Version;
use layer::{DiffId, Spool, SpoolOptions};
use serde::Serialize;

use crate::Result;
use crate::cost::deserves_artifact;
use crate::delta::{Delta, DeltaCache, LayerOf, LayersOf, MakeOptions, UnpackedLayer};
use crate::error::blocking;
use crate::image::{ImageIn, ImageLayer, Images, Platform, no_shared_platform};
use crate::publish::FEW_LAYERS;
use crate::watch::Watch;

/// The saving of deltas between two images. Sizes are in bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// Platform of both images; `None` for two layers.
    pub platform: Option<Platform>,
    /// True if deltas for `_deltaindex` were made.
    pub has_delta_index: bool,
    /// The new image's layers, lowest first.
    pub layers: Vec<MeasuredLayer>,
    /// Bytes that a machine with the old image fetches for the new one without deltas.
    pub plain: u64,
    /// Bytes that it fetches with the deltas that are published by default.
    pub with_deltas: u64,
}

/// The sizes of the deltas of one layer.
#[derive(Debug, Clone, Serialize)]
pub struct MeasuredLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// Size of its blob.
    pub blob_size: u64,
    /// Size of its delta from the old image; `None` if the old image has the layer, or there can be none.
    pub delta_size: Option<u64>,
    /// Size of its delta from the last layer of the old image, for `_deltaindex`, if one was made.
    pub delta_index_size: Option<u64>,
    /// Size of its tardf3 delta, if one was asked for and sees through something.
    pub tardf3_size: Option<u64>,
    /// True if the old image lacks it and no delta can be made, since a layer is no tar that can be read.
    pub has_failed: bool,
    /// Seconds that the deltas took to make and to apply.
    pub seconds: f64,
}

impl MeasuredLayer {
    /// Size of its smallest delta.
    pub fn smallest(&self) -> Option<u64> {
        [self.delta_size, self.delta_index_size, self.tardf3_size].into_iter().flatten().min()
    }

    /// Returns the bytes that a pull fetches for the layer, with or without tardf3 deltas.
    fn fetched(&self, has_tardf3: bool) -> u64 {
        let whole = self.has_failed.then_some(self.blob_size);
        let tardf3 = self.tardf3_size.filter(|_| has_tardf3);
        let smallest = [self.delta_size, self.delta_index_size, tardf3].into_iter().flatten().min();
        smallest.or(whole).map_or(0, |size| size.min(self.blob_size))
    }
}

/// Returns the bytes that a pull fetches: tardf3 deltas are published where they save enough.
fn fetched(layers: &[MeasuredLayer]) -> u64 {
    let sum = |has_tardf3| layers.iter().map(|layer| layer.fetched(has_tardf3)).sum();
    let (with, without) = (sum(true), sum(false));
    if deserves_artifact(with, without) { with } else { without }
}

/// The measuring of what deltas save, with its options. [`images`](Self::images) and [`layers`](Self::layers)
/// do it.
#[derive(Debug, Clone)]
pub struct Measurer {
    options: MakeOptions,
    delta_index_max_layers: usize,
    watch: Watch,
}

impl Default for Measurer {
    fn default() -> Self {
        Self::new()
    }
}

impl Measurer {
    /// Prepares to make the deltas that a [`Publisher`](crate::Publisher) would make.
    pub fn new() -> Self {
        Self { options: MakeOptions::default(), delta_index_max_layers: FEW_LAYERS, watch: Watch::nothing() }
    }

    /// Sets the options for making deltas.
    #[must_use]
    pub fn options(mut self, options: MakeOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets the most layers of an old image for which the deltas of `_deltaindex` are made.
    #[must_use]
    pub const fn delta_index_max_layers(mut self, layers: usize) -> Self {
        self.delta_index_max_layers = layers;
        self
    }

    /// Sets the receiver of warnings and of progress.
    #[must_use]
    pub fn watch(mut self, watch: &Watch) -> Self {
        self.watch = watch.clone();
        self
    }

    /// Makes the deltas from `old` to `new` for each platform that both have: from all layers of the old image,
    /// as an oci-delta artifact has them; and from its last layer alone, as `_deltaindex` has them.
    ///
    /// # Errors
    /// Those of the repositories and of the machine; a layer that cannot be read as a tar costs a warning.
    /// [`Error::NoPlatform`](crate::Error::NoPlatform) if they share no platform.
    pub async fn images(&self, old: &Images, new: &Images) -> Result<Vec<Measurement>> {
        let cache = DeltaCache::new(&self.options, &self.watch)?;
        let mut measurements = Vec::new();
        for image in &new.images {
            let target = ImageIn { repository: &new.repository, image };
            if let Some(source) = old.counterpart(&image.platform) {
                measurements.push(self.pair(source, target, &cache).await?);
            }
        }
        if measurements.is_empty() { Err(no_shared_platform(&[old], new)) } else { Ok(measurements) }
    }

    async fn pair(
        &self,
        source: ImageIn<'_>,
        target: ImageIn<'_>,
        cache: &DeltaCache,
    ) -> Result<Measurement> {
        let (old, new) = (source.image, target.image);
        let has_delta_index = !old.layers.is_empty() && old.layers.len() <= self.delta_index_max_layers;
        let lacking = new.layers_not_in(old);
        let mut layers = Vec::new();
        for layer in &new.layers {
            let mut measured = MeasuredLayer::new(layer.diff_id, layer.blob.size());
            if lacking.contains(&layer) {
                let target = LayerOf { repository: target.repository, layer };
                measured.make(source, target, has_delta_index, cache).await?;
            }
            layers.push(measured);
        }
        Ok(Measurement {
            platform: Some(new.platform.clone()),
            has_delta_index,
            plain: lacking.iter().map(|layer| layer.blob.size()).sum(),
            with_deltas: fetched(&layers),
            layers,
        })
    }

    /// Makes the delta from one layer in a file to another.
    ///
    /// # Errors
    /// [`Error::Layer`](crate::Error::Layer) if one cannot be read; [`Error::Diff`](crate::Error::Diff);
    /// [`Error::Io`](crate::Error::Io).
    pub async fn layers(&self, old: &Path, new: &Path) -> Result<Measurement> {
        let cache = DeltaCache::new(&self.options, &self.watch)?;
        let old = layer_of_file(old, &self.options).await?;
        let new = layer_of_file(new, &self.options).await?;
        let mut layer = MeasuredLayer::new(new.diff_id, new.spool.blob_size());
        if cache.sees_through() {
            let delta = cache.delta(vec![old.clone()], new.clone(), Version::V3).await?;
            layer.note_tardf3(&delta);
        }
        let delta = cache.delta(vec![old], new, Version::V2).await?;
        layer.delta_size = Some(delta.size);
        layer.seconds += delta.seconds;
        let layers = vec![layer];
        Ok(Measurement {
            platform: None,
            has_delta_index: false,
            plain: layers.iter().map(|layer| layer.blob_size).sum(),
            with_deltas: fetched(&layers),
            layers,
        })
    }
}

impl MeasuredLayer {
    /// A layer before its deltas are made.
    const fn new(diff_id: DiffId, blob_size: u64) -> Self {
        let (delta_size, delta_index_size, tardf3_size) = (None, None, None);
        let (has_failed, seconds) = (false, 0.0);
        Self { diff_id, blob_size, delta_size, delta_index_size, tardf3_size, has_failed, seconds }
    }

    /// Makes the deltas from `source`.
    async fn make(
        &mut self,
        source: ImageIn<'_>,
        target: LayerOf<'_>,
        has_delta_index: bool,
        cache: &DeltaCache,
    ) -> Result<()> {
        let old: Vec<&ImageLayer> = source.image.layers.iter().collect();
        let delta = async |old, newest| {
            let old = LayersOf { repository: source.repository, layers: old };
            cache.delta_unless_unreadable(old, target, newest).await
        };
        if cache.sees_through()
            && let Some(delta) = delta(&old, Version::V3).await?
        {
            self.note_tardf3(&delta);
        }
        match delta(&old, Version::V2).await? {
            Some(delta) => {
                self.delta_size = Some(delta.size);
                self.seconds += delta.seconds;
            }
            None => self.has_failed = true,
        }
        if has_delta_index
            && let Some((_, last)) = old.split_last_chunk::<1>()
            && let Some(delta) = delta(last, Version::V1).await?
        {
            self.delta_index_size = Some(delta.size);
            self.seconds += delta.seconds;
        }
        Ok(())
    }

    /// Notes a tardf3 delta, unless it sees through nothing.
    fn note_tardf3(&mut self, delta: &Delta) {
        if delta.version == Version::V3 {
            self.tardf3_size = Some(delta.size);
            self.seconds += delta.seconds;
        }
    }
}

/// Reads the layer in a file.
async fn layer_of_file(path: &Path, options: &MakeOptions) -> Result<UnpackedLayer> {
    let spool_options =
        SpoolOptions::default().temp_dir(options.temp_dir.clone()).max_size(options.max_layer_size);
    let path = path.to_owned();
    blocking(move || {
        let spool = Spool::open(&path, &spool_options)?;
        layer::check_is_layer(&spool)?;
        let diff_id = spool.diff_id()?;
        Ok(UnpackedLayer { diff_id, spool })
    })
    .await
}
