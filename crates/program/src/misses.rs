//! Fields that do not mean what is expected of them: the addresses that they mean instead.
//!
//! The bytes of such a field differ from the predicted ones in a way of their own at each place. Its address is
//! one that other code means too, or in a table one that lies near to that of the field before.

use crate::error::{Error, Result};
use crate::form::{At, Form};
use crate::kind::Kind;
use crate::operands::{New, Operand, Taken};
use crate::scan::JUMP;
use crate::varint::{Reader, put, put_difference};

/// Places in [`Lasts`].
const LASTS: usize = 2 * Kind::COUNT;

/// A field whose value is predicted, in the new file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guess<'s> {
    pub(crate) at: At<'s>,
    pub(crate) form: Form,
    /// The bytes of the field in the old file.
    pub(crate) old: u64,
    /// The bytes that are predicted.
    pub(crate) predicted: u64,
    /// The byte before the field in the old file.
    pub(crate) before: u8,
    /// The address that the last field of this sort means.
    pub(crate) last: u64,
}

impl Guess<'_> {
    /// Returns true for a jump that is no call: most lead to a place in the same function.
    #[expect(clippy::cast_possible_truncation, reason = "a branch has 4 bytes")]
    const fn is_jump(&self) -> bool {
        match self.form.kind() {
            Kind::Branch => !self.form.set().is_call(self.old as u32),
            _ => self.before == JUMP || self.before & 0xf0 == 0x80,
        }
    }

    /// The kind of the operand that a field of code is.
    const fn operand(&self) -> Operand {
        match self.form.kind() {
            Kind::Branch => Operand::Call,
            _ => Operand::after(self.before),
        }
    }

    /// The address that is predicted.
    fn expected(&self) -> u64 {
        self.at.address(self.form, self.predicted).unwrap_or(0)
    }

    fn value(&self, address: u64) -> u64 {
        self.at.written(self.form, address, self.old) & self.form.mask()
    }
}

/// The addresses that the last fields of tables mean, by their kind and apart for columns.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lasts([u64; LASTS]);

impl Lasts {
    pub(crate) fn of(&mut self, form: Form) -> &mut u64 {
        &mut self.0[form.kind() as usize * 2 + usize::from(form.is_column() || form.is_start_of_code())]
    }
}

impl Form {
    /// Returns true for fields whose misses stand apart.
    pub(crate) fn is_counted(self) -> bool {
        !matches!(
            self.kind(),
            Kind::Back | Kind::Page | Kind::Low | Kind::Key | Kind::String | Kind::Resource | Kind::Index
        )
    }
}

/// The misses that are written.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    gaps: Vec<u8>,
    tables: Vec<u8>,
    jumps: Vec<u8>,
    gap: u64,
}

impl Missed {
    /// Bytes of addresses that are carried.
    pub(crate) fn size(&self) -> usize {
        self.tables.len() + self.jumps.len()
    }

    pub(crate) fn into_parts(self) -> [Vec<u8>; 3] {
        [self.gaps, self.tables, self.jumps]
    }

    /// Takes in a field that holds `value`. Gives the value if it is a miss that stands apart.
    pub(crate) fn put(&mut self, guess: &Guess<'_>, value: u64, taken: &mut Taken) -> Option<u64> {
        let meant = guess.at.address(guess.form, value).filter(|address| {
            value != guess.predicted
                && guess.at.space.place(*address).is_some()
                && guess.value(*address) == value
        });
        let Some(address) = meant else {
            self.gap += 1;
            return None;
        };
        put(&mut self.gaps, std::mem::take(&mut self.gap));
        if guess.form.is_of_table() {
            put_difference(&mut self.tables, address, guess.last);
        } else if guess.is_jump() {
            put_difference(&mut self.jumps, address, guess.expected());
        } else {
            taken.address(address, guess.operand());
        }
        Some(value)
    }
}

/// The misses that are read.
#[derive(Debug)]
pub(crate) struct Misses<'p> {
    gaps: Reader<'p>,
    tables: Reader<'p>,
    jumps: Reader<'p>,
    /// Fields before the next miss.
    left: Option<u64>,
}

impl<'p> Misses<'p> {
    pub(crate) const fn new([gaps, tables, jumps]: [&'p [u8]; 3]) -> Self {
        Self {
            gaps: Reader::new(gaps, "the misses"),
            tables: Reader::new(tables, "the misses of tables"),
            jumps: Reader::new(jumps, "the misses of jumps"),
            left: None,
        }
    }

    /// Returns the value of the next field, if it is a miss.
    pub(crate) fn next(&mut self, guess: &Guess<'_>, new: &mut New<'_>) -> Result<Option<u64>> {
        let left = match self.left {
            None if self.gaps.is_empty() => return Ok(None),
            None => self.gaps.next()?,
            Some(left) => left,
        };
        self.left = left.checked_sub(1);
        if left > 0 {
            return Ok(None);
        }
        let address = if guess.form.is_of_table() {
            self.tables.difference(guess.last)?
        } else if guess.is_jump() {
            self.jumps.difference(guess.expected())?
        } else {
            new.address(guess.operand())?
        };
        Ok(Some(guess.value(address)))
    }

    /// Fails if something is left.
    pub(crate) fn end(&self) -> Result<()> {
        if self.left.is_some() {
            return Err(Error::Left("the misses"));
        }
        self.gaps.end()?;
        self.tables.end()?;
        self.jumps.end()
    }
}
