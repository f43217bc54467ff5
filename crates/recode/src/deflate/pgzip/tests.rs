use std::io::Write;
use std::time::Instant;

use flate2::write::DeflateEncoder;

use super::super::corrections::Plan;
use super::super::settings::EFFORT_OF_PGZIP;
use super::super::token::{MAX_MATCH, MIN_MATCH};
use super::*;
use crate::compare::Plain;

/// A stream with a flush after each `flush` bytes.
fn deflate(plain: &[u8], flush: usize) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    for part in plain.chunks(flush) {
        encoder.write_all(part).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

#[test]
fn the_streams_of_others_are_told_too() {
    let mut rng = fixtures::Rng::new(3);
    let code = fixtures::contents::source_code(&mut rng, 300_000);
    let plain = [&code[..], &vec![0; 200_000], &code[..150_000]].concat();
    for flush in [100, 70_000, 65_535, 100_000, 1 << 30] {
        let stream = deflate(&plain, flush);
        let mut reader = plain.as_slice();
        let size = plain.len() as u64;
        let plan =
            Plan::make(EFFORT_OF_PGZIP, &mut stream.as_slice(), &mut Plain::new(&mut reader, size), 1 << 20)
                .unwrap();
        let (mut reader, mut made) = (plain.as_slice(), Vec::new());
        plan.encode(&mut Plain::new(&mut reader, size), &mut made).unwrap();
        assert!(made == stream, "{flush}");
    }
}

#[test]
fn a_flush_at_every_byte_takes_no_longer() {
    let mut parser = Pgzip::new();
    let chunk: Vec<u8> = (0..251).cycle().take(CHUNK_SIZE).collect();
    let began = Instant::now();
    let mut restarts = 0;
    for _ in 0..4 * CHUNK_SIZE {
        if parser.wants_dictionary() {
            parser.restart(&chunk[..DICTIONARY_SIZE]);
            restarts += 1;
        }
        if parser.wants().is_some() {
            parser.parse(&chunk);
        }
        assert!(parser.token().is_none_or(|token| token.distance() < CHUNK_SIZE));
        parser.step(1);
        parser.flush();
    }
    assert_eq!(restarts, 3);
    assert!(began.elapsed().as_secs() < 20);
}

#[test]
fn tokens_make_the_chunk_again() {
    let mut rng = fixtures::Rng::new(4);
    let text = fixtures::contents::text(&mut rng, 3 * CHUNK_SIZE);
    let contents = [text, vec![0; 2 * CHUNK_SIZE], b"ab".repeat(CHUNK_SIZE)].concat();
    let (mut parser, mut made) = (Pgzip::new(), Vec::new());
    for chunk in contents.chunks(CHUNK_SIZE) {
        parser.parse(chunk);
        while let Some(token) = parser.token() {
            let at = made.len();
            if token.is_literal() {
                made.push(contents[at]);
            } else {
                assert!((MIN_MATCH..=MAX_MATCH).contains(&token.size()));
                (0..token.size()).for_each(|_| made.push(made[made.len() - token.distance()]));
            }
            parser.step(token.size());
        }
    }
    assert!(made == contents);
}
