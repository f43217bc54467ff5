//! The files of a commit.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use delta_format::{Budget, Error as DeltaError, SourceFile, SourceFiles, SourcePath, Work};
use flate2::read::DeflateDecoder;
use layer::{Digest, Spool, SpoolOptions};
use rustix::fs::FileType;
use tar_patch::{DirFile, DirSource};

use super::objects::{ArchivedHeader, Directory};
use crate::oci::hex;
use crate::store::sources::SourcesFile;

/// Symlinks that are followed on the way to a file, as Linux does.
const MAX_LINKS: usize = 40;
/// Most bytes of the target of a symlink.
const MAX_TARGET: u64 = 4096;
/// Most bytes of a directory: each entry takes some hundred.
const MAX_DIRECTORY_SIZE: u64 = 16 << 20;
/// Bytes of directories that are kept. In memory they take a few times as much.
const MAX_KEPT: u64 = 32 << 20;
/// Work to go one step, and to open an object: some system calls.
const STEP_WORK: u64 = 2 << 10;
/// The object store within an image that was made of an ostree commit.
const OBJECTS_IN_IMAGE: &[u8] = b"sysroot/ostree/repo/objects/";

/// The files of a commit in an ostree repository.
///
/// Symlinks among the directories of a path are followed as after a `chroot` into the commit.
#[derive(Debug)]
pub struct OstreeFiles {
    repository: DirSource,
    root: Digest,
    options: SpoolOptions,
    directories: HashMap<Digest, Arc<Directory>>,
    kept: u64,
}

/// A file of a commit.
enum Content {
    File(SourcesFile),
    Symlink(Vec<u8>),
}

impl OstreeFiles {
    pub(super) fn new(repository: DirSource, root: Digest, options: &SpoolOptions) -> Self {
        let options = options.clone();
        Self { repository, root, options, directories: HashMap::new(), kept: 0 }
    }

    /// Opens a file by its path in the image.
    pub(in crate::store) fn open_file(
        &mut self,
        path: &SourcePath,
        budget: &Budget,
    ) -> delta_format::Result<SourcesFile> {
        // A tar that ostree wrote has its objects, too, under the names that they have in any repository.
        if let Some(object) = path.as_bytes().strip_prefix(OBJECTS_IN_IMAGE).and_then(object_of) {
            return match self.content(path, object, budget)? {
                Content::File(file) => Ok(file),
                Content::Symlink(_) => Err(DeltaError::SourceNotRegular { path: path.clone() }),
            };
        }
        match self.resolve(path, path.as_bytes().to_vec(), budget) {
            // The configuration of an image is kept in usr/etc, of which /etc is a copy on each host.
            Err(DeltaError::SourceMissing { .. }) if path.as_bytes().starts_with(b"etc/") => {
                self.resolve(path, [b"usr/", path.as_bytes()].concat(), budget)
            }
            resolved => resolved,
        }
    }

    /// Opens the file to which `way` leads. `path` is what it is called in errors.
    fn resolve(
        &mut self,
        path: &SourcePath,
        way: Vec<u8>,
        budget: &Budget,
    ) -> delta_format::Result<SourcesFile> {
        let missing = |reason: &str| DeltaError::SourceMissing {
            path: path.clone(),
            source: io::Error::new(io::ErrorKind::NotFound, reason),
        };
        let not_regular = || DeltaError::SourceNotRegular { path: path.clone() };
        // The names that are left, the next one last, and the directories from the root to here.
        let mut names: Vec<Vec<u8>> = components(&way);
        let mut passed = vec![self.root];
        let mut links = 0;
        while let Some(name) = names.pop() {
            budget.charge(Work::reading(STEP_WORK))?;
            if name == b".." {
                if passed.len() > 1 {
                    passed.pop();
                }
                continue;
            }
            let here = self.directory(path, passed[passed.len() - 1], budget)?;
            if let Some(below) = here.directories.get(&name) {
                passed.push(*below);
                continue;
            }
            let file = *here.files.get(&name).ok_or_else(|| missing("the commit does not have it"))?;
            match self.content(path, file, budget)? {
                Content::File(file) if names.is_empty() => return Ok(file),
                Content::File(_) => return Err(missing("a file is in the place of one of its directories")),
                Content::Symlink(_) if names.is_empty() => return Err(not_regular()),
                Content::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(missing("there are too many links on the way"));
                    }
                    if target.starts_with(b"/") {
                        passed.truncate(1);
                    }
                    names.extend(components(&target));
                }
            }
        }
        Err(not_regular())
    }

    fn directory(
        &mut self,
        path: &SourcePath,
        tree: Digest,
        budget: &Budget,
    ) -> delta_format::Result<Arc<Directory>> {
        if let Some(known) = self.directories.get(&tree) {
            return Ok(Arc::clone(known));
        }
        let file = self.repository.open(&object_path(tree, "dirtree"), budget)?;
        let size = file.size();
        budget.charge(Work::reading(size))?;
        if size > MAX_DIRECTORY_SIZE {
            return Err(broken(path, "a directory is too large"));
        }
        let bytes = read(&file, 0, size).map_err(unreadable(path))?;
        let directory = Directory::parse(&bytes).ok_or_else(|| broken(path, "a directory is broken"))?;
        if self.kept + size > MAX_KEPT {
            self.directories.clear();
            self.kept = 0;
        }
        self.kept += size;
        let directory = Arc::new(directory);
        self.directories.insert(tree, Arc::clone(&directory));
        Ok(directory)
    }

    /// The content of a file, in whichever of the modes of repositories it is kept.
    fn content(
        &mut self,
        path: &SourcePath,
        object: Digest,
        budget: &Budget,
    ) -> delta_format::Result<Content> {
        budget.charge(Work::reading(STEP_WORK))?;
        let bare = object_path(object, "file");
        match self.repository.open(&bare, budget) {
            // The attribute of the mode bare-user has the kind that the file would have, and a link's target is
            // its content.
            Ok(file) if file.size() <= MAX_TARGET && is_link_of_user(&file) => {
                read(&file, 0, file.size()).map(Content::Symlink).map_err(unreadable(path))
            }
            Ok(file) => Ok(Content::File(SourcesFile::Dir(file))),
            // The mode bare has symlinks.
            Err(DeltaError::SourceNotRegular { .. }) => match self.repository.read_link(&bare, budget) {
                Ok(target) => Ok(Content::Symlink(target)),
                Err(_) => Err(DeltaError::SourceNotRegular { path: path.clone() }),
            },
            Err(DeltaError::SourceMissing { .. }) => self.archived(path, object, budget),
            Err(error) => Err(error),
        }
    }

    /// The content of a file in a repository of the mode archive: it is inflated to a temporary file.
    fn archived(
        &mut self,
        path: &SourcePath,
        object: Digest,
        budget: &Budget,
    ) -> delta_format::Result<Content> {
        let file = self.repository.open(&object_path(object, "filez"), budget)?;
        let prefix = read(&file, 0, ArchivedHeader::PREFIX).map_err(unreadable(path))?;
        let size = prefix.first_chunk().map_or(0, |size| u64::from(u32::from_be_bytes(*size)));
        if size > ArchivedHeader::MAX_SIZE {
            return Err(broken(path, "the header of its object is too large"));
        }
        budget.charge(Work::reading(size))?;
        let bytes = read(&file, ArchivedHeader::PREFIX, size).map_err(unreadable(path))?;
        let header = ArchivedHeader::parse(&bytes);
        let header = header.ok_or_else(|| broken(path, "the header of its object is broken"))?;
        match FileType::from_raw_mode(header.mode) {
            FileType::Symlink if header.target.len() as u64 > MAX_TARGET => {
                return Err(broken(path, "the target of the link is too long"));
            }
            FileType::Symlink => return Ok(Content::Symlink(header.target)),
            FileType::RegularFile => {}
            _ => return Err(DeltaError::SourceNotRegular { path: path.clone() }),
        }
        if header.size > self.options.max_size {
            return Err(broken(path, "it is larger than a layer may be"));
        }
        budget.charge(Work::reading(header.size.saturating_add(file.size())))?;
        let compressed = Rest { file, at: ArchivedHeader::PREFIX + size };
        let inflated = inflate(compressed, header.size, &self.options).map_err(unreadable(path))?;
        Ok(Content::File(SourcesFile::Unpacked(Spool::of_file(path.to_string(), inflated, header.size))))
    }
}

/// Inflates a file of this size to a temporary one.
fn inflate(compressed: Rest, size: u64, options: &SpoolOptions) -> io::Result<File> {
    let mut file = tempfile::tempfile_in(&options.temp_dir)?;
    let mut content = DeflateDecoder::new(BufReader::new(compressed)).take(size);
    let written = io::copy(&mut content, &mut file)?;
    file.flush()?;
    if written == size { Ok(file) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// A file from an offset on.
struct Rest {
    file: DirFile,
    at: u64,
}

impl Read for Rest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.file.size().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let size = left.min(buffer.len());
        self.file.read_exact_at(&mut buffer[..size], self.at)?;
        self.at += size as u64;
        Ok(size)
    }
}

/// The names of a way, the first one last.
fn components(way: &[u8]) -> Vec<Vec<u8>> {
    let names = way.split(|&byte| byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.rev().map(<[u8]>::to_vec).collect()
}

/// The object that has this name in `objects`: `XX/REST.file`.
fn object_of(name: &[u8]) -> Option<Digest> {
    let (first, rest) = std::str::from_utf8(name).ok()?.strip_suffix(".file")?.split_once('/')?;
    format!("sha256:{first}{rest}").parse().ok().filter(|_| first.len() == 2)
}

/// The path of an object in its repository.
pub(super) fn object_path(object: Digest, kind: &str) -> SourcePath {
    let hex = hex(object);
    let path = format!("objects/{}/{}.{kind}", &hex[..2], &hex[2..]);
    SourcePath::new(path.as_bytes()).expect("the path has no components but names")
}

/// Tells whether a regular file stands for a symlink: `user.ostreemeta` is `(uuua(ayay))`, the mode its third number.
fn is_link_of_user(file: &DirFile) -> bool {
    let mut value = [0; 4096];
    let size = file.attribute("user.ostreemeta", &mut value);
    let mode = size.ok().and_then(|size| value.get(8..12).filter(|_| size >= 12)?.first_chunk().copied());
    mode.is_some_and(|mode| FileType::from_raw_mode(u32::from_be_bytes(mode)) == FileType::Symlink)
}

/// Reads a part of a file whose size is bounded.
pub(super) fn read(file: &DirFile, at: u64, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn unreadable(path: &SourcePath) -> impl Fn(io::Error) -> DeltaError {
    move |source| DeltaError::SourceUnreadable { path: path.clone(), source }
}

fn broken(path: &SourcePath, reason: &str) -> DeltaError {
    unreadable(path)(io::Error::new(io::ErrorKind::InvalidData, reason))
}
