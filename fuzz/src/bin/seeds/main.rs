//! Makes the seeds of the targets of what the tests have: `cargo run --bin seeds`.
//!
//! They are in the repository, so that a run starts from them without this; run it again when a
//! target reads its input in another way.

mod recipes;
mod relocated;

use std::fs;
use std::io::Read;
use std::path::Path;

use delta_format::wire::{self, put_uvarint};
use delta_format::{Content, HeaderLists, SourcePath, TarEntry};
use fixtures::{
    Ending, HeaderFormat, LayerBuilder, Rng, Scenario, Sparse, SparseFormat, golden_dir, scenarios,
};
use fuzz::{Fields, try_compress};
use layer::{Compression, Spool, SpoolOptions};
use tar_diff::{DiffOptions, Method, diff};

/// Largest seed in bytes: what is larger is mutated to little avail.
const MAX_SIZE: usize = 12 << 10;

fn main() -> std::io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let directory = seeds.join(target);
        fs::create_dir_all(&directory)?;
        if bytes.len() <= MAX_SIZE { fs::write(directory.join(name), bytes) } else { Ok(()) }
    };
    for name in ["basic", "level19", "two-old"] {
        let delta = fs::read(golden_dir().join(format!("{name}.tardiff")))?;
        put("op_reader", &format!("{name}-as-it-comes"), &Fields::new().byte(3).rest(&delta).finish())?;
        let mut ops = Vec::new();
        Compression::Zstd.decoder(&delta[wire::MAGIC_SIZE..])?.read_to_end(&mut ops)?;
        let delta = [&wire::MAGIC_V3[..], &try_compress(2, 1, &ops)].concat();
        put("op_reader", &format!("{name}-xz-as-it-comes"), &Fields::new().byte(3).rest(&delta).finish())?;
    }
    let all = scenarios::all();
    let small = |scenario: &&Scenario| scenario.old.iter().all(|layer| layer.len() < 90_000);
    for scenario in all.iter().filter(small) {
        for (kind, method, sees_through) in [(0, Method::Bsdiff, false), (1, Method::Auto, false)] {
            let ops = ops(scenario, method, sees_through);
            let name = format!("{}-{kind}", scenario.name);
            if ops.len() < 4000 {
                put("op_reader", &name, &Fields::new().byte(kind).rest(&ops).finish())?;
            }
        }
    }
    for (name, lower, upper) in tars() {
        for options in [1 | 4, 1 | 8] {
            let fields = Fields::new().byte(options).sized(trimmed(&lower)).rest(trimmed(&upper));
            put("tar_walk", &format!("{name}-{options}"), &fields.finish())?;
        }
    }
    for (index, content) in contents().iter().enumerate() {
        for kind in 0..=6 {
            for level in [0, 2, 8] {
                let name = format!("{index}-{kind}-{level}");
                let compressed = try_compress(kind, level, content);
                put("recode", &name, &Fields::new().byte(kind).byte(level).byte(0).rest(content).finish())?;
                recipes::of_file(&put, &name, &compressed)?;
                let codec = [5, 0, 1, 2, 3, 2, 0][usize::from(kind)];
                let as_layer = Fields::new().byte(6).rest(&compressed).finish();
                put("decode", &format!("{name}-layer"), &as_layer)?;
                let start = if codec == 0 { compressed.len().min(10) } else { 0 };
                put("decode", &name, &Fields::new().byte(codec).rest(&compressed[start..]).finish())?;
            }
        }
    }
    for (index, content) in contents().iter().enumerate() {
        for (name, frame) in recipes::frames_of_klauspost(content) {
            let name = format!("{index}-klauspost-{name}");
            put("recode", &name, &Fields::new().byte(0).byte(0).byte(0).rest(&frame).finish())?;
            put("decode", &name, &Fields::new().byte(2).rest(&frame).finish())?;
            recipes::of_file(&put, &name, &frame)?;
        }
    }
    // Each search of klauspost/compress at the other levels.
    for [level, version] in recipes::SEARCHES_OF_KLAUSPOST {
        let fields = Fields::new().sized(&contents()[3]).rest(&[9, level, version, 0]);
        put("recipe", &format!("klauspost-level-{level}-{version}"), &fields.finish())?;
    }
    let (recipe, plain) = recipes::chunked();
    put("recipe", "chunked", &Fields::new().sized(plain).rest(&recipe).finish())?;
    let mut stream = Vec::new();
    let parsed = recode::Recipe::parse(&recipe).map_err(std::io::Error::other)?;
    recode::encode(&parsed, &mut { plain }, plain.len() as u64, &mut stream)
        .map_err(std::io::Error::other)?;
    put("decode", "chunked", &Fields::new().byte(5).rest(&stream).finish())?;
    put("recode", "chunked", &Fields::new().byte(0).byte(0).byte(0).rest(&stream).finish())?;
    for name in ["zip", "gzip-in-zip", "gzip-trailed"] {
        let scenario = all.iter().find(|scenario| scenario.name == name).expect("a scenario");
        let file = &scenario.new[512..];
        put("recode", name, &Fields::new().byte(0).byte(0).byte(0).rest(trimmed(file)).finish())?;
    }
    for (name, bytes) in programs() {
        put("apply", name, &bytes)?;
        // The other applier knows no tardf3.
        if name != "headers" {
            put("differential", name, &bytes)?;
        }
    }
    for (name, bytes) in relocated::seeds() {
        put("relocated", name, &bytes)?;
    }
    // Structures that are read from any bytes need but a few to start with.
    let mut rng = Rng::new(6);
    for index in 0..12 {
        for (target, size) in [("views", 300), ("diff_apply", 400), ("layers", 600), ("explain", 400)] {
            put(target, &format!("random-{index}"), &rng.bytes(size))?;
        }
    }
    costs(&put)?;
    artifacts(&put)
}

/// Ops of the delta of a scenario.
fn ops(scenario: &Scenario, method: Method, sees_through: bool) -> Vec<u8> {
    let spool = |bytes: &Vec<u8>| Spool::read("seed".into(), bytes.as_slice(), &SpoolOptions::default());
    let old: Result<Vec<_>, _> = scenario.old.iter().map(spool).collect();
    let new = spool(&scenario.new).expect("a layer");
    let options = DiffOptions::default().method(method).sees_through(sees_through);
    let made = diff(&old.expect("layers"), &new, &options, Vec::new(), &|_| ());
    let (delta, _) = made.expect("whole layers");
    let mut ops = Vec::new();
    let body = &delta[wire::MAGIC_SIZE..];
    let mut decoder = Compression::detect(body).decoder(body).expect("a decoder");
    decoder.read_to_end(&mut ops).expect("a whole delta");
    ops
}

/// Pairs of small tars, each with something to get wrong.
fn tars() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let tar = |entries: &dyn Fn(&mut LayerBuilder)| {
        let mut builder = LayerBuilder::new();
        entries(&mut builder);
        builder.finish(Ending::Normal)
    };
    let long = "directory/".repeat(20);
    let plain = tar(&|tar| {
        tar.dir("d").file("d/a", "content").symlink("l", "d").hardlink("h", "d/a").mode(0o600).file("s", "x");
    });
    let dialect = |format, path: &str| {
        tar(&|tar| {
            tar.format(format).file(path, "content").base_256_size().file("b", [7; 600]).fifo("f");
        })
    };
    let sparse = |format| {
        let file = Sparse { size: 100_000, segments: vec![(4096, vec![1; 700]), (50_000, vec![2; 10])] };
        tar(&|tar| {
            tar.sparse("sparse", format, &file).file("after", "x");
        })
    };
    vec![
        ("ustar", plain.clone(), dialect(HeaderFormat::Ustar, "d/b")),
        ("gnu", plain.clone(), dialect(HeaderFormat::Gnu, &format!("{long}x"))),
        ("pax", plain.clone(), dialect(HeaderFormat::Pax, &format!("{long}x"))),
        ("old-gnu-sparse", plain.clone(), sparse(SparseFormat::OldGnu)),
        ("pax-sparse", plain.clone(), sparse(SparseFormat::Pax10)),
        (
            "global",
            plain.clone(),
            tar(&|tar| {
                tar.pax_global(&[("comment", b"c"), ("path", b"p")])
                    .file("a", "1")
                    .pax_size()
                    .file("b", "22");
            }),
        ),
        (
            "whiteouts",
            plain.clone(),
            tar(&|tar| {
                tar.whiteout("d/a")
                    .opaque("d")
                    .file("l/through", "x")
                    .symlink("m", "/l/../l")
                    .file("m/y", "z");
            }),
        ),
    ]
}

/// A tar without the zeros at its end but for one block.
fn trimmed(tar: &[u8]) -> &[u8] {
    let end = tar.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &tar[..end.next_multiple_of(512).min(tar.len())]
}

fn contents() -> [Vec<u8>; 4] {
    let text = fixtures::contents::text(&mut Rng::new(1), 1500);
    [
        Vec::new(),
        b"short, short".to_vec(),
        text.clone(),
        [&text[..700], &[7; 600], &Rng::new(2).bytes(300)].concat(),
    ]
}

type Put<'p> = &'p dyn Fn(&str, &str, &[u8]) -> std::io::Result<()>;

/// Programs of ops over one source, for the appliers.
fn programs() -> Vec<(&'static str, Vec<u8>)> {
    let source: Vec<u8> = (0..=255).collect();
    let op = |code: u8, size: u64, payload: &[u8]| {
        let mut bytes = vec![code];
        put_uvarint(&mut bytes, size);
        [&bytes[..], payload].concat()
    };
    let open = op(wire::OP_OPEN, 4, b"file");
    let prefix = zstd::bulk::compress(&source, 3).expect("a frame");
    let frame = op(wire::OP_ZSTD_DICT, prefix.len() as u64, &prefix);
    let list = headers(&source);
    let entries = |count| op(wire::OP_ENTRIES, count, b"");
    let programs: [(&str, u8, Vec<Vec<u8>>); 6] = [
        (
            "headers",
            2,
            vec![
                op(wire::OP_HEADERS, list.len() as u64, &list),
                entries(2),
                op(wire::OP_DATA, 5, b"hello"),
                entries(0),
            ],
        ),
        ("data", 0, vec![op(wire::OP_DATA, 5, b"hello")]),
        ("copy", 0, vec![open.clone(), op(wire::OP_SEEK, 10, b""), op(wire::OP_COPY, 100, b"")]),
        ("add", 0, vec![open.clone(), op(wire::OP_ADD_DATA, 4, &[1, 0, 255, 7]), op(wire::OP_COPY, 3, b"")]),
        (
            "runs",
            2,
            vec![open.clone(), op(wire::OP_SEEK, 20, b""), op(wire::OP_ADD_DATA, 9, &[4, 2, 7, 9, 3, 0])],
        ),
        ("frame", 1, vec![open, frame.clone(), frame, op(wire::OP_SEEK, 0, b""), op(wire::OP_COPY, 9, b"")]),
    ];
    let fields = |version, ops: &[Vec<u8>]| {
        let max_output = if version == 2 { 4000 } else { 2000 };
        let fields = Fields::new().byte(version).word(max_output).byte(1).sized(b"file").sized(&source);
        fields.rest(&ops.concat()).finish()
    };
    programs.iter().map(|(name, version, ops)| (*name, fields(*version, ops))).collect()
}

/// A list of two headers: of a whole source, and of content that ops make, with a name that is too long for it.
fn headers(source: &[u8]) -> Vec<u8> {
    let mut tar = LayerBuilder::new();
    tar.format(HeaderFormat::Gnu).file("file", source).file("d/".repeat(60) + "made", "hello");
    let tar = tar.finish(Ending::Normal);
    let path = SourcePath::new(b"file").expect("a path");
    let mut lists = HeaderLists::default();
    let whole = TarEntry {
        blocks: &tar[..512],
        content: Content::Whole,
        size: source.len() as u64,
        source: Some(&path),
    };
    // Header and content of the first take two blocks; the second has a header for its name, the name, and its own.
    let made = TarEntry { blocks: &tar[1024..2560], content: Content::Ops, size: 5, source: None };
    assert!(lists.push(&whole) && lists.push(&made), "headers as GNU tar has them");
    lists.finish().remove(0).payload
}

/// Inputs of each kind whose cost is measured: deltas, layers, documents of a registry, recipes.
fn costs(put: Put<'_>) -> std::io::Result<()> {
    let [delta, layer, document, recipe] = [0, 1, 2, 3].map(|kind| Fields::new().byte(kind));
    let source = fixtures::contents::text(&mut Rng::new(8), 600);
    let op = |code: u8, size: u64, payload: &[u8]| {
        let mut bytes = vec![code];
        put_uvarint(&mut bytes, size);
        [&bytes[..], payload].concat()
    };
    let ops = [
        op(wire::OP_DATA, 5, b"hello"),
        op(wire::OP_OPEN, 4, b"file"),
        op(wire::OP_SEEK, 10, b""),
        op(wire::OP_COPY, 300, b""),
        op(wire::OP_ADD_DATA, 4, &[1, 0, 255, 7]),
    ];
    let fields = delta.word(2000).byte(0).byte(1).sized(b"file").sized(&source);
    put("cost", "delta", &fields.rest(&ops.concat()).finish())?;
    for codec in 0..=7 {
        // One source that holds a stream; a view of it that is right, a stretch that is right, and its plain bytes.
        let fields = Fields::new().byte(0).word(2000).byte(2).byte(0).byte(codec).byte(6).sized(&source);
        let view = fields.byte(6).byte(0).byte(1).byte(1).byte(0).byte(2).word(100);
        let stretch = view.byte(7).byte(1).byte(0).byte(1).byte(0).byte(1).byte(8).byte(0);
        put("cost", &format!("delta-through-codec-{codec}"), &stretch.finish())?;
    }
    for (index, times) in [0, 199].into_iter().enumerate() {
        let entries = Rng::new(9).bytes(400);
        let fields = Fields::new().byte(1).byte(times).byte(1).rest(&entries);
        put("cost", &format!("layer-random-{index}"), &fields.finish())?;
    }
    // One entry after a PAX header with one record, which is a path of 3000 bytes.
    let path = layer.byte(199).byte(0).byte(1).byte(1).byte(0).byte(1).byte(0).byte(1).sized(&[b'n'; 3000]);
    put("cost", "layer-of-long-names", &path.finish())?;
    for (index, json) in examples()?.iter().enumerate() {
        let fields = Fields::new().byte(2).rest(json.as_bytes());
        put("cost", &format!("document-{index}"), &fields.finish())?;
    }
    put("cost", "document-of-nothing", &document.rest(b"{\"manifests\":[]}").finish())?;
    for (kind, level) in [(1, 6), (2, 3), (3, 3), (4, 1)] {
        let file = try_compress(kind, level, &source);
        let Some(found) = recode::find(&file, 1 << 20).into_iter().next() else { continue };
        let Ok(made) = recode::recipe(found.codec, &file[found.encoded], &found.plain) else { continue };
        let fields = Fields::new().byte(3).sized(&found.plain).rest(made.as_bytes());
        put("cost", &format!("recipe-{kind}"), &fields.finish())?;
    }
    put("cost", "recipe-of-corrections", &recipe.sized(&source[..40]).rest(&[1, 6, 40, 1, 2, 3]).finish())
}

/// The examples of ARTIFACT.md.
fn examples() -> std::io::Result<Vec<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../registry-ext/ARTIFACT.md"))?;
    let examples = text.split("```json\n").skip(1);
    Ok(examples.map(|example| example.split("```").next().unwrap_or_default().to_owned()).collect())
}

fn artifacts(put: Put<'_>) -> std::io::Result<()> {
    for (index, json) in examples()?.iter().enumerate() {
        for kind in 0..=1 {
            let input = Fields::new().byte(kind).rest(json.as_bytes()).finish();
            put("artifacts", &format!("example-{index}-{kind}"), &input)?;
        }
    }
    let config = br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]}}"#;
    put("artifacts", "config", &Fields::new().byte(2).rest(config).finish())?;
    for (index, text) in [
        r#"</v2/a/referrers/sha256:0?n=2>; rel="next""#,
        "<?n=2>; rel=next",
        "oci:dir@sha256:0",
        "host:5000/a/b:tag",
    ]
    .iter()
    .enumerate()
    {
        put("artifacts", &format!("text-{index}"), &Fields::new().byte(3).rest(text.as_bytes()).finish())?;
    }
    let typed =
        Fields::new().byte(4).sized(b"application/vnd.oci.image.index.v1+json").rest(b"{\"manifests\":[]}");
    put("artifacts", "typed", &typed.finish())
}
