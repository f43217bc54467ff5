//! The switches for what differs from the OCI distribution specification, or is up to the registry.

use std::time::Duration;

/// The ways in which real registries and networks differ from each other.
#[derive(Debug, Clone)]
pub(crate) struct Switches {
    /// True if there is a referrers API (and the header `OCI-Subject`).
    pub(crate) referrers: bool,
    /// Entries on one page of referrers or tags.
    pub(crate) page_size: usize,
    /// True if the filter of referrers is applied.
    pub(crate) filters: bool,
    /// True if blobs are mounted from other repositories.
    pub(crate) mounts: bool,
    /// True if manifests can be deleted.
    pub(crate) deletes: bool,
    /// True if a tag still has its manifest once that is deleted by its digest.
    pub(crate) keeps_tags: bool,
    /// True if tags can be deleted.
    pub(crate) deletes_tags: bool,
    /// User and password that a bearer token costs; without, everybody may do everything.
    pub(crate) bearer: Option<(String, String)>,
    /// Requests to come that are answered with status 503.
    pub(crate) failures: usize,
    /// Answers with a blob to come that are cut after this many bytes.
    pub(crate) cuts: Vec<usize>,
    /// The pause after each byte of a blob.
    pub(crate) drips: Option<Duration>,
    /// The pause before each part of what it is sent.
    pub(crate) sips: Option<Duration>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            referrers: true,
            page_size: 1000,
            filters: true,
            mounts: true,
            deletes: true,
            keeps_tags: false,
            deletes_tags: false,
            bearer: None,
            failures: 0,
            cuts: Vec::new(),
            drips: None,
            sips: None,
        }
    }
}
