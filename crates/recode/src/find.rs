//! Finds the compressed streams of a file.

use std::io;
use std::ops::Range;

use crate::codec::{Container, HEAD_SIZE, kernel_payload};
use crate::read_at::{ReadAt, peek};
use crate::{Budget, Codec, SharedMembers, decode_charged, successive, zip};

/// Longest name or comment in the header of a gzip member, in bytes: longer ones are no names of files, and
/// a file may hold a header at every few bytes.
const MAX_GZIP_NAME: usize = 4 << 10;
/// Most bytes of the header of a gzip member: fixed fields and a checksum, an extra field, a name and a comment.
pub(crate) const MAX_GZIP_HEADER: usize = 14 + (64 << 10) + 2 * MAX_GZIP_NAME;

/// A compressed stream that was found in a file, and its plain bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The compression of the stream.
    pub codec: Codec,
    /// The place of the stream in the file, in bytes, without the headers around it.
    pub encoded: Range<usize>,
    /// Its plain bytes.
    pub plain: Vec<u8>,
}

/// Finds the streams of a file by its content, in rising order and apart from each other.
///
/// - gzip: the deflate stream of each member;
/// - zip (jar, wheel, apk): the deflate stream of each member that the central directory lists, if
///   it ends where the directory says;
/// - an image of a kernel: its payload, if that is gzip, xz, bzip2 or zstd; zstd as [`Codec::ZstdBlocks`],
///   since kernels have it at a level that takes too long to be made again;
/// - xz: each stream; zstd: each frame that is not skippable, or all frames of zstd:chunked as one stream; bzip2: each
///   stream.
///
/// The bytes between and after them are left alone. `max_plain` is the most plain bytes of all
/// streams together: one that would go over it is left out, and what comes behind it in a file
/// that has no directory is not found.
///
/// The search takes the work of [`Budget::of_file`] at most.
pub fn find(file: &[u8], max_plain: usize) -> Vec<Found> {
    find_within(file, max_plain, &Budget::of_file(file.len() as u64))
}

/// Finds the streams of a file as [`find`] does, and charges each byte that it looks at to `budget`, also
/// where it finds nothing. Streams for which the budget is too small are left out.
pub fn find_within(file: &[u8], max_plain: usize, budget: &Budget) -> Vec<Found> {
    find_unshared(file, &SharedMembers::default(), max_plain, budget)
}

/// Finds the streams of a file as [`find_within`] does, but for those of zip members that are shared. The bound
/// and the budget are left to the others.
pub fn find_unshared(file: &[u8], shared: &SharedMembers, max_plain: usize, budget: &Budget) -> Vec<Found> {
    let mut finder = Finder { file, shared, left: max_plain, budget, found: Vec::new() };
    match Container::detect(file) {
        Some(Container::Zip) => finder.zip(),
        Some(Container::Kernel) => finder.kernel(),
        Some(container) => finder.successive(container),
        None => {}
    }
    finder.found
}

struct Finder<'f> {
    file: &'f [u8],
    shared: &'f SharedMembers,
    /// Plain bytes that may still be found.
    left: usize,
    budget: &'f Budget,
    found: Vec<Found>,
}

impl Finder<'_> {
    /// Takes the stream at `start`, at most `max` plain bytes of it; gives the offset of its end.
    fn take(&mut self, codec: Codec, start: usize, end: Option<usize>, max: usize) -> Option<usize> {
        let max = max.min(self.left);
        let mut plain = Vec::new();
        let mut encoded = self.file.get(start..end.unwrap_or(self.file.len()))?;
        let charge = |units| self.budget.take(units);
        let decoded = decode_charged(codec, &mut encoded, max as u64, &mut plain, &charge).ok()?;
        let found_end = start.checked_add(usize::try_from(decoded.encoded_size).ok()?)?;
        if end.is_some_and(|end| end != found_end) {
            return None;
        }
        self.left -= plain.len();
        self.found.push(Found { codec, encoded: start..found_end, plain });
        Some(found_end)
    }

    /// Finds the streams that follow each other from the start of the file.
    fn successive(&mut self, container: Container) {
        let (file, budget) = (self.file, self.budget);
        // A slice is read without an error.
        let _ = successive::walk(container, &file, budget, &mut |codec, start| {
            let end = (codec == Codec::ZstdChunked).then_some(file.len());
            let end = self.take(codec, usize::try_from(start).ok()?, end, usize::MAX)?;
            Some(end as u64)
        });
    }

    fn zip(&mut self) {
        let mut members = zip::members(self.file, self.budget);
        members.retain(|member| member.method == zip::Method::Deflated && !member.encoded.is_empty());
        members.sort_by_key(|member| (member.encoded.start, member.encoded.end));
        let mut end = 0;
        for member in members {
            // A directory may list one stretch of bytes many times: each is decoded at most once.
            if member.encoded.start < end {
                continue;
            }
            end = member.encoded.end;
            if self.shared.has(&member) {
                continue;
            }
            if member.plain_size <= self.left as u64 {
                let max = usize::try_from(member.plain_size).unwrap_or(usize::MAX);
                self.take(Codec::Deflate, member.encoded.start, Some(end), max);
            }
        }
    }

    fn kernel(&mut self) {
        let Some(payload) = kernel_payload(self.file) else { return };
        let bytes = self.file.get(payload.clone()).unwrap_or(&[]);
        let (codec, header) = match Container::detect(bytes) {
            Some(Container::Zstd) => (Codec::ZstdBlocks, 0),
            Some(Container::Xz) => (Codec::Xz, 0),
            Some(Container::Bzip2) => (Codec::Bzip2, 0),
            Some(Container::Gzip) => (Codec::Deflate, gzip_header_size(bytes).unwrap_or(0)),
            _ => return,
        };
        self.take(codec, payload.start + header, None, usize::MAX);
    }
}

/// The place of a compressed stream in a file, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The compression of the stream.
    pub codec: Codec,
    /// The place of the stream in the file, in bytes, without the headers around it.
    pub encoded: Range<u64>,
    /// The number of its plain bytes.
    pub plain_size: u64,
}

/// Finds the streams of a file that is too large to hold, such as a layer, in memory of a few megabytes and
/// the window of the codec.
///
/// The streams are those that follow each other from the start of the file, of gzip, xz, zstd or bzip2, as
/// [`find`] finds them, while the plain bytes of all are at most `max_plain`, and at most `max_streams`. The
/// bytes between and after them are left alone.
///
/// # Errors
/// The file cannot be read.
pub fn find_streams(
    file: &dyn ReadAt,
    max_plain: u64,
    max_streams: usize,
    budget: &Budget,
) -> io::Result<Vec<Stream>> {
    find_by(successive::walk, file, max_plain, max_streams, budget)
}

/// Finds the streams of a file as [`find_streams`] does, but for each frame of zstd:chunked as a stream of
/// its own: a file that ends as zstd:chunked does may be made by another encoder of zstd.
///
/// # Errors
/// The file cannot be read.
pub fn find_frames(
    file: &dyn ReadAt,
    max_plain: u64,
    max_streams: usize,
    budget: &Budget,
) -> io::Result<Vec<Stream>> {
    find_by(successive::walk_apart, file, max_plain, max_streams, budget)
}

fn find_by(
    walk: successive::Walk,
    file: &dyn ReadAt,
    max_plain: u64,
    max_streams: usize,
    budget: &Budget,
) -> io::Result<Vec<Stream>> {
    let Some(container) = Container::detect(&peek(file, 0, HEAD_SIZE)?) else { return Ok(Vec::new()) };
    let (mut streams, mut left) = (Vec::new(), max_plain);
    let charge = |units| budget.take(units);
    walk(container, file, budget, &mut |codec, start| {
        if streams.len() == max_streams {
            return None;
        }
        let mut encoded = file.reader(start..file.size());
        let decoded = decode_charged(codec, &mut encoded, left, &mut io::sink(), &charge).ok()?;
        let (end, plain_size) = (start.checked_add(decoded.encoded_size)?, decoded.plain_size);
        if codec == Codec::ZstdChunked && end != file.size() {
            return None;
        }
        left -= plain_size;
        streams.push(Stream { codec, encoded: start..end, plain_size });
        Some(end)
    })?;
    Ok(streams)
}

/// Returns the size in bytes of the header of the gzip member that `bytes` begin with (RFC 1952, 2.3).
pub fn gzip_header_size(bytes: &[u8]) -> Option<usize> {
    let [0x1f, 0x8b, 8, flags, ..] = *bytes else { return None };
    let (has_extra, has_name) = (flags & 4 != 0, flags & 8 != 0);
    let (has_comment, has_crc) = (flags & 16 != 0, flags & 2 != 0);
    if flags & 0xe0 != 0 {
        return None;
    }
    let mut at = 10;
    if has_extra {
        let size = bytes.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([size[0], size[1]]));
    }
    for _ in 0..u8::from(has_name) + u8::from(has_comment) {
        at += bytes.get(at..)?.iter().take(MAX_GZIP_NAME).position(|byte| *byte == 0)? + 1;
    }
    if has_crc {
        at += 2;
    }
    (at <= bytes.len()).then_some(at)
}
