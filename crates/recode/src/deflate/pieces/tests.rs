use std::io::Write;

use flate2::write::DeflateEncoder;

use super::super::actual::Actual;
use super::super::ahead::is_known;
use super::super::corrections::{Manner, Plan};
use super::super::range::Encoder;
use super::super::reader::{BlockReader, MAX_BLOCK_TOKENS};
use super::super::settings::EFFORT_OF_PGZIP;
use super::Pieces;
use crate::compare::Plain;
use crate::wire::Fields;

/// A stream with a flush after each `flush` bytes.
fn deflate(plain: &[u8], level: u32, flush: usize) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
    for part in plain.chunks(flush) {
        encoder.write_all(part).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

fn told(number: u8, stream: &[u8], plain: &[u8]) -> Plan {
    let mut reader = plain;
    let size = plain.len() as u64;
    Plan::make_pieces(number, &mut { stream }, &mut Plain::new(&mut reader, size), 1 << 24).unwrap()
}

fn made(plan: &Plan, plain: &[u8]) -> crate::Result<Vec<u8>> {
    let (mut reader, mut made) = (plain, Vec::new());
    plan.encode(&mut Plain::new(&mut reader, plain.len() as u64), &mut made)?;
    Ok(made)
}

/// Contents of 6.5 times so many bytes.
fn contents(size: usize) -> Vec<u8> {
    let mut rng = fixtures::Rng::new(3);
    let code = fixtures::contents::source_code(&mut rng, 2 * size);
    let noise = rng.bytes(size);
    [&code[..], &noise, &vec![0; 2 * size], &code[..size * 3 / 2]].concat()
}

/// The numbers of the encoders that run ahead. Of those before libdeflate 1.19, which differ in a header alone, one is
/// enough.
fn numbers() -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(|number| is_known(*number) && !(178..=185).contains(number))
}

#[test]
fn the_streams_of_others_are_told_by_pieces() {
    let plain = contents(100_000);
    let streams = [(0, 1 << 30), (1, 100), (1, 70_000), (6, 65_535), (9, 100_000), (6, 1 << 30)];
    for (index, (level, flush)) in (0_u8..).zip(streams) {
        let stream = deflate(&plain, level, flush);
        // Each encoder is tried with some of the streams, in the time that a test may take.
        let is_tried = |number: &u8| number.wrapping_add(index).is_multiple_of(6);
        for number in numbers().chain([1, 6, 12, EFFORT_OF_PGZIP]).filter(is_tried) {
            let plan = told(number, &stream, &plain);
            assert!(made(&plan, &plain).unwrap() == stream, "{number}, {level}, {flush}");
            let mut bytes = Vec::new();
            plan.write(&mut bytes);
            assert_eq!(Plan::parse(Fields::new(&bytes), Manner::Pieces).unwrap(), plan);
        }
    }
}

#[test]
fn a_block_may_have_any_number_of_tokens() {
    // A block of static codes: each literal of 9 bits, without an end for long.
    let count = MAX_BLOCK_TOKENS + 100;
    let plain = vec![200; count];
    let mut bits = vec![true, true, false];
    // 200 is coded as 110010000 + 200 - 144, the highest bit first.
    let code: Vec<bool> = (0..9).rev().map(|bit| (0b1_1001_0000 + 200 - 144) >> bit & 1 == 1).collect();
    (0..count).for_each(|_| bits.extend(&code));
    bits.extend([false; 7]);
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    let stream: Vec<u8> = bits.chunks(8).map(byte).collect();
    let recipe = crate::recipe(crate::Codec::Deflate, &stream, &plain).unwrap();
    assert_eq!(recipe.as_bytes()[0], 6);
    let mut again = Vec::new();
    crate::encode(&recipe, &mut plain.as_slice(), count as u64, &mut again).unwrap();
    assert!(again == stream);
}

#[test]
fn streams_without_the_flushes_of_pgzip_are_told_by_it() {
    let code = fixtures::contents::source_code(&mut fixtures::Rng::new(4), 100_000);
    let plain = [&vec![0; 1 << 20][..], &code, &vec![1; 1 << 20], &code].concat();
    let plain = &plain[..2 << 20];
    for flush in [300_000, 1 << 20, 1 << 30] {
        let stream = deflate(plain, 6, flush);
        for number in [65, 68, 73, 83] {
            assert!(made(&told(number, &stream, plain), plain).unwrap() == stream, "{number}, {flush}");
        }
    }
}

/// The second part of a block of static codes was written with the codes of a block that corrections had ended.
#[test]
fn what_comes_after_a_block_that_ended_early_begins_another() {
    let plain = contents(100_000);
    for (level, flush) in [(1, 20_000), (1, 70_000), (6, 100_000)] {
        let stream = deflate(&plain, level, flush);
        let mut reader = plain.as_slice();
        let mut plain = Plain::new(&mut reader, plain.len() as u64);
        let mut encoded = stream.as_slice();
        let mut actual = Actual::new(BlockReader::new(&mut encoded));
        let mut walk = Pieces::new(Encoder::new(), 97);
        let mut count = 0;
        loop {
            walk.look_ahead(&mut plain).unwrap();
            if let Some(piece) = walk.ahead.as_ref().and_then(|ahead| ahead.piece(walk.is_open)) {
                assert!(piece.begin.is_some() || walk.is_open, "{level}, {flush}, {count}");
                count += 1;
            }
            if walk.piece(&mut plain, Some(&mut actual)).unwrap() {
                break;
            }
        }
        assert!(count > 10, "{count}");
    }
}

#[test]
fn what_is_cut_off_or_changed_is_refused_or_makes_other_bytes() {
    // More than a part or a block of any encoder that makes several of so few bytes, and no more: all are tried.
    let plain = contents(50_000);
    let stream = deflate(&plain, 6, 90_000);
    for (index, number) in numbers().enumerate() {
        let mut bytes = Vec::new();
        told(number, &stream, &plain).write(&mut bytes);
        // Each encoder's recipe is changed at two places of eight, in the time that a test may take.
        for at in (6..bytes.len()).step_by(bytes.len() / 7).skip(index % 4).step_by(4) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            let other = Plan::parse(Fields::new(&changed), Manner::Pieces).unwrap();
            assert!(made(&other, &plain).map_or(true, |made| made != stream), "{number}, {at}");
            let cut = Plan::parse(Fields::new(&bytes[..at]), Manner::Pieces).unwrap();
            assert!(made(&cut, &plain).map_or(true, |made| made != stream), "{number}, {at}");
        }
        let whole = Plan::parse(Fields::new(&bytes), Manner::Pieces).unwrap();
        assert!(made(&whole, &plain[1..]).map_or(true, |made| made != stream));
    }
}
