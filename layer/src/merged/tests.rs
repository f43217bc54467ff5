use super::*;

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
    let applied = MergeOptions { apply_whiteouts: true, ..MergeOptions::default() };
    let kept: Vec<_> = names(&layers, &applied).into_iter().filter(|name| !name.contains(".wh.")).collect();
    assert_eq!(kept, ["a/y@0", "a/z@1", "b/new@1"]);
    let plain = names(&layers, &MergeOptions::default());
    for name in ["a/x@0", "b/x@0", "c@0"] {
        assert!(plain.iter().any(|plain| plain == name), "{name}");
    }
}

#[test]
fn hard_links_are_more_names_of_one_file() {
    let layer = vec![file("objects/1"), link("usr/bin/x", "objects/1"), link("early", "late"), file("late")];
    assert_eq!(names(std::slice::from_ref(&layer), &MergeOptions::default()), ["objects/1@0", "late@0"]);
    let ignored = MergeOptions { ignored_prefixes: vec![b"objects/".to_vec()], ..MergeOptions::default() };
    assert_eq!(names(std::slice::from_ref(&layer), &ignored), ["usr/bin/x@0", "late@0"]);
    let only = MergeOptions { source_prefixes: vec![b"usr/".to_vec()], ..MergeOptions::default() };
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

#[test]
fn paths_that_no_system_opens_take_no_time() {
    let long = "a/".repeat(500_000);
    let layer = vec![symlink("l", "x"), file(&format!("{long}b")), symlink("s", &long), file("c")];
    let started = std::time::Instant::now();
    assert_eq!(names(&[layer], &MergeOptions::default()), ["c@0"]);
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
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
    let started = std::time::Instant::now();
    assert_eq!(names(&[layer], &MergeOptions::default()), Vec::<String>::new());
    assert!(started.elapsed().as_secs() < 120, "{:?}", started.elapsed());
}
