//! Layers as a root file system: as GNU tar has it, and never elsewhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::process::Command;

use fixtures::{Ending, HeaderFormat, LayerBuilder, Sparse, SparseFormat};
use rootfs::Error;
use rootfs::LeftOut;
use support::kinds;
use support::listing::{assert_same, listing};
use support::unpacked::{contents, empty_dir, layer, unpack};
use tempfile::TempDir;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn one_layer_as_gnu_tar_has_it() {
    if !is_root() {
        return;
    }
    let (ours, theirs) = (empty_dir(), empty_dir());
    let layer = kinds::first_for_tar();
    assert_eq!(unpack(ours.path(), std::slice::from_ref(&layer)).unwrap(), LeftOut::default());
    let archive = empty_dir();
    let file = archive.path().join("layer.tar");
    fs::write(&file, &layer).unwrap();
    let extracted = Command::new("tar")
        .args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", "-xpf"])
        .arg(&file)
        .arg("-C")
        .arg(theirs.path())
        .status()
        .unwrap();
    assert!(extracted.success());
    let (ours, theirs) = (listing(ours.path()), listing(theirs.path()));
    assert!(ours.len() > 40, "{ours:#?}");
    assert_same(&ours, &theirs);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let lower = layer(|lower| {
        lower.dir("dir").file("dir/x", "1").file("file", "1").symlink("link", "dir").file("way", "1");
        lower.symlink("lib", "usr/lib").symlink("abs", "/usr/lib").symlink("up", "../../../usr");
        lower.file("twice", "1").file("twice", "2")
    });
    let upper = layer(|upper| {
        upper.file("dir", "2").dir("file").file("file/x", "2").dir("link").file("way/x", "2");
        // The target of the link is made on the way.
        upper.file("lib/a", "2").file("abs/b", "2").file("up/c", "2")
    });
    let dir = empty_dir();
    unpack(dir.path(), &[lower, upper]).unwrap();
    assert_eq!(
        contents(dir.path()),
        [
            "abs->/usr/lib",
            "dir=2",
            "file/",
            "file/x=2",
            "lib->usr/lib",
            "link/",
            "twice=2",
            "up->../../../usr",
            "usr/",
            "usr/c=2",
            "usr/lib/",
            "usr/lib/a=2",
            "usr/lib/b=2",
            "way/",
            "way/x=2",
        ]
    );
}

#[test]
fn hard_links_do_not_share_what_replaces_one_of_them() {
    let lower = layer(|lower| lower.file("a", "1").symlink("s", "a").dir("d"));
    let upper = layer(|upper| {
        upper.hardlink("b", "a").hardlink("d/c", "/b").hardlink("t", "s").file("a", "2");
        // To itself, and again: nothing is lost.
        upper.hardlink("b", "b").hardlink("d/c", "b")
    });
    let dir = empty_dir();
    unpack(dir.path(), &[lower, upper]).unwrap();
    assert_eq!(contents(dir.path()), ["a=2", "b=1", "d/", "d/c=1", "s->a", "t->a"]);
    assert_eq!(fs::metadata(dir.path().join("b")).unwrap().nlink(), 2);
}

#[test]
fn times_and_modes_of_directories_outlast_what_is_added_to_them() {
    let lower = layer(|lower| lower.mode(0o555).mtime(1000).dir("ro").file("ro/x", "1").mtime(2000).dir(""));
    let upper = layer(|upper| upper.file("ro/y", "2").whiteout("ro/x"));
    let dir = empty_dir();
    unpack(dir.path(), &[lower, upper]).unwrap();
    let metadata = fs::metadata(dir.path().join("ro")).unwrap();
    assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (0o555, 1000));
    assert_eq!(fs::metadata(dir.path()).unwrap().mtime(), 2000);
    assert_eq!(contents(dir.path()), ["ro/", "ro/y=2"]);
}

#[test]
fn the_entry_of_a_directory_says_all_of_it() {
    let lower =
        layer(|lower| lower.pax_record("SCHILY.xattr.user.a", "1").mode(0o700).dir("d").file("d/x", "1"));
    let upper = layer(|upper| upper.pax_record("SCHILY.xattr.user.b", "2").mtime(5).dir("d"));
    let dir = empty_dir();
    if unpack(dir.path(), &[lower, upper]).unwrap() == LeftOut::default() {
        let line = &listing(dir.path())["d"];
        assert!(line.ends_with("mtime=5.000000000 user.b=2") && line.starts_with("40755"), "{line}");
    }
}

/// The files beside the tree, which must stay as they are.
struct Outside {
    dir: TempDir,
}

impl Outside {
    fn new() -> Self {
        let dir = empty_dir();
        fs::create_dir_all(dir.path().join("outside/dir")).unwrap();
        fs::write(dir.path().join("outside/file"), "outside").unwrap();
        fs::write(dir.path().join("outside/dir/x"), "outside").unwrap();
        symlink("file", dir.path().join("outside/link")).unwrap();
        fs::DirBuilder::new().mode(0o700).create(dir.path().join("tree")).unwrap();
        Self { dir }
    }

    fn absolute(&self) -> String {
        self.dir.path().join("outside").to_str().unwrap().to_owned()
    }
}

type Build = for<'l> fn(&'l mut LayerBuilder, &str) -> &'l mut LayerBuilder;

#[test]
fn nothing_outside_changes() {
    let through_links: &[Build] = &[
        |layer, out| layer.symlink("d", out).file("d/file", "hostile"),
        |layer, _| layer.symlink("d", "../outside").file("d/file", "hostile").mode(0o777).dir("d/dir"),
        |layer, out| layer.symlink("f", format!("{out}/file")).file("f", "hostile"),
        |layer, out| layer.symlink("f", format!("{out}/file")).mode(0o4777).owner(7, 7).fifo("f"),
        |layer, out| layer.symlink("d", out).mode(0o777).owner(7, 7).mtime(1).dir("d"),
        |layer, out| layer.symlink("a", "b").symlink("b", out).file("a/dir/x", "hostile"),
        |layer, _| layer.symlink("a", "/proc/self/cwd").file("a/x", "hostile"),
        |layer, _| layer.symlink("a", "/../../../..").symlink("b", "a/tmp").file("b/x", "hostile"),
        |layer, out| layer.symlink("d", out).symlink("d/link", "hostile").dir("d/dir").fifo("d/file"),
        |layer, out| layer.pax_record("SCHILY.xattr.user.x", "hostile").symlink("f", format!("{out}/file")),
        |layer, out| layer.file(format!("{out}/file"), "hostile"),
        |layer, out| layer.symlink("d", out).symlink("s", "d/file").hardlink("h", "s").file("h", "hostile"),
    ];
    for (index, build) in through_links.iter().enumerate() {
        let outside = Outside::new();
        let before = listing(&outside.dir.path().join("outside"));
        let tree = outside.dir.path().join("tree");
        let first = layer(|layer| build(layer, &outside.absolute()));
        // Once in one layer, and once with the links in a lower one, whiteouts on the way.
        unpack(&tree, std::slice::from_ref(&first)).unwrap_or_else(|error| panic!("{index}: {error}"));
        let again = outside.dir.path().join("again");
        fs::create_dir(&again).unwrap();
        let hide = layer(|layer| {
            layer.whiteout("d/file").opaque("d").whiteout("a/dir/x").whiteout("f").opaque("a").opaque("d/dir")
        });
        unpack(&again, &[first.clone(), hide, first]).unwrap_or_else(|error| panic!("{index}: {error}"));
        assert_same(&listing(&outside.dir.path().join("outside")), &before);
        let there: Vec<_> = fs::read_dir(outside.dir.path()).unwrap().collect();
        assert_eq!(there.len(), 3, "{index}: {there:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused: &[Build] = &[
        |layer, _| layer.file("../outside/file", "hostile"),
        |layer, _| layer.dir("a").file("a/../../outside/file", "hostile"),
        |layer, _| layer.dir(".."),
        |layer, _| layer.file(".", "a file as the root"),
        |layer, _| layer.symlink("/", "outside"),
        |layer, _| layer.hardlink("h", "../outside/file"),
        |layer, out| layer.hardlink("h", format!("{out}/file")),
        |layer, out| layer.symlink("d", out).hardlink("h", "d/file"),
        |layer, _| layer.hardlink("h", "missing"),
        |layer, _| layer.dir("d").hardlink("h", "d"),
        |layer, _| layer.file(".wh.", ""),
        |layer, _| layer.dir("d").file("d/.wh..", ""),
        |layer, _| layer.dir("d").file("d/.wh...", ""),
        |layer, _| layer.symlink("a", "b").symlink("b", "a").file("a/x", "in a loop"),
        |layer, _| layer.file("a/".repeat(300) + "x", "too deep"),
        |layer, _| layer.file("a/".repeat(2100) + "x", "too long"),
        |layer, _| layer.pax_record("path", "a\0b").file("a", "a NUL"),
        |layer, _| layer.file("n".repeat(300), "a long name"),
        |layer, _| layer.pax_record("uid", "many").file("a", "no number"),
        |layer, _| layer.pax_record("gid", "9223372036854775808").file("a", "too large for any system"),
        |layer, _| layer.pax_record("mtime", "soon").file("a", ""),
        |layer, _| layer.pax_record("GNU.sparse.map", "0,5").file("a", "12345"),
        |layer, _| {
            let records =
                [("GNU.sparse.size", "9"), ("GNU.sparse.map", "0,3,2,2"), ("GNU.sparse.numblocks", "2")];
            for (key, value) in records {
                layer.pax_record(key, value);
            }
            layer.file("overlapping", "12345")
        },
        |layer, _| {
            let records =
                [("GNU.sparse.size", "4"), ("GNU.sparse.map", "0,5"), ("GNU.sparse.numblocks", "1")];
            for (key, value) in records {
                layer.pax_record(key, value);
            }
            layer.file("longer-than-it-is", "12345")
        },
        |layer, _| {
            let records =
                [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9")];
            for (key, value) in records {
                layer.pax_record(key, value);
            }
            layer.file("a", format!("99999999999\n{:0600}", 0))
        },
    ];
    for (index, build) in refused.iter().enumerate() {
        let outside = Outside::new();
        let before = listing(&outside.dir.path().join("outside"));
        let bytes = layer(|layer| build(layer, &outside.absolute()));
        let error = unpack(&outside.dir.path().join("tree"), &[bytes]).map(|_| index).unwrap_err();
        let is_refused = matches!(error, Error::Malformed { .. } | Error::Io { .. } | Error::Layer(_));
        assert!(is_refused, "{index}: {error:?}");
        assert_same(&listing(&outside.dir.path().join("outside")), &before);
    }
}

#[test]
fn deep_trees_and_many_links_end() {
    // Each layer goes as deep again by a link to where the one before it ended.
    let mut layers = Vec::new();
    let deep = "d/".repeat(100);
    for level in 0..4 {
        layers.push(layer(|layer| {
            layer.symlink("bottom", deep.repeat(level)).file(format!("bottom/{deep}x"), "deep")
        }));
    }
    let dir = empty_dir();
    let error = unpack(dir.path(), &layers).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
}

#[test]
fn sparse_files_have_holes() {
    let sparse = Sparse { size: 1 << 40, segments: vec![(1 << 20, vec![7; 512])] };
    for format in [SparseFormat::OldGnu, SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10] {
        let dir = empty_dir();
        unpack(dir.path(), &[layer(|layer| layer.sparse("sparse", format, &sparse))]).unwrap();
        let metadata = fs::metadata(dir.path().join("sparse")).unwrap();
        assert_eq!(metadata.len(), 1 << 40, "{format:?}");
        assert!(metadata.blocks() < 1000, "{format:?}");
    }
}

#[test]
fn v7_directories_and_unknown_types() {
    let mut builder = LayerBuilder::new();
    builder.format(HeaderFormat::V7).dir("d").file("d/x", "1").format(HeaderFormat::Gnu);
    let mut bytes = builder.file("volume", "").file("y", "2").finish(Ending::Normal);
    // The third header becomes that of a volume label, which is no file.
    let header = &mut bytes[512 * 3..512 * 4];
    assert_eq!(&header[..6], b"volume");
    header[156] = b'V';
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let dir = empty_dir();
    let left_out = unpack(dir.path(), &[bytes]).unwrap();
    assert_eq!(left_out, LeftOut { unknown: 1, ..LeftOut::default() });
    assert_eq!(contents(dir.path()), ["d/", "d/x=1", "y=2"]);
}

/// The extension headers of a layer's first entry, without the entry itself.
fn extensions_of(build: impl FnOnce(&mut LayerBuilder) -> &mut LayerBuilder) -> Vec<u8> {
    layer(build)[..1024].to_vec()
}

#[test]
fn headers_that_tools_read_differently_are_read_as_podman_reads_them() {
    let long = "gnu/".repeat(30);
    let name = extensions_of(|layer| layer.format(HeaderFormat::Gnu).file(format!("{long}x"), ""));
    let record = extensions_of(|layer| layer.pax_record("path", "pax").file("a", ""));
    let dir = empty_dir();
    let bytes = layer(|layer| {
        // Two PAX headers in a row: the first one is lost.
        layer.raw(&record).pax_record("mtime", "1").file("second", "1");
        layer.raw(&record).raw(&name).file("both", "1");
        // For Go, a global header stands between.
        layer.raw(&record).pax_global(&[("path", b"global"), ("uid", b"7")]).file("single", "1");
        layer.file("file-with-a-slash/", "1");
        layer.pax_record("uid", "").pax_record("gid", "").pax_record("mtime", "").pax_record("size", "");
        layer.file("empty-values", "1")
    });
    assert_eq!(unpack(dir.path(), &[bytes]).unwrap(), LeftOut::default());
    let there = contents(dir.path());
    let files: Vec<&str> = there.iter().filter(|line| !line.ends_with('/')).map(String::as_str).collect();
    let both = format!("{long}x=1");
    assert_eq!(files, ["empty-values=1", "file-with-a-slash=1", &both, "second=1", "single=1"]);
    assert_eq!(fs::metadata(dir.path().join("single")).unwrap().uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn owners_that_do_not_fit_are_cut_and_sparse_files_may_be_one_hole() {
    let dir = empty_dir();
    let bytes = layer(|layer| {
        layer.pax_record("uid", "4294967301").pax_record("gid", "-2").file("cut", "");
        layer.pax_record("uid", "4294967295").pax_record("gid", "-1").file("unchanged", "");
        layer.pax_record("GNU.sparse.major", "0").pax_record("GNU.sparse.minor", "1");
        layer.pax_record("GNU.sparse.numblocks", "0").pax_record("GNU.sparse.size", "5000").file("hole", "")
    });
    unpack(dir.path(), &[bytes]).unwrap();
    assert_eq!(fs::read(dir.path().join("hole")).unwrap(), [0; 5000]);
    if is_root() {
        let owner = |name| fs::metadata(dir.path().join(name)).map(|file| (file.uid(), file.gid())).unwrap();
        assert_eq!((owner("cut"), owner("unchanged")), ((5, 0xffff_fffe), (0, 0)));
    }
}

#[test]
fn directories_without_entries_are_bounded_by_the_entries() {
    let deep = "d/".repeat(100);
    let refused = layer(|layer| (0..700).fold(layer, |layer, number| layer.dir(format!("{number}/{deep}"))));
    let dir = empty_dir();
    let error = unpack(dir.path(), &[refused]).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    assert!(error.to_string().contains("through so many directories"), "{error}");
    // Each layer has a bound of its own.
    let fine = |from: u32| {
        layer(|layer| (from..from + 400).fold(layer, |layer, number| layer.dir(format!("{number}/{deep}"))))
    };
    unpack(empty_dir().path(), &[fine(0), fine(400)]).unwrap();
}

#[test]
fn links_that_lead_through_directories_without_end_are_bounded_by_the_entries() {
    let back_and_forth = "d/../".repeat(400);
    let chain = |count: usize| {
        layer(|layer| {
            let layer = (1..=20).fold(layer.dir("d").symlink("l0", "d"), |layer, number| {
                layer.symlink(format!("l{number}"), format!("{back_and_forth}l{}", number - 1))
            });
            (0..count).fold(layer, |layer, number| layer.symlink(format!("l20/{number}"), "x"))
        })
    };
    unpack(empty_dir().path(), &[chain(10)]).unwrap();
    let error = unpack(empty_dir().path(), &[chain(100)]).unwrap_err();
    assert!(error.to_string().contains("through so many directories"), "{error}");
}
