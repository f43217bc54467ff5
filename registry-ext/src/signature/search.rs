//! The search for a good signature: where it may lie, and how much is looked at.
//!
//! Whoever may push to a repository can list any number of things there that claim to be signatures. So what
//! is likely one is looked at first, whatever its place in a list, and all of it has a bound.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;

use futures_util::{StreamExt, stream};
use layer::Digest;
use oci_spec::image::{Descriptor, ImageManifest};

use super::{ANNOTATION_SIGNATURE, ARTIFACT_TYPE_SIGNATURE, Candidate, PublicKey};
use crate::Result;
use crate::artifact::oci_delta::Kind;
use crate::artifact::{ANNOTATION_CONTENT, CONTENT_SIGNATURE, CONTENT_SIGNATURE_BLOB};
use crate::oci::{ANNOTATION_CREATED, Name, annotation, artifact_type_of, parse_manifest, stated_type};
use crate::repository::Repository;

/// Most signatures that are checked: each takes a fraction of a millisecond.
const MAX_CHECKS: usize = 1024;
/// Most payloads and embedded manifests that are fetched: an image has a few signers, and most of them sign
/// the same text.
const MAX_PAYLOADS: usize = 64;
/// Most referrers that are looked at.
const MAX_REFERRERS: usize = 128;
/// Most bytes of their manifests.
const MAX_REFERRERS_SIZE: u64 = 16 << 20;
/// Bytes of a manifest from which on it is looked at last: signatures have a few thousand.
const LARGE: u64 = 64 << 10;
/// Manifests that are fetched at once.
const AT_ONCE: usize = 4;
/// Largest payload in bytes: cosign's have some hundred.
pub(super) const MAX_PAYLOAD_SIZE: u64 = 64 << 10;

/// The places where signatures lie.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Tag,
    Referrers,
}

/// The search for a good signature.
pub(super) struct Search<'s> {
    repository: &'s Repository,
    key: &'s PublicKey,
    temp_dir: &'s Path,
    /// Payloads that were fetched: most signatures of an image are of the same one. `None` for those that
    /// cannot be had.
    payloads: HashMap<String, Option<Vec<u8>>>,
    /// Signatures that were checked.
    checks: usize,
    /// The reasons why those that were found are not good.
    pub(super) faults: Vec<String>,
}

impl<'s> Search<'s> {
    pub(super) fn new(repository: &'s Repository, key: &'s PublicKey, temp_dir: &'s Path) -> Self {
        Self { repository, key, temp_dir, payloads: HashMap::new(), checks: 0, faults: Vec::new() }
    }

    /// Looks for a good signature of `digest` in one place.
    ///
    /// # Errors
    /// Those of the repository about the place itself, not about what lies there.
    pub(super) async fn look(&mut self, place: Place, digest: Digest) -> Result<bool> {
        // What others put in one place takes nothing from the other.
        self.checks = 0;
        self.payloads.clear();
        match place {
            Place::Tag => {
                let tag = Name::Tag(super::tag_of(digest));
                let Some(manifest) = self.repository.manifest(&tag).await? else { return Ok(false) };
                Ok(self.check_manifest(&manifest.bytes, Some(ARTIFACT_TYPE_SIGNATURE), digest).await)
            }
            Place::Referrers => self.look_at_referrers(digest).await,
        }
    }

    async fn look_at_referrers(&mut self, digest: Digest) -> Result<bool> {
        let referrers = ranked(self.repository.referrers(digest).await?);
        let reads = referrers.into_iter().take(MAX_REFERRERS).map(async |referrer| {
            let read = self.repository.manifest_of(&referrer).await;
            (referrer, read)
        });
        let reads: Vec<_> = reads.collect();
        let before = self.repository.received();
        let (mut reads, mut size) = (stream::iter(reads).buffered(AT_ONCE), 0);
        while let Some((referrer, read)) = reads.next().await {
            if size.max(self.repository.received() - before) > MAX_REFERRERS_SIZE {
                self.faults.push(format!("over {} MiB of referrers are not read", MAX_REFERRERS_SIZE >> 20));
                break;
            }
            // What cannot be had proves nothing.
            let Ok(manifest) = read else { continue };
            size += manifest.bytes.len() as u64;
            let stated = stated_type(referrer.artifact_type().as_ref()).map(AsRef::as_ref);
            if self.check_manifest(&manifest.bytes, stated, digest).await {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Checks the signatures in a manifest, and in those that are embedded in it.
    async fn check_manifest(&mut self, bytes: &[u8], stated: Option<&str>, digest: Digest) -> bool {
        let Ok(manifest) = parse_manifest("signature", bytes) else {
            self.faults.push("the manifest of a signature cannot be read".into());
            return false;
        };
        let kind = artifact_type_of(&manifest).map(AsRef::as_ref);
        if [kind, stated].contains(&Some(ARTIFACT_TYPE_SIGNATURE)) {
            return self.check_layers(&manifest, manifest.layers(), digest).await;
        }
        let layers = manifest.layers();
        let payloads: Vec<Descriptor> =
            layers.iter().filter(|layer| content(layer) == Some(CONTENT_SIGNATURE_BLOB)).cloned().collect();
        for embedded in layers.iter().rev().filter(|layer| content(layer) == Some(CONTENT_SIGNATURE)) {
            let Some(bytes) = self.small_blob(embedded).await else { continue };
            let Ok(signature) = parse_manifest("embedded signature", &bytes) else {
                self.faults.push("an embedded signature cannot be read".into());
                continue;
            };
            if self.check_layers(&signature, &payloads, digest).await {
                return true;
            }
        }
        false
    }

    /// Checks the signatures of a manifest, as far as their payloads are among `blobs`: the newest first,
    /// since cosign adds new ones at the end.
    async fn check_layers(&mut self, manifest: &ImageManifest, blobs: &[Descriptor], digest: Digest) -> bool {
        let known: HashMap<&str, &Descriptor> =
            blobs.iter().map(|blob| (blob.digest().as_ref(), blob)).collect();
        for layer in manifest.layers().iter().rev() {
            let signature = annotation(layer, ANNOTATION_SIGNATURE);
            let blob = known.get(layer.digest().as_ref());
            let (Some(signature), Some(blob)) = (signature, blob) else { continue };
            if self.checks == MAX_CHECKS {
                self.faults.push(format!("over {MAX_CHECKS} signatures are not checked"));
                return false;
            }
            self.checks += 1;
            let signature = signature.to_owned();
            let Some(payload) = self.small_blob(blob).await else { continue };
            match (Candidate { payload, signature }).check(digest, self.key) {
                Ok(()) => return true,
                Err(fault) => self.faults.push(fault.to_owned()),
            }
        }
        false
    }

    /// The bytes of a payload or of an embedded manifest; `None` if they cannot be had, or there were
    /// too many.
    async fn small_blob(&mut self, blob: &Descriptor) -> Option<Vec<u8>> {
        let digest = blob.digest().to_string();
        if !self.payloads.contains_key(&digest) {
            if self.payloads.len() == MAX_PAYLOADS {
                self.faults.push(format!("over {MAX_PAYLOADS} signed texts are not fetched"));
                return None;
            }
            let read = self.repository.small_blob(blob, MAX_PAYLOAD_SIZE, self.temp_dir).await;
            self.payloads.insert(digest.clone(), read.ok());
        }
        let payload = self.payloads.get(&digest).cloned().flatten();
        if payload.is_none() {
            self.faults.push("a signed text cannot be fetched".into());
        }
        payload
    }
}

fn content(layer: &Descriptor) -> Option<&str> {
    annotation(layer, ANNOTATION_CONTENT)
}

/// The referrers that may hold a signature, by how likely they do, whatever their order in the list is:
/// those that say so, delta artifacts, those that say nothing; the newest first, and large ones last.
fn ranked(mut referrers: Vec<Descriptor>) -> Vec<Descriptor> {
    let rank = |entry: &Descriptor| match stated_type(entry.artifact_type().as_ref()) {
        Some(kind) if kind.as_ref() == ARTIFACT_TYPE_SIGNATURE => Some(0),
        Some(kind) if Kind::of(Some(kind)).is_some() => Some(1),
        Some(_) => None,
        None => Some(2),
    };
    referrers.retain(|entry| rank(entry).is_some());
    referrers.sort_by_cached_key(|entry| {
        let created = annotation(entry, ANNOTATION_CREATED).map(str::to_owned);
        (rank(entry), entry.size() > LARGE, Reverse(created), entry.digest().to_string())
    });
    referrers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::ARTIFACT_TYPE;
    use crate::oci::{annotated, descriptor};

    #[test]
    fn junk_does_not_crowd_out_a_signature() {
        let entry = |kind: Option<&str>, created: Option<&str>, size, name: u8| {
            let mut entry = descriptor("m", Digest::from_bytes([name; 32]), size);
            if let Some(created) = created {
                entry = annotated(entry, [(ANNOTATION_CREATED, created.to_owned())]);
            }
            entry.set_artifact_type(kind.map(Into::into));
            entry
        };
        let mut referrers: Vec<Descriptor> =
            (10..200).map(|name| entry(Some("application/junk"), Some("2999"), 1, name)).collect();
        referrers.extend([
            entry(None, Some("2025-01-01"), 100, 1),
            entry(Some("application/vnd.oci.empty.v1+json"), None, 100, 2),
            entry(Some(ARTIFACT_TYPE), None, 100, 3),
            entry(Some(ARTIFACT_TYPE_SIGNATURE), Some("2024-01-01"), 100, 4),
            entry(Some(ARTIFACT_TYPE_SIGNATURE), Some("2025-01-01"), 4 << 20, 5),
            entry(Some(ARTIFACT_TYPE_SIGNATURE), Some("2025-01-01"), 100, 6),
        ]);
        let wanted = [6, 4, 5, 3, 1, 2].map(|name| Digest::from_bytes([name; 32]).to_string());
        let found: Vec<String> = ranked(referrers).iter().map(|entry| entry.digest().to_string()).collect();
        assert_eq!(found, wanted);
    }
}
