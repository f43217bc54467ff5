use std::io::Write;

use layer::SpoolOptions;

use super::*;

fn spool(tar: &[u8]) -> Spool {
    Spool::read("layer.tar".into(), tar, &SpoolOptions::default()).unwrap()
}

fn find(blob: &[u8], tar: &[u8]) -> Result<BlobRecipe> {
    BlobRecipe::find(&file(blob), Digest::of(blob), &spool(tar))
}

/// The bytes of a blob as they are, whatever their compression.
fn file(bytes: &[u8]) -> Spool {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Spool::of_file("blob".into(), file, bytes.len() as u64)
}

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar that is large enough for recipes to be a small part of its blob.
fn tar() -> Vec<u8> {
    fixtures::Corpus { files: 30, mean_size: 10 << 10, ..Default::default() }.pair().0
}

/// A blob of zstd:chunked that ends with a footer, in which one frame of twenty is of libzstd.
fn chunked_with_another_frame(tar: &[u8], footer: &[u8]) -> Vec<u8> {
    let number = |mut number: usize| {
        let mut bytes = Vec::new();
        while number >= 0x80 {
            bytes.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        bytes.push(number.to_le_bytes()[0]);
        bytes
    };
    let parts: Vec<_> = tar.chunks(tar.len() / 20 + 1).collect();
    let frames = parts.iter().enumerate().map(|(index, part)| {
        if index == 7 {
            let frame = zstd::encode_all(*part, 3).unwrap();
            [number(part.len() * 2 + 1), number(frame.len()), frame].concat()
        } else {
            number(part.len() * 2)
        }
    });
    let frames = frames.collect::<Vec<_>>().concat();
    let skippable = [&[1, footer[0], 0], &*number(footer.len() - 8), &footer[8..]].concat();
    let body = [number(parts.len()), frames, skippable].concat();
    let recipe = [vec![10, 2, 0], number(body.len()), vec![0], zstd::encode_all(&*body, 3).unwrap()].concat();
    let recipe = recode::Recipe::parse(&recipe).unwrap();
    let mut blob = Vec::new();
    recode::encode(&recipe, &mut { tar }, tar.len() as u64, &mut blob).unwrap();
    blob
}

/// Blobs of the tar whose recipes are a few bytes.
fn blobs(tar: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (first, second) = tar.split_at(tar.len() / 3);
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"toc"].concat();
    let frame = |bytes: &[u8], level| zstd::encode_all(bytes, level).unwrap();
    // The footer of zstd:chunked, from a blob of skopeo.
    let of_skopeo = include_bytes!("../../../fixtures/encoders/skopeo-1.9.3-chunked.tar.zst");
    let start = of_skopeo.windows(4).rposition(|window| window[1..] == [0x2a, 0x4d, 0x18]).unwrap();
    vec![
        ("two members and a tail", [gzip(first, 6), gzip(second, 6), vec![0; 64]].concat()),
        ("zstd", frame(tar, 3)),
        (
            "frames with others between",
            [frame(first, 3), skippable.clone(), frame(second, 9), skippable].concat(),
        ),
        (
            "frames of libzstd that end as zstd:chunked",
            [frame(first, 3), frame(second, 3), of_skopeo[start..].to_vec()].concat(),
        ),
        ("zstd:chunked with a frame of libzstd", chunked_with_another_frame(tar, &of_skopeo[start..])),
    ]
}

#[test]
fn a_recipe_makes_the_blob_after_a_round_trip() {
    let tar = tar();
    for (name, blob) in blobs(&tar) {
        let recipe = find(&blob, &tar).unwrap_or_else(|why| panic!("{name}: {why}"));
        let bytes = recipe.to_bytes();
        assert!(bytes.len() * 100 <= blob.len() * 3, "{name}: {} of {}", bytes.len(), blob.len());
        let read = BlobRecipe::parse(&bytes).unwrap();
        assert_eq!(read, recipe, "{name}");
        let mut made = Vec::new();
        read.make(&spool(&tar), Digest::of(&blob), blob.len() as u64, &mut made).unwrap();
        assert!(made == blob, "{name}");
    }
}

#[test]
fn what_has_no_recipe_says_why() {
    let tar = tar();
    let of = |blob: &[u8]| refusal(find(blob, &tar));
    // Bytes around the streams are part of the recipe.
    let tail = [gzip(&tar, 6), vec![7; tar.len()]].concat();
    assert!(matches!(of(&tail), Refusal::NotWorthIt { .. }), "{}", of(&tail));
    let other = gzip(&tar[..tar.len() - 512], 6);
    assert_eq!(of(&other), Refusal::OtherContent);
    let Refusal::NotWorthIt { size, blob_size, max_share } = of(&tail) else { unreachable!() };
    assert_eq!((blob_size, max_share), (tail.len() as u64, MAX_SHARE));
    assert!(
        (tar.len() as u64..tar.len() as u64 + 1000).contains(&size),
        "{size} is what the recipe would take"
    );
    // The tar itself, in no compression at all.
    assert!(matches!(of(&tar), Refusal::NotWorthIt { .. }), "{}", of(&tar));
}

#[test]
fn the_limit_of_a_recipe_is_a_choice_and_a_refusal_has_the_true_size() {
    let tar = tar();
    // Flushes are told by corrections, and each of the streams has its own.
    let stream = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        for part in bytes.chunks(200) {
            encoder.write_all(part).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    };
    let blob = tar.chunks(50_000).map(stream).collect::<Vec<_>>().concat();
    let find_within = |share| BlobRecipe::find_within(&file(&blob), Digest::of(&blob), &spool(&tar), share);
    let recipe = find_within(25).unwrap();
    let true_size = recipe.to_bytes().len() as u64;
    assert!(recipe.streams.len() > 5 && true_size > blob.len() as u64 / 100, "{true_size}");
    let refused = refusal(find_within(1));
    let Refusal::NotWorthIt { size, max_share: 1, .. } = refused else { panic!("{refused}") };
    assert_eq!(size, true_size);
    assert_eq!(find_within(25).unwrap(), recipe, "whatever order the streams are searched in");
}

#[test]
fn hostile_recipes_are_errors() {
    let tar = tar();
    let (_, blob) = blobs(&tar).remove(0);
    let recipe = find(&blob, &tar).unwrap();
    let bytes = recipe.to_bytes();
    let (digest, size) = (Digest::of(&blob), blob.len() as u64);
    // What follows the streams may have any size.
    for cut in 0..bytes.len() - recipe.rest.len() {
        assert!(BlobRecipe::parse(&bytes[..cut]).is_err(), "{cut}");
    }
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 0x55;
        let Ok(read) = BlobRecipe::parse(&changed) else { continue };
        // Some bytes can be said in two ways: what is made, if anything, is the blob.
        let mut made = Vec::new();
        if read.make(&spool(&tar), digest, size, &mut made).is_ok() {
            assert!(made == blob, "{index}");
        }
    }
    // It is for another tar, or makes more than it may.
    let longer = [tar.as_slice(), &[0; 512]].concat();
    assert!(matches!(
        recipe.make(&spool(&longer), digest, size, &mut io::sink()),
        Err(Error::Malformed { .. })
    ));
    let mut made = Vec::new();
    assert!(matches!(recipe.make(&spool(&tar), digest, size - 100, &mut made), Err(Error::Recode(_))));
    assert!(made.len() as u64 <= size - 100);
    let mut many = MAGIC.to_vec();
    put_uvarint(&mut many, u64::MAX);
    assert!(BlobRecipe::parse(&many).is_err());
}

/// A recipe of many streams of a byte, and one of the rest of the tar, all by the same encoder.
fn recipe_of_many(encoder: &[u8], streams: u64, tar: &Spool) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    put_uvarint(&mut bytes, streams + 1);
    for index in 0..=streams {
        put_bytes(&mut bytes, b"");
        put_uvarint(&mut bytes, if index < streams { 1 } else { tar.size() - streams });
        put_bytes(&mut bytes, encoder);
    }
    bytes
}

#[test]
fn encoders_are_charged_before_the_first_byte_is_made() {
    let tar = spool(&tar());
    // zstd -19 of unknown size clears its tables for each stream.
    let recipe = BlobRecipe::parse(&recipe_of_many(&[3, 19, 0, 0], 300, &tar)).unwrap();
    let mut made = Vec::new();
    let error = recipe.make(&tar, Digest::of(b""), 1 << 20, &mut made).unwrap_err();
    let Error::Patch(error) = error else { panic!("{error:?}") };
    assert_eq!(error.fault(), tar_patch::Fault::Delta, "{error}");
    assert!(made.is_empty(), "{} bytes", made.len());
    // The streams that a blob has cost no more than its layer is worth.
    let few = BlobRecipe::parse(&recipe_of_many(&[3, 3, 1, 0], 3, &tar)).unwrap();
    let spent = Budget::unlimited();
    let result = few.make_within(&spent, &tar, Digest::of(b""), 1 << 30, &mut made);
    assert!(matches!(result, Err(Error::SizeMismatch { .. })), "{result:?}");
    assert!(spent.spent().encoding > tar.size() && spent.spent().encoding < Work::of_layer(1).encoding);
}

#[test]
fn an_encoder_that_takes_much_memory_is_refused_on_both_sides() {
    let bytes = recipe_of_many(&[3, 22, 0, 0], 0, &spool(&tar()));
    assert!(matches!(BlobRecipe::parse(&bytes), Err(Error::Malformed { .. })));
    let tar = tar();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&tar).unwrap();
    let blob = std::process::Command::new("xz").args(["-9", "-c"]).arg(file.path()).output().unwrap().stdout;
    let refusal = refusal(find(&blob, &tar));
    let expected = recode::Refused::TooMuchMemory;
    assert!(matches!(refusal, Refusal::Stream { refused, .. } if refused == expected), "{refusal}");
}

#[test]
fn a_blob_that_became_shorter_is_no_refusal() {
    let tar = tar();
    let blob = gzip(&tar, 6);
    let mut cut = tempfile::tempfile().unwrap();
    cut.write_all(&blob[..blob.len() / 2]).unwrap();
    let cut = Spool::of_file("blob".into(), cut, blob.len() as u64);
    let error = BlobRecipe::find(&cut, Digest::of(&blob), &spool(&tar)).unwrap_err();
    assert!(matches!(&error, Error::Layer(_)), "{error:?}");
    assert!(format!("{error:?}").contains("became shorter"), "{error:?}");
}

/// The reason why there is no recipe.
fn refusal(found: Result<BlobRecipe>) -> Refusal {
    match found {
        Err(Error::NoRecipe(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}
