//! Files that were given as a layer and are none, and tars that are cut off.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::io::Write;

use fixtures::{Ending, LayerBuilder, Rng};
use layer::{Compression, Error, FileKind, ImageArchive, Spool, SpoolOptions, check_is_layer, entries};

fn spool(bytes: &[u8]) -> Spool {
    Spool::read("given".into(), bytes, &SpoolOptions::default()).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_is_no_tar_is_told() {
    let json = br#"{"schemaVersion": 2, "layers": []}"#;
    let tar = LayerBuilder::new().file("a", "content").finish(Ending::Normal);
    for (bytes, wanted) in [
        (Rng::new(1).bytes(200), FileKind::Short),
        (Rng::new(2).bytes(5000), FileKind::Unknown),
        (vec![0; 300], FileKind::Short),
        (json.to_vec(), FileKind::Json),
        ([&b" \n ["[..], &b"1,".repeat(1000)].concat(), FileKind::Json),
        (b"<!DOCTYPE html>\n<p>not found".to_vec(), FileKind::Markup),
        ("\u{e4}\u{e4} words\n".repeat(200).into_bytes(), FileKind::Text),
        (b"PK\x03\x04\x14\0\0\0".to_vec(), FileKind::Zip),
        ([&b"\x7fELF\x02\x01\x01\0"[..], &[0; 2000]].concat(), FileKind::Elf),
        (b"tardf1\n\0\x28\xb5\x2f\xfd".to_vec(), FileKind::Delta),
        (gzip(&gzip(&tar)), FileKind::Compressed(Compression::Gzip)),
    ] {
        let error = entries(&spool(&bytes)).unwrap_err();
        let Error::NotATar { what, .. } = &error else { panic!("{wanted:?}: {error}") };
        assert_eq!(*what, wanted);
        assert!(error.to_string().starts_with("given is no tar: it "), "{error}");
    }
    // Through a compression, too.
    let error = entries(&spool(&gzip(json))).unwrap_err();
    assert!(matches!(error, Error::NotATar { what: FileKind::Json, .. }), "{error}");
}

#[test]
fn no_entries_are_a_tar_but_nothing_from_a_pipe_is_none() {
    for zeros in [512, 1024, 10_240] {
        assert_eq!(entries(&spool(&vec![0; zeros])).unwrap(), []);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let empty = Spool::open(file.path(), &SpoolOptions::default()).unwrap();
    assert_eq!((entries(&empty).unwrap(), empty.size()), (Vec::new(), 0));
    let of_pipe = |bytes: &[u8]| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(bytes).unwrap();
        drop(writer);
        Spool::read_pipe("stdin".into(), reader, &SpoolOptions::default())
    };
    let error = of_pipe(b"").unwrap_err();
    assert_eq!(error.to_string(), "stdin is no tar: it is empty");
    assert_eq!(of_pipe(&[0; 1024]).unwrap().size(), 1024);
    // By its path, too.
    let nothing = Spool::open("/dev/null".as_ref(), &SpoolOptions::default());
    assert!(matches!(nothing.unwrap_err(), Error::NotATar { what: FileKind::Empty, .. }));
}

#[test]
fn a_tar_that_is_cut_off_fails_where_it_is() {
    let whole = LayerBuilder::new().file("a", [7; 700]).file("b", [8; 700]).finish(Ending::Normal);
    let second = 512 + 1024;
    let offset = |size: usize| match entries(&spool(&whole[..size])) {
        Err(Error::BrokenTar { offset, .. }) => Some(offset),
        other => other.map(|_| None).unwrap(),
    };
    assert_eq!(offset(512 + 10), Some(0), "in the data of the first");
    assert_eq!(offset(second + 262), Some(second as u64), "in a header");
    assert_eq!(offset(second + 512), Some(second as u64), "behind a header");
    assert_eq!(offset(second + 512 + 699), Some(second as u64), "in the data");
    assert_eq!(offset(second + 512 + 700), None, "in the padding");
    // Between entries, nobody can tell.
    assert_eq!(offset(second), None);
    for tail in [&b"x"[..], &[b'x'; 511], &[0; 300]] {
        let archive = [&whole[..second], tail].concat();
        assert_eq!(entries(&spool(&archive)).unwrap().len(), 1, "bytes behind the last block");
    }
    let after_the_end = [&whole[..], &[b'x'; 3000]].concat();
    assert_eq!(entries(&spool(&after_the_end)).unwrap().len(), 2);
    let not_compressed_whole = gzip(&whole);
    let cut = Spool::read("given".into(), &not_compressed_whole[..40], &SpoolOptions::default());
    assert!(matches!(cut.unwrap_err(), Error::Decompress { .. }));
}

#[test]
fn an_archive_of_images_is_no_layer() {
    let archive = |names: &[&str]| {
        let mut builder = LayerBuilder::new();
        for name in names {
            builder.file(name, "x");
        }
        builder.finish(Ending::Normal)
    };
    let hex = "ab".repeat(32);
    for (names, wanted) in [
        (vec!["oci-layout", "index.json", "blobs/sha256/x"], Some(ImageArchive::Oci)),
        (vec!["./index.json", "./oci-layout", "manifest.json"], Some(ImageArchive::Oci)),
        (vec!["manifest.json", "repositories", "0123/layer.tar"], Some(ImageArchive::Docker)),
        (vec![&format!("{hex}.tar"), "manifest.json"], Some(ImageArchive::Docker)),
        (vec!["srv/oci-layout", "srv/index.json"], None),
        (vec!["index.json", "manifest.json"], None),
        (vec!["layer.tar", "etc/passwd"], None),
        (vec![], None),
    ] {
        let checked = check_is_layer(&spool(&archive(&names)));
        match (checked, wanted) {
            (Ok(()), None) => {}
            (Err(error @ Error::ImageArchive { .. }), Some(kind)) => {
                let spelling = if kind == ImageArchive::Oci { "oci-archive:" } else { "docker-archive:" };
                let text = error.to_string();
                assert!(text.starts_with("given is no layer, but") && text.contains(spelling), "{text}");
            }
            (checked, wanted) => panic!("{names:?}: {checked:?}, wanted was {wanted:?}"),
        }
    }
    assert!(matches!(check_is_layer(&spool(&Rng::new(1).bytes(600))), Err(Error::NotATar { .. })));
}
