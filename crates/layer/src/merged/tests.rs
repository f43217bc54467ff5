use super::*;
use crate::{Dispute, EntryKind};

fn entry(path: &str, kind: EntryKind, mode: u32, size: u64) -> Entry {
    Entry { path: path.as_bytes().into(), kind, mode, data: 0..size }
}

fn file(path: &str) -> Entry {
    entry(path, EntryKind::File, 0o644, 10)
}

fn link(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::HardLink(target.as_bytes().into()), 0o644, 0)
}

fn symlink(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Symlink(target.as_bytes().into()), 0o777, 0)
}

fn directory(path: &str) -> Entry {
    entry(path, EntryKind::Directory, 0o755, 0)
}

/// `path@layer` of each file that may be used.
fn names(layers: &[Vec<Entry>], options: &MergeOptions) -> Vec<String> {
    let tree = MergedTree::merge(layers, options);
    for file in tree.files() {
        assert_eq!(tree.find(&file.path), Some(file));
    }
    tree.files()
        .iter()
        .map(|file| format!("{}@{}", String::from_utf8_lossy(&file.path), file.layer))
        .collect()
}

#[test]
fn only_regular_readable_files_with_content_are_used() {
    let layer = vec![
        directory("./usr/"),
        file("./usr/bin/a"),
        entry("secret", EntryKind::File, 0o600, 10),
        entry("empty", EntryKind::File, 0o644, 0),
        entry("sparse", EntryKind::Sparse, 0o644, 10),
        entry("fifo", EntryKind::Other, 0o644, 0),
        file("../outside"),
        file("/absolute"),
        file(&"n".repeat(4096)),
    ];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["usr/bin/a@0", "absolute@0"]);
}

#[test]
fn a_later_entry_hides_an_earlier_one() {
    let lower = vec![file("a"), file("d/x"), file("d/y"), file("e/x"), file("f")];
    let upper = vec![file("a"), file("d"), symlink("e", "d"), directory("f"), file("f/z")];
    assert_eq!(names(&[lower, upper], &MergeOptions::default()), ["a@1", "d@1", "f/z@1"]);
    let twice = vec![file("a"), file("b"), file("a")];
    assert_eq!(names(&[twice], &MergeOptions::default()), ["b@0", "a@0"]);
}

#[test]
fn whiteouts_hide_lower_layers_only_when_asked() {
    let lower = vec![file("a/x"), file("a/y"), file("b/x"), file("c")];
    let upper = vec![file("a/z"), file("a/.wh.x"), file("b/new"), file("b/.wh..wh..opq"), file(".wh.c")];
    let layers = [lower, upper];
    let applied = MergeOptions::default().apply_whiteouts(true);
    assert_eq!(names(&layers, &applied), ["a/y@0", "a/z@1", "b/new@1"]);
    let plain = names(&layers, &MergeOptions::default());
    for name in ["a/x@0", "b/x@0", "c@0"] {
        assert!(plain.iter().any(|plain| plain == name), "{name}");
    }
}

#[test]
fn hard_links_are_more_names_of_one_file() {
    let layer = vec![file("objects/1"), link("usr/bin/x", "objects/1"), link("early", "late"), file("late")];
    assert_eq!(names(std::slice::from_ref(&layer), &MergeOptions::default()), ["objects/1@0", "late@0"]);
    let ignored = MergeOptions::default().ignored_prefixes(vec![b"objects/".to_vec()]);
    assert_eq!(names(std::slice::from_ref(&layer), &ignored), ["usr/bin/x@0", "late@0"]);
    let only = MergeOptions::default().source_prefixes(vec![b"usr/".to_vec()]);
    assert_eq!(names(std::slice::from_ref(&layer), &only), ["usr/bin/x@0"]);
    let tree = MergedTree::merge(&[layer], &MergeOptions::default());
    assert_eq!(tree.find(b"usr/bin/x").map(|file| &*file.path), Some(&b"objects/1"[..]));
}

#[test]
fn a_hard_linked_file_that_is_written_again_is_not_used() {
    let layer = vec![file("a"), link("b", "a"), file("a")];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["a@0"]);
}

#[test]
fn an_entry_behind_a_symlink_hides_both_names() {
    let layer = vec![file("usr/lib/x"), file("usr/lib/y"), symlink("lib", "usr/lib"), file("lib/x")];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["usr/lib/y@0"]);
    let absolute = vec![file("a/x"), symlink("s", "/t"), symlink("t", "../a"), file("s/x"), file("a/y")];
    assert_eq!(names(&[absolute], &MergeOptions::default()), ["a/y@0"]);
    let endless = vec![symlink("s", "s"), file("s/x"), file("a")];
    assert_eq!(names(&[endless], &MergeOptions::default()), ["a@0"]);
}

/// Names of the merged layers, whiteouts applied.
fn applied(layers: &[Vec<Entry>]) -> Vec<String> {
    names(layers, &MergeOptions::default().apply_whiteouts(true))
}

#[test]
fn a_hard_link_to_a_symlink_is_a_symlink() {
    let dir = || vec![file("dir/x"), file("dir/y"), symlink("s", "dir")];
    let through = |links: &[Entry], path: &str| {
        let layer = [&dir()[..], links, &[file(path)]].concat();
        let one = names(&[layer], &MergeOptions::default());
        let apart = [[&dir()[..], links].concat(), vec![file(path)]];
        assert_eq!(names(&apart, &MergeOptions::default()), one);
        assert_eq!(applied(&apart), one);
        one
    };
    assert_eq!(through(&[link("h", "s")], "h/x"), ["dir/y@0"]);
    assert_eq!(
        through(&[link("h", "s"), link("i", "h"), link("d/j", "/i")], "d/j/x"),
        ["dir/x@0", "dir/y@0"]
    );
    assert_eq!(
        through(&[symlink("up/s", "../dir"), link("h", "up/s"), link("up/i", "h")], "up/i/x"),
        ["dir/y@0"]
    );
    assert_eq!(through(&[symlink("a", "/dir"), link("h", "a")], "h/x"), ["dir/y@0"]);
    // A link that is named through a link.
    assert_eq!(
        through(&[symlink("dir/l", "."), link("h", "s/l"), link("dir/k", "h")], "dir/k/x"),
        ["dir/y@0"]
    );
}

#[test]
fn a_link_that_is_made_through_a_link_is_followed() {
    let layer = vec![
        file("etc/x"),
        file("etc/y"),
        symlink("a", "b"),
        directory("b"),
        // At `b/s`, or at `a/s` where `a` becomes a directory.
        symlink("a/s", "/etc"),
        file("b/s/x"),
    ];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["etc/y@0"]);
    let both = vec![
        file("etc/x"),
        file("b/y"),
        symlink("a", "b"),
        symlink("a/s", "/etc"),
        file("a/s/x"),
        file("b/z"),
    ];
    assert_eq!(names(&[both], &MergeOptions::default()), ["b/y@0", "b/z@0"]);
    let hard = vec![
        file("etc/x"),
        symlink("a", "b"),
        symlink("b/s", "/etc"),
        link("h", "a/s"),
        file("h/x"),
        file("z"),
    ];
    assert_eq!(names(&[hard], &MergeOptions::default()), ["z@0"]);
}

#[test]
fn a_file_among_the_directories_of_a_links_target_is_not_used() {
    let layer = vec![file("c"), file("d"), file("e"), symlink("a", "c/../d"), file("a/x")];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["e@0"]);
}

#[test]
fn a_directory_in_the_place_of_a_link_is_a_directory_again() {
    let lower = vec![file("run/lock"), symlink("var/run", "../run")];
    let upper = vec![directory("var/run"), file("var/run/pid"), file("var/run/.wh..wh..opq")];
    assert_eq!(applied(&[lower.clone(), upper.clone()]), ["run/lock@0", "var/run/pid@1"]);
    // The link is replaced later, or never: some extractions hide what it leads to.
    assert_eq!(applied(&[lower.clone(), vec![file("var/run/.wh.lock"), directory("var/run")]]), [""; 0]);
    assert_eq!(applied(&[lower.clone(), vec![file("var/run/.wh..wh..opq")]]), [""; 0]);
    assert_eq!(applied(&[lower, vec![file("var/run/.wh.pid")]]), ["run/lock@0"]);
}

#[test]
fn a_file_in_the_place_of_a_link_of_its_own_layer_is_not_used() {
    let layer = vec![symlink("s", "../x"), file("s"), file("y")];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["y@0"]);
    // Nor is what is linked to it then, or to any file: GNU tar may have made that the link.
    let layer = vec![
        link("before", "y"),
        symlink("s", "../x"),
        file("x/z"),
        file("z"),
        link("a", "z"),
        directory("s"),
        link("b", "z"),
        file("b/z"),
        file("s"),
    ];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["z@0"]);
    let layers = [vec![symlink("s", "../x")], vec![file("s"), link("h", "s")]];
    assert_eq!(names(&layers, &MergeOptions::default()), ["s@1"]);
    let merged = MergedTree::merge(&layers, &MergeOptions::default());
    assert_eq!(merged.names().count(), 2);
}

#[test]
fn a_name_that_may_be_many_links_hides_all_once_it_is_followed() {
    let mut layer = vec![file("x"), symlink("a", "b")];
    layer.extend((0..20).map(|index| symlink("a/s", &format!("/{index}"))));
    layer.push(file("b/t"));
    assert_eq!(names(std::slice::from_ref(&layer), &MergeOptions::default()), ["x@0", "b/t@0"]);
    layer.push(file("b/s/t"));
    assert_eq!(names(&[layer], &MergeOptions::default()), [""; 0]);
}

#[test]
fn paths_with_two_dots_hide_all_that_they_may_be() {
    let layer = vec![file("a/x"), file("b"), file("c"), file("a/../b"), file("../c"), file("d/e")];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["a/x@0", "d/e@0"]);
    let layer = vec![file("dir/x"), symlink("s", "dir"), link("h", "a/../s"), file("h/x"), file("dir/y")];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["dir/y@0"]);
}

#[test]
fn a_whiteout_leaves_the_other_names_of_a_file() {
    let lower = vec![file("etc/a"), link("lib/b", "etc/a"), file("etc/c"), link("lib/d", "etc/c")];
    let upper = vec![file("etc/.wh..wh..opq"), file("etc/a"), file("lib/.wh.d")];
    let layers = [lower, upper];
    assert_eq!(applied(&layers), ["lib/b@0", "etc/a@1"]);
    // Without whiteouts, a name of it is written again.
    let plain = names(&layers, &MergeOptions::default());
    assert!(!plain.contains(&"lib/b@0".to_owned()) && plain.contains(&"etc/c@0".to_owned()), "{plain:?}");
}

#[test]
fn what_a_layer_brings_and_hides_is_not_used() {
    let layer = vec![
        file("x"),
        file(".wh.x"),
        file(".wh.y"),
        file("y"),
        file("d/sub/x"),
        directory("e"),
        file("e/x"),
        file("d/x"),
        file("d/.wh..wh..opq"),
        file("e/.wh..wh..opq"),
        file("d/sub/y"),
    ];
    assert_eq!(applied(&[layer]), ["y@0", "e/x@0", "d/x@0", "d/sub/y@0"]);
}

#[test]
fn a_hidden_link_is_one_until_it_is_hidden() {
    let lower = vec![file("dir/x"), file("dir/y"), symlink("s", "dir")];
    let before = vec![file("s/x"), file(".wh.s"), file("s/y")];
    assert_eq!(applied(&[lower.clone(), before]), ["dir/y@0", "s/y@1"]);
    let linked = vec![link("h", "s"), file(".wh.s"), file("h/x")];
    assert_eq!(applied(&[lower, linked]), ["dir/y@0"]);
}

#[test]
fn files_of_aufs_have_the_names_that_are_linked_to_them() {
    let layer = vec![
        directory(".wh..wh.plnk"),
        file(".wh..wh.plnk/1.2"),
        link("a", ".wh..wh.plnk/1.2"),
        file(".wh..wh.aufs"),
        file("b"),
    ];
    assert_eq!(applied(std::slice::from_ref(&layer)), ["a@0", "b@0"]);
    assert_eq!(names(&[layer], &MergeOptions::default()), [".wh..wh.plnk/1.2@0", ".wh..wh.aufs@0", "b@0"]);
}

#[test]
fn whiteouts_of_directories_themselves_leave_no_source() {
    for name in [".wh.", "d/.wh..", "d/e/.wh..."] {
        assert_eq!(applied(&[vec![file("d/e/x"), file("y")], vec![file(name)]]), [""; 0], "{name}");
    }
}

#[test]
fn a_directory_entry_after_its_files_keeps_them() {
    let layer = vec![file("d/x"), directory("d"), file("e/x"), symlink("e/s", "../d"), directory("e")];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["d/x@0", "e/x@0"]);
}

/// The two ways to merge the same layers never have different files under one name.
#[test]
fn with_and_without_whiteouts_names_mean_the_same() {
    let mut both = 0;
    for seed in fixtures::seeds(500) {
        let (layers, _) =
            fixtures::tangled_layers(seed, fixtures::Tangle { is_image: true, repeats: seed % 2 == 0 });
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| {
                crate::Spool::read("layer".into(), layer.as_slice(), &crate::SpoolOptions::default())
            })
            .map(|spool| crate::entries(&spool.unwrap()).unwrap())
            .collect();
        let merge = |apply_whiteouts| {
            MergedTree::merge(&layers, &MergeOptions::default().apply_whiteouts(apply_whiteouts))
        };
        let (plain, applied) = (merge(false), merge(true));
        for (name, file) in applied.names() {
            if let Some(other) = plain.find(name) {
                assert_eq!((other.layer, &other.data), (file.layer, &file.data), "seed {seed}");
                both += 1;
            }
        }
    }
    assert!(both > 500, "{both}");
}

#[test]
fn paths_that_no_system_opens_take_no_time() {
    let long = "a/".repeat(500_000);
    let layer = vec![symlink("l", "x"), file(&format!("{long}b")), symlink("s", &long), file("c")];
    // Going through their components for each look-up would take hours.
    assert_eq!(names(&[layer], &MergeOptions::default()), ["c@0"]);
}

#[test]
fn long_chains_of_symlinks_end() {
    // Each link leads to the next through a directory of the greatest length.
    let deep = |index: usize| format!("{}l{index}", "a/".repeat(2000));
    let mut layer: Vec<Entry> =
        (0..30).map(|index| symlink(&deep(index), &format!("/{}", deep(index + 1)))).collect();
    layer.push(file("usable"));
    assert_eq!(names(&[layer.clone()], &MergeOptions::default()), ["usable@0"]);
    layer.extend((0..40_000).map(|index| file(&format!("{}/{index}", deep(0)))));
    assert_eq!(names(&[layer], &MergeOptions::default()), Vec::<String>::new());
}

#[test]
fn what_tools_read_differently_is_used_under_no_name() {
    let names = |path: &str, other: &str| {
        entry(path, EntryKind::Disputed(Dispute::Names(other.as_bytes().into())), 0o644, 10)
    };
    let everything = entry("x", EntryKind::Disputed(Dispute::Everything), 0o644, 10);
    let used = |layers: &[&[Entry]]| {
        let layers: Vec<Vec<Entry>> = layers.iter().map(|layer| layer.to_vec()).collect();
        super::tests::names(&layers, &MergeOptions::default())
    };
    let lower = [file("a"), file("b"), file("c"), directory("d"), file("d/x")];
    assert_eq!(used(&[&lower, &[names("a", "b")]]), ["c@0", "d/x@0"]);
    assert_eq!(used(&[&lower, &[names("d", "b")]]), ["a@0", "c@0"]);
    // A name that is written again is known again.
    assert_eq!(used(&[&lower, &[names("a", "b")], &[file("a")]]), ["c@0", "d/x@0", "a@2"]);
    // A hard link to it is as little known.
    assert_eq!(used(&[&lower, &[names("a", "b"), link("e", "b")]]), ["c@0", "d/x@0"]);
    // It may be a link: what is written through it may be anywhere.
    assert_eq!(used(&[&lower, &[names("a", "b"), file("b/x")]]), [""; 0]);
    assert_eq!(used(&[&[symlink("s", "d")], &lower, &[names("s/x", "b")]]), ["a@1", "c@1"]);
    assert_eq!(used(&[&lower, std::slice::from_ref(&everything)]), [""; 0]);
    // If it is a whiteout, a link that it would hide may still be there.
    let hidden = [vec![symlink("s", "d")], vec![names("x", ".wh.s"), file("s/y"), file("z")]];
    let whiteouts = MergeOptions::default().apply_whiteouts(true);
    assert_eq!(super::tests::names(&hidden, &whiteouts), [""; 0]);
    let nothing = entry("a", EntryKind::Nothing, 0o644, 0);
    assert_eq!(used(&[&lower, &[nothing]]), ["a@0", "b@0", "c@0", "d/x@0"]);
}

#[test]
fn a_name_with_a_nul_is_none() {
    assert_eq!(
        names(&[vec![file("a\0b"), file("c"), link("d", "a\0b")]], &MergeOptions::default()),
        ["d@0", "c@0"]
    );
}

#[test]
fn what_replaces_a_directory_depends_on_whiteouts_without_one() {
    let whiteouts = MergeOptions::default().apply_whiteouts(true);
    // GNU tar leaves the directory with the link in it.
    let layers = [vec![symlink("d/s", "t"), file("e")], vec![file("d")], vec![directory("d"), file("d/s/y")]];
    assert_eq!(names(&layers, &MergeOptions::default()), ["e@0"]);
    assert_eq!(names(&layers, &whiteouts), ["e@0", "d/s/y@2"]);
    let depends =
        |layers: &[Vec<Entry>]| MergedTree::merge(layers, &MergeOptions::default()).depends_on_whiteouts();
    assert!(depends(&layers));
    assert!(depends(&[vec![file("a/.wh.b")]]));
    assert!(!depends(&[vec![directory("d"), file("e")], vec![file("d"), file("e")]]));
}

#[test]
fn a_hard_link_to_what_may_be_a_directory_leaves_what_it_would_replace() {
    // GNU tar cannot replace the directory, nor link to it: `b` keeps the content of `c`.
    let layer = vec![file("d/x"), file("c"), link("b", "c"), file("d"), link("b", "d")];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["d@0"]);
    let layer = vec![file("d/x"), file("c"), link("b", "c"), file("d"), link("e", "d"), link("b", "e")];
    assert_eq!(names(&[layer], &MergeOptions::default()), ["d@0"]);
    let whiteouts = MergeOptions::default().apply_whiteouts(true);
    let layers = [vec![file("d/x"), file("c")], vec![file("d"), link("b", "d")]];
    assert!(MergedTree::merge(&layers, &whiteouts).find(b"b").is_some(), "a reader of images links the file");
}
