//! The places that outputs are written to: paths without symlinks, and none that somebody else chose.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs as sys;
use rustix::io::Errno;

/// Symlinks that are followed in one path: the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// The mode bits of a directory that everybody can write to and where everybody owns what they make,
/// such as /tmp: sticky, writable for others.
const STICKY_FOR_ALL: u32 = 0o1002;

/// Resolves the symlinks in the path of an output. What it leads to, and directories above that, need
/// not exist.
///
/// In a directory that everybody can write to, another user can leave a link, a fifo or a file of the
/// name that an output will have. None of these is used, as the kernel itself refuses where
/// `fs.protected_symlinks` is set (proc_sys_fs(5)): a link is followed if it belongs to the user or to
/// the owner of its directory.
///
/// Links in /proc, which are open files, stay in the path.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] for what another user left; those of the system.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let own = rustix::process::geteuid().as_raw();
    resolve_for(path, own)
}

fn resolve_for(path: &Path, user: u32) -> io::Result<PathBuf> {
    let mut resolved = PathBuf::new();
    let mut waiting: VecDeque<OsString> = parts(path).collect();
    let mut links = 0;
    while let Some(part) = waiting.pop_front() {
        if part == "/" {
            resolved = "/".into();
            continue;
        }
        if part == ".." {
            match resolved.components().next_back() {
                Some(Component::Normal(_)) => drop(resolved.pop()),
                Some(Component::RootDir) => {}
                _ => resolved.push(".."),
            }
            continue;
        }
        let next = resolved.join(&part);
        let metadata = match fs::symlink_metadata(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Below what does not exist there are no links.
                resolved = next;
                resolved.extend(waiting.drain(..));
                break;
            }
            looked => looked?,
        };
        let directory = if resolved.as_os_str().is_empty() { Path::new(".") } else { &resolved };
        if !metadata.is_dir() && is_strange(&metadata, &fs::metadata(directory)?, user) {
            return Err(strange(&next));
        }
        let is_open_file = || sys::statfs(directory).is_ok_and(|of| of.f_type == sys::PROC_SUPER_MAGIC);
        if !metadata.is_symlink() || is_open_file() {
            resolved = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        for part in parts(&fs::read_link(&next)?).collect::<Vec<_>>().into_iter().rev() {
            waiting.push_front(part);
        }
    }
    Ok(if resolved.as_os_str().is_empty() { ".".into() } else { resolved })
}

/// The components of a path, `/` first if it is absolute.
fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter(|part| *part != Component::CurDir).map(|part| part.as_os_str().to_owned())
}

/// Tells whether somebody else left this in a directory where everybody can.
fn is_strange(metadata: &Metadata, directory: &Metadata, user: u32) -> bool {
    let owner = metadata.uid();
    directory.mode() & STICKY_FOR_ALL == STICKY_FOR_ALL && owner != user && owner != directory.uid()
}

fn strange(path: &Path) -> io::Error {
    let text = format!(
        "{} belongs to another user, in a directory that everybody can write to: choose another name",
        path.display()
    );
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// Tells whether two paths lead to one file: the same path, or another name of it.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Tells whether the file at `path` is, or would be, in `directory` or below it.
pub fn is_below(path: &Path, directory: &Path) -> bool {
    let Ok(directory) = fs::canonicalize(directory) else { return false };
    let resolved = resolve(path).and_then(std::path::absolute);
    let Ok(resolved) = resolved else { return false };
    resolved
        .ancestors()
        .skip(1)
        .find_map(|above| fs::canonicalize(above).ok())
        .is_some_and(|above| above.starts_with(&directory))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn links_are_resolved_to_their_ends() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("real/sub")).unwrap();
        symlink("real", at("link")).unwrap();
        symlink("../link/new", at("real/to-new")).unwrap();
        symlink(at("link/sub"), at("absolute")).unwrap();
        let real = directory.path().canonicalize().unwrap();
        for (given, wanted) in [
            ("link/sub/x", "real/sub/x"),
            ("absolute/x", "real/sub/x"),
            ("absolute/../x", "real/x"),
            ("link/to-new", "real/new"),
            ("link/missing/deep/x", "real/missing/deep/x"),
        ] {
            assert_eq!(resolve(&real.join(given)).unwrap(), real.join(wanted), "{given}");
        }
        symlink("loop", at("loop")).unwrap();
        assert!(resolve(&at("loop")).is_err());
        assert_eq!(resolve(Path::new("./src/..")).unwrap(), Path::new("."));
        assert_eq!(resolve(Path::new("../y")).unwrap(), Path::new("../y"));
    }

    #[test]
    fn what_others_left_where_everybody_can_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let (shared, own) = (directory.path().join("shared"), directory.path().join("own"));
        for dir in [&shared, &own] {
            fs::create_dir(dir).unwrap();
            symlink("elsewhere", dir.join("link")).unwrap();
            fs::write(dir.join("file"), "").unwrap();
        }
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
        let me = rustix::process::geteuid().as_raw();
        let paths = ["link", "file", "link/deeper"];
        for name in paths {
            // The directory is of the same user as the link, so the link is trusted like the directory.
            assert!(resolve_for(&shared.join(name), me + 1).is_ok(), "{name}");
            assert!(resolve_for(&own.join(name), me + 1).is_ok(), "{name}");
        }
        if me != 0 {
            return;
        }
        // Only root can give the directory to somebody else.
        chown(&shared, Some(4711), None).unwrap();
        for name in paths {
            let refused = resolve_for(&shared.join(name), 1234).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{name}: {refused}");
            assert!(resolve_for(&shared.join(name), 0).is_ok(), "{name}: its own");
        }
        assert!(resolve_for(&shared.join("new"), 1234).is_ok());
    }

    #[test]
    fn names_of_one_file_are_known() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "x").unwrap();
        fs::write(at("other"), "x").unwrap();
        fs::hard_link(at("file"), at("hard")).unwrap();
        symlink("file", at("soft")).unwrap();
        for (name, is_same) in
            [("file", true), ("hard", true), ("soft", true), ("other", false), ("none", false)]
        {
            assert_eq!(is_same_file(&at("file"), &at(name)), is_same, "{name}");
        }
        fs::create_dir_all(at("tree/sub")).unwrap();
        symlink("tree/sub", at("into")).unwrap();
        symlink("tree/new", at("out-link")).unwrap();
        for (name, is_inside) in [
            ("tree/x", true),
            ("tree/sub/x", true),
            ("into/x", true),
            ("out-link", true),
            ("x", false),
            ("tree-2", false),
        ] {
            assert_eq!(is_below(&at(name), &at("tree")), is_inside, "{name}");
        }
    }
}
