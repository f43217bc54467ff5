//! The files of a base, whatever store has them.

use std::io;

use delta_format::{Budget, Error as DeltaError, SourceFile, SourceFiles, SourcePath};
use tar_patch::{DirFile, DirSource, LayerFile, LayerSource};

use layer::Spool;

use super::MergedDirs;
use super::composefs::ComposefsFiles;
use super::ostree::OstreeFiles;

/// The files that a delta may read.
#[derive(Debug)]
#[non_exhaustive]
pub enum Sources {
    /// In layers.
    Layers(LayerSource),
    /// In one directory.
    Dir(DirSource),
    /// In one directory for each layer.
    MergedDirs(MergedDirs),
    /// In a composefs repository.
    Composefs(Box<ComposefsFiles>),
    /// In an ostree repository.
    Ostree(Box<OstreeFiles>),
    /// In layers of several of these kinds, the top one first. A file is taken from the first one that has its path. A
    /// delta reads no file that a higher layer hides, so whiteouts do not matter.
    Stack(Vec<Self>),
}

/// An open file of [`Sources`].
#[derive(Debug)]
#[non_exhaustive]
pub enum SourcesFile {
    /// In a layer.
    Layer(LayerFile),
    /// In a directory.
    Dir(DirFile),
    /// In a temporary file.
    Unpacked(Spool),
}

impl SourceFiles for Sources {
    type File = SourcesFile;

    fn open(&mut self, path: &SourcePath, budget: &Budget) -> delta_format::Result<SourcesFile> {
        match self {
            Self::Layers(layers) => layers.open(path, budget).map(SourcesFile::Layer),
            Self::Dir(dir) => dir.open(path, budget).map(SourcesFile::Dir),
            Self::MergedDirs(dirs) => dirs.open(path, budget).map(SourcesFile::Dir),
            Self::Composefs(files) => files.open_file(path, budget),
            Self::Ostree(files) => files.open_file(path, budget),
            Self::Stack(stack) => {
                for sources in stack {
                    match sources.open(path, budget) {
                        Err(DeltaError::SourceMissing { .. }) => {}
                        opened => return opened,
                    }
                }
                let source = io::Error::new(io::ErrorKind::NotFound, "no layer has it");
                Err(DeltaError::SourceMissing { path: path.clone(), source })
            }
        }
    }
}

impl SourceFile for SourcesFile {
    fn size(&self) -> u64 {
        match self {
            Self::Layer(file) => file.size(),
            Self::Dir(file) => file.size(),
            Self::Unpacked(file) => file.size(),
        }
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Layer(file) => file.read_exact_at(buffer, offset),
            Self::Dir(file) => file.read_exact_at(buffer, offset),
            Self::Unpacked(file) => file.read_exact_at(buffer, offset).map_err(io::Error::other),
        }
    }
}
