//! New code for x86-64, read once more: the instruction that is being made is looked at anew for each of its bytes.

use std::collections::VecDeque;

use super::take_bytes;
use crate::Result;
use crate::operands::New;

const PREFIXES: [u8; 11] = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3];

/// The kind of the four bytes of an instruction that stand apart.
#[derive(Clone, Copy, PartialEq)]
enum Apart {
    Call,
    Jump,
    Load,
    Stack,
}

/// The size of an instruction, as far as its first bytes tell, and the four bytes in it that stand apart. `None` if more
/// bytes are needed.
fn size(bytes: &[u8]) -> Option<(usize, Option<(usize, Apart)>)> {
    let prefixes = bytes.iter().take_while(|byte| PREFIXES.contains(byte)).count();
    let word = if bytes[..prefixes].contains(&0x66) { 2 } else { 4 };
    let mut at = prefixes;
    let mut wide = word;
    if *bytes.get(at)? & 0xf0 == 0x40 {
        wide = if bytes[at] & 8 == 8 { 8 } else { word };
        at += 1;
    }
    let (map, opcode) = match *bytes.get(at)? {
        0x0f if *bytes.get(at + 1)? == 0x38 => (2, at + 2),
        0x0f if bytes[at + 1] == 0x3a => (3, at + 2),
        0x0f => (1, at + 1),
        0xc5 => (1, at + 2),
        0xc4 => (bytes.get(at + 1)? & 31, at + 3),
        0x62 => (bytes.get(at + 1)? & 7, at + 4),
        _ => (u8::MAX, at),
    };
    let op = *bytes.get(opcode)?;
    let end = opcode + 1;
    let column = op % 16;
    let of_column = |sizes: [usize; 16]| sizes[usize::from(column)];
    let (has_modrm, mut immediate) = match map {
        u8::MAX if matches!(op, 0xe8 | 0xe9) => {
            return Some((end + 4, Some((end, if op == 0xe8 { Apart::Call } else { Apart::Jump }))));
        }
        1 if op >> 4 == 8 => return Some((end + 4, Some((end, Apart::Jump)))),
        u8::MAX => match op >> 4 {
            0..=3 => (column % 8 < 4, [0, 0, 0, 0, 1, word, 0, 0][usize::from(op % 8)]),
            6 => (
                matches!(column, 3 | 9 | 11),
                of_column([0, 0, 0, 0, 0, 0, 0, 0, word, word, 1, 1, 0, 0, 0, 0]),
            ),
            7 => (false, 1),
            8 => (true, of_column([1, word, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            0xa => (false, of_column([8, 8, 8, 8, 0, 0, 0, 0, 1, word, 0, 0, 0, 0, 0, 0])),
            0xb => (false, if column < 8 { 1 } else { wide }),
            0xc => {
                let immediate = of_column([1, 1, 2, 0, 0, 0, 1, word, 3, 0, 2, 0, 0, 1, 0, 0]);
                (matches!(column, 0 | 1 | 6 | 7), immediate)
            }
            0xd => (!(4..8).contains(&column), usize::from(matches!(column, 4 | 5))),
            0xe => (false, usize::from(column < 8 || column == 11)),
            0xf => (matches!(column, 6 | 7 | 14 | 15), 0),
            _ => (false, 0),
        },
        1 => {
            let none = matches!(op, 0x04..=0x0c | 0x0e | 0x30..=0x37 | 0x77 | 0xa0..=0xa2 | 0xa8..=0xaa)
                || (0xc8..=0xcf).contains(&op);
            let immediate = matches!(op, 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4 | 0xc5 | 0xc6);
            (!none, usize::from(immediate))
        }
        3 => (true, 1),
        _ => (true, 0),
    };
    if !has_modrm {
        return Some((end + immediate, None));
    }
    let modrm = *bytes.get(end)?;
    let (mode, register, low) = (modrm / 64, modrm / 8 % 8, modrm % 8);
    if map == u8::MAX && register < 2 && matches!(op, 0xf6 | 0xf7) {
        immediate = if op == 0xf6 { 1 } else { word };
    }
    let mut end = end + 1;
    let mut sib = None;
    if mode < 3 && low == 4 {
        sib = Some(*bytes.get(end)?);
        end += 1;
    }
    let (displacement, apart) = match (mode, sib) {
        (0, None) if low == 5 => (4, Some((end, Apart::Load))),
        (0, Some(sib)) if sib % 8 == 5 => (4, None),
        (1, _) => (1, None),
        (2, Some(0x24)) => (4, Some((end, Apart::Stack))),
        (2, _) => (4, None),
        _ => (0, None),
    };
    Some((end + displacement + immediate, apart))
}

/// Appends a piece of so many bytes, the first of which has an address.
pub(super) fn read(
    made: &mut Vec<u8>,
    new: &mut New<'_>,
    targets: &mut VecDeque<u32>,
    (piece, address): (usize, u64),
) -> Result<()> {
    let start = made.len();
    let to = start + piece;
    let mut begin = start.saturating_sub(24);
    while made.len() < to {
        let position = made.len();
        let (end, apart) = match size(&made[begin..]) {
            // The byte that is still to come is part of it.
            None => (position - begin, None),
            Some((size, _)) if begin + size <= position => {
                begin += size;
                // The next instruction may have begun before the piece, too.
                continue;
            }
            Some(found) => found,
        };
        let apart = apart.filter(|(at, _)| begin + at == position && position + 4 <= to);
        let Some((_, kind)) = apart else {
            made.extend(take_bytes(&mut new.new, 1)?);
            continue;
        };
        let own = address.wrapping_add((position - start) as u64);
        // Loads count from the end of the instruction, and so do the others, whose operand ends there.
        let next = own.wrapping_add((begin + end - position) as u64);
        let number = |bytes: Vec<u8>| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let part = match kind {
            Apart::Call => &mut new.calls,
            Apart::Load => &mut new.loads,
            Apart::Stack => {
                made.extend(number(take_bytes(&mut new.stack, 4)?).to_le_bytes());
                continue;
            }
            Apart::Jump => &mut new.branches,
        };
        let next = u32::try_from(next & u64::from(u32::MAX)).unwrap();
        let distance = match (part.first().copied(), kind == Apart::Jump) {
            (Some(0x60), true) | (Some(0xff), false) => {
                take_bytes(part, 1)?;
                made.extend(take_bytes(&mut new.new, 4)?);
                continue;
            }
            (Some(index @ 0x40..=0x5f), true) => {
                take_bytes(part, 1)?;
                let target = targets.remove(usize::from(index) - 0x40).unwrap();
                targets.push_front(target);
                target.wrapping_sub(next)
            }
            (_, true) => {
                let distance = number(take_bytes(part, 4)?);
                targets.pop_back();
                targets.push_front(next.wrapping_add(distance));
                distance
            }
            (_, false) => number(take_bytes(part, 4)?).wrapping_sub(next),
        };
        made.extend(distance.to_le_bytes());
    }
    Ok(())
}
