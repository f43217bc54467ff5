//! zstd:chunked is one stream: its frames and its table of contents are made again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write;

use fixtures::Rng;
use recode::{Codec, Error, Recipe, Refused, decode, encode, find, recipe};
use sha2::{Digest, Sha256};

/// A layer of 40 files as `skopeo copy --dest-compress-format zstd:chunked` of skopeo 1.9.3 pushed it.
const OF_SKOPEO: &[u8] = include_bytes!("../../../fixtures/encoders/skopeo-1.9.3-chunked.tar.zst");

fn made(recipe: &[u8], plain: &[u8]) -> recode::Result<Vec<u8>> {
    let (recipe, mut made) = (Recipe::parse(recipe)?, Vec::new());
    encode(&recipe, &mut { plain }, plain.len() as u64, &mut made)?;
    Ok(made)
}

/// The frame that klauspost/compress 1.19 makes at the level of zstd:chunked, with the checksum that libzstd makes.
fn frame(plain: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    std::io::Write::write_all(&mut encoder, plain).unwrap();
    let other = encoder.finish().unwrap();
    let is_whole = (1..128 << 10).contains(&plain.len());
    let recipe = [&[9, 4, 0, 2 | u8::from(is_whole)], &other[other.len() - 4..]].concat();
    made(&recipe, plain).unwrap()
}

fn skippable(content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len()).unwrap().to_le_bytes();
    [&[0x50, 0x2a, 0x4d, 0x18], &size[..], content].concat()
}

fn sha256(plain: &[u8]) -> String {
    Sha256::digest(plain).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The CRC-64 of ISO 3309, bit by bit.
fn crc64(bytes: &[u8]) -> u64 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xd8 << 56 } else { 0 })
    })
}

fn base64(bytes: &[u8]) -> String {
    let text = support::pipe("base64", &["-w0"], bytes);
    String::from_utf8(text).unwrap()
}

/// A stream as containers/storage 1.59 writes it, of a small file, a link, and a file of three chunks, and
/// its plain bytes. One more digest is that of no bytes of the stream.
fn stream() -> (Vec<u8>, Vec<u8>) {
    let mut rng = Rng::new(30);
    let code = fixtures::contents::source_code(&mut rng, 200_000);
    let header = |name: &str| [name.as_bytes(), &vec![0; 512 - name.len()]].concat();
    let parts = [
        header("small"),
        code[..3000].to_vec(),
        [vec![0; 72], header("link"), header("large")].concat(),
        code[3000..160_000].to_vec(),
        vec![0; 5000],
        rng.bytes(30_000),
        vec![0; 1024 + 504],
    ];
    let (mut blob, mut places) = (Vec::new(), Vec::new());
    for part in &parts {
        places.push(blob.len());
        blob.extend(frame(part));
    }
    let large = parts[3..6].concat();
    let mut toc = format!(
        "{{\"version\":1,\"entries\":[{{\"type\":\"reg\",\"name\":\"small\",\"size\":3000,\"digest\":\"sha256:{}\",\
         \"offset\":{},\"endOffset\":{}}},{{\"type\":\"symlink\",\"name\":\"link\",\"linkName\":\"small\"}},\
         {{\"type\":\"reg\",\"name\":\"large\",\"size\":{},\"digest\":\"sha256:{}\",\"offset\":{},\"endOffset\":{},\
         \"chunkSize\":{},\"chunkDigest\":\"sha256:{}\"}}",
        sha256(&parts[1]),
        places[1],
        places[2],
        large.len(),
        sha256(&large),
        places[3],
        places[6],
        parts[3].len(),
        sha256(&parts[3]),
    );
    for (index, kind) in [(4, ",\"chunkType\":\"zeros\""), (5, "")] {
        let offset: usize = parts[3..index].iter().map(Vec::len).sum();
        write!(
            toc,
            ",{{\"type\":\"chunk\",\"name\":\"large\",\"offset\":{},\"chunkSize\":{},\"chunkOffset\":{offset},\
             \"chunkDigest\":\"sha256:{}\"{kind}}}",
            places[index],
            parts[index].len(),
            sha256(&parts[index]),
        )
        .unwrap();
    }
    write!(toc, "],\"tarSplitDigest\":\"sha256:{}\"}}", sha256(b"other")).unwrap();
    let bytes = |index: usize, part: &[u8]| {
        format!("{{\"type\":2,\"payload\":\"{}\",\"position\":{index}}}\n", base64(part))
    };
    let file = |index: usize, name: &str, part: &[u8]| {
        let (size, crc) = (part.len(), base64(&crc64(part).to_be_bytes()));
        format!(
            "{{\"type\":1,\"name\":\"{name}\",\"size\":{size},\"payload\":\"{crc}\",\"position\":{index}}}\n"
        )
    };
    let split = [
        bytes(0, &parts[0]),
        file(1, "small", &parts[1]),
        bytes(2, &parts[2]),
        file(3, "large", &large),
        bytes(4, &parts[6]),
    ]
    .concat();
    let mut footer = vec![0; 56];
    footer.extend(b"GNUlInUx");
    for content in [frame(toc.as_bytes()), frame(split.as_bytes()), footer] {
        blob.extend(skippable(&content));
    }
    (blob, parts.concat())
}

#[test]
fn a_blob_of_skopeo_is_one_stream_of_a_small_recipe() {
    let found = find(OF_SKOPEO, 1 << 20);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].codec, found[0].encoded.clone()), (Codec::ZstdChunked, 0..OF_SKOPEO.len()));
    assert_eq!(found[0].plain, zstd::decode_all(OF_SKOPEO).unwrap());
    let recipe = recipe(Codec::ZstdChunked, OF_SKOPEO, &found[0].plain).unwrap();
    // The version of Debian 12, which has klauspost/compress 1.15.12.
    assert_eq!(recipe.as_bytes()[..3], [10, 4, 6]);
    let size = recipe.as_bytes().len();
    // Names and times of 40 files.
    assert!(size < 1200, "{size} bytes");
    assert_eq!(recipe.codec(), Codec::ZstdChunked);
    assert_eq!(Recipe::parse(recipe.as_bytes()).unwrap(), recipe);
    assert_eq!(made(recipe.as_bytes(), &found[0].plain).unwrap(), OF_SKOPEO);
}

#[test]
fn digests_and_places_follow_from_the_plain_bytes() {
    let (blob, plain) = stream();
    let found = recipe(Codec::ZstdChunked, &blob, &plain).unwrap();
    assert_eq!(made(found.as_bytes(), &plain).unwrap(), blob);
    let size = found.as_bytes().len();
    assert!(size < 430, "{size} bytes");
    // Other plain bytes make another table.
    let mut other = plain.clone();
    other[600] ^= 1;
    assert_ne!(made(found.as_bytes(), &other).unwrap(), blob);
    assert!(matches!(
        made(found.as_bytes(), &plain[1..]),
        Err(Error::PlainTooShort { .. } | Error::Mismatch { .. })
    ));
    let longer = [&plain[..], &[0]].concat();
    assert!(matches!(made(found.as_bytes(), &longer), Err(Error::Mismatch { .. })));
    assert_eq!(recipe(Codec::ZstdChunked, &blob, &other).unwrap_err(), Refused::NoEncoder);
}

#[test]
fn frames_and_tables_of_another_encoder_are_carried() {
    let (blob, plain) = stream();
    let first = frame(&plain[..512]);
    let by_libzstd = zstd::encode_all(&plain[..512], 3).unwrap();
    let toc = skippable(b"{\"version\":1}");
    // The places in the table are others then, so that they are carried, too.
    let footer = &blob[blob.len() - 72..];
    let other = [&by_libzstd, &blob[first.len()..blob.len() - 72], &toc[..], footer].concat();
    let found = recipe(Codec::ZstdChunked, &other, &plain).unwrap();
    assert_eq!(made(found.as_bytes(), &plain).unwrap(), other);
    // Most frames of yet another encoder are no reason for a recipe.
    let all = [&zstd::encode_all(&plain[..], 3).unwrap(), footer].concat();
    assert_eq!(recipe(Codec::ZstdChunked, &all, &plain).unwrap_err(), Refused::NoEncoder);
}

#[test]
fn decoding_ends_at_the_footer_and_stays_within_bounds() {
    let (blob, plain) = stream();
    let with_more = [&blob[..], b"more"].concat();
    let mut decoded = Vec::new();
    let outcome = decode(Codec::ZstdChunked, &mut &with_more[..], 1 << 20, &mut decoded).unwrap();
    assert_eq!((outcome.encoded_size, outcome.plain_size), (blob.len() as u64, plain.len() as u64));
    assert!(decoded == plain);
    for cut in (0..blob.len()).step_by(997).chain(blob.len() - 80..blob.len()) {
        let decoded = decode(Codec::ZstdChunked, &mut &blob[..cut], 1 << 20, &mut Vec::new());
        assert!(matches!(decoded, Err(Error::Corrupt { .. })), "{cut}: {decoded:?}");
    }
    // Whole frames without a footer.
    for cut in [frame(b"plain"), frame(b""), skippable(b"content"), Vec::new()] {
        let decoded = decode(Codec::ZstdChunked, &mut &cut[..], 1 << 20, &mut Vec::new());
        assert!(matches!(decoded, Err(Error::Corrupt { .. })), "{decoded:?}");
    }
    let mut decoded = Vec::new();
    let max = plain.len() as u64 - 1;
    let outcome = decode(Codec::ZstdChunked, &mut &blob[..], max, &mut decoded);
    assert!(matches!(outcome, Err(Error::TooLarge { .. })) && decoded.len() as u64 <= max);
    // What does not end so is found frame by frame.
    assert_eq!(find(&with_more, 1 << 20).len(), 7);
}

/// A recipe with this body, which says these sizes.
fn of_body(body: &[u8], body_size: usize, text_size: u8) -> Vec<u8> {
    let packed = zstd::bulk::compress(body, 3).unwrap();
    [&[10, 4, 0, u8::try_from(body_size).unwrap(), text_size], &packed[..]].concat()
}

/// One frame of so many plain bytes, and a skippable frame of a text of 110 bytes at most with this template.
fn body(plain_size: u8, template: &[u8]) -> Vec<u8> {
    let size = u8::try_from(template.len()).unwrap();
    [&[1, plain_size << 1, 1, 0x5a, 1, 110, size], template].concat()
}

/// The format: a body, and the stream that it stands for.
#[test]
fn a_recipe_means_what_it_meant() {
    let plain = b"123456789 and more plain";
    let body = body(24, b"a\x01\x00\x01b\x02\x00c\x03\x00\x01d\x05\x09e\x04\x0f");
    let first = frame(plain);
    let text = format!("a{}b0c24duQlWx3WkEAE=eIGFuZCBtb3JlIHBsYWlu", sha256(plain));
    let mut second = skippable(&frame(text.as_bytes()));
    second[0] = 0x5a;
    let recipe = of_body(&body, body.len(), 110);
    assert_eq!(made(&recipe, plain).unwrap(), [first, second].concat());
}

#[test]
fn hostile_recipes_are_errors() {
    let plain = b"plain bytes, plain bytes";
    let good = body(24, b"\x01\x00\x01");
    assert!(made(&of_body(&good, good.len(), 110), plain).is_ok());
    let is_broken = |recipe: &[u8]| matches!(made(recipe, plain), Err(Error::BadRecipe { .. }));
    // More or less than the size of the body, and texts over their size.
    assert!(
        is_broken(&of_body(&good, good.len() - 1, 110)) && is_broken(&of_body(&good, good.len() + 1, 110))
    );
    assert!(is_broken(&of_body(&good, good.len(), 63)));
    let zeros = vec![0; 8 << 20];
    assert!(is_broken(&of_body(&zeros, 100, 110)));
    // A text that keeps all plain bytes, and tells memory of none.
    assert!(is_broken(&of_body(&body(24, b"\x04\x0f"), 9, 0)));
    // Frames that are not there, numbers that are cut off, and runs that end before they begin.
    for template in [
        &b"\x01\x00\x02"[..],
        b"\x01\x01\x01",
        b"\x02\x02",
        b"\x03\x00\x02",
        b"\x03\x02\x00",
        b"\x01\x00",
        b"\x02",
        b"\x04\x19",
        b"\x05\x19",
        b"\x04\x7f",
        b"\x04",
        b"\x02\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x01",
        &[b'a'; 111],
    ] {
        let body = body(24, template);
        assert!(is_broken(&of_body(&body, body.len(), 127)), "{template:?}");
    }
    // Unknown kinds, another magic, bytes behind the end, and counts of what is not there.
    for body in [&[0, 1, 0x50, 2, 0][..], &[0, 1, 0x60, 0, 0], &[0, 0, 0], &[9], &[1, 3, 9, 1], &[0, 9]] {
        assert!(is_broken(&of_body(body, body.len(), 110)), "{body:?}");
    }
    // Sizes that no applier grants, another level, and a body that is no frame.
    for recipe in [
        &[10, 4, 0, 0x81, 0x80, 0x80, 0x20, 0][..],
        &[10, 4, 0, 0, 0x81, 0x80, 0x80, 0x20],
        &[10, 5, 0, 0, 0],
    ] {
        assert!(matches!(Recipe::parse(recipe), Err(Error::BadRecipe { .. })), "{recipe:?}");
    }
    assert!(is_broken(&[10, 4, 0, 3, 0, 1, 2, 3]));
    // Many runs that share a frame: some have no digest.
    let many: Vec<u8> = (1..=9).flat_map(|frames| [1, 0, frames]).collect();
    let body = [&[10, 2, 2, 2, 2, 2, 2, 2, 2, 2, 30, 1, 0x50, 1, 120, 27], &many[..]].concat();
    assert!(is_broken(&of_body(&body, body.len(), 120)));
}

/// Each byte of a body with each value: it is refused, or it makes some stream within the bound of its texts.
#[test]
fn damaged_bodies_end() {
    let plain = b"123456789 and more plain";
    let good = [
        &[2, 18, 31, 3, b'a', b'b', b'c', 2, 0x50, 1, 110, 16][..],
        b"a\x01\x00\x01b\x02\x00c\x03\x00\x01d\x05\x09\x04\x0f",
        &[0x51, 0, 2, 9, 9],
    ]
    .concat();
    let of_level_1 = |body: &[u8]| {
        let mut recipe = of_body(body, body.len(), 110);
        recipe[1] = 1;
        recipe
    };
    let mut counts = [0; 2];
    for index in 0..good.len() {
        for value in 0..=u8::MAX {
            let mut body = good.clone();
            body[index] = value;
            let made = made(&of_level_1(&body), plain);
            counts[usize::from(made.is_ok())] += 1;
            assert!(made.is_err() || made.is_ok_and(|made| made.len() < 1000), "{index}: {value}");
        }
    }
    assert!(counts.iter().all(|count| *count > 500), "{counts:?}");
}
