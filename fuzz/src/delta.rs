//! Deltas and source files in memory.

use std::io;

use delta_format::{Budget, Error, Result, SourceFile, SourceFiles, SourcePath, Version};

use crate::Input;

/// The versions of the format.
pub(crate) const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::V3];

/// A delta of these ops, good or bad. Its zstd blocks are not compressed, so that to change a byte of
/// the input is to change a byte of an op.
pub(crate) fn delta(version: Version, ops: &[u8]) -> Vec<u8> {
    const BLOCK_SIZE: usize = 16 << 10;
    // Magic, no size, no checksum, a window of a block (RFC 8878, 3.1.1), small because its memory is
    // taken for every input.
    let mut delta = [&version.magic()[..], &[0x28, 0xb5, 0x2f, 0xfd, 0, 4 << 3]].concat();
    let mut rest = ops;
    loop {
        let (block, later) = rest.split_at(rest.len().min(BLOCK_SIZE));
        let header = u32::from(later.is_empty()) | u32::try_from(block.len()).unwrap_or(0) << 3;
        delta.extend_from_slice(&header.to_le_bytes()[..3]);
        delta.extend_from_slice(block);
        rest = later;
        if rest.is_empty() {
            return delta;
        }
    }
}

/// Source files by name.
#[derive(Debug, Clone)]
pub(crate) struct Files<'i> {
    files: Vec<(&'i [u8], &'i [u8])>,
}

impl<'i> Files<'i> {
    pub(crate) const fn new(files: Vec<(&'i [u8], &'i [u8])>) -> Self {
        Self { files }
    }

    /// Takes up to four files from the input: a name and a content each.
    pub(crate) fn take(input: &mut Input<'i>) -> Self {
        let count = input.within(0..=4);
        Self::new((0..count).map(|_| (input.sized(), input.sized())).collect())
    }

    /// The content of a file. A path that is no name stands for any of the files, so that a fuzzer
    /// need not guess names.
    pub(crate) fn find(&self, path: &[u8]) -> Option<&'i [u8]> {
        let named = self.files.iter().find(|(name, _)| *name == path);
        let any = || {
            let index = usize::from(*path.first()?).checked_rem(self.files.len())?;
            self.files.get(index)
        };
        named.or_else(any).map(|(_, content)| *content)
    }
}

impl<'i> SourceFiles for Files<'i> {
    type File = Bytes<'i>;

    fn open(&mut self, path: &SourcePath, _: &Budget) -> Result<Bytes<'i>> {
        self.find(path.as_bytes()).map(Bytes).ok_or_else(|| Error::SourceMissing {
            path: path.clone(),
            source: io::ErrorKind::NotFound.into(),
        })
    }
}

/// A source file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'i>(&'i [u8]);

impl SourceFile for Bytes<'_> {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let rest = usize::try_from(offset).ok().and_then(|start| self.0.get(start..));
        let bytes = rest.and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
