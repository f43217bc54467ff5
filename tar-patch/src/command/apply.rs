//! `tar-patch DELTA SOURCE... OUT`

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use cli::{Bar, Misuse, Output, Progress, Text, resources};
use layer::{SpoolOptions, open_regular};
use tar_patch::{Applied, ApplyOptions, DiffId, DirSource, Fault, LayerSource, apply};

use super::check::check;
use super::{Args, open_delta};

/// Most bytes of a digest in a file: `sha256:`, 64 hex digits, and space around them.
const MAX_DIGEST_TEXT: u64 = 100;

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let (Some(delta), Some(out)) = (&args.delta, &args.out) else { unreachable!("clap requires them") };
    let expected = Expected::find(&args, delta)?;
    check(&args, delta, out, expected.diff_id())?;
    let name = delta;
    let (delta, delta_size) = open_delta(delta)?;
    let temp_dir = args.temp_dir();
    let source = Source::open(&args.sources, &temp_dir)?;
    let mut output = Output::create(out)?;

    let progress = Progress::new(args.quiet || args.json);
    let bar = match args.max_size {
        Some(max) => progress.bytes("layer", max),
        None => progress.bytes("delta", delta_size),
    };
    let (of_output, of_delta) = if args.max_size.is_some() { (Some(&bar), None) } else { (None, Some(&bar)) };
    let applied = source.apply(
        Advancing { inner: delta, bar: of_delta },
        ApplyOptions::default().expected(expected.diff_id()).max_output(args.max_size.unwrap_or(u64::MAX)),
        &mut Advancing { inner: &mut output, bar: of_output },
    );
    bar.finish();
    let is_mismatch = |applied: &tar_patch::Result<Applied>| {
        applied.as_ref().is_err_and(|error| error.fault() == Fault::Mismatch)
    };
    let applied = match expected {
        Expected::Beside(_) if is_mismatch(&applied) => {
            applied.with_context(|| format!("{}.diff-id says which layer it must be", name.display()))
        }
        _ => Ok(applied?),
    }?;

    let is_stdout = output.is_stdout();
    if args.sync {
        output.commit_synced()?;
    } else {
        output.commit()?;
    }
    if expected == Expected::Nothing && !args.quiet {
        cli::warn("tar-patch", NOT_COMPARED);
    }
    let Some(text) = result(&args, applied, started)? else { return Ok(()) };
    if is_stdout {
        text.print_to_stderr();
        return Ok(());
    }
    Ok(text.print()?)
}

const NOT_COMPARED: &str = "the result was not verified, since neither --diff-id nor a file DELTA.diff-id says \
                            which layer it must be: compare its diff_id with rootfs.diff_ids in the image's config, \
                            or give that as --diff-id sha256:HEX; `tar-diff --diff-id-file` writes it beside a delta";

/// The origin of the digest that the result must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The command line.
    Given(DiffId),
    /// The file beside the delta.
    Beside(DiffId),
    Nothing,
}

impl Expected {
    fn find(args: &Args, delta: &Path) -> anyhow::Result<Self> {
        if let Some(diff_id) = args.diff_id {
            return Ok(Self::Given(diff_id));
        }
        if delta == Path::new("-") {
            return Ok(Self::Nothing);
        }
        let mut beside = delta.as_os_str().to_owned();
        beside.push(".diff-id");
        let beside = PathBuf::from(beside);
        // A digest and a line end; what is longer is none.
        let mut text = String::new();
        match open_regular(&beside) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self::Nothing);
            }
            opened => opened.and_then(|file| file.take(MAX_DIGEST_TEXT).read_to_string(&mut text)),
        }
        .with_context(|| format!("cannot read the digest in {}", beside.display()))?;
        let diff_id = text.trim().parse();
        diff_id
            .map(Self::Beside)
            .with_context(|| format!("{} holds no digest: `{}`", beside.display(), text.trim()))
    }

    fn diff_id(self) -> Option<DiffId> {
        match self {
            Self::Given(diff_id) | Self::Beside(diff_id) => Some(diff_id),
            Self::Nothing => None,
        }
    }
}

/// Returns the text that is printed about the result.
fn result(args: &Args, applied: Applied, started: Instant) -> anyhow::Result<Option<Text>> {
    if args.json {
        let json = serde_json::json!({
            "diff_id": applied.diff_id.to_string(),
            "size": applied.size,
            "seconds": started.elapsed().as_secs_f64(),
            "cpu_seconds": resources::cpu_seconds(),
            "peak_memory": resources::peak_memory(),
        });
        return Ok(Some(Text::json_line(&json)?));
    }
    Ok((args.diff_id.is_none() && !args.quiet).then(|| Text::of(applied.diff_id)))
}

/// The place of the old files.
enum Source {
    Directory(DirSource),
    Layers(LayerSource),
}

impl Source {
    fn open(paths: &[PathBuf], temp_dir: &Path) -> anyhow::Result<Self> {
        match paths {
            [path] if path.is_dir() => Ok(Self::Directory(DirSource::open(path)?)),
            _ => {
                if let Some(directory) = paths.iter().find(|path| path.is_dir()) {
                    let text =
                        format!("{} is a directory: no other SOURCE may be given", directory.display());
                    return Err(Misuse(text).into());
                }
                let options = SpoolOptions::default().temp_dir(temp_dir.to_owned());
                Ok(Self::Layers(LayerSource::open(paths, &options)?))
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
