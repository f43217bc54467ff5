//! A reader of the database files of bbolt (go.etcd.io/bbolt), in which containerd keeps its lists.
//!
//! ```text
//! page 0   page 1   page 2 ...                 a bucket: branch → branch → leaf: key = value
//! [meta]   [meta]   [leaf] [branch] [free] …                                     key = bucket: its root page,
//!    the newer one names the root bucket                                               or a small leaf inline
//! ```
//!
//! The file belongs to a daemon that holds a lock on it and writes to it at any time, so it is opened for
//! reading only and without a lock. (The crates nut and bbolt-rs wait for that lock, and map the file.) That
//! is safe, since a transaction never writes to the pages that the newest meta page leads to: it writes
//! others, and then a meta page. [`read`] looks at the meta pages again once everything was read, and reads
//! again if the newest is another.
//!
//! Nothing in the file is trusted: it may be torn. Depth, pages and bytes are bounded.

mod page;

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use layer::open_regular;

use crate::{Error, Result};
use page::{BRANCH, Header, LEAF, Meta, branch_elements, leaf_elements};

/// Times that a file is read which changes while it is read. A transaction takes its writer milliseconds.
const MAX_ATTEMPTS: usize = 16;
/// Most levels of pages in a bucket. Each page but the root holds two keys or more.
const MAX_DEPTH: usize = 32;
/// Largest file in bytes. A blob of containerd takes one page.
const MAX_FILE_SIZE: u64 = 4 << 30;
/// Most times that a file's size is read. A list needs each of its pages once or twice.
const MAX_READS: u64 = 8;
/// Smallest and largest size of a page in bytes. It is that of the system's memory pages.
const PAGE_SIZES: std::ops::RangeInclusive<u64> = (1 << 10)..=(1 << 20);
/// Flag of an element: its value is a bucket.
const BUCKET_FLAG: u32 = 1;
/// Size of the header of a bucket in bytes: the page of its root, or 0 if a page follows inline; a sequence
/// number.
const BUCKET_HEADER: usize = 16;

/// Reads the file at `path` as it is at one moment: `look` gets the root bucket, and is called again if the
/// file changed meanwhile. Returns `None` if there is no file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] if the file is no bbolt database, is broken, or never stays the same
/// for long enough; [`Error::TooLarge`]; those of `look`.
pub(super) fn read<T>(path: &Path, look: impl Fn(&Bucket<'_>) -> Result<T>) -> Result<Option<T>> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let mut meta = newest_meta(&file, path)?;
    for _ in 0..MAX_ATTEMPTS {
        let size = file.metadata().map_err(Error::io("look at", path))?.len();
        if size > MAX_FILE_SIZE {
            return Err(Error::TooLarge { what: path.display().to_string(), size, max: MAX_FILE_SIZE });
        }
        let left = Cell::new(MAX_READS * size);
        let reader = Reader { file: &file, path, page_size: meta.page_size, size, left };
        let found = look(&Bucket { reader: &reader, place: Place::Page(meta.root) });
        let now = newest_meta(&file, path)?;
        if now == meta {
            return found.map(Some);
        }
        meta = now;
    }
    Err(Error::malformed(path.display().to_string(), "it changes each time that it is read; try again"))
}

/// The meta page of the newest transaction that is whole.
fn newest_meta(file: &File, path: &Path) -> Result<Meta> {
    let at = |offset: u64| -> Result<Option<Meta>> {
        let mut bytes = [0; Meta::END];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(Meta::parse(&bytes).filter(|meta| PAGE_SIZES.contains(&meta.page_size))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    };
    let first = at(0)?;
    let second = match &first {
        Some(first) => at(first.page_size)?,
        // The first is torn: the second is one page after it, whatever that is.
        None => {
            let sizes = std::iter::successors(Some(*PAGE_SIZES.start()), |size| Some(size * 2))
                .take_while(|size| PAGE_SIZES.contains(size));
            let mut second = None;
            for size in sizes {
                second = second.or(at(size)?.filter(|meta| meta.page_size == size));
            }
            second
        }
    };
    first
        .into_iter()
        .chain(second)
        .max_by_key(|meta| meta.transaction)
        .ok_or_else(|| Error::malformed(path.display().to_string(), "it has no valid meta page of bbolt"))
}

/// Reads pages of a file.
struct Reader<'f> {
    file: &'f File,
    path: &'f Path,
    page_size: u64,
    /// The size of the file in bytes.
    size: u64,
    /// Bytes that may still be read.
    left: Cell<u64>,
}

impl Reader<'_> {
    fn broken(&self, reason: impl ToString) -> Error {
        Error::malformed(self.path.display().to_string(), reason)
    }

    fn charge(&self, bytes: u64) -> Result<()> {
        let left = self.left.get().checked_sub(bytes);
        self.left.set(left.ok_or_else(|| self.broken("its pages lead to the same pages again and again"))?);
        Ok(())
    }

    /// A page with those that it runs over into.
    fn page(&self, id: u64) -> Result<Vec<u8>> {
        let outside = || self.broken(format!("page {id} is not in the file"));
        let read = |bytes: &mut [u8], offset| {
            self.file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => outside(),
                _ => Error::io("read", self.path)(error),
            })
        };
        let start = id.checked_mul(self.page_size).filter(|&start| start < self.size).ok_or_else(outside)?;
        let mut header = [0; Header::SIZE];
        read(&mut header, start)?;
        let header = Header::parse(&header).filter(|header| header.id == id);
        let header = header.ok_or_else(|| self.broken(format!("page {id} is another")))?;
        let size = (u64::from(header.overflow) + 1) * self.page_size;
        if size > self.size - start {
            return Err(outside());
        }
        self.charge(size)?;
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| outside())?];
        read(&mut bytes, start)?;
        Ok(bytes)
    }
}

/// A bucket: keys with values or further buckets, sorted by their keys.
pub(super) struct Bucket<'r> {
    reader: &'r Reader<'r>,
    place: Place,
}

/// The place of the root page of a bucket.
#[derive(Debug)]
enum Place {
    /// In the file, under a number.
    Page(u64),
    /// In the value of the bucket's key.
    Inline(Vec<u8>),
}

/// The content of a key.
enum Entry<'p, 'r> {
    /// A value.
    Value(&'p [u8]),
    /// A bucket.
    Bucket(Bucket<'r>),
}

/// Is called for a key and its content.
type Visitor<'v, 'r> = &'v mut dyn FnMut(&[u8], Entry<'_, 'r>) -> Result<()>;

impl fmt::Debug for Bucket<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Bucket").field("file", &self.reader.path).field("place", &self.place).finish()
    }
}

impl<'r> Bucket<'r> {
    /// Returns the bucket under `key`, if there is one.
    ///
    /// # Errors
    /// As [`read`].
    pub(super) fn bucket(&self, key: &[u8]) -> Result<Option<Self>> {
        let mut found = None;
        self.visit(Some(key), &mut |_, entry| {
            if let Entry::Bucket(bucket) = entry {
                found = Some(bucket);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Returns the value under `key`, if there is one.
    ///
    /// # Errors
    /// As [`read`].
    pub(super) fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut found = None;
        self.visit(Some(key), &mut |_, entry| {
            if let Entry::Value(value) = entry {
                found = Some(value.to_vec());
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `each` for every value in this bucket, with its key.
    ///
    /// # Errors
    /// As [`read`].
    pub(super) fn values(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        self.visit(None, &mut |key, entry| {
            if let Entry::Value(value) = entry {
                each(key, value);
            }
            Ok(())
        })
    }

    /// Calls `each` for every bucket in this one, with its key.
    ///
    /// # Errors
    /// As [`read`]; those of `each`.
    pub(super) fn buckets(&self, mut each: impl FnMut(&[u8], &Self) -> Result<()>) -> Result<()> {
        self.visit(None, &mut |key, entry| match entry {
            Entry::Bucket(bucket) => each(key, &bucket),
            Entry::Value(_) => Ok(()),
        })
    }

    /// Visits all keys, or only `key`.
    fn visit(&self, key: Option<&[u8]>, visitor: Visitor<'_, 'r>) -> Result<()> {
        match &self.place {
            Place::Page(id) => self.visit_page(*id, key, 0, visitor),
            Place::Inline(page) => self.visit_leaf(page, key, visitor),
        }
    }

    fn visit_page(&self, id: u64, key: Option<&[u8]>, depth: usize, visitor: Visitor<'_, 'r>) -> Result<()> {
        let broken = |reason: &str| self.reader.broken(format!("page {id} {reason}"));
        if depth == MAX_DEPTH {
            return Err(broken("is deeper than pages can be"));
        }
        let page = self.reader.page(id)?;
        match Header::parse(&page).map(|header| header.flags) {
            Some(LEAF) => self.visit_leaf(&page, key, visitor),
            Some(BRANCH) => {
                let children = branch_elements(&page).ok_or_else(|| broken("has elements outside of it"))?;
                let wanted = match key {
                    // The last child whose first key is not after the wanted one.
                    Some(key) => {
                        let after = children.iter().position(|child| child.key > key);
                        let child = after.unwrap_or(children.len()).saturating_sub(1);
                        children.get(child..=child).unwrap_or_default()
                    }
                    None => &children,
                };
                wanted.iter().try_for_each(|child| self.visit_page(child.page, key, depth + 1, visitor))
            }
            _ => Err(broken("is neither a branch nor a leaf")),
        }
    }

    fn visit_leaf(&self, page: &[u8], key: Option<&[u8]>, visitor: Visitor<'_, 'r>) -> Result<()> {
        let broken = |reason| self.reader.broken(reason);
        let elements = leaf_elements(page).ok_or_else(|| broken("a leaf has elements outside of it"))?;
        for element in elements.iter().filter(|element| key.is_none_or(|key| element.key == key)) {
            if element.flags & BUCKET_FLAG == 0 {
                visitor(element.key, Entry::Value(element.value))?;
                continue;
            }
            let value = element.value;
            let header = value.first_chunk::<BUCKET_HEADER>();
            let header = header.ok_or_else(|| broken("a bucket has no header"))?;
            let place = match page::u64_at(header, 0).unwrap_or_default() {
                0 if matches!(self.place, Place::Inline(_)) => {
                    return Err(broken("a bucket that is inline has buckets"));
                }
                0 => {
                    self.reader.charge(value.len() as u64)?;
                    Place::Inline(value[BUCKET_HEADER..].to_vec())
                }
                root => Place::Page(root),
            };
            visitor(element.key, Entry::Bucket(Self { reader: self.reader, place }))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
