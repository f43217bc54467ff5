//! The search for the streams of a blob and for their recipes, over several cores.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use delta_format::wire::MAX_ENCODER_MEMORY;
use layer::{Spool, SpoolReader};
use recode::{Budget, Codec, MeasuredRecipe, Part, ReadAt, Refused, Stream};

use super::{MAX_STREAMS, Refusal};
use crate::Result;

/// Most threads: each holds an encoder.
const MAX_THREADS: usize = 4;

/// Finds the streams of a blob that hold a tar, in order, and their recipes. A second search is made only if the recipe
/// of the blob has over `limit` bytes by the first one; the smaller of both is taken.
///
/// # Errors
/// [`Error::NoRecipe`](crate::Error::NoRecipe) with the refusal of the first stream that has no recipe,
/// whatever comes in which order, or if the streams hold other bytes than the tar has;
/// [`Error::Layer`](crate::Error::Layer) if the blob or the tar cannot be read.
pub(super) fn streams(blob: &Spool, tar: &Spool, limit: u64) -> Result<Vec<(Stream, MeasuredRecipe)>> {
    let (blob, tar) = (Source::of(blob), Source::of(tar));
    let found = recode::find_streams(&blob, tar.size(), MAX_STREAMS + 1, &Budget::of_file(blob.size()));
    // The reason is kept by the source.
    let mut streams = found.unwrap_or_default();
    if streams.len() > MAX_STREAMS {
        return Err(Refusal::TooManyStreams { max: MAX_STREAMS }.into());
    }
    let mut recipes = recipes(&blob, &streams, &tar);
    let is_enough = |recipes: &Vec<_>| kept(&blob, &streams, recipes).saturating_add(MAX_OVERHEAD) <= limit;
    let is_chunked = matches!(&*streams, [stream] if stream.codec == Codec::ZstdChunked);
    if is_chunked && !recipes.as_ref().is_ok_and(is_enough) {
        // Another encoder than that of containers/storage may have made the frames, or some of them.
        let budget = Budget::of_file(blob.size());
        let frames = recode::find_frames(&blob, tar.size(), MAX_STREAMS + 1, &budget).unwrap_or_default();
        if !frames.is_empty() && frames.len() <= MAX_STREAMS {
            let of_frames = self::recipes(&blob, &frames, &tar);
            let is_better = match (&recipes, &of_frames) {
                (Ok(recipes), Ok(of_frames)) => {
                    kept(&blob, &frames, of_frames) < kept(&blob, &streams, recipes)
                }
                (recipes, _) => recipes.is_err(),
            };
            if is_better {
                (recipes, streams) = (of_frames, frames);
            }
        }
    }
    for source in [blob, tar] {
        if let Some(failed) = source.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(failed.into());
        }
    }
    Ok(streams.into_iter().zip(recipes?).collect())
}

/// Bytes of a recipe of one stream besides those that [`kept`] counts, at most: the magic, and numbers of up to ten
/// bytes.
const MAX_OVERHEAD: u64 = super::MAGIC.len() as u64 + 4 * 10;

/// Bytes of the recipes of streams, and of the blob around them.
fn kept(blob: &Source<'_>, streams: &[Stream], recipes: &[MeasuredRecipe]) -> u64 {
    let encoded = streams.iter().map(|stream| stream.encoded.end - stream.encoded.start).sum();
    let of_recipes = recipes.iter().map(|found| found.recipe.as_bytes().len() as u64).sum::<u64>();
    blob.size().saturating_sub(encoded) + of_recipes
}

/// Finds the recipes of all streams. No stream behind one that has none is begun once that is known.
fn recipes(blob: &Source<'_>, streams: &[Stream], tar: &Source<'_>) -> Result<Vec<MeasuredRecipe>, Refusal> {
    let mut parts = Vec::with_capacity(streams.len());
    let mut start = 0;
    for stream in streams {
        let range = start..start + stream.plain_size;
        start = range.end;
        parts.push((Part { file: blob, range: stream.encoded.clone() }, Part { file: tar, range }));
    }
    let results: Vec<OnceLock<Result<MeasuredRecipe, Refused>>> =
        streams.iter().map(|_| OnceLock::new()).collect();
    let (next, end) = (AtomicUsize::new(0), AtomicUsize::new(streams.len()));
    let search = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(stream) = streams.get(index).filter(|_| index < end.load(Ordering::Relaxed)) else {
                return;
            };
            let (encoded, plain) = parts[index].clone();
            let size = stream.encoded.end - stream.encoded.start;
            let budget = Budget::of_file(size).with_memory(MAX_ENCODER_MEMORY);
            let recipe = recode::recipe_of_stream(stream.codec, encoded, plain, &budget);
            if recipe.is_err() {
                end.fetch_min(index, Ordering::Relaxed);
            }
            // Each index is taken once.
            let _ = results[index].set(recipe);
        }
    };
    thread::scope(|scope| {
        (1..threads(streams)).for_each(|_| drop(scope.spawn(search)));
        search();
    });
    let recipes = results.into_iter().map_while(OnceLock::into_inner).enumerate().map(|(index, recipe)| {
        recipe.map_err(|refused| Refusal::Stream { index, codec: streams[index].codec, refused })
    });
    recipes.collect()
}

/// Returns the threads for the search: those of deflate take little memory.
fn threads(streams: &[Stream]) -> usize {
    if streams.iter().any(|stream| stream.codec != Codec::Deflate) {
        return 1;
    }
    thread::available_parallelism().map_or(1, usize::from).min(streams.len()).min(MAX_THREADS)
}

/// A file that is read by all threads, and the first error of one of them.
struct Source<'s> {
    spool: &'s Spool,
    failed: Mutex<Option<layer::Error>>,
}

impl<'s> Source<'s> {
    const fn of(spool: &'s Spool) -> Self {
        Self { spool, failed: Mutex::new(None) }
    }
}

impl ReadAt for Source<'_> {
    fn size(&self) -> u64 {
        self.spool.size()
    }

    fn reader(&self, range: Range<u64>) -> Box<dyn Read + '_> {
        let end = range.end.min(self.size());
        Box::new(SourceReader { inner: self.spool.reader(range.start.min(end)..end), source: self })
    }
}

struct SourceReader<'s> {
    inner: SpoolReader<'s>,
    source: &'s Source<'s>,
}

impl Read for SourceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        if let Some(error) = self.inner.take_error() {
            let mut failed = self.source.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert(error);
        }
        read
    }
}
