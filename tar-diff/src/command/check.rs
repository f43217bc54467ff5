//! Arguments that cannot be meant: in another order, or an output that would destroy an input.

use std::path::{Path, PathBuf};

use anyhow::Result;
use cli::Misuse;
use cli::destination::is_same_file;
use tar_patch::FileKind;

/// Refuses a delta that is given as a layer. What does not exist or cannot be read is left to those who
/// open it.
pub(crate) fn layers<'p>(paths: impl IntoIterator<Item = &'p PathBuf>, order: &str) -> Result<()> {
    for path in paths {
        if let Some(kind @ FileKind::Delta(_)) = kind(path) {
            return misuse(format!("`{}` is {kind} and no layer: {order}", path.display()));
        }
    }
    Ok(())
}

/// Refuses a layer that is given as a delta.
pub(crate) fn delta(path: &Path, order: &str) -> Result<()> {
    match kind(path) {
        Some(kind @ (FileKind::Directory | FileKind::Tar | FileKind::Compressed(_))) => {
            misuse(format!("`{}` is {kind} and no delta: {order}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Refuses to write the delta over one of the layers or over a file that is no delta: who forgets OUT has
/// NEW in its place. Deltas of an earlier run, empty files and devices are what an output may replace.
pub(crate) fn output<'p>(
    out: &Path,
    inputs: impl IntoIterator<Item = &'p PathBuf>,
    order: &str,
) -> Result<()> {
    let name = out.display();
    if inputs.into_iter().any(|input| is_same_file(out, input)) {
        return misuse(format!(
            "`{name}` would be written and is also read: add the name of the delta; {order}"
        ));
    }
    match kind(out) {
        None | Some(FileKind::Empty | FileKind::Delta(_)) => Ok(()),
        // The error of the system says it.
        Some(FileKind::Directory) => Ok(()),
        Some(kind) => misuse(format!(
            "`{name}` exists and is {kind}, no delta: add the name of the delta to write, or give --force to \
             replace the file; {order}"
        )),
    }
}

fn kind(path: &Path) -> Option<FileKind> {
    FileKind::of(path).ok().flatten()
}

fn misuse(text: String) -> Result<()> {
    Err(Misuse(text).into())
}
