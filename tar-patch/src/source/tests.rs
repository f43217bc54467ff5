use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;

/// The outcome that opening a path must have.
#[derive(Debug, PartialEq, Eq)]
enum Opened {
    Bytes(&'static [u8]),
    Missing,
    NotRegular,
}

/// A root inside a directory that holds what must not be reached.
fn tree() -> tempfile::TempDir {
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("secrets")).unwrap();
    fs::write(outside.path().join("secrets/file"), "secret").unwrap();
    fs::write(outside.path().join("file"), "secret").unwrap();
    let root = outside.path().join("root");
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("usr/lib/deep")).unwrap();
    fs::create_dir(at("etc")).unwrap();
    fs::write(at("file"), "top").unwrap();
    fs::write(at("usr/lib/file"), "lib").unwrap();
    fs::write(at("usr/lib/deep/file"), "deep").unwrap();
    fs::write(at("etc/passwd"), "inside").unwrap();
    for (target, link) in [
        ("/usr/lib", "absolute"),
        ("usr/lib", "relative"),
        ("absolute", "usr/lib/../../chained"),
        ("..", "up"),
        ("../../../..", "usr/lib/climb"),
        ("/../../usr", "absolute-climb"),
        ("../secrets", "escape"),
        ("deep/../../lib/./deep//", "usr/lib/winding"),
        ("loop", "loop"),
        ("loop-b/x", "loop-a"),
        ("loop-a/x", "loop-b"),
        ("/etc/passwd", "passwd"),
        ("file", "usr/lib/to-file"),
        ("nowhere", "dangling"),
        ("/proc/self/root", "magic"),
    ] {
        symlink(target, at(link)).unwrap();
    }
    symlink(outside.path(), at("host-path")).unwrap();
    sys::mknodat(sys::CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    let _ = UnixListener::bind(at("socket")).unwrap();
    // Needs CAP_MKNOD; where it is lacking the device is just missing.
    let _ = sys::mknodat(
        sys::CWD,
        at("zero"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o644),
        sys::makedev(1, 5),
    );
    fs::create_dir(at("closed")).unwrap();
    fs::write(at("closed/file"), "closed").unwrap();
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::write(at("unreadable"), "unreadable").unwrap();
    fs::set_permissions(at("unreadable"), fs::Permissions::from_mode(0o000)).unwrap();
    outside
}

fn open(source: &mut DirSource, path: &str) -> Result<Vec<u8>, Opened> {
    let path = SourcePath::new(path.as_bytes()).unwrap();
    match source.open(&path, &Budget::unlimited()) {
        Ok(file) => {
            let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            Ok(bytes)
        }
        Err(DeltaError::SourceMissing { .. }) => Err(Opened::Missing),
        Err(DeltaError::SourceNotRegular { .. }) => Err(Opened::NotRegular),
        Err(other) => panic!("{path}: {other:?}"),
    }
}

#[test]
fn paths_are_resolved_as_chroot_would() {
    use Opened::{Bytes, Missing, NotRegular};
    let outside = tree();
    let root = outside.path().join("root");
    let is_root = rustix::process::geteuid().is_root();
    let has_device = root.join("zero").exists();
    let closed = |bytes| if is_root { Bytes(bytes) } else { Missing };
    let table = [
        ("file", Bytes(b"top")),
        ("usr/lib/file", Bytes(b"lib")),
        ("absolute/file", Bytes(b"lib")),
        ("relative/deep/file", Bytes(b"deep")),
        ("chained/file", Bytes(b"lib")),
        ("up/file", Bytes(b"top")),
        ("up/up/usr/lib/file", Bytes(b"lib")),
        ("usr/lib/climb/file", Bytes(b"top")),
        ("absolute-climb/lib/file", Bytes(b"lib")),
        ("usr/lib/winding/file", Bytes(b"deep")),
        ("escape/file", Missing),
        ("host-path/file", Missing),
        ("loop/file", Missing),
        ("loop-a/file", Missing),
        ("magic/etc/passwd", Missing),
        ("nothing", Missing),
        ("nothing/file", Missing),
        ("file/file", Missing),
        ("dangling/file", Missing),
        ("passwd", NotRegular),
        ("loop", NotRegular),
        ("dangling", NotRegular),
        ("usr/lib/to-file", NotRegular),
        ("usr", NotRegular),
        ("absolute", NotRegular),
        ("fifo", NotRegular),
        ("socket", NotRegular),
        ("zero", if has_device { NotRegular } else { Missing }),
        ("closed/file", closed(b"closed")),
        ("unreadable", closed(b"unreadable")),
    ];
    for resolution in [PathResolution::Kernel, PathResolution::Walk] {
        let mut source = DirSource::open_with(&root, resolution).unwrap();
        for (path, wanted) in &table {
            let opened = open(&mut source, path);
            match (&opened, wanted) {
                (Ok(bytes), Bytes(wanted)) => assert_eq!(bytes, wanted, "{path} {resolution:?}"),
                (Err(error), wanted) => assert_eq!(error, wanted, "{path} {resolution:?}"),
                (Ok(_), wanted) => panic!("{path} {resolution:?}: opened, not {wanted:?}"),
            }
        }
    }
    // So that the directory can be removed.
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_chain_of_links_ends_somewhere() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("link0")).unwrap();
    fs::write(root.path().join("link0/file"), "x").unwrap();
    for number in 1..=41 {
        symlink(format!("link{}", number - 1), root.path().join(format!("link{number}"))).unwrap();
    }
    for resolution in [PathResolution::Kernel, PathResolution::Walk] {
        let mut source = DirSource::open_with(root.path(), resolution).unwrap();
        assert_eq!(open(&mut source, "link40/file"), Ok(b"x".to_vec()), "{resolution:?}");
        assert_eq!(open(&mut source, "link41/file"), Err(Opened::Missing), "{resolution:?}");
    }
}

/// Mounts something for the time of a test. Only root can.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(args: &[&str], at: &Path) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(args).arg(at).stderr(std::process::Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn what_is_mounted_in_a_tree_is_part_of_it_but_for_files_of_the_kernel() {
    let outside = tempfile::tempdir().unwrap();
    let at = |name: &str| outside.path().join(name);
    for dir in ["root/proc", "root/sys", "root/data", "root/etc"] {
        fs::create_dir_all(at(dir)).unwrap();
    }
    for file in ["root/etc/hosts", "root/data/hidden", "root/file"] {
        fs::write(at(file), "of the image").unwrap();
    }
    fs::write(at("other"), "mounted").unwrap();
    let other = at("other");
    let mounts = [
        Mounted::new(&["-t", "proc", "proc"], &at("root/proc")),
        Mounted::new(&["-t", "sysfs", "sysfs"], &at("root/sys")),
        Mounted::new(&["-t", "tmpfs", "tmpfs"], &at("root/data")),
        Mounted::new(&["--bind", other.to_str().unwrap()], &at("root/etc/hosts")),
    ];
    let mut source = DirSource::open(&at("root")).unwrap();
    assert_eq!(open(&mut source, "file"), Ok(b"of the image".to_vec()));
    if mounts.iter().any(Option::is_none) {
        return;
    }
    fs::write(at("root/data/new"), "on the tmpfs").unwrap();
    for resolution in [PathResolution::Kernel, PathResolution::Walk] {
        let mut source = DirSource::open_with(&at("root"), resolution).unwrap();
        assert_eq!(open(&mut source, "etc/hosts"), Ok(b"mounted".to_vec()));
        assert_eq!(open(&mut source, "data/new"), Ok(b"on the tmpfs".to_vec()));
        assert_eq!(open(&mut source, "data/hidden"), Err(Opened::Missing));
        for name in ["proc/version", "proc/kmsg", "proc/kcore", "proc/self/mem", "sys/kernel/uevent_seqnum"] {
            let opened = open(&mut source, name);
            assert!(matches!(opened, Err(Opened::NotRegular | Opened::Missing)), "{name}: {opened:?}");
        }
    }
}

#[test]
fn names_of_any_bytes_and_of_the_greatest_length_are_opened() {
    let root = tempfile::tempdir().unwrap();
    let long = vec![b'x'; 255];
    let deep = [&b"d/".repeat(2000)[..], b"file"].concat();
    for name in [&b"\xff\xfe\n"[..], &long] {
        fs::write(root.path().join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    let too_long = vec![b'x'; 256];
    for resolution in [PathResolution::Kernel, PathResolution::Walk] {
        let mut source = DirSource::open_with(root.path(), resolution).unwrap();
        let mut size = |name: &[u8]| {
            source.open(&SourcePath::new(name).unwrap(), &Budget::unlimited()).map(|file| file.size())
        };
        assert_eq!(size(b"\xff\xfe\n").unwrap(), 1);
        assert_eq!(size(&long).unwrap(), 1);
        assert!(matches!(size(&too_long), Err(DeltaError::SourceMissing { .. })));
        assert!(matches!(size(&deep), Err(DeltaError::SourceMissing { .. })));
    }
}

#[test]
fn a_tree_that_changes_never_leads_outside() {
    let outside = tree();
    let root = outside.path().join("root");
    fs::create_dir(root.join("swap")).unwrap();
    fs::write(root.join("swap/file"), "top").unwrap();
    symlink("../secrets", root.join("evil")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                sys::renameat_with(
                    sys::CWD,
                    root.join("swap"),
                    sys::CWD,
                    root.join("evil"),
                    sys::RenameFlags::EXCHANGE,
                )
                .unwrap();
            }
        });
        for resolution in [PathResolution::Kernel, PathResolution::Walk] {
            let mut source = DirSource::open_with(&root, resolution).unwrap();
            for _ in 0..5000 {
                if let Ok(bytes) = open(&mut source, "usr/lib/climb/swap/file") {
                    assert_eq!(bytes, b"top");
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_root_that_is_no_directory_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(DirSource::open(file.path()), Err(Error::OpenRoot { .. })));
    assert!(DirSource::open(Path::new("/nonexistent")).is_err());
}

#[test]
fn links_are_read_where_chroot_would_find_them() {
    let tree = tree();
    let root = tree.path().join("root");
    symlink("of the host", tree.path().join("secrets/link")).unwrap();
    symlink("of the root", root.join("usr/link")).unwrap();
    for resolution in [PathResolution::Kernel, PathResolution::Walk] {
        let source = DirSource::open_with(&root, resolution).unwrap();
        let read = |path: &str| {
            let path = SourcePath::new(path.as_bytes()).unwrap();
            match source.read_link(&path, &Budget::unlimited()) {
                Ok(target) => String::from_utf8(target).unwrap(),
                Err(DeltaError::SourceMissing { .. }) => "missing".into(),
                Err(DeltaError::SourceNotRegular { .. }) => "no link".into(),
                Err(error) => panic!("{error:?}"),
            }
        };
        assert_eq!(read("usr/link"), "of the root");
        assert_eq!(read("absolute-climb/link"), "of the root");
        assert_eq!(read("relative/to-file"), "file");
        assert_eq!(read("escape/link"), "missing");
        assert_eq!(read("host-path/secrets/link"), "missing");
        assert_eq!(read("file"), "no link");
    }
}
