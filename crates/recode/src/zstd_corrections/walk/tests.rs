#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::deflate::range::{Decoder, Encoder};
use crate::wire::Fields;
use crate::zstd_corrections::manner::Libzstd;
use crate::zstd_corrections::strategy::Strategy;
use crate::zstd_frame;

fn walk<C: Coder>(coder: C) -> Walk<C> {
    let plan = zstd_frame::Plan::read(&mut Fields::new(&[1, 0, 0])).unwrap();
    let manner = Libzstd { plan, strategy: Strategy::new(1).unwrap(), is_split: false };
    Walk::new(coder, Manner::Libzstd(manner), 0).unwrap()
}

/// Reads a table of its own that these bytes describe.
fn read(description: &[u8]) -> Result<Source> {
    let mut encoder = walk(Encoder::new());
    encoder.coder.bit(&mut encoder.models.source[0][0], true);
    encoder.coder.raw(2, 2);
    encoder.coder.bit(&mut encoder.models.source[0][1], true);
    encoder.bytes(Some(description), description.len()).unwrap();
    let corrections = encoder.coder.finish();
    let sources = [Source::Fixed, Source::Fixed, Source::Fixed];
    let expected = tables::Expected { sources, own: [None, None, None] };
    walk(Decoder::new(&corrections)).source(0, &expected, None)
}

#[test]
fn nothing_follows_the_description_of_a_table() {
    let own = Frequencies::fixed(5, &[20, 8, 3, 1]);
    let mut description = own.write();
    assert_eq!(read(&description).unwrap(), Source::Own(own));
    description.push(7);
    assert!(read(&description).is_err());
    // Bytes are no longer read than a description may be.
    description.resize(MAX_BLOCK, 7);
    assert!(read(&description).is_err());
}
