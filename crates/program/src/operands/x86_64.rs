//! New code for x86-64, instruction by instruction.
//!
//! ```text
//! code      e8 [operand] 48 8d 05 [operand] 0f 84 [distance] c3
//! new       e8           48 8d 05           0f 84            c3
//! calls        address
//! loads                            address
//! branches                                        distance
//! ```
//!
//! A literal begins anywhere in an instruction, mostly where the old code had another operand. Some bytes before it tell
//! where: instructions that are read from a wrong byte on fall in with the right ones soon.

use super::instruction::{FOUR, Four, Instruction};
use super::{Code, New, Operand, SIZE, Taken, low, take};
use crate::error::Result;
use crate::form::{sign_extend, word32};

/// Bytes before a piece of new code from which on instructions are read. With 16 deltas of new code are 0.1% larger, and
/// with 40 as large.
pub(crate) const BEFORE: usize = 24;
/// Targets of jumps that are remembered: with 200 in place of 32, deltas are as large.
const TARGETS: usize = 32;
/// The byte in the place of a distance that says that the target of the jump was the last one, up to that of the least
/// recent one. No distance in a program begins with it, as it is over 2^30.
const FIRST_TARGET: u8 = 0x40;
const LAST_TARGET: u8 = 0x5f;
/// The byte in the place of a distance that says that the distance stands where it was.
const KEPT_DISTANCE: u8 = 0x60;

const _: () = assert!((LAST_TARGET - FIRST_TARGET) as usize + 1 == TARGETS, "each target has its byte");

/// The part of the new file that came before new code, as far as it says how that is read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    /// The last bytes that were made, and how many of them there are.
    bytes: [u8; BEFORE],
    size: usize,
    targets: Targets,
}

impl Before {
    /// Takes in the next bytes of the new file.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        match bytes.last_chunk() {
            Some(last) => (self.bytes, self.size) = (*last, BEFORE),
            None => {
                self.bytes.rotate_left(bytes.len());
                self.bytes[BEFORE - bytes.len()..].copy_from_slice(bytes);
                self.size = BEFORE.min(self.size + bytes.len());
            }
        }
    }

    /// The instruction that goes on with the next byte.
    fn instruction(&self) -> Instruction {
        Instruction::after(&self.bytes[BEFORE - self.size..])
    }
}

/// The addresses that jumps of new code led to last, the last one first.
///
/// Jumps of one function have few targets. The same target is another distance for each of them.
#[derive(Debug, Clone, Default)]
struct Targets([u32; TARGETS]);

impl Targets {
    /// Remembers a target, and returns its index if it was remembered already.
    fn find(&mut self, target: u32) -> Option<usize> {
        let index = self.0.iter().position(|known| *known == target);
        self.put_first(index.unwrap_or(TARGETS - 1), target);
        index
    }

    /// Remembers a target in place of the one with an index.
    fn put_first(&mut self, index: usize, target: u32) {
        self.0.copy_within(..index, 1);
        self.0[0] = target;
    }
}

impl Taken {
    pub(super) fn x86_64(&mut self, bytes: &[u8], address: u64, code: Code<'_>) {
        let mut instruction = self.before.instruction();
        let mut rest = bytes;
        while !rest.is_empty() {
            let next = address.wrapping_add((bytes.len() - rest.len()) as u64);
            if let Some(four) = instruction.four()
                && let Some((distance, after)) = rest.split_first_chunk()
            {
                if self.four(four, *distance, next, code) {
                    instruction.pass_four();
                    rest = after;
                    continue;
                }
                instruction.keep_four();
            }
            let (together, after) = rest.split_at(rest.len().min(instruction.together().into()));
            instruction.pass_together(together);
            self.new.extend_from_slice(together);
            rest = after;
        }
    }

    /// Adds four bytes at an address. Returns false if they stand where they were.
    fn four(&mut self, four: Four, distance: [u8; SIZE], address: u64, code: Code<'_>) -> bool {
        let end = address.wrapping_add(FOUR.into());
        let meant = end.wrapping_add(sign_extend(word32(&distance, 0)));
        let [.., first] = distance;
        match four {
            Four::Call => return self.operand(meant, Operand::Call, code),
            Four::Load(immediate) => {
                return self.operand(meant.wrapping_add(immediate.into()), Operand::Load, code);
            }
            Four::Jump if (FIRST_TARGET..=KEPT_DISTANCE).contains(&first) => {
                self.branches.push(KEPT_DISTANCE);
                return false;
            }
            Four::Jump => {
                match self.before.targets.find(low(meant)).and_then(|index| u8::try_from(index).ok()) {
                    Some(index) => self.branches.push(FIRST_TARGET + index),
                    None => self.branches.extend(distance.iter().rev()),
                }
            }
            Four::Stack => self.stack.extend(distance.iter().rev()),
        }
        true
    }
}

impl New<'_> {
    pub(super) fn x86_64(
        &mut self,
        new: &mut &[u8],
        out: &mut Vec<u8>,
        size: usize,
        address: u64,
        before: &mut Before,
    ) -> Result<()> {
        let start = out.len();
        let mut instruction = before.instruction();
        while out.len() - start < size {
            let left = size - (out.len() - start);
            if let Some(four) = instruction.four().filter(|_| left >= SIZE) {
                let next = address.wrapping_add((out.len() - start) as u64);
                if let Some(distance) = self.four(four, next, before)? {
                    instruction.pass_four();
                    out.extend_from_slice(&distance);
                    continue;
                }
                instruction.keep_four();
            }
            let together = take(new, left.min(instruction.together().into()))?;
            instruction.pass_together(together);
            out.extend_from_slice(together);
        }
        Ok(())
    }

    /// Reads four bytes at an address; `None` if they stand where they were.
    fn four(&mut self, four: Four, address: u64, before: &mut Before) -> Result<Option<[u8; SIZE]>> {
        let end = address.wrapping_add(FOUR.into());
        let distance = |meant: u64, end: u64| low(meant.wrapping_sub(end)).to_le_bytes();
        match four {
            Four::Call => Ok(self.operand(Operand::Call)?.map(|meant| distance(meant, end))),
            Four::Load(immediate) => {
                let end = end.wrapping_add(immediate.into());
                Ok(self.operand(Operand::Load)?.map(|meant| distance(meant, end)))
            }
            Four::Jump => match self.branches.first() {
                Some(&KEPT_DISTANCE) => {
                    take(&mut self.branches, 1)?;
                    Ok(None)
                }
                Some(&known @ FIRST_TARGET..=LAST_TARGET) => {
                    take(&mut self.branches, 1)?;
                    let index = usize::from(known - FIRST_TARGET);
                    let target = before.targets.0[index];
                    before.targets.put_first(index, target);
                    Ok(Some(distance(target.into(), end)))
                }
                _ => {
                    let distance = reversed(take(&mut self.branches, SIZE)?);
                    let target = end.wrapping_add(u32::from_le_bytes(distance).into());
                    before.targets.put_first(TARGETS - 1, low(target));
                    Ok(Some(distance))
                }
            },
            Four::Stack => Ok(Some(reversed(take(&mut self.stack, SIZE)?))),
        }
    }
}

/// Four bytes in reverse.
fn reversed(bytes: &[u8]) -> [u8; SIZE] {
    let mut reversed = [0; SIZE];
    reversed.iter_mut().zip(bytes.iter().rev()).for_each(|(to, from)| *to = *from);
    reversed
}
