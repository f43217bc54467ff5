//! The command `tar-diff`: opens the layers, calls the library, publishes a verified delta.

mod arguments;
mod check;
mod explain_command;

use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use arguments::Arguments;
use clap::CommandFactory;
use cli::{Misuse, Output, Progress, Text};
use layer::{DiffId, Spool, SpoolOptions};
use tar_diff::{Count, DiffOptions, Reduced, Stats};

fn main() -> ExitCode {
    let arguments = cli::parse::<Arguments>();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report("tar-diff", error.as_ref(), 1, &arguments.temp_dir()),
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.generate.run(Arguments::command())? {
        return Ok(());
    }
    cli::on_interrupt(|| ()).context("cannot watch for signals")?;
    if let Some(command) = &arguments.command {
        return explain_command::run(command);
    }
    arguments.check()?;
    let started = Instant::now();
    let [old @ .., new, out] = arguments.paths.as_slice() else { unreachable!("clap asks for three paths") };
    let options = arguments.diff_options();
    check::layers(old.iter().chain([new]), ORDER)?;
    if !arguments.force {
        check::output(out, old.iter().chain([new]), ORDER)?;
    }
    let diff_id_file = diff_id_file(arguments, out)?;
    let spool_options = SpoolOptions { temp_dir: arguments.temp_dir(), ..SpoolOptions::default() };
    let temp_dir = &spool_options.temp_dir;
    let progress = Progress::new(arguments.quiet || arguments.json);
    // Opened first: a wrong path should not cost a diff.
    let mut output = Output::create(out)?;
    let diff_id_file = diff_id_file.as_deref().map(Output::create).transpose()?;

    let (old, new) = open_layers(old, new, &spool_options, &progress)?;
    let in_temp_dir = |action| move || format!("cannot {action} a temporary file in {}", temp_dir.display());
    let mut delta = tempfile::tempfile_in(temp_dir).with_context(in_temp_dir("make"))?;
    let bar = progress.bytes("diff", new.size());
    let made = tar_diff::diff(&old, &new, &options, &delta, &|size| bar.advance(size));
    let (_, stats) = match made {
        Err(error @ (tar_diff::Error::Delta(_) | tar_diff::Error::Store(_))) => {
            Err(error).with_context(in_temp_dir("write the delta to"))
        }
        made => Ok(made?),
    }?;
    bar.finish();
    if !arguments.no_verify {
        let bar = progress.bytes("verify", new.size());
        delta.rewind()?;
        tar_diff::verify_watched(&delta, &old, &new, &options.merge, &|size| bar.advance(size))?;
        bar.finish();
    }
    delta.rewind()?;
    let delta_size = io::copy(&mut delta, &mut output)?;
    let to_stdout = output.is_stdout();
    let diff_id = match diff_id_file {
        None if arguments.quiet && !arguments.json => None,
        _ => Some(new.diff_id()?),
    };
    if let (Some(mut file), Some(diff_id)) = (diff_id_file, diff_id) {
        file.write_all(format!("{diff_id}\n").as_bytes())?;
        file.commit()?;
    }
    output.commit()?;
    let warning = memory_warning(&stats.reduced, &options);
    if let Some(warning) = warning.as_ref().filter(|_| !arguments.quiet && !arguments.json) {
        progress.line(&format!("tar-diff: warning: {warning}"));
    }
    let seconds = started.elapsed().as_secs_f64();
    let figures = Figures { stats, delta_size, diff_id, old: &old, new: &new, seconds, warning };
    if arguments.json {
        let json = Text::json(&figures.json())?;
        if to_stdout { json.print_to_stderr() } else { json.print()? }
    } else if !arguments.quiet {
        figures.summary().print_to_stderr();
    }
    Ok(())
}

const ORDER: &str = "tar-diff takes OLD... NEW OUT, in this order";

/// The file for the diff_id: the one that was named, or the one beside the delta where tar-patch looks.
fn diff_id_file(arguments: &Arguments, out: &Path) -> Result<Option<PathBuf>> {
    let beside = || {
        let mut beside = out.as_os_str().to_owned();
        beside.push(".diff-id");
        PathBuf::from(beside)
    };
    let Some(named) = &arguments.diff_id_file else {
        // tar-patch would compare with the digest of an earlier run.
        return Ok(Some(beside()).filter(|_| out != Path::new("-")).filter(|beside| beside.is_file()));
    };
    if let Some(named) = named {
        let inputs = arguments.paths.iter().find(|path| cli::destination::is_same_file(path, named));
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

/// What a budget of memory that is too small for the layers cost, and what to do about it.
fn memory_warning(reduced: &Reduced, options: &DiffOptions) -> Option<String> {
    const MIB: u64 = 1 << 20;
    if !reduced.is_any() {
        return None;
    }
    let mut costs = Vec::new();
    let files = |count: &Count| {
        let plural = if count.count == 1 { "file" } else { "files" };
        format!("{} {plural} ({} bytes)", count.count, count.size)
    };
    if reduced.in_chunks.count > 0 {
        costs.push(format!("{} matched in chunks instead of by bsdiff", files(&reduced.in_chunks)));
    }
    if reduced.sparse.count > 0 {
        costs.push(format!("{} matched more sparsely", files(&reduced.sparse)));
    }
    if let Some(level) = reduced.level {
        costs.push(format!("zstd level {level} instead of {}", options.level));
    }
    Some(format!(
        "{} MiB of memory make the delta larger: {}; --memory {} avoids that",
        options.memory / MIB,
        costs.join(", "),
        reduced.wanted_memory.div_ceil(MIB),
    ))
}

/// What a user wants to know about a delta that was made.
struct Figures<'l> {
    stats: Stats,
    delta_size: u64,
    diff_id: Option<DiffId>,
    old: &'l [Spool],
    new: &'l Spool,
    seconds: f64,
    warning: Option<String>,
}

impl Figures<'_> {
    /// Size of the delta as a share of the layer as it was given: what a pull saves.
    fn ratio(&self) -> f64 {
        self.delta_size as f64 / self.new.blob_size().max(1) as f64
    }

    fn summary(&self) -> Text {
        let Stats { same, similar, literal, seen_through, .. } = &self.stats;
        let seen_through = match seen_through.count {
            0 => String::new(),
            count => format!(" ({count} seen through)"),
        };
        let mut text = Text::of(format_args!(
            "delta {} bytes, {:.2}% of the {} bytes of {}; {} files unchanged, {} similar{seen_through}, {} bytes new; {:.1} s",
            self.delta_size,
            100.0 * self.ratio(),
            self.new.blob_size(),
            self.new.name(),
            same.count,
            similar.count,
            literal.size,
            self.seconds,
        ));
        if let Some(diff_id) = self.diff_id {
            text.line(format_args!("diff_id {diff_id}: give it to tar-patch --diff-id"));
        }
        text
    }

    /// Sizes are of uncompressed tars, as in `explain`; `blob` sizes are those of the layers as given.
    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "delta_size": self.delta_size,
            "diff_id": self.diff_id.map(|diff_id| diff_id.to_string()),
            "old_size": self.old.iter().map(Spool::size).sum::<u64>(),
            "old_blob_size": self.old.iter().map(Spool::blob_size).sum::<u64>(),
            "new_size": self.new.size(),
            "new_blob_size": self.new.blob_size(),
            "ratio": self.ratio(),
            "seconds": self.seconds,
            "cpu_seconds": cli::resources::cpu_seconds(),
            "peak_memory": cli::resources::peak_memory(),
            "warnings": self.warning.iter().collect::<Vec<_>>(),
            "segments": self.stats,
        })
    }
}
