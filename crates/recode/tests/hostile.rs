//! Whatever comes in gives a result or an error, within the bounds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{self, Write};
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use recode::{
    Budget, Codec, Error, Part, Recipe, decode, encode, find, find_streams, recipe, recipe_of_stream,
};
use support::pipe;

/// A writer that fails over a bound.
struct Bounded(u64);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len() as u64).expect("the output is bounded");
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream with its plain bytes and recipe.
struct Sample {
    file: Vec<u8>,
    codec: Codec,
    encoded: Vec<u8>,
    plain: Vec<u8>,
    recipe: Vec<u8>,
}

/// One stream of each encoder, and some for corrections.
static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let mut rng = fixtures::Rng::new(3);
    let text = fixtures::contents::source_code(&mut rng, 40_000);
    let of_rust = |level| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(&text).unwrap();
        encoder.finish().unwrap()
    };
    let flushed = r#"
import sys, zlib
encoder = zlib.compressobj(4, zlib.DEFLATED, 31)
content = sys.stdin.buffer.read()
for start in range(0, len(content), 3000):
    sys.stdout.buffer.write(encoder.compress(content[start:start + 3000]) + encoder.flush(zlib.Z_SYNC_FLUSH))
sys.stdout.buffer.write(encoder.flush())
"#;
    // The first eight bytes are carried, as skopeo has it.
    let recipe_of_klauspost = [&[8, 0, 0, 0, 8, 8, 0x40, 0, 0], &text[..8]].concat();
    let mut of_klauspost = Vec::new();
    let parsed = Recipe::parse(&recipe_of_klauspost).unwrap();
    encode(&parsed, &mut &text[..], text.len() as u64, &mut of_klauspost).unwrap();
    let files = [
        of_rust(1),
        of_rust(0),
        support::python(flushed, &text),
        pipe("gzip", &["-c"], &text),
        pipe("xz", &["-1c", "--block-size=16KiB", "-T2"], &text),
        zstd::encode_all(&*text, 3).unwrap(),
        pipe("bzip2", &["-c"], &text),
        of_klauspost,
    ];
    let sample = |file: Vec<u8>| {
        let found = find(&file, 1 << 20).remove(0);
        let encoded = file[found.encoded].to_vec();
        let recipe = recipe(found.codec, &encoded, &found.plain).unwrap().as_bytes().to_vec();
        Sample { file, codec: found.codec, encoded, plain: found.plain, recipe }
    };
    files.into_iter().map(sample).collect()
});

/// Changes to bytes: place, and new value; some cut the end off.
fn mutations() -> impl Strategy<Value = (usize, Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>)>
{
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    (0..8_usize, changes, prop::option::weighted(0.2, any::<prop::sample::Index>()))
}

fn mutate(bytes: &[u8], changes: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, value) in changes {
        let place = place.index(bytes.len());
        bytes[place] = *value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

/// Follows a recipe of any origin.
fn follow(recipe: &[u8], plain: &[u8]) {
    let Ok(recipe) = Recipe::parse(recipe) else { return };
    assert!(!recipe.encoder_name().is_empty());
    // What takes much memory is for the caller to refuse.
    if recipe.memory() > 256 << 20 {
        return;
    }
    let size = plain.len() as u64;
    let mut output = Bounded(size * 9 + (256 << 10));
    let _ = encode(&recipe, &mut { plain }, size, &mut output);
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(3000) })]

    #[test]
    fn changed_recipes_are_followed_to_an_end((sample, changes, cut) in mutations()) {
        let sample = &SAMPLES[sample];
        follow(&mutate(&sample.recipe, &changes, cut), &sample.plain);
    }

    #[test]
    fn recipes_of_other_plain_bytes_are_followed_to_an_end((sample, changes, cut) in mutations()) {
        let sample = &SAMPLES[sample];
        follow(&sample.recipe, &mutate(&sample.plain, &changes, cut));
    }

    #[test]
    fn any_bytes_are_no_recipe_or_one_that_ends(
        id in 0..14_u8,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        plain in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        follow(&[&[id], &bytes[..]].concat(), &plain);
    }

    #[test]
    fn corrections_of_any_bytes_end(
        effort in 1..15_u8,
        size in 0..20_000_u16,
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        sample in 0..3_usize,
    ) {
        let [low, high] = [size.to_le_bytes()[0] & 0x7f | 0x80, size.to_be_bytes()[0] & 0x7f];
        let recipe = [&[1, effort, low, high], &bytes[..]].concat();
        follow(&recipe, &SAMPLES[sample].plain);
    }

    #[test]
    fn corrections_by_pieces_of_any_bytes_end(
        effort in 1..48_u8,
        size in 0..20_000_u16,
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        sample in 0..3_usize,
    ) {
        let [low, high] = [size.to_le_bytes()[0] & 0x7f | 0x80, size.to_be_bytes()[0] & 0x7f];
        let recipe = [&[6, effort, low, high], &bytes[..]].concat();
        follow(&recipe, &SAMPLES[sample].plain);
    }

    #[test]
    fn any_bytes_behind_a_magic_are_looked_at(
        magic in prop::sample::select(vec![
            &[0x1f, 0x8b, 8][..], b"PK\x03\x04", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"BZh91",
        ]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        end in prop::bool::ANY,
    ) {
        let end = if end { &b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x40\0\0\0\x04\0\0\0\0\0"[..] } else { &[] };
        let file = [magic, &bytes, end].concat();
        let found = find(&file, 1 << 20);
        let mut last = 0;
        for found in found {
            prop_assert!(found.encoded.start >= last && found.encoded.end <= file.len());
            last = found.encoded.end;
        }
    }
}

// These search encoders for streams that none makes, which takes its time.
proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(100) })]

    #[test]
    fn changed_files_are_found_and_made_again_or_refused((sample, changes, cut) in mutations()) {
        let sample = &SAMPLES[sample];
        let file = mutate(&sample.file, &changes, cut);
        let max = 100_000;
        let found = find(&file, max);
        prop_assert!(found.iter().map(|found| found.plain.len()).sum::<usize>() <= max);
        for found in found {
            let encoded = &file[found.encoded];
            if let Ok(recipe) = recipe(found.codec, encoded, &found.plain) {
                let mut made = Vec::new();
                let size = found.plain.len() as u64;
                encode(&recipe, &mut found.plain.as_slice(), size, &mut made).unwrap();
                prop_assert_eq!(made, encoded);
            }
        }
    }

    #[test]
    fn changed_streams_have_no_recipe_of_the_old_plain_bytes((sample, changes, cut) in mutations()) {
        let sample = &SAMPLES[sample];
        let encoded = mutate(&sample.encoded, &changes, cut);
        let mut bounded = Bounded(100_000);
        let _ = decode(sample.codec, &mut &*encoded, 100_000, &mut bounded);
        if let Ok(recipe) = recipe(sample.codec, &encoded, &sample.plain) {
            let mut made = Vec::new();
            encode(&recipe, &mut &*sample.plain, sample.plain.len() as u64, &mut made).unwrap();
            prop_assert_eq!(made, encoded);
        }
    }
}

#[test]
fn plain_bytes_of_another_size_are_an_error() {
    for sample in SAMPLES.iter() {
        let recipe = Recipe::parse(&sample.recipe).unwrap();
        let plain = &sample.plain[..];
        let size = plain.len() as u64;
        let result = encode(&recipe, &mut &plain[1..], size, &mut io::sink());
        assert!(matches!(result, Err(Error::PlainTooShort { expected, .. }) if expected == size));
        let mut made = Vec::new();
        let longer = [plain, b"more"].concat();
        encode(&recipe, &mut &*longer, size, &mut made).unwrap();
        assert!(made == sample.encoded, "what is behind the plain bytes is not read");
        if recipe.encoder_name().starts_with("corrections") || sample.codec == Codec::Xz {
            let result = encode(&recipe, &mut &*longer, size + 4, &mut io::sink());
            assert!(matches!(result, Err(Error::Mismatch { .. })), "{result:?}");
        }
    }
}

#[test]
fn recipes_for_other_encoders_are_told_apart() {
    for id in [99, 100, 255] {
        assert!(matches!(Recipe::parse(&[id, 1, 2]), Err(Error::UnknownEncoder { id: told }) if told == id));
    }
    assert!(matches!(Recipe::parse(&[7, 1, 2]), Err(Error::BadRecipe { .. })));
    assert!(matches!(Recipe::parse(&[]), Err(Error::BadRecipe { .. })));
    let large = vec![1; recode::MAX_RECIPE_SIZE + 1];
    assert!(matches!(Recipe::parse(&large), Err(Error::BadRecipe { .. })));
}

#[test]
fn endless_empty_blocks_are_refused() {
    // Corrections of zeros say what is expected for ever; this size is over what the plain bytes allow.
    let recipe = Recipe::parse(&[1, 6, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff]).unwrap();
    let result = encode(&recipe, &mut &b"text"[..], 4, &mut Bounded(1 << 20));
    assert!(matches!(result, Err(Error::Mismatch { .. })), "{result:?}");
}

#[test]
fn streams_of_files_are_found_and_have_the_recipes_of_their_bytes() {
    for sample in SAMPLES.iter() {
        let (file, plain) = (sample.file.as_slice(), sample.plain.as_slice());
        let budget = Budget::of_file(file.len() as u64);
        let found = find_streams(&file, plain.len() as u64, 9, &budget).unwrap();
        let [stream] = &found[..] else { panic!("{found:?}") };
        assert_eq!((stream.codec, stream.plain_size), (sample.codec, plain.len() as u64));
        let place =
            usize::try_from(stream.encoded.start).unwrap()..usize::try_from(stream.encoded.end).unwrap();
        assert_eq!(file[place], sample.encoded);
        let encoded = Part { file: &file, range: stream.encoded.clone() };
        let plain = Part { file: &plain, range: 0..stream.plain_size };
        let recipe = recipe_of_stream(stream.codec, encoded, plain, &budget);
        assert_eq!(recipe.unwrap().recipe.as_bytes(), sample.recipe);
        assert_eq!(find_streams(&file, stream.plain_size - 1, 9, &budget).unwrap(), []);
    }
}
