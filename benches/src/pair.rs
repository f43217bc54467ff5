//! Layer pairs: where their files are, and what tools need beside them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use layer::{Compression, DiffId, Spool, SpoolOptions};

use crate::{Error, Result};

/// An old and a new layer, as they are given.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Its name in the results.
    pub name: String,
    /// A line that says it to people: the first of `about.txt` beside the layers.
    pub about: Option<String>,
    /// The old layer, plain or compressed.
    pub old: PathBuf,
    /// The new layer, plain or compressed.
    pub new: PathBuf,
    /// The old layer extracted; made where it is missing.
    pub tree: Option<PathBuf>,
}

/// A pair with all that tools may ask for.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The uncompressed layers, for tools that know no layers.
    pub(crate) old_tar: PathBuf,
    pub(crate) new_tar: PathBuf,
    pub(crate) tree: PathBuf,
    /// Size of the uncompressed new tar in bytes.
    pub(crate) new_size: u64,
    /// Size of the new layer as given in bytes, if it was compressed.
    pub(crate) blob_size: Option<u64>,
    pub(crate) diff_id: DiffId,
}

/// Endings of layer files, the one that registries serve first.
const ENDINGS: [&str; 5] = [".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2", ".tar"];

/// The pair in `dir` (`old.tar.gz`, `new.tar.gz`, perhaps `tree/`), or those in its directories.
///
/// # Errors
/// [`Error::NoPair`] if there is none, [`Error::Io`].
pub fn find_pairs(dir: &Path) -> Result<Vec<Pair>> {
    if let Some(pair) = pair_in(dir) {
        return Ok(vec![pair]);
    }
    let mut pairs = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("list", dir))? {
        pairs.extend(pair_in(&entry.map_err(Error::io("list", dir))?.path()));
    }
    pairs.sort_by(|left, right| left.name.cmp(&right.name));
    if pairs.is_empty() { Err(Error::NoPair(dir.to_owned())) } else { Ok(pairs) }
}

fn pair_in(dir: &Path) -> Option<Pair> {
    let layer = |stem: &str| {
        ENDINGS.iter().map(|ending| dir.join(format!("{stem}{ending}"))).find(|path| path.is_file())
    };
    let (old, new) = (layer("old")?, layer("new")?);
    let tree = Some(dir.join("tree")).filter(|tree| tree.is_dir());
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let about = fs::read_to_string(dir.join("about.txt")).ok();
    let about = about.and_then(|text| text.lines().next().map(str::to_owned));
    Some(Pair { name, about, old, new, tree })
}

/// Writes a generated pair of about 20 MB into `dir`: the same bytes in every run.
///
/// # Errors
/// [`Error::Io`].
pub fn generated_pair(dir: &Path) -> Result<Pair> {
    let (old, new) = fixtures::Corpus::default().pair();
    let write = |name: &str, layer: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, layer).map_err(Error::io("write", &path))?;
        Ok::<_, Error>(path)
    };
    let (old, new) = (write("generated-old.tar", &old)?, write("generated-new.tar", &new)?);
    Ok(Pair { name: "generated".into(), about: None, old, new, tree: None })
}

impl Pair {
    /// Makes in `dir` what is not there yet.
    pub(crate) fn prepare(&self, dir: &Path) -> Result<Prepared> {
        let old_tar = plain(&self.old, &dir.join("old.tar"))?;
        let new_tar = plain(&self.new, &dir.join("new.tar"))?;
        let tree = match &self.tree {
            Some(tree) => tree.clone(),
            None => extract(&old_tar, &dir.join("tree"))?,
        };
        let spool = Spool::open(&new_tar, &SpoolOptions::default())?;
        let blob_size = fs::metadata(&self.new).map_err(Error::io("read", &self.new))?.len();
        Ok(Prepared {
            new_size: spool.size(),
            blob_size: (self.new != new_tar).then_some(blob_size),
            diff_id: spool.diff_id()?,
            old_tar,
            new_tar,
            tree,
        })
    }
}

/// The layer itself if it is plain; else decompressed to `to`.
fn plain(layer: &Path, to: &Path) -> Result<PathBuf> {
    let mut file = File::open(layer).map_err(Error::io("open", layer))?;
    let mut start = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(&mut file, Compression::MAGIC_SIZE as u64), &mut start)
        .map_err(Error::io("read", layer))?;
    let compression = Compression::detect(&start);
    if compression == Compression::None {
        return Ok(layer.to_owned());
    }
    let whole = io::BufReader::new(io::Read::chain(start.as_slice(), file));
    let mut decoder = compression.decoder(whole).map_err(Error::io("decompress", layer))?;
    let mut out = File::create(to).map_err(Error::io("create", to))?;
    io::copy(&mut decoder, &mut out).map_err(Error::io("decompress", layer))?;
    out.flush().map_err(Error::io("write", to))?;
    Ok(to.to_owned())
}

/// Extracts a tar as a host would. What cannot be made here (devices, owners) no delta needs, so
/// the exit status says nothing: the digest of the result will.
fn extract(tar: &Path, dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    Command::new("tar")
        .args(["-x", "--no-same-owner", "-f"])
        .arg(tar)
        .arg("-C")
        .arg(dir)
        .stderr(Stdio::null())
        .status()
        .map_err(Error::io("extract with GNU tar", tar))?;
    Ok(dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_found_here_and_below() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("old.tar"), "").unwrap();
            fs::write(dir.path().join(name).join("new.tar"), "").unwrap();
        }
        fs::write(dir.path().join("a/new.tar.gz"), "").unwrap();
        fs::write(dir.path().join("a/about.txt"), "an application\n\nmore\n").unwrap();
        fs::create_dir(dir.path().join("a/tree")).unwrap();
        let pairs = find_pairs(dir.path()).unwrap();
        assert_eq!(pairs.iter().map(|pair| pair.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(pairs[0].new.ends_with("a/new.tar.gz") && pairs[0].old.ends_with("a/old.tar"));
        assert_eq!((pairs[0].about.as_deref(), pairs[1].about.as_deref()), (Some("an application"), None));
        assert!(pairs[0].tree.is_some() && pairs[1].tree.is_none());
        assert_eq!(find_pairs(&dir.path().join("a")).unwrap()[0].name, "a");
        assert!(matches!(find_pairs(&dir.path().join("a/tree")), Err(Error::NoPair(_))));
    }
}
