//! The layers that deltas read, and the files in them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use delta_format::{SourcePath, escape_path};
use layer::{Entry, MergeOptions, MergedTree, Spool, clean_path};

use super::Reads;
use super::pieces::Pieces;
use crate::{Error, Result};

/// A layer, of which parts of the tar are there.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) spool: Spool,
    pub(super) entries: Arc<[Entry]>,
    pub(super) content: Content,
}

/// The content of a layer.
#[derive(Debug)]
pub(super) enum Content {
    /// Its tar is whole.
    Tar,
    /// Its tar has the literals of the delta that makes it, and the pieces say where the rest comes from.
    Made(Pieces),
}

/// A file that a delta has open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum File {
    /// The file of the old layers that the merged delta finds under this name.
    Old { source: usize, size: Option<u64> },
    /// These bytes of the tar of a layer.
    InLayer { layer: usize, data: Range<u64> },
}

/// The layers, and the files of the old ones that a merged delta reads.
#[derive(Debug)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    /// The number of the old ones, which are first.
    old: usize,
    /// The names of the files of the old layers, by their layer and their place in it.
    names: HashMap<(usize, u64), SourcePath>,
    sources: Sources,
    options: MergeOptions,
    /// The files of the layers that were read last.
    tree: Option<(Vec<usize>, Arc<MergedTree>)>,
}

/// The files of the layers that a delta reads; of the old ones nothing need be known.
#[derive(Debug, Clone)]
pub(super) enum Tree {
    Old,
    Of(Vec<usize>, Arc<MergedTree>),
}

impl Layers {
    pub(super) fn new(options: MergeOptions) -> Self {
        let (names, sources) = (HashMap::new(), Sources::default());
        Self { layers: Vec::new(), old: 0, names, sources, options, tree: None }
    }

    pub(super) fn add(&mut self, layer: Layer) -> usize {
        self.layers.push(layer);
        self.layers.len() - 1
    }

    /// Takes the layers that are there for the old ones.
    pub(super) fn set_old(&mut self) {
        self.old = self.layers.len();
        let tree = self.tree_of((0..self.old).collect());
        let names = tree
            .files()
            .iter()
            .filter_map(|file| Some(((file.layer, file.data.start), SourcePath::new(&file.path).ok()?)));
        self.names = names.collect();
    }

    pub(super) fn get(&self, layer: usize) -> &Layer {
        &self.layers[layer]
    }

    /// The path of a file of the old layers.
    pub(super) fn path(&self, source: usize) -> &SourcePath {
        &self.sources.paths[source]
    }

    /// Bytes of all layers.
    pub(super) fn size(&self) -> u64 {
        self.layers.iter().map(|layer| layer.spool.size()).fold(0, u64::saturating_add)
    }

    /// Bytes of the layers that deltas make.
    pub(super) fn made_size(&self) -> u64 {
        let made = self.layers.iter().filter(|layer| matches!(layer.content, Content::Made(_)));
        made.map(|layer| layer.spool.size()).fold(0, u64::saturating_add)
    }

    /// Bytes of memory that the origins of the bytes of all layers take.
    pub(super) fn pieces_memory(&self) -> u64 {
        let made = self.layers.iter().map(|layer| match &layer.content {
            Content::Tar => 0,
            Content::Made(pieces) => pieces.memory(),
        });
        made.fold(0, u64::saturating_add)
    }

    /// Bytes of memory that the paths of the files of the old layers take.
    pub(super) const fn sources_memory(&self) -> u64 {
        self.sources.memory()
    }

    /// Returns the files that a delta reads.
    pub(super) fn tree(&mut self, reads: &Reads) -> Tree {
        let Reads::Layers(layers) = reads else { return Tree::Old };
        let layers: Vec<usize> = layers.iter().map(|layer| layer.0).collect();
        if self.old > 0 && layers.iter().copied().eq(0..self.old) {
            return Tree::Old;
        }
        Tree::Of(layers.clone(), self.tree_of(layers))
    }

    fn tree_of(&mut self, layers: Vec<usize>) -> Arc<MergedTree> {
        if let Some((known, tree)) = &self.tree
            && *known == layers
        {
            return Arc::clone(tree);
        }
        let entries: Vec<_> = layers.iter().map(|layer| Arc::clone(&self.layers[*layer].entries)).collect();
        let tree = Arc::new(MergedTree::merge(&entries, &self.options));
        self.tree = Some((layers, Arc::clone(&tree)));
        tree
    }

    /// Opens a file that a delta reads by this path.
    pub(super) fn open(&mut self, tree: &Tree, path: SourcePath, delta: &'static str) -> Result<File> {
        let Tree::Of(layers, tree) = tree else {
            return Ok(File::Old { source: self.sources.number(path), size: None });
        };
        let file = clean_path(path.as_bytes()).and_then(|path| tree.find(&path)).ok_or_else(|| {
            let path = escape_path(path.as_bytes());
            let reason =
                format!("it reads `{path}`, which no delta before makes: it is made from other layers");
            Error::CannotMerge { delta, reason }
        })?;
        let layer = layers[file.layer];
        // What the old layers show under some name is read from them, and all else is carried.
        Ok(match self.names.get(&(layer, file.data.start)) {
            Some(path) => {
                let size = Some(file.data.end - file.data.start);
                File::Old { source: self.sources.number(path.clone()), size }
            }
            None => File::InLayer { layer, data: file.data.clone() },
        })
    }
}

/// The paths of the files of the old layers that are read.
#[derive(Debug, Default)]
struct Sources {
    paths: Vec<SourcePath>,
    numbers: HashMap<SourcePath, usize>,
    /// Bytes of the paths, each of which is kept twice.
    size: usize,
}

impl Sources {
    fn number(&mut self, path: SourcePath) -> usize {
        *self.numbers.entry(path).or_insert_with_key(|path| {
            self.paths.push(path.clone());
            self.size += 2 * path.as_bytes().len();
            self.paths.len() - 1
        })
    }

    const fn memory(&self) -> u64 {
        (self.size + self.paths.len() * 100) as u64
    }
}
