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
//! The distances of jumps stand apart as well, and so do those of variables from the stack pointer, both with the high
//! byte first. They mean no address, but they are like each other, and the code around them is alike even where they
//! differ. A jump that leads to the target of one shortly before has the number of that target in place of a distance.

mod aarch64;
mod instruction;
#[cfg(test)]
mod tests;
mod x86_64;

pub(crate) use x86_64::{BEFORE, Before};

use std::ops::Range;

use crate::call_sites::{CallSites, Rows};
use crate::error::{Error, Result};
use crate::scan::{CALL, JUMP};
use crate::space::Space;

/// Most bytes of a literal that are taken apart at once.
pub(crate) const PIECE_SIZE: u32 = 64 << 10;
/// The byte in the place of an address that says that the operand stands where it was. Hardly an address of a program
/// begins with it.
const KEPT: u8 = 0xff;
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
        if matches!(before, CALL | JUMP) { Self::Call } else { Self::Load }
    }
}

/// The parts of new bytes.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) new: Vec<u8>,
    pub(crate) calls: Vec<u8>,
    pub(crate) loads: Vec<u8>,
    pub(crate) branches: Vec<u8>,
    pub(crate) stack: Vec<u8>,
    before: Before,
}

impl Taken {
    /// Bytes that are carried.
    pub(crate) fn size(&self) -> usize {
        self.new.len() + self.calls.len() + self.loads.len() + self.branches.len() + self.stack.len()
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
            self.pass(piece);
            position = position.wrapping_add(PIECE_SIZE);
        }
    }

    /// Drops the operands, which stand apart from the new bytes.
    pub(crate) fn clear_operands(&mut self) {
        let Self { calls, loads, branches, stack, .. } = self;
        [calls, loads, branches, stack].into_iter().for_each(Vec::clear);
    }

    /// Takes in bytes of the new file that come from elsewhere.
    pub(crate) fn pass(&mut self, bytes: &[u8]) {
        self.before.pass(bytes);
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
}

/// New bytes that are read from their start on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct New<'n> {
    pub(crate) new: &'n [u8],
    pub(crate) calls: &'n [u8],
    pub(crate) loads: &'n [u8],
    pub(crate) branches: &'n [u8],
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

    /// Appends the next piece of a literal, of `size` bytes. What is no operand comes from `new`. `address` is that of
    /// its first byte, if it is code for the machine.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub(crate) fn read(
        &mut self,
        new: &mut &[u8],
        out: &mut Vec<u8>,
        size: usize,
        address: Option<u64>,
        machine: Machine,
        before: &mut Before,
    ) -> Result<()> {
        match address {
            Some(address) => match machine {
                Machine::X86_64 => self.x86_64(new, out, size, address, before),
                Machine::Aarch64 => self.aarch64(new, out, size, address),
            },
            None => {
                out.extend_from_slice(take(new, size)?);
                Ok(())
            }
        }
    }

    /// Fails if something is left of the operands.
    pub(crate) const fn end(&self) -> Result<()> {
        match self {
            Self { calls: [], loads: [], branches: [], stack: [], .. } => Ok(()),
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
