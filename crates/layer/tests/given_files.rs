//! Layers that are no files which keep still: devices, directories, files of the kernel,
//! files that change while they are read.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use fixtures::{Ending, LayerBuilder};
use layer::{DiffId, Digest, Error, FileKind, Spool, SpoolOptions, entries, open_regular, open_regular_here};
use rustix::fs::{CWD, FileType, Mode, mknodat};

fn open(path: &Path) -> layer::Result<Spool> {
    Spool::open(path, &SpoolOptions::default())
}

fn tar() -> Vec<u8> {
    LayerBuilder::new().file("a", "content").file("b", vec![7; 5000]).finish(Ending::Normal)
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
}

#[test]
fn a_device_without_an_end_is_no_layer() {
    for device in ["/dev/zero", "/dev/urandom", "/dev/full", "/dev/tty"] {
        let error = open(Path::new(device)).unwrap_err();
        assert!(matches!(error, Error::NotATar { what: FileKind::Device, .. }), "{device}: {error}");
    }
}

#[test]
fn a_directory_and_a_socket_are_errors_that_name_them() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let _listening = UnixListener::bind(&socket).unwrap();
    for path in [dir.path(), &socket] {
        let error = open(path).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_file_without_a_size_that_has_content_is_read_to_its_end() {
    let path = Path::new("/proc/self/status");
    assert_eq!(fs::metadata(path).unwrap().len(), 0);
    let spool = open(path).unwrap();
    assert!(spool.size() > 500, "{}", spool.size());
    let error = entries(&spool).unwrap_err();
    assert!(matches!(error, Error::NotATar { what: FileKind::Text, .. }), "{error}");
}

#[test]
fn what_is_appended_while_a_layer_is_read_is_not_part_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer.tar");
    fs::write(&path, tar()).unwrap();
    let spool = open(&path).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&[1; 100_000]).unwrap();
    assert_eq!(spool.diff_id().unwrap(), DiffId(Digest::of(&tar())));
    assert_eq!(entries(&spool).unwrap().len(), 2);
}

#[test]
fn a_layer_that_is_replaced_by_another_file_stays_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer.tar");
    fs::write(&path, tar()).unwrap();
    let spool = open(&path).unwrap();
    fs::write(dir.path().join("other"), "other").unwrap();
    fs::rename(dir.path().join("other"), &path).unwrap();
    assert_eq!(spool.diff_id().unwrap(), DiffId(Digest::of(&tar())));
}

#[test]
fn a_layer_that_becomes_shorter_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer.tar");
    fs::write(&path, tar()).unwrap();
    let spool = open(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(700).unwrap();
    for error in [spool.diff_id().unwrap_err(), spool.read_range(0..spool.size()).unwrap_err()] {
        let Error::Io { name, source, .. } = &error else { panic!("{error}") };
        assert_eq!(name, path.to_str().unwrap());
        assert!(source.to_string().contains("became shorter while it was read"), "{source}");
    }
    assert!(entries(&spool).is_err());
}

#[test]
fn a_blob_is_a_regular_file_and_nothing_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fifo(&at("fifo"));
    symlink("fifo", at("to-fifo")).unwrap();
    symlink("/dev/zero", at("to-device")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let _listening = UnixListener::bind(at("socket")).unwrap();
    for name in ["fifo", "to-fifo", "to-device", "directory", "socket"] {
        let Err(Error::Io { source, .. }) = Spool::open_blob(&at(name), &SpoolOptions::default()) else {
            panic!("{name} is taken");
        };
        assert_eq!(source.to_string(), "it is not a regular file", "{name}");
        let error = open_regular_here(&at(name), OpenOptions::new().write(true).create(true)).unwrap_err();
        assert_eq!(error.to_string(), "it is not a regular file", "{name}");
    }
    fs::write(at("blob"), tar()).unwrap();
    symlink("blob", at("to-blob")).unwrap();
    for name in ["blob", "to-blob"] {
        let spool = Spool::open_blob(&at(name), &SpoolOptions::default()).unwrap();
        assert_eq!(spool.size(), tar().len() as u64, "{name}");
    }
    assert!(open_regular(&at("to-blob")).is_ok());
    assert!(open_regular_here(&at("to-blob"), OpenOptions::new().read(true)).is_err());
    assert!(open_regular_here(&at("new"), OpenOptions::new().write(true).create(true)).is_ok());
    assert!(open_regular(&at("missing")).is_err());
}

#[test]
fn a_file_with_a_name_of_any_bytes_is_a_layer() {
    let dir = tempfile::tempdir().unwrap();
    for name in [b"\xff\xfe layer\n.tar".to_vec(), vec![b'x'; 255]] {
        let path = dir.path().join(std::ffi::OsString::from_vec(name));
        fs::write(&path, tar()).unwrap();
        assert_eq!(entries(&open(&path).unwrap()).unwrap().len(), 2);
    }
    let error = open(&dir.path().join("x".repeat(300))).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
