//! The bundles of a new file, looked up among all indexes that were found.

use crate::bundle::{Bundle, Pool};
use crate::form::Form;

#[derive(Default)]
pub(super) struct Bundles {
    expected: Vec<Bundle>,
    /// Every index that was found: its address, its number, and what it holds.
    indexes: Vec<(u64, u64, u64)>,
}

impl Bundles {
    pub(super) fn new(old: Vec<Bundle>, bases: &[u64], moved: impl Fn(&u64) -> u64) -> Self {
        let expected = |bundle: Bundle| Bundle {
            root: moved(&bundle.root),
            pool: bundle.pool.map(|pool| Pool::new(pool.base, bases)),
            ..bundle
        };
        Self { expected: old.into_iter().map(expected).collect(), indexes: Vec::new() }
    }

    pub(super) fn found(&mut self, form: Form, address: u64, value: u64) {
        if let Some(index) = form.bundle_index() {
            self.indexes.push((address, index.into(), value));
        }
    }

    /// Returns the bundle of a field at an address.
    pub(super) fn of(&self, form: Form, address: u64) -> Bundle {
        let Some(expected) = form.bundle().and_then(|number| self.expected.get(number)) else {
            return Bundle::NONE;
        };
        // The indexes from the last that begins a bundle on.
        let Some(first) = self.indexes.iter().rposition(|(_, index, _)| *index == 0) else {
            return *expected;
        };
        let root = self.indexes[first].0.wrapping_sub(4);
        let value = |number: u64| {
            let own = |(address, index, _): &&(u64, u64, u64)| {
                *index == number && *address == root.wrapping_add(4 + 4 * number)
            };
            self.indexes[first..].iter().rfind(own).map_or(0, |(_, _, value)| *value)
        };
        let low = |value: u64| u32::try_from(value).expect("32 bits");
        let [limit, keys, size, flags] = [0, 1, 3, 5].map(value);
        if address.wrapping_sub(root) >= 4 * size {
            return *expected;
        }
        Bundle {
            root,
            size: 4 * size,
            keys: 4 * keys,
            limit: low(limit / 256 + flags / 4096 % 16 * (1 << 24)),
            limit_16: low(flags / 65536),
            pool: expected.pool,
        }
    }
}
