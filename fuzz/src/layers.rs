//! Layers made of an input: small tars whose files have much in common.

use std::fs::File;
use std::io::Write;

use fixtures::{Ending, HeaderFormat, LayerBuilder, Rng};
use layer::Spool;

use crate::{Input, try_compress};

/// The names of files; one is over 100 bytes, one is no UTF-8.
pub(crate) const NAMES: [&[u8]; 10] = [
    b"a",
    b"b",
    b"dir/a",
    b"dir/b",
    b"dir/sub/libx.so.1.2",
    b"dir/sub/libx.so.1.3",
    b"./etc/config",
    b"caf\xe9",
    b"app.jar",
    b"very/long/directory/name/that/goes/on/and/on/very/long/directory/name/that/goes/on/and/on/and/on/and/on/file",
];
/// Most bytes of a content before compression.
const MAX_CONTENT: usize = 16 << 10;

/// A layer in memory, uncompressed.
pub(crate) fn spool(bytes: &[u8]) -> Spool {
    // Most systems have a file system in memory there.
    let memory = std::path::Path::new("/dev/shm");
    let file = if memory.is_dir() { tempfile::tempfile_in(memory) } else { tempfile::tempfile() };
    let mut file: File = file.expect("a temporary file");
    file.write_all(bytes).expect("room for a small file");
    Spool::of_file("layer".into(), file, bytes.len() as u64)
}

/// Old layers, lowest first, and a new one.
pub(crate) struct Pair {
    pub(crate) old: Vec<Vec<u8>>,
    pub(crate) new: Vec<u8>,
}

impl Pair {
    pub(crate) fn take(input: &mut Input<'_>) -> Self {
        let mut contents = Vec::new();
        let old = (0..input.within(0..=2)).map(|_| layer(input, &mut contents)).collect();
        Self { old, new: layer(input, &mut contents) }
    }
}

/// A layer of up to 12 entries. `contents` are those of all files so far, to take pieces of.
fn layer(input: &mut Input<'_>, contents: &mut Vec<Vec<u8>>) -> Vec<u8> {
    let mut layer = LayerBuilder::new();
    layer.format(*input.pick(&[HeaderFormat::Pax, HeaderFormat::Gnu]));
    for _ in 0..input.within(0..=12) {
        let name = *input.pick(&NAMES);
        match input.within(0..=9) {
            0 => layer.dir(name),
            1 => layer.symlink(name, *input.pick(&NAMES)),
            2 => layer.hardlink(name, *input.pick(&NAMES)),
            3 => layer.mode(0o600).file(name, content(input, contents)),
            4 => layer.mtime(u64::from(input.word())).file(name, content(input, contents)),
            _ => layer.file(name, content(input, contents)),
        };
    }
    layer.finish(Ending::Normal)
}

/// A content of a few pieces, perhaps compressed.
pub(crate) fn content(input: &mut Input<'_>, contents: &mut Vec<Vec<u8>>) -> Vec<u8> {
    let mut content = Vec::new();
    for _ in 0..input.within(0..=4) {
        match input.within(0..=4) {
            0 => content.extend_from_slice(input.sized()),
            1 => content.extend(std::iter::repeat_n(input.byte(), usize::from(input.word()))),
            2 => {
                let mut rng = Rng::new(u64::from(input.byte()));
                content.extend(fixtures::contents::text(&mut rng, usize::from(input.word()) % MAX_CONTENT));
            }
            3 => {
                let (seed, size) = (input.byte(), input.word());
                let mut rng = Rng::new(u64::from(seed));
                content.extend((0..size % 8192).map(|_| u8::try_from(rng.below(256)).unwrap_or(0)));
            }
            _ => {
                let (index, start, size) = (input.byte(), input.word(), input.word());
                let index = usize::from(index).checked_rem(contents.len());
                let known = index.map_or(&[][..], |index| &contents[index]);
                let start = usize::from(start).min(known.len());
                content.extend_from_slice(&known[start..known.len().min(start + usize::from(size))]);
            }
        }
    }
    content.truncate(MAX_CONTENT);
    contents.push(content.clone());
    let (kind, level) = (input.byte(), input.byte());
    match kind {
        // A compressed file in a compressed archive.
        7 => {
            let inner = try_compress(1 + level % 4, level, &content);
            let mut archive = LayerBuilder::new();
            archive.file("readme", &content).file("inner", inner);
            try_compress(1, level, &archive.finish(Ending::Normal))
        }
        _ => try_compress(kind, level, &content),
    }
}
