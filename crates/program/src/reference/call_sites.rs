//! Tables of call sites, for the second decoder: each row is found from the start of the range on.

use crate::varint::{Reader, put};
use crate::{Error, Result};

/// Returns the end of the row before and the last pad that is not 0, if a row begins after these bytes of the range.
fn before_row(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut at = 0;
    let number = |at: &mut usize| -> Option<u32> {
        let (mut number, mut factor) = (0u64, 1u64);
        loop {
            let byte = *bytes.get(*at)?;
            *at += 1;
            number = (number + u64::from(byte & 0x7f) * factor) % (1 << 32);
            factor = factor * 128 % (1 << 35);
            if byte < 0x80 {
                return u32::try_from(number).ok();
            }
        }
    };
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)? + 1;
        let has_types = *bytes.get(at)? != 0xff;
        at += 1;
        let types = if has_types { number(&mut at)? as usize } else { 0 };
        let end = at + types;
        at += 1;
        if *bytes.get(at - 1)? != 1 {
            continue;
        }
        let size = number(&mut at)? as usize;
        let rows = at + size;
        let (mut last, mut last_pad) = (0u32, 0);
        while at < rows {
            if at == bytes.len() {
                return Some((last, last_pad));
            }
            let [start, length, pad] = [number(&mut at)?, number(&mut at)?, number(&mut at)?];
            number(&mut at)?;
            last = start.wrapping_add(length);
            last_pad = if pad == 0 { last_pad } else { pad };
        }
        at = at.max(end);
    }
}

/// Appends the next row or new byte to a piece that ends at `end`. The range of tables begins at `start`.
pub(super) fn read(
    made: &mut Vec<u8>,
    new: &mut &[u8],
    [starts, lengths, pads, actions]: &mut [Reader<'_>; 4],
    [start, end]: [usize; 2],
) -> Result<()> {
    let narrow = |number: u64| match u32::try_from(number) {
        Ok(number) => Ok(number),
        Err(_) => Err(Error::TooLarge { what: "a number of a row", value: number, max: u32::MAX.into() }),
    };
    if let Some((last, last_pad)) = before_row(&made[start..]) {
        let signed = |number: u64, from: u32| {
            let half = number / 2;
            let from = u64::from(from);
            narrow(if number.is_multiple_of(2) {
                from.wrapping_add(half)
            } else {
                from.wrapping_sub(half + 1)
            })
        };
        let first = starts.next()?;
        if first > 0 {
            let start = signed(first - 1, last)?;
            let length = narrow(lengths.next()?)?;
            let pad = pads.next()?;
            let pad = if pad == 0 { 0 } else { signed(pad - 1, last_pad)? };
            let action = narrow(actions.next()?)?;
            [start, length, pad, action].iter().for_each(|number| put(made, (*number).into()));
            return if made.len() > end { Err(Error::Rows) } else { Ok(()) };
        }
    }
    let (byte, rest) = new.split_first().ok_or(Error::Truncated("the new bytes"))?;
    made.push(*byte);
    *new = rest;
    Ok(())
}
