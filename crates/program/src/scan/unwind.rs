//! Finds the fields of `.eh_frame`: the addresses of the code that its records describe.

use std::ops::Range;

use super::Found;
use crate::form::{Form, word32};

/// Relative to the field, signed, 4 bytes: the only encoding of addresses that compilers use here.
const RELATIVE: u8 = 0x1b;
const NONE: u8 = 0xff;
/// Most common records of a file: others are passed over. A linker joins those that are alike, and a few are left.
const MAX_COMMONS: usize = 1 << 16;
/// Most bytes of an integer.
const MAX_INTEGER: usize = 5;

/// A common record (CIE): it says how the records that refer to it write addresses.
#[derive(Clone, Copy)]
struct Common {
    position: u32,
    code: u8,
    data: u8,
}

/// A record that describes code (FDE).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    /// The position of its first byte.
    pub(crate) position: usize,
    /// The position of the common record that it refers to.
    common: usize,
    /// The position of the address of its code, if that is written in the way that is known.
    pub(crate) code: Option<usize>,
    /// The position of the address of the data of the language, if it has one.
    data: Option<usize>,
}

/// Goes over the records of a range of a file, one after the other, as long as they are whole.
pub(crate) fn for_each_record(bytes: &[u8], range: Range<usize>, mut visit: impl FnMut(Record) -> bool) {
    // In the order of the file.
    let mut commons: Vec<Common> = Vec::new();
    let mut position = range.start;
    while position + 8 <= range.end {
        let size = word32(bytes, position) as usize;
        let end = position + 4 + size;
        if size < 4 || end > range.end {
            break;
        }
        let back = word32(bytes, position + 4) as usize;
        if back == 0 {
            if commons.len() < MAX_COMMONS {
                commons.push(common(&bytes[..end], position));
            }
        } else if let Some(start) = (position + 4).checked_sub(back)
            && let Ok(index) = commons.binary_search_by_key(&start, |common| common.position as usize)
        {
            let common = commons[index];
            let code = (common.code == RELATIVE && size >= 12).then_some(position + 8);
            // The size of what is augmented, then the address of the data of the language.
            let data = code.filter(|_| common.data == RELATIVE);
            let data = data.map(|_| skip_integer(&bytes[..end], position + 16));
            let data = data.filter(|data| data + 4 <= end && word32(bytes, *data) != 0);
            if !visit(Record { position, common: start, code, data }) {
                break;
            }
        }
        position = end;
    }
}

pub(super) fn scan(found: &mut Found<'_>, range: &Range<u32>) {
    let range = found.range(range);
    let bytes = found.bytes;
    for_each_record(bytes, range, |record| {
        found.put(record.position + 4, Form::back(), u32::try_from(record.common).unwrap_or(0));
        if let Some(code) = record.code {
            found.read_any(code, Form::start_of_code(), word32(bytes, code).into());
        }
        if let Some(data) = record.data {
            found.read_any(data, Form::relative(0).of_table(), word32(bytes, data).into());
        }
        !found.is_full()
    });
}

/// Returns the position after an integer of variable length (LEB128).
fn skip_integer(bytes: &[u8], position: usize) -> usize {
    let rest = bytes.get(position..).unwrap_or(&[]);
    let more = rest.iter().take(MAX_INTEGER).take_while(|byte| **byte & 0x80 != 0).count();
    position + more + 1
}

/// Reads the common record at `position`, up to the end of `bytes`.
fn common(bytes: &[u8], position: usize) -> Common {
    let mut common = Common { position: u32::try_from(position).unwrap_or(u32::MAX), code: 0, data: NONE };
    let start = position + 9;
    let rest = bytes.get(start..).unwrap_or(&[]);
    // Augmentations are a few letters.
    let letters = rest.iter().take(16).take_while(|byte| **byte != 0).count();
    let augmentation = &rest[..letters];
    if augmentation.first() != Some(&b'z') {
        return common;
    }
    // Code and data alignment, the return register, the size of what is augmented.
    let mut position = start + letters + 1;
    for _ in 0..4 {
        position = skip_integer(bytes, position);
    }
    for letter in &augmentation[1..] {
        let byte = bytes.get(position).copied().unwrap_or(0);
        match letter {
            b'R' => common.code = byte,
            b'L' => common.data = byte,
            b'P' => {
                position += match byte & 7 {
                    2 => 2,
                    3 => 4,
                    _ => 8,
                };
            }
            _ => continue,
        }
        position += 1;
    }
    common
}
