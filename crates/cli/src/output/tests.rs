use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::*;

type Create = fn(&Path) -> io::Result<(File, Temporary)>;
/// Both ways must behave alike.
const WAYS: [Create; 2] = [Temporary::create_unnamed, Temporary::create_named];

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn appears_whole_on_commit() {
    for create in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut output = Output::create_with(&path, create).unwrap();
        output.write_all(b"new").unwrap();
        assert!(!path.exists());
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["out"]);
        let plain = directory.path().join("plain");
        File::create(&plain).unwrap();
        assert_eq!(mode(&path), mode(&plain), "the umask holds");
    }
}

#[test]
fn replaces_and_keeps_permissions() {
    for create in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let mut output = Output::create_with(&path, create).unwrap();
        output.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        output.commit_synced().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(names(directory.path()), ["out"]);
    }
}

#[test]
fn leaves_nothing_when_dropped() {
    for create in WAYS {
        let directory = tempfile::tempdir().unwrap();
        let mut output = Output::create_with(&directory.path().join("out"), create).unwrap();
        output.write_all(b"half").unwrap();
        drop(output);
        assert!(names(directory.path()).is_empty());
    }
}

/// The variable that says where [`writes_and_waits`] writes.
const INTERRUPTED: &str = "INTERRUPTED_OUTPUT";

#[test]
#[ignore = "the next one starts it, and it never ends"]
fn writes_and_waits() {
    crate::on_interrupt(|| ()).unwrap();
    let path = std::env::var_os(INTERRUPTED).unwrap();
    let mut output = Output::create_with(Path::new(&path), Temporary::create_named).unwrap();
    output.write_all(b"half").unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn leaves_nothing_when_interrupted() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let directory = tempfile::tempdir().unwrap();
        // The signals may be ignored where this runs. One that is stays ignored.
        let ignored = if signal == Signal::HUP { "INT" } else { "HUP" };
        let mut process = Command::new("env")
            .args(["--default-signal=INT,TERM,HUP", &format!("--ignore-signal={ignored}")])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "output::tests::writes_and_waits"])
            .env(INTERRUPTED, directory.path().join("out"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let id = Pid::from_child(&process);
        while names(directory.path()).is_empty() {
            assert!(process.try_wait().unwrap().is_none(), "it ends before it writes");
            thread::sleep(Duration::from_millis(10));
        }
        kill_process(id, if ignored == "INT" { Signal::INT } else { Signal::HUP }).unwrap();
        thread::sleep(Duration::from_millis(50));
        assert_eq!((process.try_wait().unwrap(), names(directory.path()).len()), (None, 1));
        kill_process(id, signal).unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(code), "{signal:?}");
        assert!(names(directory.path()).is_empty());
    }
}

#[test]
fn symlink_means_its_target() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    symlink("sub/target", at("link")).unwrap();
    symlink("link", at("link2")).unwrap();
    for bytes in [b"made", b"kept"] {
        let mut output = Output::create(&at("link2")).unwrap();
        output.write_all(bytes).unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(at("sub/target")).unwrap(), bytes);
        assert!(at("link2").is_symlink());
    }
    symlink("loop", at("loop")).unwrap();
    assert!(Output::create(&at("loop")).is_err());
}

#[test]
fn what_is_no_regular_file_is_written_in_place() {
    let mut output = Output::create(Path::new("/dev/null")).unwrap();
    assert!(matches!(output.kind, Kind::InPlace));
    output.write_all(b"x").unwrap();
    output.commit_synced().unwrap();

    let file = tempfile::NamedTempFile::new().unwrap();
    let descriptor = format!("/dev/fd/{}", file.as_file().as_raw_fd());
    let mut output = Output::create(Path::new(&descriptor)).unwrap();
    output.write_all(b"x").unwrap();
    output.commit().unwrap();
    assert_eq!(fs::read(file.path()).unwrap(), b"x");

    assert!(Output::create(Path::new("-")).unwrap().is_stdout());
    assert!(Output::create(Path::new("/dev/stdout")).unwrap().is_stdout());
}

#[test]
fn errors_say_the_path() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().join("missing/out"), directory.path().to_owned()] {
        let error = Output::create(&path).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    let mut full = Output::create(Path::new("/dev/full")).unwrap();
    let error = full.write_all(b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("/dev/full"), "{error}");
}
