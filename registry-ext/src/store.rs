//! Stores, where images are installed: they have the files that a delta reads, and take a rebuilt image.
//!
//! - [`OciLayout`]: layers are blobs; sources are read through them. Archives are unpacked to one.
//! - [`ContainersStorage`]: what podman, buildah and cri-o have, with the drivers overlay and vfs.
//!   It is read directly, and written by the tools that own it.
//! - [`DockerStore`] and [`ContainerdStore`]: the directories of these daemons, to read from. A daemon writes
//!   to its own only.
//! - [`ComposefsStore`] and [`OstreeStore`]: repositories of objects that are named by their content, as bootc, cfsctl
//!   and flatpak have them, to read from.
//! - [`TreeStore`]: a plain tree, the root file system of an image. [`TreeTarget`] puts one there.

mod bolt;
mod composefs;
mod containerd;
mod containers_storage;
mod docker;
mod docker_archive;
mod layer_dirs;
mod layout_blobs;
mod layout_images;
mod lock;
mod merged_dirs;
mod oci_archive;
mod oci_layout;
mod ostree;
mod sources;
mod spelling;
mod storage_writer;
mod store_ref;
mod target;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use layer::{DiffId, Digest, Spool, SpoolOptions};
use tokio::time::timeout_at;

pub use composefs::{ComposefsFiles, ComposefsStore};
pub use containerd::ContainerdStore;
pub use containers_storage::{ContainersStorage, StorageRef};
pub use docker::DockerStore;
pub(crate) use docker_archive::full_name;
pub use layout_images::LayoutImage;
pub use merged_dirs::MergedDirs;
pub use oci_layout::OciLayout;
pub use ostree::{OstreeFiles, OstreeStore};
pub use sources::{Sources, SourcesFile};
pub use spelling::GivenPath;
pub use storage_writer::StorageWriter;
pub use store_ref::StoreRef;
pub use target::PullTarget;
pub use tree::{TreeLayer, TreeRecord, TreeStore, TreeTarget};

use crate::error::blocking;
use crate::watch::Watch;
use crate::{Error, Result};

/// The files that a delta reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Base {
    /// The files of one layer (`_deltaindex`).
    Layer(DiffId),
    /// The files of a whole image, named by the digest of its config (oci-delta).
    Image(Digest),
}

impl Base {
    /// The digest alone: a layer's diff_id, or the digest of an image's config.
    pub const fn digest(self) -> Digest {
        match self {
            Self::Layer(DiffId(digest)) | Self::Image(digest) => digest,
        }
    }

    /// `layer` or `image`.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Layer(_) => "layer",
            Self::Image(_) => "image",
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(diff_id) => write!(out, "layer {diff_id}"),
            Self::Image(config) => write!(out, "image {config}"),
        }
    }
}

/// A place where images are installed. Its methods block.
pub trait LayerStore: fmt::Debug + fmt::Display + Send + Sync {
    /// Returns true if the files of `base` are there. A store that cannot know says yes: a delta from a
    /// wrong base fails, and the layer is fetched whole.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Malformed`] if the store cannot be read.
    fn has(&self, base: Base) -> Result<bool>;

    /// Opens the files of `base`.
    ///
    /// # Errors
    /// [`Error::NotFound`] if they are not there; [`Error::Io`], [`Error::Layer`].
    fn sources(&self, base: Base, spool: &SpoolOptions) -> Result<Sources>;

    /// Opens the tar of a layer; `None` if the store has other forms of it alone.
    ///
    /// # Errors
    /// As [`sources`](Self::sources).
    fn tar(&self, layer: DiffId, spool: &SpoolOptions) -> Result<Option<Spool>> {
        let _ = (layer, spool);
        Ok(None)
    }

    /// Returns true if it is known that no image is there.
    fn is_empty(&self) -> bool {
        false
    }
}

/// Bases that are asked for at one time.
const ASKED_AT_ONCE: usize = 4;

/// Returns the first of the stores that has a base, for each of the bases. A store that cannot be read has none, and is
/// told of once, as is one of which a part is broken.
///
/// The bases are asked for in their order, several at one time. With a time `until`, those of which no answer
/// has come by then are taken for absent, and so are all behind the first of them.
pub(crate) async fn bases(
    stores: &[Arc<dyn LayerStore>],
    wanted: BTreeSet<Base>,
    watch: &Watch,
    until: Option<Instant>,
) -> Result<BTreeMap<Base, Arc<dyn LayerStore>>> {
    let stores: Arc<[Arc<dyn LayerStore>]> = stores.into();
    let asks = wanted.into_iter().map(|base| {
        let stores = Arc::clone(&stores);
        async move { (base, blocking(move || Ok(first_with(&stores, base))).await) }
    });
    let mut asks = stream::iter(asks).buffered(ASKED_AT_ONCE);
    let mut bases = BTreeMap::new();
    loop {
        let next = match until {
            Some(until) => timeout_at(until.into(), asks.next()).await.unwrap_or_default(),
            None => asks.next().await,
        };
        let Some((base, answer)) = next else { return Ok(bases) };
        let FirstWith { store, warnings } = answer?;
        warnings.iter().for_each(|warning| watch.warn_once(warning));
        bases.extend(store.map(|store| (base, store)));
    }
}

/// The first store that has a base, and the reasons why others were not looked at.
struct FirstWith {
    store: Option<Arc<dyn LayerStore>>,
    warnings: Vec<String>,
}

fn first_with(stores: &[Arc<dyn LayerStore>], base: Base) -> FirstWith {
    let mut warnings = Vec::new();
    let store = stores.iter().find(|store| {
        store.has(base).unwrap_or_else(|error| {
            // A store of which a part is broken may have other bases.
            let is_used = matches!(error, Error::BrokenPart { .. });
            let what = if is_used { "is used as far as it can be read" } else { "is not used" };
            warnings.push(format!("{store} {what}: {}", error.one_line()));
            false
        })
    });
    FirstWith { store: store.map(Arc::clone), warnings }
}

impl LayerStore for OciLayout {
    fn has(&self, base: Base) -> Result<bool> {
        Ok(match base {
            Base::Layer(diff_id) => self.layers()?.contains_key(&diff_id),
            Base::Image(config) => self.images()?.iter().any(|image| image.config == config),
        })
    }

    fn sources(&self, base: Base, options: &SpoolOptions) -> Result<Sources> {
        let not_found = || Error::NotFound { what: format!("{base} in {self}") };
        let blobs = match base {
            Base::Layer(diff_id) => vec![self.layers()?.remove(&diff_id).ok_or_else(not_found)?],
            Base::Image(config) => {
                let images = self.images()?;
                let image = images.into_iter().find(|image| image.config == config).ok_or_else(not_found)?;
                image.layers.into_iter().map(|(_, blob)| blob).collect()
            }
        };
        let open = |blob| {
            let path = self.blob_path(crate::oci::digest_of(blob)?);
            Ok(Spool::open_blob(&path, options)?)
        };
        let spools = blobs.iter().map(open).collect::<Result<Vec<_>>>()?;
        Ok(Sources::Layers(tar_patch::LayerSource::new(spools)?))
    }

    fn tar(&self, layer: DiffId, options: &SpoolOptions) -> Result<Option<Spool>> {
        let blob = self.layers()?.remove(&layer);
        let blob =
            blob.ok_or_else(|| Error::NotFound { what: format!("{} in {self}", Base::Layer(layer)) })?;
        let path = self.blob_path(crate::oci::digest_of(&blob)?);
        Ok(Some(Spool::open_blob(&path, options)?))
    }

    fn is_empty(&self) -> bool {
        self.images().is_ok_and(|images| images.is_empty())
    }
}

#[cfg(test)]
mod tests;
