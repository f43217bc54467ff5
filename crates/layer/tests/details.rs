//! The headers of an entry besides its name and its data: as podman takes them, or refused as it refuses.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use fixtures::{Ending, HeaderFormat, LayerBuilder};
use layer::{Details, EntryKind, Error, Members, SparseMap, Spool, SpoolOptions, Timestamp};

fn read(build: impl FnOnce(&mut LayerBuilder) -> &mut LayerBuilder) -> (EntryKind, layer::Result<Details>) {
    read_with(&[], build)
}

/// The first entry, with fields of its header replaced, by their offsets.
fn read_with(
    fields: &[(usize, &[u8])],
    build: impl FnOnce(&mut LayerBuilder) -> &mut LayerBuilder,
) -> (EntryKind, layer::Result<Details>) {
    let mut builder = LayerBuilder::new();
    build(&mut builder);
    let mut archive = builder.finish(Ending::Normal);
    for (at, bytes) in fields {
        archive[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    if !fields.is_empty() {
        archive[148..156].copy_from_slice(b"        ");
        let sum: u32 = archive[..512].iter().map(|&byte| u32::from(byte)).sum();
        archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let spool = Spool::read("test.tar".into(), archive.as_slice(), &SpoolOptions::default()).unwrap();
    let member = Members::of(&spool).next().unwrap().unwrap();
    (member.kind.clone(), member.details(&spool))
}

fn records<'b>(builder: &'b mut LayerBuilder, records: &[(&str, &str)]) -> &'b mut LayerBuilder {
    records.iter().fold(builder, |builder, (key, value)| builder.pax_record(key, value))
}

#[test]
fn fields_are_read_unless_a_record_replaces_them() {
    let (_, details) = read(|layer| {
        records(
            layer,
            &[("gid", "7"), ("mtime", "1.5"), ("SCHILY.xattr.user.a", "1"), ("SCHILY.xattr.user.a", "2")],
        )
        .owner(5, 6)
        .mode(0o4755)
        .file("a", "")
    });
    let details = details.unwrap();
    assert_eq!((details.mode, details.uid, details.gid), (0o4755, 5, 7));
    assert_eq!(details.mtime, Timestamp { seconds: 1, nanoseconds: 500_000_000 });
    assert_eq!(details.xattrs.into_iter().collect::<Vec<_>>(), [(b"user.a".to_vec(), b"2".to_vec())]);
    let (_, details) = read(|layer| layer.char_device("null", 1, 3));
    let details = details.unwrap();
    assert_eq!((details.type_flag, details.device), (b'3', (1, 3)));
}

#[test]
fn empty_records_leave_the_fields() {
    for key in ["uid", "gid", "mtime", "size", "path"] {
        let (_, details) = read(|layer| layer.pax_record(key, "").owner(5, 6).mtime(7).file("a", "content"));
        let details = details.unwrap_or_else(|error| panic!("{key}: {error}"));
        let wanted = (5, 6, Timestamp { seconds: 7, nanoseconds: 0 });
        assert_eq!((details.uid, details.gid, details.mtime), wanted, "{key}");
    }
}

#[test]
fn a_global_header_changes_nothing() {
    let (kind, details) = read(|layer| {
        layer
            .pax_global(&[("uid", b"9"), ("mtime", b"9"), ("path", b"b"), ("size", b"9")])
            .owner(5, 6)
            .file("a", "")
    });
    assert_eq!((kind, details.unwrap().uid), (EntryKind::File, 5));
}

#[test]
fn numbers_that_do_not_fit_are_cut_as_the_system_cuts_them() {
    for (record, wanted) in
        [("4294967301", 5), ("4294967296", 0), ("-2", 0xffff_fffe), ("4294967295", 0), ("-1", 0)]
    {
        let (_, details) =
            read(|layer| layer.pax_record("uid", record).pax_record("gid", record).file("a", ""));
        let details = details.unwrap();
        assert_eq!((details.uid, details.gid), (wanted, wanted), "{record}");
    }
    for (field, wanted) in [
        (b"\x80\0\0\x01\0\0\0\x05", 5),
        (b"\xff\xff\xff\xff\xff\xff\xff\xfe", 0xffff_fffe),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", 0),
        (b"        ", 0),
        (b"\0\0\0\0\0\0\0\0", 0),
        (b"\x000001750", 1000),
    ] {
        let (_, details) = read_with(&[(108, field)], |layer| layer.file("a", ""));
        assert_eq!(details.unwrap().uid, wanted, "{}", field.escape_ascii());
    }
    let (_, details) = read_with(&[(136, &[0xff; 12])], |layer| layer.file("a", ""));
    assert_eq!(details.unwrap().mtime.seconds, -1);
}

#[test]
fn what_go_refuses_is_refused() {
    let reason = |details: layer::Result<Details>| match details.unwrap_err() {
        Error::BrokenTar { reason, .. } => reason,
        other => panic!("{other}"),
    };
    for (key, value) in [
        ("uid", "many"),
        ("gid", "9223372036854775808"),
        ("mtime", "soon"),
        ("path", "a\0b"),
        ("linkpath", "a\0b"),
        ("uname", "a\0b"),
        ("co\0mment", ""),
        ("", "no key"),
    ] {
        let (_, details) = read(|layer| layer.pax_record(key, value).file("a", ""));
        let reason = reason(details);
        assert!(reason.contains("PAX") && !reason.contains('\0'), "{key}: {reason}");
    }
    for at in [100, 108, 116, 136, 329, 337] {
        let (_, details) = read_with(&[(at, b"nothing\0")], |layer| layer.file("a", ""));
        assert!(reason(details).ends_with("is no number"), "{at}");
    }
    let (_, details) = read_with(&[(124, b"nothing\0")], |layer| layer.hardlink("a", "b"));
    assert!(reason(details).ends_with("is no number"));
    // V7 has no devices.
    let (_, details) =
        read_with(&[(329, b"nothing\0")], |layer| layer.format(HeaderFormat::V7).file("a", ""));
    details.unwrap();
}

#[test]
fn sparse_files_without_segments_are_holes() {
    let hole = SparseMap { size: 5000, ..SparseMap::default() };
    let version = |major, minor| [("GNU.sparse.major", major), ("GNU.sparse.minor", minor)];
    for minor in ["0", "1"] {
        let (kind, details) = read(|layer| {
            records(layer, &version("0", minor));
            records(layer, &[("GNU.sparse.size", "5000"), ("GNU.sparse.numblocks", "0")]).file("a", "")
        });
        assert_eq!((kind, details.unwrap().sparse.as_ref()), (EntryKind::Sparse, Some(&hole)));
    }
    let (_, details) = read(|layer| {
        records(layer, &version("1", "0"));
        layer.pax_record("GNU.sparse.realsize", "5000").file("a", format!("0\n{}", "\0".repeat(510)))
    });
    assert_eq!(details.unwrap().sparse, Some(SparseMap { skip: 512, ..hole.clone() }));
    // Of the header: an offset that is empty ends the map.
    let size: &[(usize, &[u8])] =
        &[(156, b"S"), (257, b"ustar  \0"), (483, b"00000011610\0"), (386 + 24, b"00000000000\0")];
    let (kind, details) = read_with(size, |layer| layer.file("a", ""));
    assert_eq!((kind, details.unwrap().sparse), (EntryKind::Sparse, Some(hole)));
    // Without a version and without a map, Go takes it for a file.
    let (kind, details) = read(|layer| {
        records(layer, &[("GNU.sparse.size", "5000"), ("GNU.sparse.map", "")]).file("a", "content")
    });
    assert_eq!((kind, details.unwrap().sparse), (EntryKind::File, None));
}

#[test]
fn sparse_maps_that_make_no_sense_are_refused() {
    let map = |numbers: &str, count: &str, size: &str| {
        let of_map =
            [("GNU.sparse.map", numbers), ("GNU.sparse.numblocks", count), ("GNU.sparse.size", size)];
        let (kind, details) = read(|layer| records(layer, &of_map).file("a", "12345"));
        assert_eq!(kind, EntryKind::Sparse);
        details.map(|details| details.sparse.unwrap().segments)
    };
    assert_eq!(map("0,3,7,2", "2", "9").unwrap(), [(0, 3), (7, 2)]);
    for (what, refused) in [
        ("overlapping", map("0,3,2,2", "2", "9")),
        ("longer than the file", map("0,5", "1", "4")),
        ("more than is stored", map("0,6", "1", "9")),
        ("less than is stored", map("0,4", "1", "9")),
        ("another count", map("0,3,7,2", "1", "9")),
        ("no count", map("0,3,7,2", "", "9")),
        ("half a segment", map("0,3,7", "2", "9")),
        ("no numbers", map("a,b", "1", "9")),
        ("negative", map("-1,5", "1", "9")),
        ("overflowing", map("9223372036854775807,5", "1", "9223372036854775807")),
    ] {
        assert!(matches!(refused, Err(Error::BrokenTar { .. })), "{what}: {refused:?}");
    }
    let (_, details) = read(|layer| layer.pax_record("GNU.sparse.map", "0,1").symlink("a", "b"));
    assert!(details.unwrap_err().to_string().contains("it is sparse, and no file"));
}
