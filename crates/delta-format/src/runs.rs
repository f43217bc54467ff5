//! The payload of an add_data op of tardf3: runs of differences that are zero, and of others.
//!
//! ```text
//! runs = (zeros:uvarint others:uvarint byte{others})*   as many differences as the op says
//! ```
//!
//! Most differences are zero. Runs make the op stream of jars a quarter of its size, so that it is compressed in a
//! quarter of the time, and a little smaller.

use std::io::{self, BufRead};

use crate::wire::{put_uvarint, read_uvarint};

/// Zeros in a row that end a run: fewer take less than the two sizes of another run.
const MIN_ZEROS: usize = 2;

/// Differences of a run of zeros, as many as are given at once.
static ZEROS: [u8; 1024] = [0; 1024];

/// Appends differences as runs.
pub(crate) fn put_runs(out: &mut Vec<u8>, differences: &[u8]) {
    let mut rest = differences;
    while !rest.is_empty() {
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        let others = others(&rest[zeros..]);
        put_uvarint(out, zeros as u64);
        put_uvarint(out, others as u64);
        out.extend_from_slice(&rest[zeros..zeros + others]);
        rest = &rest[zeros + others..];
    }
}

/// Counts the bytes before the next zeros that end a run.
fn others(bytes: &[u8]) -> usize {
    let mut zeros = 0;
    for (index, byte) in bytes.iter().enumerate() {
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        if zeros == MIN_ZEROS {
            return index + 1 - zeros;
        }
    }
    bytes.len()
}

/// The rest of a run.
#[derive(Debug, Default)]
pub(crate) struct RunReader {
    zeros: u64,
    /// Bytes of the op stream, once no zero is left.
    pub(crate) others: u64,
    /// True once a run could not be read: nothing that follows it can be told from the payload.
    is_broken: bool,
}

impl RunReader {
    pub(crate) const fn is_at_end(&self) -> bool {
        self.zeros == 0 && self.others == 0
    }

    /// Reads the sizes of the next run. Returns false, from then on each time, if it does not fit: the payload has
    /// `left` bytes from here on. Each run but the last has others, so that there are no more runs than bytes.
    ///
    /// # Errors
    /// Those of the stream, and of an integer.
    pub(crate) fn start(&mut self, stream: &mut impl BufRead, left: u64) -> io::Result<bool> {
        if std::mem::replace(&mut self.is_broken, true) {
            return Ok(false);
        }
        let (zeros, others) = (read_uvarint(stream)?, read_uvarint(stream)?);
        let is_fitting =
            zeros.checked_add(others).is_some_and(|size| size == left || size < left && others > 0);
        if is_fitting {
            *self = Self { zeros, others, is_broken: false };
        }
        Ok(is_fitting)
    }

    /// Zeros that come next, if there are any.
    pub(crate) fn zeros(&self) -> Option<&'static [u8]> {
        let size = usize::try_from(self.zeros).map_or(ZEROS.len(), |zeros| zeros.min(ZEROS.len()));
        (size > 0).then(|| &ZEROS[..size])
    }

    /// Takes bytes that are zeros, or else others, and returns the number of the others.
    pub(crate) const fn take(&mut self, size: usize) -> usize {
        if self.zeros > 0 {
            self.zeros -= size as u64;
            return 0;
        }
        self.others -= size as u64;
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(differences: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_runs(&mut out, differences);
        out
    }

    #[test]
    fn a_run_ends_before_two_zeros() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[0; 200]), [200, 1, 0]);
        assert_eq!(runs(&[5]), [0, 1, 5]);
        assert_eq!(runs(&[0, 0, 5, 0, 6, 0, 0, 7]), [2, 3, 5, 0, 6, 2, 1, 7]);
        assert_eq!(runs(&[5, 0]), [0, 2, 5, 0]);
        assert_eq!(runs(&[5, 0, 0]), [0, 1, 5, 2, 0]);
    }

    #[test]
    fn a_run_that_does_not_fit_is_refused() {
        let fits = |mut bytes: &[u8], left| RunReader::default().start(&mut bytes, left).unwrap();
        assert!(fits(&[3, 4], 7) && fits(&[3, 4], 8) && fits(&[0, 1], 1) && fits(&[7, 0], 7));
        assert!(!fits(&[3, 5], 7), "too long");
        assert!(!fits(&[3, 0], 7) && !fits(&[0, 0], 7), "no others, and not the last");
        let largest = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert!(!fits(&[largest, largest].concat(), u64::MAX));
    }
}
