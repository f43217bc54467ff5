//! Split streams as composefs-rs writes them, and broken ones. `registry-ext/tests/object_stores.rs` has
//! those of cfsctl.

use std::io;

use fixtures::Rng;

use super::*;

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl SourceFile for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)?.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn inline(bytes: &[u8]) -> Vec<u8> {
    let size = -i64::try_from(bytes.len()).unwrap();
    [&size.to_le_bytes(), bytes].concat()
}

/// A file with the header, the info section, two objects and the chunks, in this order.
fn file(is_early: bool, chunks: &[u8]) -> Vec<u8> {
    let range = |start: u64, end: u64| [start.to_le_bytes(), end.to_le_bytes()].concat();
    let stream = zstd::encode_all(chunks, 3).unwrap();
    let end = 192 + stream.len() as u64;
    let info = range(32, 128);
    let mut file = if is_early {
        [&info[..], &[0, 0], MAGIC, &[0, 1, 12]].concat()
    } else {
        [&MAGIC[..], &[0, 0, 0, 1, 12], &info].concat()
    };
    // As a later version may have it, with one more field.
    for part in [range(128, 128), range(128, 192), range(192, end), range(end, end), vec![7; 32]] {
        file.extend(part);
    }
    file.extend([[0xaa; 32], [0xbb; 32]].concat());
    file.extend(stream);
    file
}

fn read(file: Vec<u8>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    SplitStream::open("stream".into(), Bytes(file))?.read(MAX_CHUNKS, |chunk| {
        match chunk {
            Chunk::Inline(bytes) => all.extend_from_slice(bytes),
            Chunk::Object(id) => all.push(id.0[0]),
        }
        Ok(())
    })?;
    Ok(all)
}

#[test]
fn chunks_come_in_their_order() {
    let long = vec![b'x'; 3 * CHUNK_SIZE + 1];
    let chunks =
        [inline(b"ab"), 1i64.to_le_bytes().to_vec(), 0i64.to_le_bytes().to_vec(), inline(&long)].concat();
    let wanted = [&b"ab"[..], &[0xbb, 0xaa], &long].concat();
    for is_early in [false, true] {
        assert_eq!(read(file(is_early, &chunks)).unwrap(), wanted);
    }
    assert_eq!(read(file(false, b"")).unwrap(), b"");
}

#[test]
fn broken_streams_are_refused() {
    let good = file(false, &inline(b"ab"));
    let with = |at: usize, byte: u8| {
        let mut file = good.clone();
        file[at] = byte;
        file
    };
    for (what, file) in [
        ("nothing", Vec::new()),
        ("a tar", vec![0; 1024]),
        ("another version", with(11, 1)),
        ("another digest", with(14, 3)),
        ("an info section that is too short", with(24, 64)),
        ("an info section past the end", with(23, 0x7f)),
        ("objects past the end", with(48 + 15, 0x7f)),
        ("half an object", with(48 + 8, 150)),
        ("a stream past the end", with(64 + 15, 0x7f)),
        ("a stream that ends before it begins", with(64 + 8, 0)),
        ("no zstd", with(192, 0)),
        ("an object that is not there", file(false, &2i64.to_le_bytes())),
        ("an index that no list has", file(false, &i64::MAX.to_le_bytes())),
        ("more bytes than there are", file(false, &i64::MIN.to_le_bytes())),
        ("half a number", file(false, &[0; 4])),
    ] {
        let found = read(file);
        assert!(matches!(found, Err(Error::Malformed { .. })), "{what}: {found:?}");
    }
}

#[test]
fn a_stream_has_an_end() {
    // Forty kilobytes that name an object nine million times.
    let chunks = vec![0; (9 * 8) << 20];
    let stream = SplitStream::open("stream".into(), Bytes(file(false, &chunks))).unwrap();
    let found = stream.read_indexed(&mut MAX_CHUNKS.clone(), |_| Ok(()));
    assert!(matches!(found, Err(Error::Malformed { .. })), "{found:?}");
}

#[test]
fn any_change_of_bytes_gives_a_result_or_an_error() {
    let good = file(false, &[inline(b"some text"), 1i64.to_le_bytes().to_vec()].concat());
    let (mut rng, mut outcomes) = (Rng::new(1), [0; 2]);
    for _ in 0..2000 {
        let mut broken = good.clone();
        for _ in 0..rng.between(1, 3) {
            let at = rng.below(broken.len());
            broken[at] = if rng.chance(50) { rng.byte() } else { rng.pick(&[0, 1, 0x7f, 0xff]) };
        }
        outcomes[usize::from(read(broken).is_err())] += 1;
    }
    assert!(outcomes.iter().all(|&count| count > 100), "{outcomes:?}");
}

#[test]
fn links_name_objects_of_the_repository_alone() {
    let hex = "ab".repeat(31);
    let id = ObjectId::of_link(Path::new(&format!("../objects/cd/{hex}"))).unwrap();
    assert_eq!(id.path().as_bytes(), format!("objects/cd/{hex}").as_bytes());
    for link in [
        "/etc/passwd".to_owned(),
        format!("../objects/{hex}"),
        format!("../objects/cd/../{hex}"),
        format!("../others/cd/{hex}"),
        format!("../objects/cd/{hex}00"),
        format!("../objects/c/d{hex}"),
        format!("../objects/gg/{hex}"),
        format!("../objects/cd/\u{e9}{}", "a".repeat(60)),
    ] {
        assert_eq!(ObjectId::of_link(Path::new(&link)), None, "{link}");
    }
}

#[test]
fn the_layers_of_an_image_share_one_limit_of_disk() {
    let layer = |name: &str| {
        let mut layer = fixtures::LayerBuilder::new();
        layer.file(name, Rng::new(18).bytes(40_000));
        let stream = file(false, &inline(&layer.finish(fixtures::Ending::Normal)));
        SplitStream::open("stream".into(), Bytes(stream)).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    let open = |max_size| {
        let objects = tar_patch::DirSource::open(dir.path()).unwrap();
        let options = layer::SpoolOptions::default().max_size(max_size).temp_dir(dir.path().to_owned());
        super::super::files::ComposefsFiles::open(objects, vec![layer("a"), layer("b")], &options)
    };
    assert!(open(200_000).is_ok());
    // Each of them would fit.
    assert!(matches!(open(80_000).unwrap_err(), Error::TooLarge { max: 80_000, .. }));
}
