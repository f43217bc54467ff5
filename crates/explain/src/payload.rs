//! Payloads of ops that are read whole.

use std::io::{self, Read};

use delta_format::{Error, OpReader};

/// Reads what is left of the payload of the last op, whose limit was checked. It is shorter where the delta is cut off.
pub(crate) fn read_payload(reader: &mut OpReader<'_>) -> Result<Vec<u8>, Error> {
    let mut payload = Vec::new();
    let read = reader.payload().read_to_end(&mut payload);
    read.map_err(|error| stream_error(reader.op_index(), error))?;
    Ok(payload)
}

/// The error for a delta that cannot be read at an op: the one that the reader gave, or that of the stream.
pub(crate) fn stream_error(op_index: u64, source: io::Error) -> Error {
    source.downcast().unwrap_or_else(|source| Error::Stream { op_index, source })
}
