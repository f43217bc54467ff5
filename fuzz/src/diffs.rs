//! Deltas made of arbitrary pairs of layers: applied, explained, and broken.

use std::io::Read;
use std::num::NonZeroUsize;

use delta_format::Version;
use delta_format::wire::MAGIC_SIZE;
use explain::{Explanation, Summary, explain as explain_delta};
use layer::{Compression, Spool};
use tar_diff::{DiffOptions, Method, diff, verify};

use crate::Input;
use crate::codecs::{XZ, try_compress};
use crate::delta::VERSIONS;
use crate::layers::{Pair, spool};

/// The delta of any two sets of layers makes the new layer again, by every method; the costs that are
/// explained add up to its size.
pub fn diff_apply(data: &[u8]) {
    let mut input = Input::new(data);
    let options = options(&mut input);
    let Pair { old, new } = Pair::take(&mut input);
    let old: Vec<Spool> = old.iter().map(|layer| spool(layer)).collect();
    let new = spool(&new);
    let (delta, stats) = diff(&old, &new, &options, Vec::new(), &|_| ()).expect("layers that are whole");
    assert_eq!(stats.same.size + stats.similar.size + stats.literal.size, new.size());
    verify(delta.as_slice(), &old, &new, &options.merge).expect("the delta makes the new layer");
    let summary = Summary::read(delta.as_slice()).expect("a delta that is whole");
    assert_eq!(summary.delta_size, delta.len() as u64);
    if summary.version != "tardf3" {
        check(&explain_delta(delta.as_slice(), &new, &old).expect("the delta of this layer"));
    }
}

pub(crate) fn options(input: &mut Input<'_>) -> DiffOptions {
    let flags = input.byte();
    DiffOptions::default()
        .method(*input.pick(&[Method::Bsdiff, Method::Zstd, Method::Auto]))
        .sees_through(flags & 1 != 0)
        .skims(flags & 2 != 0)
        .stride(if flags & 4 == 0 { NonZeroUsize::MIN } else { NonZeroUsize::MIN.saturating_add(7) })
        // Files over it are matched in chunks.
        .max_bsdiff_size(if flags & 8 == 0 { u64::MAX } else { 2000 })
        .memory(if flags & 16 == 0 { 1 << 30 } else { 1 << 20 })
        .jobs(NonZeroUsize::MIN.saturating_add(usize::from(flags & 32 != 0)))
        // At the higher one a tardf3 may become an xz stream.
        .level(if flags >> 6 == 3 { 16 } else { 1 })
        .temp_dir("/tmp")
}

/// Explaining a broken delta ends, with an error or with costs that add up.
pub fn explain(data: &[u8]) {
    /// Of tardf3, higher levels stand for an xz stream, which [`try_compress`] makes.
    const MAX_ZSTD_LEVEL: u8 = 9;

    let mut input = Input::new(data);
    let (version, level) = (*input.pick(&VERSIONS), input.within(1..=19));
    let options = options(&mut input);
    let of_ops = edits(&mut input);
    let of_delta = edits(&mut input);
    let Pair { old, new } = Pair::take(&mut input);
    let old: Vec<Spool> = old.iter().map(|layer| spool(layer)).collect();
    let new = spool(&new);
    let (delta, _) = diff(&old, &new, &options, Vec::new(), &|_| ()).expect("layers that are whole");
    let mut ops = Vec::new();
    let body = &delta[MAGIC_SIZE..];
    let mut decoder = Compression::detect(body).decoder(body).expect("a frame");
    decoder.read_to_end(&mut ops).expect("a whole frame");
    edit(&mut ops, &of_ops);
    let frame = if version == Version::V3 && level > MAX_ZSTD_LEVEL {
        try_compress(XZ, level, &ops)
    } else {
        zstd::bulk::compress(&ops, i32::from(level)).expect("room for it")
    };
    let mut delta = [&version.magic()[..], &frame].concat();
    edit(&mut delta, &of_delta);
    let _ = Summary::read(delta.as_slice());
    if let Ok(explanation) = explain_delta(delta.as_slice(), &new, &old) {
        check(&explanation);
    }
}

fn check(explanation: &Explanation) {
    let files: u64 = explanation.files.iter().map(|file| file.cost.total).sum();
    assert_eq!(files + explanation.headers.cost.total + explanation.frame_size, explanation.delta_size);
    assert!(explanation.html("delta", 5).len() > 100);
}

/// Up to three changes of bytes: where, and to what.
fn edits(input: &mut Input<'_>) -> Vec<(u16, u8)> {
    (0..input.within(0..=3)).map(|_| (input.word(), input.byte())).collect()
}

fn edit(bytes: &mut [u8], edits: &[(u16, u8)]) {
    let size = bytes.len().max(1);
    for (place, byte) in edits {
        if let Some(at) = bytes.get_mut(usize::from(*place) % size) {
            *at = *byte;
        }
    }
}
