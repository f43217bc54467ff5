//! Layouts of files that are put together by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod elf32;

use crate::form::word;
use crate::kind::Kind;
use crate::{Block, Layouts, Rule, Rules, encode};

/// The address at which the first byte of the files is loaded: another one than its offset.
const LOADED_AT: u64 = 0x40_0000;
const SECTIONS: usize = 7;

fn text(names: &[String]) -> (Vec<u8>, Vec<u32>) {
    let (mut bytes, mut offsets) = (vec![0], Vec::new());
    for name in names {
        offsets.push(u32::try_from(bytes.len()).unwrap());
        bytes.extend(name.bytes().chain([0]));
    }
    (bytes, offsets)
}

/// A hash table of one bucket, in which all names are, and of a filter of one word.
fn hash_table(names: &[String]) -> Vec<u8> {
    let hash = |name: &String| {
        name.bytes().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
    };
    let mut chain: Vec<u32> = names.iter().map(|name| hash(name) & !1).collect();
    *chain.last_mut().unwrap() |= 1;
    let filter =
        names.iter().map(hash).fold(0u64, |filter, hash| filter | 1 << (hash % 64) | 1 << (hash / 64 % 64));
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    [numbers(&[1, 1, 1, 6]), filter.to_le_bytes().to_vec(), numbers(&[1]), numbers(&chain)].concat()
}

/// A program that has nothing but dynamic symbols, a relocation for each, and their names: once loaded, and once for
/// debuggers; and the hash table of the first.
fn program(names: &[String]) -> Vec<u8> {
    let (of_names, offsets) = text(names);
    let mut symbols = vec![0; 24];
    let mut relocations = Vec::new();
    for (offset, index) in offsets.iter().zip(1u32..) {
        symbols.extend(offset.to_le_bytes());
        symbols.extend([0; 20]);
        relocations.extend((0x70_0000u64 + u64::from(index) * 8).to_le_bytes());
        relocations.extend([6u32, index].map(u32::to_le_bytes).concat());
        relocations.extend([0; 8]);
    }
    let section_names = b"\0.dynsym\0.dynstr\0.rela.dyn\0.strtab\0.shstrtab\0.gcc_except_table\0.gnu.hash\0";
    let hashes = hash_table(names);
    let parts = [&symbols[..], &of_names, &relocations, &of_names, section_names, &hashes];
    // Kind, flags, link and size of a record of each; name by offset.
    let kinds = [
        (1u32, 11u32, 2u64, 2u32, 24u64),
        (9, 3, 2, 0, 0),
        (17, 4, 2, 1, 24),
        (27, 3, 0, 0, 0),
        (35, 3, 0, 0, 0),
        (63, 0x6fff_fff6, 2, 1, 0),
    ];
    let mut file = vec![0; 64 + 56];
    let mut headers = vec![0; 64];
    for (part, (name, kind, flags, link, record)) in parts.into_iter().zip(kinds) {
        let start = file.len() as u64;
        let address = if flags == 2 { LOADED_AT + start } else { 0 };
        headers.extend([name, kind].map(u32::to_le_bytes).concat());
        headers.extend([flags, address, start, part.len() as u64].map(u64::to_le_bytes).concat());
        headers.extend([link, 0].map(u32::to_le_bytes).concat());
        headers.extend([8, record].map(u64::to_le_bytes).concat());
        file.extend(part);
    }
    file.resize(file.len().next_multiple_of(8), 0);
    let at = file.len() as u64;
    file.extend(headers);
    let mut header = [&[0x7f, b'E', b'L', b'F', 2, 1, 1][..], &[0; 9], &[2, 0, 62, 0, 1, 0, 0, 0]].concat();
    header.extend([LOADED_AT, 64, at].map(u64::to_le_bytes).concat());
    header.extend([0; 4]);
    header.extend([64u16, 56, 1, 64, u16::try_from(SECTIONS).unwrap(), 5].map(u16::to_le_bytes).concat());
    header.extend([1u32, 4].map(u32::to_le_bytes).concat());
    header.extend([0, LOADED_AT, LOADED_AT, at, at, 4096].map(u64::to_le_bytes).concat());
    file[..120].copy_from_slice(&header);
    file
}

fn names(first: usize) -> Vec<String> {
    (first..400).map(|index| format!("name{}", index * index)).collect()
}

/// The block of each part: all but the first names and what belongs to them.
fn blocks(old: &[u8], new: &[u8], left_out: usize) -> Vec<Block> {
    let (of_old, of_new) = (text(&names(0)).0.len(), text(&names(left_out)).0.len());
    let sizes = |names: usize, text: usize| [120 + 24, 24 * names, 1, text - 1, 24 * names, 1, text - 1];
    let (before, after) = (sizes(400, of_old), sizes(400 - left_out, of_new));
    let (mut end, mut made, mut blocks) = (0, 0, Vec::new());
    for (before, after) in before.into_iter().zip(after) {
        end += before;
        made += after;
        let [source, add] = [end - after, after].map(|number| u32::try_from(number).unwrap());
        blocks.push(Block { source, add, literal: 0 });
    }
    let rest = u32::try_from(new.len() - made).unwrap();
    let source = u32::try_from(old.len()).unwrap() - rest;
    blocks.push(Block { source, add: rest, literal: 0 });
    blocks
}

#[test]
fn names_and_numbers_of_symbols_are_predicted_where_the_program_is_loaded_elsewhere_than_its_offset() {
    let (old, new) = (program(&names(0)), program(&names(7)));
    let layouts = Layouts::of(&old, &new).unwrap();
    let draft = layouts.encode(&old, &new, &blocks(&old, &new, 7)).unwrap();
    let (_, based) = draft.encoded.outcomes.iter().find(|(kind, _)| *kind == Kind::Based).unwrap();
    assert!(based.fields >= 2 * 393 && based.changed >= 2 * 393, "{based:?}");
    assert_eq!(based.missed, 0, "{based:?}");
}

#[test]
fn names_that_are_loaded_are_normalised_unlike_those_for_debuggers() {
    let file = program(&names(0));
    let layouts = Layouts::of(&file, &file).unwrap();
    let draft = layouts
        .encode(&file, &file, &[Block { source: 0, add: u32::try_from(file.len()).unwrap(), literal: 0 }])
        .unwrap();
    let places = |bytes: &[u8], name: &[u8]| -> Vec<usize> {
        bytes
            .windows(name.len())
            .enumerate()
            .filter(|(_, found)| *found == name)
            .map(|(place, _)| place)
            .collect()
    };
    assert_eq!(places(&file, b"name961\0").len(), 2);
    let (normal_old, normal_new) = (layouts.normalised_old(&file, &draft), layouts.normalised_new(&file));
    assert_eq!(normal_old, normal_new);
    assert_eq!(places(&normal_new, b"name961\0"), places(&file, b"name961\0")[1..]);
}

#[test]
fn the_section_of_call_sites_is_found_in_the_new_file() {
    const NAME: u8 = 45;
    let old = program(&names(0));
    assert_eq!(Layouts::of(&old, &old).unwrap().rules.call_sites, 0..0);
    // The names for debuggers become one.
    let mut new = old.clone();
    let headers = usize::try_from(word(&new, 40, 8)).unwrap();
    let header = headers + 4 * 64;
    new[header] = NAME;
    let [start, size] = [24, 32].map(|field| u32::try_from(word(&new, header + field, 8)).unwrap());
    assert!(size > 0);
    assert_eq!(Layouts::of(&old, &new).unwrap().rules.call_sites, start..start + size);
}

#[test]
fn the_hash_table_of_the_new_file_is_computed_if_it_is_another_one() {
    let (old, new) = (program(&names(0)), program(&names(7)));
    assert_eq!(Layouts::of(&old, &old).unwrap().rules.hash_table, None);
    let layouts = Layouts::of(&old, &new).unwrap();
    let table = layouts.rules.hash_table.clone().unwrap();
    let section = &new[table.section.start as usize..table.section.end as usize];
    assert_eq!(section, hash_table(&names(7)));
    assert_eq!(table.symbols.len(), 24 * (1 + 393));
    assert_eq!(&new[table.names.start as usize..table.names.end as usize], text(&names(7)).0);
    let is_apart = |rule: &Rule| match rule {
        Rule::Strided(strided) => !table.section.contains(&strided.start),
        _ => true,
    };
    assert!(layouts.rules.rules.iter().all(is_apart));
    let blocks = blocks(&old, &new, 7);
    let carried = |rules: &Rules| encode(&old, &new, &blocks, Some(rules)).unwrap().carried;
    let without = carried(&Rules { hash_table: None, ..layouts.rules.clone() });
    let carried = carried(&layouts.rules);
    assert!(carried + 700 < without, "{carried} of {without}");
    // A table that is another one than of these names stays in the delta.
    let mut other = new.clone();
    other[table.section.start as usize + 28..table.section.end as usize].reverse();
    assert_eq!(Layouts::of(&old, &other).unwrap().rules.hash_table, None);
}
