//! Lists the compressed files of directories and layers that can be made again, by what, and how fast.
//!
//! ```sh
//! cargo run --release -p tar-diff-recode --example survey -- (DIR | LAYER.tar)... [--sample N] [--list]
//! ```
//!
//! `--sample N` looks at every N-th file, `--list` names the files that have refused streams. Images in PNG are counted
//! and not looked into.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most plain bytes of a file.
const MAX_PLAIN: usize = 1 << 30;
/// The first bytes of an image as PNG.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

#[derive(Default)]
struct Row {
    streams: u64,
    exact: u64,
    recipe_bytes: u64,
    encoded_bytes: u64,
    plain_bytes: u64,
    finding: Duration,
    encoding: Duration,
}

#[derive(Default)]
struct Survey {
    files: BTreeMap<&'static str, u64>,
    /// By kind of file and encoder, or reason.
    rows: BTreeMap<(&'static str, String), Row>,
    decoding: Duration,
    /// Bytes of images as PNG.
    png_bytes: u64,
    /// Compressed files in which no stream was found.
    empty: BTreeMap<&'static str, u64>,
    is_listing: bool,
}

fn main() -> io::Result<()> {
    let mut survey = Survey::default();
    let (mut paths, mut sample) = (Vec::new(), 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => survey.is_listing = true,
            "--sample" => sample = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(1),
            path => paths.push(PathBuf::from(path)),
        }
    }
    let mut passed = 0;
    let mut take = |path: &Path, file: &mut dyn Read| survey.take(path, file, &mut passed, sample);
    for path in paths {
        if path.is_dir() {
            let mut files = Vec::new();
            walk(&path, &mut files)?;
            for path in files {
                take(&path, &mut fs::File::open(&path)?)?;
            }
        } else {
            let mut layer = tar::Archive::new(io::BufReader::new(fs::File::open(&path)?));
            for entry in layer.entries()? {
                let mut entry = entry?;
                if entry.header().entry_type().is_file() {
                    let path = entry.path()?.into_owned();
                    take(&path, &mut entry)?;
                }
            }
        }
    }
    survey.print();
    Ok(())
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

impl Survey {
    /// Looks at a file if it is compressed, and if it is one of those that `sample` leaves.
    fn take(
        &mut self,
        path: &Path,
        file: &mut dyn Read,
        passed: &mut usize,
        sample: usize,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        file.take(recode::HEAD_SIZE as u64).read_to_end(&mut bytes)?;
        if bytes.starts_with(PNG) {
            *self.files.entry("png").or_default() += 1;
            self.png_bytes += bytes.len() as u64 + io::copy(file, &mut io::sink())?;
        }
        if !recode::is_compressed(&bytes) {
            return Ok(());
        }
        if passed.is_multiple_of(sample) {
            file.read_to_end(&mut bytes)?;
            self.file(path, &bytes);
        }
        *passed += 1;
        Ok(())
    }

    fn file(&mut self, path: &Path, file: &[u8]) {
        let has_end = |end: &str| path.extension().is_some_and(|extension| extension == end);
        let kind = match file {
            [b'P', ..] if has_end("jar") => "jar",
            [b'P', ..] => "zip",
            [b'M', ..] => "kernel",
            [0x1f, ..] => "gzip",
            [0xfd, ..] => "xz",
            [b'B', ..] => "bzip2",
            _ => "zstd",
        };
        *self.files.entry(kind).or_default() += 1;
        let start = Instant::now();
        let found = recode::find(file, MAX_PLAIN);
        self.decoding += start.elapsed();
        if found.is_empty() {
            *self.empty.entry(kind).or_default() += 1;
        }
        let mut refused = 0;
        for found in found {
            let encoded = &file[found.encoded];
            let start = Instant::now();
            let recipe = recode::recipe(found.codec, encoded, &found.plain);
            let finding = start.elapsed();
            let name = match &recipe {
                Ok(recipe) => recipe.encoder_name().to_owned(),
                Err(refused) => format!("refused: {}", refused.name()),
            };
            let row = self.rows.entry((kind, name)).or_default();
            row.streams += 1;
            row.finding += finding;
            row.encoded_bytes += encoded.len() as u64;
            row.plain_bytes += found.plain.len() as u64;
            let Ok(recipe) = recipe else {
                refused += 1;
                continue;
            };
            row.recipe_bytes += recipe.as_bytes().len() as u64;
            let start = Instant::now();
            let mut made = Vec::with_capacity(encoded.len());
            let result =
                recode::encode(&recipe, &mut found.plain.as_slice(), found.plain.len() as u64, &mut made);
            row.encoding += start.elapsed();
            if result.is_ok() && made == encoded {
                row.exact += 1;
            } else {
                eprintln!("{}: made other bytes", path.display());
            }
        }
        if refused > 0 && self.is_listing {
            eprintln!("{}: {refused} refused", path.display());
        }
    }

    /// Prints how many streams of each kind have a recipe.
    fn print_kinds(&self) {
        let mut kinds: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        for ((kind, _), row) in &self.rows {
            let sums = kinds.entry(kind).or_default();
            let seen = if row.exact > 0 { row.encoded_bytes } else { 0 };
            for (sum, more) in sums.iter_mut().zip([row.streams, row.exact, row.encoded_bytes, seen]) {
                *sum += more;
            }
        }
        println!("| kind | streams | with a recipe | encoded bytes | with a recipe |");
        println!("|---|---|---|---|---|");
        for (kind, [streams, exact, encoded, seen]) in kinds {
            println!("| {kind} | {streams} | {exact} | {encoded} | {seen} |");
        }
        println!();
    }

    fn print(&self) {
        for (kind, count) in &self.files {
            let empty =
                self.empty.get(kind).map_or_else(String::new, |empty| format!(", {empty} without a stream"));
            println!("{kind}: {count} files{empty}");
        }
        if self.png_bytes > 0 {
            println!("png: {} bytes, which are not looked into", self.png_bytes);
        }
        println!("decoding: {:.1} s", self.decoding.as_secs_f64());
        self.print_kinds();
        println!(
            "| kind | encoder | streams | exact | recipes kB | encoded MB | plain MB | find MB/s | encode MB/s |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        #[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
        for ((kind, encoder), row) in &self.rows {
            let mega = |bytes: u64| bytes as f64 / 1e6;
            let speed = |time: Duration| mega(row.plain_bytes) / time.as_secs_f64().max(1e-9);
            println!(
                "| {kind} | {encoder} | {} | {} | {:.1} | {:.2} | {:.2} | {:.1} | {:.1} |",
                row.streams,
                row.exact,
                row.recipe_bytes as f64 / 1e3,
                mega(row.encoded_bytes),
                mega(row.plain_bytes),
                speed(row.finding),
                if row.exact == 0 { 0.0 } else { speed(row.encoding) },
            );
        }
    }
}
