//! Whiteouts in the layers of a tree, and what aufs left in them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use fixtures::LayerBuilder;
use rootfs::Error;
use support::unpacked::{contents, empty_dir, layer, unpack};

type Build = for<'l> fn(&'l mut LayerBuilder) -> &'l mut LayerBuilder;

#[test]
fn whiteouts_hide_lower_layers_only() {
    let lower = layer(|lower| {
        lower.file("a/x", "1").file("a/y", "1").file("b/x", "1").file("c", "1").dir("d/e").file("d/e/f", "1");
        lower.symlink("link", "a").file("keep", "1")
    });
    let upper = layer(|upper| {
        // In either order, what the layer itself brings stays.
        upper.file("a/new", "2").opaque("a").whiteout("b/x").file("b/x", "2").file("c", "2").whiteout("c");
        upper.whiteout("d").file("d/g", "2").whiteout("nothing").whiteout("no/where").whiteout("keep/x");
        upper.file(".wh..wh.plnk/1.2", "aufs").file(".wh..wh.aufs", "")
    });
    let dir = empty_dir();
    unpack(dir.path(), &[lower.clone(), upper]).unwrap();
    assert_eq!(
        contents(dir.path()),
        ["a/", "a/new=2", "b/", "b/x=2", "c=2", "d/", "d/g=2", "keep=1", "link->a"]
    );
    // Through a link of a lower layer, and of all there is.
    let dir = empty_dir();
    unpack(dir.path(), &[lower.clone(), layer(|upper| upper.whiteout("link/x"))]).unwrap();
    assert!(!dir.path().join("a/x").exists() && dir.path().join("a/y").exists());
    let dir = empty_dir();
    unpack(dir.path(), &[lower, layer(|upper| upper.file("new", "2").file(".wh..wh..opq", ""))]).unwrap();
    assert_eq!(contents(dir.path()), ["new=2"]);
}

#[test]
fn whiteouts_do_not_follow_a_link_that_their_layer_replaces() {
    let lower = layer(|lower| {
        lower
            .file("run/lock", "1")
            .symlink("var/run", "../run")
            .symlink("var/again", "run")
            .symlink("other", "var");
        lower.hardlink("hard", "var/again").hardlink("lib/run", "var/run")
    });
    let replaced: &[Build] = &[
        |upper| upper.dir("var/run").opaque("var/run").file("var/run/pid", "2"),
        |upper| upper.dir("var/run").whiteout("var/run/lock").file("var/run/pid", "2"),
        |upper| {
            upper.file("var/run/pid", "2").whiteout("var/run/lock").dir("var/run").file("var/run/pid", "2")
        },
        |upper| upper.opaque("var/run").dir("var/run").file("var/run/pid", "2"),
        |upper| upper.whiteout("var/run").file("var/run/pid", "2").whiteout("var/run/lock"),
        |upper| upper.dir("var/again").whiteout("var/again/lock").dir("hard").opaque("hard"),
        |upper| upper.dir("other").opaque("other").opaque("other/run").whiteout("other/run/lock"),
        |upper| upper.symlink("var/run", "nowhere").whiteout("var/run/lock").opaque("var/run"),
        |upper| upper.file("var/run", "2").whiteout("var/run/lock").opaque("var/run"),
        |upper| upper.whiteout("lib/run/lock").dir("lib/run"),
    ];
    for (index, build) in replaced.iter().enumerate() {
        let dir = empty_dir();
        unpack(dir.path(), &[lower.clone(), layer(|upper| build(upper))]).unwrap();
        let there = contents(dir.path());
        assert!(there.contains(&"run/lock=1".to_owned()), "{index}: {there:?}");
        if index < 5 {
            assert!(there.contains(&"var/run/pid=2".to_owned()), "{index}: {there:?}");
        }
    }
}

#[test]
fn an_opaque_whiteout_in_a_link_hides_nothing() {
    let lower = layer(|lower| lower.file("a/x", "1").file("a/b/y", "1").symlink("s", "a").symlink("t", "s"));
    for (path, left) in [("s", ["a/x=1", "a/b/y=1"]), ("t", ["a/x=1", "a/b/y=1"])] {
        let dir = empty_dir();
        unpack(dir.path(), &[lower.clone(), layer(|upper| upper.opaque(path))]).unwrap();
        let there = contents(dir.path());
        assert!(left.iter().all(|left| there.contains(&(*left).to_owned())), "{path}: {there:?}");
    }
    // A directory that is reached through a link is one.
    let dir = empty_dir();
    unpack(dir.path(), &[lower, layer(|upper| upper.opaque("s/b"))]).unwrap();
    assert!(!dir.path().join("a/b/y").exists() && dir.path().join("a/x").exists());
}

#[test]
fn whiteouts_leave_what_their_own_layer_has_below() {
    let lower =
        layer(|lower| lower.mode(0o700).mtime(5).dir("d").file("d/x", "1").file("d/e/y", "1").file("f", "1"));
    let upper = layer(|upper| {
        upper.file("d/e/new", "2").hardlink("g", "f").hardlink("d/h", "d/x").whiteout("d").whiteout("f")
    });
    let dir = empty_dir();
    unpack(dir.path(), &[lower.clone(), upper]).unwrap();
    assert_eq!(contents(dir.path()), ["d/", "d/e/", "d/e/new=2", "d/h=1", "g=1"]);
    // The directory is another one than the hidden one.
    let metadata = fs::metadata(dir.path().join("d")).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o755);
    let dir = empty_dir();
    let upper = layer(|upper| upper.mode(0o711).dir("d").file("d/e/new", "2").whiteout("d").opaque("d/e"));
    unpack(dir.path(), &[lower, upper]).unwrap();
    assert_eq!(contents(dir.path()), ["d/", "d/e/", "d/e/new=2", "f=1"]);
    assert_eq!(fs::metadata(dir.path().join("d")).unwrap().mode() & 0o7777, 0o711);
}

#[test]
fn files_of_aufs_are_what_is_linked_to_them() {
    let of_aufs = layer(|layer| {
        layer
            .dir(".wh..wh.plnk")
            .file(".wh..wh.plnk/1.2", "linked")
            .file(".wh..wh.aufs", "")
            .dir(".wh..wh.orph");
        layer.hardlink("a", ".wh..wh.plnk/1.2").hardlink("d/b", "/.wh..wh.plnk/1.2").file("d/.wh..wh.x", "")
    });
    let dir = empty_dir();
    unpack(dir.path(), std::slice::from_ref(&of_aufs)).unwrap();
    assert_eq!(contents(dir.path()), ["a=linked", "d/", "d/b=linked"]);
    let error =
        unpack(empty_dir().path(), &[layer(|layer| layer.hardlink("a", ".wh..wh.plnk/3"))]).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    // Those of a lower layer are gone.
    let upper = layer(|layer| layer.hardlink("c", ".wh..wh.plnk/1.2"));
    assert!(unpack(empty_dir().path(), &[of_aufs, upper]).is_err());
}
