//! Tells what the recipes of gzip files cost: how large they are, and how long it takes to find them and to encode
//! with them, as multiples of what GNU gzip -6 takes for the same plain bytes.
//!
//! ```sh
//! cargo run --release -p tar-diff-recode --example encoders -- FILE.gz...
//! cargo run --release -p tar-diff-recode --example encoders -- --repeat 5 --real 'libdeflate-gzip -6' FILE...
//! ```
//!
//! With `--real COMMAND`, the files are plain, and each of them is compressed by the command, which reads standard
//! input and writes standard output. The last column is then the speed of encoding here as a share of the command's.
//! `--repeat N` takes the best of so many times to encode.
//!
//! Times are those of the processor, and the encoder of GNU gzip is the one of this crate, so that a busy machine
//! changes little.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io, thread};

use recode::{Found, Recipe, encode};

/// Most plain bytes of a file.
const MAX_PLAIN: usize = 1 << 30;
/// The recipe of GNU gzip at its default level.
const GZIP: [u8; 2] = [5, 6];
/// Clock ticks of a second, in which the kernel counts the time of children.
const TICKS: f64 = 100.0;

#[derive(Default)]
struct Options {
    repeat: u32,
    real: Vec<String>,
    files: Vec<OsString>,
}

fn main() -> io::Result<()> {
    let mut options = Options { repeat: 1, ..Options::default() };
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().and_then(|value| value.into_string().ok()).unwrap_or_default();
        match argument.to_str() {
            Some("--repeat") => options.repeat = value().parse().map_err(io::Error::other)?,
            Some("--real") => options.real.push(value()),
            _ => options.files.push(argument),
        }
    }
    println!("| file | encoder | recipe bytes | of the blob | find | encode | MB/s | of the real speed |");
    println!("|---|---|---|---|---|---|---|---|");
    for path in &options.files {
        let path = Path::new(&path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = fs::read(path)?;
        if options.real.is_empty() {
            file_rows(&name, &file, options.repeat, None)?;
        }
        for command in &options.real {
            let (compressed, time) = real(command, &file, options.repeat)?;
            file_rows(command, &compressed, options.repeat, Some(time))?;
        }
    }
    Ok(())
}

/// Prints a row for each stream of a file, which the real encoder took so many seconds to make.
fn file_rows(name: &str, file: &[u8], repeat: u32, real: Option<f64>) -> io::Result<()> {
    for found in recode::find(file, MAX_PLAIN) {
        let Found { codec, encoded, plain, .. } = found;
        let encoded = &file[encoded];
        let unit = Recipe::parse(&GZIP).map_err(io::Error::other)?;
        let unit = encoding_time(&unit, &plain, None, repeat)?;
        let (recipe, finding) = timed(|| recode::recipe(codec, encoded, &plain))?;
        let times = |time: f64| format_measurable(time / unit, |times| format!("{times:.2}x"));
        match recipe {
            Ok(recipe) => {
                let size = recipe.as_bytes().len();
                #[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
                let (share, mega) = (size as f64 / encoded.len() as f64 * 100.0, plain.len() as f64 / 1e6);
                let encoding = encoding_time(&recipe, &plain, Some(encoded), repeat)?;
                println!(
                    "| {name} | {} | {size} | {share:.3}% | {} | {} | {} | {} |",
                    recipe.encoder_name(),
                    times(finding),
                    times(encoding),
                    format_measurable(mega / encoding, |speed| format!("{speed:.0}")),
                    real.map_or_else(String::new, |real| {
                        format_measurable(real / encoding, |share| format!("{share:.2}x"))
                    }),
                );
            }
            Err(refused) => println!("| {name} | {refused} | | | {} | | | |", times(finding)),
        }
    }
    Ok(())
}

/// Formats a quotient of times; "-" if a stream is so small that the time was not measured by which it was divided.
fn format_measurable(quotient: f64, format: impl Fn(f64) -> String) -> String {
    if quotient.is_finite() { format(quotient) } else { "-".to_owned() }
}

/// Returns the least seconds of several times that encoding takes, and compares what is made.
fn encoding_time(recipe: &Recipe, plain: &[u8], expected: Option<&[u8]>, repeat: u32) -> io::Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..repeat.max(1) {
        let mut made = Vec::with_capacity(plain.len());
        let (result, time) = timed(|| encode(recipe, &mut { plain }, plain.len() as u64, &mut made))?;
        result.map_err(io::Error::other)?;
        if expected.is_some_and(|expected| expected != made) {
            return Err(io::Error::other("the recipe makes other bytes"));
        }
        least = least.min(time);
    }
    Ok(least)
}

/// Returns what a command makes of plain bytes, and the seconds that it had the processor for it, on average.
fn real(command: &str, plain: &[u8], repeat: u32) -> io::Result<(Vec<u8>, f64)> {
    let (repeat, mut made) = (repeat.max(1), Vec::new());
    let before = of_children()?;
    for _ in 0..repeat {
        made.clear();
        let mut words = command.split_whitespace();
        let mut child = Command::new(words.next().unwrap_or_default())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        thread::scope(|scope| {
            let writing = scope.spawn(move || input.map_or(Ok(()), |mut input| input.write_all(plain)));
            let reading = output.map_or(Ok(0), |mut output| output.read_to_end(&mut made));
            reading.and(writing.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
        })?;
        if !child.wait()?.success() {
            return Err(io::Error::other(format!("{command} failed")));
        }
    }
    Ok((made, (of_children()? - before) / f64::from(repeat)))
}

/// Returns a result and the seconds that this thread had the processor for it.
fn timed<T>(work: impl FnOnce() -> T) -> io::Result<(T, f64)> {
    let before = on_processor()?;
    let result = work();
    #[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
    Ok((result, (on_processor()? - before) as f64 / 1e9))
}

/// Nanoseconds that this thread had the processor so far.
fn on_processor() -> io::Result<u64> {
    let times = fs::read_to_string("/proc/thread-self/schedstat")?;
    times.split(' ').next().and_then(|time| time.parse().ok()).ok_or_else(|| io::Error::other("no schedstat"))
}

/// Seconds that children which have ended had the processor for their own code.
fn of_children() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = behind_name.split_whitespace().nth(13).and_then(|ticks| ticks.parse::<f64>().ok());
    ticks.map(|ticks| ticks / TICKS).ok_or_else(|| io::Error::other("no times of children"))
}
