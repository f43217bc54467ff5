//! The reader accepts all that the writer writes, and it means what was asked for.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::collections::HashMap;
use std::io;

use delta_format::{
    Budget, Encoding, Error, Limits, OpReader, OpWriter, Result, SourceFile, SourceFiles, SourcePath,
    Version, apply, wire,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

#[derive(Default)]
struct Files(HashMap<Vec<u8>, Vec<u8>>);

struct File(Vec<u8>);

impl SourceFiles for Files {
    type File = File;

    fn open(&mut self, path: &SourcePath, _: &Budget) -> Result<File> {
        let content = self.0.get(path.as_bytes()).cloned();
        let missing = || Error::SourceMissing { path: path.clone(), source: io::ErrorKind::NotFound.into() };
        content.map(File).ok_or_else(missing)
    }
}

impl SourceFile for File {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let bytes = self.0.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(Vec<u8>),
    Copy { file: usize, start: usize, size: usize },
    Add { file: usize, start: usize, difference: Vec<u8> },
    Frame { file: usize, content: Vec<u8> },
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    // Differences are zeros most often, one or more in a row.
    let difference = || {
        let byte = (any::<u8>(), 0..3u8).prop_map(|(byte, kind)| if kind < 2 { 0 } else { byte });
        prop::collection::vec(byte, 0..300)
    };
    let piece = prop_oneof![
        bytes().prop_map(Piece::Literal),
        (0..3usize, 0..500usize, 0..500usize).prop_map(|(file, start, size)| Piece::Copy {
            file,
            start,
            size
        }),
        (0..3usize, 0..500usize, prop_oneof![bytes(), difference()])
            .prop_map(|(file, start, difference)| Piece::Add { file, start, difference }),
        (0..3usize, bytes()).prop_map(|(file, content)| Piece::Frame { file, content }),
    ];
    prop::collection::vec(piece, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::with_cases(256) })]

    #[test]
    fn pieces_come_back(pieces in pieces(), version in prop_oneof![Just(Version::V1), Just(Version::V2), Just(Version::V3)], is_xz: bool) {
        let names: Vec<SourcePath> = (0..3).map(|file| SourcePath::new(format!("dir/{file}").as_bytes()).unwrap()).collect();
        let contents: Vec<Vec<u8>> = (0..3u8).map(|file| (0..=255u8).cycle().skip(file.into()).take(1000).collect()).collect();
        let mut files = Files(names.iter().map(|name| name.as_bytes().to_vec()).zip(contents.clone()).collect());
        let xz_dictionary = (is_xz && version == Version::V3).then_some(1 << 16);
        let mut writer = OpWriter::new(Vec::new(), version, Encoding { xz_dictionary, ..Encoding::default() }).unwrap();
        let mut expected = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Literal(bytes) => {
                    writer.literal(&bytes).unwrap();
                    expected.extend(bytes);
                }
                Piece::Copy { file, start, size } => {
                    writer.copy(&names[file], start as u64, size as u64).unwrap();
                    expected.extend(&contents[file][start..start + size]);
                }
                Piece::Add { file, start, difference } => {
                    writer.add(&names[file], start as u64, &difference).unwrap();
                    expected.extend(contents[file][start..].iter().zip(&difference).map(|(a, b)| a.wrapping_add(*b)));
                }
                Piece::Frame { file, content } if version >= Version::V2 => {
                    let mut encoder = zstd::Encoder::with_ref_prefix(Vec::new(), 3, &contents[file]).unwrap();
                    io::copy(&mut content.as_slice(), &mut encoder).unwrap();
                    writer.zstd_dict(&names[file], &encoder.finish().unwrap()).unwrap();
                    expected.extend(content);
                }
                Piece::Frame { .. } => {}
            }
        }
        let (delta, _) = writer.finish().unwrap();
        let mut output = Vec::new();
        let size = apply(OpReader::new(delta.as_slice()).unwrap(), &mut files, Limits::default(), &mut output).unwrap();
        prop_assert_eq!(size, output.len() as u64);
        prop_assert!(output == expected);
        if let Some(max_output) = size.checked_sub(1) {
            let refused = apply(OpReader::new(delta.as_slice()).unwrap(), &mut files, Limits { max_output, ..Limits::default() }, &mut io::sink());
            let is_too_large = matches!(refused, Err(Error::TooLarge { .. }));
            prop_assert!(is_too_large);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(stream in prop::collection::vec(any::<u8>(), 0..200), version in 1..=3u8) {
        let mut delta = format!("tardf{version}\n\0").into_bytes();
        delta.extend(zstd::encode_all(stream.as_slice(), 1).unwrap());
        let limits = Limits { max_output: 1 << 20, ..Limits::default() };
        let mut output = Vec::new();
        let _ = apply(OpReader::new(delta.as_slice()).unwrap(), &mut Files::default(), limits, &mut output);
        prop_assert!(output.len() <= 1 << 20);
    }
}

#[test]
fn neighbours_are_merged_and_large_ops_are_split() {
    let path = SourcePath::new(b"file").unwrap();
    let mut writer = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
    writer.literal(b"a").unwrap();
    writer.literal(b"b").unwrap();
    writer.copy(&path, 5, 10).unwrap();
    writer.copy(&path, 15, 10).unwrap();
    writer.add(&path, 25, &[1; 100]).unwrap();
    writer.add(&path, 125, &vec![1; 3 << 20]).unwrap();
    let (delta, stats) = writer.finish().unwrap();
    let mut reader = OpReader::new(delta.as_slice()).unwrap();
    let mut names = Vec::new();
    while let Some(op) = reader.next_op().unwrap() {
        names.push(op.name());
        assert!(op.payload_size() <= 1 << 20);
    }
    assert_eq!(names, ["data", "open", "seek", "copy", "add_data", "add_data", "add_data", "add_data"]);
    assert_eq!(stats.ops, names.len() as u64);
}

#[test]
fn seeks_and_differences_of_tardf3_are_small() {
    let path = SourcePath::new(b"file").unwrap();
    let mut writer = OpWriter::new(Vec::new(), Version::V3, Encoding::default()).unwrap();
    writer.copy(&path, 5000, 10).unwrap();
    writer.add(&path, 5020, &[0, 0, 0, 0, 7, 0, 9, 0, 0]).unwrap();
    writer.copy(&path, 5028, 1).unwrap();
    let (delta, _) = writer.finish().unwrap();
    let stream = zstd::decode_all(&delta[wire::MAGIC_SIZE..]).unwrap();
    let seek = |size: &[u8]| [&[wire::OP_SEEK], size].concat();
    let expected = [
        vec![wire::OP_OPEN, 4],
        b"file".to_vec(),
        seek(&[0x90, 0x4e]),
        vec![wire::OP_COPY, 10],
        seek(&[20]),
        vec![wire::OP_ADD_DATA, 9, 4, 3, 7, 0, 9, 2, 0],
        seek(&[1]),
        vec![wire::OP_COPY, 1],
    ];
    assert_eq!(stream, expected.concat());
}
