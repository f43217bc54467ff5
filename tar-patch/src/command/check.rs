//! Arguments that cannot be meant: in another order, or an output that would destroy an input.

use std::path::Path;

use anyhow::Result;
use cli::Misuse;
use cli::destination::{is_below, is_same_file};
use tar_patch::FileKind;

use super::Args;

const ORDER: &str = "tar-patch takes DELTA SOURCE... OUT, in this order";

/// Refuses what `args` cannot mean. What does not exist or cannot be read is left to those who open it.
pub(super) fn check(args: &Args, delta: &Path, out: &Path) -> Result<()> {
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
        Some(kind @ (FileKind::Delta(_) | FileKind::Compressed(_))) => misuse(format!(
            "`{name}` exists and is {kind}, which tar-patch never writes: add the name of the tar to write, or \
             give --force to replace the file; {ORDER}"
        )),
        _ => Ok(()),
    }
}

fn kind(path: &Path) -> Option<FileKind> {
    FileKind::of(path).ok().flatten()
}

fn misuse(text: String) -> Result<()> {
    Err(Misuse(text).into())
}
