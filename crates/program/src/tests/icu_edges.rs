//! Data of ICU at the limits of the rule: too dense for it, unchanged, cut by blocks, and with tables that end late.

use fixtures::icu::package;

use super::{blocks, decode, rules};
use crate::{Block, Kind, Layouts, Payload, Prepared, Rule, Rules, Segment, Side, encode, reference, scan};

fn size(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap()
}

/// Two versions of a program, each with such data after it.
fn programs(data: [Vec<u8>; 2]) -> [Vec<u8>; 2] {
    let old: Vec<u32> = (0..400).collect();
    let mut new = old.clone();
    new.splice(50..50, [1000, 1001]);
    let mut data = data.into_iter();
    [old, new].map(|functions| {
        let mut file = fixtures::programs::program(&functions);
        file.resize(file.len().next_multiple_of(16), 0);
        [file, data.next().unwrap()].concat()
    })
}

#[test]
fn data_too_dense_for_the_rule_leave_the_program_its_predictions() {
    let numbers: Vec<u32> = (0..400).collect();
    let [old, new] = programs([package(&numbers, 50), package(&numbers[1..], 50)]);
    let layouts = Layouts::of(&old, &new).unwrap();
    let encoded = layouts.encode(&old, &new, &blocks(&old, &new)).unwrap().encoded;
    assert!(decode(&encoded.payload, &old).unwrap() == new);
    let calls = encoded.outcomes.iter().find(|(kind, _)| *kind == Kind::Relative).unwrap().1;
    assert!(calls.changed > 100 && calls.missed * 2 < calls.changed, "{calls:?}");
}

#[test]
fn data_that_did_not_change_have_no_rule() {
    let data = package(&(0..50).collect::<Vec<_>>(), 14);
    let [old, new] = programs([data.clone(), data]);
    let layouts = Layouts::of(&old, &new).unwrap();
    let payload = layouts.encode(&old, &new, &blocks(&old, &new)).unwrap().encoded.payload;
    let rules = Payload::parse(&payload, Some(old.len())).unwrap().rules().unwrap();
    assert!(!rules.rules.iter().any(|rule| matches!(rule, Rule::Icu { .. })));
}

/// No block has the first index of the bundle, whose root has the address 0 in the new file.
#[test]
fn indexes_without_the_first_begin_no_bundle() {
    let mut old = package(&(0..50).collect::<Vec<_>>(), 3);
    let places: Vec<usize> =
        old.windows(4).enumerate().filter(|(_, bytes)| bytes == b"ResB").map(|(place, _)| place).collect();
    let (last, others) = places.split_last().unwrap();
    // The others are no bundles.
    others.iter().for_each(|place| old[*place] = b'X');
    let root = u32::try_from(last - 12 + 32).unwrap();
    let mut new = old.clone();
    new[root as usize + 8] += 1;
    let side = |address: u64| Side {
        segments: vec![Segment { address, size: size(&old), place: 0 }],
        bases: vec![Rules::MAPPED; 3],
    };
    let with = Rules {
        old: Side { bases: vec![0; 3], ..side(1 << 16) },
        new: side(0u64.wrapping_sub(root.into())),
        rules: vec![Rule::Icu { range: 0..size(&old), bases: 0 }],
        ..Rules::default()
    };
    let blocks = [
        Block { source: 0, add: root + 6, literal: 2 },
        Block { source: root + 8, add: size(&old) - root - 8, literal: 0 },
    ];
    let payload = encode(&old, &new, &blocks, Some(&with)).unwrap().payload;
    assert!(decode(&payload, &old).unwrap() == new);
    assert!(reference::decode(&payload, &old).unwrap() == new);
}

/// The resources of a table start at a multiple of 4: those of the last bundle would end in what follows it.
#[test]
fn a_table_that_ends_after_its_item_is_not_read() {
    let mut file = package(&(0..20).collect::<Vec<_>>(), 9);
    let root = file.windows(4).rposition(|bytes| bytes == b"ResB").unwrap() - 12 + 32;
    file.truncate(root + 36);
    file[root..root + 4].copy_from_slice(&(2u32 << 28 | 9).to_le_bytes());
    // Two keys, padding, and two resources.
    file.extend([2, 0, 36, 0, 36, 0, 0, 0]);
    file.extend([3u32 << 28 | 5, 3 << 28 | 6].iter().flat_map(|word| word.to_le_bytes()));
    let resources = |end: usize| {
        let with = rules(vec![Rule::Icu { range: 0..u32::try_from(end).unwrap(), bases: 0 }]);
        let scanned = scan::scan(&file, &with.old, &with.rules).unwrap();
        scanned.fields.iter().filter(|field| field.position as usize >= root + 36).count()
    };
    assert_eq!([0, 1, 2].map(|less| resources(file.len() - less)), [4, 0, 0]);
}

/// Fields of two bytes take longer than the same bytes with fewer fields, also where blocks read them again and again.
#[test]
fn bytes_along_the_data_count_as_more_work() {
    let old = package(&(0..50).collect::<Vec<_>>(), 3);
    let work = |rule: Rule, times: usize| {
        let new = old.repeat(times);
        let blocks = vec![Block { source: 0, add: size(&old), literal: 0 }; times];
        let payload = encode(&old, &new, &blocks, Some(&rules(vec![rule]))).unwrap().payload;
        Prepared::new(&payload, &old).unwrap().work()
    };
    let icu = || Rule::Icu { range: 0..size(&old), bases: 0 };
    let others = || Rule::JumpTables(0..size(&old));
    let more = [1, 5].map(|times| work(icu(), times) - work(others(), times));
    assert!(more[0] >= 10 * old.len() as u64, "{more:?}");
    assert!(more[1] >= 5 * 10 * old.len() as u64, "{more:?}");
}
