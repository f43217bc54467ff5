//! Layers that are unpacked, and what lies there then.

use std::fs;
use std::path::Path;

use fixtures::{Ending, LayerBuilder};
use layer::{Spool, SpoolOptions};
use rootfs::{LeftOut, Result, Unpacker};
use tempfile::TempDir;

use super::listing::listing;

/// Unpacks layers over each other.
pub(crate) fn unpack(dir: &Path, layers: &[Vec<u8>]) -> Result<LeftOut> {
    let mut unpacker = Unpacker::new(dir)?;
    for layer in layers {
        let spool = Spool::read("layer".into(), layer.as_slice(), &SpoolOptions::default())?;
        unpacker.layer(&spool, &|_| ())?;
    }
    unpacker.finish()
}

pub(crate) fn empty_dir() -> TempDir {
    TempDir::new().unwrap()
}

/// Writes a layer.
pub(crate) fn layer(build: impl FnOnce(&mut LayerBuilder) -> &mut LayerBuilder) -> Vec<u8> {
    let mut builder = LayerBuilder::new();
    build(&mut builder);
    builder.finish(Ending::Normal)
}

/// The paths in a tree and what regular files hold.
pub(crate) fn contents(dir: &Path) -> Vec<String> {
    let line = |path: &String| {
        let at = dir.join(path);
        let metadata = fs::symlink_metadata(&at).unwrap();
        match metadata.is_file() {
            true => format!("{path}={}", String::from_utf8_lossy(&fs::read(at).unwrap())),
            false if metadata.is_symlink() => format!("{path}->{}", fs::read_link(at).unwrap().display()),
            false => format!("{path}/"),
        }
    };
    listing(dir).keys().filter(|path| *path != ".").map(line).collect()
}
