//! Each limit of the format, one step within and one past it.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::io;

use delta_format::wire::{self, put_uvarint};
use delta_format::{
    Budget, CorruptKind, Error, Exhausted, Limits, OpReader, Result, SourceFile, SourceFiles, SourcePath,
    Work, apply,
};

/// Any path is a file of zeros, `size` bytes of them.
struct Zeros {
    size: u64,
}

impl SourceFiles for Zeros {
    type File = Self;

    fn open(&mut self, _: &SourcePath, _: &Budget) -> Result<Self> {
        Ok(Self { size: self.size })
    }
}

impl SourceFile for Zeros {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], _: u64) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }
}

fn op(code: u8, size: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![code];
    put_uvarint(&mut bytes, size);
    bytes.extend_from_slice(payload);
    bytes
}

fn run(version: u8, ops: &[Vec<u8>], source_size: u64) -> Result<u64> {
    let mut delta = format!("tardf{version}\n\0").into_bytes();
    delta.extend(zstd::encode_all(ops.concat().as_slice(), 1).unwrap());
    let limits = Limits { max_output: 1 << 30, ..Limits::default() };
    apply(OpReader::new(delta.as_slice())?, &mut Zeros { size: source_size }, limits, &mut io::sink())
}

fn open(path: &[u8]) -> Vec<u8> {
    op(wire::OP_OPEN, path.len() as u64, path)
}

fn kind(result: Result<u64>) -> CorruptKind {
    match result.unwrap_err() {
        Error::Corrupt { kind, .. } => kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn paths() {
    assert!(run(1, &[open(&[b'a'; 4096])], 0).is_ok());
    assert!(matches!(run(1, &[open(&[b'a'; 4097])], 0), Err(Error::TooLarge { max: 4096, .. })));
    for path in [&b"/etc/passwd"[..], b"../x", b"a/../../x", b"", b"a\0"] {
        assert!(matches!(kind(run(1, &[open(path)], 0)), CorruptKind::Path(_)), "{path:?}");
    }
}

#[test]
fn sizes_that_no_memory_could_hold_are_refused_before_any_is_taken() {
    let huge = u64::MAX;
    assert!(matches!(
        run(1, &[open(b"f"), op(wire::OP_ADD_DATA, (100 << 20) + 1, b"")], huge),
        Err(Error::TooLarge { .. })
    ));
    assert!(matches!(
        run(1, &[op(wire::OP_DATA, huge, b"x")], 0),
        Err(Error::TooLarge { what: "the output", .. })
    ));
    assert!(matches!(run(1, &[open(b"f"), op(wire::OP_COPY, huge, b"")], huge), Err(Error::TooLarge { .. })));
    assert!(matches!(run(1, &[op(wire::OP_OPEN, huge, b"x")], 0), Err(Error::TooLarge { .. })));
    assert!(matches!(
        run(2, &[open(b"f"), op(wire::OP_ZSTD_DICT, huge, b"")], 1),
        Err(Error::TooLarge { .. })
    ));
    let over = wire::MAX_DICT_SIZE + 1;
    assert!(matches!(
        run(2, &[open(b"f"), op(wire::OP_ZSTD_DICT, 0, b"")], over),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn relocated_ops_are_bounded_and_read_whole() {
    let block = program::Block { source: 0, add: 100, literal: 3 };
    let old = [0; 100];
    let new = [&old[..], b"new"].concat();
    let payload = program::encode(&old, &new, &[block], None).unwrap().payload;
    let relocated = |payload: &[u8]| op(wire::OP_RELOCATED, payload.len() as u64, payload);
    assert_eq!(run(3, &[open(b"f"), relocated(&payload)], 100).unwrap(), 103);
    assert_eq!(kind(run(2, &[open(b"f"), relocated(&payload)], 100)), CorruptKind::UnknownOp(8));
    assert_eq!(kind(run(3, &[relocated(&payload)], 100)), CorruptKind::NoSource);
    // Another source: the blocks reach past its end.
    let shorter = kind(run(3, &[open(b"f"), relocated(&payload)], 99));
    assert!(matches!(shorter, CorruptKind::Relocated(program::Error::Block(_))), "{shorter}");
    let cut = kind(run(3, &[open(b"f"), op(wire::OP_RELOCATED, 9, &payload[..5])], 100));
    assert_eq!(cut, CorruptKind::Truncated);
    let broken = kind(run(3, &[open(b"f"), relocated(&payload[..5])], 100));
    assert!(matches!(broken, CorruptKind::Relocated(_)), "{broken}");
    // The position is undefined after it: nothing is read without a seek.
    let ops = [open(b"f"), relocated(&payload), op(wire::OP_COPY, 1, b"")];
    assert!(matches!(run(3, &ops, 100), Err(Error::SourceTooShort { .. })));
    let over = wire::MAX_RELOCATED_SIZE + 1;
    assert!(matches!(run(3, &[open(b"f"), relocated(&payload)], over), Err(Error::TooLarge { .. })));
    let huge = op(wire::OP_RELOCATED, wire::MAX_RELOCATED_PAYLOAD + 1, b"");
    assert!(matches!(run(3, &[open(b"f"), huge], 100), Err(Error::TooLarge { .. })));
}

#[test]
fn positions() {
    let copy = |position, size| {
        run(1, &[open(b"f"), op(wire::OP_SEEK, position, b""), op(wire::OP_COPY, size, b"")], 100)
    };
    assert_eq!(copy(90, 10).unwrap(), 10);
    assert!(matches!(copy(90, 11), Err(Error::SourceTooShort { size: 100, wanted: 101, .. })));
    assert!(matches!(copy(u64::MAX - 2, 2), Err(Error::SourceTooShort { .. })));
    assert_eq!(kind(copy(u64::MAX, 2)), CorruptKind::PositionOverflow);
    for position in [100, 101, u64::MAX] {
        for code in [wire::OP_COPY, wire::OP_ADD_DATA] {
            let ops = [open(b"f"), op(wire::OP_SEEK, position, b""), op(code, 0, b"")];
            assert_eq!(run(1, &ops, 100).unwrap(), 0, "no byte is read past the end");
        }
    }
    for code in [wire::OP_COPY, wire::OP_SEEK, wire::OP_ADD_DATA] {
        assert_eq!(kind(run(1, &[op(code, 1, b"x")], 100)), CorruptKind::NoSource);
    }
}

#[test]
fn lists_of_headers_are_bounded() {
    // One entry of the whole of `f`, whose header is 512 zeros but for its name, its size and its checksum.
    let list = [&[1, 1, 1, 0, 2][..], b"f\0", &[0, 0, 0, 0]].concat();
    let headers = |list: &[u8]| op(wire::OP_HEADERS, list.len() as u64, list);
    let entries = |count| op(wire::OP_ENTRIES, count, b"");
    let refused = |ops: &[Vec<u8>]| match kind(run(3, ops, 100)) {
        CorruptKind::Headers(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(run(3, &[headers(&list), entries(1)], 100).unwrap(), 612);
    assert_eq!(run(3, &[headers(&list), entries(1), entries(0)], 100).unwrap(), 1024, "with its padding");
    let endless = run(3, &[headers(&list), entries(1)], 1 << 40);
    assert!(matches!(endless, Err(Error::TooLarge { what: "the output", .. })));
    assert_eq!(refused(&[entries(1)]), "it ends early");
    assert_eq!(refused(&[headers(&list), entries(u64::MAX)]), "it ends early");
    assert_eq!(refused(&[headers(&list)]), "it is not used up");
    assert_eq!(refused(&[headers(&list), headers(&list)]), "it is not used up");
    assert_eq!(refused(&[headers(&list[..list.len() - 1])]), "it ends early");
    assert_eq!(refused(&[headers(&[&list[..], b"x"].concat())]), "bytes after its end");
    let copy = op(wire::OP_COPY, 1, b"");
    assert_eq!(kind(run(3, &[headers(&list), entries(1), copy], 100)), CorruptKind::NoSource);
    let huge = op(wire::OP_HEADERS, wire::MAX_VIEW_PAYLOAD + 1, b"");
    assert!(matches!(run(3, &[huge], 100), Err(Error::TooLarge { what: "a headers op", .. })));
}

#[test]
fn op_codes() {
    assert_eq!(kind(run(1, &[op(wire::OP_ZSTD_DICT, 0, b"")], 0)), CorruptKind::UnknownOp(5));
    for code in [wire::OP_RELOCATED, wire::OP_HEADERS, wire::OP_ENTRIES] {
        assert_eq!(kind(run(2, &[op(code, 0, b"")], 0)), CorruptKind::UnknownOp(code));
    }
    for code in [wire::OP_OPEN_VIEW, wire::OP_REENCODE] {
        assert_eq!(kind(run(2, &[op(code, 0, b"")], 0)), CorruptKind::UnknownOp(code));
        assert_eq!(kind(run(3, &[op(code, 0, b"")], 0)), CorruptKind::Truncated);
    }
    assert_eq!(kind(run(3, &[op(11, 0, b"")], 0)), CorruptKind::UnknownOp(11));
    let bad_frame = run(2, &[open(b"f"), op(wire::OP_ZSTD_DICT, 4, b"none")], 10);
    assert!(matches!(kind(bad_frame), CorruptKind::Frame(_)));
}

#[test]
fn a_frame_that_says_another_size_is_refused() {
    // Magic, a single segment, the size in 2 bytes (less 256) or in 4, and one empty block.
    let small = [&[0x28, 0xb5, 0x2f, 0xfd, 0x60][..], &[0, 0], &[1, 0, 0]].concat();
    let large = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &[0, 0, 0x10, 0], &[1, 0, 0]].concat();
    for (frame, declared) in [(small, 256), (large, 1 << 20)] {
        let dict = op(wire::OP_ZSTD_DICT, frame.len() as u64, &frame);
        let said = kind(run(2, &[open(b"f"), dict], 10));
        assert_eq!(said, CorruptKind::FrameSize { declared, size: 0 });
    }
}

#[test]
fn sources_that_are_read_whole_for_little_are_bounded() {
    // Each op reads its source from start to end, and emits one byte.
    let frame = zstd::encode_all(&b"x"[..], 1).unwrap();
    let dict = op(wire::OP_ZSTD_DICT, frame.len() as u64, &frame);
    let ops = [vec![open(b"f")], vec![dict; 10]].concat().concat();
    let mut delta = b"tardf2\n\0".to_vec();
    delta.extend(zstd::encode_all(ops.as_slice(), 1).unwrap());
    let size = 1 << 20;
    let run = |reading| {
        let limits = Limits { max_output: 10, budget: &Budget::new(Work::reading(reading)) };
        apply(OpReader::new(delta.as_slice())?, &mut Zeros { size }, limits, &mut io::sink())
    };
    assert_eq!(run(12 * size).unwrap(), 10);
    assert_over_budget(run(10 * size));
}

#[track_caller]
fn assert_over_budget(result: Result<u64>) {
    let over = matches!(result, Err(Error::OverBudget(Exhausted::Work { what: "reading", .. })));
    assert!(over, "{result:?}");
}

#[test]
fn seeks_of_tardf3_count_from_the_position_before() {
    let copies = |seeks: &[u64], size| {
        let seeks = seeks.iter().map(|size| op(wire::OP_SEEK, *size, b""));
        let ops = [open(b"f")].into_iter().chain(seeks).chain([op(wire::OP_COPY, size, b"")]);
        run(3, &ops.collect::<Vec<_>>(), 100)
    };
    assert_eq!(copies(&[180], 10).unwrap(), 10, "90 on");
    assert_eq!(copies(&[180, 1], 11).unwrap(), 11, "90 on and 1 back");
    assert!(matches!(copies(&[180], 11), Err(Error::SourceTooShort { size: 100, wanted: 101, .. })));
    assert_eq!(kind(copies(&[1], 1)), CorruptKind::PositionOverflow, "before the start");
    assert_eq!(kind(copies(&[u64::MAX - 1, u64::MAX - 1, 4], 1)), CorruptKind::PositionOverflow);
}

#[test]
fn runs_make_as_many_bytes_as_their_op_says() {
    let add = |size, runs: &[u8]| run(3, &[open(b"f"), op(wire::OP_ADD_DATA, size, runs)], 100);
    assert_eq!(add(8, &[3, 1, 9, 4, 0]).unwrap(), 8);
    assert_eq!(add(0, &[]).unwrap(), 0);
    assert_eq!(kind(add(8, &[3, 0, 4, 1, 9])), CorruptKind::Runs, "a run of zeros that is not the last");
    assert_eq!(kind(add(8, &[0, 0])), CorruptKind::Runs, "a run of nothing");
    assert_eq!(kind(add(8, &[7, 2, 9, 9])), CorruptKind::Runs, "a run that is too long");
    let over = [255, 255, 255, 255, 255, 255, 255, 255, 255, 2];
    assert_eq!(kind(add(8, &over)), CorruptKind::Integer);
    for cut in [&[][..], &[3], &[3, 2], &[3, 2, 9]] {
        assert_eq!(kind(add(8, cut)), CorruptKind::Truncated, "{cut:?}");
    }
}

#[test]
fn a_run_that_does_not_fit_is_refused_again_and_again() {
    let ops = [open(b"f"), op(wire::OP_ADD_DATA, 8, &[7, 2, 9, 9, 3, 0, 0, 0])].concat();
    let mut delta = b"tardf3\n\0".to_vec();
    delta.extend(zstd::encode_all(ops.as_slice(), 1).unwrap());
    let mut reader = OpReader::new(delta.as_slice()).unwrap();
    reader.next_op().unwrap();
    reader.next_op().unwrap();
    assert_eq!(kind(reader.read_payload(&mut [0; 8]).map(|()| 0)), CorruptKind::Runs);
    let mut left = Vec::new();
    io::Read::read_to_end(&mut reader.payload(), &mut left).unwrap_err();
    for _ in 0..3 {
        assert_eq!(kind(reader.next_op().map(|_| 0)), CorruptKind::Runs);
    }
    assert_eq!(left, []);
}

/// Applies ops within little work.
fn run_within_little(version: u8, ops: &[Vec<u8>], source_size: u64) -> Result<u64> {
    let mut delta = format!("tardf{version}\n\0").into_bytes();
    delta.extend(zstd::encode_all(ops.concat().as_slice(), 1).unwrap());
    let limits = Limits { max_output: u64::MAX, budget: &Budget::new(Work::reading(1 << 26)) };
    apply(OpReader::new(delta.as_slice())?, &mut Zeros { size: source_size }, limits, &mut io::sink())
}

#[test]
fn floods_of_ops_between_bytes_that_are_emitted_end() {
    let copy = op(wire::OP_COPY, 1, b"");
    let seek = |position| op(wire::OP_SEEK, position, b"");
    let idle = usize::try_from(wire::MAX_IDLE_OPS).unwrap() - 1;
    let flood = |idler: Vec<u8>| [idler.repeat(idle), copy.clone()].concat().repeat(40);
    assert_over_budget(run_within_little(1, &[flood(open(b"f"))], 100));
    assert_over_budget(run_within_little(1, &[open(b"f"), flood(seek(0))], 100));
    let long = open(&[&b"d/".repeat(1000)[..], b"f"].concat());
    let long_opens = [vec![long; 5000], vec![copy.clone()]].concat();
    assert_over_budget(run_within_little(1, &long_opens, 100));
    // Each copy reads from where nothing that was read is held.
    let far = |index: u64| [seek((index % 1000) << 23), copy.clone()].concat();
    let refills = [vec![open(b"f")], (0..30_000).map(far).collect()].concat();
    assert_over_budget(run_within_little(1, &refills, 1 << 40));
}

#[test]
fn payloads_and_frames_of_nothing_are_charged() {
    // Each payload is a frame without content, and bytes that are skipped.
    let frame = zstd::encode_all(&b""[..], 1).unwrap();
    let skipped = [frame.clone(), vec![0; 8 << 20]].concat();
    let dict = op(wire::OP_ZSTD_DICT, skipped.len() as u64, &skipped);
    assert_over_budget(run_within_little(2, &[vec![open(b"f")], vec![dict; 20]].concat(), 10));
    let dict = op(wire::OP_ZSTD_DICT, frame.len() as u64, &frame);
    assert_over_budget(run_within_little(2, &[vec![open(b"f")], vec![dict; 2000]].concat(), 10));
    // A delta of frames without content.
    let mut delta = b"tardf1\n\0".to_vec();
    delta.extend(frame.repeat(10_000));
    delta.extend(zstd::encode_all(op(wire::OP_DATA, 1, b"x").as_slice(), 1).unwrap());
    let limits = Limits { max_output: 1, budget: &Budget::new(Work::reading(1 << 20)) };
    let reader = OpReader::new(delta.as_slice()).unwrap();
    assert_over_budget(apply(reader, &mut Zeros { size: 0 }, limits, &mut io::sink()));
}

#[test]
fn a_flood_of_ops_that_emit_nothing_ends() {
    let flood = |count| vec![op(wire::OP_DATA, 0, b""); usize::try_from(count).unwrap()];
    assert_eq!(run(1, &flood(wire::MAX_IDLE_OPS), 0).unwrap(), 0);
    assert_eq!(kind(run(1, &flood(wire::MAX_IDLE_OPS + 1), 0)), CorruptKind::Idle);
}

#[test]
fn truncation_inside_an_op_is_an_error_at_every_byte() {
    let ops = [open(b"file"), op(wire::OP_ADD_DATA, 3, b"abc"), op(wire::OP_DATA, 300, &[7; 300])].concat();
    let ends = [0, 6, 11, ops.len()];
    for size in 0..=ops.len() {
        let result = run(1, &[ops[..size].to_vec()], 10);
        assert_eq!(result.is_ok(), ends.contains(&size), "{size}: {result:?}");
    }
    let mut delta = b"tardf1\n\0".to_vec();
    delta.extend(zstd::encode_all(ops.as_slice(), 1).unwrap());
    for size in 0..delta.len() {
        let read = OpReader::new(&delta[..size])
            .and_then(|reader| apply(reader, &mut Zeros { size: 10 }, Limits::default(), &mut io::sink()));
        assert!(read.is_err(), "{size}");
    }
}

#[test]
fn other_magics_are_named() {
    for bytes in [&b""[..], b"tardf4\n\0", b"\x1f\x8b\x08\0\0\0\0\0", b"tardf1"] {
        assert!(matches!(OpReader::new(bytes), Err(Error::NotADelta { .. })));
    }
}
