//! The store of a docker daemon that keeps images by a graph driver (github.com/moby/moby).
//!
//! ```text
//! ROOT/image/DRIVER/imagedb/content/sha256/CONFIG      the configs of images
//! ROOT/image/DRIVER/layerdb/sha256/CHAIN/diff          the diff_id of a layer
//! ROOT/image/DRIVER/layerdb/sha256/CHAIN/cache-id      the name of the directory with its files
//! ROOT/overlay2/CACHE-ID/diff    ROOT/vfs/dir/CACHE-ID
//! ```
//!
//! It is only read. The daemon puts an entry of the layerdb there by one rename once the files are complete,
//! and may remove it at any time, so each call looks anew.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use layer::{DiffId, Digest, SpoolOptions};

use super::layer_dirs::{
    DirContent, chain_ids, diff_ids_of, is_dir_itself, is_readable_dir, of_store, open_dirs, read_if_there,
};
use super::{Base, LayerStore, Sources};
use crate::oci::hex;
use crate::{Error, Result};

/// Most bytes of a file with one digest or one name.
const MAX_NAME_SIZE: u64 = 4 << 10;

/// The graph driver by which docker keeps its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    Overlay2,
    Vfs,
}

impl Driver {
    const ALL: [Self; 2] = [Self::Overlay2, Self::Vfs];

    const fn name(self) -> &'static str {
        match self {
            Self::Overlay2 => "overlay2",
            Self::Vfs => "vfs",
        }
    }

    const fn content(self) -> DirContent {
        match self {
            Self::Overlay2 => DirContent::OwnFiles,
            Self::Vfs => DirContent::WholeTree,
        }
    }
}

/// The directory of a docker daemon, to read from: drivers overlay2 and vfs.
#[derive(Debug, Clone)]
pub struct DockerStore {
    root: PathBuf,
}

/// Directories with the files of layers, lowest first.
struct Dirs {
    dirs: Vec<PathBuf>,
    content: DirContent,
}

impl DockerStore {
    /// The directory of the daemon, unless it is told another (`data-root`).
    pub const DEFAULT_ROOT: &'static str = "/var/lib/docker";

    /// Opens the directory of a daemon.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none, or one with other drivers; [`Error::StoreOfOthers`] if this
    /// user may not read it; [`Error::Io`].
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        if store.drivers().map_err(of_store(&store))?.is_empty() {
            let what = format!(
                "a docker store of the driver overlay2 or vfs in {} (where docker keeps its images in containerd, \
                 the source is containerd:ROOT)",
                root.display()
            );
            return Err(Error::NotFound { what });
        }
        Ok(store)
    }

    /// The drivers that have lists of layers, which may be empty; a daemon that was given another has those of both.
    fn drivers(&self) -> Result<Vec<Driver>> {
        let mut drivers = Vec::new();
        for driver in Driver::ALL {
            if is_readable_dir(&self.of_driver(driver).join("layerdb"))? {
                drivers.push(driver);
            }
        }
        Ok(drivers)
    }

    fn layers(&self, driver: Driver) -> PathBuf {
        self.of_driver(driver).join("layerdb/sha256")
    }

    fn of_driver(&self, driver: Driver) -> PathBuf {
        self.root.join("image").join(driver.name())
    }

    /// The directories with the files of `base`; `None` if one of them is not there.
    fn dirs(&self, base: Base) -> Result<Option<Dirs>> {
        for driver in self.drivers()? {
            let dirs = match base {
                Base::Layer(diff_id) => self.dir_of_layer(driver, diff_id)?.map(|dir| vec![dir]),
                Base::Image(config) => self.dirs_of_image(driver, config)?,
            };
            if let Some(dirs) = dirs {
                return Ok(Some(Dirs { dirs, content: driver.content() }));
            }
        }
        Ok(None)
    }

    fn dirs_of_image(&self, driver: Driver, config: Digest) -> Result<Option<Vec<PathBuf>>> {
        let configs = self.of_driver(driver).join("imagedb/content/sha256");
        let Some(diff_ids) = diff_ids_of(&configs, config)? else { return Ok(None) };
        let chains = chain_ids(&diff_ids);
        if chains.is_empty() {
            return Ok(None);
        }
        chains.into_iter().map(|chain| self.dir_of_chain(driver, chain)).collect()
    }

    /// The directory of the first layer with this diff_id, whatever is below it.
    fn dir_of_layer(&self, driver: Driver, diff_id: DiffId) -> Result<Option<PathBuf>> {
        // Where nothing is below it.
        if let Some(dir) = self.dir_of_chain(driver, diff_id.0)? {
            return Ok(Some(dir));
        }
        let layers = self.layers(driver);
        // Before the first layer is there.
        if !is_readable_dir(&layers)? {
            return Ok(None);
        }
        let entries = fs::read_dir(&layers).map_err(Error::io("read", &layers))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &layers))?;
            let name = entry.file_name();
            let chain = name.to_str().and_then(|name| format!("sha256:{name}").parse::<Digest>().ok());
            let Some(chain) = chain else { continue };
            let has_it = read_name(&entry.path().join("diff"))?.is_some_and(|id| id.parse() == Ok(diff_id));
            if has_it && let Some(dir) = self.dir_of_chain(driver, chain)? {
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }

    /// The directory of a layer: one in the store, whatever the store's files say.
    fn dir_of_chain(&self, driver: Driver, chain: Digest) -> Result<Option<PathBuf>> {
        let file = self.layers(driver).join(hex(chain)).join("cache-id");
        let Some(id) = read_name(&file)? else { return Ok(None) };
        // As the daemon makes it: 64 hex digits.
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Error::malformed(file.display().to_string(), "it names no directory of the store"));
        }
        let (own, dir) = match driver {
            Driver::Overlay2 => {
                let own = self.root.join("overlay2").join(id);
                let dir = own.join("diff");
                (own, dir)
            }
            Driver::Vfs => {
                let dir = self.root.join("vfs/dir").join(id);
                (dir.clone(), dir)
            }
        };
        Ok((is_dir_itself(&own)? && is_dir_itself(&dir)?).then_some(dir))
    }
}

/// Reads a file that holds one name.
fn read_name(path: &Path) -> Result<Option<String>> {
    let bytes = read_if_there(path, MAX_NAME_SIZE)?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
}

impl fmt::Display for DockerStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "docker:{}", self.root.display())
    }
}

impl LayerStore for DockerStore {
    fn has(&self, base: Base) -> Result<bool> {
        Ok(self.dirs(base).map_err(of_store(self))?.is_some())
    }

    fn sources(&self, base: Base, _: &SpoolOptions) -> Result<Sources> {
        let found = self.dirs(base).map_err(of_store(self))?;
        let found = found.ok_or_else(|| Error::NotFound { what: format!("{base} in {self}") })?;
        open_dirs(&found.dirs, found.content)
    }
}
