//! Stores, where images are installed: they have the files that a delta reads, and take a rebuilt image.
//!
//! - [`OciLayout`]: layers are blobs; sources are read through them.
//! - [`ContainersStorage`]: what podman, buildah and cri-o have, with the drivers overlay and vfs.
//!   It is read directly, and written by the tools that own it.
//! - [`DockerStore`] and [`ContainerdStore`]: the directories of these daemons, to read from. A daemon writes
//!   to its own only.
//! - [`TreeStore`]: a plain tree, the root file system of an image. [`TreeTarget`] puts one there.

mod bolt;
mod containerd;
mod containers_storage;
mod docker;
mod layer_dirs;
mod layout_blobs;
mod layout_images;
mod lock;
mod merged_dirs;
mod oci_archive;
mod oci_layout;
mod sources;
mod target;
mod tree;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use layer::{DiffId, Digest, Spool, SpoolOptions};

pub use containerd::ContainerdStore;
pub use containers_storage::{ContainersStorage, StorageRef, copy_to_storage};
pub use docker::DockerStore;
pub use layout_images::LayoutImage;
pub use merged_dirs::MergedDirs;
pub use oci_layout::OciLayout;
pub use sources::Sources;
pub use target::PullTarget;
pub use tree::{TreeLayer, TreeRecord, TreeStore, TreeTarget};

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
}

/// A store, as the command line has it.
///
/// - `oci:DIR[:TAG]`: an OCI image layout.
/// - `oci-archive:FILE[:TAG]`: a tar of one.
/// - `containers-storage:[[DRIVER@ROOT[+RUNROOT]]]NAME`: what podman has, in its usual place if none
///   is given.
/// - `docker:[ROOT]`, `containerd:[ROOT]`: the directory of a daemon, in its usual place if none is given.
/// - `tree:DIR[@sha256:HEX]`: the root file system of an image; the digest is of the image's config
///   or of its layer, and not needed for a tree that an image was pulled into.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreRef {
    /// An OCI image layout, and the name of an image in it.
    Layout(PathBuf, Option<String>),
    /// A tar of an OCI image layout, and the name of an image in it.
    Archive(PathBuf, Option<String>),
    /// The storage of podman, buildah and cri-o.
    Storage(StorageRef),
    /// The directory of a docker daemon.
    Docker(PathBuf),
    /// The directory of a containerd daemon.
    Containerd(PathBuf),
    /// A plain tree, and the digest of what is in it.
    Tree(PathBuf, Option<Digest>),
}

impl StoreRef {
    /// Opens the store to read old images from it. An archive is unpacked to `temp_dir`. Blocks.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`] if it cannot be opened.
    pub fn open(&self, temp_dir: &Path) -> Result<Arc<dyn LayerStore>> {
        Ok(match self {
            Self::Layout(dir, _) => Arc::new(OciLayout::open(dir)?),
            Self::Archive(file, _) => Arc::new(OciLayout::unpack(file, temp_dir)?),
            Self::Storage(storage) => Arc::new(ContainersStorage::of(storage)?),
            Self::Docker(root) => Arc::new(DockerStore::open(root)?),
            Self::Containerd(root) => Arc::new(ContainerdStore::open(root)?),
            Self::Tree(dir, content) => Arc::new(TreeStore::new(dir, *content)),
        })
    }
}

impl FromStr for StoreRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::Reference { text: text.into(), reason: reason.into() };
        let (kind, rest) = text.split_once(':').ok_or_else(|| {
            wrong("a store is oci:DIR, oci-archive:FILE, containers-storage:[NAME], docker:[ROOT], containerd:[ROOT] or tree:DIR")
        })?;
        let root_or = |default: &str| PathBuf::from(if rest.is_empty() { default } else { rest });
        let with_tag = || match rest.split_once(':') {
            Some((path, tag)) => (PathBuf::from(path), Some(tag.to_owned()).filter(|tag| !tag.is_empty())),
            None => (PathBuf::from(rest), None),
        };
        if rest.is_empty() && !matches!(kind, "containers-storage" | "docker" | "containerd") {
            return Err(wrong("the path is missing"));
        }
        match kind {
            "oci" => {
                let (path, tag) = with_tag();
                Ok(Self::Layout(path, tag))
            }
            "oci-archive" => {
                let (path, tag) = with_tag();
                Ok(Self::Archive(path, tag))
            }
            "containers-storage" => StorageRef::parse(rest)
                .map(Self::Storage)
                .ok_or_else(|| wrong("the form is containers-storage:[DRIVER@ROOT+RUNROOT]NAME")),
            "docker" | "containerd" if rest.starts_with("//") => Err(wrong(
                "docker:ROOT and containerd:ROOT are directories of daemons; images in registries have no prefix",
            )),
            "docker" => Ok(Self::Docker(root_or(DockerStore::DEFAULT_ROOT))),
            "containerd" => Ok(Self::Containerd(root_or(ContainerdStore::DEFAULT_ROOT))),
            "tree" => match rest.split_once("@sha256:") {
                Some((dir, hex)) => {
                    let digest =
                        format!("sha256:{hex}").parse().map_err(|_| wrong("the digest is broken"))?;
                    Ok(Self::Tree(dir.into(), Some(digest)))
                }
                None => Ok(Self::Tree(rest.into(), None)),
            },
            _ => Err(wrong(
                "there is no such kind of store: oci, oci-archive, containers-storage, docker, containerd, tree",
            )),
        }
    }
}

impl fmt::Display for StoreRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path, tag) = match self {
            Self::Layout(path, tag) => ("oci", path, tag),
            Self::Archive(path, tag) => ("oci-archive", path, tag),
            Self::Storage(storage) => return storage.fmt(out),
            Self::Docker(root) => return write!(out, "docker:{}", root.display()),
            Self::Containerd(root) => return write!(out, "containerd:{}", root.display()),
            Self::Tree(path, digest) => {
                write!(out, "tree:{}", path.display())?;
                return digest.iter().try_for_each(|digest| write!(out, "@{digest}"));
            }
        };
        write!(out, "{kind}:{}", path.display())?;
        tag.iter().try_for_each(|tag| write!(out, ":{tag}"))
    }
}

#[cfg(test)]
mod tests;
