//! Tells what the recipes of gzip files cost: how large they are, and how long it takes to find them and to encode
//! with them, as multiples of what GNU gzip -6 takes for the same plain bytes.
//!
//! ```sh
//! cargo run --release -p tar-diff-recode --example encoders -- FILE.gz...
//! ```
//!
//! Times are those of the processor, and the encoder of GNU gzip is the one of this crate, so that a busy machine
//! changes little.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::path::Path;
use std::{fs, io};

use recode::{Recipe, encode};

/// Most plain bytes of a file.
const MAX_PLAIN: usize = 1 << 30;
/// The recipe of GNU gzip at its default level.
const GZIP: [u8; 2] = [5, 6];

fn main() -> io::Result<()> {
    println!("| file | encoder | recipe bytes | of the blob | find | encode |");
    println!("|---|---|---|---|---|---|");
    for path in std::env::args_os().skip(1) {
        let path = Path::new(&path);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = fs::read(path)?;
        for found in recode::find(&file, MAX_PLAIN) {
            let encoded = &file[found.encoded];
            let unit = Recipe::parse(&GZIP).map_err(io::Error::other)?;
            let unit = encoding_time(&unit, &found.plain, None)?;
            let (recipe, finding) = timed(|| recode::recipe(found.codec, encoded, &found.plain))?;
            let times = |time: f64| format!("{:.2}x", time / unit);
            match recipe {
                Ok(recipe) => {
                    let size = recipe.as_bytes().len();
                    #[expect(clippy::cast_precision_loss, reason = "rounded anyway")]
                    let share = size as f64 / encoded.len() as f64 * 100.0;
                    let encoding = encoding_time(&recipe, &found.plain, Some(encoded))?;
                    println!(
                        "| {name} | {} | {size} | {share:.3}% | {} | {} |",
                        recipe.encoder_name(),
                        times(finding),
                        times(encoding)
                    );
                }
                Err(refused) => println!("| {name} | {refused} | | | {} | |", times(finding)),
            }
        }
    }
    Ok(())
}

/// Returns the seconds that encoding takes, and compares what is made.
fn encoding_time(recipe: &Recipe, plain: &[u8], expected: Option<&[u8]>) -> io::Result<f64> {
    let mut made = Vec::with_capacity(plain.len());
    let (result, time) = timed(|| encode(recipe, &mut { plain }, plain.len() as u64, &mut made))?;
    result.map_err(io::Error::other)?;
    if expected.is_some_and(|expected| expected != made) {
        return Err(io::Error::other("the recipe makes other bytes"));
    }
    Ok(time)
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
