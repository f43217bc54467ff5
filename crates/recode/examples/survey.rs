//! Lists the compressed files of a directory that can be made again, by what, and how fast.
//!
//! ```sh
//! cargo run --release -p tar-diff-recode --example survey -- DIR... [--sample N] [--list]
//! ```
//!
//! `--sample N` looks at every N-th file, `--list` names the files that have refused streams.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Most plain bytes of a file.
const MAX_PLAIN: usize = 1 << 30;

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
    is_listing: bool,
}

fn main() -> io::Result<()> {
    let mut survey = Survey::default();
    let (mut dirs, mut sample) = (Vec::new(), 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--list" => survey.is_listing = true,
            "--sample" => sample = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(1),
            dir => dirs.push(PathBuf::from(dir)),
        }
    }
    for dir in dirs {
        let mut files = Vec::new();
        walk(&dir, &mut files)?;
        let mut compressed = Vec::new();
        for path in files {
            let mut head = [0; recode::HEAD_SIZE];
            let read = io::Read::read(&mut fs::File::open(&path)?, &mut head)?;
            if recode::is_compressed(&head[..read]) {
                compressed.push(path);
            }
        }
        for path in compressed.iter().step_by(sample) {
            survey.file(path, &fs::read(path)?);
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
    fn file(&mut self, path: &Path, file: &[u8]) {
        let kind = match file {
            [b'P', ..] => "zip",
            [0x1f, ..] => "gzip",
            [0xfd, ..] => "xz",
            [b'B', ..] => "bzip2",
            _ => "zstd",
        };
        *self.files.entry(kind).or_default() += 1;
        let start = Instant::now();
        let found = recode::find(file, MAX_PLAIN);
        self.decoding += start.elapsed();
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

    fn print(&self) {
        for (kind, count) in &self.files {
            println!("{kind}: {count} files");
        }
        println!("decoding: {:.1} s", self.decoding.as_secs_f64());
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
