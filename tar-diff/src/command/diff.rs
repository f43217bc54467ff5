//! `tar-diff OLD... NEW OUT`: opens the layers, calls the library, publishes a verified delta.

use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use cli::{Misuse, Output, Progress, Text};
use layer::{Spool, SpoolOptions};
use tar_diff::{DiffOptions, Stats};

use super::args::Args;
use super::check;
use super::figures::{Figures, memory_warning};

const TOO_COSTLY: &str = "a delta that sees through the compressed files would be refused by tar-patch, since they take \
                          more work to encode than their sizes allow: the delta is made without";

pub(super) fn run(args: &Args) -> Result<()> {
    args.check()?;
    let started = Instant::now();
    let [old @ .., new, out] = args.paths.as_slice() else { unreachable!("clap asks for three paths") };
    let options = args.diff_options();
    check::layers(old.iter().chain([new]), ORDER)?;
    if !args.force {
        check::output(out, old.iter().chain([new]), ORDER)?;
    }
    let diff_id_file = diff_id_file(args, out)?;
    let spool_options = SpoolOptions::default().temp_dir(args.temp_dir());
    let temp_dir = &spool_options.temp_dir;
    let progress = Progress::new(args.quiet || args.json);
    // Opened first: a wrong path should not cost a diff.
    let mut output = Output::create(out)?;
    let diff_id_file = diff_id_file.as_deref().map(Output::create).transpose()?;

    let (old, new) = open_layers(old, new, &spool_options, &progress)?;
    let in_temp_dir = |action| move || format!("cannot {action} a temporary file in {}", temp_dir.display());
    let file = tempfile::tempfile_in(temp_dir).with_context(in_temp_dir("make"))?;
    let mut delta = &file;
    let make = |options: &DiffOptions, progress: &(dyn Fn(u64) + Sync)| -> Result<Stats> {
        match tar_diff::diff(&old, &new, options, &file, progress) {
            Err(error @ (tar_diff::Error::Delta(_) | tar_diff::Error::Store(_))) => {
                Err(error).with_context(in_temp_dir("write the delta to"))
            }
            made => Ok(made?.1),
        }
    };
    let bar = progress.bytes("diff", new.size());
    let mut stats = make(&options, &|size| bar.advance(size))?;
    bar.finish();
    if !args.no_verify {
        let bar = progress.bytes("verify", new.size());
        delta.rewind()?;
        let verified = tar_diff::verify_watched(delta, &old, &new, &options.merge, &|size| bar.advance(size));
        bar.finish();
        match verified {
            Err(error) if error.is_of_cost() && options.sees_through => {
                if !args.quiet {
                    cli::warn("tar-diff", TOO_COSTLY);
                }
                let options = options.clone().sees_through(false);
                delta.set_len(0)?;
                delta.rewind()?;
                stats = make(&options, &|_| ())?;
                delta.rewind()?;
                tar_diff::verify(delta, &old, &new, &options.merge)?;
            }
            verified => drop(verified?),
        }
    }
    delta.rewind()?;
    let delta_size = io::copy(&mut delta, &mut output)?;
    let to_stdout = output.is_stdout();
    let diff_id = match diff_id_file {
        None if args.quiet && !args.json => None,
        _ => Some(new.diff_id()?),
    };
    if let (Some(mut file), Some(diff_id)) = (diff_id_file, diff_id) {
        file.write_all(format!("{diff_id}\n").as_bytes())?;
        file.commit()?;
    }
    output.commit()?;
    let warning = memory_warning(&stats.reduced, &options);
    if let Some(warning) = warning.as_ref().filter(|_| !args.quiet && !args.json) {
        progress.line(&format!("tar-diff: warning: {warning}"));
    }
    let seconds = started.elapsed().as_secs_f64();
    let figures = Figures { stats, delta_size, diff_id, old: &old, new: &new, seconds, warning };
    if args.json {
        let json = Text::json(&figures.json())?;
        if to_stdout { json.print_to_stderr() } else { json.print()? }
    } else if !args.quiet {
        figures.summary().print_to_stderr();
    }
    Ok(())
}

const ORDER: &str = "tar-diff takes OLD... NEW OUT, in this order";

/// The file for the diff_id: the one that was named, or the one beside the delta where tar-patch looks.
fn diff_id_file(args: &Args, out: &Path) -> Result<Option<PathBuf>> {
    let beside = || {
        let mut beside = out.as_os_str().to_owned();
        beside.push(".diff-id");
        PathBuf::from(beside)
    };
    let Some(named) = &args.diff_id_file else {
        // tar-patch would compare with the digest of an earlier run.
        return Ok(Some(beside()).filter(|_| out != Path::new("-")).filter(|beside| beside.is_file()));
    };
    if let Some(named) = named {
        let inputs = args.paths.iter().find(|path| cli::destination::is_same_file(path, named));
        if let Some(input) = inputs {
            let text = format!("--diff-id-file would replace `{}`: choose another name", input.display());
            return Err(Misuse(text).into());
        }
        return Ok(Some(named.clone()));
    }
    if out == Path::new("-") {
        return Err(Misuse("the delta goes to stdout, so say which file: --diff-id-file=FILE".into()).into());
    }
    Ok(Some(beside()))
}

/// Opens both sides, side by side: decompression is what takes time here.
fn open_layers(
    old: &[PathBuf],
    new: &Path,
    options: &SpoolOptions,
    progress: &Progress,
) -> layer::Result<(Vec<Spool>, Spool)> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bar = progress.bytes("read", old.iter().map(|path| size(path)).sum::<u64>() + size(new));
    let advance = |bytes| bar.advance(bytes);
    let open = |path: &Path| {
        let spool = if path == Path::new("-") {
            Spool::read_pipe("stdin".into(), io::stdin().lock(), options)?
        } else {
            Spool::open_watched(path, options, &advance)?
        };
        layer::check_is_layer(&spool).map(|()| spool)
    };
    let opened = std::thread::scope(|scope| {
        let new = scope.spawn(|| open(new));
        let old = old.iter().map(|path| open(path)).collect::<layer::Result<Vec<_>>>()?;
        Ok((old, new.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?))
    });
    bar.finish();
    opened
}
