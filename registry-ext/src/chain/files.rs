//! The files of a layer or an image, of which some layers are in stores and others were made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use layer::{DiffId, Spool, SpoolOptions};
use tar_patch::LayerSource;

use crate::store::{Base, LayerStore, Sources};
use crate::{Error, Result};

/// The files that a delta reads.
#[derive(Debug, Clone)]
pub(crate) enum BaseFiles {
    /// A store has them.
    Here(Base, Arc<dyn LayerStore>),
    /// They are in layers, the lowest first.
    Layers(Vec<LayerFiles>),
}

/// The files of one layer.
#[derive(Debug, Clone)]
pub(crate) enum LayerFiles {
    /// A store has them.
    Here(DiffId, Arc<dyn LayerStore>),
    /// The layer is made before.
    Made(DiffId),
}

/// The tars of layers that were made, and of those that were unpacked on the way. A clone has the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Made(Arc<Mutex<HashMap<DiffId, Spool>>>);

impl Made {
    pub(crate) fn insert(&self, layer: DiffId, tar: Spool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(layer, tar);
    }

    /// Forgets a layer, whose tar goes away with its last reader.
    pub(crate) fn remove(&self, layer: DiffId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&layer);
    }

    fn get(&self, layer: DiffId) -> Option<Spool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&layer).cloned()
    }
}

impl BaseFiles {
    /// Opens the files. Blocks.
    ///
    /// # Errors
    /// Those of the stores; [`Error::NotFound`] for a layer that was not made.
    pub(crate) fn open(&self, made: &Made, options: &SpoolOptions) -> Result<Sources> {
        let layers = match self {
            Self::Here(base, store) => return store.sources(*base, options),
            Self::Layers(layers) => layers,
        };
        // Tars that lie on each other are read as one, so that links from one to another are followed.
        let (mut stack, mut tars) = (Vec::new(), Vec::new());
        for layer in layers {
            match layer.open(made, options)? {
                Opened::Tar(tar) => tars.push(tar),
                Opened::Files(files) => {
                    push_tars(&mut stack, &mut tars)?;
                    stack.push(files);
                }
            }
        }
        push_tars(&mut stack, &mut tars)?;
        stack.reverse();
        Ok(match stack.len() {
            1 => stack.remove(0),
            _ => Sources::Stack(stack),
        })
    }

    /// Returns true if they are those of a layer that is made before.
    pub(crate) fn read(&self, layer: DiffId) -> bool {
        match self {
            Self::Here(..) => false,
            Self::Layers(layers) => {
                layers.iter().any(|of| matches!(of, LayerFiles::Made(made) if *made == layer))
            }
        }
    }
}

fn push_tars(stack: &mut Vec<Sources>, tars: &mut Vec<Spool>) -> Result<()> {
    if !tars.is_empty() {
        stack.push(Sources::Layers(LayerSource::new(std::mem::take(tars))?));
    }
    Ok(())
}

/// An open layer.
enum Opened {
    Tar(Spool),
    Files(Sources),
}

impl LayerFiles {
    /// Opens the layer: its tar, or its files where the store has no tar.
    fn open(&self, made: &Made, options: &SpoolOptions) -> Result<Opened> {
        match self {
            Self::Made(layer) => {
                let not_found =
                    || Error::NotFound { what: format!("layer {layer}, which is to be made first,") };
                made.get(*layer).ok_or_else(not_found).map(Opened::Tar)
            }
            Self::Here(layer, store) => {
                if let Some(known) = made.get(*layer) {
                    return Ok(Opened::Tar(known));
                }
                match store.tar(*layer, options)? {
                    Some(tar) => {
                        made.insert(*layer, tar.clone());
                        Ok(Opened::Tar(tar))
                    }
                    None => store.sources(Base::Layer(*layer), options).map(Opened::Files),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use delta_format::{Budget, SourceFile, SourceFiles, SourcePath};
    use fixtures::{Ending, LayerBuilder};
    use layer::Digest;

    use super::*;
    use crate::store::TreeStore;

    fn tar(files: &[(&str, &str)]) -> Spool {
        let mut layer = LayerBuilder::new();
        for (path, bytes) in files {
            layer.file(path, *bytes);
        }
        let bytes = layer.finish(Ending::Normal);
        Spool::read("layer".into(), bytes.as_slice(), &SpoolOptions::default()).unwrap()
    }

    fn read(sources: &mut Sources, path: &str) -> Option<String> {
        let file = sources.open(&SourcePath::new(path.as_bytes()).unwrap(), &Budget::unlimited()).ok()?;
        let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        Some(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn layers_in_directories_and_in_tars_lie_on_each_other() {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in [("a", "low a"), ("b", "low b"), ("c", "low c")] {
            std::fs::write(dir.path().join(path), bytes).unwrap();
        }
        let ids = [1, 2, 3].map(|name| DiffId(Digest::from_bytes([name; 32])));
        let store = Arc::new(TreeStore::new(dir.path(), Some(ids[0].0)));
        let made = Made::default();
        made.insert(ids[1], tar(&[("b", "middle b"), ("c", "middle c")]));
        let layers =
            vec![LayerFiles::Here(ids[0], store), LayerFiles::Made(ids[1]), LayerFiles::Made(ids[2])];
        let files = BaseFiles::Layers(layers);
        let options = SpoolOptions::default();
        let missing = files.open(&made, &options).unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }), "{missing:?}");
        made.insert(ids[2], tar(&[("c", "top c")]));
        let mut sources = files.open(&made, &options).unwrap();
        let found = ["a", "b", "c", "d"].map(|path| read(&mut sources, path));
        assert_eq!(found, [Some("low a".into()), Some("middle b".into()), Some("top c".into()), None]);
        assert!(files.read(ids[1]) && !files.read(ids[0]));
    }
}
