//! Payloads of relocated ops (tardf3): read from anywhere, or made of any files, blocks and rules.

use std::ops::Range;

use program::{
    Block, Decoder, FrameTable, GoFunctions, HashTable, Layouts, Payload, Prepared, Rule, Rules, Segment,
    Side, Strided, encode, pack,
};

use crate::Input;

/// Most bytes of a file that is made here.
const MAX_SIZE: u32 = 1 << 16;

/// A payload is refused or makes a file of the size that it announces, with no more work than it told; what is made
/// of two files, blocks and rules makes the new one; any two files can be taken for programs.
pub fn relocated(data: &[u8]) {
    let mut input = Input::new(data);
    match input.within(0..=3) {
        0 => {
            let old = input.sized();
            check(input.rest(), old);
        }
        1 => {
            let functions = program_of(&mut input);
            let mut payload = input.sized().to_vec();
            patch(&mut input, &mut payload);
            check(&payload, &functions);
        }
        2 => {
            let (old, new) = (program_of(&mut input), program_of(&mut input));
            let blocks = blocks(&mut input, &old, &new);
            let rules = rules(&mut input, &old);
            if let Ok(encoded) = encode(&old, &new, &blocks, Some(&rules)) {
                assert_eq!(check(&encoded.payload, &old).as_deref(), Some(new.as_slice()));
                if let Some(packed) = pack(&encoded.payload, &old, 0) {
                    assert_eq!(check(&packed, &old).as_deref(), Some(new.as_slice()));
                }
                let mut payload = encoded.payload;
                patch(&mut input, &mut payload);
                check(&payload, &old);
            }
        }
        _ => {
            let (old, new) = (program_of(&mut input), program_of(&mut input));
            let Some(layouts) = Layouts::of(&old, &new) else { return };
            let blocks = blocks(&mut input, &old, &new);
            let Ok(draft) = layouts.encode(&old, &new, &blocks) else { return };
            assert_eq!(check(&draft.encoded.payload, &old).as_deref(), Some(new.as_slice()));
            assert_eq!(layouts.normalised_old(&old, &draft).len(), old.len());
            assert_eq!(layouts.normalised_new(&new).len(), new.len());
        }
    }
}

/// Decodes a payload twice, which gives the same.
fn check(payload: &[u8], old: &[u8]) -> Option<Vec<u8>> {
    let prepared = Prepared::new(payload, old).ok()?;
    let (size, work) = (prepared.size(), prepared.work());
    assert!(work <= 256 * (old.len() as u64 * 4 + payload.len() as u64 + size as u64), "{work} units");
    assert_eq!(Payload::parse(payload, Some(old.len())).map(|payload| payload.size()), Ok(size));
    let made = decode(prepared.start(), size)?;
    assert_eq!(decode(Decoder::new(payload, old), size).as_ref(), Some(&made));
    Some(made)
}

fn decode(decoder: program::Result<Decoder<'_>>, size: usize) -> Option<Vec<u8>> {
    let mut decoder = decoder.ok()?;
    let mut made = Vec::new();
    while let Some(piece) = decoder.next_piece().ok()? {
        assert!(!piece.is_empty());
        made.extend_from_slice(piece);
        assert!(made.len() <= size);
    }
    assert_eq!(made.len(), size);
    Some(made)
}

/// Takes a file: any bytes, or a program some bytes of which are others.
fn program_of(input: &mut Input<'_>) -> Vec<u8> {
    let count = u32::from(input.byte());
    if count < 4 {
        return input.sized().to_vec();
    }
    let (skipped, more) = (u32::from(input.byte()), u32::from(input.within(0..=3)));
    let functions = (0..count).filter(|number| *number != skipped).chain(1000..1000 + more);
    let mut bytes = fixtures::programs::program(&functions.collect::<Vec<_>>());
    patch(input, &mut bytes);
    bytes
}

/// Puts other bytes into some places.
fn patch(input: &mut Input<'_>, bytes: &mut [u8]) {
    for _ in 0..input.within(0..=6) {
        let place = usize::from(input.word()) * usize::from(input.within(1..=3));
        if let Some(byte) = bytes.get_mut(place) {
            *byte = input.byte();
        }
    }
}

/// Blocks that cover the new file.
fn blocks(input: &mut Input<'_>, old: &[u8], new: &[u8]) -> Vec<Block> {
    let narrow = |size: usize| u32::try_from(size).unwrap_or(0);
    let mut blocks = Vec::new();
    let mut left = new.len();
    while left > 0 {
        let source = if input.is_empty() { 0 } else { usize::from(input.word()) % (old.len() + 1) };
        let wanted = if input.is_empty() { left } else { usize::from(input.word()) };
        let add = wanted.min(old.len() - source).min(left);
        let literal = if input.is_empty() { left - add } else { usize::from(input.byte()).min(left - add) };
        if add + literal > 0 {
            blocks.push(Block { source: narrow(source), add: narrow(add), literal: narrow(literal) });
        }
        left -= add + literal;
    }
    blocks
}

fn range(input: &mut Input<'_>, old: &[u8]) -> Range<u32> {
    let end = u32::try_from(old.len()).unwrap_or(0).min(MAX_SIZE);
    let start = u32::from(input.word()) % (end + 1);
    start..start + u32::from(input.word()) % (end - start + 1)
}

fn side(input: &mut Input<'_>) -> Side {
    let segment = |input: &mut Input<'_>| Segment {
        address: u64::from(input.word()) << input.within(0..=40),
        size: u32::from(input.word()),
        place: u32::from(input.word()),
    };
    let segments = (0..input.within(0..=3)).map(|_| segment(input)).collect();
    Side { segments, bases: (0..8).map(|_| u64::from(input.word())).collect() }
}

fn rules(input: &mut Input<'_>, old: &[u8]) -> Rules {
    let sides = (side(input), side(input));
    let mut rules = Vec::new();
    for _ in 0..input.within(0..=4) {
        let kind = input.within(0..=12);
        let range = range(input, old);
        let (start, base) = (range.start, u16::from(input.within(0..=9)));
        rules.push(match kind {
            0 => Rule::X86_64(range),
            1 => Rule::Aarch64(range),
            2 => Rule::JumpTables(range),
            3 => Rule::EhFrame(range),
            4 => Rule::Sections { start, count: base },
            5 => Rule::Btf { range, ids: base, names: 2 },
            6 => {
                let count = (range.end - start) / 8;
                Rule::GoFunctions(GoFunctions { start, count, end: range.end, is_old: base > 4, bases: base })
            }
            7 => Rule::GoTypes { range, types: base },
            9 => Rule::Icu { range, bases: base },
            10 => Rule::Thumb(range),
            11 => Rule::Arm(range),
            12 => Rule::ArmUnwinding(range),
            _ => {
                let stride = 8 + u32::from(input.within(0..=40));
                let count = (range.end - start) / stride;
                let flags = input.byte();
                Rule::Strided(Strided {
                    start,
                    count: count.max(1),
                    stride,
                    is_wide: flags & 1 > 0,
                    base: (flags & 2 > 0).then_some(base),
                    scale: input.byte(),
                    is_column: flags & 4 > 0,
                })
            }
        });
    }
    let new_code = (0..input.within(0..=2)).map(|_| range(input, old)).collect();
    let tables = input.byte();
    let frame_table = (tables & 1 > 0).then(|| {
        let (table, records) = (range(input, old), range(input, old));
        FrameTable { start: table.start, count: (table.end - table.start) / 8, records }
    });
    let hash_table = (tables & 2 > 0).then(|| {
        let [section, symbols, names] = [(); 3].map(|()| range(input, old));
        HashTable { section, symbols, names }
    });
    let call_sites = range(input, old);
    Rules { old: sides.0, new: sides.1, rules, new_code, frame_table, hash_table, call_sites, packed: None }
}
