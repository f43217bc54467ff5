//! Steps that another encoder vouches for: no string is entered, until the parser is asked again.

use super::Parser;
use crate::compare::Plain;
use crate::{Error, Result};

/// Work to enter the strings of a window, in units of about a nanosecond.
const ENTER_WORK: u64 = 256 << 10;

impl Parser {
    /// Goes on by so many bytes, and gives them to `taken` if they are wanted.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if there are fewer.
    pub(in super::super) fn skip(
        &mut self,
        mut size: usize,
        plain: &mut Plain<'_>,
        mut taken: Option<&mut Vec<u8>>,
    ) -> Result<()> {
        self.is_stale = true;
        (self.pending, self.next, self.current) = (None, None, None);
        while size > 0 {
            self.fill(0, plain)?;
            let step = size.min(self.lookahead);
            if step == 0 {
                return Err(Error::Mismatch { reason: "they are shorter than the stream" });
            }
            if let Some(taken) = &mut taken {
                taken.extend_from_slice(&self.window[self.start..self.start + step]);
            }
            self.start += step;
            self.lookahead -= step;
            self.block_size += step;
            size -= step;
        }
        self.entered = self.start;
        Ok(())
    }

    /// Enters the strings of the window, if steps were taken without.
    pub(in super::super) fn catch_up(&mut self, plain: &Plain<'_>) -> Result<()> {
        if !std::mem::take(&mut self.is_stale) {
            return Ok(());
        }
        plain.charge(ENTER_WORK)?;
        self.head.fill(0);
        self.previous.fill(0);
        // Position 0 is none.
        let from = self.start.saturating_sub(self.size()).max(1);
        let end = self.start.min((self.start + self.lookahead + 1).saturating_sub(self.string_size()));
        for at in from..end {
            self.enter(at);
        }
        self.entered = self.start;
        Ok(())
    }

    /// Enters the string at the next token, which a prediction of another encoder left out.
    pub(in super::super) fn enter_start(&mut self) {
        if self.entered <= self.start && self.lookahead >= self.string_size() {
            self.enter(self.start);
        }
    }
}
