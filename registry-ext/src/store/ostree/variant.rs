//! GVariant, the form in which ostree keeps commits and directories (GLib documentation, "GVariant Specification").
//!
//! A container ends with the ends of those of its members that have no fixed size, as little-endian words whose size
//! depends on that of the container. In an array they are in the order of the elements, and in a tuple in reverse; the
//! last member of a tuple needs none. Members start at multiples of their alignment.

/// The bytes of a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'v> {
    bytes: &'v [u8],
    /// The size of the words at its end, in bytes.
    word: usize,
}

impl<'v> Container<'v> {
    pub(super) const fn new(bytes: &'v [u8]) -> Self {
        let word = match bytes.len() {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xffff_ffff => 4,
            _ => 8,
        };
        Self { bytes, word }
    }

    fn offset_at(&self, at: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..)?.get(..self.word)?;
        let mut word = [0; 8];
        word[..self.word].copy_from_slice(bytes);
        usize::try_from(u64::from_le_bytes(word)).ok().filter(|offset| *offset <= self.bytes.len())
    }

    /// The end of a member of a tuple: the one of this index among those that have an end in the container.
    pub(super) fn end(&self, index: usize) -> Option<usize> {
        self.offset_at(self.bytes.len().checked_sub((index + 1) * self.word)?)
    }

    /// The end of the last member of a tuple, after `ends` others whose ends are in the container.
    pub(super) fn last_end(&self, ends: usize) -> Option<usize> {
        self.bytes.len().checked_sub(ends * self.word)
    }

    /// Bytes of a member.
    pub(super) fn member(&self, start: usize, end: usize) -> Option<&'v [u8]> {
        self.bytes.get(start..end)
    }

    /// The elements of an array, none of which has a fixed size; `None` after the last, and for an array that is
    /// broken from there on.
    pub(super) fn elements(self, alignment: usize) -> impl Iterator<Item = &'v [u8]> {
        let table = self.bytes.len().checked_sub(self.word).and_then(|last| self.offset_at(last));
        let mut next = table.map(|table| (table, 0));
        std::iter::from_fn(move || {
            let (at, start) = next.filter(|(at, _)| *at < self.bytes.len())?;
            let end = self.offset_at(at).filter(|end| *end <= table.unwrap_or(0));
            let element = end.and_then(|end| self.member(aligned(start, alignment), end));
            next = end.map(|end| (at + self.word, end));
            element
        })
    }
}

/// The first multiple of a power of two that is not before `offset`.
pub(super) const fn aligned(offset: usize, alignment: usize) -> usize {
    offset.saturating_add(alignment - 1) & !(alignment - 1)
}

/// The text of a string, which ends with a zero.
pub(super) fn string(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_suffix(&[0])
}

/// The text in a variant that holds a string.
pub(super) fn string_in(variant: &[u8]) -> Option<&[u8]> {
    string(variant.strip_suffix(b"\0s")?)
}
