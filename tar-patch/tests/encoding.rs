//! tardf3: the work of encoders follows the streams that they make, whatever the delta asks for.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::num::NonZeroUsize;

use delta_format::{Encoding, Error as DeltaError, OpWriter, Reencoding, Version};
use tar_patch::{ApplyOptions, Budget, DirSource, Error, Exhausted, Result, apply};

const MIB: usize = 1 << 20;
/// Units of encoding that may be ahead of the streams, about: twice that is never spent.
const AHEAD: u64 = 1 << 32;

/// A delta of stretches of which each is the content that many times, and says that the layer may have 10 MB.
fn delta(stretches: usize, inner: usize, recipe: &[u8], content: &[u8], times: usize) -> Vec<u8> {
    let leaf = Reencoding { gap: 0, size: 0, recipe: recipe.to_vec(), inner: Vec::new() };
    let mut writer = OpWriter::new(Vec::new(), Version::V3, Encoding::default()).unwrap();
    for _ in 0..stretches {
        let size = (content.len() * times) as u64;
        let stretch = Reencoding { size, inner: vec![leaf.clone(); inner], ..leaf.clone() };
        writer.reencode(&[stretch]).unwrap();
        for _ in 0..times {
            writer.literal(content).unwrap();
        }
        writer.literal(b"x").unwrap();
    }
    writer.finish().unwrap().0
}

fn run(delta: &[u8], budget: &Budget, jobs: usize) -> Result<u64> {
    let source = tempfile::tempdir().unwrap();
    let jobs = NonZeroUsize::new(jobs).unwrap();
    let options = ApplyOptions::default().max_output(10_000_000).budget(budget).jobs(jobs);
    apply(delta, &mut DirSource::open(source.path()).unwrap(), options, &mut std::io::sink())
        .map(|applied| applied.size)
}

const BZIP2_9: &[u8] = &[4, 9];
const ZSTD_12: &[u8] = &[3, 12, 0, 0];
const ZSTD_19: &[u8] = &[3, 19, 0, 0];
const ZLIB_9: &[u8] = &[0, 9, 15, 9, 0];

#[test]
fn encoders_that_make_next_to_nothing_end_for_any_number_of_jobs() {
    for (what, delta) in [
        ("two thousand encoders, one after the other", delta(2000, 0, ZSTD_12, b"", 0)),
        ("a hundred in a stretch", delta(1, 100, ZSTD_19, b"", 0)),
        ("zeros without end", delta(2, 0, ZSTD_19, &[0; MIB], 32)),
    ] {
        assert!(delta.len() < MIB / 2, "{what}: {} bytes", delta.len());
        for jobs in [1, 3] {
            let budget = Budget::of_layer(10_000_000);
            let error = run(&delta, &budget, jobs).unwrap_err();
            let is_ahead = matches!(
                error,
                Error::Delta(DeltaError::OverBudget(Exhausted::Ahead { what: "encoding", .. }))
            );
            assert!(is_ahead, "{what}: {error:?}");
            let spent = budget.spent().encoding;
            assert!(spent <= AHEAD + jobs as u64 * AHEAD, "{what}: {spent} units");
        }
    }
}

#[test]
fn streams_that_are_worth_their_work_are_made_with_much_in_hand() {
    let mut rng = fixtures::Rng::new(11);
    let words: Vec<Vec<u8>> = (0..2000).map(|_| rng.bytes(6)).collect();
    let text: Vec<u8> = (0..150_000).flat_map(|_| words[rng.below(2000)].clone()).collect();
    // What zstd -19 takes is counted as it is in the worst case.
    for (level, recipe, in_hand) in
        [("zlib -9", ZLIB_9, 8), ("bzip2 -9", BZIP2_9, 8), ("zstd -19", ZSTD_19, 2)]
    {
        let budget = Budget::of_layer(10_000_000);
        let made = run(&delta(1, 0, recipe, &text, 1), &budget, 2).unwrap();
        assert!(budget.spent().encoding * in_hand <= 8192 * made, "{level}: {:?} for {made}", budget.spent());
    }
}
