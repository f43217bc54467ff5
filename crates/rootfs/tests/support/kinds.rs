//! An image with files of every kind, and with every way in which a layer changes lower ones.

use fixtures::{Ending, HeaderFormat, LayerBuilder, Sparse, SparseFormat};

/// A capability set with a line end in it: version 2, `cap_dac_override` and `cap_fowner`, effective.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Directories whose times are not given: no layer has an entry for them. That of the root is podman's.
pub(crate) const IMPLIED: &[&str] = &[".", "srv", "srv/deep", "srv/deep/er", "implied"];

/// Files of every kind.
pub(crate) fn first() -> Vec<u8> {
    first_of(false)
}

/// The same, and what podman refuses: GNU tar's own form of sparse files, contiguous files, two
/// entries of one name; and what it keeps differently: a time before 1970, hard-linked symlinks.
pub(crate) fn first_for_tar() -> Vec<u8> {
    first_of(true)
}

fn first_of(is_for_tar: bool) -> Vec<u8> {
    let mut layer = LayerBuilder::new();
    layer.mode(0o755).mtime(1_700_000_000).dir("./");
    for dir in
        ["etc", "usr", "usr/bin", "usr/lib", "dev", "replaced", "replaced/below", "opaque", "opaque/sub"]
    {
        layer.mtime(1_700_000_001).dir(dir);
    }
    layer
        .symlink("lib", "usr/lib")
        .symlink("dangling", "/nowhere/at/all")
        .owner(5, 6)
        .symlink("owned-link", "etc");
    layer.mode(0o1777).dir("tmp").mode(0o2750).owner(1000, 1001).dir("shared");
    layer.mode(0o555).mtime(1_600_000_000).dir("read-only").mode(0o444).file("read-only/x", "in it");
    layer.mode(0o4755).file("usr/bin/su", "setuid").mode(0o2755).owner(0, 42).file("usr/bin/sg", "setgid");
    layer.mode(0o6711).owner(1000, 1000).file("usr/bin/both", "both").mode(0).file("etc/shadow", "secret");
    layer.owner(2_000_000, 3_000_000).file("etc/big-owner", "x").file("etc/empty", "");
    layer.pax_record("uid", "4000000000").pax_record("gid", "4000000001").file("etc/pax-owner", "x");
    layer.pax_record("mtime", "1234567890.123456789").file("etc/fraction", "x");
    layer.pax_record("SCHILY.xattr.user.a", "value").pax_record("SCHILY.xattr.user.lines", b"1\n2 x=y\n\0");
    layer.file("etc/attributes", "x");
    layer.pax_record("SCHILY.xattr.user.dir", "of a directory").mtime(1_700_000_002).dir("with-attributes");
    layer.pax_record("SCHILY.xattr.security.capability", CAPABILITY).owner(9, 9).file("usr/bin/ping", "ping");
    layer.fifo("dev/fifo").mode(0o666).char_device("dev/null", 1, 3).mode(0o660).owner(0, 6);
    layer.block_device("dev/loop", 7, 300);
    layer.file("usr/lib/a", "a").hardlink("usr/lib/b", "usr/lib/a").hardlink("usr/lib/c", "./usr/lib/b");
    let long = format!("etc/{}", "long-name/".repeat(12));
    for (end, _) in long.match_indices('/').skip(1) {
        layer.mtime(1_700_000_006).dir(&long[..end]);
    }
    layer.file(format!("{long}{}", "n".repeat(120)), "long");
    layer
        .symlink("long-link", "t".repeat(300))
        .hardlink("long-hard-link", format!("{long}{}", "n".repeat(120)));
    layer.file(b"etc/\xff\xfe not UTF-8\n", "x").file("etc/with space \\ and \"", "x");
    let sparse = Sparse::striped(1, 30);
    for (name, format) in [
        ("sparse/0.0", SparseFormat::Pax00),
        ("sparse/0.1", SparseFormat::Pax01),
        ("sparse/1.0", SparseFormat::Pax10),
    ] {
        layer.owner(3, 4).sparse(name, format, &sparse);
    }
    layer.sparse("sparse/hole", SparseFormat::Pax10, &Sparse { size: 100_000, segments: Vec::new() });
    layer.mtime(1_700_000_003).dir("sparse");
    layer
        .file("replaced/below/x", "1")
        .file("replaced-file", "1")
        .file("opaque/x", "1")
        .file("opaque/sub/y", "1");
    layer.file("gone", "1").dir("gone-dir").file("gone-dir/x", "1");
    layer.format(HeaderFormat::Gnu).file(format!("etc/{}", "g".repeat(150)), "gnu").base_256_size();
    layer.file("etc/base-256", "x");
    if is_for_tar {
        layer.owner(3, 4).sparse("sparse/gnu", SparseFormat::OldGnu, &sparse).contiguous("contiguous", "x");
        layer.owner(5, 6).hardlink("link-to-link", "owned-link");
        layer.pax_record("mtime", "-2.5").file("etc/before-1970", "x");
        layer.file("twice", "1").mode(0o600).file("twice", "2").mtime(1_700_000_004).dir("etc");
    }
    layer.finish(Ending::Normal)
}

/// Changes to them.
pub(crate) fn second() -> Vec<u8> {
    let mut layer = LayerBuilder::new();
    layer.mode(0o711).mtime(1_710_000_000).dir("./");
    // Times of directories that only get new files are kept by some and not by others.
    layer.mtime(1_710_000_001).dir("etc").mtime(1_710_000_002).dir("usr/lib").mode(0o700).dir("shared");
    layer
        .mtime(1_710_000_003)
        .dir("usr/bin")
        .mtime(1_710_000_004)
        .dir("dev")
        .mtime(1_710_000_004)
        .dir("sparse");
    layer.file("srv/deep/er/x", "no entries for the directories").file("lib/through-the-link", "x");
    layer
        .file("replaced", "a directory was here")
        .mtime(1_710_000_009)
        .dir("replaced-file")
        .file("replaced-file/x", "2");
    layer.whiteout("gone").whiteout("gone-dir").file("implied/x", "2").whiteout("dev/fifo");
    layer.mtime(1_710_000_005).dir("opaque").opaque("opaque").file("opaque/own", "2");
    layer.hardlink("usr/lib/d", "usr/lib/a").file("usr/lib/a", "2").hardlink("usr/lib/e", "lib/c");
    layer
        .mode(0o644)
        .owner(1, 1)
        .file("usr/bin/su", "no more")
        .mtime(1_710_000_006)
        .dir("lib2")
        .symlink("dangling", "lib2");
    layer.mode(0o500).mtime(1_710_000_007).dir("read-only").file("read-only/y", "2").whiteout("etc/shadow");
    layer.symlink("sparse/0.1", "0.0");
    layer.finish(Ending::Normal)
}
