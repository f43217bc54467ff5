//! Arguments that cannot be meant: in another order, or an output that would destroy an input.

use std::path::Path;

use anyhow::Result;
use cli::Misuse;
use cli::destination::{is_below, is_same_file};
use layer::{Digest, open_regular};
use tar_patch::{DiffId, FileKind};

use super::Args;

const ORDER: &str = "tar-patch takes DELTA SOURCE... OUT, in this order";

/// Refuses what `args` cannot mean, such as an OUT that exists and is not what an earlier run of the same
/// command left: whoever forgets OUT has the last SOURCE in its place. What does not exist or cannot be read is
/// left to those who open it.
pub(super) fn check(args: &Args, delta: &Path, out: &Path, expected: Option<DiffId>) -> Result<()> {
    if let Some(kind @ (FileKind::Directory | FileKind::Tar | FileKind::Compressed(_))) = kind(delta) {
        return misuse(format!("`{}` is {kind} and no delta: {ORDER}", delta.display()));
    }
    for source in &args.sources {
        if let Some(kind @ FileKind::Delta(_)) = kind(source) {
            return misuse(format!("`{}` is {kind} and no layer: {ORDER}", source.display()));
        }
    }
    if args.force || out == Path::new("-") {
        return Ok(());
    }
    let name = out.display();
    if is_same_file(out, delta) {
        return misuse(format!("OUT `{name}` is the delta itself: choose another name"));
    }
    for source in &args.sources {
        if is_same_file(out, source) {
            return misuse(format!(
                "OUT `{name}` is also a SOURCE: add the name of the file to write; {ORDER}"
            ));
        }
        if source.is_dir() && is_below(out, source) {
            return misuse(format!(
                "OUT `{name}` is in the directory of the old files, `{}`: write it elsewhere, or give --force",
                source.display()
            ));
        }
    }
    match kind(out) {
        // The error of the system says what is wrong with a directory.
        None | Some(FileKind::Empty | FileKind::Directory) => Ok(()),
        Some(_) if expected.is_some_and(|expected| has_diff_id(out, expected)) => Ok(()),
        Some(FileKind::Tar) => misuse(format!(
            "`{name}` exists and is a tar, but not the one that the delta makes: add the name of the tar to write, \
             or give --force to replace the file; {ORDER}"
        )),
        Some(kind) => misuse(format!(
            "`{name}` exists and is {kind}, which tar-patch never writes: add the name of the tar to write, or \
             give --force to replace the file; {ORDER}"
        )),
    }
}

/// Tells whether the file at `path` is the layer that the delta makes, as an earlier run left it.
fn has_diff_id(path: &Path, expected: DiffId) -> bool {
    open_regular(path).and_then(Digest::of_reader).is_ok_and(|(found, _)| DiffId(found) == expected)
}

fn kind(path: &Path) -> Option<FileKind> {
    FileKind::of(path).ok().flatten()
}

fn misuse(text: String) -> Result<()> {
    Err(Misuse(text).into())
}
