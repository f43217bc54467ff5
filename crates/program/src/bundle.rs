//! The resource bundles of ICU, and how the parts of one refer to each other.
//!
//! ```text
//! bundle    = header root:resource indexes keys strings resources
//! indexes   = 4 bytes{n}     n is byte 0; 0: limit of the pool's strings (low bits), 1: end of keys, 3: end of the
//!                            bundle, 5: flags and the rest of the limit, 6: end of strings, 7: checksum of the pool
//! ```
//!
//! Ends count words of 4 bytes from the root. Most bundles share keys and strings with others: these lie in a pool, a
//! bundle of its own. Offsets below a limit lead to the one, and others to the other (ICU's `uresdata.h`).

/// The type of a resource is its highest four bits, the rest is its offset.
pub(crate) const OFFSET: u32 = (1 << 28) - 1;
/// Types of resources.
pub(crate) const BINARY: u32 = 1;
pub(crate) const TABLE: u32 = 2;
pub(crate) const ALIAS: u32 = 3;
pub(crate) const TABLE_32: u32 = 4;
pub(crate) const TABLE_16: u32 = 5;
pub(crate) const STRING: u32 = 6;
pub(crate) const ARRAY: u32 = 8;
pub(crate) const ARRAY_16: u32 = 9;
pub(crate) const INTEGERS: u32 = 14;

/// The indexes that say where the parts of a bundle are.
pub(crate) const LIMIT: u8 = 0;
pub(crate) const KEYS_END: u8 = 1;
pub(crate) const BUNDLE_END: u8 = 3;
pub(crate) const FLAGS: u8 = 5;

/// The bits of a limit that its own index has.
const LOW_LIMIT: u32 = (1 << 24) - 1;

/// The places of the parts of a bundle, and of those of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// The address that offsets count from.
    pub(crate) root: u64,
    /// Bytes from there on.
    pub(crate) size: u64,
    /// Bytes from there to the end of its keys, where its strings start.
    pub(crate) keys: u64,
    /// The first offset of 28 bits that leads to a string of its own; those below lead to the pool.
    pub(crate) limit: u32,
    /// The same for offsets of 16 bits.
    pub(crate) limit_16: u32,
    pub(crate) pool: Option<Pool>,
}

/// The addresses of what bundles share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool {
    /// The index of the base of its keys; that of its strings is the next.
    pub(crate) base: u16,
    pub(crate) keys: u64,
    pub(crate) strings: u64,
}

impl Pool {
    pub(crate) fn new(base: u16, bases: &[u64]) -> Self {
        let of = |index: u16| bases.get(usize::from(index)).copied().unwrap_or(0);
        Self { base, keys: of(base), strings: of(base.saturating_add(1)) }
    }
}

impl Bundle {
    /// That of a field in no bundle.
    pub(crate) const NONE: Self = Self { root: 0, size: 0, keys: 0, limit: 0, limit_16: 0, pool: None };

    /// Takes in an index that lies at an address.
    pub(crate) fn take(&mut self, index: u8, address: u64, word: u32) {
        let root = address.wrapping_sub(4 + 4 * u64::from(index));
        if index == LIMIT {
            *self = Self { root, limit: word >> 8, ..Self::NONE };
        }
        if self.root != root {
            return;
        }
        match index {
            KEYS_END => self.keys = 4 * u64::from(word),
            BUNDLE_END => self.size = 4 * u64::from(word),
            FLAGS => {
                self.limit = self.limit & LOW_LIMIT | (word & 0xf000) << 12;
                self.limit_16 = word >> 16;
            }
            _ => {}
        }
    }

    /// Returns true if an address lies in the bundle.
    pub(crate) const fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.root) < self.size
    }

    fn strings(&self) -> u64 {
        self.root.wrapping_add(self.keys)
    }

    /// The address of a key by its offset, of 16 bits.
    pub(crate) fn key(&self, offset: u64) -> u64 {
        match self.pool {
            Some(pool) if offset >= self.keys => pool.keys.wrapping_add(offset - self.keys),
            _ => self.root.wrapping_add(offset),
        }
    }

    /// The offset of the key at an address.
    pub(crate) fn key_offset(&self, address: u64) -> u64 {
        let own = address.wrapping_sub(self.root);
        match self.pool {
            Some(pool) if own >= self.keys => address.wrapping_sub(pool.keys).wrapping_add(self.keys),
            _ => own,
        }
    }

    /// The address of a string by its offset, where those below `limit` lead to the pool.
    fn string(&self, offset: u64, limit: u32) -> u64 {
        let limit = u64::from(limit);
        match self.pool {
            Some(pool) if offset < limit => pool.strings.wrapping_add(2 * offset),
            _ => self.strings().wrapping_add(offset.wrapping_sub(limit).wrapping_mul(2)),
        }
    }

    /// The offset of the string at an address.
    fn string_offset(&self, address: u64, limit: u32) -> u64 {
        if let Some(pool) = self.pool {
            let shared = address.wrapping_sub(pool.strings) / 2;
            if shared < u64::from(self.limit) {
                return shared;
            }
        }
        (address.wrapping_sub(self.strings()) / 2).wrapping_add(limit.into())
    }

    /// The address of a string by its offset of 16 bits.
    pub(crate) fn string_16(&self, offset: u64) -> u64 {
        self.string(offset, self.limit_16)
    }

    /// The offset of 16 bits of the string at an address.
    pub(crate) fn string_offset_16(&self, address: u64) -> u64 {
        self.string_offset(address, self.limit_16)
    }

    /// The address that a resource means, if it means one.
    pub(crate) fn resource(&self, word: u32) -> Option<u64> {
        let offset = u64::from(word & OFFSET);
        match word >> 28 {
            STRING => Some(self.string(offset, self.limit)),
            _ if offset == 0 => None,
            TABLE_16 | ARRAY_16 => Some(self.strings().wrapping_add(2 * offset)),
            0 | BINARY | TABLE | ALIAS | TABLE_32 | ARRAY | INTEGERS => {
                Some(self.root.wrapping_add(4 * offset))
            }
            _ => None,
        }
    }

    /// The resource of the type of `old` that means an address.
    #[expect(clippy::cast_possible_truncation, reason = "an offset is the low bits")]
    pub(crate) fn resource_of(&self, address: u64, old: u32) -> u32 {
        let offset = match old >> 28 {
            STRING => self.string_offset(address, self.limit),
            TABLE_16 | ARRAY_16 => address.wrapping_sub(self.strings()) / 2,
            _ => address.wrapping_sub(self.root) / 4,
        };
        old & !OFFSET | offset as u32 & OFFSET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: Pool = Pool { base: 3, keys: 9000, strings: 9500 };
    const BUNDLE: Bundle =
        Bundle { root: 1000, size: 4000, keys: 60, limit: 200, limit_16: 150, pool: Some(POOL) };

    #[test]
    fn what_means_an_address_is_made_of_it_again() {
        for bundle in [BUNDLE, Bundle { pool: None, limit: 0, limit_16: 0, ..BUNDLE }] {
            for offset in [0, 4, 59, 60, 61, 149, 150, 300] {
                assert_eq!(bundle.key_offset(bundle.key(offset)), offset);
                assert_eq!(bundle.string_offset_16(bundle.string_16(offset)), offset);
            }
            let types = [0, BINARY, TABLE, ALIAS, TABLE_32, TABLE_16, STRING, ARRAY, ARRAY_16, INTEGERS];
            for word in
                types.into_iter().flat_map(|kind| [1, 199, 200, 500].map(|offset| kind << 28 | offset))
            {
                let address = bundle.resource(word).expect("an offset that is not 0");
                assert_eq!(bundle.resource_of(address, word & !OFFSET | 7), word, "{word:x}");
            }
        }
        assert_eq!((BUNDLE.key(59), BUNDLE.key(60)), (1059, 9000));
        assert_eq!((BUNDLE.string_16(149), BUNDLE.string_16(150)), (9798, 1060));
        assert_eq!(BUNDLE.resource(STRING << 28 | 199), Some(9898));
        assert_eq!((BUNDLE.resource(TABLE << 28), BUNDLE.resource(7 << 28 | 5)), (None, None));
    }

    #[test]
    fn indexes_say_where_a_bundle_is() {
        let mut bundle = Bundle { root: 5, size: 9, ..Bundle::NONE };
        bundle.take(KEYS_END, 2008, 15);
        assert_eq!(bundle.keys, 0);
        bundle.take(LIMIT, 2004, 0x1234_5608);
        bundle.take(KEYS_END, 2008, 15);
        assert!(!bundle.holds(2000));
        bundle.take(BUNDLE_END, 2016, 100);
        bundle.take(FLAGS, 2024, 0x0096_3004);
        let expected =
            Bundle { root: 2000, size: 400, keys: 60, limit: 0x312_3456, limit_16: 0x96, pool: None };
        assert_eq!(bundle, expected);
        assert!(bundle.holds(2000) && bundle.holds(2399) && !bundle.holds(2400) && !bundle.holds(1999));
    }
}
