//! Indexes that several publishers write: `_deltaindex`, and the tag that stands in for a list of
//! referrers.
//!
//! No registry offers a compare-and-swap on a tag, so two publishers that read the same index can
//! each overwrite what the other added. Each therefore looks right before it writes whether the index is
//! still the one that it merged with, as a merge can take many requests. It reads again after it has
//! written, once everybody who had looked before that write has had time to write too, and merges again
//! until what it added is there. The pause is a multiple of the time that a read and a write take,
//! with a random part.

use std::cell::Cell;
use std::time::{Duration, Instant};

use layer::Digest;
use oci_spec::image::{Descriptor, ImageIndex};

use crate::oci::{
    Manifest, Name, artifact_type_of, digest_of, index, parse_index, parse_manifest, referrers_tag,
};
use crate::repository::Repository;
use crate::{Error, Result};

/// Times that an index is merged with before a publisher gives up.
const MAX_ROUNDS: usize = 20;
/// The shortest pause before an index is read again.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// Reads the index under `tag`, has `merge` change it, and writes it until `merge` has nothing to
/// change any more: it gives `None` then. An index that is left without entries is deleted, if the
/// registry deletes.
///
/// # Errors
/// [`Error::Contended`]; [`Error::Malformed`] if there is something else than an index; those of the
/// repository and of `merge`.
pub(crate) async fn update(
    repository: &Repository,
    tag: &str,
    merge: impl AsyncFnMut(&ImageIndex) -> Result<Option<ImageIndex>>,
) -> Result<()> {
    let read = |found: &Manifest| parse_index(&format!("index {tag} of {}", repository.name()), &found.bytes);
    update_as(repository, tag, read, merge).await
}

/// The same for the index that stands in for the list of referrers of `subject`. Registries that read its tag
/// as a digest give the subject itself, which is no such index.
async fn update_referrers(
    repository: &Repository,
    subject: Digest,
    merge: impl AsyncFnMut(&ImageIndex) -> Result<Option<ImageIndex>>,
) -> Result<()> {
    let (tag, others) = (referrers_tag(subject), Cell::new(0));
    let what = || format!("index {tag} of {}", repository.name());
    let read = |found: &Manifest| {
        if found.digest != subject && found.is_index() {
            return parse_index(&what(), &found.bytes);
        }
        others.set(others.get() + 1);
        match others.get() {
            1..=2 => Ok(index(Vec::new())),
            _ => Err(Error::malformed(what(), "the registry gives something else than what was put there")),
        }
    };
    update_as(repository, &tag, read, merge).await
}

async fn update_as(
    repository: &Repository,
    tag: &str,
    read: impl Fn(&Manifest) -> Result<ImageIndex>,
    mut merge: impl AsyncFnMut(&ImageIndex) -> Result<Option<ImageIndex>>,
) -> Result<()> {
    let name = Name::Tag(tag.to_owned());
    for _ in 0..MAX_ROUNDS {
        let started = Instant::now();
        let found = repository.manifest(&name).await?;
        let current = match &found {
            Some(manifest) => read(manifest)?,
            None => index(Vec::new()),
        };
        let Some(changed) = merge(&current).await? else { return Ok(()) };
        let is_shared = matches!(repository, Repository::Registry(_));
        let digest_of_found = |found: &Option<Manifest>| found.as_ref().map(|manifest| manifest.digest);
        if is_shared && digest_of_found(&repository.manifest(&name).await?) != digest_of_found(&found) {
            // The others finish meanwhile, or are passed.
            tokio::time::sleep(started.elapsed().max(MIN_PAUSE).mul_f64(fastrand::f64())).await;
            continue;
        }
        let is_gone = match &found {
            Some(old) if changed.manifests().is_empty() => repository.delete_tagged(tag, old.digest).await?,
            _ => false,
        };
        if !is_gone {
            repository.put_unlisted(&Manifest::from(&changed), Some(tag)).await?;
        }
        if is_shared {
            let pause = (started.elapsed() * 4).max(MIN_PAUSE);
            tokio::time::sleep(pause + pause.mul_f64(fastrand::f64())).await;
        }
    }
    Err(Error::Contended { what: format!("index {tag} of {}", repository.name()) })
}

impl Repository {
    /// Stores a manifest: under its digest, and under `tag` if one is given. One with a subject is
    /// listed among the referrers of the subject afterwards, whatever the registry can do.
    ///
    /// # Errors
    /// [`Error::Registry`], [`Error::Io`], [`Error::Contended`].
    pub async fn put_manifest(&self, manifest: &Manifest, tag: Option<&str>) -> Result<()> {
        if self.put_unlisted(manifest, tag).await? || manifest.is_index() {
            return Ok(());
        }
        list_by_tag(self, manifest).await
    }
}

/// Lists a manifest in the index that stands in for the list of referrers of its subject, if it has one.
///
/// # Errors
/// As [`update`].
pub(crate) async fn list_by_tag(repository: &Repository, manifest: &Manifest) -> Result<()> {
    let parsed = parse_manifest("manifest", &manifest.bytes)?;
    let Some(subject) = parsed.subject() else { return Ok(()) };
    let mut entry = manifest.descriptor();
    entry.set_artifact_type(artifact_type_of(&parsed).cloned());
    entry.set_annotations(parsed.annotations().clone());
    add_referrer(repository, digest_of(subject)?, &entry).await
}

/// Adds a manifest to the index that stands in for the list of referrers of `subject`.
///
/// # Errors
/// As [`update`].
async fn add_referrer(repository: &Repository, subject: Digest, entry: &Descriptor) -> Result<()> {
    update_referrers(repository, subject, async |current| {
        if current.manifests().iter().any(|known| known.digest() == entry.digest()) {
            return Ok(None);
        }
        let mut manifests = current.manifests().clone();
        manifests.push(entry.clone());
        Ok(Some(with_manifests(current, manifests)))
    })
    .await
}

/// Removes manifests from the index that stands in for the list of referrers of `subject`, if there
/// is one.
///
/// # Errors
/// As [`update`].
pub(crate) async fn remove_referrers(
    repository: &Repository,
    subject: Digest,
    gone: &[Digest],
) -> Result<()> {
    update_referrers(repository, subject, async |current| {
        let is_gone = |entry: &Descriptor| digest_of(entry).is_ok_and(|digest| gone.contains(&digest));
        if !current.manifests().iter().any(is_gone) {
            return Ok(None);
        }
        let kept = current.manifests().iter().filter(|entry| !is_gone(entry)).cloned().collect();
        Ok(Some(with_manifests(current, kept)))
    })
    .await
}

fn with_manifests(index: &ImageIndex, manifests: Vec<Descriptor>) -> ImageIndex {
    let mut changed = index.clone();
    changed.set_manifests(manifests);
    changed
}
