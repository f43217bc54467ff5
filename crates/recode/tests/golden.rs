//! Recipes mean the same bytes for ever: an update of a library that makes others must not pass.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use recode::{Recipe, encode};
use sha2::{Digest, Sha256};

/// The first bytes of the SHA-256 of a stream of these plain bytes, in hexadecimal.
fn digest(recipe: &[u8], plain: &[u8]) -> String {
    let recipe = Recipe::parse(recipe).unwrap();
    let mut made = Vec::new();
    encode(&recipe, &mut { plain }, plain.len() as u64, &mut made).unwrap();
    Sha256::digest(&made)[..8].iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn recipes_mean_what_they_meant() {
    let mut rng = fixtures::Rng::new(11);
    let text = fixtures::contents::text(&mut rng, 400_000);
    let code = fixtures::contents::source_code(&mut rng, 400_000);
    let plain = [text, code].concat();
    let xz: &[u8] = &[2, 1, 4, 0x5d, 1, 0x80, 0xea, 0x30, 1, 0, 0x21, 1, 0x10, 0, 0, 0];
    let recipes: [(&[u8], &str); 10] = [
        (&[0, 1, 15, 8, 0], "7ca2cfaa521567da"),
        (&[0, 6, 15, 8, 0], "708922774c4b623e"),
        (&[0, 9, 12, 5, 1], "ad363e6f770a5491"),
        (&[5, 6], "62f61b4c495f68cc"),
        (xz, "58084fd799801a78"),
        (&[3, 3, 0, 0], "8d8e28990299c721"),
        (&[3, 19, 3, 0], "a95f4794acebec43"),
        (&[3, 1, 6, 0], "665880898adb2056"),
        (&[4, 1], "91b6eb87ed9d38fb"),
        (&[4, 9], "e4a47b2395c8cae3"),
    ];
    let made: Vec<_> = recipes.iter().map(|(recipe, _)| digest(recipe, &plain)).collect();
    assert_eq!(made, recipes.map(|(_, expected)| expected));
}

#[test]
fn corrections_mean_what_they_meant() {
    let plain = fixtures::contents::source_code(&mut fixtures::Rng::new(12), 3000);
    let recipe = [
        1, 1, 149, 10, 0, 34, 164, 16, 16, 15, 255, 255, 250, 148, 91, 137, 201, 33, 209, 62, 178, 197, 93,
        29, 107, 220, 201, 136, 66, 160, 5, 7, 103, 236, 131, 215, 152, 26, 71, 154, 198, 23, 185, 65, 87,
        163, 167, 199, 143, 15, 254, 113, 144, 183, 38, 18, 185, 247, 9, 220, 29, 233, 125, 246, 185, 133,
        187, 149, 56, 155, 50, 95, 63, 192, 172, 65,
    ];
    assert_eq!(digest(&recipe, &plain), "9734dc9370eb1cce");
}

/// The recipe of what skopeo made of these plain bytes.
#[test]
fn pgzip_means_what_it_meant() {
    let plain = fixtures::contents::source_code(&mut fixtures::Rng::new(13), 70_000);
    let recipe = [
        1, 15, 240, 132, 1, 0, 67, 127, 209, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 217, 149, 2, 150, 239, 82, 66,
        235, 94, 169, 9, 239, 206, 125, 44, 53, 32, 103, 249, 113, 246, 224, 157, 177, 166, 253, 184, 21, 46,
        169, 161, 160, 226, 152, 146, 37, 173, 182, 45, 26, 24, 56, 157, 198, 196, 48, 137, 77, 175, 149,
        233, 63, 231, 209, 86, 147, 108, 245, 52, 27, 232, 213, 88, 66, 204, 201, 33, 79, 178, 93, 77, 103,
        227, 186, 166,
    ];
    assert_eq!(digest(&recipe, &plain), "d737b7af43c86f60");
}

/// The recipe of what klauspost/pgzip 1.2.6 on klauspost/compress 1.11.3 made of these plain bytes, with parts as umoci
/// asks for them.
#[test]
fn umoci_means_what_it_meant() {
    let plain = fixtures::contents::source_code(&mut fixtures::Rng::new(14), 300_000);
    let recipe = [
        6, 149, 145, 171, 4, 0, 167, 122, 68, 0, 204, 191, 152, 134, 249, 68, 72, 247, 75, 180, 174, 153,
        213, 47, 189, 98, 77, 65, 195, 131, 23, 228, 43, 160, 2, 156, 103, 192, 252, 157, 73, 89, 173, 205,
        110, 25, 82, 108, 155, 163, 43, 210, 217, 51, 61, 18, 231, 199, 255, 255, 255, 255, 255, 255, 255,
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 188, 151, 224,
        242, 64, 15, 75, 153, 99, 141, 73,
    ];
    assert_eq!(digest(&recipe, &plain), "527a46874ef797c7");
}
