//! Readers of untrusted text that are not public, for the fuzzer. No part of the interface.

use layer::DiffId;
use reqwest::Url;

use crate::Result;
use crate::image::ConfigFields;
use crate::registry::next_page;

/// The diff_ids of a config.
///
/// # Errors
/// [`Error::Malformed`](crate::Error::Malformed).
pub fn diff_ids(config: &[u8]) -> Result<Vec<DiffId>> {
    ConfigFields::parse("config", config)?.diff_ids()
}

/// Returns true if a `Link` header on a page of a server leads to another server.
pub fn leads_away(link: &str) -> bool {
    let page = Url::parse("https://registry.example:5000/v2/a/referrers/sha256:0").expect("a URL");
    next_page(&page, link).is_some_and(|next| next.origin() != page.origin())
}

#[cfg(test)]
mod tests;
