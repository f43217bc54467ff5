//! Repositories of images and deltas: on a registry, or an OCI image layout.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer::Digest;
use oci_spec::image::Descriptor;

use crate::oci::{Manifest, Name, digest_of, hex};
use crate::reference::ImageRef;
use crate::registry::{self, Allowance, RegistryOptions, Throttle};
use crate::scratch::ScratchDir;
use crate::store::OciLayout;
use crate::{Error, Result};

/// A repository.
#[derive(Debug, Clone)]
pub enum Repository {
    /// On a registry.
    Registry(Arc<registry::Client>),
    /// An OCI image layout.
    Layout(OciLayout),
}

impl Repository {
    /// Opens the repository that `image` is in, to read from it. An archive is unpacked to an OCI
    /// image layout below `temp_dir`.
    ///
    /// # Errors
    /// As [`registry::Client::open`] and [`OciLayout::open`].
    pub fn open(image: &ImageRef, options: &RegistryOptions, temp_dir: &Path) -> Result<Self> {
        Ok(match image {
            ImageRef::Registry(reference) => {
                Self::Registry(Arc::new(registry::Client::open(reference, options)?))
            }
            ImageRef::Layout(layout) => Self::Layout(OciLayout::open(&layout.path)?),
            ImageRef::Archive(layout) => Self::Layout(OciLayout::unpack(&layout.path, temp_dir)?),
            ImageRef::DockerArchive(layout) => {
                Self::Layout(OciLayout::unpack_docker(&layout.path, temp_dir)?)
            }
        })
    }

    /// The same repository, whose blobs come at so many bytes a second at most, all together.
    #[must_use]
    pub fn at_rate(self, rate: u64) -> Self {
        match self {
            Self::Registry(registry) => {
                let throttle = Throttle::new(Some(Arc::new(Allowance::new(rate))));
                Self::Registry(Arc::new(registry.throttled(Arc::new(throttle))))
            }
            layout @ Self::Layout(_) => layout,
        }
    }

    /// Returns the name of the repository.
    pub fn name(&self) -> String {
        match self {
            Self::Registry(registry) => registry.name(),
            Self::Layout(layout) => layout.to_string(),
        }
    }

    /// Bytes received over the network so far.
    pub fn received(&self) -> u64 {
        match self {
            Self::Registry(registry) => registry.received(),
            Self::Layout(_) => 0,
        }
    }

    /// The rate of the network in bytes a second, if a registry was seen to send over it. One on this machine does not.
    pub(crate) fn network_rate(&self) -> Option<u64> {
        match self {
            Self::Registry(registry) if !registry.is_local() => registry.line_rate(),
            Self::Registry(_) | Self::Layout(_) => None,
        }
    }

    /// The rate at which a registry was seen to send large blobs, in bytes a second.
    pub fn line_rate(&self) -> Option<u64> {
        match self {
            Self::Registry(registry) => registry.line_rate(),
            Self::Layout(_) => None,
        }
    }

    /// The manifest or index of this name; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Registry`], [`Error::Io`], [`Error::TooLarge`], [`Error::DigestMismatch`].
    pub async fn manifest(&self, name: &Name) -> Result<Option<Manifest>> {
        match self {
            Self::Registry(registry) => registry.manifest(name).await,
            Self::Layout(layout) => layout.manifest(name),
        }
    }

    /// The manifest that a descriptor names.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest); [`Error::NotFound`].
    pub async fn manifest_of(&self, descriptor: &Descriptor) -> Result<Manifest> {
        let name = Name::Digest(digest_of(descriptor)?);
        let found = self.manifest(&name).await?;
        found.ok_or_else(|| Error::NotFound { what: format!("manifest {name} in {}", self.name()) })
    }

    /// Stores a manifest: under its digest, and under `tag` if one is given. Returns true if it is listed among
    /// the referrers of its subject by that.
    ///
    /// # Errors
    /// [`Error::Registry`], [`Error::Io`].
    pub(crate) async fn put_unlisted(&self, manifest: &Manifest, tag: Option<&str>) -> Result<bool> {
        match self {
            Self::Registry(registry) => {
                let name = tag.map_or(Name::Digest(manifest.digest), |tag| Name::Tag(tag.to_owned()));
                registry.put_manifest(&name, manifest).await
            }
            Self::Layout(layout) => {
                layout.put_manifest(manifest, tag)?;
                Ok(true)
            }
        }
    }

    /// Deletes a manifest. Gives false if the registry cannot delete: then only the entries in
    /// indexes are gone, and the bytes stay.
    ///
    /// # Errors
    /// [`Error::Registry`], [`Error::Io`].
    pub async fn delete_manifest(&self, digest: Digest) -> Result<bool> {
        match self {
            Self::Registry(registry) => match registry.delete_manifest(&Name::Digest(digest)).await {
                Ok(_) => Ok(true),
                Err(Error::Registry(error)) if matches!(error.status(), Some(400 | 405 | 415 | 501)) => {
                    Ok(false)
                }
                Err(error) => Err(error),
            },
            Self::Layout(layout) => layout.delete_manifest(digest).map(|()| true),
        }
    }

    /// Deletes a manifest and its tag. Gives false if the tag is still there: some registries delete
    /// the manifest alone, others neither.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest).
    pub(crate) async fn delete_tagged(&self, tag: &str, digest: Digest) -> Result<bool> {
        let Self::Registry(registry) = self else { return self.delete_manifest(digest).await };
        let tag = Name::Tag(tag.to_owned());
        for name in [Name::Digest(digest), tag.clone()] {
            // Who may write the tag need not be allowed to delete it.
            match registry.delete_manifest(&name).await {
                Ok(_) => {}
                Err(Error::Registry(error)) if error.status().is_some() && !error.is_transient() => {}
                Err(error) => return Err(error),
            }
            if registry.manifest(&tag).await?.is_none_or(|found| found.digest != digest) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The manifests whose subject is `subject`.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest).
    pub async fn referrers(&self, subject: Digest) -> Result<Vec<Descriptor>> {
        match self {
            Self::Registry(registry) => registry.referrers(subject).await,
            Self::Layout(layout) => layout.referrers(subject),
        }
    }

    /// All tags.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest).
    pub async fn tags(&self) -> Result<Vec<String>> {
        match self {
            Self::Registry(registry) => registry.tags().await,
            Self::Layout(layout) => layout.tags(),
        }
    }

    /// Gives the file of a blob: downloaded to `dir`, or where the layout has it. Its digest and its
    /// size are those of the descriptor.
    ///
    /// # Errors
    /// As [`registry::Client::get_blob`]; [`Error::NotFound`].
    pub async fn blob(
        &self,
        blob: &Descriptor,
        dir: &Path,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<PathBuf> {
        match self {
            Self::Registry(registry) => {
                let path = dir.join(hex(digest_of(blob)?));
                registry.get_blob(blob, &path, progress).await?;
                Ok(path)
            }
            Self::Layout(layout) => {
                let (layout, blob) = (layout.clone(), blob.clone());
                crate::error::blocking(move || layout.checked_blob(&blob)).await
            }
        }
    }

    /// The bytes of a blob that is held in memory: of at most `max`.
    ///
    /// # Errors
    /// As [`blob`](Self::blob); [`Error::TooLarge`] over `max`.
    pub async fn small_blob(&self, blob: &Descriptor, max: u64, dir: &Path) -> Result<Vec<u8>> {
        if blob.size() > max {
            return Err(Error::TooLarge { what: format!("blob {}", blob.digest()), size: blob.size(), max });
        }
        // In a directory of its own: `dir` may be shared with others, and the blob's name is known.
        let private = ScratchDir::new_in(dir)?;
        let path = self.blob(blob, private.path(), &|_| ()).await?;
        // A layout's file may have become another one since it was checked.
        let mut bytes = Vec::new();
        let file = layer::open_regular(&path).map_err(Error::io("open", &path))?;
        file.take(blob.size() + 1).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
        let (expected, actual) = (digest_of(blob)?, Digest::of(&bytes));
        if actual != expected {
            return Err(Error::DigestMismatch { what: path.display().to_string(), expected, actual });
        }
        Ok(bytes)
    }

    /// Stores the blob in a file, unless it is there.
    ///
    /// # Errors
    /// [`Error::Registry`], [`Error::Io`].
    pub async fn put_blob(&self, blob: &Descriptor, path: &Path) -> Result<()> {
        match self {
            Self::Registry(registry) => registry.put_blob(blob, path).await,
            Self::Layout(layout) => {
                let (layout, blob, path) = (layout.clone(), blob.clone(), path.to_owned());
                crate::error::blocking(move || layout.put_blob(digest_of(&blob)?, &path)).await
            }
        }
    }
}
