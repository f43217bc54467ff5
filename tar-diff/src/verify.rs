//! Proves a finished delta: applies it as tar-patch does and compares each byte.

use std::io::{self, Read, Write};

use delta_format::{Budget, Work};
use layer::{MergeOptions, Spool};
use tar_patch::{ApplyOptions, LayerSource};

use crate::{Error, Result};

/// Bytes of the new tar that are read at once.
const CHUNK_SIZE: usize = 256 << 10;

/// Applies `delta` to the `old` layers and compares the result with `new`, byte by byte. Returns the work that this
/// took an applier.
///
/// The old layers are merged as for the [`diff`](crate::diff()) that made the delta: `merge` has to be
/// that of its options.
///
/// # Errors
/// [`Error::Verify`] if the delta cannot be applied, [`Error::Differs`] if it gives another tar,
/// [`Error::Layer`] if a layer cannot be read.
pub fn verify(delta: impl Read, old: &[Spool], new: &Spool, merge: &MergeOptions) -> Result<Work> {
    verify_watched(delta, old, new, merge, &|_| ())
}

/// Does what [`verify`] does. `progress` is called with the bytes of the new tar that are compared since the
/// call before; they add up to its size.
///
/// # Errors
/// As [`verify`].
pub fn verify_watched(
    delta: impl Read,
    old: &[Spool],
    new: &Spool,
    merge: &MergeOptions,
    progress: &dyn Fn(u64),
) -> Result<Work> {
    let sources = LayerSource::with_options(old.to_vec(), merge);
    let mut sources = sources.map_err(Error::Verify)?;
    let mut comparison =
        Comparison { new, position: 0, differs_at: None, failed: None, buffer: Vec::new(), progress };
    let budget = Budget::of_layer(new.size());
    let options = ApplyOptions::default().max_output(new.size()).budget(&budget);
    let applied = tar_patch::rebuild(delta, &mut sources, options, &mut comparison);
    if let Some(error) = comparison.failed {
        return Err(Error::Layer(error));
    }
    if let Some(offset) = comparison.differs_at {
        return Err(Error::Differs { offset });
    }
    let size = applied.map_err(Error::Verify)?;
    if size == new.size() { Ok(budget.usual()) } else { Err(Error::Differs { offset: size }) }
}

/// Compares what is written to it with a layer.
struct Comparison<'n> {
    new: &'n Spool,
    /// Bytes that were written and agree.
    position: u64,
    differs_at: Option<u64>,
    /// The reason why the layer could not be read.
    failed: Option<layer::Error>,
    buffer: Vec<u8>,
    progress: &'n dyn Fn(u64),
}

impl Write for Comparison<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(CHUNK_SIZE)];
        self.buffer.resize(bytes.len(), 0);
        if let Err(error) = self.new.read_exact_at(&mut self.buffer, self.position) {
            self.failed = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        if self.buffer != bytes {
            let common = self.buffer.iter().zip(bytes).take_while(|(left, right)| left == right).count();
            self.differs_at = Some(self.position + common as u64);
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.position += bytes.len() as u64;
        (self.progress)(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use delta_format::{Encoding, OpWriter, Version};
    use layer::SpoolOptions;

    use super::*;

    fn delta_of(bytes: &[u8]) -> Vec<u8> {
        let mut writer = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
        writer.literal(bytes).unwrap();
        writer.finish().unwrap().0
    }

    #[test]
    fn only_the_same_bytes_pass() {
        let content: Vec<u8> = (0..3_000_000u32).map(|index| (index >> 9).to_be_bytes()[3]).collect();
        let new = Spool::read("new".into(), content.as_slice(), &SpoolOptions::default()).unwrap();
        let work = verify(delta_of(&content).as_slice(), &[], &new, &MergeOptions::default()).unwrap();
        assert!(work.reading > 0 && work.encoding == 0, "{work:?}");
        let mut changed = content.clone();
        changed[2_345_678] ^= 1;
        let result = verify(delta_of(&changed).as_slice(), &[], &new, &MergeOptions::default());
        assert!(matches!(result, Err(Error::Differs { offset: 2_345_678 })), "{result:?}");
        let result = verify(delta_of(&content[..1_000_000]).as_slice(), &[], &new, &MergeOptions::default());
        assert!(matches!(result, Err(Error::Differs { offset: 1_000_000 })), "{result:?}");
        let longer = [&content[..], b"more"].concat();
        assert!(matches!(
            verify(delta_of(&longer).as_slice(), &[], &new, &MergeOptions::default()),
            Err(Error::Verify(_))
        ));
        assert!(matches!(
            verify(&b"tardf1\n\0"[..], &[], &new, &MergeOptions::default()),
            Err(Error::Verify(_))
        ));
    }
}
