//! The command `tar-diff`: opens the layers, calls the library, publishes a verified delta.

mod arguments;
mod explain_command;

use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use arguments::Arguments;
use clap::{CommandFactory, Parser};
use cli::{Output, Progress};
use layer::{Spool, SpoolOptions};
use tar_diff::Stats;

fn main() -> ExitCode {
    let arguments = Arguments::parse_from(cli::go_style(&Arguments::command(), std::env::args_os()));
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report("tar-diff", error.as_ref(), 1),
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
    let mut spool_options = SpoolOptions::default();
    if let Some(directory) = &arguments.tmp_dir {
        spool_options.temp_dir.clone_from(directory);
    }
    let progress = Progress::new(arguments.quiet || arguments.json);
    // Opened first: a wrong path should not cost a diff.
    let mut output = Output::create(out)?;

    let (old, new) = open_layers(old, new, &spool_options)?;
    let mut delta = tempfile::tempfile_in(&spool_options.temp_dir).context("cannot make a temporary file")?;
    let bar = progress.bytes("diff", new.size());
    let (_, stats) = tar_diff::diff(&old, &new, &options, &delta, &|size| bar.advance(size))?;
    bar.finish();
    if !arguments.no_verify {
        let bar = progress.bytes("verify", None);
        delta.rewind()?;
        tar_diff::verify(&delta, &old, &new, &options.merge)?;
        bar.finish();
    }
    delta.rewind()?;
    let delta_size = io::copy(&mut delta, &mut output)?;
    let to_stdout = output.is_stdout();
    output.commit()?;
    let figures =
        Figures { stats, delta_size, old: &old, new: &new, seconds: started.elapsed().as_secs_f64() };
    if arguments.json {
        let json = figures.json()?;
        if to_stdout { writeln!(io::stderr(), "{json}")? } else { writeln!(io::stdout(), "{json}")? }
    } else if !arguments.quiet {
        writeln!(io::stderr(), "{}", figures.summary())?;
    }
    Ok(())
}

/// Opens both sides, side by side: decompression is what takes time here.
fn open_layers(old: &[PathBuf], new: &Path, options: &SpoolOptions) -> layer::Result<(Vec<Spool>, Spool)> {
    let open = |path: &Path| {
        if path == Path::new("-") {
            Spool::read("stdin".into(), io::stdin().lock(), options)
        } else {
            Spool::open(path, options)
        }
    };
    std::thread::scope(|scope| {
        let new = scope.spawn(|| open(new));
        let old = old.iter().map(|path| Spool::open(path, options)).collect::<layer::Result<Vec<_>>>()?;
        Ok((old, new.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?))
    })
}

/// What a user wants to know about a delta that was made.
struct Figures<'l> {
    stats: Stats,
    delta_size: u64,
    old: &'l [Spool],
    new: &'l Spool,
    seconds: f64,
}

impl Figures<'_> {
    /// Size of the delta as a share of the layer as it was given: what a pull saves.
    fn ratio(&self) -> f64 {
        self.delta_size as f64 / self.new.blob_size().max(1) as f64
    }

    fn summary(&self) -> String {
        let Stats { same, similar, literal, seen_through, .. } = &self.stats;
        let seen_through = match seen_through.count {
            0 => String::new(),
            count => format!(" ({count} seen through)"),
        };
        format!(
            "delta {} bytes, {:.2}% of the {} bytes of {}; {} files unchanged, {} similar{seen_through}, {} bytes new; {:.1} s",
            self.delta_size,
            100.0 * self.ratio(),
            self.new.blob_size(),
            self.new.name(),
            same.count,
            similar.count,
            literal.size,
            self.seconds,
        )
    }

    fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(&serde_json::json!({
            "delta_size": self.delta_size,
            "old_size": self.old.iter().map(Spool::blob_size).sum::<u64>(),
            "new_size": self.new.blob_size(),
            "ratio": self.ratio(),
            "seconds": self.seconds,
            "cpu_seconds": cli::resources::cpu_seconds(),
            "peak_memory": cli::resources::peak_memory(),
            "segments": self.stats,
        }))
    }
}
