//! The verdicts about manifests of registries, each in a file of its own.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layer::Digest;
use oci_spec::image::Descriptor;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::oci::{Manifest, hex, parse_json};
use crate::{Error, Result};

/// Most verdicts that are kept. Of those by which nothing is rewritten the oldest goes first, and then the oldest.
const MAX_RECORDS: usize = 4096;

/// The verdict about a manifest or an index of a registry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its digest.
    pub(crate) original: Digest,
    /// The manifests that are given in its place; `None` if it is given itself.
    pub(crate) rewrite: Option<Rewrite>,
}

/// The manifests that are given in place of a manifest or an index of the registry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// The manifest or index.
    pub(crate) top: Manifest,
    /// The manifest of the image in it: the same as `top` if that is no index.
    pub(crate) image: Manifest,
    /// The manifest of the image in the registry.
    pub(crate) original_image: Manifest,
    /// The layers that are tars.
    pub(crate) tars: Vec<Tar>,
}

/// A layer that is a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tar {
    /// Its digest, which is the diff_id.
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// The blob of the layer in the registry.
    pub(crate) blob: Descriptor,
}

impl Record {
    /// The verdict to give a manifest as it is.
    pub(super) const fn unchanged(original: Digest) -> Self {
        Self { original, rewrite: None }
    }

    /// The tar of this digest.
    pub(crate) fn tar(&self, digest: Digest) -> Option<&Tar> {
        self.rewrite.as_ref()?.tars.iter().find(|tar| tar.digest == digest)
    }

    /// The manifest or index of this digest that is given in its place.
    pub(crate) fn given(&self, digest: Digest) -> Option<&Manifest> {
        let rewrite = self.rewrite.as_ref()?;
        [&rewrite.top, &rewrite.image].into_iter().find(|given| given.digest == digest)
    }
}

/// The verdicts that there are.
#[derive(Debug)]
pub(super) struct Records {
    dir: PathBuf,
    /// Oldest first.
    order: VecDeque<Digest>,
    by_original: HashMap<Digest, Arc<Record>>,
    by_given: HashMap<Digest, Arc<Record>>,
    by_tar: HashMap<Digest, Vec<Arc<Record>>>,
}

impl Records {
    /// Reads the verdicts in a directory. One that cannot be read is none.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let mut records = Self {
            dir: dir.to_owned(),
            order: VecDeque::new(),
            by_original: HashMap::new(),
            by_given: HashMap::new(),
            by_tar: HashMap::new(),
        };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(records),
            Err(error) => return Err(Error::io("list", dir)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::io("list", dir))?;
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok(record) => found.push((entry.metadata().and_then(|of| of.modified()).ok(), record)),
                Err(error) => tracing::warn!("a verdict about a manifest is lost: {}", error.one_line()),
            }
        }
        found.sort_by_key(|(time, record)| (*time, record.original.to_string()));
        found.into_iter().for_each(|(_, record)| records.add(Arc::new(record)));
        Ok(records)
    }

    pub(super) fn verdict(&self, original: Digest) -> Option<Arc<Record>> {
        self.by_original.get(&original).cloned()
    }

    pub(super) fn with_manifest(&self, given: Digest) -> Option<Arc<Record>> {
        self.by_given.get(&given).cloned()
    }

    pub(super) fn with_tar(&self, digest: Digest) -> Vec<Arc<Record>> {
        self.by_tar.get(&digest).cloned().unwrap_or_default()
    }

    /// Makes a verdict the one of its manifest, unless there is one. One that cannot be written is that the manifest is
    /// given as it is.
    pub(super) fn settle(&mut self, record: Record) -> Arc<Record> {
        if let Some(there) = self.verdict(record.original) {
            return there;
        }
        let record = match self.write(&record) {
            Ok(()) => record,
            Err(error) => {
                tracing::warn!("a manifest is given as it is: {}", error.one_line());
                Record::unchanged(record.original)
            }
        };
        let record = Arc::new(record);
        self.add(Arc::clone(&record));
        record
    }

    fn add(&mut self, record: Arc<Record>) {
        if let Some(rewrite) = &record.rewrite {
            for given in [rewrite.top.digest, rewrite.image.digest] {
                self.by_given.insert(given, Arc::clone(&record));
            }
            for tar in &rewrite.tars {
                self.by_tar.entry(tar.digest).or_default().push(Arc::clone(&record));
            }
        }
        self.order.push_back(record.original);
        self.by_original.insert(record.original, record);
        while self.order.len() > MAX_RECORDS {
            let is_unchanged = |original: &Digest| {
                self.by_original.get(original).is_none_or(|record| record.rewrite.is_none())
            };
            let least = self.order.iter().position(is_unchanged).unwrap_or_default();
            let Some(oldest) = self.order.remove(least) else { break };
            self.by_original.remove(&oldest);
            self.by_given.retain(|_, record| record.original != oldest);
            self.by_tar.retain(|_, records| {
                records.retain(|record| record.original != oldest);
                !records.is_empty()
            });
            // What cannot be removed is found again by the next start.
            let _ = fs::remove_file(self.path(oldest));
        }
    }

    fn path(&self, original: Digest) -> PathBuf {
        self.dir.join(format!("{}.json", hex(original)))
    }

    fn write(&self, record: &Record) -> Result<()> {
        let stored =
            serde_json::to_vec(&Stored::of(record)).map_err(|error| Error::malformed("a verdict", error))?;
        fs::create_dir_all(&self.dir).map_err(Error::io("create", &self.dir))?;
        let path = self.path(record.original);
        let mut file = NamedTempFile::new_in(&self.dir).map_err(Error::io("make a file in", &self.dir))?;
        file.write_all(&stored).map_err(Error::io("write", &path))?;
        file.as_file().sync_all().map_err(Error::io("sync", &path))?;
        file.persist(&path).map_err(|error| Error::io("rename to", &path)(error.error))?;
        Ok(())
    }
}

/// A verdict as its file has it.
#[derive(Serialize, Deserialize)]
struct Stored {
    original: String,
    rewrite: Option<StoredRewrite>,
}

#[derive(Serialize, Deserialize)]
struct StoredRewrite {
    top: StoredManifest,
    image: StoredManifest,
    original_image: StoredManifest,
    tars: Vec<StoredTar>,
}

#[derive(Serialize, Deserialize)]
struct StoredManifest {
    media_type: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct StoredTar {
    digest: String,
    size: u64,
    blob: Descriptor,
}

impl Stored {
    fn of(record: &Record) -> Self {
        let manifest = |manifest: &Manifest| StoredManifest {
            media_type: manifest.media_type.clone(),
            text: String::from_utf8_lossy(&manifest.bytes).into_owned(),
        };
        let tar =
            |tar: &Tar| StoredTar { digest: tar.digest.to_string(), size: tar.size, blob: tar.blob.clone() };
        let rewrite = record.rewrite.as_ref().map(|rewrite| StoredRewrite {
            top: manifest(&rewrite.top),
            image: manifest(&rewrite.image),
            original_image: manifest(&rewrite.original_image),
            tars: rewrite.tars.iter().map(tar).collect(),
        });
        Self { original: record.original.to_string(), rewrite }
    }
}

fn read(path: &Path) -> Result<Record> {
    let what = path.display().to_string();
    let digest = |text: &str| text.parse::<Digest>().map_err(|error| Error::malformed(&*what, error));
    let stored: Stored = parse_json(&what, &fs::read(path).map_err(Error::io("read", path))?)?;
    let manifest = |stored: StoredManifest| Manifest::new(stored.text.into_bytes(), Some(&stored.media_type));
    let tar =
        |stored: StoredTar| Ok(Tar { digest: digest(&stored.digest)?, size: stored.size, blob: stored.blob });
    let rewrite = stored.rewrite.map(|rewrite| {
        Ok::<_, Error>(Rewrite {
            top: manifest(rewrite.top),
            image: manifest(rewrite.image),
            original_image: manifest(rewrite.original_image),
            tars: rewrite.tars.into_iter().map(tar).collect::<Result<_>>()?,
        })
    });
    Ok(Record { original: digest(&stored.original)?, rewrite: rewrite.transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::descriptor;

    fn record(name: &[u8]) -> Record {
        let manifest =
            |text: &[u8]| Manifest::new([br#"{"x":""#, text, name, br#""}"#].concat(), Some("a/b"));
        let blob = descriptor("x", Digest::of(name), 7);
        let tar = Tar { digest: Digest::of(&[name, b"tar"].concat()), size: 70, blob };
        let rewrite = Rewrite {
            top: manifest(b"top"),
            image: manifest(b"image"),
            original_image: manifest(b"original"),
            tars: vec![tar],
        };
        Record { original: Digest::of(&[name, b"original"].concat()), rewrite: Some(rewrite) }
    }

    #[test]
    fn a_verdict_holds_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let mut records = Records::open(&dir.path().join("rewrites")).unwrap();
        let (first, other) = (record(b"1"), record(b"2"));
        let (original, given) = (first.original, first.rewrite.as_ref().unwrap().image.digest);
        assert_eq!(*records.settle(record(b"1")), first);
        assert_eq!(*records.settle(Record::unchanged(original)), first, "the first one holds");
        assert_eq!(*records.settle(Record::unchanged(other.original)), Record::unchanged(other.original));
        for records in [records, Records::open(&dir.path().join("rewrites")).unwrap()] {
            assert_eq!(*records.verdict(original).unwrap(), first);
            assert_eq!(*records.with_manifest(given).unwrap(), first);
            assert_eq!(*records.with_tar(first.rewrite.as_ref().unwrap().tars[0].digest)[0], first);
            assert_eq!(*records.verdict(other.original).unwrap(), Record::unchanged(other.original));
            assert_eq!(first.given(given), Some(&first.rewrite.as_ref().unwrap().image));
            assert_eq!(first.given(original), None);
        }
    }

    #[test]
    fn a_verdict_that_cannot_be_read_is_none_and_one_that_cannot_be_written_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rewrites");
        let first = record(b"1");
        Records::open(&path).unwrap().settle(record(b"1"));
        fs::write(path.join(format!("{}.json", hex(first.original))), "{").unwrap();
        assert_eq!(Records::open(&path).unwrap().verdict(first.original), None);
        fs::remove_dir_all(&path).unwrap();
        let mut records = Records::open(&path).unwrap();
        fs::write(&path, "no directory").unwrap();
        assert_eq!(*records.settle(record(b"1")), Record::unchanged(first.original));
    }
}
