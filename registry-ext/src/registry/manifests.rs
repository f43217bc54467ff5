//! Manifests, indexes, and lists of referrers and tags.
//!
//! The OCI client reads a manifest of any size into memory, does not tell whether a registry knows
//! what a subject is, reads one page of referrers, and cannot delete.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use layer::Digest;
use oci_spec::image::Descriptor;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use tokio::time::timeout;

use super::access::Operation;
use super::request::Effort;
use super::{Client, RegistryError};
use crate::oci::{ANNOTATION_CREATED, Manifest, Name, annotated, annotation, parse_index, referrers_tag};
use crate::{Error, Result};

/// Tags that are asked for at once. Registries have limits of their own.
const TAGS_PER_PAGE: usize = 1000;
/// Most referrers of one manifest that are known of.
const MAX_REFERRERS: usize = 20_000;
/// The longest time that a list of referrers takes: there is another way.
const MAX_LISTING: Duration = Duration::from_secs(15);
/// The time for which a registry is taken to keep no list of referrers, after it said so.
const REFERRERS_LACK: Duration = Duration::from_secs(3600);
/// The media types of manifests that this crate reads.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

impl Client {
    /// The manifest or index of this name; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Registry`]; [`Error::TooLarge`] over 4 MiB; [`Error::DigestMismatch`].
    pub async fn manifest(&self, name: &Name) -> Result<Option<Manifest>> {
        let action = format!("get the manifest {name} of {}", self.name());
        let url = format!("{}/manifests/{name}", self.base);
        let request = || self.http.get(&url).header(ACCEPT, ACCEPTED);
        let Some(document) = self.get(&action, request).await? else { return Ok(None) };
        let manifest = Manifest::new(document.bytes, document.media_type.as_deref());
        match name {
            Name::Digest(expected) if manifest.digest != *expected => Err(Error::DigestMismatch {
                what: format!("manifest {name} of {}", self.name()),
                expected: *expected,
                actual: manifest.digest,
            }),
            Name::Digest(_) | Name::Tag(_) => Ok(Some(manifest)),
        }
    }

    /// Stores a manifest under a name. Gives whether the registry itself lists it among the
    /// referrers of its subject (the header `OCI-Subject`).
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub async fn put_manifest(&self, name: &Name, manifest: &Manifest) -> Result<bool> {
        let action = format!("put the manifest {name} to {}", self.name());
        let url = format!("{}/manifests/{name}", self.base);
        let request =
            || self.http.put(&url).header(CONTENT_TYPE, &manifest.media_type).body(manifest.bytes.clone());
        let answer = self.send(Operation::Push, &action, request).await?;
        Ok(answer.headers().contains_key("OCI-Subject"))
    }

    /// Deletes what has this name. Gives false if there is nothing.
    ///
    /// # Errors
    /// [`Error::Registry`], with status 405 if the registry does not delete.
    pub async fn delete_manifest(&self, name: &Name) -> Result<bool> {
        let action = format!("delete the manifest {name} of {}", self.name());
        let url = format!("{}/manifests/{name}", self.base);
        match self.send(Operation::Delete, &action, || self.http.delete(&url)).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The manifests whose subject is `subject`, each once and without its annotations but for when it was
    /// made, from the registry's own list or, where it gives
    /// none, from the tag that stands in for it.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest); [`Error::Malformed`]. A list that is refused is an error only if the
    /// registry fails, and there is no tag either.
    pub async fn referrers(&self, subject: Digest) -> Result<Vec<Descriptor>> {
        let refusal = match self.listed_referrers(subject).await {
            Ok(Some(listed)) => return Ok(listed),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        match (self.stand_in(subject).await?, refusal) {
            (Some(index), _) => {
                let (index, mut seen) = (parse_index("referrers index", &index.bytes)?, HashSet::new());
                let new = index.manifests().iter().filter(|entry| seen.insert(entry.digest().clone()));
                Ok(new.map(in_short).collect())
            }
            (None, Some(error)) => Err(error),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// The index under the tag that stands in for a list of referrers; `None` if there is none. Some
    /// registries take the tag for the digest that it is made from, and give the subject itself.
    async fn stand_in(&self, subject: Digest) -> Result<Option<Manifest>> {
        let found = self.manifest(&Name::Tag(referrers_tag(subject))).await?;
        Ok(found.filter(|found| found.digest != subject && found.is_index()))
    }

    /// Returns true if the registry was seen to keep no list of referrers.
    pub fn lacks_referrers(&self) -> bool {
        let seen = *self.lacks_referrers.lock().unwrap_or_else(PoisonError::into_inner);
        seen.is_some_and(|seen| seen.elapsed() < REFERRERS_LACK)
    }

    /// All pages of the registry's list; `None` if it keeps none, which it may say in any way.
    ///
    /// # Errors
    /// Those that say nothing of whether it keeps a list: no connection, a server that fails.
    async fn listed_referrers(&self, subject: Digest) -> Result<Option<Vec<Descriptor>>> {
        if self.lacks_referrers() {
            return Ok(None);
        }
        let action = format!("list the referrers of {subject} in {}", self.name());
        let (mut referrers, mut seen) = (Vec::new(), HashSet::new());
        let first = format!("{}/referrers/{subject}", self.base);
        // Servers that serve a page for any path answer 200 here.
        let take = |page: &[u8]| {
            let page = parse_index("referrers", page).ok()?;
            let new = page.manifests().iter().filter(|entry| seen.insert(entry.digest().clone()));
            referrers.extend(new.take(MAX_REFERRERS - referrers.len()).map(in_short));
            Some(())
        };
        let pages = self.get_pages(&action, &first, Effort::Small, take);
        let Ok(listed) = timeout(MAX_LISTING, pages).await else {
            return Err(RegistryError::connection(&action, "the list takes too long").into());
        };
        match listed {
            Ok(Some(())) => return Ok(Some(referrers)),
            // It may keep a list all the same, and have no time for it now.
            Err(Error::Registry(error)) if error.status() == Some(429) => return Ok(None),
            Err(Error::Registry(error))
                if error.status().is_none_or(|status| status >= 500 && status != 501) =>
            {
                return Err(error.into());
            }
            Err(error @ Error::TooLarge { .. }) => return Err(error),
            Ok(None) | Err(_) => {}
        }
        let mut lack = self.lacks_referrers.lock().unwrap_or_else(PoisonError::into_inner);
        *lack = Some(Instant::now());
        Ok(None)
    }

    /// All tags.
    ///
    /// # Errors
    /// [`Error::Registry`], also for a list of over 1000 pages; [`Error::TooLarge`] for one of over 32 MiB.
    pub async fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            // Some registries have null for none.
            tags: Option<Vec<String>>,
        }
        let action = format!("list the tags of {}", self.name());
        let (mut tags, mut broken) = (Vec::new(), None);
        let take = |page: &[u8]| match serde_json::from_slice::<Page>(page) {
            Ok(page) => {
                tags.extend(page.tags.unwrap_or_default());
                Some(())
            }
            Err(error) => {
                broken = Some(error);
                None
            }
        };
        let first = format!("{}/tags/list?n={TAGS_PER_PAGE}", self.base);
        self.get_pages(&action, &first, Effort::Full, take).await?;
        match broken {
            Some(error) => Err(RegistryError::protocol(&action, error).into()),
            None => Ok(tags),
        }
    }
}

/// Returns an entry of a list of referrers without the fields that nobody reads.
fn in_short(entry: &Descriptor) -> Descriptor {
    let mut short = Descriptor::new(entry.media_type().clone(), entry.size(), entry.digest().clone());
    short.set_artifact_type(entry.artifact_type().clone());
    let created = annotation(entry, ANNOTATION_CREATED).map(str::to_owned);
    created.map_or(short.clone(), |created| annotated(short, [(ANNOTATION_CREATED, created)]))
}
