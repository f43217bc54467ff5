//! The search for the recipes of the streams of a blob, over several cores.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use delta_format::wire::MAX_ENCODER_MEMORY;
use recode::{Codec, Found, Recipe, Refused};

use super::Refusal;

/// Most threads: each holds an encoder.
const MAX_THREADS: usize = 4;

/// Finds the recipes of all streams.
///
/// # Errors
/// The refusal of the first stream that has no recipe, whatever comes in which order. No stream behind it is begun
/// once it is known.
pub(super) fn recipes(blob: &[u8], found: &[Found]) -> Result<Vec<Recipe>, Refusal> {
    let results: Vec<OnceLock<Result<Recipe, Refused>>> = found.iter().map(|_| OnceLock::new()).collect();
    let (next, end) = (AtomicUsize::new(0), AtomicUsize::new(found.len()));
    let search = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(stream) = found.get(index).filter(|_| index < end.load(Ordering::Relaxed)) else {
                return;
            };
            let encoded = &blob[stream.encoded.clone()];
            let budget = recode::Budget::of_file(encoded.len() as u64).with_memory(MAX_ENCODER_MEMORY);
            let recipe = recode::recipe_within(stream.codec, encoded, &stream.plain, &budget);
            if recipe.is_err() {
                end.fetch_min(index, Ordering::Relaxed);
            }
            // Each index is taken once.
            let _ = results[index].set(recipe);
        }
    };
    thread::scope(|scope| {
        (1..threads(found)).for_each(|_| drop(scope.spawn(search)));
        search();
    });
    let recipes = results.into_iter().map_while(OnceLock::into_inner).enumerate().map(|(index, recipe)| {
        recipe.map_err(|refused| Refusal::Stream { index, codec: found[index].codec, refused })
    });
    recipes.collect()
}

/// Returns the threads for the search: those of deflate take little memory.
fn threads(found: &[Found]) -> usize {
    if found.iter().any(|stream| stream.codec != Codec::Deflate) {
        return 1;
    }
    thread::available_parallelism().map_or(1, usize::from).min(found.len()).min(MAX_THREADS)
}
