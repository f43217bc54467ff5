//! Finds the fields of `.eh_frame`: the addresses of the code that its records describe.

use std::ops::Range;

use super::Found;
use crate::form::{Form, word32};

/// Relative to the field, signed, 4 bytes: the only encoding of addresses that compilers use here.
const RELATIVE: u8 = 0x1b;
const NONE: u8 = 0xff;
/// Most bytes of an integer.
const MAX_INTEGER: usize = 5;

/// A common record (CIE): it says how the records that refer to it write addresses.
#[derive(Clone, Copy)]
struct Common {
    position: usize,
    code: u8,
    data: u8,
}

pub(super) fn scan(found: &mut Found<'_>, range: &Range<u32>) {
    let range = found.range(range);
    let bytes = found.bytes;
    let relative = Form::relative(0).of_table();
    // In the order of the file.
    let mut commons: Vec<Common> = Vec::new();
    let mut position = range.start;
    while position + 8 <= range.end && !found.is_full() {
        let size = word32(bytes, position) as usize;
        let end = position + 4 + size;
        if size < 4 || end > range.end {
            break;
        }
        let back = word32(bytes, position + 4) as usize;
        if back == 0 {
            commons.push(common(&bytes[..end], position));
        } else if let Some(start) = (position + 4).checked_sub(back)
            && let Ok(index) = commons.binary_search_by_key(&start, |common| common.position)
        {
            let common = commons[index];
            found.put(position + 4, Form::back(), u32::try_from(start).unwrap_or(0));
            if common.code == RELATIVE && size >= 12 {
                found.read_any(position + 8, relative, word32(bytes, position + 8).into());
                // The size of what is augmented, then the address of the data of the language.
                let data = skip_integer(&bytes[..end], position + 16);
                if common.data == RELATIVE && data + 4 <= end && word32(bytes, data) != 0 {
                    found.read_any(data, relative, word32(bytes, data).into());
                }
            }
        }
        position = end;
    }
}

/// Returns the position after an integer of variable length (LEB128).
fn skip_integer(bytes: &[u8], position: usize) -> usize {
    let rest = bytes.get(position..).unwrap_or(&[]);
    let more = rest.iter().take(MAX_INTEGER).take_while(|byte| **byte & 0x80 != 0).count();
    position + more + 1
}

/// Reads the common record at `position`, up to the end of `bytes`.
fn common(bytes: &[u8], position: usize) -> Common {
    let mut common = Common { position, code: 0, data: NONE };
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
