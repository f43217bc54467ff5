//! Addresses and places.
//!
//! A *place* is a number of 32 bits: an offset in the file, or a number that stands for what has an address
//! but no bytes, as the variables that start as zero. Segments say which addresses are which places.

/// A range of addresses and the places that they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The first address.
    pub address: u64,
    /// The number of addresses.
    pub size: u32,
    /// The place of the first address. Place and size together are at most [`u32::MAX`].
    pub place: u32,
}

/// The segments of one file, in order: the first that has an address or place says what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space<'s>(pub(crate) &'s [Segment]);

impl Space<'_> {
    /// The place of an address; also of the one after the end of a segment, where ends of things point to.
    #[expect(clippy::cast_possible_truncation, reason = "less than the size, which has 32 bits")]
    pub(crate) fn place(self, address: u64) -> Option<u32> {
        for segment in self.0 {
            let offset = address.wrapping_sub(segment.address);
            if offset < u64::from(segment.size) {
                return Some(segment.place.wrapping_add(offset as u32));
            }
        }
        let ends = |segment: &&Segment| address.wrapping_sub(segment.address) == u64::from(segment.size);
        self.0.iter().find(ends).map(|segment| segment.place.wrapping_add(segment.size))
    }

    /// The address of a place; of one that has none, the place itself.
    pub(crate) fn address(self, place: u32) -> u64 {
        for segment in self.0 {
            let offset = place.wrapping_sub(segment.place);
            if offset < segment.size {
                return segment.address.wrapping_add(offset.into());
            }
        }
        let ends = |segment: &&Segment| place.wrapping_sub(segment.place) == segment.size;
        match self.0.iter().find(ends) {
            Some(segment) => segment.address.wrapping_add(segment.size.into()),
            None => place.into(),
        }
    }
}
