use super::*;
use crate::{CorruptKind, SourcePath};

/// A header as GNU tar or Go's archive/tar writes it.
fn header(name: &[u8], mode: u64, size: u64, kind: u8, link: &[u8], magic: &[u8]) -> Header {
    let mut header = [0; BLOCK];
    header[MAGIC.start..MAGIC.start + magic.len()].copy_from_slice(magic);
    put_name(&mut header, name);
    put_octal(&mut header[100..107], mode);
    put_octal(&mut header[108..115], 0);
    put_octal(&mut header[116..123], 0);
    put_size(&mut header, size);
    put_octal(&mut header[136..147], 0o14_000_000_000 + u64::from(kind == b'0') * (size % 3));
    header[155] = b' ';
    header[TYPE] = kind;
    put_text(&mut header[LINK], link);
    put_checksum(&mut header);
    header
}

/// The block and the name that GNU tar writes before an entry with a long name.
fn long(name: &[u8]) -> Vec<u8> {
    let mut blocks = header(LONG_NAME, 0o644, name.len() as u64 + 1, b'L', b"", b"ustar  \0").to_vec();
    blocks.extend_from_slice(name);
    blocks.resize(blocks.len() + 1 + padding(name.len() as u64 + 1), 0);
    blocks
}

/// Entries of each kind: their blocks, content, size and source.
fn entries() -> Vec<(Vec<u8>, Content, u64, Option<SourcePath>)> {
    let path = |path: &[u8]| Some(SourcePath::new(path).unwrap());
    let mut entries = Vec::new();
    for number in 0..40u64 {
        let directory = format!("./lib{}/", number / 5).into_bytes();
        let file = [&directory[..], format!("part{number}.so").as_bytes()].concat();
        let far = [&directory[..], &[b'x'; 90], b"/", format!("{number}").as_bytes()].concat();
        let split = [&directory[..], &[b'y'; 90], b"/", &[b'z'; 60], b"/"].concat();
        let gnu: &[u8] = b"ustar  \0";
        let ustar: &[u8] = b"ustar\x0000";
        entries.push((header(&directory, 0o755, 0, b'5', b"", gnu).to_vec(), Content::None, 0, None));
        let block = header(&file, 0o644, number * 700, b'0', b"", gnu).to_vec();
        entries.push((block, Content::Whole, number * 700, path(&file)));
        let block = header(&file, 0o644, 9, b'0', b"", gnu).to_vec();
        entries.push((block, Content::Opened, 9, path(b"elsewhere")));
        entries.push((header(&file, 0o4755, number, b'0', b"", gnu).to_vec(), Content::Ops, number, None));
        entries.push((header(b"a", 0o777, 0, b'2', &file, gnu).to_vec(), Content::None, 0, None));
        entries.push((header(&split, 0o755, 0, b'5', b"", ustar).to_vec(), Content::None, 0, None));
        let mut blocks = long(&far);
        blocks.extend(header(&far, 0o644, 3, b'0', b"", gnu));
        entries.push((blocks, Content::Whole, 3, path(&far)));
    }
    entries
}

fn lists(entries: &[(Vec<u8>, Content, u64, Option<SourcePath>)]) -> Vec<HeaderList> {
    let mut lists = HeaderLists::default();
    for (blocks, content, size, source) in entries {
        let entry = TarEntry { blocks, content: *content, size: *size, source: source.as_ref() };
        assert!(lists.push(&entry), "{entry:?}");
    }
    lists.finish()
}

#[test]
fn headers_come_back_with_their_sources() {
    let entries = entries();
    let lists = lists(&entries);
    let [only] = lists.as_slice() else { panic!("{} lists", lists.len()) };
    let size: usize = entries.iter().map(|(blocks, ..)| blocks.len()).sum();
    assert!(only.payload.len() * 10 < size, "{} of {size} bytes", only.payload.len());
    let mut list = HeaderReader::default();
    list.start(only.payload.clone()).unwrap();
    for (blocks, content, size, source) in &entries {
        let draft = list.next().unwrap();
        assert_eq!((draft.content(), draft.path()), (*content, source.as_ref()));
        assert!(*content == Content::Whole || draft.size() == *size);
        let mut made = Vec::new();
        list.finish(&draft, *size, &mut made).unwrap();
        assert!(made == *blocks, "{} is not {}", made.escape_ascii(), blocks.escape_ascii());
    }
    assert_eq!(list.end(), Ok(()));
    assert!(list.next().is_err());
}

#[test]
fn a_second_list_goes_on_where_the_first_ends() {
    let entries = entries();
    let mut lists = HeaderLists::default();
    let mut made = Vec::new();
    for part in entries.chunks(31) {
        for (blocks, content, size, source) in part {
            let entry = TarEntry { blocks, content: *content, size: *size, source: source.as_ref() };
            assert!(lists.push(&entry));
        }
        lists.end_list();
    }
    let mut list = HeaderReader::default();
    for next in lists.finish() {
        assert!(next.entries <= 31);
        list.start(next.payload).unwrap();
        for _ in 0..next.entries {
            let draft = list.next().unwrap();
            list.finish(&draft, entries[made.len()].2, {
                made.push(Vec::new());
                made.last_mut().unwrap()
            })
            .unwrap();
        }
    }
    assert!(made.iter().eq(entries.iter().map(|entry| &entry.0)));
}

#[test]
fn what_a_list_cannot_hold_is_left_out() {
    let good = header(b"a", 0o644, 5, b'0', b"", b"ustar  \0");
    let mut lists = HeaderLists::default();
    let mut push = |blocks: &[u8], content, size, source: Option<&SourcePath>| {
        lists.push(&TarEntry { blocks, content, size, source })
    };
    let mut other_sum = good;
    other_sum[150] ^= 1;
    assert!(!push(&other_sum, Content::Ops, 5, None), "another checksum");
    assert!(!push(&good[1..], Content::Ops, 5, None), "cut off");
    assert!(!push(&good, Content::Whole, 5, None), "no source");
    let path = SourcePath::new(b"a").unwrap();
    assert!(!push(&good, Content::Ops, 5, Some(&path)), "a source that nothing reads");
    let mut link = header(b"a", 0o777, 0, b'2', b"target", b"ustar  \0");
    link[LINK.end - 1] = b'x';
    put_checksum(&mut link);
    assert!(!push(&link, Content::None, 0, None), "bytes after the target of a link");
    let name = [b'n'; 200];
    let mut dirty = long(&name);
    dirty[BLOCK + 300] = 1;
    dirty.extend(header(&name, 0o644, 5, b'0', b"", b"ustar  \0"));
    assert!(!push(&dirty, Content::Ops, 5, None), "bytes after a long name");
    assert!(push(&good, Content::Ops, 5, None));
    let lists = lists.finish();
    let mut list = HeaderReader::default();
    list.start(lists[0].payload.clone()).unwrap();
    let draft = list.next().unwrap();
    let mut made = Vec::new();
    list.finish(&draft, 5, &mut made).unwrap();
    assert_eq!(made, good);
    assert_eq!(list.end(), Ok(()));
}

#[test]
fn a_broken_list_is_refused() {
    let payload = lists(&entries()[..42]).remove(0).payload;
    let run = |payload: &[u8]| -> Result<(), CorruptKind> {
        let mut list = HeaderReader::default();
        list.start(payload.to_vec())?;
        loop {
            if list.end().is_ok() {
                return Ok(());
            }
            let draft = list.next()?;
            list.finish(&draft, 1, &mut Vec::new())?;
        }
    };
    assert_eq!(run(&payload), Ok(()));
    for cut in 0..payload.len() {
        assert!(run(&payload[..cut]).is_err(), "{cut}");
    }
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..4000 {
        let mut payload = payload.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..payload.len());
            payload[at] = random.u8(..);
        }
        // Whatever comes of it, it ends, and takes no more than it holds.
        let _ = run(&payload);
    }
    let mut list = HeaderReader::default();
    list.start(payload).unwrap();
    assert!(list.start(vec![0; 7]).is_err(), "the first is not used up");
}
