//! Headers that tools write differently, and read differently: an entry is what GNU tar and Go agree about.
//!
//! The results of Go's archive/tar were seen by running it on each case; GNU tar is run here.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::fs;
use std::process::{Command, Stdio};

use layer::{Dispute, Entry, EntryKind, Members, Spool, SpoolOptions, entries};

const CONTENT: &[u8] = b"some content that takes a block of its own";
const GNU: &[u8] = b"ustar  \0";

fn spool(bytes: &[u8]) -> Spool {
    Spool::read("test.tar".into(), bytes, &SpoolOptions::default()).unwrap()
}

/// A header with fields replaced, by their offsets.
fn header(name: &str, size: usize, flag: u8, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"14700000000\0");
    put(156, &[flag]);
    put(257, b"ustar\x0000");
    fields.iter().for_each(|(at, bytes)| put(*at, bytes));
    put(148, b"        ");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A file whose checksum is written as `write` has it.
fn with_checksum(name: &str, write: impl Fn(i64) -> Vec<u8>) -> Vec<u8> {
    let mut header = header(name, CONTENT.len(), b'0', &[]);
    header[148..156].copy_from_slice(b"        ");
    let sum = header.iter().map(|&byte| i64::from(byte)).sum();
    header[148..156].copy_from_slice(&write(sum));
    [header, padded(CONTENT)].concat()
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(512), 0);
    data
}

fn file_of(name: &str, flag: u8, fields: &[(usize, &[u8])]) -> Vec<u8> {
    [header(name, CONTENT.len(), flag, fields), padded(CONTENT)].concat()
}

fn file(name: &str) -> Vec<u8> {
    file_of(name, b'0', &[])
}

fn symlink(name: &str) -> Vec<u8> {
    header(name, 0, b'2', &[(157, b"target")])
}

/// A PAX header of any type.
fn pax_of(flag: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let size = (rest..).find(|size| rest + size.to_string().len() == *size).unwrap();
        data.extend(format!("{size} {key}={value}\n").bytes());
    }
    [header("pax", data.len(), flag, &[]), padded(&data)].concat()
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    pax_of(b'x', records)
}

fn global(records: &[(&str, &str)]) -> Vec<u8> {
    pax_of(b'g', records)
}

/// GNU tar's long name (`L`) or long target (`K`).
fn long(flag: u8, name: &str) -> Vec<u8> {
    [header("././@LongLink", name.len() + 1, flag, &[(257, GNU)]), padded(format!("{name}\0").as_bytes())]
        .concat()
}

fn tar(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], &[0; 1024]].concat()
}

/// An entry in short: its path and what it is.
fn short(entry: &Entry) -> String {
    let path = String::from_utf8_lossy(&entry.path);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match &entry.kind {
        EntryKind::File => format!("{path} {}", entry.data.end - entry.data.start),
        EntryKind::Sparse => format!("{path} sparse"),
        EntryKind::HardLink(target) => format!("{path} = {}", text(target)),
        EntryKind::Symlink(target) => format!("{path} -> {}", text(target)),
        EntryKind::Directory => format!("{path} directory"),
        EntryKind::Other => format!("{path} other"),
        EntryKind::Nothing => format!("{path} nothing"),
        EntryKind::Disputed(Dispute::Names(other)) => format!("{path} or {}?", text(other)),
        EntryKind::Disputed(Dispute::Everything) => format!("{path}???"),
    }
}

fn shorts(archive: &[u8]) -> Vec<String> {
    entries(&spool(archive)).unwrap().iter().map(short).collect()
}

/// Returns the entries that Go finds, also where GNU tar finds something else.
fn shorts_of_go(archive: &[u8]) -> Vec<String> {
    let members = Members::of(&spool(archive)).collect::<layer::Result<Vec<_>>>().unwrap();
    members.into_iter().map(|member| short(&Entry { kind: member.kind, ..member.entry })).collect()
}

/// Extracts with GNU tar, which may complain, and checks the files that are said to be agreed about.
fn check_with_gnu_tar(what: &str, archive: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("archive.tar");
    fs::write(&path, archive).unwrap();
    let tree = directory.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let mut run = Command::new("tar");
    run.arg("-xf").arg(&path).arg("-C").arg(&tree).stderr(Stdio::null()).status().unwrap();
    for entry in entries(&spool(archive)).unwrap().iter().filter(|entry| entry.kind == EntryKind::File) {
        let stored = &archive[usize::try_from(entry.data.start).unwrap()..];
        let size = usize::try_from(entry.data.end - entry.data.start).unwrap();
        let path = tree.join(std::str::from_utf8(&entry.path).unwrap());
        if path.is_dir() {
            assert!(size == 0 && entry.path.ends_with(b"/"), "{what}: {}", short(entry));
        } else {
            assert_eq!(fs::read(&path).unwrap_or_default(), stored[..size], "{what}: {}", short(entry));
        }
    }
}

type Case = (&'static str, Vec<Vec<u8>>, &'static [&'static str]);

fn check(cases: Vec<Case>) {
    for (what, parts, wanted) in cases {
        // What comes after an entry shows where it ends.
        let archive = tar(&[parts.concat(), file("last")]);
        let found = shorts(&archive);
        let (last, found) = found.split_last().unwrap();
        assert_eq!(found, wanted, "{what}");
        assert_eq!(last, "last 42", "{what}");
        check_with_gnu_tar(what, &archive);
    }
}

#[test]
fn of_two_pax_headers_the_second_counts() {
    check(vec![
        (
            "another key",
            vec![pax(&[("path", "first")]), pax(&[("mtime", "1")]), file("short")],
            &["short 42"],
        ),
        (
            "the same",
            vec![pax(&[("path", "first")]), pax(&[("path", "second")]), file("short")],
            &["second 42"],
        ),
        (
            "a size",
            vec![pax(&[("size", "42")]), pax(&[("mtime", "1")]), header("empty", 0, b'0', &[])],
            &["empty 0"],
        ),
        (
            "sparse records",
            vec![
                pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")]),
                pax(&[("path", "second")]),
                file("short"),
            ],
            &["second 42"],
        ),
        ("two long names", vec![long(b'L', "first"), long(b'L', "second"), file("short")], &["second 42"]),
        (
            "a long name between",
            vec![pax(&[("mtime", "1")]), long(b'L', "long"), file("short")],
            &["long 42"],
        ),
    ]);
}

#[test]
fn an_empty_pax_value_takes_the_key_away() {
    for key in ["size", "uid", "gid", "mtime", "comment"] {
        check(vec![("one", vec![pax(&[(key, "")]), file("a")], &["a 42"])]);
    }
    check(vec![
        ("after a value", vec![pax(&[("size", "42"), ("size", "")]), file("a")], &["a 42"]),
        // GNU tar takes it for the name, and fails.
        ("path", vec![pax(&[("path", "")]), file("a")], &["a or ?"]),
        ("path after a value", vec![pax(&[("path", "b"), ("path", "")]), file("a")], &["a or ?"]),
        ("linkpath", vec![pax(&[("linkpath", "")]), symlink("a")], &["a or a?"]),
        ("a long name", vec![long(b'L', ""), file("a")], &["a or ?"]),
    ]);
}

#[test]
fn numbers_of_nuls_are_zero_and_a_leading_nul_is_passed_over() {
    let nuls: &[u8] = &[0; 12];
    let numbers: &[(usize, &[u8])] = &[(100, &nuls[..8]), (108, &nuls[..8]), (116, &nuls[..8]), (136, nuls)];
    let label: &[(usize, &[u8])] =
        &[(257, &nuls[..8]), (100, &nuls[..8]), (124, nuls), (136, nuls), (329, &nuls[..8])];
    check(vec![
        ("size", vec![header("a", 0, b'0', &[(124, nuls)])], &["a 0"]),
        ("all others", vec![file_of("a", b'0', numbers)], &["a 42"]),
        ("a leading NUL", vec![file_of("a", b'0', &[(124, b"\x000000000052\0")])], &["a 42"]),
        ("leading blanks", vec![file_of("a", b'0', &[(124, b"         52\0")])], &["a 42"]),
        ("no NUL at the end", vec![file_of("a", b'0', &[(124, b"000000000052")])], &["a 42"]),
        ("base 256", vec![file_of("a", b'0', &[(124, b"\x80\0\0\0\0\0\0\0\0\0\0\x2a")])], &["a 42"]),
        ("a volume label", vec![header("label", 0, b'V', label)], &["label nothing"]),
        (
            "checksum with a leading NUL",
            vec![with_checksum("a", |sum| format!("\0{sum:06o}\0").into_bytes())],
            &["a 42"],
        ),
        (
            "checksum with blanks",
            vec![with_checksum("a", |sum| format!("{sum:>6o}\0 ").into_bytes())],
            &["a 42"],
        ),
        (
            "checksum of signed bytes",
            vec![with_checksum("\u{e9}", |sum| format!("{:06o}\0 ", sum - 2 * 256).into_bytes())],
            &["\u{e9} 42"],
        ),
    ]);
}

#[test]
fn where_gnu_tar_finds_another_name_neither_is_used() {
    let both = |first: Vec<u8>, second: Vec<u8>| vec![first, second, file("short")];
    let (record, name) = (|| pax(&[("path", "pax")]), || long(b'L', "gnu"));
    check(vec![
        ("both extensions", both(record(), name()), &["gnu or pax?"]),
        ("in the other order", both(name(), record()), &["gnu or pax?"]),
        ("of one name", both(long(b'L', "pax"), record()), &["pax 42"]),
        (
            "both targets",
            vec![pax(&[("linkpath", "pax")]), long(b'K', "gnu"), symlink("link")],
            &["link or link?"],
        ),
        ("a record, then a global header", both(record(), global(&[("comment", "")])), &["short or pax?"]),
        ("a long name, then a global header", both(name(), global(&[("comment", "")])), &["short or gnu?"]),
        (
            "Solaris' header",
            vec![pax_of(b'X', &[("path", "solaris")]), file("short")],
            &["pax nothing", "short or solaris?"],
        ),
        (
            "Solaris' header of nothing",
            vec![pax_of(b'X', &[("mtime", "1")]), file("short")],
            &["pax nothing", "short 42"],
        ),
        ("a NUL", vec![pax(&[("path", "dir/a\0b")]), file("short")], &["dir/a\0b or dir/a?"]),
        ("a NUL in a target", vec![pax(&[("linkpath", "a\0b")]), symlink("link")], &["link or link?"]),
        (
            "the prefix of old Go",
            vec![file_of("a", b'0', &[(257, GNU), (345, b"prefix")])],
            &["prefix/a or a?"],
        ),
        (
            "a name of sparse files alone",
            vec![pax(&[("GNU.sparse.name", "pax")]), file("short")],
            &["short or pax?"],
        ),
        ("a climbing path", vec![file("a/../b")], &["a/../b or b?"]),
        ("a path out of the tree", vec![file("../b")], &["../b or b?"]),
    ]);
}

#[test]
fn a_global_header_counts_for_gnu_tar_alone() {
    let archive = |records: &[(&str, &str)]| tar(&[global(records), file("a"), file("b")]);
    assert_eq!(shorts(&archive(&[("path", "global")])), ["a or global?", "b or global?"]);
    assert_eq!(shorts_of_go(&archive(&[("path", "global")])), ["a 42", "b 42"]);
    assert_eq!(shorts(&archive(&[("size", "7")])), ["a???", "b???"]);
    assert_eq!(shorts(&archive(&[("GNU.sparse.realsize", "7")])), ["a???", "b???"]);
    for records in [&[("comment", "c"), ("mtime", "7"), ("uid", "7")][..], &[("size", "42")], &[("size", "")]]
    {
        let archive = archive(records);
        assert_eq!(shorts(&archive), ["a 42", "b 42"], "{records:?}");
        check_with_gnu_tar("global", &archive);
    }
    let archive = tar(&[global(&[("path", "global")]), global(&[("path", "")]), file("a")]);
    assert_eq!(shorts(&archive), ["a or ?"]);
}

#[test]
fn where_the_tools_take_other_bytes_nothing_is_agreed() {
    let disputed: Vec<(&str, Vec<u8>)> = vec![
        ("two NULs before the size", file_of("a", b'0', &[(124, b"\0\x00000000052\0")])),
        ("a file with content and the name of a directory", file("a/")),
        ("a size with a sign", [pax(&[("size", "+7")]), file("a")].concat()),
        ("three names", [long(b'L', "a/../b"), pax(&[("path", "c")]), file("a")].concat()),
        ("a directory under one name", [long(b'L', "a"), pax(&[("path", "b/")]), file("c")].concat()),
        ("a size that is taken away", [pax(&[("size", "7"), ("size", "")]), file("a")].concat()),
        ("a size that only sparse files have", [pax(&[("GNU.sparse.realsize", "42")]), file("a")].concat()),
        ("an unknown version of sparse files", [pax(&[("GNU.sparse.major", "2")]), file("a")].concat()),
        ("a link with a sparse map", [pax(&[("GNU.sparse.map", "0,1")]), symlink("a")].concat()),
        ("an old sparse header in another format", header("a", 0, b'S', &[])),
        ("two NULs before the checksum", with_checksum("a", |sum| format!("\0\0{sum:06o}").into_bytes())),
        (
            "two NULs before the size of a long name",
            [header("././@LongLink", 2, b'L', &[(124, b"\0\x00000000002\0")]), padded(b"b"), file("a")]
                .concat(),
        ),
    ];
    for (what, part) in disputed {
        let found = shorts(&tar(&[part, file("last")]));
        assert!(found[0].ends_with("???"), "{what}: {found:?}");
        assert_eq!(found[1..], ["last 42"], "{what}");
    }
}

#[test]
fn types_are_those_that_both_tools_know() {
    let gnu: &[(usize, &[u8])] = &[(257, GNU)];
    let v7: &[(usize, &[u8])] = &[(257, &[0; 8])];
    check(vec![
        ("contiguous", vec![file_of("a", b'7', &[])], &["a 42"]),
        ("of old", vec![file_of("a", 0, v7)], &["a 42"]),
        ("a directory of old", vec![header("a/", 0, 0, v7)], &["a/ directory"]),
        ("a directory of old, with a size", vec![header("a/", 42, 0, v7)], &["a/ directory"]),
        ("a file whose name ends in a slash", vec![header("a/", 0, b'0', &[])], &["a/ 0"]),
        ("a label with data", vec![file_of("a", b'V', gnu)], &["a nothing"]),
        ("of another volume", vec![file_of("a", b'M', gnu)], &["a nothing"]),
        ("old long names", vec![file_of("a", b'N', gnu)], &["a or a?"]),
        ("an incremental directory", vec![file_of("a", b'D', gnu)], &["a or a?"]),
        ("unknown", vec![file_of("a", b'Z', gnu)], &["a or a?"]),
        ("a directory without a size", vec![header("a", 0, b'5', &[(124, &[b' '; 12])])], &["a or a?"]),
        ("a prefix without a version", vec![file_of("a", b'0', &[(263, b"  "), (345, b"p")])], &["p/a 42"]),
        ("star", vec![file_of("a", b'0', &[(345, b"p"), (508, b"tar\0")])], &["p/a 42"]),
        ("a prefix of V7", vec![file_of("a", 0, &[(257, &[0; 8]), (345, b"p")])], &["a 42"]),
        ("a backslash", vec![file_of("a\\b", b'0', &[])], &["a\\b 42"]),
        ("a character set", vec![pax(&[("hdrcharset", "BINARY"), ("path", "b")]), file("a")], &["b 42"]),
    ]);
}

#[test]
fn links_and_directories_have_no_data_whatever_their_size() {
    for (flag, wanted) in
        [(b'1', "link = a"), (b'2', "link -> a"), (b'5', "link directory"), (b'6', "link other")]
    {
        let entry = |size| header("link", size, flag, &[(157, b"a")]);
        for part in [entry(42), [pax(&[("size", "42")]), entry(0)].concat()] {
            let archive = tar(&[file("a"), part, file("last")]);
            assert_eq!(shorts(&archive), ["a 42", wanted, "last 42"], "{}", char::from(flag));
            check_with_gnu_tar("links", &archive);
        }
    }
    // It is no number for Go, and GNU tar does not look at it.
    let archive = tar(&[file("a"), header("link", 0, b'1', &[(157, b"a"), (124, b"zzzz")])]);
    assert_eq!(shorts(&archive), ["a 42", "link = a"]);
}
