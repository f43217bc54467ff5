//! New code for aarch64: words of four bytes, whose last byte, with most of the opcode, comes first.
//!
//! ```text
//! code      bl [call]   adrp x1, [page]   add x1, x1, [low]
//! new       94          90 01             91 21 00 00
//! calls     address
//! loads                 address
//! ```

use super::{Code, New, Operand, SIZE, Taken, take};
use crate::branch::UNCONDITIONAL;
use crate::error::Result;
use crate::form::{low_scale, word32};
use crate::scan::{LOOK_AHEAD, adds_low, page};

/// The last byte of a BL, whose low two bits belong to the operand.
const BL: u8 = 0x94;
const BL_MASK: u8 = 0xfc;
/// The last byte of an ADRP, in which two bits belong to the operand.
const ADRP: u8 = 0x90;
const ADRP_MASK: u8 = 0x9f;
/// The bits of a word that hold the low bits of an address.
const LOW_BITS: u32 = 0xfff << 10;
const REGISTER: u32 = 31;
const PAGE_SIZE: u32 = 1 << 12;

/// The registers that hold a page, and for each the low bits that an instruction adds to it soon.
#[derive(Debug, Default)]
struct Pages(Vec<Page>);

#[derive(Debug, Clone, Copy)]
struct Page {
    register: u32,
    low: u32,
    /// Words after which it is forgotten.
    left: usize,
}

impl Pages {
    fn hold(&mut self, register: u32, address: u64) {
        self.0.retain(|page| page.register != register);
        let low = super::low(address) % PAGE_SIZE;
        // The word of the ADRP itself is the first that goes by.
        self.0.push(Page { register, low, left: LOOK_AHEAD + 1 });
    }

    /// Takes the low bits that a word adds; `None` if it adds none to a register that holds a page.
    fn take(&mut self, word: u32) -> Option<u32> {
        let index = self.0.iter().position(|page| adds_low(word, page.register))?;
        Some(self.0.swap_remove(index).low)
    }

    /// Goes on to the next word.
    fn advance(&mut self) {
        self.0.retain_mut(|page| {
            page.left -= 1;
            page.left > 0
        });
    }
}

/// Bytes of a piece before its first whole word, by the address of its first byte.
fn before_words(address: u64, size: usize) -> usize {
    (usize::from(super::low(address).wrapping_neg().to_le_bytes()[0]) & 3).min(size)
}

/// The low bits that the first of the next words adds which adds some to the register that the ADRP at `position` sets.
fn low_part(bytes: &[u8], position: usize, register: u32) -> Option<u32> {
    let words = bytes[position..].chunks_exact(SIZE).skip(1).take(LOOK_AHEAD).map(|word| word32(word, 0));
    let mut words = words.take_while(|word| !is_adrp(*word) || word & REGISTER != register);
    let word = words.find(|word| adds_low(*word, register))?;
    let low = (word >> 10 & 0xfff) << low_scale(word);
    // One that reaches over the page is no part of an address.
    (low < PAGE_SIZE).then_some(low)
}

const fn is_adrp(word: u32) -> bool {
    word.to_le_bytes()[3] & ADRP_MASK == ADRP
}

impl Taken {
    pub(super) fn aarch64(&mut self, bytes: &[u8], address: u64, code: Code<'_>) {
        let (before, words) = bytes.split_at(before_words(address, bytes.len()));
        self.new.extend_from_slice(before);
        let mut pages = Pages::default();
        let mut position = 0;
        while position + SIZE <= words.len() {
            let own = address.wrapping_add((before.len() + position) as u64);
            self.word(words, position, (own, code), &mut pages);
            pages.advance();
            position += SIZE;
        }
        self.new.extend_from_slice(&words[position..]);
    }

    /// Takes the word at a position, whose address is `own`.
    fn word(&mut self, words: &[u8], position: usize, (own, code): (u64, Code<'_>), pages: &mut Pages) {
        let mut word = word32(words, position);
        let last = word.to_le_bytes()[3];
        if last & BL_MASK == BL {
            let meant = own.wrapping_add(UNCONDITIONAL.distance(word));
            if self.operand(meant, Operand::Call, code) {
                self.new.push(BL);
                return;
            }
        } else if last & ADRP_MASK == ADRP {
            let register = word & REGISTER;
            let meant = low_part(words, position, register)
                .map(|low| page(own, word).wrapping_add(low.into()))
                // An address is carried by 32 bits; that of a page has one more.
                .filter(|meant| *meant <= u32::MAX.into());
            match meant {
                Some(meant) if self.operand(meant, Operand::Load, code) => {
                    self.new.extend([ADRP, register.to_le_bytes()[0]]);
                    pages.hold(register, meant);
                    return;
                }
                Some(_) => {}
                None => self.keep(Operand::Load),
            }
        } else if pages.take(word).is_some() {
            word &= !LOW_BITS;
        }
        let [first, second, third, last] = word.to_le_bytes();
        self.new.extend([last, first, second, third]);
    }
}

impl New<'_> {
    pub(super) fn aarch64(
        &mut self,
        new: &mut &[u8],
        out: &mut Vec<u8>,
        size: usize,
        address: u64,
    ) -> Result<()> {
        let before = before_words(address, size);
        out.extend_from_slice(take(new, before)?);
        let mut pages = Pages::default();
        let mut position = before;
        while position + SIZE <= size {
            let word = self.word(new, address.wrapping_add(position as u64), &mut pages)?;
            out.extend_from_slice(&word.to_le_bytes());
            pages.advance();
            position += SIZE;
        }
        out.extend_from_slice(take(new, size - position)?);
        Ok(())
    }

    /// Reads the word whose address is `own`.
    fn word(&mut self, new: &mut &[u8], own: u64, pages: &mut Pages) -> Result<u32> {
        let last = take(new, 1)?[0];
        if last & BL_MASK == BL {
            if let Some(meant) = self.operand(Operand::Call)? {
                let words = super::low(meant.wrapping_sub(own)) >> 2;
                return Ok(u32::from(BL) << 24 | words & 0x03ff_ffff);
            }
        } else if last & ADRP_MASK == ADRP
            && let Some(meant) = self.operand(Operand::Load)?
        {
            let register = u32::from(take(new, 1)?[0]) & REGISTER;
            let distance = super::low((meant >> 12).wrapping_sub(own >> 12));
            pages.hold(register, meant);
            return Ok(u32::from(ADRP) << 24
                | (distance & 3) << 29
                | (distance >> 2 & 0x7_ffff) << 5
                | register);
        }
        let rest = take(new, SIZE - 1)?;
        let word = u32::from_le_bytes([rest[0], rest[1], rest[2], last]);
        Ok(match pages.take(word) {
            Some(low) => word & !LOW_BITS | (low >> low_scale(word)) << 10,
            None => word,
        })
    }
}
