//! Streams are found by content, decoded to their ends, and within bounds.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use recode::{Budget, Codec, Error, Found, SharedMembers, decode, find, find_unshared, is_compressed};
use support::{pipe, python};

const MAX: usize = 64 << 20;

fn plains(file: &[u8]) -> Vec<Vec<u8>> {
    find(file, MAX).into_iter().map(|found| found.plain).collect()
}

#[test]
fn each_stream_of_a_file_is_found() {
    let tools: [(&str, Codec, &[&str]); 4] = [
        ("gzip", Codec::Deflate, &["-c"]),
        ("xz", Codec::Xz, &["-c"]),
        ("zstd", Codec::Zstd, &["-qc"]),
        ("bzip2", Codec::Bzip2, &["-c"]),
    ];
    for (program, codec, arguments) in tools {
        for (name, content) in support::contents() {
            let first = pipe(program, arguments, &content);
            let file = [first.clone(), pipe(program, arguments, b"second"), b"behind".to_vec()].concat();
            assert!(is_compressed(&file[..file.len().min(recode::HEAD_SIZE)]), "{program} {name}");
            let found = find(&file, MAX);
            assert_eq!(found.len(), 2, "{program} {name}");
            assert_eq!((found[0].codec, &found[0].plain), (codec, &content), "{program} {name}");
            assert_eq!(found[1].plain, b"second");
            let end = first.len() - if codec == Codec::Deflate { 8 } else { 0 };
            assert_eq!(found[0].encoded.end, end, "{program} {name}");
        }
    }
}

#[test]
fn what_lies_between_streams_is_left_alone() {
    let xz = pipe("xz", &["-c"], b"some text");
    let padded = [&xz[..], &[0; 8], &xz, &[0; 4]].concat();
    assert_eq!(plains(&padded), [b"some text", b"some text"]);
    let zstd = pipe("zstd", &["-qc"], b"some text");
    let skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let file = [&skippable[..], &zstd, &skippable, &zstd, &skippable].concat();
    let found = find(&file, MAX);
    assert_eq!(found.iter().map(|found| found.encoded.start).collect::<Vec<_>>(), [11, zstd.len() + 22]);
    assert!(find(&skippable, MAX).is_empty());
    // A member with every optional field: extra, name, comment, and CRC of the header.
    let gzip = pipe("gzip", &["-nc"], b"some text");
    let fields =
        [&[0x1f, 0x8b, 8, 30, 0, 0, 0, 0, 0, 3, 2, 0, 9, 9][..], b"name\0comment\0", &[1, 2]].concat();
    assert_eq!(plains(&[&fields[..], &gzip[10..], &gzip].concat()), [b"some text", b"some text"]);
}

#[test]
fn payloads_of_kernels_are_found() {
    let (_, content) = support::contents().remove(0);
    for (program, codec, arguments, size_of_header) in [
        ("gzip", Codec::Deflate, &["-nc"][..], 10),
        ("xz", Codec::Xz, &["-c"], 0),
        ("zstd", Codec::ZstdBlocks, &["-qc"], 0),
        ("bzip2", Codec::Bzip2, &["-c"], 0),
    ] {
        let payload = pipe(program, arguments, &content);
        let size = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let mut of_x86 = vec![0; 4 * 512 + 100];
        of_x86[0x1f1] = 3;
        of_x86[0x202..0x206].copy_from_slice(b"HdrS");
        of_x86[0x248..0x250].copy_from_slice(&[&100u32.to_le_bytes()[..], &size].concat());
        let mut of_firmware = [&b"MZ\0\0zimg"[..], &700u32.to_le_bytes(), &size].concat();
        of_firmware.resize(700, 0);
        for mut file in [of_x86, of_firmware] {
            let start = file.len() + size_of_header;
            file.extend([&payload[..], b"behind"].concat());
            assert!(is_compressed(&file[..recode::HEAD_SIZE]), "{program}");
            let found = find(&file, MAX);
            assert_eq!(found.len(), 1, "{program}");
            assert_eq!((found[0].codec, found[0].encoded.start), (codec, start), "{program}");
            assert!(codec == Codec::ZstdBlocks || found[0].plain == content, "{program}");
            let Found { encoded, plain, .. } = &found[0];
            let recipe = recode::recipe(codec, &file[encoded.clone()], plain).unwrap();
            let mut made = Vec::new();
            recode::encode(&recipe, &mut plain.as_slice(), plain.len() as u64, &mut made).unwrap();
            assert_eq!(made, file[encoded.clone()], "{program}");
            file.truncate(0x24f);
            assert!(find(&file, MAX).is_empty(), "{program}: cut off");
        }
    }
}

const ZIP: &str = r#"
import sys, zipfile, io
content = sys.stdin.buffer.read()
out = io.BytesIO()
class Pipe:
    def write(self, data): return out.write(data)
    def flush(self): pass
with zipfile.ZipFile(MODE, "w", zipfile.ZIP_DEFLATED) as zip:
    for name in "first", "second":
        with zip.open(name, "w", force_zip64=WIDE) as member:
            member.write(content)
    zip.writestr(zipfile.ZipInfo("stored"), b"stored bytes")
    zip.writestr("empty", b"")
    zip.comment = b"a comment"
sys.stdout.buffer.write(out.getvalue())
"#;

#[test]
fn members_of_zips_are_found_by_the_directory() {
    let content = b"some text, some text, some text";
    // Into a pipe, the sizes follow the members in data descriptors.
    for (mode, wide) in [("out", "False"), ("out", "True"), ("Pipe()", "False"), ("Pipe()", "True")] {
        let zip = python(&ZIP.replace("MODE", mode).replace("WIDE", wide), content);
        let found = plains(&zip);
        assert_eq!(found, [&content[..], content, b""], "{mode} {wide}");
        assert!(plains(&zip[..zip.len() / 2]).is_empty(), "no directory");
    }
}

/// Members of equal content whose streams differ, since another level made them, are not shared.
#[test]
fn members_that_two_zips_share_are_left_out() {
    let program = r#"
import sys, zipfile, io
out = io.BytesIO()
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zip:
    for name, content, level in MEMBERS:
        zip.writestr(name, content, compresslevel=level)
sys.stdout.buffer.write(out.getvalue())
"#;
    let zip = |members: &str| python(&program.replace("MEMBERS", members), b"");
    let old = zip(r#"[("a", b"alike" * 9, 9), ("b", b"old" * 9, 9), ("c", bytes(range(9)) * 99, 1)]"#);
    let new = zip(r#"[("b", b"new" * 9, 9), ("renamed", b"alike" * 9, 9), ("c", bytes(range(9)) * 99, 9)]"#);
    let budget = Budget::new(u64::MAX, u64::MAX);
    let others = |file: &[u8], other: &[u8]| -> Vec<Vec<u8>> {
        let shared = SharedMembers::of(file, other, &budget);
        find_unshared(file, &shared, MAX, &budget).into_iter().map(|found| found.plain).collect()
    };
    let digits: Vec<u8> = (0..9).cycle().take(9 * 99).collect();
    assert_eq!(others(&old, &new), [b"old".repeat(9), digits.clone()]);
    assert_eq!(others(&new, &old), [b"new".repeat(9), digits]);
    assert_eq!(others(&new, &new), Vec::<Vec<u8>>::new());
    for other in [&b""[..], b"PK\x03\x04", &pipe("gzip", &["-c"], b"alike")] {
        assert_eq!(others(&new, other), plains(&new));
        assert_eq!(others(other, &new), plains(other));
    }
}

#[test]
fn a_member_that_ends_elsewhere_than_the_directory_says_is_left_out() {
    let content = b"some text, some text, some text";
    let zip = python(&ZIP.replace("MODE", "out").replace("WIDE", "False"), content);
    let entry = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    for at in [20, 24, 42] {
        let mut broken = zip.clone();
        broken[entry + at] ^= 1;
        assert_eq!(plains(&broken).len(), 2, "field at {at}");
    }
}

#[test]
fn zip64_archives_of_many_members_are_read() {
    let program = r#"
import sys, zipfile, io
out = io.BytesIO()
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zip:
    for number in range(66000):
        zip.writestr(str(number), b"")
sys.stdout.buffer.write(out.getvalue())
"#;
    assert_eq!(plains(&python(program, b"")).len(), 66000);
}

#[test]
fn plain_bytes_are_bounded() {
    let content = vec![7; 1 << 20];
    for (program, codec) in
        [("gzip", Codec::Deflate), ("xz", Codec::Xz), ("zstd", Codec::Zstd), ("bzip2", Codec::Bzip2)]
    {
        let file = pipe(program, &["-c"], &content);
        let both = [file.clone(), file.clone()].concat();
        assert_eq!(find(&both, content.len()).len(), 1, "{program}: the second is too much");
        assert!(find(&both, content.len() - 1).is_empty(), "{program}");
        let Found { encoded, .. } = find(&file, MAX).remove(0);
        let mut plain = Vec::new();
        let result = decode(codec, &mut &file[encoded.start..], 1000, &mut plain);
        assert!(matches!(result, Err(Error::TooLarge { max: 1000 })), "{program}");
        assert!(plain.len() <= 1000, "{program}");
        let cut = &file[encoded.start..encoded.end - 1];
        let result = decode(codec, &mut &*cut, u64::MAX, &mut std::io::sink());
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{program}: cut off");
    }
}

#[test]
fn windows_that_take_too_much_memory_are_refused() {
    let zstd = pipe("zstd", &["-qc", "--ultra", "--long=31"], &vec![7; 1 << 20]);
    let xz = pipe("xz", &["-c", "--lzma2=dict=256MiB"], b"some text");
    for (codec, file) in [(Codec::Zstd, zstd), (Codec::Xz, xz)] {
        let result = decode(codec, &mut &*file, u64::MAX, &mut std::io::sink());
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{codec:?}: {result:?}");
    }
}
