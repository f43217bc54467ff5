//! The walk along a path, as the kernel walks after a `chroot`.
//!
//! ```text
//! root/        usr/lib -> ../opt/lib        opt/lib/x
//! path usr/lib/x:   usr   lib is a link: its target is walked next   opt   lib   x
//! ```
//!
//! Each component is opened by itself and never followed by the system: a symlink is read, and its components
//! come before those that are still to go. An absolute link starts at the root again. The directories that were
//! passed are held open, so `..` is the one before and never a name that the file system resolves: whatever
//! others rename meanwhile, the walk does not leave the root.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self as sys, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Symlinks that are followed in one path: the kernel's own limit (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// The flags with which a directory on the way is opened: to look names up in it, not to read it.
pub const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Decides about the steps of a [`walk`](walk()).
pub trait Visitor {
    /// The error of the walk.
    type Error: From<Errno>;

    /// Is called before each component of the path and of the links on the way. `depth` is the number of
    /// directories that are passed.
    ///
    /// # Errors
    /// An error ends the walk.
    fn step(&mut self, depth: usize) -> Result<(), Self::Error>;

    /// Is called for a name in `parent` that is no directory and no link. If it makes a directory of that name,
    /// the walk looks again.
    ///
    /// # Errors
    /// An error ends the walk: `error`, if no directory is made.
    fn not_a_directory(&mut self, parent: &OwnedFd, name: &[u8], error: Errno) -> Result<(), Self::Error>;
}

/// Opens the directory at `path` below `root`, as [`DIRECTORY`] says.
///
/// The time is bounded by the visitor alone: 40 links can lead through thousands of directories.
///
/// # Errors
/// Those of the visitor; `LOOP` after 40 links; those of the system.
pub fn walk<V: Visitor>(root: &OwnedFd, path: &[u8], visitor: &mut V) -> Result<OwnedFd, V::Error> {
    let mut passed: Vec<OwnedFd> = Vec::new();
    // Components still to go, the next one last.
    let mut ahead: Vec<Vec<u8>> = Vec::new();
    push_components(&mut ahead, path);
    let mut links = 0;
    while let Some(component) = ahead.pop() {
        visitor.step(passed.len())?;
        if component == b".." {
            passed.pop();
            continue;
        }
        let here = passed.last().unwrap_or(root);
        let seen = match open_in(here, &component, OFlags::PATH) {
            Ok(seen) => seen,
            Err(Errno::NOENT) => {
                visitor.not_a_directory(here, &component, Errno::NOENT)?;
                ahead.push(component);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match FileType::from_raw_mode(sys::fstat(&seen)?.st_mode) {
            FileType::Directory => passed.push(seen),
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                // readlinkat(2): an empty path means the link that the descriptor holds.
                let target = sys::readlinkat(&seen, "", Vec::new())?;
                if target.as_bytes().starts_with(b"/") {
                    passed.clear();
                }
                push_components(&mut ahead, target.as_bytes());
            }
            _ => {
                visitor.not_a_directory(here, &component, Errno::NOTDIR)?;
                ahead.push(component);
            }
        }
    }
    match passed.pop() {
        Some(reached) => Ok(reached),
        None => Ok(open_in(root, b".", DIRECTORY)?),
    }
}

/// Opens `name`, one component, without following it.
///
/// # Errors
/// Those of the system.
pub fn open_in(directory: impl AsFd, name: &[u8], how: OFlags) -> rustix::io::Result<OwnedFd> {
    sys::openat(directory, name, how | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn push_components(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    let components = path.split(|&byte| byte == b'/').rev();
    ahead.extend(components.filter(|component| !matches!(*component, b"" | b".")).map(<[u8]>::to_vec));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    /// Makes nothing, and counts the steps.
    #[derive(Default)]
    struct Counted(usize);

    impl Visitor for Counted {
        type Error = Errno;

        fn step(&mut self, _: usize) -> Result<(), Errno> {
            self.0 += 1;
            if self.0 > 1000 { Err(Errno::TIMEDOUT) } else { Ok(()) }
        }

        fn not_a_directory(&mut self, _: &OwnedFd, _: &[u8], error: Errno) -> Result<(), Errno> {
            Err(error)
        }
    }

    fn inode(directory: &OwnedFd) -> u64 {
        sys::fstat(directory).unwrap().st_ino
    }

    fn root_of(path: &Path) -> OwnedFd {
        sys::openat(sys::CWD, path, DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn links_and_parents_stay_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join("root").join(path);
        fs::create_dir_all(at("usr/lib/deep")).unwrap();
        fs::create_dir_all(dir.path().join("outside")).unwrap();
        fs::write(at("file"), "").unwrap();
        for (target, link) in [
            ("/usr/lib", "absolute"),
            ("../../../usr", "climbs"),
            ("/../../outside", "leaves"),
            ("loop", "loop"),
            ("absolute/deep/..", "twice"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        let root = root_of(&at(""));
        let reached = |path: &str| walk(&root, path.as_bytes(), &mut Counted::default());
        let lib = inode(&root_of(&at("usr/lib")));
        for path in ["usr/lib", "absolute", "climbs/lib", "twice", "./usr//lib/deep/..", "../../usr/lib"] {
            assert_eq!(inode(&reached(path).unwrap()), lib, "{path}");
        }
        assert_eq!(inode(&reached("../..").unwrap()), inode(&root));
        for (path, error) in [
            ("leaves", Errno::NOENT),
            ("loop", Errno::LOOP),
            ("file", Errno::NOTDIR),
            ("file/..", Errno::NOTDIR),
        ] {
            assert_eq!(reached(path).unwrap_err(), error, "{path}");
        }
    }

    #[test]
    fn the_visitor_ends_a_walk_that_is_too_long() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        // 40 links are few, but each may lead through many directories.
        for number in 0..30 {
            let target = format!(
                "{}{}",
                "a/../".repeat(50),
                if number == 0 { "a".into() } else { format!("l{}", number - 1) }
            );
            symlink(target, dir.path().join(format!("l{number}"))).unwrap();
        }
        let root = root_of(dir.path());
        assert_eq!(walk(&root, b"l29", &mut Counted::default()).unwrap_err(), Errno::TIMEDOUT);
        assert!(walk(&root, b"l3", &mut Counted::default()).is_ok());
    }
}
