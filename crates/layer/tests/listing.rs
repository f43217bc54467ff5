//! The memory of entries and names: it follows the size of the layer as it is given.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use fixtures::{Ending, LayerBuilder, Rng};
use layer::{Error, Listing, Spool, SpoolOptions, entries};

/// The memory that any layers are granted, in bytes.
const LEAST: u64 = 64 << 20;

fn spool(bytes: &[u8]) -> Spool {
    Spool::read("given".into(), bytes, &SpoolOptions::default()).unwrap()
}

fn zstd(tar: &[u8]) -> Spool {
    spool(&zstd::encode_all(tar, 9).unwrap())
}

fn layer(count: usize, mut add: impl FnMut(&mut LayerBuilder, String) -> &mut LayerBuilder) -> Vec<u8> {
    let mut layer = LayerBuilder::new();
    for index in 0..count {
        add(&mut layer, format!("{index}"));
    }
    layer.finish(Ending::Normal)
}

/// Layers of all kinds of entries that take over 64 MiB of memory, and next to nothing when compressed.
fn amplified() -> Vec<(&'static str, Vec<u8>)> {
    let long = "n".repeat(4000);
    let attribute = "v".repeat(900 << 10);
    vec![
        ("files", layer(95_000, |layer, name| layer.file(name, "x"))),
        ("symlinks", layer(95_000, |layer, name| layer.symlink(name, "f"))),
        ("long names", layer(6_000, |layer, name| layer.file(format!("{name}{long}"), "x"))),
        ("long links", layer(6_000, |layer, name| layer.symlink(name, &long))),
        ("deep paths", layer(6_000, |layer, name| layer.file(format!("{name}{}", "/a".repeat(2000)), ""))),
        (
            "attributes",
            layer(80, |layer, name| layer.pax_record("SCHILY.xattr.user.a", &attribute).file(name, "x")),
        ),
    ]
}

#[test]
fn entries_that_are_hidden_by_compression_are_refused_and_those_that_are_there_are_not() {
    for (what, tar) in amplified() {
        let error = entries(&zstd(&tar)).unwrap_err();
        let is_refused = matches!(error, Error::TooManyEntries { max, .. } if max < 2 * LEAST);
        assert!(is_refused, "{what}: {error:?}");
        assert!(!entries(&spool(&tar)).unwrap().is_empty(), "{what}");
    }
}

#[test]
fn half_of_it_is_listed_in_any_compression() {
    let tar = layer(40_000, |layer, name| layer.file(format!("usr/share/{name}"), "x"));
    assert_eq!(entries(&zstd(&tar)).unwrap().len(), 40_000);
}

#[test]
fn entries_of_real_layers_are_listed_however_many_they_are() {
    let mut rng = Rng::new(5);
    // A size, a time and some bytes of a name for each: 16 bytes are what is left of it.
    let tar = layer(150_000, |layer, name| {
        let time = u64::from_le_bytes(rng.bytes(8).try_into().unwrap()) >> 34;
        layer.mtime(time).hardlink(format!("usr/lib/python3/{name}.py"), "usr/lib/python3/0.py")
    });
    assert_eq!(entries(&zstd(&tar)).unwrap().len(), 150_000);
}

#[test]
fn several_layers_share_what_they_are_granted() {
    let tar = layer(50_000, |layer, name| layer.dir(name));
    let layers = [zstd(&tar), zstd(&tar)];
    let mut listing = Listing::of(&layers);
    assert_eq!(listing.entries(&layers[0]).unwrap().len(), 50_000);
    assert!((50_000 * 500..=LEAST).contains(&listing.memory()), "{}", listing.memory());
    assert!(matches!(listing.entries(&layers[1]), Err(Error::TooManyEntries { .. })));
}
