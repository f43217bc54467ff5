//! Seeds of recipes: of streams that are found, and of each kind of corrections.

use delta_format::wire::put_uvarint;
use fixtures::Rng;
use fuzz::Fields;

use super::Put;

/// Levels and versions in recipes of klauspost/compress whose searches differ.
pub(super) const SEARCHES_OF_KLAUSPOST: [[u8; 2]; 8] =
    [[1, 0], [3, 0], [3, 3], [3, 6], [4, 0], [4, 2], [4, 4], [4, 6]];

/// A recipe of zstd:chunked: two frames, a table of contents, and a footer; and the plain bytes.
pub(super) fn chunked() -> (Vec<u8>, &'static [u8]) {
    let template = b"{\"type\":\x01\x01\x01,\"offset\":\x02\x00,\"size\":\x03\x00\x01";
    let size = u8::try_from(template.len()).expect("it is small");
    let mut body = vec![2, 12 << 1, 12 << 1, 2, 0x50, 1, 120, size];
    body.extend(template);
    body.extend([0x50, 0, 40]);
    body.extend([0; 32]);
    body.extend(b"GNUlInUx");
    let packed = zstd::bulk::compress(&body, 3).expect("a vector takes all");
    let size = u8::try_from(body.len()).expect("it is small");
    ([&[10, 4, 0, size, 120], &packed[..]].concat(), b"plain bytes, plain bytes")
}

/// Frames as klauspost/compress makes them: by the writer, by `EncodeAll` of an old version, and with a block
/// that is carried.
pub(super) fn frames_of_klauspost(content: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut carried = vec![8, 0, 0, 0, 8, 8, 0x40, 0, 0];
    carried.extend(&content[..content.len().min(8)]);
    [("writer", vec![8, 0, 0]), ("whole", vec![8, 3, 1]), ("carried", carried)]
        .into_iter()
        .filter_map(|(name, recipe)| {
            let mut frame = Vec::new();
            // The first eight bytes of less cannot be carried.
            let recipe = recode::Recipe::parse(&recipe).ok()?;
            recode::encode(&recipe, &mut { content }, content.len() as u64, &mut frame).ok()?;
            Some((name, frame))
        })
        .collect()
}

/// The recipes of the streams of a file, each with the plain bytes before it.
pub(super) fn of_file(put: Put<'_>, name: &str, file: &[u8]) -> std::io::Result<()> {
    for (index, found) in recode::find(file, 1 << 20).into_iter().enumerate() {
        let Ok(recipe) = recode::recipe(found.codec, &file[found.encoded], &found.plain) else { continue };
        let fields = Fields::new().sized(&found.plain).rest(recipe.as_bytes());
        put("recipe", &format!("{name}-{index}"), &fields.finish())?;
    }
    // Corrections of any plain bytes.
    let fields = Fields::new().sized(b"some plain bytes, some plain bytes").rest(&[1, 6, 40, 1, 2, 3]);
    put("recipe", "corrections", &fields.finish())?;
    // By pieces, of encoders that run ahead and of none: as they make the stream, and otherwise.
    for number in [6, 17, 22, 33, 97, 102, 104, 117, 149] {
        for (kind, corrections) in [("right", &[][..]), ("other", &[255, 255, 1, 2, 3])] {
            let recipe = [&[6, number, 40], corrections].concat();
            let fields = Fields::new().sized(b"some plain bytes, some plain bytes").rest(&recipe);
            put("recipe", &format!("pieces-{number}-{kind}"), &fields.finish())?;
        }
    }
    // Corrections to libzstd at levels of each kind of search, with and without blocks that are split.
    for [level, strategy] in [[1, 1], [3, 2], [9, 5], [19, 25]] {
        for (kind, corrections) in [("none", &[][..]), ("some", &[0, 200, 121, 32, 3, 11, 19, 28, 255, 1])] {
            let recipe = [&[11, level, 0, 0, strategy, 40, 0, 0x58], corrections].concat();
            let fields = Fields::new().sized(b"some plain bytes, some plain bytes").rest(&recipe);
            put("recipe", &format!("zstd-corrections-{level}-{kind}"), &fields.finish())?;
        }
    }
    whole_streams(put)?;
    corrections_to_klauspost(put)
}

/// Corrections to klauspost/compress at levels and versions whose searches differ, over one block that is alone.
fn corrections_to_klauspost(put: Put<'_>) -> std::io::Result<()> {
    /// One segment, whose size has two bytes, with a checksum (RFC 8878, 3.1.1.1.1).
    const HEADER: u8 = 0x64;

    let content = fixtures::contents::source_code(&mut Rng::new(3), 3500);
    let announced = u16::try_from(content.len() - 256).expect("it is small").to_le_bytes();
    for [level, version] in [[1, 0], [3, 6], [4, 4]] {
        for (kind, corrections) in [("none", &[][..]), ("some", &[0, 200, 121, 32, 3, 11, 19, 28, 255, 1])] {
            let mut recipe = vec![12, level, version, 22, 1];
            put_uvarint(&mut recipe, 1200);
            recipe.push(HEADER);
            recipe.extend(announced);
            recipe.extend([1, 2, 3, 4]);
            recipe.extend(corrections);
            let recipe = recode::Recipe::parse(&recipe).expect("a recipe");
            let fields = Fields::new().sized(&content).rest(recipe.as_bytes());
            put("recipe", &format!("klauspost-corrections-{level}-{kind}"), &fields.finish())?;
        }
    }
    Ok(())
}

/// Recipes without corrections of the levels of zlib-ng and of some of Go, over enough plain bytes that their searches
/// find references. An input of the target has at most 4096 bytes.
fn whole_streams(put: Put<'_>) -> std::io::Result<()> {
    let content = fixtures::contents::source_code(&mut Rng::new(3), 4000);
    let recipe = |number: u8, size: usize| {
        let mut recipe = vec![6, number];
        put_uvarint(&mut recipe, size as u64);
        recipe
    };
    for number in (97..=104).chain([17, 22, 25, 33, 38, 41]) {
        // A recipe of a longer stream fails after it has made the whole stream, whose size is then known.
        let longer = recode::Recipe::parse(&recipe(number, 2 * content.len())).expect("a recipe");
        let mut stream = Vec::new();
        let made = recode::encode(&longer, &mut &content[..], content.len() as u64, &mut stream);
        assert!(made.is_err() && !stream.is_empty(), "the size of the stream is not known before");
        let fields = Fields::new().sized(&content).rest(&recipe(number, stream.len()));
        put("recipe", &format!("whole-{number}"), &fields.finish())?;
    }
    Ok(())
}
