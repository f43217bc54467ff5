//! Names of stores.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use layer::Digest;

use super::{
    ComposefsStore, ContainerdStore, ContainersStorage, DockerStore, GivenPath, LayerStore, OciLayout,
    OstreeStore, StorageRef, TreeStore,
};
use crate::{Error, Result};

/// The forms of a store.
const KINDS: &str = "oci:DIR, oci-archive:FILE, docker-archive:FILE, containers-storage:[NAME], docker:[ROOT], \
                     containerd:[ROOT], composefs:[ROOT], ostree:[ROOT][@REF] or tree:DIR";

/// A store, as the command line has it.
///
/// - `oci:DIR[:TAG]`: an OCI image layout.
/// - `oci-archive:FILE[:TAG]`: a tar of one.
/// - `docker-archive:FILE`: a tar that `docker save` wrote, to read from it; what follows FILE and a colon is
///   not looked at.
/// - `containers-storage:[[DRIVER@ROOT[+RUNROOT]]]NAME`: what podman has, in its usual place if none
///   is given.
/// - `docker:[ROOT]`, `containerd:[ROOT]`: the directory of a daemon, in its usual place if none is given.
/// - `composefs:[ROOT]`: a composefs repository, in its usual place if none is given.
/// - `ostree:[ROOT][@REF]`: an ostree repository, in its usual place if none is given, and the ref or the checksum of
///   a commit.
/// - `tree:DIR[@sha256:HEX]`: the root file system of an image; the digest is of the image's config
///   or of its layer, and not needed for a tree that an image was pulled into.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreRef {
    /// An OCI image layout, and the name of an image in it.
    Layout(PathBuf, Option<String>),
    /// A tar of an OCI image layout, and the name of an image in it.
    Archive(PathBuf, Option<String>),
    /// A tar of `docker save`.
    DockerArchive(PathBuf),
    /// The storage of podman, buildah and cri-o.
    Storage(StorageRef),
    /// The directory of a docker daemon.
    Docker(PathBuf),
    /// The directory of a containerd daemon.
    Containerd(PathBuf),
    /// A composefs repository.
    Composefs(PathBuf),
    /// An ostree repository, and the ref or the checksum of a commit in it.
    Ostree(PathBuf, Option<String>),
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
            Self::DockerArchive(file) => Arc::new(OciLayout::unpack_docker(file, temp_dir)?),
            Self::Storage(storage) => Arc::new(ContainersStorage::of(storage)?),
            Self::Docker(root) => Arc::new(DockerStore::open(root)?),
            Self::Containerd(root) => Arc::new(ContainerdStore::open(root)?),
            Self::Composefs(root) => Arc::new(ComposefsStore::open(root)?),
            Self::Ostree(root, revision) => Arc::new(OstreeStore::open(root, revision.as_deref())?),
            Self::Tree(dir, content) => Arc::new(TreeStore::new(dir, *content)),
        })
    }
}

impl FromStr for StoreRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::Reference { text: text.into(), reason: reason.into() };
        let (kind, rest) = text.split_once(':').ok_or_else(|| {
            wrong(&match GivenPath::of(Path::new(text)) {
                Some(given) => given.to_string(),
                None => format!("a store is {KINDS}"),
            })
        })?;
        let path_or = |path: &str, default: &str| PathBuf::from(if path.is_empty() { default } else { path });
        let root_or = |default: &str| path_or(rest, default);
        let with_tag = || match rest.split_once(':') {
            Some((path, tag)) => (PathBuf::from(path), Some(tag.to_owned()).filter(|tag| !tag.is_empty())),
            None => (PathBuf::from(rest), None),
        };
        if rest.is_empty()
            && !matches!(kind, "containers-storage" | "docker" | "containerd" | "composefs" | "ostree")
        {
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
            "docker-archive" => Ok(Self::DockerArchive(with_tag().0)),
            "containers-storage" => StorageRef::parse(rest).map(Self::Storage).map_err(wrong),
            "docker" | "containerd" if rest.starts_with("//") => Err(wrong(
                "docker:ROOT and containerd:ROOT are directories of daemons; images in registries have no prefix",
            )),
            "docker" => Ok(Self::Docker(root_or(DockerStore::DEFAULT_ROOT))),
            "containerd" => Ok(Self::Containerd(root_or(ContainerdStore::DEFAULT_ROOT))),
            "composefs" => Ok(Self::Composefs(root_or(ComposefsStore::DEFAULT_ROOT))),
            "ostree" => {
                // No ref has an @, so that a path may.
                let (root, revision) = match rest.rsplit_once('@') {
                    Some((root, "")) if root.contains('@') => (root, None),
                    Some((_, "")) => return Err(wrong("a ref or the checksum of a commit follows the @")),
                    Some((root, revision)) => (root, Some(revision.to_owned())),
                    None => (rest, None),
                };
                Ok(Self::Ostree(path_or(root, OstreeStore::DEFAULT_ROOT), revision))
            }
            "tree" => match rest.split_once("@sha256:") {
                Some((dir, hex)) => {
                    let digest =
                        format!("sha256:{hex}").parse().map_err(|_| wrong("the digest is broken"))?;
                    Ok(Self::Tree(dir.into(), Some(digest)))
                }
                None => Ok(Self::Tree(rest.into(), None)),
            },
            _ => Err(wrong(&match GivenPath::of(Path::new(text)) {
                Some(given) => given.to_string(),
                None => format!("there is no such kind of store; a store is {KINDS}"),
            })),
        }
    }
}

/// Writes the name of an ostree repository. After a path with an @, an @ stands in any case.
pub(super) fn write_ostree(out: &mut fmt::Formatter<'_>, root: &Path, revision: Option<&str>) -> fmt::Result {
    write!(out, "ostree:{}", root.display())?;
    let has_at = root.as_os_str().as_encoded_bytes().contains(&b'@');
    match revision {
        Some(revision) => write!(out, "@{revision}"),
        None if has_at => out.write_str("@"),
        None => Ok(()),
    }
}

impl fmt::Display for StoreRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, path, tag) = match self {
            Self::Layout(path, tag) => ("oci", path, tag),
            Self::Archive(path, tag) => ("oci-archive", path, tag),
            Self::DockerArchive(path) => return write!(out, "docker-archive:{}", path.display()),
            Self::Storage(storage) => return storage.fmt(out),
            Self::Docker(root) => return write!(out, "docker:{}", root.display()),
            Self::Containerd(root) => return write!(out, "containerd:{}", root.display()),
            Self::Composefs(root) => return write!(out, "composefs:{}", root.display()),
            Self::Ostree(root, revision) => return write_ostree(out, root, revision.as_deref()),
            Self::Tree(path, digest) => {
                write!(out, "tree:{}", path.display())?;
                return digest.iter().try_for_each(|digest| write!(out, "@{digest}"));
            }
        };
        write!(out, "{kind}:{}", path.display())?;
        tag.iter().try_for_each(|tag| write!(out, ":{tag}"))
    }
}
