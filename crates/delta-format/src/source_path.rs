//! The one type that can name a source file.

use std::fmt;

use crate::escape_path;
use crate::wire::MAX_PATH_SIZE;

/// The path of a source file: relative, without `.` and `..`, raw bytes, 1 to 4096 of them.
///
/// A path of this type names nothing outside the tree by itself; symlinks in the tree are for the
/// applier to resolve inside its root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePath(Box<[u8]>);

/// The reason why bytes are no [`SourcePath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing is left once `.` and empty components are gone.
    #[error("the path is empty")]
    Empty,
    /// The path holds a NUL byte.
    #[error("the path holds a NUL byte")]
    Nul,
    /// The path starts with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// A component is `..`.
    #[error("the path holds a `..` component")]
    ParentComponent,
    /// The path is over 4096 bytes.
    #[error("the path is over {MAX_PATH_SIZE} bytes")]
    TooLong,
}

impl SourcePath {
    /// Checks and cleans a path: `./a//b` becomes `a/b`.
    ///
    /// # Errors
    /// The first [`PathError`] that holds.
    pub fn new(path: &[u8]) -> Result<Self, PathError> {
        if path.len() as u64 > MAX_PATH_SIZE {
            return Err(PathError::TooLong);
        }
        if path.contains(&0) {
            return Err(PathError::Nul);
        }
        if path.starts_with(b"/") {
            return Err(PathError::Absolute);
        }
        let mut clean = Vec::with_capacity(path.len());
        for component in path.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(PathError::ParentComponent),
                _ => {}
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(component);
        }
        if clean.is_empty() {
            return Err(PathError::Empty);
        }
        Ok(Self(clean.into_boxed_slice()))
    }

    /// The bytes of the path.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for SourcePath {
    /// Writes the path as [`escape_path`] does.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", escape_path(&self.0))
    }
}

impl fmt::Debug for SourcePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_what_tar_writes() {
        for (given, clean) in [
            (&b"a"[..], &b"a"[..]),
            (b"./usr/bin/x", b"usr/bin/x"),
            (b"a//b/./c/", b"a/b/c"),
            (b"\xff/...", b"\xff/..."),
        ] {
            assert_eq!(SourcePath::new(given).unwrap().as_bytes(), clean);
        }
    }

    #[test]
    fn refuses_what_could_leave_the_tree() {
        let long = vec![b'a'; 4097];
        for (given, why) in [
            (&b""[..], PathError::Empty),
            (b"./.", PathError::Empty),
            (b"/etc/passwd", PathError::Absolute),
            (b"a/../../b", PathError::ParentComponent),
            (b"..", PathError::ParentComponent),
            (b"a\0b", PathError::Nul),
            (&long, PathError::TooLong),
        ] {
            assert_eq!(SourcePath::new(given).unwrap_err(), why);
        }
    }

    #[test]
    fn shows_bytes_that_are_no_text() {
        assert_eq!(SourcePath::new(b"a\xff\n").unwrap().to_string(), "a\\xff\\n");
    }
}
