//! What deltas between two images would save, without publishing any.

use delta_format::Version;
use serde::Serialize;

use crate::delta::{MakeOptions, Workshop};
use crate::image::{Image, ImageLayer};
use crate::publish::Images;
use crate::watch::Watch;
use crate::{Error, Result};

/// What deltas between two images save. Sizes are in bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// Platform of both.
    pub platform: String,
    /// The new image's layers, lowest first.
    pub layers: Vec<MeasuredLayer>,
    /// What a pull of the new image costs without deltas on a machine that has the old one.
    pub plain: u64,
    /// What it costs with them.
    pub with_deltas: u64,
}

/// What a delta of one layer saves.
#[derive(Debug, Clone, Serialize)]
pub struct MeasuredLayer {
    /// The layer.
    pub diff_id: String,
    /// Size of its blob.
    pub blob_size: u64,
    /// Size of its delta from the old image; `None` if the old image has the layer.
    pub delta_size: Option<u64>,
    /// Size of its tardf3 delta, if one was asked for and sees through something.
    pub tardf3_size: Option<u64>,
    /// Seconds that the deltas took to make and to apply.
    pub seconds: f64,
}

impl MeasuredLayer {
    /// What a pull fetches for it.
    pub fn fetched(&self) -> u64 {
        let smallest = self.delta_size.into_iter().chain(self.tardf3_size).min();
        smallest.map_or(0, |size| size.min(self.blob_size))
    }
}

/// Makes the deltas from `old` to `new`, from all layers of the old image as an oci-delta artifact
/// has them, for each platform that both have.
///
/// # Errors
/// Those of the repositories; [`Error::Diff`]; [`Error::NoPlatform`] if they share no platform.
pub async fn measure(
    old: &Images,
    new: &Images,
    options: &MakeOptions,
    watch: &Watch,
) -> Result<Vec<Measurement>> {
    let workshop = Workshop::new(options, watch)?;
    let mut measurements = Vec::new();
    for target in &new.images {
        let same = old.images.iter().find(|source| source.platform.satisfies(&target.platform));
        let Some(source) = same else { continue };
        measurements.push(measure_pair(&workshop, (old, source), (new, target)).await?);
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

async fn measure_pair(
    workshop: &Workshop,
    (old, source): (&Images, &Image),
    (new, target): (&Images, &Image),
) -> Result<Measurement> {
    let of_old: Vec<&ImageLayer> = source.layers.iter().collect();
    let lacking = target.layers_not_in(source);
    let mut layers = Vec::new();
    for layer in &target.layers {
        let (mut delta_size, mut tardf3_size, mut seconds) = (None, None, 0.0);
        if lacking.contains(&layer) {
            let spools = workshop.spools(&old.repository, &of_old).await?;
            let spool = workshop.spools(&new.repository, &[layer]).await?;
            let spool = spool.into_iter().next().ok_or(Error::Panicked)?;
            let delta = async |newest| {
                workshop.delta((&of_old, spools.clone()), (layer, spool.clone()), newest).await
            };
            if workshop.sees_through() {
                let delta = delta(Version::V3).await?;
                if delta.version == Version::V3 {
                    (tardf3_size, seconds) = (Some(delta.size), delta.seconds);
                }
            }
            let delta = delta(Version::V2).await?;
            (delta_size, seconds) = (Some(delta.size), seconds + delta.seconds);
        }
        layers.push(MeasuredLayer {
            diff_id: layer.diff_id.to_string(),
            blob_size: layer.blob.size(),
            delta_size,
            tardf3_size,
            seconds,
        });
    }
    Ok(Measurement {
        platform: target.platform.to_string(),
        plain: lacking.iter().map(|layer| layer.blob.size()).sum(),
        with_deltas: layers.iter().map(MeasuredLayer::fetched).sum(),
        layers,
    })
}
