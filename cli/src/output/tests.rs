use std::os::unix::fs::symlink;

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
