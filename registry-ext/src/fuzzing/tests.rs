//! The fuzz target of the documents of a registry, over its seeds and over inputs made of them, always the same.

#[allow(unreachable_pub, dead_code, reason = "the crate of the targets uses all of it, for seeds too")]
#[path = "../../../fuzz/src/input.rs"]
mod input;
#[allow(unreachable_pub, reason = "it is public where it is a target")]
#[path = "../../../fuzz/src/artifacts.rs"]
mod target;

use std::fs;
use std::path::Path;

use fixtures::Rng;
use input::Input;

/// Inputs that are made of each seed.
const CHANGED: usize = 100;

#[test]
fn documents_are_read_or_refused() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/artifacts");
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(seeds.len() > 100);
    let mut rng = Rng::new(1);
    for seed in &seeds {
        target::artifacts(seed);
        for _ in 0..CHANGED {
            target::artifacts(&changed(seed, &seeds, &mut rng));
        }
    }
}

/// A seed with some bytes changed, a stretch gone, come twice or moved, or the end of another seed.
fn changed(seed: &[u8], seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..=rng.below(3) {
        let (from, to) = (rng.below(input.len() + 1), rng.below(input.len() + 1));
        let (start, end) = (from.min(to), from.max(to));
        match rng.below(5) {
            0 if start < input.len() => input[start] = rng.bytes(1)[0],
            1 => drop(input.drain(start..end)),
            2 => input.extend_from_within(start..end),
            3 => input.splice(start..start, rng.bytes(3)).for_each(drop),
            _ => {
                let other = &seeds[rng.below(seeds.len())];
                input.truncate(start);
                input.extend_from_slice(&other[start.min(other.len())..]);
            }
        }
    }
    input
}
