//! The seeds of the target `relocated`.

use fixtures::programs::program as program_of;
use fuzz::Fields;

/// Two versions of a program, with their payload or with rules for any block.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let old: Vec<u32> = (0..20).filter(|number| *number != 200).collect();
    let new: Vec<u32> = (0..20).filter(|number| *number != 7).chain(1000..1002).collect();
    let (old, new) = (program_of(&old), program_of(&new));
    let layouts = program::Layouts::of(&old, &new).expect("two programs");
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small programs");
    let add = size(&old).min(size(&new));
    let block = program::Block { source: 0, add, literal: size(&new) - add };
    let payload = layouts.encode(&old, &new, &[block]).expect("blocks that cover the file").encoded.payload;
    // Two programs of 20 functions, as the target takes them, and a block.
    let pair = |kind: u8| {
        let fields = Fields::new().byte(kind).byte(20).byte(200).byte(0).byte(0);
        fields.byte(20).byte(7).byte(2).byte(0).word(0).word(9000).byte(9)
    };
    let sides = |fields: Fields| {
        (0..2).fold(fields, |fields, _| {
            let segment = fields.byte(1).word(1).byte(0).word(60_000).word(0);
            (0..8).fold(segment, |fields, base| fields.word(base * 500))
        })
    };
    let mut seeds = vec![
        ("payload", Fields::new().byte(1).byte(20).byte(200).byte(0).byte(0).sized(&payload).finish()),
        ("layouts", pair(3).finish()),
    ];
    let names = ["x86-64", "aarch64", "jumps", "unwind", "sections", "btf", "go", "go-types", "table"];
    let of_arm = [(10, "thumb"), (11, "arm"), (12, "exidx")];
    for (kind, name) in (0..).zip(names).chain(of_arm) {
        let rule = sides(pair(2)).byte(1).byte(kind).word(4096).word(3000).byte(1).byte(16).byte(3).byte(1);
        seeds.push((name, rule.byte(2).word(300).byte(1).byte(9).finish()));
    }
    // No rule and no code, and the table of frames where it lies in these programs, with its records.
    let frames = sides(pair(2)).byte(0).byte(0).byte(1).word(8540).word(168).word(8712).word(532);
    seeds.push(("frames", frames.finish()));
    // The same, and a hash table whose symbols and names are any bytes.
    let both = sides(pair(2)).byte(0).byte(0).byte(3).word(8540).word(168).word(8712).word(532);
    seeds.push(("tables", both.word(0).word(128).word(128).word(480).word(608).word(400).finish()));
    seeds.push(("hashes", hashes()));
    seeds.push(("call-sites", call_sites()));
    seeds.push(("instructions", instructions()));
    seeds.push(("branches", branches()));
    seeds.push(("packed", packed()));
    seeds.extend(icu());
    seeds
}

/// A payload of a file that is a hash table with a bucket for two symbols, one of which gets another name.
fn hashes() -> Vec<u8> {
    let file = |name: u8| {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
        // One bucket, symbols from number 1 on, a word of the filter, which is not as it would be computed, and the hashes.
        let hash = |name: u8| 5381 * 33 + u32::from(name);
        let section = words(&[1, 1, 1, 6, 0, 0, 1, hash(b'a') & !1, hash(name) | 1]);
        let symbols = words(&[[0; 6], [1, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]].concat());
        [section, symbols, vec![0, b'a', 0, name, 0]].concat()
    };
    let (old, new) = (file(b'b'), file(b'c'));
    let size = u32::try_from(new.len()).expect("a small file");
    let hash_table = Some(program::HashTable { section: 0..36, symbols: 36..108, names: 108..size });
    let rules = program::Rules { hash_table, ..program::Rules::default() };
    let blocks = [program::Block { source: 0, add: size, literal: 0 }];
    let encoded = program::encode(&old, &new, &blocks, Some(&rules)).expect("blocks that cover the file");
    Fields::new().byte(0).sized(&old).rest(&encoded.payload).finish()
}

/// A payload whose new bytes are tables of call sites, with a row that differs and one that is cut between them.
fn call_sites() -> Vec<u8> {
    let record =
        |pad: u8| [0xff, 0x9b, 13, 1, 8, 0, 9, pad, 1, 11, 4, 0, 0, 1, 2, 3, 0xff, 0xff, 1, 4, 0, 7, pad, 0];
    let old = [record(20), record(21)].concat();
    let new = [&record(20)[..8], &[record(30), record(31), record(32)].concat()[8..], &record(22)].concat();
    let blocks = [
        program::Block { source: 0, add: 6, literal: 3 * 24 - 6 },
        program::Block { source: 24, add: 24, literal: 0 },
    ];
    let call_sites = 0..u32::try_from(new.len()).expect("four records");
    let rules = program::Rules { call_sites, ..program::Rules::default() };
    let encoded = program::encode(&old, &new, &blocks, Some(&rules)).expect("blocks that cover the file");
    Fields::new().byte(0).sized(&old).rest(&encoded.payload).finish()
}

/// A payload of new code that begins within a call, with each sort of operands: apart, as the number of a target, and kept.
fn instructions() -> Vec<u8> {
    let old = [0x90, 0x90, 0x90, 0xe8];
    let code = [
        &[16, 0, 0, 0, 0x0f, 0x84, 21, 0, 0, 0, 0xe9, 16, 0, 0, 0, 0xe9, 0, 0, 0, 0x41][..],
        &[0x48, 0x8d, 0x05, 1, 0, 0, 0, 0x66, 0x81, 0x3d, 1, 0, 0, 0, 5, 6, 0xe8, 0, 0, 0, 0x70],
        &[0x48, 0x8b, 0x84, 0x24, 0, 1, 0, 0, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0xf6, 0xc1, 1],
        &[0xc5, 0xf8, 0x77, 0x62, 0xf1, 0x7c, 0x48, 0x10, 0x44, 0x24, 1, 0xe8, 1, 2],
    ]
    .concat();
    let literal = u32::try_from(code.len()).expect("some instructions");
    let new = [&old[..], &code].concat();
    let segment = program::Segment { address: 0, size: 4 + literal, place: 0 };
    let side = program::Side { segments: vec![segment], bases: Vec::new() };
    let new_code = std::iter::once(0..4 + literal).collect();
    let rules = program::Rules { old: side.clone(), new: side, new_code, ..program::Rules::default() };
    let blocks = [program::Block { source: 0, add: 4, literal }];
    let encoded = program::encode(&old, &new, &blocks, Some(&rules)).expect("blocks that cover the file");
    Fields::new().byte(0).sized(&old).rest(&encoded.payload).finish()
}

/// A payload of code for 32-bit ARM, in which calls, branches and a constant moved, and one leads elsewhere.
fn branches() -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let thumb = [0x4479_4904, 0xf81e_f000, 0xe81c_f000, 0x801a_f040, 0xbffc_f7ff, 30, 0xbf00_bf00];
    let arm = [0xeb00_0003, 0x0aff_fffe, 0xfbff_fff9, 0xe12f_ff1e, 0x7fff_ffc0, 0x7fff_ffe4];
    let old = words(&[&thumb[..], &arm].concat());
    let mut new = [&old[..4], &words(&[0xbf00_bf00]), &old[4..]].concat();
    new[10] ^= 2;
    let size = u32::try_from(old.len()).expect("some instructions");
    let side = |size| {
        let segment = program::Segment { address: 0x1_0000, size, place: 0 };
        program::Side { segments: vec![segment], bases: Vec::new() }
    };
    let list =
        vec![program::Rule::Thumb(0..28), program::Rule::Arm(28..44), program::Rule::ArmUnwinding(44..52)];
    let rules =
        program::Rules { old: side(size), new: side(size + 4), rules: list, ..program::Rules::default() };
    let blocks = [
        program::Block { source: 0, add: 4, literal: 4 },
        program::Block { source: 4, add: size - 4, literal: 0 },
    ];
    let encoded = program::encode(&old, &new, &blocks, Some(&rules)).expect("blocks that cover the file");
    Fields::new().byte(0).sized(&old).rest(&encoded.payload).finish()
}

/// A payload whose new bytes are packed: old ones of which one in 50 is another, among which are calls.
fn packed() -> Vec<u8> {
    let mut state = 1u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let mut old: Vec<u8> = (0..6000).map(|_| byte()).collect();
    old.chunks_exact_mut(40).for_each(|bytes| bytes[..5].copy_from_slice(&[0xe8, 1, 2, 0, 0]));
    let new: Vec<u8> = old.iter().enumerate().map(|(place, byte)| byte ^ u8::from(place % 50 == 0)).collect();
    let size = u32::try_from(new.len()).expect("a small file");
    let segment = program::Segment { address: 0, size, place: 0 };
    let side = program::Side { segments: vec![segment], bases: Vec::new() };
    let rules = program::Rules {
        old: side.clone(),
        new: side,
        rules: vec![program::Rule::X86_64(0..size)],
        new_code: std::iter::once(0..size).collect(),
        ..program::Rules::default()
    };
    let blocks = [program::Block { source: 0, add: 0, literal: size }];
    let encoded = program::encode(&old, &new, &blocks, Some(&rules)).expect("blocks that cover the file");
    let payload = program::pack(&encoded.payload, &old, 0).expect("bytes like old ones");
    Fields::new().byte(0).sized(&old).rest(&payload).finish()
}

/// Two versions of data of ICU: one byte after the other in a payload, and as files that are taken for such data.
fn icu() -> [(&'static str, Vec<u8>); 2] {
    let (old, new) =
        (fixtures::icu::package(&[0, 1, 2, 3, 4], 7), fixtures::icu::package(&[0, 1, 20, 3, 4], 7));
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small data");
    let layouts = program::Layouts::of(&old, &new).expect("data of ICU");
    let add = size(&old).min(size(&new));
    let block = program::Block { source: 0, add, literal: size(&new) - add };
    let payload = layouts.encode(&old, &new, &[block]).expect("blocks that cover the file").encoded.payload;
    // Files of any bytes, and a block of all.
    let layouts =
        Fields::new().byte(3).byte(0).sized(&old).byte(0).sized(&new).word(0).word(u16::MAX).byte(255);
    [("icu", Fields::new().byte(0).sized(&old).rest(&payload).finish()), ("icu-layouts", layouts.finish())]
}
