//! Files as bbolt writes them, and broken ones. `registry-ext/tests/daemons.rs` has those of containerd.

use std::fs;
use std::path::PathBuf;

use fixtures::Rng;
use tempfile::TempDir;

use super::*;

/// Size of a page: the smallest.
const PAGE: usize = 1024;

/// An element of a page that is to be written: flags, key, value. In a branch, the value is a page.
type Element = (u32, Vec<u8>, Vec<u8>);

fn value(key: &str, value: &[u8]) -> Element {
    (0, key.into(), value.into())
}

/// A bucket whose root is the page `root`.
fn bucket(key: &str, root: u64) -> Element {
    (BUCKET_FLAG, key.into(), [root.to_ne_bytes(), [0; 8]].concat())
}

/// A bucket that is a leaf within its value.
fn inline(key: &str, elements: &[Element]) -> Element {
    (BUCKET_FLAG, key.into(), [vec![0; BUCKET_HEADER], page(0, LEAF, elements)].concat())
}

fn page(id: u64, flags: u16, elements: &[Element]) -> Vec<u8> {
    let mut page = [&id.to_ne_bytes()[..], &flags.to_ne_bytes()].concat();
    page.extend(u16::try_from(elements.len()).unwrap().to_ne_bytes());
    page.extend([0; 4]);
    let mut data = Vec::new();
    for (index, (flags, key, value)) in elements.iter().enumerate() {
        let position = u32::try_from(16 * (elements.len() - index) + data.len()).unwrap().to_ne_bytes();
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_ne_bytes();
        data.extend_from_slice(key);
        if page[8..10] == BRANCH.to_ne_bytes() {
            page.extend([position, size(key)].concat());
            page.extend(value);
        } else {
            page.extend([flags.to_ne_bytes(), position, size(key), size(value)].concat());
            data.extend_from_slice(value);
        }
    }
    page.extend(data);
    page
}

fn meta(transaction: u64, root: u64) -> Vec<u8> {
    let mut fields = Vec::new();
    for number in [0xed0c_daed, 2, u32::try_from(PAGE).unwrap(), 0] {
        fields.extend(number.to_ne_bytes());
    }
    // The root and its sequence, the list of free pages, the number of pages.
    for number in [root, 0, 2, 100, transaction] {
        fields.extend(number.to_ne_bytes());
    }
    let mut hasher = fnv::FnvHasher::default();
    std::hash::Hasher::write(&mut hasher, &fields);
    fields.extend(std::hash::Hasher::finish(&hasher).to_ne_bytes());
    [page(0, 4, &[]), fields].concat()
}

/// A file of pages, each of which may run over into the next.
struct Database {
    dir: TempDir,
    bytes: Vec<u8>,
}

impl Database {
    fn new(pages: &[(usize, Vec<u8>)]) -> Self {
        let mut database = Self { dir: TempDir::new().unwrap(), bytes: Vec::new() };
        for (id, page) in pages {
            database.put(*id, page);
        }
        database
    }

    fn put(&mut self, id: usize, page: &[u8]) {
        let (start, pages) = (id * PAGE, page.len().div_ceil(PAGE).max(1));
        self.bytes.resize(self.bytes.len().max(start + pages * PAGE), 0);
        self.bytes[start..start + page.len()].copy_from_slice(page);
        if id > 1 {
            let overflow = u32::try_from(pages - 1).unwrap();
            self.bytes[start + 12..start + 16].copy_from_slice(&overflow.to_ne_bytes());
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("meta.db")
    }

    fn read<T>(&self, look: impl Fn(&Bucket<'_>) -> Result<T>) -> Result<T> {
        // Not truncated first: file systems flush what takes the place of a truncated file.
        let file = fs::OpenOptions::new().create(true).write(true).truncate(false).open(self.path()).unwrap();
        file.set_len(self.bytes.len() as u64).unwrap();
        file.write_all_at(&self.bytes, 0).unwrap();
        read(&self.path(), look).map(|found| found.expect("the file is there"))
    }
}

/// A root with one value, the number of a page.
fn numbered(id: u64) -> Vec<u8> {
    page(id, LEAF, &[value("page", &[u8::try_from(id).unwrap()])])
}

fn number(root: &Bucket<'_>) -> Result<Option<Vec<u8>>> {
    root.value(b"page")
}

/// A database with a branch, an overflow page and buckets of both kinds.
fn sample() -> Database {
    let branch = [("a", 5_u64), ("m", 6)].map(|(key, id)| (0, key.into(), id.to_ne_bytes().to_vec()));
    Database::new(&[
        (0, meta(3, 3)),
        (1, meta(2, 9)),
        (3, page(3, LEAF, &[inline("v0", &[value("x", b"1"), value("y", b"")]), bucket("v1", 4)])),
        (4, page(4, BRANCH, &branch)),
        (5, page(5, LEAF, &[inline("a", &[value("id", b"5")]), value("b", b"not a bucket")])),
        (6, page(6, LEAF, &[value("m", &[7; 3000]), inline("z", &[value("id", b"6")])])),
    ])
}

#[test]
fn keys_are_found_in_branches_leaves_and_inline_buckets() {
    let database = sample();
    let found = database.read(|root| {
        let v0 = root.bucket(b"v0")?.expect("an inline bucket");
        assert_eq!(v0.value(b"x")?.as_deref(), Some(&b"1"[..]));
        assert_eq!(v0.value(b"y")?.as_deref(), Some(&b""[..]));
        assert_eq!(v0.value(b"z")?, None);
        let v1 = root.bucket(b"v1")?.expect("a bucket with pages");
        assert_eq!(v1.value(b"m")?, Some(vec![7; 3000]));
        assert!(v1.value(b"a")?.is_none() && v1.bucket(b"b")?.is_none(), "the one kind is not the other");
        assert!(v1.value(b"0")?.is_none() && v1.bucket(b"zz")?.is_none());
        let mut kept = Vec::new();
        root.bucket(b"v1")?
            .expect("as before")
            .values(|key, value| kept.push((key.to_vec(), value.len())))?;
        assert_eq!(kept, [(b"b".to_vec(), 12), (b"m".to_vec(), 3000)]);
        let mut ids = Vec::new();
        v1.buckets(|key, bucket| {
            ids.push((key.to_vec(), bucket.value(b"id")?));
            Ok(())
        })?;
        Ok(ids)
    });
    let expected = [("a", "5"), ("z", "6")].map(|(key, id)| (key.into(), Some(id.into())));
    assert_eq!(found.unwrap(), expected);
}

#[test]
fn the_newest_whole_meta_page_counts() {
    let pages = [(0, meta(8, 3)), (1, meta(9, 4)), (3, numbered(3)), (4, numbered(4))];
    let mut database = Database::new(&pages);
    assert_eq!(database.read(number).unwrap(), Some(vec![4]));
    for byte in PAGE + 16..PAGE + 80 {
        // The sequence number and the flags are covered by the checksum, too.
        database.bytes[byte] ^= 1;
        assert_eq!(database.read(number).unwrap(), Some(vec![3]), "byte {byte}");
        database.bytes[byte] ^= 1;
    }
    // The size of a page is then that of the second.
    database.bytes[20] ^= 1;
    assert_eq!(database.read(number).unwrap(), Some(vec![4]));
    database.bytes[PAGE + 20] ^= 1;
    assert!(matches!(database.read(number), Err(Error::Malformed { .. })));
    for size in [0, 40, PAGE + 40] {
        database.bytes.truncate(size);
        assert!(matches!(database.read(number), Err(Error::Malformed { .. })));
    }
    assert!(read(&database.dir.path().join("absent"), number).unwrap().is_none());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again() {
    let database = Database::new(&[(0, meta(8, 3)), (1, meta(7, 4)), (3, numbered(3)), (4, numbered(4))]);
    let calls = Cell::new(0);
    let write = |offset: usize, bytes: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(database.path()).unwrap();
        file.write_all_at(bytes, offset as u64).unwrap();
    };
    let found = database.read(|root| {
        calls.set(calls.get() + 1);
        if calls.get() == 1 {
            // Two transactions: the second may write to the pages of the root that was there.
            write(PAGE, &meta(9, 4));
            write(3 * PAGE, &[0xff; PAGE]);
            assert!(number(root).is_err(), "what is read in between does not count");
        }
        number(root)
    });
    assert_eq!((found.unwrap(), calls.get()), (Some(vec![4]), 2));

    calls.set(0);
    let found = database.read(|_| {
        calls.set(calls.get() + 1);
        write(PAGE, &meta(100 + calls.get(), 4));
        Ok(())
    });
    assert!(matches!(found, Err(Error::Malformed { .. })));
    assert_eq!(calls.get(), MAX_ATTEMPTS as u64);
}

/// Reads all that can be reached by the kinds of calls that there are. Returns the number of buckets.
fn walk(bucket: &Bucket<'_>, depth: usize) -> Result<u64> {
    let mut count = 1;
    bucket.value(b"id")?;
    // The buckets of containerd are seven deep; in a broken file one can be within itself.
    if depth == 7 {
        return Ok(count);
    }
    if let Some(bucket) = bucket.bucket(b"v1")? {
        count += walk(&bucket, depth + 1)?;
    }
    bucket.buckets(|_, bucket| {
        count += walk(bucket, depth + 1)?;
        Ok(())
    })?;
    Ok(count)
}

#[test]
fn pages_that_lead_astray_are_errors() {
    let branch_to = |id: u64, to: u64, count: u8| {
        let children: Vec<Element> =
            (0..count).map(|key| (0, vec![key], to.to_ne_bytes().to_vec())).collect();
        page(id, BRANCH, &children)
    };
    let with_root = |root: Vec<u8>| Database::new(&[(0, meta(1, 3)), (3, root)]);
    let nested = inline("a", &[inline("b", &[value("id", b"1")])]);
    for (what, root) in [
        ("a page that is its own child", branch_to(3, 3, 1)),
        ("a page that is not in the file", branch_to(3, 1 << 60, 1)),
        ("a page whose offset is no number", branch_to(3, u64::MAX, 1)),
        ("a page of another number", numbered(4)),
        ("a page of no kind", page(3, 0x10, &[])),
        ("an inline bucket with buckets", page(3, LEAF, &[nested])),
        ("a bucket without a header", page(3, LEAF, &[(BUCKET_FLAG, b"a".to_vec(), vec![0; 15])])),
        ("an inline bucket that is cut", page(3, LEAF, &[(BUCKET_FLAG, b"a".to_vec(), vec![0; 20])])),
    ] {
        let found = with_root(root).read(|root| walk(root, 0));
        assert!(matches!(found, Err(Error::Malformed { .. })), "{what}: {found:?}");
    }
    for (what, offset, bytes) in [
        ("elements past the end", 3 * PAGE + 10, &[0xff, 0xff][..]),
        ("a key past the end", 3 * PAGE + 16 + 4, &[0xff, 0xff, 0xff, 0xff]),
        ("pages past the end", 3 * PAGE + 12, &[0xff, 0xff, 0xff, 0xff]),
    ] {
        let mut database = with_root(page(3, LEAF, &[value("a", b"b")]));
        database.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
        let found = database.read(|root| walk(root, 0));
        assert!(matches!(found, Err(Error::Malformed { .. })), "{what}: {found:?}");
    }
    // Forty children, forty times forty, ... of one leaf.
    let mut database = Database::new(&[(0, meta(1, 3)), (12, numbered(12))]);
    for id in 3..12 {
        database.put(id, &branch_to(id as u64, id as u64 + 1, 40));
    }
    let found = database.read(|root| walk(root, 0));
    assert!(matches!(found, Err(Error::Malformed { .. })), "{found:?}");
}

#[test]
fn any_change_of_bytes_gives_a_result_or_an_error() {
    let database = sample();
    assert_eq!(database.read(|root| walk(root, 0)).unwrap(), 8);
    let used: Vec<usize> = (2 * PAGE..database.bytes.len()).filter(|&at| database.bytes[at] != 7).collect();
    let (mut rng, mut outcomes) = (Rng::new(1), [0; 2]);
    let meaning: Vec<usize> = used.iter().copied().filter(|&at| database.bytes[at] != 0).collect();
    let mut broken = sample();
    for _ in 0..2000 {
        broken.bytes.clone_from(&database.bytes);
        for _ in 0..rng.between(1, 4) {
            // Most bytes are zeros after the last element.
            let at = if rng.chance(70) { rng.pick(&meaning) } else { rng.pick(&used) };
            broken.bytes[at] =
                if rng.chance(50) { rng.byte() } else { rng.pick(&[0, 1, 2, 3, 4, 0x7f, 0xff]) };
        }
        match broken.read(|root| walk(root, 0)) {
            Ok(count) => {
                assert!(count < 20_000, "{count} buckets");
                outcomes[0] += 1;
            }
            Err(error) => {
                assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
                outcomes[1] += 1;
            }
        }
    }
    assert!(outcomes.iter().all(|&count| count > 200), "{outcomes:?}");
}
