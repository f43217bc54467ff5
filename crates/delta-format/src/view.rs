//! The part of tardf3 about compressed streams: which ones of a source are read decoded, and which
//! stretches of the target are made by encoding.
//!
//! This module knows the lists, not the codecs: a codec is a number here and a recipe is opaque
//! bytes. FORMAT.md says what both mean.

use std::io::{self, BufRead, Read};

use crate::CorruptKind;
use crate::wire::{MAX_REENCODED_SIZE, MAX_VIEW_DEPTH, MAX_VIEW_STREAMS, put_uvarint, read_uvarint};

/// The compressed streams of a source that are read decoded, in their order in the file.
///
/// A delta reads the file with each stream replaced by the bytes that it decodes to.
pub type View = Vec<ViewStream>;

/// One compressed stream of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewStream {
    /// Bytes of the file between the end of the stream before, or the file's start, and this one.
    pub gap: u64,
    /// The number of the codec. A stream ends where its codec says.
    pub codec: u8,
    /// The streams in what this one decodes to.
    pub inner: View,
}

/// One stretch of the target that is made by encoding what the ops emit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reencoding {
    /// Bytes that the ops emit between the end of the stretch before, or the op, and this one.
    pub gap: u64,
    /// Bytes that the ops emit and that are encoded.
    pub size: u64,
    /// The way in which they are encoded: an encoder and its parameters.
    pub recipe: Vec<u8>,
    /// The stretches of these bytes that are encoded before the whole is, gaps from its start.
    pub inner: Vec<Self>,
}

/// Appends a list of streams: their number, then gap, codec and inner list of each.
pub(crate) fn put_view(out: &mut Vec<u8>, view: &[ViewStream]) {
    put_uvarint(out, view.len() as u64);
    for stream in view {
        put_uvarint(out, stream.gap);
        out.push(stream.codec);
        put_view(out, &stream.inner);
    }
}

/// Appends a list of stretches: their number, then gap, size, recipe and inner list of each.
pub(crate) fn put_reencodings(out: &mut Vec<u8>, list: &[Reencoding]) {
    put_uvarint(out, list.len() as u64);
    for stretch in list {
        put_uvarint(out, stretch.gap);
        put_uvarint(out, stretch.size);
        put_uvarint(out, stretch.recipe.len() as u64);
        out.extend_from_slice(&stretch.recipe);
        put_reencodings(out, &stretch.inner);
    }
}

/// Reads a view that fills `bytes`.
pub(crate) fn parse_view(mut bytes: &[u8]) -> Result<View, CorruptKind> {
    let view = streams(&mut bytes, 1, &mut 0)?;
    if bytes.is_empty() { Ok(view) } else { Err(CorruptKind::View("bytes after its end")) }
}

/// Reads a list of stretches that fills `bytes`.
pub(crate) fn parse_reencodings(mut bytes: &[u8]) -> Result<Vec<Reencoding>, CorruptKind> {
    let list = stretches(&mut bytes, 1, &mut 0)?;
    if bytes.is_empty() { Ok(list) } else { Err(CorruptKind::View("bytes after its end")) }
}

fn streams(bytes: &mut &[u8], depth: usize, seen: &mut usize) -> Result<View, CorruptKind> {
    let count = number(bytes)?;
    check_shape(count, depth, seen)?;
    let mut view = View::new();
    for _ in 0..count {
        let gap = number(bytes)?;
        let [codec, rest @ ..] = *bytes else { return Err(CorruptKind::Truncated) };
        *bytes = rest;
        view.push(ViewStream { gap, codec: *codec, inner: streams(bytes, depth + 1, seen)? });
    }
    Ok(view)
}

fn stretches(bytes: &mut &[u8], depth: usize, seen: &mut usize) -> Result<Vec<Reencoding>, CorruptKind> {
    let count = number(bytes)?;
    check_shape(count, depth, seen)?;
    let mut list = Vec::new();
    for _ in 0..count {
        let gap = number(bytes)?;
        let size = number(bytes)?;
        if size > MAX_REENCODED_SIZE {
            return Err(CorruptKind::View("a stretch is too large"));
        }
        let recipe_size = usize::try_from(number(bytes)?).map_err(|_| CorruptKind::Truncated)?;
        let recipe = bytes.get(..recipe_size).ok_or(CorruptKind::Truncated)?.to_vec();
        bytes.consume(recipe_size);
        let inner = stretches(bytes, depth + 1, seen)?;
        check_inside(&inner, size)?;
        list.push(Reencoding { gap, size, recipe, inner });
    }
    Ok(list)
}

/// Refuses lists that are too deep or too long, before memory is taken for them.
fn check_shape(count: u64, depth: usize, seen: &mut usize) -> Result<(), CorruptKind> {
    if count > 0 && depth > MAX_VIEW_DEPTH {
        return Err(CorruptKind::View("too deep"));
    }
    *seen = usize::try_from(count).map_or(usize::MAX, |count| seen.saturating_add(count));
    if *seen > MAX_VIEW_STREAMS { Err(CorruptKind::View("too many streams")) } else { Ok(()) }
}

fn check_inside(inner: &[Reencoding], size: u64) -> Result<(), CorruptKind> {
    let end =
        inner.iter().try_fold(0u64, |end, stretch| end.checked_add(stretch.gap)?.checked_add(stretch.size));
    match end {
        Some(end) if end <= size => Ok(()),
        _ => Err(CorruptKind::View("an inner stretch leaves the outer one")),
    }
}

fn number(bytes: &mut &[u8]) -> Result<u64, CorruptKind> {
    read_uvarint(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => CorruptKind::Truncated,
        _ => CorruptKind::Integer,
    })
}

/// Reads up to `size` bytes; gives fewer only where the input ends.
pub(crate) fn read_up_to(input: &mut impl BufRead, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(gap: u64, size: u64, inner: Vec<Reencoding>) -> Reencoding {
        Reencoding { gap, size, recipe: vec![1, 2, 3], inner }
    }

    #[test]
    fn lists_come_back() {
        let inner = ViewStream { gap: 300, codec: 1, inner: Vec::new() };
        let view = vec![ViewStream { gap: 10, codec: 0, inner: vec![inner.clone(), inner.clone()] }, inner];
        let mut bytes = Vec::new();
        put_view(&mut bytes, &view);
        assert_eq!(parse_view(&bytes), Ok(view));
        let list =
            vec![stretch(0, 1000, vec![stretch(1, 999, Vec::new())]), stretch(u64::MAX, 0, Vec::new())];
        let mut bytes = Vec::new();
        put_reencodings(&mut bytes, &list);
        assert_eq!(parse_reencodings(&bytes), Ok(list.clone()));
        for cut in 0..bytes.len() {
            assert_eq!(parse_reencodings(&bytes[..cut]), Err(CorruptKind::Truncated));
        }
        bytes.push(0);
        assert!(matches!(parse_reencodings(&bytes), Err(CorruptKind::View(_))));
    }

    #[test]
    fn hostile_lists_are_refused() {
        let refused = |list: &[Reencoding], why: &str| {
            let mut bytes = Vec::new();
            put_reencodings(&mut bytes, list);
            assert_eq!(parse_reencodings(&bytes).unwrap_err().to_string(), format!("bad view: {why}"));
        };
        let leaf = stretch(0, 0, Vec::new());
        refused(&[stretch(0, 9, vec![stretch(0, 9, vec![leaf.clone()])])], "too deep");
        refused(&[stretch(0, 9, vec![stretch(1, 9, Vec::new())])], "an inner stretch leaves the outer one");
        refused(
            &[stretch(0, 9, vec![stretch(u64::MAX, 9, Vec::new())])],
            "an inner stretch leaves the outer one",
        );
        refused(&[stretch(0, MAX_REENCODED_SIZE + 1, Vec::new())], "a stretch is too large");
        refused(&vec![leaf; MAX_VIEW_STREAMS + 1], "too many streams");
        let mut endless = Vec::new();
        put_uvarint(&mut endless, u64::MAX);
        assert!(matches!(parse_view(&endless), Err(CorruptKind::View("too many streams"))));
    }
}
