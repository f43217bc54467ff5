//! A reader of corrections that was written from CORRECTIONS.md alone, without this library: it reads those of the
//! example in RECIPES.md.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

/// The corrections of the last example of RECIPES.md, whose parser looks for no references in so short a text.
const CORRECTIONS: [u8; 6] = [0x00, 0xaf, 0xc8, 0x00, 0x6f, 0x70];
const PLAIN_SIZE: usize = 22;

struct Model {
    fast: u32,
    slow: u32,
    seen: u32,
}

/// The decoder; each model has a name.
struct Decoder<'b> {
    bytes: std::slice::Iter<'b, u8>,
    range: u32,
    code: u32,
    models: BTreeMap<String, Model>,
}

impl<'b> Decoder<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        let mut decoder = Self { bytes: bytes.iter(), range: u32::MAX, code: 0, models: BTreeMap::new() };
        (0..5).for_each(|_| decoder.read());
        decoder
    }

    fn read(&mut self) {
        self.code = self.code << 8 | u32::from(self.bytes.next().copied().unwrap_or(0));
    }

    fn bit(&mut self, name: &str) -> bool {
        let new = Model { fast: 32_768, slow: 32_768, seen: 0 };
        let model = self.models.entry(name.to_owned()).or_insert(new);
        let bound = (self.range >> 16) * u32::midpoint(model.fast, model.slow);
        let rate = model.seen + 1;
        model.seen = rate.min(7);
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
            model.fast -= model.fast >> rate.min(4);
            model.slow -= model.slow >> rate.min(7);
        } else {
            self.range = bound;
            model.fast += (65_535 - model.fast) >> rate.min(4);
            model.slow += (65_535 - model.slow) >> rate.min(7);
        }
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.read();
        }
        bit
    }

    fn tree(&mut self, name: &str, bits: u32) -> u32 {
        let mut row = String::new();
        for _ in 0..bits {
            let bit = self.bit(&format!("{name} {row}"));
            row.push(if bit { '1' } else { '0' });
        }
        u32::from_str_radix(&row, 2).unwrap()
    }
}

#[test]
fn the_corrections_of_the_example_are_read_by_the_text_alone() {
    let mut decoder = Decoder::new(&CORRECTIONS);
    assert!(decoder.bit("is last"));
    assert_eq!(decoder.tree("kind", 2), 1, "static codes");
    assert!(!decoder.bit("is the number of tokens that was told last"));
    assert!(decoder.bit("goes up to the last plain byte"));
    for at in 0..PLAIN_SIZE {
        // No reference is found at any place, and no prediction before was wrong.
        assert!(decoder.bit("no reference, right, right"), "the token at {at} is the predicted literal");
    }
    assert!(!decoder.bit("has padding"));
}

#[test]
fn the_example_is_that_of_the_document() {
    let shown = "00 af c8 00 6f 70  the corrections";
    assert!(include_str!("../RECIPES.md").contains(shown));
}
