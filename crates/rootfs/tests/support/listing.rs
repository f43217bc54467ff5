//! A tree as text, one line a file: all that two trees can differ in.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use layer::Digest;
use rustix::fs::{lgetxattr, llistxattr};

/// Describes each file below `root`, the root itself included: type, mode, owner, size, time, device,
/// link target, attributes, digest of the content, and which other name is the same file.
pub(crate) fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut listing = BTreeMap::new();
    let mut names: HashMap<u64, String> = HashMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let at = root.join(&path);
        let metadata = fs::symlink_metadata(&at).unwrap();
        let kind = metadata.file_type();
        let name = if path.as_os_str().is_empty() {
            ".".to_owned()
        } else {
            path.as_os_str().as_bytes().escape_ascii().to_string()
        };
        let mut line = format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
        line += &format!(" mtime={}.{:09}", metadata.mtime(), metadata.mtime_nsec());
        for (attribute, value) in attributes(&at) {
            line += &format!(" {attribute}={}", value.escape_ascii());
        }
        if kind.is_dir() {
            let mut below: Vec<_> =
                fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            below.sort();
            waiting.extend(below.iter().rev().map(|name| path.join(name)));
        } else if kind.is_symlink() {
            line += &format!(" -> {}", fs::read_link(&at).unwrap().as_os_str().as_bytes().escape_ascii());
        } else if kind.is_file() {
            line += &format!(" size={} {}", metadata.size(), Digest::of(&fs::read(&at).unwrap()));
        } else if kind.is_char_device() || kind.is_block_device() {
            line += &format!(" device={:x}", metadata.rdev());
        }
        if !kind.is_dir() && metadata.nlink() > 1 {
            line += &format!(" same as {}", names.entry(metadata.ino()).or_insert_with(|| name.clone()));
        }
        listing.insert(name, line);
    }
    listing
}

/// A listing without the times of the directories that have none in their tars.
pub(crate) fn without_times(
    mut listing: BTreeMap<String, String>,
    paths: &[&str],
) -> BTreeMap<String, String> {
    for path in paths {
        if let Some(line) = listing.get_mut(*path) {
            let words: Vec<&str> = line.split(' ').filter(|word| !word.starts_with("mtime=")).collect();
            *line = words.join(" ");
        }
    }
    listing
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let size = llistxattr(path, &mut names[..]).unwrap_or(0);
    names.truncate(size);
    let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let mut attributes: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 65536];
            let size = lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(size);
            (String::from_utf8_lossy(name).into_owned(), value)
        })
        .collect();
    attributes.sort();
    attributes
}

/// Compares two listings, and shows the lines that differ.
pub(crate) fn assert_same(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let paths: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let different: Vec<String> = paths
        .into_iter()
        .filter(|path| ours.get(*path) != theirs.get(*path))
        .map(|path| format!("{path}\n  ours:   {:?}\n  theirs: {:?}", ours.get(path), theirs.get(path)))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
