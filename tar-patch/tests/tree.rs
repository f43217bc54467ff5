//! Source trees that change under us, or that we may not read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use delta_format::{Encoding, OpWriter, Version};
use layer::Digest;
use support::{counting, path, small_delta, small_tree};
use tar_patch::{ApplyOptions, DiffId, DirSource, Error, apply};

/// Bytes of the file that changes: many reads long.
const SIZE: usize = 4 << 20;

/// A delta that copies all of `dir/file`, in pieces from its end to its start.
fn copies() -> Vec<u8> {
    let mut writer = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
    let piece = SIZE as u64 / 64;
    for index in (0..64).rev() {
        writer.copy(&path("dir/file"), index * piece, piece).unwrap();
        // So that pieces are not joined, and the file is opened more than once.
        writer.copy(&path("other"), index, 1).unwrap();
    }
    writer.finish().unwrap().0
}

/// Puts something else in place of a file, as fast as it can, and now and then the right one.
fn change_for_ever(tree: &Path, content: &[u8], stop: &AtomicBool) {
    let (file, kept) = (tree.join("dir/file"), tree.join("kept"));
    let put_right = || {
        fs::write(tree.join("right"), content).unwrap();
        fs::rename(tree.join("right"), &file).unwrap();
    };
    for step in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        match step % 8 {
            0 => File::options().write(true).open(&file).and_then(|file| file.set_len(1000)).unwrap(),
            1 => File::options().write(true).open(&file).and_then(|file| file.set_len(1 << 30)).unwrap(),
            2 => {
                symlink("/dev/zero", tree.join("link")).unwrap();
                fs::rename(tree.join("link"), &file).unwrap();
            }
            3 => {
                let made = Command::new("mkfifo").arg(tree.join("fifo")).status().unwrap();
                assert!(made.success());
                fs::rename(tree.join("fifo"), &file).unwrap();
            }
            4 => {
                fs::remove_file(&file).unwrap();
                fs::create_dir(&file).unwrap();
                std::thread::sleep(Duration::from_millis(1));
                fs::remove_dir(&file).unwrap();
            }
            // The directory becomes a link out of the tree.
            5 => {
                put_right();
                fs::rename(tree.join("dir"), &kept).unwrap();
                symlink("/etc", tree.join("dir")).unwrap();
                std::thread::sleep(Duration::from_millis(1));
                fs::remove_file(tree.join("dir")).unwrap();
                fs::rename(&kept, tree.join("dir")).unwrap();
            }
            6 => fs::write(&file, vec![7; content.len()]).unwrap(),
            _ => {
                put_right();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn a_file_that_changes_all_the_time_gives_the_layer_or_an_error() {
    let tree = tempfile::tempdir().unwrap();
    let content: Vec<u8> =
        (0..251).cycle().zip((0..=255).cycle()).map(|(a, b): (u8, u8)| a ^ b).take(SIZE).collect();
    fs::create_dir(tree.path().join("dir")).unwrap();
    fs::write(tree.path().join("dir/file"), &content).unwrap();
    fs::write(tree.path().join("other"), counting()).unwrap();
    let delta = copies();
    let run = |expected| {
        let mut sources = DirSource::open(tree.path()).unwrap();
        let options = ApplyOptions::default().expected(expected).max_output(2 * SIZE as u64);
        let mut output = Vec::new();
        apply(delta.as_slice(), &mut sources, options, &mut output).map(|_| output)
    };
    let right = run(None).unwrap();
    let diff_id = DiffId(Digest::of(&right));
    let stop = AtomicBool::new(false);
    let (mut whole, mut errors) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| change_for_ever(tree.path(), &content, &stop));
        let began = Instant::now();
        // Long enough for both outcomes, whatever else the machine does.
        while (whole == 0 || errors < 50) && began.elapsed() < Duration::from_secs(60) {
            match run(Some(diff_id)) {
                Ok(output) => {
                    assert!(output == right, "another layer was taken for the right one");
                    whole += 1;
                }
                Err(error) => {
                    let is_known = matches!(error, Error::Delta(_) | Error::DiffIdMismatch { .. });
                    assert!(is_known, "{error:?}");
                    errors += 1;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(whole > 0 && errors > 0, "{whole} whole, {errors} errors");
}

#[test]
fn a_device_is_not_opened() {
    let tree = small_tree();
    let file = tree.path().join("file");
    fs::remove_file(&file).unwrap();
    // A terminal or a tape would do something when it is opened; this one only looks the same.
    let made = Command::new("mknod").arg(&file).args(["c", "1", "5"]).stderr(Stdio::null()).status().unwrap();
    if !made.success() {
        // Only root makes devices.
        symlink("/dev/zero", &file).unwrap();
    }
    let (delta, _) = small_delta();
    let mut sources = DirSource::open(tree.path()).unwrap();
    let error = apply(delta.as_slice(), &mut sources, ApplyOptions::default(), &mut Vec::new()).unwrap_err();
    let Error::Delta(error) = error else { panic!("{error}") };
    assert!(
        matches!(
            error,
            delta_format::Error::SourceNotRegular { .. } | delta_format::Error::SourceMissing { .. }
        ),
        "{error}"
    );
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let tree = small_tree();
    let file = tree.path().join("file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (delta, _) = small_delta();
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(dir.path().join("delta"), delta).unwrap();
    // Root may read everything: give that up.
    let program = dir.path().join("tar-patch");
    fs::copy(env!("CARGO_BIN_EXE_tar-patch"), &program).unwrap();
    let mut command = if fs::read(&file).is_ok() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let output = command
        .arg(dir.path().join("delta"))
        .arg(tree.path())
        .arg(dir.path().join("new.tar"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{stderr}");
    assert!(stderr.contains("file") && stderr.contains("Permission denied"), "{stderr}");
    assert!(!dir.path().join("new.tar").exists());
}

#[test]
fn many_names_of_one_file_are_sources() {
    let tree = small_tree();
    let mut writer = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
    for index in 0..20_000 {
        let name = format!("name-{index}");
        fs::hard_link(tree.path().join("file"), tree.path().join(&name)).unwrap();
        writer.copy(&path(&name), index % 256, 1).unwrap();
    }
    let delta = writer.finish().unwrap().0;
    let mut sources = DirSource::open(tree.path()).unwrap();
    let mut output = Vec::new();
    apply(delta.as_slice(), &mut sources, ApplyOptions::default(), &mut output).unwrap();
    let wanted: Vec<u8> = counting().into_iter().cycle().take(20_000).collect();
    assert!(output == wanted);
}
