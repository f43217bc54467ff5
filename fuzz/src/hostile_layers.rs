//! Layers that no honest tool writes: headers, extension headers and records of any kind, with right
//! checksums.

use delta_format::Version;
use layer::{BLOCK_SIZE, EntryKind, Members, Spool, check_is_layer};
use tar_diff::{diff, verify};

use crate::Input;
use crate::diffs::options;
use crate::layers::{NAMES, content, spool};

const TYPES: &[u8] = b"000001255376\0xxxgLKSXVDMN";
const MAGICS: [&[u8]; 4] = [b"ustar\x0000", b"ustar  \0", b"\0\0\0\0\0\0\0\0", b"ustar\0  "];
const KEYS: [&str; 16] = [
    "path",
    "linkpath",
    "size",
    "path",
    "uid",
    "mtime",
    "hdrcharset",
    "GNU.sparse.major",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.map",
    "GNU.sparse.size",
    "GNU.sparse.numblocks",
    "GNU.sparse.offset",
    "GNU.sparse.numbytes",
    "SCHILY.xattr.user.a",
];

/// Two sets of any layers: either one cannot be read, or there are deltas in tardf1 and tardf3 that make
/// the new layer exactly.
pub fn layers(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let mut options = options(&mut input).sees_through(false);
    options.merge.apply_whiteouts = flags & 1 != 0;
    let mut contents = Vec::new();
    let old: Vec<Spool> =
        (0..input.within(0..=2)).map(|_| spool(&hostile_layer(&mut input, &mut contents))).collect();
    let new = spool(&hostile_layer(&mut input, &mut contents));
    let are_tars = old.iter().chain([&new]).map(is_tar).fold(true, |all, is_tar| all & is_tar);
    for sees_through in [false, true] {
        options.sees_through = sees_through;
        let made = diff(&old, &new, &options, Vec::new(), &|_| ());
        assert_eq!(made.is_ok(), are_tars, "{:?}", made.err());
        let Ok((delta, stats)) = made else { continue };
        assert_eq!(stats.same.size + stats.similar.size + stats.literal.size, new.size());
        assert!(delta.starts_with(&Version::V1.magic()[..5]));
        verify(delta.as_slice(), &old, &new, &options.merge).expect("the delta makes the new layer");
    }
}

/// Reads all that the headers say. Their entries lie in the tar, in order.
fn is_tar(spool: &Spool) -> bool {
    let _ = check_is_layer(spool);
    let mut end = 0;
    for member in Members::of(spool) {
        let Ok(member) = member else { return false };
        assert!(end + BLOCK_SIZE <= member.entry.data.start);
        assert!(!matches!(member.kind, EntryKind::Disputed(_)));
        end = member.entry.data.end;
        if let Ok(details) = member.details(spool)
            && let Some(map) = details.sparse
        {
            let stored: u64 = map.segments.iter().map(|(_, size)| size).sum();
            assert_eq!(map.skip + stored, end - member.entry.data.start);
        }
    }
    assert!(end <= spool.size());
    true
}

/// A tar of up to 10 entries, each with up to 2 extension headers.
pub(crate) fn hostile_layer(input: &mut Input<'_>, contents: &mut Vec<Vec<u8>>) -> Vec<u8> {
    let mut tar = Vec::new();
    for _ in 0..input.within(0..=10) {
        for _ in 0..input.within(0..=2) {
            let data = match *input.pick(b"xxxXgLK") {
                flag @ (b'L' | b'K') => (flag, name(input)),
                flag => (flag, records(input)),
            };
            member(input, data.0, &data.1, &mut tar);
        }
        let flag = *input.pick(TYPES);
        let data = if matches!(flag, b'1'..=b'6') { Vec::new() } else { content(input, contents) };
        member(input, flag, &data, &mut tar);
    }
    match input.within(0..=3) {
        0 => tar.extend_from_slice(input.sized()),
        1 => {}
        _ => tar.resize(tar.len() + 1024, 0),
    }
    tar
}

/// Any name, most often one that others have too.
fn name(input: &mut Input<'_>) -> Vec<u8> {
    match input.within(0..=7) {
        0 => input.sized().to_vec(),
        1 => [b"../", *input.pick(&NAMES)].concat(),
        2 => [*input.pick(&NAMES), b"\0", *input.pick(&NAMES)].concat(),
        3 => [*input.pick(&NAMES), b"/"].concat(),
        4 => [b"dir/.wh.", *input.pick(&NAMES)].concat(),
        _ => input.pick(&NAMES).to_vec(),
    }
}

/// The records of a PAX header.
fn records(input: &mut Input<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    for _ in 0..input.within(0..=5) {
        let key = *input.pick(&KEYS);
        let value = match input.within(0..=5) {
            0 => Vec::new(),
            1 => input.sized().to_vec(),
            2 => input.word().to_string().into_bytes(),
            3 => (*input.pick(&["0", "1", "0,0", "0,1", "-1"])).into(),
            _ => name(input),
        };
        let rest = key.len() + value.len() + 3;
        let mut size = rest + 1;
        while rest + size.to_string().len() != size {
            size += 1;
        }
        records.extend_from_slice(format!("{size} {key}=").as_bytes());
        records.extend_from_slice(&value);
        records.push(b'\n');
    }
    if input.byte() == 1 {
        records.extend_from_slice(input.sized());
    }
    records
}

/// A header that may say something else of the data than what follows.
fn member(input: &mut Input<'_>, flag: u8, data: &[u8], tar: &mut Vec<u8>) {
    let mut header = [0; 512];
    let mut put = |at: usize, size: usize, bytes: &[u8]| {
        let size = bytes.len().min(size);
        header[at..at + size].copy_from_slice(&bytes[..size]);
    };
    put(0, 100, &name(input));
    put(100, 8, b"0000644\0");
    put(108, 8, b"0000000\0");
    put(116, 8, b"0000000\0");
    put(124, 12, format!("{:011o}\0", data.len()).as_bytes());
    put(136, 12, b"14700000000\0");
    put(156, 1, &[flag]);
    put(157, 100, &name(input));
    put(257, 8, *input.pick(&MAGICS));
    // Any field may be anything.
    for _ in 0..input.within(0..=9).saturating_sub(6) {
        let at = usize::from(input.word()) % 500;
        put(
            at,
            12,
            match input.within(0..=4) {
                0 => b"\0\0\0\0\0\0\0\0\0\0\0\0",
                1 => b"            ",
                2 => b"\x80\0\0\0\0\0\0\0\0\0\x01\0",
                3 => b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                _ => input.bytes(12),
            },
        );
    }
    put(148, 8, b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let checksum = match input.byte() {
        1 => format!("\0\0{sum:06o}"),
        2 => String::from("0000000\0"),
        _ => format!("{sum:06o}\0 "),
    };
    header[148..156].copy_from_slice(checksum.as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(data);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
