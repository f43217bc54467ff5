//! The bytes of the examples in RECIPES.md are real: each recipe is the one that is found for its stream, and
//! makes it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use recode::{Codec, encode, find, recipe};

const DOCUMENT: &str = include_str!("../RECIPES.md");
/// The largest number of plain bytes of an example.
const MAX: usize = 1 << 10;

/// Returns the bytes of each line of the fenced block that follows `heading`: pairs of hexadecimal digits up to
/// two spaces, behind which the line says what they are.
fn lines_after(heading: &str) -> Vec<Vec<u8>> {
    let (_, rest) = DOCUMENT.split_once(heading).unwrap();
    let (_, rest) = rest.split_once("```text\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    let bytes = |line: &str| {
        let (digits, meaning) = line.split_once("  ").unwrap();
        assert!(!meaning.trim().is_empty(), "{line}");
        digits.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    };
    block.lines().map(bytes).collect()
}

fn made(recipe: &recode::Recipe, plain: &[u8]) -> Vec<u8> {
    let mut made = Vec::new();
    encode(recipe, &mut { plain }, plain.len() as u64, &mut made).unwrap();
    made
}

#[test]
fn the_recipe_of_a_gzip_file_is_as_the_document_shows_it() {
    let file = lines_after("**The file.**").concat();
    let found = find(&file, MAX);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].plain, b"Readers read what writers wrote, and writers write what readers read.\n");
    let stream = &file[found[0].encoded.clone()];
    let shown = lines_after("**Its recipe.**").concat();
    assert_eq!(recipe(Codec::Deflate, stream, &found[0].plain).unwrap().as_bytes(), shown);
    assert_eq!(made(&recode::Recipe::parse(&shown).unwrap(), &found[0].plain), stream);
}

#[test]
fn the_recipe_with_corrections_is_as_the_document_shows_it() {
    let stream = lines_after("**A stream of another encoder.**").concat();
    let shown = lines_after("**Its recipe with corrections.**").concat();
    let plain = b"tomorrow and tomorrow\n";
    assert_eq!(recipe(Codec::Deflate, &stream, plain).unwrap().as_bytes(), shown);
    assert_eq!(made(&recode::Recipe::parse(&shown).unwrap(), plain), stream);
}
