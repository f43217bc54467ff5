//! Measures what deltas between two images would save, and publishes none.

use std::path::Path;

use delta_format::Version;
use layer::{DiffId, Spool, SpoolOptions};
use serde::Serialize;

use crate::delta::{DeltaCache, LayerOf, LayersOf, MakeOptions, UnpackedLayer};
use crate::error::blocking;
use crate::image::{Image, ImageLayer, Images, Platform};
use crate::watch::Watch;
use crate::{Error, Result};

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
    /// Bytes that it fetches with deltas.
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

    /// Returns the bytes that a pull fetches for the layer.
    pub fn fetched(&self) -> u64 {
        let whole = self.has_failed.then_some(self.blob_size);
        self.smallest().or(whole).map_or(0, |size| size.min(self.blob_size))
    }
}

/// Makes the deltas from `old` to `new`, from all layers of the old image as an oci-delta artifact
/// has them, for each platform that both have; and those from the last layer alone, as `_deltaindex` has them,
/// where the old image has at most `delta_index_max_layers` layers.
///
/// # Errors
/// Those of the repositories and of the machine; a layer that cannot be read as a tar costs a warning.
/// [`Error::NoPlatform`] if they share no platform.
pub async fn measure(
    old: &Images,
    new: &Images,
    options: &MakeOptions,
    delta_index_max_layers: usize,
    watch: &Watch,
) -> Result<Vec<Measurement>> {
    let cache = DeltaCache::new(options, watch)?;
    let mut measurements = Vec::new();
    for target in &new.images {
        let same = target.platform.counterpart(&old.images, |source| &source.platform);
        let Some(source) = same else { continue };
        measurements.push(measure_pair(&cache, (old, source), (new, target), delta_index_max_layers).await?);
    }
    if measurements.is_empty() {
        let names = |images: &Images| {
            images.images.iter().map(|image| image.platform.to_string()).collect::<Vec<_>>().join(", ")
        };
        return Err(Error::NoPlatform {
            what: "the old image".into(),
            wanted: names(new),
            available: names(old),
        });
    }
    Ok(measurements)
}

/// Makes the delta from one layer in a file to another.
///
/// # Errors
/// [`Error::Layer`] if one cannot be read; [`Error::Diff`]; [`Error::Io`].
pub async fn measure_layers(
    old: &Path,
    new: &Path,
    options: &MakeOptions,
    watch: &Watch,
) -> Result<Measurement> {
    let cache = DeltaCache::new(options, watch)?;
    let (old, new) = (layer_of_file(old, options).await?, layer_of_file(new, options).await?);
    let delta = async |newest| cache.delta(vec![old.clone()], new.clone(), newest).await;
    let mut layer = MeasuredLayer {
        diff_id: new.diff_id,
        blob_size: new.spool.blob_size(),
        delta_size: None,
        delta_index_size: None,
        tardf3_size: None,
        has_failed: false,
        seconds: 0.0,
    };
    if cache.sees_through() {
        let delta = delta(Version::V3).await?;
        if delta.version == Version::V3 {
            (layer.tardf3_size, layer.seconds) = (Some(delta.size), delta.seconds);
        }
    }
    let delta = delta(Version::V2).await?;
    (layer.delta_size, layer.seconds) = (Some(delta.size), layer.seconds + delta.seconds);
    Ok(Measurement {
        platform: None,
        has_delta_index: false,
        plain: layer.blob_size,
        with_deltas: layer.fetched(),
        layers: vec![layer],
    })
}

/// Reads the layer in a file.
async fn layer_of_file(path: &Path, options: &MakeOptions) -> Result<UnpackedLayer> {
    let spool_options = SpoolOptions { temp_dir: options.temp_dir.clone(), max_size: options.max_layer_size };
    let path = path.to_owned();
    blocking(move || {
        let spool = Spool::open(&path, &spool_options)?;
        layer::check_is_layer(&spool)?;
        let diff_id = spool.diff_id()?;
        Ok(UnpackedLayer { diff_id, spool })
    })
    .await
}

async fn measure_pair(
    cache: &DeltaCache,
    (old, source): (&Images, &Image),
    (new, target): (&Images, &Image),
    delta_index_max_layers: usize,
) -> Result<Measurement> {
    let last = source.layers.last().filter(|_| source.layers.len() <= delta_index_max_layers);
    let of_old: Vec<&ImageLayer> = source.layers.iter().collect();
    let lacking = target.layers_not_in(source);
    let mut layers = Vec::new();
    for layer in &target.layers {
        let (mut delta_size, mut delta_index_size, mut tardf3_size) = (None, None, None);
        let (mut has_failed, mut seconds) = (false, 0.0);
        if lacking.contains(&layer) {
            let delta = async |newest| {
                let old = LayersOf { repository: &old.repository, layers: &of_old };
                let new = LayerOf { repository: &new.repository, layer };
                cache.delta_unless_unreadable(old, new, newest).await
            };
            if cache.sees_through()
                && let Some(delta) = delta(Version::V3).await?
                && delta.version == Version::V3
            {
                (tardf3_size, seconds) = (Some(delta.size), delta.seconds);
            }
            match delta(Version::V2).await? {
                Some(delta) => (delta_size, seconds) = (Some(delta.size), seconds + delta.seconds),
                None => has_failed = true,
            }
            if let Some(last) = last {
                let old = LayersOf { repository: &old.repository, layers: &[last] };
                let new = LayerOf { repository: &new.repository, layer };
                if let Some(delta) = cache.delta_unless_unreadable(old, new, Version::V1).await? {
                    (delta_index_size, seconds) = (Some(delta.size), seconds + delta.seconds);
                }
            }
        }
        layers.push(MeasuredLayer {
            diff_id: layer.diff_id,
            blob_size: layer.blob.size(),
            delta_size,
            delta_index_size,
            tardf3_size,
            has_failed,
            seconds,
        });
    }
    Ok(Measurement {
        platform: Some(target.platform.clone()),
        has_delta_index: last.is_some(),
        plain: lacking.iter().map(|layer| layer.blob.size()).sum(),
        with_deltas: layers.iter().map(MeasuredLayer::fetched).sum(),
        layers,
    })
}
