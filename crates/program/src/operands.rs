//! New code: operands that are relative to the next instruction stand apart, as the addresses that they mean.
//!
//! A function that is called from many places is another number at each of them, and one address. So the literals of
//! code are carried without such operands, whose addresses stand in parts of their own, where a compressor finds them
//! again.
//!
//! ```text
//! code      e8 [operand] 48 8d 05 [operand] c3
//! new       e8           48 8d 05           c3
//! calls        address
//! loads                            address
//! ```
//!
//! The distances of jumps on a condition stand apart as well, and so do those of variables from the stack pointer, both
//! with the high byte first. They mean no address, but they are like each other, and the code around them is alike even
//! where they differ.

mod aarch64;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::call_sites::{CallSites, Rows};
use crate::error::{Error, Result};
use crate::form::{sign_extend, word32};
use crate::scan::{CALL, JUMP, TWO_BYTES, immediate};
use crate::space::Space;

/// Most bytes of a literal that are taken apart at once.
pub(crate) const PIECE_SIZE: u32 = 64 << 10;
/// The byte in the place of an address that says that the operand stands where it was. Hardly an address of a program
/// begins with it.
const KEPT: u8 = 0xff;
/// The SIB byte of an operand that counts from the stack pointer alone.
const STACK_POINTER: u8 = 0x24;
/// The bits of a ModRM byte beside those of a register, and their value before a SIB byte and a distance of 32 bits.
const MODE: u8 = 0xc7;
const FAR_WITH_SIB: u8 = 0x84;
/// Bytes of an operand.
const SIZE: usize = 4;

/// The processor that code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Machine {
    X86_64,
    Aarch64,
}

/// Returns true if a piece of a literal lies wholly in a range.
pub(crate) fn is_within(range: &Range<u32>, position: u32, size: usize) -> bool {
    let end = u32::try_from(size).ok().and_then(|size| position.checked_add(size));
    end.is_some_and(|end| range.start <= position && end <= range.end)
}

/// The code that is new: its ranges in the new file, and the addresses of that file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code<'c> {
    pub(crate) machine: Machine,
    pub(crate) ranges: &'c [Range<u32>],
    pub(crate) space: Space<'c>,
}

impl Code<'_> {
    /// The address of a piece of a literal that lies in one of the ranges: then it is taken apart.
    pub(crate) fn address(self, position: u32, size: usize) -> Option<u64> {
        let is_code = self.ranges.iter().any(|range| is_within(range, position, size));
        is_code.then(|| self.space.address(position))
    }

    /// Returns true if an operand that means this address is one. Calls lead to code.
    fn is_meant(self, address: u64, kind: Operand) -> bool {
        let place = self.space.place(address);
        place.is_some_and(|place| {
            kind == Operand::Load || self.ranges.iter().any(|range| range.contains(&place))
        })
    }
}

/// The kind of an operand, which is the part that its address stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Call,
    Load,
}

impl Operand {
    /// The kind of an operand of x86-64 that follows a byte.
    pub(crate) const fn after(before: u8) -> Self {
        if is_call(before) { Self::Call } else { Self::Load }
    }
}

/// The four bytes that follow code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follows {
    /// The distance of a jump on a condition: it stays in the function, so that it is the same wherever that lies.
    Condition,
    /// The distance of a variable from the stack pointer.
    Stack,
    /// An operand relative to an address so many bytes after it.
    Operand(Operand, u8),
}

/// Returns the kind of the four bytes after `code`; `None` if they are like any others. The last operand ends at
/// `floor`, and no opcode begins before that.
fn follows(code: &[u8], floor: usize) -> Option<Follows> {
    let last = *code.last()?;
    if is_call(last) {
        return Some(Follows::Operand(Operand::Call, 4));
    }
    let opcode = code.len().checked_sub(2).filter(|opcode| *opcode >= floor)?;
    if code[opcode] == TWO_BYTES && last & 0xf0 == 0x80 {
        return Some(Follows::Condition);
    }
    if last == STACK_POINTER && code[opcode] & MODE == FAR_WITH_SIB {
        return Some(Follows::Stack);
    }
    if last & MODE == 5 {
        let immediate = immediate(code, 0, opcode)?;
        return Some(Follows::Operand(Operand::Load, 4 + immediate));
    }
    None
}

const fn is_call(opcode: u8) -> bool {
    matches!(opcode, CALL | JUMP)
}

/// The parts of new bytes.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) new: Vec<u8>,
    pub(crate) calls: Vec<u8>,
    pub(crate) loads: Vec<u8>,
    pub(crate) conditions: Vec<u8>,
    pub(crate) stack: Vec<u8>,
}

impl Taken {
    /// Bytes that are carried.
    pub(crate) fn size(&self) -> usize {
        self.new.len() + self.calls.len() + self.loads.len() + self.conditions.len() + self.stack.len()
    }

    /// Adds a literal at a position of the new file.
    pub(crate) fn literal(
        &mut self,
        bytes: &[u8],
        position: u32,
        code: Code<'_>,
        sites: &mut CallSites,
        rows: &mut Rows,
    ) {
        let mut position = position;
        for piece in bytes.chunks(PIECE_SIZE as usize) {
            let address = code.address(position, piece.len());
            if address.is_none() && sites.holds(position, piece.len()) {
                rows.put(sites, piece, &mut self.new);
            } else {
                match (address, code.machine) {
                    (Some(address), Machine::X86_64) => self.x86_64(piece, address, code),
                    (Some(address), Machine::Aarch64) => self.aarch64(piece, address, code),
                    (None, _) => self.new.extend_from_slice(piece),
                }
                sites.pass(position, piece);
            }
            position = position.wrapping_add(PIECE_SIZE);
        }
    }

    /// Adds the address that an operand means.
    pub(crate) fn address(&mut self, address: u64, kind: Operand) {
        self.addresses(kind).extend_from_slice(&low(address).to_be_bytes());
    }

    /// Adds the address that an operand of new code means, or says that it stands where it was. Returns true if it
    /// is the address.
    fn operand(&mut self, address: u64, kind: Operand, code: Code<'_>) -> bool {
        let written = low(address).to_be_bytes();
        let is_taken = written[0] != KEPT && code.is_meant(address, kind);
        if is_taken {
            self.addresses(kind).extend_from_slice(&written);
        } else {
            self.keep(kind);
        }
        is_taken
    }

    /// Says that an operand stands where it was.
    fn keep(&mut self, kind: Operand) {
        self.addresses(kind).push(KEPT);
    }

    const fn addresses(&mut self, kind: Operand) -> &mut Vec<u8> {
        match kind {
            Operand::Call => &mut self.calls,
            Operand::Load => &mut self.loads,
        }
    }

    fn x86_64(&mut self, bytes: &[u8], address: u64, code: Code<'_>) {
        let (mut position, mut floor) = (0, 0);
        while let Some(byte) = bytes.get(position) {
            self.new.push(*byte);
            position += 1;
            let Some(operand) = bytes.get(position..position + SIZE) else { continue };
            match follows(&bytes[..position], floor) {
                None => continue,
                Some(Follows::Condition) => self.conditions.extend(operand.iter().rev()),
                Some(Follows::Stack) => self.stack.extend(operand.iter().rev()),
                Some(Follows::Operand(kind, constant)) => {
                    let next = address.wrapping_add(position as u64 + u64::from(constant));
                    let meant = next.wrapping_add(sign_extend(word32(bytes, position)));
                    if !self.operand(meant, kind, code) {
                        continue;
                    }
                }
            }
            position += SIZE;
            floor = position;
        }
    }
}

/// New bytes that are read from their start on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New<'n> {
    pub(crate) new: &'n [u8],
    pub(crate) calls: &'n [u8],
    pub(crate) loads: &'n [u8],
    pub(crate) conditions: &'n [u8],
    pub(crate) stack: &'n [u8],
}

impl<'n> New<'n> {
    const fn addresses(&mut self, kind: Operand) -> &mut &'n [u8] {
        match kind {
            Operand::Call => &mut self.calls,
            Operand::Load => &mut self.loads,
        }
    }

    /// Reads the address that an operand means.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub(crate) fn address(&mut self, kind: Operand) -> Result<u64> {
        let mut written = [0; SIZE];
        written.copy_from_slice(take(self.addresses(kind), SIZE)?);
        Ok(u32::from_be_bytes(written).into())
    }

    /// Reads the address that an operand of new code means; `None` if it stands where it was.
    fn operand(&mut self, kind: Operand) -> Result<Option<u64>> {
        let addresses = self.addresses(kind);
        if addresses.first() == Some(&KEPT) {
            take(addresses, 1)?;
            return Ok(None);
        }
        self.address(kind).map(Some)
    }

    /// Appends the next piece of a literal, of `size` bytes. `address` is that of its first byte, if it is code for the
    /// machine.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub(crate) fn read(
        &mut self,
        out: &mut Vec<u8>,
        size: usize,
        address: Option<u64>,
        machine: Machine,
    ) -> Result<()> {
        match address {
            Some(address) => match machine {
                Machine::X86_64 => self.x86_64(out, size, address),
                Machine::Aarch64 => self.aarch64(out, size, address),
            },
            None => {
                out.extend_from_slice(take(&mut self.new, size)?);
                Ok(())
            }
        }
    }

    fn x86_64(&mut self, out: &mut Vec<u8>, size: usize, address: u64) -> Result<()> {
        let start = out.len();
        let mut floor = 0;
        while out.len() - start < size {
            out.extend_from_slice(take(&mut self.new, 1)?);
            let made = &out[start..];
            let position = made.len();
            if size - position < SIZE {
                continue;
            }
            match follows(made, floor) {
                None => continue,
                Some(Follows::Condition) => out.extend(take(&mut self.conditions, SIZE)?.iter().rev()),
                Some(Follows::Stack) => out.extend(take(&mut self.stack, SIZE)?.iter().rev()),
                Some(Follows::Operand(kind, constant)) => {
                    let Some(meant) = self.operand(kind)? else { continue };
                    let next = address.wrapping_add(position as u64 + u64::from(constant));
                    out.extend_from_slice(&low(meant.wrapping_sub(next)).to_le_bytes());
                }
            }
            floor = out.len() - start;
        }
        Ok(())
    }

    /// Fails if something is left.
    pub(crate) const fn end(&self) -> Result<()> {
        match self {
            Self { new: [], calls: [], loads: [], conditions: [], stack: [] } => Ok(()),
            _ => Err(Error::Left("the new bytes")),
        }
    }
}

/// The low 32 bits of an address, which an operand has.
#[expect(clippy::cast_possible_truncation, reason = "an operand has 32 bits")]
const fn low(address: u64) -> u32 {
    address as u32
}

/// Takes bytes from the start of others.
fn take<'n>(from: &mut &'n [u8], size: usize) -> Result<&'n [u8]> {
    let (bytes, rest) = from.split_at_checked(size).ok_or(Error::Truncated("the new bytes"))?;
    *from = rest;
    Ok(bytes)
}
