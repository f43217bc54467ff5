//! The data of ICU, and damaged data.

use fixtures::icu::package;

use super::{blocks, compare_decoders, decode, rules};
use crate::{Block, Error, Kind, Layouts, Rule, encode, reference};

/// Two versions: some keys and strings are others, of other lengths, and a locale is new.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let old: Vec<u32> = (0..50).collect();
    let new: Vec<u32> =
        old.iter().map(|number| if number % 20 == 4 { number * 1001 } else { *number }).collect();
    (package(&old, 14), package(&new, 15))
}

/// The blocks that are found in copies where what moved looks the same.
fn realigned(layouts: &Layouts, old: &[u8], new: &[u8]) -> Vec<Block> {
    let normal_new = layouts.normalised_new(new);
    (0..3).fold(blocks(old, new), |found, _| {
        let draft = layouts.encode(old, new, &found).unwrap();
        blocks(&layouts.normalised_old(old, &draft), &normal_new)
    })
}

#[test]
fn offsets_that_moved_are_predicted() {
    let (old, new) = pair();
    let layouts = Layouts::of(&old, &new).unwrap();
    let blocks = realigned(&layouts, &old, &new);
    let plain = encode(&old, &new, &blocks, None).unwrap().carried;
    let encoded = layouts.encode(&old, &new, &blocks).unwrap().encoded;
    assert!(decode(&encoded.payload, &old).unwrap() == new);
    for kind in [Kind::Key, Kind::String, Kind::Resource] {
        let (_, outcome) = encoded.outcomes.iter().find(|(of, _)| *of == kind).unwrap();
        assert!(outcome.changed > 200, "{kind:?} {outcome:?}");
        // The plain search for blocks does not find all strings again.
        assert!(outcome.missed * 2 < outcome.changed, "{kind:?} {outcome:?}");
    }
    assert!(encoded.carried * 4 < plain * 3, "{} of {plain}", encoded.carried);
}

#[test]
fn data_within_a_program_are_found() {
    let functions: Vec<u32> = (0..40).collect();
    let (old, new) = pair();
    let within = |data: Vec<u8>| {
        let mut file = fixtures::programs::program(&functions);
        file.resize(file.len().next_multiple_of(16), 0);
        [file, data].concat()
    };
    let (old, new) = (within(old), within(new));
    let layouts = Layouts::of(&old, &new).unwrap();
    let blocks = realigned(&layouts, &old, &new);
    let encoded = layouts.encode(&old, &new, &blocks).unwrap().encoded;
    assert!(decode(&encoded.payload, &old).unwrap() == new);
    let keys = encoded.outcomes.iter().find(|(kind, _)| *kind == Kind::Key).unwrap().1;
    assert!(keys.missed * 20 < keys.changed, "{keys:?}");
}

#[test]
fn both_decoders_agree_about_bundles() {
    let (old, new) = pair();
    let layouts = Layouts::of(&old, &new).unwrap();
    let found = [blocks(&old, &new), realigned(&layouts, &old, &new)];
    for blocks in found {
        let good = layouts.encode(&old, &new, &blocks).unwrap().encoded.payload;
        assert!(decode(&good, &old).unwrap() == new);
        assert!(reference::decode(&good, &old).unwrap() == new);
        let made = compare_decoders(&good, &old, 60);
        assert!(made > 10, "{made} of 60 payloads make a file");
    }
}

#[test]
fn any_bytes_may_be_data_of_icu() {
    let mut random = fastrand::Rng::with_seed(11);
    let (good, new) = pair();
    let end = u32::try_from(good.len()).unwrap();
    let mut made = 0;
    for round in 0..300 {
        let mut old = good.clone();
        for _ in 0..random.usize(1..9) {
            let place = if round % 2 == 0 { random.usize(..old.len()) } else { random.usize(..800) };
            let any = random.u8(..);
            old[place] = random.choice([0, 1, 2, 0x50, 0x90, 0xff, any]).unwrap();
        }
        let with = rules(vec![Rule::Icu { range: random.u32(..2) * 16..end, bases: random.u16(..3) }]);
        let add = end.min(u32::try_from(new.len()).unwrap());
        let literal = u32::try_from(new.len()).unwrap() - add;
        let blocks = [Block { source: 0, add, literal }];
        let encoded = match encode(&old, &new, &blocks, Some(&with)) {
            Err(error) => {
                assert!(matches!(error, Error::TooManyFields { .. }), "{error}");
                continue;
            }
            Ok(encoded) => encoded,
        };
        assert!(decode(&encoded.payload, &old).unwrap() == new);
        made += usize::from(encoded.outcomes.iter().any(|(kind, _)| *kind == Kind::String));
    }
    assert!(made > 100, "{made} of 300 have bundles");
}

/// Data whose last bundle has so many arrays, each of which has as members the arrays after it and all integers.
fn tangled(arrays: u32, integers: u32) -> Vec<u8> {
    const ARRAY: u32 = 8 << 28;
    const INTEGER: u32 = 7 << 28;
    const INDEXES: u32 = 9;
    let mut file = package(&[1, 2, 3, 4, 5], 3);
    let root = file.windows(4).rposition(|bytes| bytes == b"ResB").unwrap() - 12 + 32;
    file.truncate(root + 4 * INDEXES as usize);
    file[root..root + 4].copy_from_slice(&(ARRAY | INDEXES).to_le_bytes());
    let lead = (0..arrays).map(|array| ARRAY | (INDEXES + 1 + arrays + array));
    let counts = (0..arrays).map(|_| integers);
    let words = [arrays].into_iter().chain(lead).chain(counts).chain((0..integers).map(|_| INTEGER));
    file.extend(words.flat_map(u32::to_le_bytes));
    file
}

/// Without a bound for what resources of one bundle have together, this would take minutes.
#[test]
fn resources_are_not_looked_at_again_and_again() {
    let old = tangled(1500, 3 << 20);
    let end = u32::try_from(old.len()).unwrap();
    let with = rules(vec![Rule::Icu { range: 0..end, bases: 0 }]);
    let blocks = [Block { source: 0, add: end, literal: 0 }];
    let encoded = encode(&old, &old, &blocks, Some(&with)).unwrap();
    assert!(decode(&encoded.payload, &old).unwrap() == old);
    let resources = encoded.outcomes.iter().find(|(kind, _)| *kind == Kind::Resource).unwrap().1;
    assert!(resources.fields > 1500, "{resources:?}");
}
