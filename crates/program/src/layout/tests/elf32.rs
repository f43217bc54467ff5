//! Programs for machines of 32 bits, put together by hand.

use std::ops::Range;

use crate::branch::Set;
use crate::kind::Kind;
use crate::tests::decode;
use crate::{Block, Layouts};

const LOADED_AT: u32 = 0x1_0000;
const HEADERS: u32 = 52 + 32;
const FUNCTION_SIZE: u32 = 16;
const FUNCTIONS: u32 = 200;
/// Functions that none calls, which the new program lacks.
const UNUSED: Range<u32> = 100..105;
const I386: u16 = 3;
const ARM: u16 = 40;

/// An instruction that calls, by the address of its last four bytes.
type Call = fn(own: u32, target: u32) -> Vec<u8>;

fn call_of_i386(own: u32, target: u32) -> Vec<u8> {
    [&[0xe8][..], &target.wrapping_sub(own + 4).to_le_bytes()].concat()
}

fn call_of(set: Set, word: u32, own: u32, target: u32) -> Vec<u8> {
    set.put(word, own.into(), target.into()).unwrap().to_le_bytes().to_vec()
}

fn call_of_thumb(own: u32, target: u32) -> Vec<u8> {
    call_of(Set::Thumb, 0xd000_f000, own, target)
}

fn call_of_arm(own: u32, target: u32) -> Vec<u8> {
    call_of(Set::Arm, 0xeb00_0000, own, target)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A program of functions, each of which calls one, without those of some numbers; with pointers to all that may be called,
/// their relocations and symbols, and records of how the stack is unwound.
fn program(machine: u16, call: Call, without: Range<u32>) -> Vec<u8> {
    let index =
        |number: u32| if number < without.start { number } else { number + without.start - without.end };
    let start = |number: u32| LOADED_AT + HEADERS + index(number) * FUNCTION_SIZE;
    let numbers = (0..FUNCTIONS).filter(|number| !without.contains(number));
    let mut code = Vec::new();
    for number in numbers.clone() {
        let own = start(number) + 4;
        let called = number * 7 % FUNCTIONS;
        let target = start(if UNUSED.contains(&called) { 0 } else { called });
        let instruction = call(own, target);
        code.extend(number.to_le_bytes().iter().take(8 - instruction.len()));
        code.extend(instruction);
        code.extend(number.wrapping_mul(0x9e37_79b9).to_le_bytes());
        code.extend([0; 4]);
    }
    let used = (0..FUNCTIONS).filter(|number| !UNUSED.contains(number));
    let count = FUNCTIONS + UNUSED.start - UNUSED.end;
    let table = LOADED_AT + HEADERS + u32::try_from(code.len()).unwrap();
    let record = |number: u32| [start(number).wrapping_sub(table + 8 * index(number)) & 0x7fff_ffff, 1];
    let records: Vec<u32> = numbers.flat_map(record).collect();
    let symbols: Vec<u32> = used.clone().flat_map(|number| [number, start(number), 16, 18]).collect();
    let pointers = table + 4 * u32::try_from(records.len() + symbols.len()).unwrap() + 8 * count;
    let relocations: Vec<u32> = (0..count).flat_map(|index| [pointers + 4 * index, 23]).collect();
    let data: Vec<u32> = used.map(start).collect();
    let names = b"\0.text\0.ARM.exidx\0.dynsym\0.rel.dyn\0.data\0.shstrtab\0";
    let parts = [code, words(&records), words(&symbols), words(&relocations), words(&data), names.to_vec()];
    // Name, kind, flags and link of each.
    let kinds =
        [(1, 1, 6, 0), (7, 0x7000_0001, 2, 1), (18, 11, 2, 0), (26, 9, 2, 3), (35, 1, 3, 0), (41, 3, 0, 0)];
    let mut file = vec![0; HEADERS as usize];
    let mut headers = vec![0; 40];
    for (part, (name, kind, flags, link)) in parts.iter().zip(kinds) {
        let (at, size) = (u32::try_from(file.len()).unwrap(), u32::try_from(part.len()).unwrap());
        let address = if flags == 0 { 0 } else { LOADED_AT + at };
        headers.extend(words(&[name, kind, flags, address, at, size, link, 0, 4, 0]));
        file.extend(part);
    }
    file.resize(file.len().next_multiple_of(4), 0);
    let at = u32::try_from(file.len()).unwrap();
    file.extend(headers);
    let mut header = [&[0x7f, b'E', b'L', b'F', 1, 1, 1][..], &[0; 9], &[3, 0]].concat();
    header.extend(machine.to_le_bytes());
    header.extend(words(&[1, start(FUNCTIONS - 1), 52, at, 0]));
    header.extend([52u16, 32, 1, 40, 7, 6].map(u16::to_le_bytes).concat());
    header.extend(words(&[1, 0, LOADED_AT, LOADED_AT, at, at, 5, 4096]));
    file[..HEADERS as usize].copy_from_slice(&header);
    file
}

/// The blocks of the old file, without what belongs to the functions that the new one lacks.
fn blocks(old: &[u8]) -> Vec<Block> {
    let records = HEADERS + FUNCTIONS * FUNCTION_SIZE;
    let [code, records] = [(HEADERS, FUNCTION_SIZE), (records, 8)]
        .map(|(start, size)| (start + UNUSED.start * size, start + UNUSED.end * size));
    let ends = [(0, code.0), (code.1, records.0), (records.1, u32::try_from(old.len()).unwrap())];
    ends.map(|(source, end)| Block { source, add: end - source, literal: 0 }).to_vec()
}

#[test]
fn what_moved_in_programs_of_32_bits_is_predicted() {
    let cases: [(u16, Call, &str, &[Kind]); 3] = [
        (I386, call_of_i386, "x86-64 code", &[Kind::Relative, Kind::Absolute]),
        (ARM, call_of_thumb, "thumb code", &[Kind::Branch, Kind::Short, Kind::Absolute]),
        (ARM, call_of_arm, "arm code", &[Kind::Branch, Kind::Short, Kind::Absolute]),
    ];
    for (machine, call, of_code, kinds) in cases {
        let (old, new) = (program(machine, call, 0..0), program(machine, call, UNUSED));
        let layouts = Layouts::of(&old, &new).unwrap();
        assert_eq!(layouts.rules.rules.iter().filter(|rule| rule.kind_name() == of_code).count(), 1);
        let draft = layouts.encode(&old, &new, &blocks(&old)).unwrap();
        assert_eq!(decode(&draft.encoded.payload, &old).unwrap(), new);
        for kind in kinds {
            let (_, outcome) = draft.encoded.outcomes.iter().find(|(of, _)| of == kind).unwrap();
            let is_predicted = outcome.missed * 20 <= outcome.fields && outcome.changed * 3 > outcome.fields;
            assert!(is_predicted, "{of_code}, {kind:?}: {outcome:?}");
        }
        assert!(draft.encoded.carried < 100, "{of_code}: {} bytes are carried", draft.encoded.carried);
    }
}

#[test]
fn other_machines_of_32_bits_and_broken_headers_are_no_programs() {
    let file = program(ARM, call_of_arm, 0..0);
    assert!(Layouts::of(&file, &file).is_some());
    // PowerPC, an object file, and a segment that reaches past the file.
    for (at, byte) in [(18, 20), (16, 1), (52 + 18, 1)] {
        let mut other = file.clone();
        other[at] = byte;
        assert!(Layouts::of(&other, &other).is_none(), "byte {at}");
    }
}
