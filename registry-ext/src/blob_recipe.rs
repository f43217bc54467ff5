//! Recipes that make the compressed blob of a layer from its tar, bit for bit.
//!
//! A delta rebuilds the tar alone. With the recipe of its blob a client makes the blob too, under the
//! digest that the manifest has: see "Blob recipes" in [`artifact`](crate::artifact).
//!
//! The streams of a blob are found and made again by [`recode`]; what lies around them (headers and
//! trailers of gzip members, skippable frames of zstd) is carried as it is.

pub(crate) mod refusal;
mod search;

use std::io::{self, BufReader, Write};
use std::path::Path;

use delta_format::wire::{MAX_ENCODER_MEMORY, put_uvarint, read_uvarint};
use delta_format::{Budget, Exhausted, Work};
use layer::{Digest, DigestWriter, Spool};
use oci_spec::image::Descriptor;
use recode::{Recipe, Refused};

use crate::repository::Repository;
use crate::{Error, Result};

pub use refusal::Refusal;

/// Most bytes of a recipe, as a share of the blob in percent, where nothing else is chosen. More is hardly a saving
/// worth the name.
pub const MAX_SHARE: u64 = 3;
/// Most bytes of a recipe, which is held in memory.
pub const MAX_SIZE: u64 = 64 << 20;
/// Most streams of a blob: some tools make one of each file of the layer.
const MAX_STREAMS: usize = 131_072;
/// Work for each byte of the tar: `xz -6e` takes 1500 units, what lies in registries takes at most 300.
const WORK_RATIO: u64 = 2048;
/// Work for any tar.
const MIN_WORK: u64 = 1 << 30;
/// The first bytes of a recipe.
const MAGIC: [u8; 8] = *b"blobrc1\n";

/// The recipe that makes a blob from a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRecipe {
    streams: Vec<Stream>,
    /// Bytes after the last stream.
    rest: Vec<u8>,
}

/// One stream of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stream {
    /// Bytes in front of it.
    gap: Vec<u8>,
    /// Bytes of the tar that it holds.
    plain_size: u64,
    recipe: Recipe,
}

impl BlobRecipe {
    /// Finds how the blob with the digest `expected` is made of `tar`, and proves it.
    ///
    /// Memory is that of the encoders and of the recipe; for xz and zstd:chunked also that of the blob, at
    /// most 512 MiB.
    ///
    /// # Errors
    /// [`Error::NoRecipe`] if there is none of at most [`MAX_SHARE`]; [`Error::Layer`] if the blob or the tar cannot be
    /// read.
    pub fn find(blob: &Spool, expected: Digest, tar: &Spool) -> Result<Self> {
        Self::find_within(blob, expected, tar, MAX_SHARE)
    }

    /// Does what [`find`](Self::find) does, for a recipe of at most `max_share` percent of the blob.
    ///
    /// # Errors
    /// As [`find`](Self::find). A refusal because of the share has the size that the recipe would have.
    pub fn find_within(blob: &Spool, expected: Digest, tar: &Spool, max_share: u64) -> Result<Self> {
        let blob_size = blob.size();
        let limit = (blob_size / 100 * max_share).min(MAX_SIZE);
        let not_worth_it = |size| Refusal::NotWorthIt { size, blob_size, max_share };
        let found = search::streams(blob, tar, limit)?;
        let encoded = |(stream, _): &(recode::Stream, _)| stream.encoded.end - stream.encoded.start;
        let carried = blob_size - found.iter().map(encoded).sum::<u64>();
        if carried > MAX_SIZE {
            let recipes: usize = found.iter().map(|(_, measured)| measured.recipe.as_bytes().len()).sum();
            return Err(not_worth_it(carried + recipes as u64).into());
        }
        let (mut streams, mut at, mut work) = (Vec::new(), 0, most_work(tar.size()));
        for (index, (stream, measured)) in found.into_iter().enumerate() {
            let left = work.checked_sub(measured.work);
            work =
                left.ok_or(Refusal::Stream { index, codec: stream.codec, refused: Refused::OverBudget })?;
            let gap = blob.read_range(at..stream.encoded.start)?;
            at = stream.encoded.end;
            streams.push(Stream { gap, plain_size: stream.plain_size, recipe: measured.recipe });
        }
        let recipe = Self { streams, rest: blob.read_range(at..blob_size)? };
        let size = recipe.to_bytes().len() as u64;
        if size > limit {
            return Err(not_worth_it(size).into());
        }
        // Each stream was made of its part of the tar already.
        if recipe.plain_size() != Some(tar.size()) || blob.diff_id()?.0 != expected {
            return Err(Refusal::OtherContent.into());
        }
        Ok(recipe)
    }

    /// Fetches a recipe; `dir` is for the download.
    ///
    /// # Errors
    /// Those of the repository; [`Error::TooLarge`] over [`MAX_SIZE`]; as [`parse`](Self::parse).
    pub(crate) async fn fetch(repository: &Repository, recipe: &Descriptor, dir: &Path) -> Result<Self> {
        Self::parse(&repository.small_blob(recipe, MAX_SIZE, dir).await?)
    }

    /// The bytes for a registry.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        put_uvarint(&mut bytes, self.streams.len() as u64);
        for stream in &self.streams {
            put_bytes(&mut bytes, &stream.gap);
            put_uvarint(&mut bytes, stream.plain_size);
            put_bytes(&mut bytes, stream.recipe.as_bytes());
        }
        bytes.extend(&self.rest);
        bytes
    }

    /// Reads a recipe.
    ///
    /// # Errors
    /// [`Error::Malformed`]; [`Error::Recode`] if it is for an encoder that this version lacks, or breaks
    /// its rules.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let broken = |reason: &str| Error::malformed("blob recipe", reason);
        let mut input = bytes.strip_prefix(&MAGIC).ok_or_else(|| broken("it begins otherwise"))?;
        let number = |input: &mut &[u8]| read_uvarint(input).map_err(|_| broken("a number is broken"));
        let count = number(&mut input)?;
        if count > MAX_STREAMS as u64 {
            return Err(broken("it has too many streams"));
        }
        let mut streams = Vec::new();
        for _ in 0..count {
            let gap_size = number(&mut input)?;
            let gap = take(&mut input, gap_size).ok_or_else(|| broken("it is cut off"))?.to_vec();
            let plain_size = number(&mut input)?;
            let recipe_size = number(&mut input)?;
            let recipe = take(&mut input, recipe_size).ok_or_else(|| broken("it is cut off"))?;
            let recipe = Recipe::parse(recipe)?;
            if recipe.memory() > MAX_ENCODER_MEMORY {
                return Err(broken("its encoder takes too much memory"));
            }
            streams.push(Stream { gap, plain_size, recipe });
        }
        Ok(Self { streams, rest: input.to_vec() })
    }

    /// Returns the bytes of the tar that the streams hold; `None` if no number is as large.
    fn plain_size(&self) -> Option<u64> {
        self.streams.iter().try_fold(0u64, |sum, stream| sum.checked_add(stream.plain_size))
    }

    /// Returns the work that it takes to make a blob of `size` bytes, in units of about a nanosecond of a core.
    pub fn work(&self, size: u64) -> u64 {
        let plain: u64 = self.streams.iter().fold(0, |sum, stream| sum.saturating_add(stream.plain_size));
        self.streams.iter().fold(0, |sum: u64, stream| {
            // A stream makes its share of the blob.
            let made = u128::from(size) * u128::from(stream.plain_size) / u128::from(plain.max(1));
            let made = u64::try_from(made).unwrap_or(u64::MAX);
            sum.saturating_add(stream.recipe.usual_work(stream.plain_size, made))
        })
    }

    /// Makes the blob of the tar: `size` bytes that have the digest `expected`, within the work that an
    /// encoder of the whole tar takes.
    ///
    /// # Errors
    /// As [`make_within`](Self::make_within).
    pub fn make(&self, tar: &Spool, expected: Digest, size: u64, output: &mut dyn Write) -> Result<()> {
        self.make_within(&Budget::new(Work::encoding(most_work(tar.size()))), tar, expected, size, output)
    }

    /// Does what [`make`](Self::make) does, within a budget of the caller. What it takes to set all the
    /// encoders up is charged before the first byte is made.
    ///
    /// The output is written before it is known to be right.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::SizeMismatch`] and [`Error::Recode`] if the recipe makes
    /// something else, [`Error::Layer`] if the tar cannot be read, [`Error::Patch`] if the work is more
    /// than the budget has.
    pub fn make_within(
        &self,
        budget: &Budget,
        tar: &Spool,
        expected: Digest,
        size: u64,
        output: &mut dyn Write,
    ) -> Result<()> {
        let what = || format!("the blob that was made of {}", tar.name());
        if self.plain_size() != Some(tar.size()) {
            return Err(Error::malformed("blob recipe", "it is for another tar"));
        }
        let setup = self.streams.iter().map(|stream| stream.recipe.encoding_work(stream.plain_size).setup);
        budget.charge(Work::encoding(setup.fold(0, u64::saturating_add))).map_err(over_budget)?;
        let mut output = DigestWriter::new(Bounded { inner: output, left: size });
        let mut plain = BufReader::with_capacity(256 << 10, tar.reader(0..tar.size()));
        let charge = |work| Ok(budget.charge(Work::encoding(work))?);
        let failed = |source| recode::Error::Io { action: "write the stream", source };
        for stream in &self.streams {
            output.write_all(&stream.gap).map_err(failed)?;
            let encoded =
                recode::encode_charged(&stream.recipe, &mut plain, stream.plain_size, &mut output, &charge);
            if let Some(error) = plain.get_mut().take_error() {
                return Err(error.into());
            }
            if let Err(recode::Error::Io { source, .. }) = &encoded
                && let Some(exhausted) = Exhausted::of(source)
            {
                return Err(over_budget(exhausted));
            }
            encoded?;
        }
        output.write_all(&self.rest).map_err(failed)?;
        let (_, actual, made) = output.finish();
        if made != size {
            return Err(Error::SizeMismatch { what: what(), expected: size, actual: made });
        }
        match actual == expected {
            true => Ok(()),
            false => Err(Error::DigestMismatch { what: what(), expected, actual }),
        }
    }
}

/// Returns the most work that making the blob of a tar of so many bytes may take.
fn most_work(tar_size: u64) -> u64 {
    tar_size.saturating_mul(WORK_RATIO).max(MIN_WORK)
}

fn over_budget(exhausted: Exhausted) -> Error {
    Error::Patch(delta_format::Error::from(exhausted).into())
}

fn put_bytes(output: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(output, bytes.len() as u64);
    output.extend(bytes);
}

fn take<'i>(input: &mut &'i [u8], size: u64) -> Option<&'i [u8]> {
    let (taken, left) = input.split_at_checked(usize::try_from(size).ok()?)?;
    *input = left;
    Some(taken)
}

/// Takes no more bytes than it was told: a recipe can make any number of them.
struct Bounded<'o> {
    inner: &'o mut dyn Write,
    left: u64,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::other("the blob comes out too long"));
        }
        let written = self.inner.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
