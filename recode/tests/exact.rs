//! Streams of the tools in the field are made again, bit for bit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use recode::{Codec, Found, Recipe, encode, find, recipe};
use support::{contents, pipe};

/// Checks that every stream of a file has a recipe that makes it, also when read from the wire.
fn check(what: &str, file: &[u8]) -> Vec<Recipe> {
    let found = find(file, 64 << 20);
    assert!(!found.is_empty(), "{what}");
    let recipe_of = |found: Found| {
        let encoded = &file[found.encoded];
        let recipe =
            recipe(found.codec, encoded, &found.plain).unwrap_or_else(|refused| panic!("{what}: {refused}"));
        let recipe = Recipe::parse(recipe.as_bytes()).unwrap();
        assert_eq!(recipe.codec(), found.codec);
        let mut made = Vec::new();
        encode(&recipe, &mut found.plain.as_slice(), found.plain.len() as u64, &mut made).unwrap();
        assert!(made == encoded, "{what}");
        recipe
    };
    found.into_iter().map(recipe_of).collect()
}

/// All contents for plain levels; for other options those two that tell most.
fn contents_for(arguments: &[&str]) -> Vec<(&'static str, Vec<u8>)> {
    let mut contents = contents();
    contents.retain(|(name, _)| {
        (arguments.len() == 1 && !arguments[0].starts_with("--")) || ["empty", "mixed"].contains(name)
    });
    contents
}

#[test]
fn xz() {
    let options: &[&[&str]] = &[
        &["-0"],
        &["-1"],
        &["-2"],
        &["-3"],
        &["-4"],
        &["-5"],
        &["-6"],
        &["-7"],
        &["-9"],
        &["-0e"],
        &["-3e"],
        &["-6e"],
        &["-6", "--check=none"],
        &["-6", "--check=crc32"],
        &["-6", "--check=sha256"],
        &["-2", "-T2", "--block-size=65536"],
        &["-2", "-T1", "--block-size=65536"],
        &["--x86", "--lzma2=preset=6"],
        &["--arm", "--delta=dist=4", "--lzma2=preset=1"],
        &["--check=crc32", "--lzma2=preset=6,dict=1MiB"],
        &["--lzma2=preset=6,lc=0,lp=2,pb=0"],
    ];
    for arguments in options {
        for (name, content) in contents_for(arguments) {
            let file = pipe("xz", &[&["-c"], *arguments].concat(), &content);
            for recipe in check(&format!("xz {arguments:?} of {name}"), &file) {
                assert!(recipe.as_bytes().len() < 150, "{arguments:?} {name}: {recipe:?}");
                assert_eq!(recipe.codec(), Codec::Xz);
            }
        }
    }
}
