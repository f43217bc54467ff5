//! qbsdiff, the reference that our bsdiff is compared with, as two commands.

use std::fs;
use std::io;
use std::path::Path;

use qbsdiff::{Bsdiff, Bspatch, ParallelScheme};

use crate::{Error, Result};

/// Makes a BSDIFF40 delta of two files.
///
/// # Errors
/// [`Error::Io`].
///
/// # Panics
/// qbsdiff does, for files over 2 GiB.
pub fn make(old: &Path, new: &Path, delta: &Path) -> Result<()> {
    let (old, new) = (read(old)?, read(new)?);
    let mut out = Vec::new();
    // Its own choice would cut the target into pieces of 512 KiB, which costs up to a third in size.
    Bsdiff::new(&old, &new)
        .parallel_scheme(ParallelScheme::Never)
        .compare(io::Cursor::new(&mut out))
        .map_err(Error::io("make a delta for", delta))?;
    fs::write(delta, out).map_err(Error::io("write", delta))
}

/// Applies it.
///
/// # Errors
/// [`Error::Io`].
pub fn apply(old: &Path, delta: &Path, new: &Path) -> Result<()> {
    let old = read(old)?;
    let bytes = read(delta)?;
    let patch = Bspatch::new(&bytes).map_err(Error::io("understand", delta))?;
    let mut out = Vec::new();
    patch.apply(&old, io::Cursor::new(&mut out)).map_err(Error::io("apply", delta))?;
    fs::write(new, out).map_err(Error::io("write", new))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io("read", path))
}
