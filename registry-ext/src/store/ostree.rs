//! An ostree repository, where bootc, rpm-ostree and flatpak keep images (github.com/ostreedev/ostree).
//!
//! ```text
//! ROOT/refs/heads/NAME                      the commit that a name stands for
//! ROOT/objects/XX/REST.commit               metadata, and the directory that the commit is of
//! ROOT/objects/XX/REST.dirtree              names, and the files and directories that have them
//! ROOT/objects/XX/REST.file (or .filez)     a file as it is (bare, bare-user, bare-user-only), or compressed (archive)
//! ```
//!
//! Objects are named by the sha256 of their content and metadata. bootc keeps an image as one commit, whose metadata
//! has the manifest and the config of the image, and its layers under `ostree/container/blob`. It is only read, and may
//! be written at any time, so each call looks anew.

mod files;
mod objects;
mod variant;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use delta_format::{Budget, SourceFile, SourceFiles};
use layer::{DiffId, Digest, SpoolOptions};
use tar_patch::DirSource;

use super::layer_dirs::{is_readable_dir, is_refused, of_store, read_if_there};
use super::{Base, LayerStore, Sources};
use crate::oci::hex;
use crate::{Error, Result};
pub use files::OstreeFiles;
use objects::Commit;

/// Most bytes of a commit, which has the manifest and the config of an image.
const MAX_COMMIT_SIZE: u64 = 16 << 20;
/// Most bytes of a file with a ref.
const MAX_REF_SIZE: u64 = 4 << 10;
/// Most refs of a repository, and directories that lead to them.
const MAX_REFS: usize = 16 << 10;
/// Most directories that lead to a ref.
const MAX_DEPTH: usize = 16;
/// Refs of commits that are of one layer of an image of bootc.
const LAYER_REFS: &str = "ostree/container/blob/";

/// The kinds of refs, in the order in which a name is looked up.
const KINDS: [&str; 3] = ["heads", "remotes", "mirrors"];
/// Refs that are named where one is not there.
const NAMED_REFS: usize = 5;

/// The commits that refs stand for, by their kinds and names: one of each kind may have the same name.
type Refs = BTreeMap<(&'static str, String), Digest>;

/// An ostree repository, to read from.
#[derive(Debug, Clone)]
pub struct OstreeStore {
    root: PathBuf,
    revision: Option<String>,
}

impl OstreeStore {
    /// The repository of the system, unless another is given.
    pub const DEFAULT_ROOT: &'static str = "/ostree/repo";

    /// Opens a repository. With a `revision`, a ref or the checksum of a commit, that commit alone is looked at. Where
    /// it does not say which image it is of, any delta is tried, and the digest of the result tells.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none; [`Error::StoreOfOthers`] if this user may not read it; [`Error::Io`].
    pub fn open(root: &Path, revision: Option<&str>) -> Result<Self> {
        let store = Self { root: root.to_owned(), revision: revision.map(str::to_owned) };
        let is_there = is_readable_dir(&root.join("objects"))
            .and_then(|has_objects| Ok(has_objects && is_readable_dir(&root.join("refs"))?));
        if !is_there.map_err(of_store(&store))? {
            return Err(Error::NotFound { what: format!("an ostree repository in {}", root.display()) });
        }
        if let Some(revision) = revision {
            let refs = store.refs().map_err(of_store(&store))?;
            let commit = store.named(revision, &refs)?;
            if store.commit(&mut DirSource::open(root)?, commit).is_ok_and(|commit| commit.is_none()) {
                return Err(Error::NotFound { what: format!("commit {} in {store}", hex(commit)) });
            }
        }
        Ok(store)
    }

    /// The refs, and the commits that they stand for.
    fn refs(&self) -> Result<Refs> {
        let (mut refs, mut entries) = (Refs::new(), 0);
        for kind in KINDS {
            let mut left = vec![(self.root.join("refs").join(kind), String::new(), 0)];
            while let Some((dir, prefix, depth)) = left.pop() {
                if !is_readable_dir(&dir)? {
                    continue;
                }
                for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
                    let entry = entry.map_err(Error::io("read", &dir))?;
                    let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                    // A link is never a directory here.
                    if entry.file_type().map_err(Error::io("look at", entry.path()))?.is_dir() {
                        if depth < MAX_DEPTH {
                            left.push((entry.path(), format!("{name}/"), depth + 1));
                        }
                    } else if let Some(commit) = commit_of_ref(&entry.path())? {
                        refs.insert((kind, name), commit);
                    }
                    entries += 1;
                    if entries > MAX_REFS {
                        return Err(Error::malformed(self.to_string(), "it has too many refs"));
                    }
                }
            }
        }
        Ok(refs)
    }

    /// A commit; `None` if it is not there.
    fn commit(&self, repository: &mut DirSource, id: Digest) -> Result<Option<Commit>> {
        let broken =
            |reason: &dyn fmt::Display| Error::malformed(format!("commit {} in {self}", hex(id)), reason);
        let path = files::object_path(id, "commit");
        let file = match repository.open(&path, &Budget::unlimited()) {
            Ok(file) => file,
            Err(delta_format::Error::SourceMissing { .. }) => return Ok(None),
            Err(error) => return Err(broken(&error)),
        };
        if file.size() > MAX_COMMIT_SIZE {
            return Err(broken(&"it is too large"));
        }
        let bytes = files::read(&file, 0, file.size()).map_err(|error| broken(&error))?;
        Commit::parse(&bytes).map(Some).ok_or_else(|| broken(&"it cannot be read"))
    }

    /// The commits that are looked at, and all refs.
    fn candidates(&self) -> Result<(Vec<Digest>, Refs)> {
        let refs = self.refs()?;
        let commits = match &self.revision {
            Some(revision) => vec![self.named(revision, &refs)?],
            None => {
                let images = refs.iter().filter(|((_, name), _)| !name.starts_with(LAYER_REFS));
                // Many names may stand for one commit.
                images.map(|(_, commit)| *commit).collect::<BTreeSet<_>>().into_iter().collect()
            }
        };
        Ok((commits, refs))
    }

    /// The commit that a ref or a checksum names. `REMOTE:NAME` is a ref of a remote; another one may be of
    /// any kind, those of the repository itself first.
    ///
    /// # Errors
    /// [`Error::NotFound`], with the first refs that there are.
    fn named(&self, revision: &str, refs: &Refs) -> Result<Digest> {
        let (kinds, name) = match revision.split_once(':') {
            Some((remote, name)) => (&["remotes"][..], format!("{remote}/{name}")),
            None => (&KINDS[..], revision.to_owned()),
        };
        let mut commits = kinds.iter().filter_map(|kind| refs.get(&(*kind, name.clone())));
        let commit = commits.next().copied().or_else(|| checksum(revision.as_bytes().to_vec()));
        commit.ok_or_else(|| {
            let names = refs.keys().filter(|(_, name)| !name.starts_with(LAYER_REFS));
            let names: Vec<String> = names
                .map(|(kind, name)| match name.split_once('/') {
                    Some((remote, name)) if *kind == "remotes" => format!("{remote}:{name}"),
                    _ => name.clone(),
                })
                .collect();
            let (first, others) = names.split_at(names.len().min(NAMED_REFS));
            let there = match (first, others.len()) {
                ([], _) => "no refs".to_owned(),
                (first, 0) => first.join(", "),
                (first, others) => format!("{} and {others} others", first.join(", ")),
            };
            let root = self.root.display();
            Error::NotFound { what: format!("the ref {revision} in ostree:{root}, which has {there},") }
        })
    }

    /// The directory with the files of `base`; `None` if no commit is of it. A broken commit hides no other.
    ///
    /// # Errors
    /// If a commit is broken and no other one is of the base: [`Error::Malformed`] if it is the only commit that is
    /// used, [`Error::BrokenPart`] if others are.
    fn directory(&self, repository: &mut DirSource, base: Base) -> Result<Option<Digest>> {
        let (commits, refs) = self.candidates()?;
        let mut broken = None;
        let mut read = |id| match self.commit(repository, id) {
            Err(error @ Error::Malformed { .. }) => {
                broken.get_or_insert(error);
                Ok(None)
            }
            commit => commit,
        };
        for id in commits {
            let Some(commit) = read(id)? else { continue };
            let image = &commit.image;
            if self.revision.is_some() && image.is_unknown() {
                return Ok(Some(commit.root));
            }
            match base {
                Base::Image(config) if image.config == Some(config) => return Ok(Some(commit.root)),
                Base::Layer(layer) if image.last_layer == Some(layer) || image.diff_ids == [layer] => {
                    return Ok(Some(commit.root));
                }
                Base::Layer(layer) => {
                    for id in layer_refs(image, layer, &refs) {
                        if let Some(commit) = read(id)? {
                            return Ok(Some(commit.root));
                        }
                    }
                }
                Base::Image(_) => {}
            }
        }
        match broken {
            Some(Error::Malformed { what, reason }) if self.revision.is_none() => {
                Err(Error::BrokenPart { what, reason })
            }
            broken => broken.map_or(Ok(None), Err),
        }
    }
}

/// The commits of one layer of an image. Their refs end with the digest of the blob, whose colon is escaped.
fn layer_refs(image: &objects::CommitImage, layer: DiffId, refs: &Refs) -> Vec<Digest> {
    let index = image.diff_ids.iter().position(|diff_id| *diff_id == layer);
    let Some(blob) = index.and_then(|index| image.blobs.get(index)).map(|blob| hex(*blob)) else {
        return Vec::new();
    };
    let of_layers =
        refs.iter().filter(|((_, name), _)| name.starts_with(LAYER_REFS) && name.ends_with(&blob));
    of_layers.map(|(_, commit)| *commit).collect()
}

/// The commit that a ref stands for; `None` if the file is none, whatever else it is.
///
/// # Errors
/// [`Error::Io`] if this user may not read it.
fn commit_of_ref(path: &Path) -> Result<Option<Digest>> {
    match read_if_there(path, MAX_REF_SIZE) {
        Ok(text) => Ok(text.and_then(checksum)),
        Err(error) if is_refused(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The checksum that is the text of a ref.
fn checksum(text: Vec<u8>) -> Option<Digest> {
    let text = String::from_utf8(text).ok()?;
    format!("sha256:{}", text.trim()).parse().ok()
}

impl fmt::Display for OstreeStore {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::store_ref::write_ostree(out, &self.root, self.revision.as_deref())
    }
}

impl LayerStore for OstreeStore {
    fn has(&self, base: Base) -> Result<bool> {
        let mut repository = DirSource::open(&self.root)?;
        Ok(self.directory(&mut repository, base).map_err(of_store(self))?.is_some())
    }

    fn sources(&self, base: Base, options: &SpoolOptions) -> Result<Sources> {
        let mut repository = DirSource::open(&self.root)?;
        let root = self.directory(&mut repository, base).map_err(of_store(self))?;
        let root = root.ok_or_else(|| Error::NotFound { what: format!("{base} in {self}") })?;
        Ok(Sources::Ostree(Box::new(OstreeFiles::new(repository, root, options))))
    }
}
