//! New bytes that are packed with what no block reads of the old file: new code is much like the code that it replaces.
//!
//! ```text
//! old file    [ read ][ replaced ][ read ]          blocks say what is read
//! dictionary          [ replaced ]                  operands are taken out of code, as out of new bytes
//! new         LZMA2 of the new bytes, with the dictionary before them
//! ```
//!
//! LZMA2 has chunks that are not compressed. A decoder that is given the dictionary as such chunks, and then what is
//! packed, has the dictionary in its window.

use std::ops::Range;

use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};

use crate::call_sites::{CallSites, Rows};
use crate::error::{Error, Result};
use crate::operands::{BEFORE, Code, Taken};
use crate::payload::Block;
use crate::rules::{Rule, Rules};
use crate::space::Space;
use crate::{MAX_CODE, MAX_DICTIONARY};

/// Bytes before and after each stretch that no block reads which belong to the dictionary: a match does not begin with
/// the block. With 64 in place of 16, the new bytes of node are as large.
const MARGIN: u32 = 16;
/// Bytes of a chunk of LZMA2 at most.
const CHUNK_SIZE: usize = 1 << 16;
/// The control bytes of chunks that are not compressed: the first one clears the window.
const FIRST_CHUNK: u8 = 1;
const OTHER_CHUNK: u8 = 2;
/// The smallest and the largest window of LZMA in bytes.
const MIN_WINDOW: usize = 1 << 12;
const MAX_WINDOW: usize = 1 << 27;

/// Bytes of the window for the dictionary and the new bytes.
pub(crate) fn window(dictionary: usize, size: usize) -> u32 {
    let window = (dictionary + size).clamp(MIN_WINDOW, MAX_WINDOW);
    u32::try_from(window).unwrap_or(u32::MAX)
}

/// The stretches of an old file of `size` bytes that the dictionary is made of.
pub(crate) fn stretches(blocks: &[Block], size: usize) -> Result<Vec<Range<u32>>> {
    let size = u32::try_from(size).map_err(|_| Error::Block("it is too large"))?;
    let mut read: Vec<_> = blocks.iter().filter(|block| block.add > 0).collect();
    read.sort_unstable_by_key(|block| block.source);
    let mut stretches: Vec<Range<u32>> = Vec::new();
    let mut add = |unread: Range<u32>| {
        if unread.is_empty() {
            return;
        }
        let start = unread.start.saturating_sub(MARGIN);
        let end = size.min(unread.end.saturating_add(MARGIN));
        match stretches.last_mut().filter(|last| last.end >= start) {
            Some(last) => last.end = end,
            None => stretches.push(start..end),
        }
    };
    let mut end = 0;
    for block in read {
        add(end..block.source);
        end = end.max(block.source.saturating_add(block.add));
    }
    add(end..size);
    let together: u64 = stretches.iter().map(|stretch| u64::from(stretch.end - stretch.start)).sum();
    match together > MAX_DICTIONARY {
        true => {
            Err(Error::TooLarge { what: "the size of the dictionary", value: together, max: MAX_DICTIONARY })
        }
        false => Ok(stretches),
    }
}

/// Makes the dictionary of stretches of the old file.
pub(crate) fn dictionary(old: &[u8], stretches: &[Range<u32>], rules: &Rules) -> Vec<u8> {
    let ranges: Vec<_> = rules.rules.iter().filter_map(Rule::split_code).take(MAX_CODE).collect();
    let code = Code { machine: rules.machine(), ranges: &ranges, space: Space(&rules.old.segments) };
    let (mut taken, mut sites, mut rows) = (Taken::default(), CallSites::new(0..0), Rows::default());
    for stretch in stretches {
        let (start, end) = (stretch.start as usize, stretch.end as usize);
        taken.pass(&old[start.saturating_sub(BEFORE)..start]);
        taken.literal(&old[start..end], stretch.start, code, &mut sites, &mut rows);
        taken.clear_operands();
    }
    taken.new
}

/// Unpacks `size` new bytes.
///
/// # Errors
/// [`Error::Packed`] if there are not so many.
pub(crate) fn unpack(dictionary: &[u8], packed: &[u8], size: usize) -> Result<Vec<u8>> {
    let broken = |_| Error::Packed;
    let mut options = LzmaOptions::new_preset(0).map_err(broken)?;
    options.dict_size(window(dictionary.len(), size));
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let mut stream = Stream::new_raw_decoder(&filters).map_err(broken)?;
    let mut control = FIRST_CHUNK;
    let mut input = Vec::with_capacity(CHUNK_SIZE + 3);
    let mut passed = Vec::with_capacity(CHUNK_SIZE);
    for chunk in dictionary.chunks(CHUNK_SIZE) {
        let last = u16::try_from(chunk.len() - 1).map_err(|_| Error::Packed)?;
        input.clear();
        input.push(control);
        input.extend(last.to_be_bytes());
        input.extend_from_slice(chunk);
        passed.clear();
        run(&mut stream, &input, &mut passed)?;
        if passed.len() != chunk.len() {
            return Err(Error::Packed);
        }
        control = OTHER_CHUNK;
    }
    let mut new = Vec::new();
    new.try_reserve_exact(size + 1).map_err(|_| Error::Packed)?;
    match run(&mut stream, packed, &mut new)? {
        true if new.len() == size => Ok(new),
        _ => Err(Error::Packed),
    }
}

/// Decodes all of `input` into the free space of `out`. Returns true if the stream has ended.
fn run(stream: &mut Stream, input: &[u8], out: &mut Vec<u8>) -> Result<bool> {
    let start = stream.total_in();
    loop {
        let done = usize::try_from(stream.total_in() - start).map_err(|_| Error::Packed)?;
        let rest = input.get(done..).ok_or(Error::Packed)?;
        let before = (stream.total_in(), stream.total_out());
        let status = stream.process_vec(rest, out, Action::Run).map_err(|_| Error::Packed)?;
        let is_at_end = stream.total_in() - start == input.len() as u64;
        match status {
            Status::StreamEnd if is_at_end => return Ok(true),
            Status::StreamEnd => return Err(Error::Packed),
            _ if is_at_end && out.len() < out.capacity() => return Ok(false),
            _ if is_at_end && before == (stream.total_in(), stream.total_out()) => return Ok(false),
            _ if before == (stream.total_in(), stream.total_out()) => return Err(Error::Packed),
            _ => {}
        }
    }
}
