//! Every kind of tar: the walk finds what GNU tar and Python find, and the exact place of the data.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use fixtures::{Ending, LayerBuilder, Sparse, SparseFormat};
use layer::{Entry, EntryKind, Error, Members, Spool, SpoolOptions, entries};

fn spool(bytes: &[u8]) -> Spool {
    Spool::read("test.tar".into(), bytes, &SpoolOptions::default()).unwrap()
}

fn data(archive: &[u8], entry: &Entry) -> Vec<u8> {
    archive[usize::try_from(entry.data.start).unwrap()..usize::try_from(entry.data.end).unwrap()].to_vec()
}

/// Names and digests of the regular, non-sparse files of many archives as Python's tarfile reads them.
const LIST: &str = "
import sys, tarfile, hashlib
for path in sys.argv[1:]:
    print('archive')
    with tarfile.open(path, 'r:', errors='surrogateescape') as tar:
        for member in tar:
            if member.isreg() and not member.issparse():
                content = tar.extractfile(member).read()
                name = member.name.rstrip('/').encode('utf-8', 'surrogateescape')
                print(name.hex(), hashlib.sha256(content).hexdigest())
";

type Listing = Vec<(String, String)>;

fn by_python(archives: &[&Vec<u8>]) -> Vec<Listing> {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..archives.len()).map(|index| directory.path().join(index.to_string())).collect();
    for (path, archive) in paths.iter().zip(archives) {
        // Python wants the padding of the last file; zeros after the end change nothing.
        let mut padded = (*archive).clone();
        padded.resize(padded.len().next_multiple_of(512) + 1024, 0);
        std::fs::write(path, padded).unwrap();
    }
    let run =
        Command::new("python3").args(["-c", LIST]).args(&paths).stderr(Stdio::inherit()).output().unwrap();
    assert!(run.status.success());
    let text = String::from_utf8(run.stdout).unwrap();
    let listings = text.split("archive\n").skip(1);
    let pair =
        |line: &str| line.split_once(' ').map(|(name, digest)| (name.to_owned(), digest.to_owned())).unwrap();
    listings.map(|listing| listing.lines().map(pair).collect()).collect()
}

fn by_us(name: &str, archive: &[u8]) -> Listing {
    let found = Members::of(&spool(archive)).collect::<layer::Result<Vec<_>>>();
    let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
    let files = found.iter().filter(|member| member.kind == EntryKind::File);
    files
        .map(|member| {
            let entry = &member.entry;
            let name = entry.path.iter().map(|byte| format!("{byte:02x}")).collect();
            (name, layer::Digest::of(&data(archive, entry)).to_string().replace("sha256:", ""))
        })
        .collect()
}

#[test]
fn files_of_every_scenario_are_those_that_python_finds() {
    let scenarios = fixtures::scenarios::all();
    let archives: Vec<(&str, &Vec<u8>)> = scenarios
        .iter()
        .flat_map(|scenario| {
            scenario.old.iter().chain([&scenario.new]).map(|archive| (scenario.name, archive))
        })
        .collect();
    let listings = by_python(&archives.iter().map(|(_, archive)| *archive).collect::<Vec<_>>());
    assert_eq!(listings.len(), archives.len());
    let mut files = 0;
    for ((name, archive), listing) in archives.into_iter().zip(listings) {
        assert_eq!(by_us(name, archive), listing, "{name}");
        files += listing.len();
    }
    assert!(files > 500, "{files}");
}

#[test]
fn sparse_files_are_told_apart_and_their_stored_data_is_found() {
    for format in [SparseFormat::OldGnu, SparseFormat::Pax00, SparseFormat::Pax01, SparseFormat::Pax10] {
        for segments in [1, 4, 5, 30] {
            let sparse = Sparse::striped(1, segments);
            let mut builder = LayerBuilder::new();
            builder.sparse("dir/sparse", format, &sparse).file("after", b"content");
            let archive = builder.finish(Ending::Normal);
            let found = entries(&spool(&archive)).unwrap();
            assert_eq!(found.len(), 2, "{format:?}");
            assert_eq!(
                (&*found[0].path, &found[0].kind),
                (&b"dir/sparse"[..], &EntryKind::Sparse),
                "{format:?}"
            );
            let stored = data(&archive, &found[0]);
            let last = &sparse.segments.last().unwrap().1;
            assert!(stored.ends_with(last), "{format:?} with {segments} segments");
            assert_eq!(data(&archive, &found[1]), b"content", "{format:?} with {segments} segments");
        }
    }
}

#[test]
fn sizes_over_eight_gibibytes_are_read() {
    let mut builder = LayerBuilder::new();
    builder.base_256_size().file("a", b"small");
    builder.pax_size().file("b", b"small");
    let archive = builder.finish(Ending::Normal);
    let sizes: BTreeMap<_, _> = entries(&spool(&archive))
        .unwrap()
        .into_iter()
        .map(|entry| (entry.path.to_vec(), entry.data.end - entry.data.start))
        .collect();
    assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [(b"a".to_vec(), 5), (b"b".to_vec(), 5)]);
    // A hole in a file of the system stands for 9 GiB of zeros.
    let mut header = tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_mode(0o644);
    header.set_size(9 << 30);
    header.set_cksum();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), header.as_bytes()).unwrap();
    file.as_file().set_len(512 + (9 << 30) + 1024).unwrap();
    let spool = Spool::open(file.path(), &SpoolOptions::default()).unwrap();
    let found = entries(&spool).unwrap();
    assert_eq!(found[0].data, 512..512 + (9 << 30));
}

#[test]
fn broken_headers_are_named_with_their_offset() {
    let mut builder = LayerBuilder::new();
    builder.file("a", [7; 1000]).file("b", [8; 1000]);
    let good = builder.finish(Ending::Normal);
    let second = 512 + 1024;
    let offset = |archive: &[u8]| match entries(&spool(archive)).unwrap_err() {
        Error::BrokenTar { offset, .. } => offset,
        other => panic!("{other}"),
    };
    for place in [0, 100, 124, 148, 156, 257, 345] {
        let mut broken = good.clone();
        broken[second + place] ^= 0x11;
        assert_eq!(offset(&broken), second as u64, "{place}");
    }
    assert_eq!(offset(&good[..second + 512 + 10]), second as u64, "cut off data");
    // An extension header that claims a terabyte takes no memory.
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(1 << 32);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend([0; 2048]);
    assert_eq!(offset(&archive), 0);
}

#[test]
fn compressed_layers_are_spooled_and_hashed() {
    let archive = LayerBuilder::new().file("a", [7; 100_000]).finish(Ending::Normal);
    let mut compressed = zstd::encode_all(&archive[..50_000], 3).unwrap();
    compressed.extend(zstd::encode_all(&archive[50_000..], 3).unwrap());
    let read = spool(&compressed);
    assert_eq!((read.size(), read.blob_size()), (archive.len() as u64, compressed.len() as u64));
    assert_eq!(read.diff_id().unwrap().0, layer::Digest::of(&archive));
    let bound = SpoolOptions::default().max_size(10_000);
    let error = Spool::read("bomb".into(), compressed.as_slice(), &bound).unwrap_err();
    assert!(matches!(error, Error::TooLarge { max: 10_000, .. }), "{error}");
    let error = Spool::read("cut".into(), &compressed[..compressed.len() - 4], &SpoolOptions::default());
    assert!(matches!(error.unwrap_err(), Error::Decompress { .. }));
}

#[test]
fn a_global_header_does_not_multiply_its_name() {
    let mut builder = LayerBuilder::new();
    builder.pax_global(&[("path", &vec![b'n'; 1_000_000])]);
    for _ in 0..3000 {
        builder.file("a", "");
    }
    let error = entries(&spool(&builder.finish(Ending::Normal))).unwrap_err();
    assert!(matches!(&error, Error::BrokenTar { reason, .. } if reason.contains("global header")), "{error}");
}
