//! The rules of libzstd by which codes and tables are predicted, held against the library itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;

use super::literals;
use super::parts::Parts;
use super::reader::Reader;
use super::repeats::Repeats;
use super::strategy::Strategy;
use super::tables;
use crate::zstd_blocks::Known;
use crate::zstd_blocks::headers::OWN_CODE;
use crate::zstd_blocks::sequences::Sequence;

/// The numbers of `ZSTD_strategy` of the levels for frames whose size is not known.
const LEVELS: [(i32, u8); 4] = [(1, 1), (3, 2), (9, 5), (18, 8)];

#[test]
fn codes_and_tables_are_those_of_the_library() {
    let mut rng = fixtures::Rng::new(41);
    let text = fixtures::contents::text(&mut rng, 150_000);
    let plain = [text, rng.bytes(3000), fixtures::contents::source_code(&mut rng, 250_000)].concat();
    for (level, strategy) in LEVELS {
        let strategy = Strategy::new(strategy).unwrap();
        let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
        encoder.write_all(&plain).unwrap();
        let frame = encoder.finish().unwrap();
        let mut encoded = &frame[..];
        let (mut reader, _) = Reader::new(&mut encoded).unwrap();
        let (mut known, mut before) = (Known::default(), tables::Before::default());
        let (mut at, mut blocks) = (0, 0);
        loop {
            let block = reader.block().unwrap();
            let mut rest = &plain[at..at + block.plain_size];
            at += block.plain_size;
            if let Some(parts) = &block.parts {
                let mut of_block = Vec::new();
                for Sequence { literals, size, .. } in &parts.sequences {
                    of_block.extend_from_slice(&rest[..*literals as usize]);
                    rest = &rest[(literals + size) as usize..];
                }
                of_block.extend_from_slice(rest);
                let is_suspect = parts.sequences.is_empty() || of_block.len() / parts.sequences.len() >= 20;
                let expected = literals::expected(strategy, &of_block, known.code.as_ref(), is_suspect);
                assert_eq!(expected.form, parts.form, "level {level}");
                if parts.form & 3 == OWN_CODE {
                    let is_expected = expected.descriptions.contains(&Some(parts.description.clone()));
                    assert!(is_expected, "level {level}");
                }
                if let Some(sources) = &parts.sources {
                    let expected = before.expected(strategy, &parts.sequences).unwrap();
                    assert_eq!(&expected.sources, sources, "level {level}");
                    before.learn(sources);
                }
                Parts::read(&block.content, &mut known).unwrap();
                blocks += 1;
            }
            if block.is_last {
                break;
            }
        }
        assert!(blocks > 2, "level {level}: {blocks}");
    }
}

#[test]
fn a_distance_is_told_by_the_number_that_it_has() {
    let mut random = fastrand::Rng::with_seed(6);
    let mut repeats = Repeats::default();
    for _ in 0..2000 {
        let (literals, distance) = (random.u32(..3), random.u32(1..12));
        let offset = repeats.offset(distance, literals > 0);
        assert_eq!(repeats.distance(offset, literals > 0), Some(distance));
        let taken = repeats.take(Sequence { literals, size: 4, offset });
        assert_eq!(taken, Some((distance, false)));
        // It is the last one now.
        assert_eq!(repeats.offset(distance, true), 1);
    }
}

#[test]
fn a_distance_may_have_all_bits() {
    for literals in [0, 1] {
        let taken = Repeats::default().take(Sequence { literals, size: 3, offset: u32::MAX });
        assert_eq!(taken, Some((u32::MAX - 3, false)));
    }
}
