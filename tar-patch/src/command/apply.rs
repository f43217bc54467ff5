//! `tar-patch DELTA SOURCE... OUT`

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::CommandFactory;
use clap::error::ErrorKind;
use cli::{Bar, Output, Progress, resources};
use layer::SpoolOptions;
use tar_patch::{Applied, ApplyOptions, DirSource, LayerSource, apply};

use super::{Args, open_delta, print};

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let (Some(delta), Some(out)) = (&args.delta, &args.out) else { unreachable!("clap requires them") };
    let (delta, delta_size) = open_delta(delta)?;
    let source = Source::open(&args.sources)?;
    let mut output = Output::create(out)?;

    let progress = Progress::new(args.quiet || args.json);
    let bar = match args.max_size {
        Some(max) => progress.bytes("layer", max),
        None => progress.bytes("delta", delta_size),
    };
    let (of_output, of_delta) = if args.max_size.is_some() { (Some(&bar), None) } else { (None, Some(&bar)) };
    let applied = source.apply(
        Advancing { inner: delta, bar: of_delta },
        ApplyOptions {
            expected: args.diff_id,
            max_output: args.max_size.unwrap_or(u64::MAX),
            ..Default::default()
        },
        &mut Advancing { inner: &mut output, bar: of_output },
    );
    bar.finish();
    let applied = applied?;

    let is_stdout = output.is_stdout();
    if args.sync {
        output.commit_synced()?;
    } else {
        output.commit()?;
    }
    let Some(line) = result_line(&args, applied, started) else { return Ok(()) };
    if is_stdout { Ok(io::stderr().write_all(line.as_bytes())?) } else { print(&line) }
}

/// What is printed about the result.
fn result_line(args: &Args, applied: Applied, started: Instant) -> Option<String> {
    if args.json {
        let json = serde_json::json!({
            "diff_id": applied.diff_id.to_string(),
            "size": applied.size,
            "seconds": started.elapsed().as_secs_f64(),
            "cpu_seconds": resources::cpu_seconds(),
            "peak_memory": resources::peak_memory(),
        });
        return Some(format!("{json}\n"));
    }
    (args.diff_id.is_none() && !args.quiet).then(|| format!("{}\n", applied.diff_id))
}

/// Where the old files are.
enum Source {
    Directory(DirSource),
    Layers(LayerSource),
}

impl Source {
    fn open(paths: &[PathBuf]) -> anyhow::Result<Self> {
        match paths {
            [path] if path.is_dir() => Ok(Self::Directory(DirSource::open(path)?)),
            _ => {
                if let Some(directory) = paths.iter().find(|path| path.is_dir()) {
                    let text =
                        format!("{} is a directory: no other SOURCE may be given", directory.display());
                    Args::command().error(ErrorKind::ArgumentConflict, text).exit();
                }
                Ok(Self::Layers(LayerSource::open(paths, &SpoolOptions::default())?))
            }
        }
    }

    fn apply(
        self,
        delta: impl Read,
        options: ApplyOptions,
        output: &mut dyn Write,
    ) -> tar_patch::Result<Applied> {
        match self {
            Self::Directory(mut sources) => apply(delta, &mut sources, options, output),
            Self::Layers(mut sources) => apply(delta, &mut sources, options, output),
        }
    }
}

/// Advances a bar, if it has one, by what is read or written through it.
struct Advancing<'b, I> {
    inner: I,
    bar: Option<&'b Bar>,
}

impl<I> Advancing<'_, I> {
    fn advance(&self, bytes: usize) {
        if let Some(bar) = self.bar {
            bar.advance(bytes as u64);
        }
    }
}

impl<R: Read> Read for Advancing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect(|&bytes| self.advance(bytes))
    }
}

impl<W: Write> Write for Advancing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.advance(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
