//! Streams of the tools in the field are made again, bit for bit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use recode::{Codec, Found, Recipe, encode, find, recipe};
use support::{contents, pipe, python};

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

/// Raw deflate of Python's zlib, which is stock zlib: level, window bits, memory level, strategy.
const ZLIB: &str = r#"
import sys, zlib
encoder = zlib.compressobj(LEVEL, zlib.DEFLATED, OPTIONS)
content = sys.stdin.buffer.read()
sys.stdout.buffer.write(encoder.compress(content) + encoder.flush())
"#;

fn zlib(level: u32, options: &str, content: &[u8]) -> Vec<u8> {
    python(&ZLIB.replace("LEVEL", &level.to_string()).replace("OPTIONS", options), content)
}

#[test]
fn gzip() {
    for level in ["-1", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9"] {
        for (name, content) in contents() {
            let file = pipe("gzip", &["-c", level], &content);
            let [recipe] = check(&format!("gzip {level} of {name}"), &file).try_into().unwrap();
            assert!(recipe.as_bytes().len() <= 5, "{level} {name}: {recipe:?}");
        }
    }
}

#[test]
fn zlib_levels() {
    for level in 1..=9 {
        for (name, content) in contents() {
            let file = zlib(level, "31", &content);
            let [recipe] = check(&format!("zlib {level} of {name}"), &file).try_into().unwrap();
            assert_eq!(recipe.as_bytes().len(), 5, "{level} {name}: {recipe:?}");
        }
    }
    for mem_level in [1, 5, 9] {
        for (name, content) in contents().split_off(3) {
            // How many tokens a block had that was stored, the stream does not tell.
            if name == "noise" && mem_level < 8 {
                continue;
            }
            let file = zlib(6, &format!("31, {mem_level}"), &content);
            let [recipe] = check(&format!("memory level {mem_level} of {name}"), &file).try_into().unwrap();
            assert!(recipe.as_bytes().len() <= 5, "{mem_level} {name}: {recipe:?}");
        }
    }
}

#[test]
fn deflate_of_others() {
    let flushed = r#"
import sys, zlib
encoder = zlib.compressobj(6, zlib.DEFLATED, 31)
content = sys.stdin.buffer.read()
for start in range(0, len(content), 10000):
    mode = zlib.Z_FULL_FLUSH if start % 30000 == 0 else zlib.Z_SYNC_FLUSH
    sys.stdout.buffer.write(encoder.compress(content[start:start + 10000]) + encoder.flush(mode))
sys.stdout.buffer.write(encoder.flush())
"#;
    // The mixed contents have both, too.
    let others = contents().into_iter().filter(|(name, _)| !["text", "code"].contains(name));
    for (name, content) in others {
        let of_rust = |level| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
            std::io::Write::write_all(&mut encoder, &content).unwrap();
            encoder.finish().unwrap()
        };
        let files = [
            ("flushes", python(flushed, &content)),
            ("stored", zlib(0, "31", &content)),
            ("a small window", zlib(6, "25", &content)),
            ("filtered", zlib(6, "31, 8, 1", &content)),
            ("Huffman only", zlib(6, "31, 8, 2", &content)),
            ("runs only", zlib(6, "31, 8, 3", &content)),
            ("static codes", zlib(6, "31, 8, 4", &content)),
            ("zlib-rs 1", of_rust(1)),
            ("zlib-rs 4", of_rust(4)),
            ("zlib-rs 9", of_rust(9)),
        ];
        for (what, file) in files {
            let size = check(&format!("{what} of {name}"), &file)[0].as_bytes().len();
            assert!(size <= file.len() / 4 || size < 64, "{what} of {name}: {size} of {}", file.len());
        }
    }
}

/// An encoder of another kind that is a few percent of the stream off was taken for near, because plain bytes were
/// counted in place of those of the stream.
#[test]
fn flushes_in_what_compresses_well_take_little() {
    let mut rng = fixtures::Rng::new(6);
    let mut word =
        |_| (0..3 + rng.below(7)).map(|_| char::from(rng.pick(b"abcdefghijklmnopqrstuvwxyz"))).collect();
    let words: Vec<String> = (0..400).map(&mut word).collect();
    let line = |number: usize| {
        let (minute, second, millis) = (number / 3600 % 60, number / 60 % 60, number % 1000);
        let (user, taken) = (&words[rng.below(400)], 1 + rng.below(99));
        format!(
            "2026-11-30T01:{minute:02}:{second:02}.{millis:03} host app[123]: request {number} finished with status \
             200 for user {user} in {taken} ms\n"
        )
    };
    let log = (0..6000).map(line).collect::<String>().into_bytes();
    let flushed = r#"
import sys, zlib
encoder = zlib.compressobj(6, zlib.DEFLATED, 31)
content = sys.stdin.buffer.read()
for start in range(0, len(content), 100000):
    part = encoder.compress(content[start:start + 100000])
    sys.stdout.buffer.write(part + encoder.flush(zlib.Z_SYNC_FLUSH))
sys.stdout.buffer.write(encoder.flush())
"#;
    let file = python(flushed, &log);
    let [recipe] = check("a log with flushes", &file).try_into().unwrap();
    let size = recipe.as_bytes().len();
    assert!(size < file.len() / 500, "{size} of {}", file.len());
}

#[test]
fn bzip2() {
    for level in ["-1", "-5", "-9"] {
        for (name, content) in contents() {
            let file = pipe("bzip2", &["-c", level], &content);
            let [recipe] = check(&format!("bzip2 {level} of {name}"), &file).try_into().unwrap();
            assert_eq!(recipe.as_bytes().len(), 2);
        }
    }
}

/// The frame that libzstd makes, of the version that recipes stand for: the program of the system
/// may be another.
fn zstd(level: i32, content: &[u8], set: impl Fn(&mut zstd::Encoder<'_, Vec<u8>>)) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
    set(&mut encoder);
    std::io::Write::write_all(&mut encoder, content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn zstd_levels() {
    for level in [1, 2, 3, 6, 9, 12, 15, 19, 22] {
        for (name, content) in contents().split_off(if level < 10 { 0 } else { 7 }) {
            let size = content.len() as u64;
            let files = [
                zstd(level, &content, |_| {}),
                zstd(level, &content, |encoder| encoder.include_checksum(true).unwrap()),
                zstd::bulk::compress(&content, level).unwrap(),
                zstd(level, &content, |encoder| encoder.set_pledged_src_size(Some(size)).unwrap()),
            ];
            for (index, file) in files.iter().enumerate() {
                check(&format!("zstd {level} of {name}, kind {index}"), file);
            }
        }
    }
}

#[test]
fn zstd_of_many_jobs_and_long_windows() {
    let mut rng = fixtures::Rng::new(7);
    let content = fixtures::contents::source_code(&mut rng, 9 << 20);
    for level in [1, 3, 9] {
        let size = content.len() as u64;
        check("jobs", &zstd(level, &content, |encoder| encoder.multithread(2).unwrap()));
        let known = zstd(level, &content, |encoder| {
            encoder.multithread(2).unwrap();
            encoder.set_pledged_src_size(Some(size)).unwrap();
        });
        check("jobs of a known size", &known);
        let long = zstd(level, &content, |encoder| {
            encoder.long_distance_matching(true).unwrap();
            encoder.window_log(27).unwrap();
        });
        check("long", &long);
    }
}

#[test]
fn members_of_zips() {
    let program = r#"
import sys, zipfile, io
content, out = sys.stdin.buffer.read(), io.BytesIO()
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zip:
    for level in range(1, 10):
        zip.writestr(str(level), content, compresslevel=level)
sys.stdout.buffer.write(out.getvalue())
"#;
    for (name, content) in contents().split_off(2) {
        for recipe in check(&format!("a Python zip of {name}"), &python(program, &content)) {
            assert_eq!(recipe.as_bytes().len(), 5, "{name}");
        }
        for level in ["-1", "-6", "-9"] {
            let file = pipe("zip", &["-q", level, "-", "-"], &content);
            // Noise is stored.
            if name != "noise" {
                check(&format!("zip {level} of {name}"), &file);
            }
        }
    }
}

#[test]
fn streams_of_a_file_have_a_recipe_each() {
    for (program, arguments) in [("gzip", ["-nc"]), ("xz", ["-c"]), ("bzip2", ["-c"])] {
        let files = contents().into_iter().map(|(_, content)| pipe(program, &arguments, &content));
        let recipes = check(program, &files.collect::<Vec<_>>().concat());
        assert_eq!(recipes.len(), contents().len());
    }
}
