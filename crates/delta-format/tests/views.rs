//! The additions of tardf3, with a codec that needs no library: an encoded stream is its size in one byte
//! and its bytes, each inverted.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::io;
use std::sync::Arc;

use delta_format::{
    Budget, CorruptKind, Encoding, Error, Exhausted, Limits, OpReader, OpWriter, Reencoding, Result, Sink,
    SourceFile, SourceFiles, SourcePath, SourceRef, Version, View, ViewStream, Work, apply,
};

fn encode(plain: &[u8]) -> Vec<u8> {
    let size = u8::try_from(plain.len()).unwrap();
    std::iter::once(size).chain(plain.iter().map(|byte| !byte)).collect()
}

fn decode_view(file: &[u8], view: &View) -> Vec<u8> {
    let (mut rest, mut decoded) = (file, Vec::new());
    for stream in view {
        let (gap, encoded) = rest.split_at(usize::try_from(stream.gap).unwrap());
        let (plain, after) = encoded[1..].split_at(usize::from(encoded[0]));
        let plain: Vec<u8> = plain.iter().map(|byte| !byte).collect();
        decoded.extend_from_slice(gap);
        decoded.extend(decode_view(&plain, &stream.inner));
        rest = after;
    }
    decoded.extend_from_slice(rest);
    decoded
}

fn encode_stretch(stretch: &Reencoding, emitted: &[u8]) -> Vec<u8> {
    let (mut rest, mut plain) = (emitted, Vec::new());
    for inner in &stretch.inner {
        let (gap, after) = rest.split_at(usize::try_from(inner.gap).unwrap());
        let (emitted, after) = after.split_at(usize::try_from(inner.size).unwrap());
        plain.extend_from_slice(gap);
        plain.extend(encode_stretch(inner, emitted));
        rest = after;
    }
    plain.extend_from_slice(rest);
    encode(&plain)
}

struct OneFile(Vec<u8>);
struct Bytes(Vec<u8>);

impl SourceFiles for OneFile {
    type File = Bytes;

    fn open(&mut self, _: &SourcePath, _: &Budget) -> Result<Bytes> {
        Ok(Bytes(self.0.clone()))
    }

    fn open_view(&mut self, _: &SourcePath, view: &View, budget: &Budget) -> Result<Bytes> {
        let decoded = decode_view(&self.0, view);
        budget.charge(Work::reading(decoded.len() as u64))?;
        Ok(Bytes(decoded))
    }
}

impl SourceFile for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
        Ok(())
    }
}

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    encoded: u64,
}

impl Sink for Output {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn reencode(&mut self, stretch: Reencoding, plain: Vec<u8>) -> Result<()> {
        let encoded = encode_stretch(&stretch, &plain);
        self.encoded += encoded.len() as u64;
        self.write(&encoded)
    }

    fn finish(&mut self) -> Result<u64> {
        Ok(self.encoded)
    }
}

fn stretch(gap: u64, size: u64, inner: Vec<Reencoding>) -> Reencoding {
    Reencoding { gap, size, recipe: b"invert".to_vec(), inner }
}

fn run(old: &[u8], limits: Limits, ops: impl FnOnce(&mut OpWriter<Vec<u8>>)) -> Result<Vec<u8>> {
    let mut writer = OpWriter::new(Vec::new(), Version::V3, Encoding::default())?;
    ops(&mut writer);
    let (delta, _) = writer.finish()?;
    let mut output = Output::default();
    let size = apply(OpReader::new(delta.as_slice())?, &mut OneFile(old.to_vec()), limits, &mut output)?;
    assert_eq!(size, output.bytes.len() as u64);
    Ok(output.bytes)
}

/// A file with a stream that holds a stream, and the view that opens both.
fn nested() -> (Vec<u8>, View) {
    let inner = encode(b"innermost");
    let outer = encode(&[b"before ", &inner[..], b" after"].concat());
    let leaf = ViewStream { gap: 7, codec: 0, inner: View::new() };
    ([b"head", &outer[..], b"tail"].concat(), vec![ViewStream { gap: 4, codec: 0, inner: vec![leaf] }])
}

#[test]
fn a_delta_of_what_streams_hold_makes_the_streams() {
    let (old, view) = nested();
    let view = Arc::new(view);
    let path = SourcePath::new(b"file").unwrap();
    let source = SourceRef { path: &path, view: Some(&view) };
    // In the view: "head" "before " "innermost" " after" "tail".
    let made = run(&old, Limits::default(), |writer| {
        writer.literal(b"raw").unwrap();
        // One copy runs over the edges of both stretches.
        writer
            .reencode(&[stretch(4, 23, vec![stretch(7, 10, Vec::new())]), stretch(4, 0, Vec::new())])
            .unwrap();
        writer.copy(source, 0, 11).unwrap();
        writer.literal(b"X").unwrap();
        writer.copy(source, 11, 19).unwrap();
        writer.copy(&path, 0, 4).unwrap();
    });
    let inner = encode(b"Xinnermost");
    let outer = encode(&[b"before ", &inner[..], b" after"].concat());
    assert_eq!(made.unwrap(), [b"rawhead", &outer[..], b"tail", &encode(b"")[..], b"head"].concat());
}

fn kind(result: Result<Vec<u8>>) -> CorruptKind {
    match result.unwrap_err() {
        Error::Corrupt { kind, .. } => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn stretches_neither_overlap_nor_stay_open() {
    let open = |ops: &[u8]| {
        kind(run(b"", Limits::default(), |writer| {
            writer.reencode(&[stretch(1, 2, Vec::new())]).unwrap();
            writer.literal(ops).unwrap();
            writer.reencode(&[]).unwrap();
        }))
    };
    assert_eq!(open(b""), CorruptKind::OverlappingStretches);
    assert_eq!(open(b"12"), CorruptKind::OverlappingStretches);
    for emitted in [&b""[..], b"1", b"12"] {
        let result = run(b"", Limits::default(), |writer| {
            writer.reencode(&[stretch(1, 2, Vec::new())]).unwrap();
            writer.literal(emitted).unwrap();
        });
        assert_eq!(kind(result), CorruptKind::IncompleteStretch);
    }
}

#[test]
fn what_is_decoded_and_encoded_is_bounded() {
    let (old, view) = nested();
    let (view, path) = (Arc::new(view), SourcePath::new(b"file").unwrap());
    let run = |budget: &Budget| {
        run(&old, Limits { budget, ..Limits::default() }, |writer| {
            writer.copy(SourceRef { path: &path, view: Some(&view) }, 0, 1).unwrap();
            writer.reencode(&[stretch(0, 10, Vec::new())]).unwrap();
            writer.literal(b"0123456789").unwrap();
        })
    };
    let enough = Budget::unlimited();
    assert_eq!(run(&enough).unwrap(), [b"h", &encode(b"0123456789")[..]].concat());
    assert!(enough.spent().reading >= 30, "the view is charged");
    let too_little = Budget::new(Work::reading(29));
    let result = run(&too_little);
    assert!(
        matches!(result, Err(Error::OverBudget(Exhausted::Work { what: "reading", max: 29 }))),
        "{result:?}"
    );
}

#[test]
fn raw_output_beside_stretches_is_bounded() {
    let result = run(b"", Limits { max_output: 5, ..Limits::default() }, |writer| {
        writer.reencode(&[stretch(6, 1, Vec::new())]).unwrap();
        writer.literal(b"0123456789").unwrap();
    });
    assert!(matches!(result, Err(Error::TooLarge { what: "the output", .. })));
}

#[test]
fn without_codecs_views_are_refused() {
    let mut writer = OpWriter::new(Vec::new(), Version::V3, Encoding::default()).unwrap();
    writer.reencode(&[stretch(0, 1, Vec::new())]).unwrap();
    writer.literal(b"1").unwrap();
    let (delta, _) = writer.finish().unwrap();
    let mut files = OneFile(Vec::new());
    let mut output = Vec::new();
    let result = apply(OpReader::new(delta.as_slice()).unwrap(), &mut files, Limits::default(), &mut output);
    assert!(matches!(result, Err(Error::NoCodecs)));
}
