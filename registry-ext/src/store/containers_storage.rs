//! The storage of podman, buildah, skopeo and cri-o (github.com/containers/storage).
//!
//! It is read directly. [Programs](super::StorageWriter) write to it.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use layer::{DiffId, Digest, SpoolOptions, open_regular};
use serde::Deserialize;
use tar_patch::DirSource;

use super::layout_blobs::read_at_most;
use super::{Base, LayerStore, MergedDirs, Sources};
use crate::oci::parse_json;
use crate::{Error, Result};

/// Largest list of layers or images in bytes: a layer takes half a kilobyte of it.
const MAX_LIST_SIZE: u64 = 64 << 20;

/// A name in a containers-storage, as skopeo and podman write it:
/// `containers-storage:[DRIVER@ROOT+RUNROOT]NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StorageRef {
    /// `overlay` or `vfs`.
    pub driver: Option<String>,
    /// The root directory.
    pub root: Option<PathBuf>,
    /// The directory of its run-time state, which only those who write need.
    pub runroot: Option<PathBuf>,
    /// The image's name.
    pub name: Option<String>,
}

impl StorageRef {
    /// Reads what follows `containers-storage:`. The error is a reason.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, &'static str> {
        const FORM: &str = "the form is containers-storage:[DRIVER@ROOT+RUNROOT]NAME";
        let Some(rest) = text.strip_prefix('[') else {
            return Ok(Self {
                name: Some(text.to_owned()).filter(|name| !name.is_empty()),
                ..Self::default()
            });
        };
        let (place, name) = rest.split_once(']').ok_or(FORM)?;
        if place.contains(':') {
            return Err(
                "no colon stands between the brackets, since skopeo reads options of the driver after it",
            );
        }
        let (driver, dirs) = match place.split_once('@') {
            Some((driver, dirs)) => (Some(driver.to_owned()), dirs),
            None => (None, place),
        };
        let (root, runroot) = match dirs.split_once('+') {
            Some((root, runroot)) => (root, Some(PathBuf::from(runroot))),
            None => (dirs, None),
        };
        let driver = driver.filter(|driver| !driver.is_empty());
        let root = Some(PathBuf::from(root)).filter(|_| !root.is_empty());
        if root.is_none() && (driver.is_some() || runroot.is_some()) {
            // The programs differ in the storage that they take then.
            return Err("the root of the storage is missing: write [DRIVER@ROOT+RUNROOT]NAME, or NAME alone");
        }
        if !root.iter().chain(&runroot).all(|dir| dir.is_absolute()) {
            return Err("ROOT and RUNROOT are absolute paths");
        }
        Ok(Self { driver, root, runroot, name: Some(name.to_owned()).filter(|name| !name.is_empty()) })
    }
}

impl fmt::Display for StorageRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("containers-storage:")?;
        if let Some(root) = &self.root {
            out.write_str("[")?;
            self.driver.iter().try_for_each(|driver| write!(out, "{driver}@"))?;
            write!(out, "{}", root.display())?;
            self.runroot.iter().try_for_each(|runroot| write!(out, "+{}", runroot.display()))?;
            out.write_str("]")?;
        }
        self.name.iter().try_for_each(|name| out.write_str(name))
    }
}

/// The driver by which a storage keeps its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// Each layer's own files, in a directory of its own.
    Overlay,
    /// Each layer's merged tree, in a directory of its own.
    Vfs,
}

impl Driver {
    const fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Vfs => "vfs",
        }
    }
}

/// A containers-storage, to read from.
#[derive(Debug, Clone)]
pub struct ContainersStorage {
    root: PathBuf,
    driver: Driver,
}

/// An entry of `layers.json`.
#[derive(Debug, Deserialize)]
struct Layer {
    id: String,
    parent: Option<String>,
    #[serde(rename = "diff-digest")]
    diff_id: Option<String>,
    #[serde(rename = "diff-size")]
    size: Option<u64>,
}

/// An entry of `images.json`.
#[derive(Debug, Deserialize)]
struct Image {
    id: String,
    layer: Option<String>,
}

/// The variable by which `podman unshare` tells the user to whom its namespace belongs.
const USER_OF_NAMESPACE: &str = "_CONTAINERS_ROOTLESS_UID";

/// Returns true if podman runs as root, and not as a user. In a namespace of `podman unshare` a user looks like
/// root, and the storage is that of the user.
pub(super) fn is_of_root() -> bool {
    let is_of_user = env::var_os(USER_OF_NAMESPACE).is_some_and(|user| !user.is_empty() && user != "0");
    rustix::process::geteuid().is_root() && !is_of_user
}

/// Returns where podman keeps its storage, unless a storage.conf names another place: that file is not read.
fn default_root() -> PathBuf {
    if is_of_root() {
        return "/var/lib/containers/storage".into();
    }
    let path_in = |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = path_in("XDG_DATA_HOME");
    let home = || path_in("HOME").map(|home| home.join(".local/share"));
    data.or_else(home).unwrap_or_default().join("containers/storage")
}

impl ContainersStorage {
    /// Opens the storage below `root`. Without a driver, the one whose files are there.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; [`Error::Reference`] if the driver is another than
    /// overlay or vfs.
    pub fn open(root: &Path, driver: Option<&str>) -> Result<Self> {
        let drivers = [Driver::Overlay, Driver::Vfs];
        let wanted = |known: &Driver| driver.is_none_or(|name| name == known.name());
        if !drivers.iter().any(wanted) {
            let reason = "only the drivers overlay and vfs can be read".to_owned();
            return Err(Error::Reference { text: driver.unwrap_or_default().to_owned(), reason });
        }
        let exists = |driver: &Driver| root.join(format!("{}-layers", driver.name())).is_dir();
        let driver = drivers.into_iter().find(|driver| wanted(driver) && exists(driver));
        let what = || format!("containers-storage in {}", root.display());
        Ok(Self { root: root.to_owned(), driver: driver.ok_or_else(|| Error::NotFound { what: what() })? })
    }

    /// Opens the storage that a name on the command line is in: the usual one if the name says no other.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of(storage: &StorageRef) -> Result<Self> {
        Self::open(&storage.root.clone().unwrap_or_else(default_root), storage.driver.as_deref())
    }

    /// Returns the name of the driver by which it keeps its layers.
    pub(super) const fn driver(&self) -> &'static str {
        self.driver.name()
    }

    /// The layers, with the sizes of their uncompressed tars in bytes.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Malformed`].
    pub fn layers(&self) -> Result<HashMap<DiffId, u64>> {
        let sized = |layer: Layer| Some((layer.diff_id?.parse().ok()?, layer.size?));
        Ok(self.read_layers()?.into_iter().filter_map(sized).collect())
    }

    fn read_layers(&self) -> Result<Vec<Layer>> {
        self.read("layers")
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, what: &str) -> Result<Vec<T>> {
        let path = self.root.join(format!("{}-{what}/{what}.json", self.driver.name()));
        match open_regular(&path) {
            Ok(file) => parse_json(&path.display().to_string(), &read_at_most(file, &path, MAX_LIST_SIZE)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    /// The ids of an image's layers, lowest first.
    fn chain(&self, config: Digest) -> Result<Option<Vec<String>>> {
        let id = crate::oci::hex(config);
        let images: Vec<Image> = self.read("images")?;
        let Some(image) = images.into_iter().find(|image| image.id == id) else { return Ok(None) };
        let parents: HashMap<String, Option<String>> =
            self.read_layers()?.into_iter().map(|layer| (layer.id, layer.parent)).collect();
        let mut chain = Vec::new();
        let mut next = image.layer.filter(|layer| !layer.is_empty());
        while let Some(layer) = next {
            // A cycle would be longer than all layers.
            if chain.len() > parents.len() {
                return Ok(None);
            }
            let Some(parent) = parents.get(&layer) else { return Ok(None) };
            next = parent.clone().filter(|parent| !parent.is_empty());
            chain.push(layer);
        }
        chain.reverse();
        Ok(Some(chain))
    }

    fn layer_id(&self, diff_id: DiffId) -> Result<Option<String>> {
        let is_wanted =
            |layer: &Layer| layer.diff_id.as_deref().and_then(|text| text.parse().ok()) == Some(diff_id);
        Ok(self.read_layers()?.into_iter().find(is_wanted).map(|layer| layer.id))
    }

    /// The directory of a layer: one in the storage, whatever its lists and links say.
    fn dir(&self, id: &str) -> Result<PathBuf> {
        let broken = |reason| Error::malformed(format!("layer {id} in {self}"), reason);
        // As they are made: 64 hex digits. Tools that restore backups may give others.
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) || id.is_empty() {
            return Err(broken("its id is none that names a directory"));
        }
        let (of_layers, below) = match self.driver {
            Driver::Overlay => (self.root.join("overlay"), "diff"),
            Driver::Vfs => (self.root.join("vfs/dir"), ""),
        };
        let own = of_layers.join(id);
        let dir = own.join(below);
        for part in [&own, &dir] {
            let metadata = fs::symlink_metadata(part).map_err(Error::io("look at", part))?;
            if !metadata.is_dir() {
                return Err(broken("its files are not in a directory of its own"));
            }
        }
        Ok(dir)
    }
}

impl fmt::Display for ContainersStorage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "containers-storage:[{}@{}]", self.driver.name(), self.root.display())
    }
}

impl LayerStore for ContainersStorage {
    fn has(&self, base: Base) -> Result<bool> {
        Ok(match base {
            Base::Layer(diff_id) => self.layer_id(diff_id)?.is_some(),
            Base::Image(config) => self.chain(config)?.is_some(),
        })
    }

    fn sources(&self, base: Base, _: &SpoolOptions) -> Result<Sources> {
        let ids = match base {
            Base::Layer(diff_id) => self.layer_id(diff_id)?.map(|id| vec![id]),
            Base::Image(config) => self.chain(config)?,
        };
        let ids = ids.ok_or_else(|| Error::NotFound { what: format!("{base} in {self}") })?;
        match (self.driver, ids.as_slice()) {
            // The tree of the top layer is the whole image.
            (Driver::Vfs, [.., top]) | (Driver::Overlay, [top]) => {
                Ok(Sources::Dir(DirSource::open(&self.dir(top)?)?))
            }
            (_, ids) => {
                let dirs: Vec<PathBuf> = ids.iter().map(|id| self.dir(id)).collect::<Result<_>>()?;
                Ok(Sources::MergedDirs(MergedDirs::open(&dirs)?))
            }
        }
    }
}
