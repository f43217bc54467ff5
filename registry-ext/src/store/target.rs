//! The store that takes an image.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer::{DiffId, SpoolOptions};

use super::{ContainersStorage, LayerStore, OciLayout, StorageRef, StorageWriter, StoreRef, TreeTarget};
use crate::error::blocking;
use crate::image::Image;
use crate::oci::Name;
use crate::scratch::ScratchDir;
use crate::watch::Watch;
use crate::{Error, Result};

/// The tag in a layout that only lives until another store has the image.
const PASSING_TAG: &str = "image";

/// A store that takes an image, and the layout that the image goes through.
///
/// An image becomes visible in the store once all of it is there.
#[derive(Debug)]
pub struct PullTarget {
    layout: OciLayout,
    kind: Kind,
    /// The directory of a layout that goes away with the target.
    _scratch: Option<ScratchDir>,
}

#[derive(Debug)]
enum Kind {
    /// The layout is the store.
    Layout { tag: Option<String> },
    /// A tar is made of the layout.
    Archive { file: PathBuf, tag: Option<String> },
    /// The image is copied to what podman, buildah and cri-o have. `present` is the storage as it is before.
    Storage { to: StorageRef, present: Option<ContainersStorage>, writer: StorageWriter },
    /// The image is unpacked.
    Tree(Box<TreeTarget>),
}

impl PullTarget {
    /// Opens a store, or makes it if it can be made. Blocks, for a tree also until others who put an image
    /// there are done, which `watch` is told.
    ///
    /// # Errors
    /// [`Error::Reference`] for a store that takes no image as it is named; [`Error::Io`]; as
    /// [`OciLayout::create`], [`StorageWriter::find`] and [`TreeTarget::open`].
    pub fn open(store: &StoreRef, temp_dir: &Path, watch: &Watch) -> Result<Self> {
        let wrong = |reason: &str| Error::Reference { text: store.to_string(), reason: reason.into() };
        let passing = || -> Result<(OciLayout, Option<ScratchDir>)> {
            let dir = ScratchDir::new_in(temp_dir)?;
            Ok((OciLayout::create(dir.path())?, Some(dir)))
        };
        let ((layout, scratch), kind) = match store {
            StoreRef::Layout(dir, tag) => {
                ((OciLayout::create(dir)?, None), Kind::Layout { tag: tag.clone() })
            }
            StoreRef::Archive(file, tag) => {
                let layout =
                    if file.exists() { (OciLayout::unpack(file, temp_dir)?, None) } else { passing()? };
                (layout, Kind::Archive { file: file.clone(), tag: tag.clone() })
            }
            StoreRef::Storage(to) => {
                // Before the first image there is nothing to open.
                let present = ContainersStorage::of(to).ok();
                // The program takes the driver whose layers are read here.
                let driver = present.as_ref().map(ContainersStorage::driver);
                let writer = StorageWriter::find(to)?.with_driver(driver);
                (passing()?, Kind::Storage { to: to.clone(), present, writer })
            }
            StoreRef::DockerArchive(_) => {
                return Err(wrong(
                    "an archive of docker save is a source; write oci-archive:FILE, which docker load reads since \
                     version 25 and podman load in every version",
                ));
            }
            StoreRef::Docker(_) | StoreRef::Containerd(_) => {
                return Err(wrong(
                    "only the daemon writes to its store, so this one is a source; let the daemon pull the image, \
                     through a mirror that rebuilds layers from deltas",
                ));
            }
            StoreRef::Composefs(_) => {
                return Err(wrong(
                    "a composefs repository is a source; cfsctl and bootc write to it, and read oci-delta artifacts \
                     themselves",
                ));
            }
            StoreRef::Ostree(..) => {
                return Err(wrong(
                    "an ostree repository is a source; bootc, rpm-ostree and flatpak write to it",
                ));
            }
            StoreRef::Tree(_, Some(_)) => {
                return Err(wrong(
                    "a digest is for a tree that is a source, the tree that takes an image is tree:DIR",
                ));
            }
            StoreRef::Tree(dir, None) => {
                let tree = TreeTarget::open(dir, watch)?;
                // Beside the tree, since an image that fits there need not fit elsewhere.
                ((tree.layout()?, None), Kind::Tree(Box::new(tree)))
            }
        };
        Ok(Self { layout, kind, _scratch: scratch })
    }

    /// Makes a target of an OCI image layout. The image gets this tag, or that by which it was named.
    pub fn layout(layout: OciLayout, tag: Option<&str>) -> Self {
        Self { layout, kind: Kind::Layout { tag: tag.map(str::to_owned) }, _scratch: None }
    }

    /// The layout that takes the blobs.
    pub(crate) const fn blobs(&self) -> &OciLayout {
        &self.layout
    }

    /// True if the store keeps compressed layers as they are.
    pub(crate) const fn keeps_blobs(&self) -> bool {
        matches!(self.kind, Kind::Layout { .. } | Kind::Archive { .. })
    }

    /// True if the store has the image and nothing else is to be done. Only a tree can tell at once.
    pub(crate) fn has(&self, image: &Image) -> bool {
        match &self.kind {
            Kind::Tree(tree) => tree.record().is_some_and(|tree| tree.manifest == image.manifest.digest),
            _ => false,
        }
    }

    /// True if the store notes the manifest of the registry, whatever the layout has.
    pub(crate) const fn notes_manifest(&self) -> bool {
        matches!(self.kind, Kind::Tree(_))
    }

    /// Returns the store as it is before the image comes, to read from, if it is another one than the layout.
    pub(crate) fn store(&self) -> Option<Arc<dyn LayerStore>> {
        match &self.kind {
            Kind::Storage { present, .. } => present.clone().map(|storage| Arc::new(storage) as _),
            Kind::Tree(tree) => tree.source().map(|tree| Arc::new(tree) as _),
            _ => None,
        }
    }

    /// Returns the layers that need not be in the layout, with the sizes of their tars in bytes: the store has
    /// them. A tree gives them to the layout. Blocks.
    ///
    /// # Errors
    /// As [`ContainersStorage::layers`] and [`TreeTarget::rebuild`].
    pub(crate) fn present_layers(
        &self,
        image: &Image,
        max_layer_size: u64,
        watch: &Watch,
    ) -> Result<HashMap<DiffId, u64>> {
        match &self.kind {
            Kind::Storage { present: Some(storage), .. } => storage.layers(),
            Kind::Tree(tree) => tree.rebuild(image, &self.layout, max_layer_size, watch),
            _ => Ok(HashMap::new()),
        }
    }

    /// Returns the tag that the image gets in the layout, where `named` is the one by which it was asked for.
    pub(crate) fn tag(&self, named: Option<&Name>) -> Option<String> {
        match (&self.kind, named) {
            (Kind::Storage { .. } | Kind::Tree(_), _) => Some(PASSING_TAG.into()),
            (Kind::Layout { tag: Some(tag) } | Kind::Archive { tag: Some(tag), .. }, _)
            | (_, Some(Name::Tag(tag))) => Some(tag.clone()),
            _ => None,
        }
    }

    /// Gives the store the image that the layout has. `reference` is what a tree calls it.
    ///
    /// # Errors
    /// As [`OciLayout::pack`], [`StorageWriter::copy`] and [`TreeTarget::put`].
    pub(crate) async fn finish(
        self,
        image: &Image,
        reference: &str,
        options: SpoolOptions,
        watch: &Watch,
    ) -> Result<()> {
        let Self { layout, kind, _scratch } = self;
        match kind {
            Kind::Layout { .. } => Ok(()),
            Kind::Archive { file, .. } => blocking(move || layout.pack(&file)).await,
            Kind::Storage { to, writer, .. } => writer.copy(&layout, PASSING_TAG, &to).await,
            Kind::Tree(tree) => {
                let (image, reference, watch) = (image.clone(), reference.to_owned(), watch.clone());
                blocking(move || tree.put((&layout, PASSING_TAG), (&image, &reference), &options, &watch))
                    .await
            }
        }
    }
}
