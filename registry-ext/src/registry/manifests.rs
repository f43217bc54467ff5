//! Manifests, indexes, and lists of referrers and tags.
//!
//! The OCI client reads a manifest of any size into memory, does not tell whether a registry knows
//! what a subject is, reads one page of referrers, and cannot delete.

use std::sync::atomic::Ordering;

use layer::Digest;
use oci_spec::image::Descriptor;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::access::Operation;
use super::{RegistryError, Repository};
use crate::artifact::{parse_index, referrers_tag};
use crate::repository::{Manifest, Name};
use crate::{Error, Result};

/// Tags that are asked for at once. Registries have limits of their own.
const TAGS_PER_PAGE: usize = 1000;
/// What we understand.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

impl Repository {
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

    /// The manifests whose subject is `subject`, from the registry's own list or, where it keeps
    /// none, from the tag that stands in for it.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest); [`Error::Malformed`].
    pub async fn referrers(&self, subject: Digest) -> Result<Vec<Descriptor>> {
        match self.listed_referrers(subject).await? {
            Some(listed) => Ok(listed),
            None => match self.manifest(&Name::Tag(referrers_tag(subject))).await? {
                Some(index) => Ok(parse_index("referrers index", &index.bytes)?.manifests().clone()),
                None => Ok(Vec::new()),
            },
        }
    }

    /// Whether the registry was seen to keep no list of referrers.
    pub fn lacks_referrers(&self) -> bool {
        self.lacks_referrers.load(Ordering::Relaxed)
    }

    /// All pages of the registry's list; `None` if it keeps none.
    async fn listed_referrers(&self, subject: Digest) -> Result<Option<Vec<Descriptor>>> {
        if self.lacks_referrers() {
            return Ok(None);
        }
        let action = format!("list the referrers of {subject} in {}", self.name());
        let mut referrers = Vec::new();
        let first = format!("{}/referrers/{subject}", self.base);
        // Servers that serve a page for any path answer 200 here.
        let take = |page: &[u8]| {
            referrers.extend_from_slice(parse_index("referrers", page).ok()?.manifests());
            Some(())
        };
        let listed = match self.get_pages(&action, &first, take).await {
            Err(Error::Registry(error)) if matches!(error.status(), Some(400 | 405 | 501)) => None,
            listed => listed?,
        };
        if listed.is_none() {
            self.lacks_referrers.store(true, Ordering::Relaxed);
        }
        Ok(listed.map(|()| referrers))
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
        self.get_pages(&action, &format!("{}/tags/list?n={TAGS_PER_PAGE}", self.base), take).await?;
        match broken {
            Some(error) => Err(RegistryError::protocol(&action, error).into()),
            None => Ok(tags),
        }
    }
}
