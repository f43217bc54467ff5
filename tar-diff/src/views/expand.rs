//! Decodes the streams of a source and of a target that are worth it.

use std::collections::HashSet;
use std::ops::Range;

use delta_format::wire::{MAX_REENCODED_SIZE, MAX_VIEW_DEPTH, MAX_VIEW_PAYLOAD};
use delta_format::{Reencoding, View, ViewStream, Work};
use recode::{Budget, Codec, SharedMembers};

use super::{Limits, Refusals};

/// The offset of the magic in a tar header, in bytes.
const TAR_MAGIC_OFFSET: usize = 257;
/// Files in a tar archive begin at a multiple of this, in bytes.
const TAR_BLOCK_SIZE: usize = 512;

/// The refusal of what would make an applier do more than it grants a layer.
const TOO_MUCH_WORK: &str = "too-much-work";
/// Units of work to read a byte of a source and to copy it, and to begin to read.
const READ_BYTE_WORK: u64 = 2;
const READ_WORK: u64 = 1 << 10;
/// Bytes beyond the end of a stream that its decoder may be given, at most; twice the stream, if it is short.
const MAX_READ_AHEAD: usize = 64 << 10;
const MIN_READ_AHEAD: usize = 4 << 10;

/// A source and a target with streams decoded.
#[derive(Debug)]
pub(super) struct Expanded {
    pub(super) source: Vec<u8>,
    /// The streams of the source that are decoded in it.
    pub(super) view: View,
    pub(super) target: Vec<u8>,
    /// The stretches of the target that are streams.
    pub(super) stretches: Vec<Reencoding>,
    /// Bytes of the streams that the stretches make.
    pub(super) encoded_size: u64,
}

impl Expanded {
    /// Bytes that say how the streams are made, about.
    pub(super) fn recipe_size(&self) -> u64 {
        fn of(stretches: &[Reencoding]) -> usize {
            stretches.iter().map(|stretch| 4 + stretch.recipe.len() + of(&stretch.inner)).sum()
        }
        of(&self.stretches) as u64
    }
}

/// A stream and those in it.
struct Stream {
    codec: Codec,
    encoded: Range<usize>,
    digest: blake3::Hash,
    plain: Vec<u8>,
    inner: Vec<Self>,
}

/// Decodes both files, at most `max_plain` bytes of each and within the budget. `None` if no stream of the
/// target can be made again and none of the source helps.
pub(super) fn expand(
    source: &[u8],
    target: &[u8],
    max_plain: usize,
    limits: &Limits,
    refusals: &mut Refusals,
) -> Option<Expanded> {
    let budget = &limits.search;
    let shared = SharedMembers::of(source, target, budget);
    let of_target = streams(target, 1, &shared, max_plain, budget);
    if of_target.is_empty() {
        return None;
    }
    let of_source = streams(source, 1, &shared, max_plain, budget);
    // What both sides have is copied as it is: it takes no time and no recipe. Members of archives that both
    // have are not even decoded.
    let mut closed = digests(&of_source);
    let in_target = digests(&of_target);
    closed.retain(|digest| in_target.contains(digest));
    let mut opening =
        Opening { closed, budget, encoding_left: limits.encoding, granted: 0, refusals, encoded_size: 0 };
    let (target, stretches) = opening.target(target, &of_target, 1);
    let Opening { closed, encoded_size, .. } = opening;
    let decoding = decoding_work(source.len(), &of_source, &closed);
    let (source, view) = open_source(source, &of_source, &closed);
    if !stretches.is_empty() && decoding > limits.reading {
        *refusals.entry(TOO_MUCH_WORK).or_default() += 1;
        return None;
    }
    let fits = payload_size(&stretches) < MAX_VIEW_PAYLOAD && 8 * view.len() as u64 <= MAX_VIEW_PAYLOAD;
    (!stretches.is_empty() && fits).then_some(Expanded { source, view, target, stretches, encoded_size })
}

/// The most bytes that a list of stretches can take in its op.
fn payload_size(stretches: &[Reencoding]) -> u64 {
    stretches.iter().map(|stretch| 31 + stretch.recipe.len() as u64 + payload_size(&stretch.inner)).sum()
}

/// The streams of a file, with those that lie in them; without those of shared members.
fn streams(
    file: &[u8],
    depth: usize,
    shared: &SharedMembers,
    max_plain: usize,
    budget: &Budget,
) -> Vec<Stream> {
    let mut left = max_plain;
    let found = if is_tar(file) {
        find_in_tar(file, max_plain, budget)
    } else {
        recode::find_unshared(file, shared, max_plain, budget)
    };
    let streams = found.into_iter().map(|found| {
        let recode::Found { codec, encoded, plain } = found;
        left = left.saturating_sub(plain.len());
        let mut inner = Vec::new();
        if depth < MAX_VIEW_DEPTH && (is_tar(&plain) || recode::is_compressed(&plain)) {
            inner = self::streams(&plain, depth + 1, shared, left, budget);
            left = left.saturating_sub(inner.iter().map(|stream| stream.plain.len()).sum());
        }
        Stream { codec, digest: blake3::hash(&file[encoded.clone()]), encoded, plain, inner }
    });
    streams.collect()
}

/// Returns true if this is a tar archive, as it lies in `.tar.gz` files: POSIX.1-1988, ustar.
fn is_tar(file: &[u8]) -> bool {
    file.get(TAR_MAGIC_OFFSET..).is_some_and(|rest| rest.starts_with(b"ustar"))
}

/// The streams of the files in a tar archive. Files begin at block boundaries, so nothing else needs
/// to be known of it; what looks like a stream and is one may be opened wherever it lies.
fn find_in_tar(file: &[u8], max_plain: usize, budget: &Budget) -> Vec<recode::Found> {
    let (mut all, mut start, mut left) = (Vec::new(), 0, max_plain);
    while let Some(rest) = file.get(start..).filter(|rest| !rest.is_empty()) {
        let mut end = start + 1;
        if recode::is_compressed(rest) {
            for mut found in recode::find_within(rest, left, budget) {
                left = left.saturating_sub(found.plain.len());
                found.encoded = start + found.encoded.start..start + found.encoded.end;
                end = found.encoded.end;
                all.push(found);
            }
        }
        start = end.next_multiple_of(TAR_BLOCK_SIZE);
    }
    all
}

fn digests(streams: &[Stream]) -> HashSet<blake3::Hash> {
    let all = streams.iter().flat_map(|stream| std::iter::once(stream.digest).chain(digests(&stream.inner)));
    all.collect()
}

/// The opening of a target.
struct Opening<'r> {
    /// Streams that stay closed, by the digest of their bytes.
    closed: HashSet<blake3::Hash>,
    budget: &'r Budget,
    /// Units of work that an applier may still do to encode the streams, beside what is granted to each.
    encoding_left: u64,
    /// Units that are granted to the outermost stream at hand by its size, and left.
    granted: u64,
    refusals: &'r mut Refusals,
    encoded_size: u64,
}

impl Opening<'_> {
    /// Finds how a stream is made again, by an applier that does no more than it grants a layer. The error is
    /// the reason for the count of refusals.
    fn recipe(&mut self, encoded: &[u8], stream: &Stream) -> Result<Vec<u8>, &'static str> {
        let measured = recode::measured_recipe_within(stream.codec, encoded, &stream.plain, self.budget)
            .map_err(recode::Refused::name)?;
        let over = measured.work.saturating_sub(self.granted);
        self.encoding_left = self.encoding_left.checked_sub(over).ok_or(TOO_MUCH_WORK)?;
        self.granted = self.granted.saturating_sub(measured.work);
        Ok(measured.recipe.as_bytes().to_vec())
    }

    /// The file with the streams decoded that can be made again, and where they are.
    fn target(&mut self, file: &[u8], streams: &[Stream], depth: usize) -> (Vec<u8>, Vec<Reencoding>) {
        let (mut opened, mut stretches) = (Vec::new(), Vec::new());
        // Up to here the file is done, and from there on a gap is counted.
        let (mut done, mut stretch_end) = (0, 0);
        for stream in streams {
            let encoded = &file[stream.encoded.clone()];
            if self.closed.contains(&stream.digest) {
                continue;
            }
            if depth == 1 {
                self.granted = Work::encoding_of_stream(encoded.len() as u64);
            }
            let recipe = match self.recipe(encoded, stream) {
                Ok(recipe) => recipe,
                Err(reason) => {
                    *self.refusals.entry(reason).or_default() += 1;
                    // The source must show the same bytes for it.
                    self.closed.insert(stream.digest);
                    continue;
                }
            };
            let encoded_before = self.encoded_size;
            let (plain, inner) = self.target(&stream.plain, &stream.inner, depth + 1);
            self.encoded_size = encoded_before;
            if plain.len() as u64 > MAX_REENCODED_SIZE {
                *self.refusals.entry("too-large").or_default() += 1;
                self.closed.insert(stream.digest);
                continue;
            }
            self.encoded_size += encoded.len() as u64;
            opened.extend_from_slice(&file[done..stream.encoded.start]);
            let gap = (opened.len() - stretch_end) as u64;
            stretches.push(Reencoding { gap, size: plain.len() as u64, recipe, inner });
            opened.extend(plain);
            (done, stretch_end) = (stream.encoded.end, opened.len());
        }
        opened.extend_from_slice(&file[done..]);
        (opened, stretches)
    }
}

/// Units of work that an applier does at most to open a source of `size` bytes: its streams, but for those that
/// stay closed, and what lies between them.
fn decoding_work(size: usize, streams: &[Stream], closed: &HashSet<blake3::Hash>) -> u64 {
    let open = streams.iter().filter(|stream| !closed.contains(&stream.digest));
    let work = open.map(|stream| {
        let work = stream.codec.decoding_work();
        let Range { start, end } = stream.encoded;
        let ahead = (size - end).min(end - start + MIN_READ_AHEAD).min(MAX_READ_AHEAD);
        let (encoded, plain) = ((end - start + ahead) as u64, stream.plain.len());
        let decoded = work.setup + work.encoded_byte * encoded + work.plain_byte * plain as u64;
        let inner = if stream.inner.is_empty() { 0 } else { decoding_work(plain, &stream.inner, closed) };
        READ_WORK + READ_BYTE_WORK * ahead as u64 + decoded + inner
    });
    READ_WORK + READ_BYTE_WORK * size as u64 + work.sum::<u64>()
}

/// The file with its streams decoded, but for those that stay closed, and which they are.
fn open_source(file: &[u8], streams: &[Stream], closed: &HashSet<blake3::Hash>) -> (Vec<u8>, View) {
    let (mut opened, mut view, mut done) = (Vec::new(), View::new(), 0);
    for stream in streams.iter().filter(|stream| !closed.contains(&stream.digest)) {
        let gap = &file[done..stream.encoded.start];
        opened.extend_from_slice(gap);
        let (plain, inner) = open_source(&stream.plain, &stream.inner, closed);
        opened.extend(plain);
        view.push(ViewStream { gap: gap.len() as u64, codec: stream.codec.code(), inner });
        done = stream.encoded.end;
    }
    opened.extend_from_slice(&file[done..]);
    (opened, view)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn letters(seed: u64) -> Vec<u8> {
        (0..60_000).map(|index| b'a' + (crate::gear::mix(seed << 32 | index) & 1) as u8).collect()
    }

    /// Opens two files with limits that are wide but for those given.
    fn refused(encoding: u64, reading: u64) -> (bool, Refusals) {
        let limits = Limits { search: Budget::new(u64::MAX, u64::MAX), encoding, reading };
        let mut refusals = Refusals::new();
        let (source, target) = (gzip(&letters(1)), gzip(&letters(2)));
        let expanded = expand(&source, &target, 1 << 30, &limits, &mut refusals);
        (expanded.is_none(), refusals)
    }

    #[test]
    fn a_stream_that_costs_more_to_make_than_its_size_tells_stays_closed() {
        assert_eq!(refused(u64::MAX, u64::MAX), (false, Refusals::new()));
        let of_bytes = 60_000 * 100;
        assert_eq!(refused(of_bytes, u64::MAX), (true, [(TOO_MUCH_WORK, 1)].into()));
    }

    #[test]
    fn a_source_that_costs_too_much_to_decode_is_not_opened() {
        assert_eq!(refused(u64::MAX, 60_000 * 4), (true, [(TOO_MUCH_WORK, 1)].into()));
        assert_eq!(refused(u64::MAX, 60_000 * 12), (false, Refusals::new()));
    }
}
