//! Sorted numbers that are found fast: a table of buckets, and a binary search in one.

/// Sorted numbers, each once.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    keys: Vec<u32>,
    /// For each bucket, how many numbers lie before it; one more at the end.
    first: Vec<u32>,
    shift: u32,
}

impl Sorted {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "there are no more numbers than fields, fewer than 2^28"
    )]
    pub(crate) fn new(keys: Vec<u32>) -> Self {
        debug_assert!(keys.is_sorted_by(|left, right| left < right), "sorted, each once");
        let largest = keys.last().copied().unwrap_or(0);
        let log = keys.len().next_power_of_two().trailing_zeros();
        let shift = (u32::BITS - largest.leading_zeros()).saturating_sub(log).min(u32::BITS - 1);
        let mut first = vec![0; (largest >> shift) as usize + 2];
        for key in &keys {
            first[(key >> shift) as usize + 1] += 1u32;
        }
        let mut sum = 0;
        for count in &mut first {
            sum += *count;
            *count = sum;
        }
        debug_assert_eq!(sum, keys.len() as u32);
        Self { keys, first, shift }
    }

    pub(crate) fn keys(&self) -> &[u32] {
        &self.keys
    }

    /// Returns the number of keys that are at most `key`.
    pub(crate) fn rank(&self, key: u32) -> usize {
        let bucket = (key >> self.shift) as usize;
        let Some([from, to]) = self.first.get(bucket..).and_then(|bounds| bounds.first_chunk()).copied()
        else {
            return self.keys.len();
        };
        let (from, to) = (from as usize, to as usize);
        from + self.keys[from..to].partition_point(|other| *other <= key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_a_plain_search() {
        let mut random = fastrand::Rng::with_seed(1);
        for size in [0, 1, 2, 100, 5000] {
            for most in [10, 4000, 1 << 20, u32::MAX] {
                let mut keys: Vec<u32> = (0..size).map(|_| random.u32(..=most)).collect();
                keys.sort_unstable();
                keys.dedup();
                let sorted = Sorted::new(keys.clone());
                let asked = (0..2000).map(|_| random.u32(..)).chain(keys.clone()).chain([0, u32::MAX]);
                for key in asked {
                    assert_eq!(sorted.rank(key), keys.partition_point(|other| *other <= key));
                }
            }
        }
    }
}
