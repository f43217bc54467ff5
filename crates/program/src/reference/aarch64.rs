//! A piece of new code for aarch64, read the plain way.

use std::collections::HashMap;

use crate::operands::New;
use crate::{Error, Result};

/// Appends a piece of `size` bytes, the first of which has the address `start`.
pub(super) fn read(made: &mut Vec<u8>, new: &mut New<'_>, size: usize, start: u64) -> Result<()> {
    let mut held: HashMap<u32, (u64, u64)> = HashMap::new();
    let mut left = size;
    while left > 0 {
        let own = start.wrapping_add((size - left) as u64);
        if !own.is_multiple_of(4) || left < 4 {
            made.push(byte(&mut new.new)?);
            left -= 1;
            continue;
        }
        let last = byte(&mut new.new)?;
        let address = match last {
            0x94..=0x97 => address(&mut new.calls)?,
            0x90 | 0xb0 | 0xd0 | 0xf0 => address(&mut new.loads)?,
            _ => None,
        };
        let mut word = match address {
            Some(address) if last & 4 != 0 => 0x9400_0000 | (address.wrapping_sub(own) / 4 % (1 << 26)),
            Some(address) => {
                let register = byte(&mut new.new)? % 32;
                held.insert(register.into(), (own, address % 4096));
                let pages = (address / 4096).wrapping_sub(own / 4096) % (1 << 21);
                0x9000_0000 | (pages % 4) << 29 | (pages / 4) << 5 | u64::from(register)
            }
            None => {
                let rest = [byte(&mut new.new)?, byte(&mut new.new)?, byte(&mut new.new)?];
                u32::from_le_bytes([rest[0], rest[1], rest[2], last]).into()
            }
        };
        let register = u32::try_from(word / 32 % 32).unwrap();
        let is_add = word & 0x7fc0_0000 == 0x1100_0000;
        let is_access = word & 0x3b00_0000 == 0x3900_0000;
        if let Some((at, low)) = held.get(&register).copied()
            && (is_add || is_access)
            && own.wrapping_sub(at) <= 20
        {
            held.remove(&register);
            let scale = match word {
                _ if is_add => 0,
                _ if word >> 30 == 0 && word & 0x0480_0000 == 0x0480_0000 => 4,
                _ => word >> 30,
            };
            word = word & !(0xfff << 10) | (low >> scale) << 10;
        }
        made.extend(&word.to_le_bytes()[..4]);
        left -= 4;
    }
    Ok(())
}

fn byte(from: &mut &[u8]) -> Result<u8> {
    let (first, rest) = from.split_first().ok_or(Error::Truncated("the new bytes"))?;
    *from = rest;
    Ok(*first)
}

/// The address that stands in a part; `None` if the operand stands where it was.
fn address(from: &mut &[u8]) -> Result<Option<u64>> {
    if from.first() == Some(&0xff) {
        byte(from)?;
        return Ok(None);
    }
    let bytes = [byte(from)?, byte(from)?, byte(from)?, byte(from)?];
    Ok(Some(u32::from_be_bytes(bytes).into()))
}
