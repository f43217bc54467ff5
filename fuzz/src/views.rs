//! Views and stretches (tardf3), with sources that hold streams and recipes that were found.
//!
//! Ops are made of the input one by one, so that lists, sizes and recipes can be right: [`apply`]
//! takes them as bytes.
//!
//! [`apply`]: crate::apply

use delta_format::Version;
use delta_format::wire::{self, put_uvarint};
use recode::Found;

use crate::delta::{Files, delta};
use crate::ops::check_apply;
use crate::{Input, try_compress};

const NAMES: [&[u8]; 3] = [b"a", b"b", b"c"];

/// What `apply` proves, for sources that are read decoded and stretches that are encoded.
pub fn views(data: &[u8]) {
    let mut input = Input::new(data);
    let max_output = u64::from(input.word());
    let (sources, ops) = take(&mut input);
    check_apply(&delta(Version::V3, &ops), &files(&sources), max_output);
}

/// Those sources by their names.
pub(crate) fn files(sources: &[Source]) -> Files<'_> {
    Files::new(NAMES.into_iter().zip(sources.iter().map(|source| source.file.as_slice())).collect())
}

/// Takes sources and ops from the input.
pub(crate) fn take(input: &mut Input<'_>) -> (Vec<Source>, Vec<u8>) {
    let sources: Vec<Source> = (0..input.within(1..=3)).map(|_| Source::take(input)).collect();
    let mut ops = Vec::new();
    while !input.is_empty() {
        op(input, &sources, &mut ops);
    }
    (sources, ops)
}

/// A source file and the streams in it.
pub(crate) struct Source {
    file: Vec<u8>,
    streams: Vec<Found>,
}

impl Source {
    fn take(input: &mut Input<'_>) -> Self {
        let (kind, level) = (input.within(0..=7), input.byte());
        let mut file = try_compress(kind, level, input.sized());
        if kind == 7 {
            file = try_compress(1, level, &try_compress(1 + level % 4, level, &file));
        }
        Self { streams: recode::find(&file, 1 << 20), file }
    }
}

fn put(ops: &mut Vec<u8>, code: u8, payload: &[u8]) {
    ops.push(code);
    put_uvarint(ops, payload.len() as u64);
    ops.extend_from_slice(payload);
}

fn put_number(ops: &mut Vec<u8>, code: u8, number: u64) {
    ops.push(code);
    put_uvarint(ops, number);
}

/// An add_data op of one run, which has as many zeros as its first byte says.
fn put_run(ops: &mut Vec<u8>, others: &[u8]) {
    let zeros = others.first().copied().map_or(0, u64::from);
    put_number(ops, wire::OP_ADD_DATA, zeros + others.len() as u64);
    put_uvarint(ops, zeros);
    put_uvarint(ops, others.len() as u64);
    ops.extend_from_slice(others);
}

fn op(input: &mut Input<'_>, sources: &[Source], ops: &mut Vec<u8>) {
    match input.within(0..=8) {
        0 => put(ops, wire::OP_DATA, input.sized()),
        1 => put(ops, wire::OP_OPEN, input.pick::<&[u8]>(&NAMES)),
        2 => put_number(ops, wire::OP_COPY, input.word().into()),
        3 => put_run(ops, input.sized()),
        4 => put_number(ops, wire::OP_SEEK, input.word().into()),
        5 => put(ops, wire::OP_ZSTD_DICT, &try_compress(3, input.byte(), input.sized())),
        6 => {
            let index = usize::from(input.byte()) % sources.len();
            let name = NAMES[index];
            let mut payload = Vec::new();
            put_uvarint(&mut payload, name.len() as u64);
            payload.extend_from_slice(name);
            put_view(input, &sources[index].streams, 0, &mut payload);
            put(ops, wire::OP_OPEN_VIEW, &payload);
        }
        7 => {
            let mut payload = Vec::new();
            put_stretches(input, sources, 0, &mut payload);
            put(ops, wire::OP_REENCODE, &payload);
        }
        // The plain bytes of a stream, as a stretch wants them.
        _ => {
            let source = input.pick(sources);
            let plain = source.streams.first().map_or(&[][..], |found| &found.plain);
            put(ops, wire::OP_DATA, plain);
        }
    }
}

/// A list of streams: those that are there, or any.
fn put_view(input: &mut Input<'_>, streams: &[Found], depth: u8, list: &mut Vec<u8>) {
    let count = input.within(0..=3);
    put_uvarint(list, count.into());
    let mut end = 0;
    for index in 0..usize::from(count) {
        let is_right = input.byte() % 4 > 0;
        let mut inner = Vec::new();
        match streams.get(index).filter(|_| is_right) {
            Some(found) => {
                put_uvarint(list, found.encoded.start.saturating_sub(end) as u64);
                list.push(found.codec.code());
                end = found.encoded.end;
                inner = recode::find(&found.plain, 1 << 20);
            }
            None => {
                put_uvarint(list, input.word().into());
                list.push(input.within(0..=4));
            }
        }
        if depth < 3 && input.byte() % 2 > 0 {
            put_view(input, &inner, depth + 1, list);
        } else {
            list.push(0);
        }
    }
}

/// A list of stretches: with recipes of streams that are there, or any.
fn put_stretches(input: &mut Input<'_>, sources: &[Source], depth: u8, list: &mut Vec<u8>) {
    let count = input.within(0..=3);
    put_uvarint(list, count.into());
    for _ in 0..count {
        let found = input.pick(sources);
        let stream = found.streams.first().filter(|_| input.byte() % 4 > 0);
        let recipe = stream.and_then(|stream| {
            recode::recipe(stream.codec, &found.file[stream.encoded.clone()], &stream.plain).ok()
        });
        put_uvarint(list, input.byte().into());
        match (stream, recipe) {
            (Some(stream), Some(recipe)) => {
                put_uvarint(list, stream.plain.len() as u64);
                put_uvarint(list, recipe.as_bytes().len() as u64);
                list.extend_from_slice(recipe.as_bytes());
            }
            _ => {
                put_uvarint(list, input.word().into());
                let recipe = input.sized();
                put_uvarint(list, recipe.len() as u64);
                list.extend_from_slice(recipe);
            }
        }
        if depth < 3 && input.byte() % 4 == 0 {
            put_stretches(input, sources, depth + 1, list);
        } else {
            list.push(0);
        }
    }
}
