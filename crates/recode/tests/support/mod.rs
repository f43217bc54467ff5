//! Helpers of the tests: the tools of the system, and contents to compress.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "each test uses a part, and fails by panicking"
)]

pub(crate) use fixtures::filter as pipe;

/// The output of a Python program that reads `input`.
pub(crate) fn python(program: &str, input: &[u8]) -> Vec<u8> {
    pipe("python3", &["-c", program], input)
}

/// Contents of the kinds that streams hold, by name.
pub(crate) fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let mut rng = fixtures::Rng::new(5);
    let text = fixtures::contents::text(&mut rng, 110_000);
    let code = fixtures::contents::source_code(&mut rng, 160_000);
    let mut noise = vec![0; 100_000];
    for byte in &mut noise {
        *byte = rng.below(256).try_into().unwrap();
    }
    let mixed = [&text[..70_000], &noise[..50_000], &code[..90_000], &[7; 40_000], &noise[..9_000]].concat();
    vec![
        ("empty", Vec::new()),
        ("one byte", vec![b'x']),
        ("short", b"a short text, a short text".to_vec()),
        ("zeros", vec![0; 200_000]),
        ("text", text),
        ("code", code),
        ("noise", noise),
        ("mixed", mixed),
    ]
}
