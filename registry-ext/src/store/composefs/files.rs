//! The files of layers in a composefs repository.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use delta_format::{Budget, Error as DeltaError, SourceFile, SourceFiles, SourcePath};
use layer::{Spool, SpoolOptions};
use tar_patch::{DirSource, LayerSource};

use super::open_object;
use super::split_stream::{Chunk, MAX_CHUNKS, ObjectId, SplitStream};
use crate::store::sources::SourcesFile;
use crate::{Error, Result};

/// The files of layers, of which the larger ones are objects of a composefs repository.
///
/// The tars of the layers are sparse temporary files: they have headers and small files, and holes in place of the
/// objects. So the rules by which tars are merged are those of [`LayerSource`], and a file in a hole is read from its
/// object.
#[derive(Debug)]
pub struct ComposefsFiles {
    objects: DirSource,
    layers: LayerSource,
    /// For each layer, the objects in its tar, in their order.
    places: Vec<Places>,
}

/// The objects in the tar of a layer.
#[derive(Debug)]
struct Places {
    ids: Vec<ObjectId>,
    /// The offset of an object in the tar, and its index in `ids`.
    starts: Vec<(u64, u32)>,
}

impl ComposefsFiles {
    /// Opens layers, the lowest first.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::TooLarge`], [`Error::Io`]; [`Error::Patch`] if a layer is no tar.
    pub(super) fn open<F: SourceFile>(
        mut objects: DirSource,
        streams: Vec<SplitStream<F>>,
        options: &SpoolOptions,
    ) -> Result<Self> {
        let (mut spools, mut places) = (Vec::new(), Vec::new());
        let mut left = Left { chunks: MAX_CHUNKS, bytes: options.max_size };
        for stream in streams {
            let (spool, of_layer) = unpack(&mut objects, stream, &mut left, options)?;
            spools.push(spool);
            places.push(of_layer);
        }
        Ok(Self { objects, layers: LayerSource::new(spools)?, places })
    }
}

impl Places {
    /// The object that starts at this offset.
    fn at(&self, offset: u64) -> Option<&ObjectId> {
        let index = self.starts.binary_search_by_key(&offset, |(start, _)| *start).ok()?;
        self.ids.get(self.starts[index].1 as usize)
    }
}

/// The most that all layers of an image may still have: a stream of a few kilobytes can stand for any number of bytes.
struct Left {
    chunks: u32,
    /// Bytes that are written to temporary files.
    bytes: u64,
}

/// Writes the tar of a layer without the bytes that are in objects. Its chunks and bytes are taken off `left`.
fn unpack<F: SourceFile>(
    objects: &mut DirSource,
    stream: SplitStream<F>,
    left: &mut Left,
    options: &SpoolOptions,
) -> Result<(Spool, Places)> {
    let what = stream.what();
    let too_large = |size: u64| Error::TooLarge { what: what.to_owned(), size, max: options.max_size };
    let file =
        tempfile::tempfile_in(&options.temp_dir).map_err(Error::io("make a file in", &options.temp_dir))?;
    let (mut size, mut starts) = (0u64, Vec::new());
    let mut sizes: Vec<Option<u64>> = vec![None; stream.ids().len()];
    let ids = stream.ids();
    let Left { chunks, bytes: left } = left;
    stream.read_indexed(chunks, |chunk| {
        let start = size;
        let grown = match &chunk {
            Chunk::Inline(bytes) => bytes.len() as u64,
            Chunk::Object(index) => match sizes[*index as usize] {
                Some(known) => known,
                None => {
                    let opened = open_object(objects, &ids[*index as usize]);
                    let opened = opened.map_err(|error| Error::malformed(what, error))?;
                    *sizes[*index as usize].insert(opened.size())
                }
            },
        };
        size = size.saturating_add(grown);
        if size > options.max_size {
            return Err(too_large(size));
        }
        match chunk {
            Chunk::Inline(bytes) => {
                let size = bytes.len() as u64;
                *left =
                    left.checked_sub(size).ok_or_else(|| too_large(options.max_size.saturating_add(1)))?;
                write(&file, bytes, start, options)
            }
            // Nothing is to be read of an empty object, and two places would have one offset.
            Chunk::Object(_) if grown == 0 => Ok(()),
            Chunk::Object(index) => {
                starts.push((start, index));
                Ok(())
            }
        }
    })?;
    file.set_len(size).map_err(Error::io("write a file in", &options.temp_dir))?;
    let spool = Spool::of_file(what.to_owned(), file, size);
    Ok((spool, Places { ids: stream.into_ids(), starts }))
}

fn write(file: &File, bytes: &[u8], offset: u64, options: &SpoolOptions) -> Result<()> {
    file.write_all_at(bytes, offset).map_err(Error::io("write a file in", &options.temp_dir))
}

impl ComposefsFiles {
    pub(in crate::store) fn open_file(
        &mut self,
        path: &SourcePath,
        budget: &Budget,
    ) -> delta_format::Result<SourcesFile> {
        let file = self.layers.open(path, budget)?;
        let Some(id) = self.places[file.layer()].at(file.data().start) else {
            return Ok(SourcesFile::Layer(file));
        };
        let object = self.objects.open(&id.path(), budget)?;
        if object.size() != file.size() {
            let source = io::Error::new(io::ErrorKind::InvalidData, "its object has another size");
            return Err(DeltaError::SourceUnreadable { path: path.clone(), source });
        }
        Ok(SourcesFile::Dir(object))
    }
}
