//! The op stream of a tardf3 that is small beside its layer is an xz stream.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use delta_format::wire::{MAGIC_SIZE, XZ_START};
use fixtures::{Ending, LayerBuilder};
use layer::{MergeOptions, Spool, SpoolOptions};
use tar_diff::{DiffOptions, diff, verify};

/// Layers of many files, whose headers make a tardf3 of their delta, and of which some change.
fn layer(version: u64) -> Spool {
    let mut builder = LayerBuilder::new();
    for file in 0..200 {
        let version = if file % 10 == 0 { version } else { 0 };
        let contents = fixtures::contents::program(file, 20_000, version);
        builder.file(format!("usr/lib/part-{file:03}-{version}.so"), contents);
    }
    Spool::read("layer".into(), builder.finish(Ending::Normal).as_slice(), &SpoolOptions::default()).unwrap()
}

#[test]
fn a_level_decides_on_the_compression_and_the_work_is_that_of_ordinary_streams() {
    let (old, new) = (layer(0), layer(1));
    let options = DiffOptions::default().sees_through(true);
    let made = [19, 15].map(|level| {
        let options = options.clone().level(level);
        let (delta, _) = diff(std::slice::from_ref(&old), &new, &options, Vec::new(), &|_| ()).unwrap();
        let work =
            verify(delta.as_slice(), std::slice::from_ref(&old), &new, &MergeOptions::default()).unwrap();
        (delta, work)
    });
    let [(xz, work), (zstd, work_of_zstd)] = made;
    assert!(xz.starts_with(b"tardf3\n\0") && zstd.starts_with(b"tardf3\n\0"));
    assert_eq!(xz[MAGIC_SIZE], XZ_START);
    assert_ne!(zstd[MAGIC_SIZE], XZ_START);
    assert!(xz.len() < zstd.len(), "{} and {}", xz.len(), zstd.len());
    // What hosts are told is the time of an ordinary stream, not of the worst one.
    assert!(work.reading <= work_of_zstd.reading + 100 * xz.len() as u64, "{work:?} and {work_of_zstd:?}");
}
