//! Lists of which a registry sends a page at a time.

use std::collections::HashSet;

use reqwest::Url;

use super::exchange::too_large;
use super::request::Effort;
use super::{Client, RegistryError};
use crate::Result;

/// Most pages of a list that are read.
const MAX_PAGES: usize = 1000;
/// Most bytes of all pages of a list.
const MAX_LIST_SIZE: u64 = 32 << 20;

/// A page of a list, as the registry has it.
pub(crate) struct Page {
    /// Its media type, if it is stated.
    pub(crate) media_type: Option<String>,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// The query that asks for the next page.
    pub(crate) next: Option<String>,
}

impl Client {
    /// Gets one page of a list, unread: `path` is below the repository, with its query. `None` for status 404.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn list(&self, path: &str) -> Result<Option<Page>> {
        let action = format!("get the list {path} of {}", self.name());
        let url = format!("{}/{path}", self.base);
        let url = Url::parse(&url).map_err(|error| RegistryError::protocol(&action, error))?;
        let page = self.get_within(&action, Effort::Small, || self.http.get(url.clone())).await?;
        Ok(page.map(|page| {
            let next = page.links.iter().find_map(|link| next_page(&url, link));
            let next = next.and_then(|next| next.query().map(str::to_owned));
            Page { media_type: page.media_type, bytes: page.bytes, next }
        }))
    }

    /// Gets a list and gives each page to `take`. Ends, with `None`, at a page that is not there or that
    /// `take` refuses, and at one that was there before.
    ///
    /// # Errors
    /// As [`get`](Self::get); [`Error::TooLarge`](crate::Error::TooLarge) for a list of over 32 MiB,
    /// [`RegistryError::Protocol`] for one of over 1000 pages.
    pub(super) async fn get_pages(
        &self,
        action: &str,
        first: &str,
        effort: Effort,
        mut take: impl FnMut(&[u8]) -> Option<()>,
    ) -> Result<Option<()>> {
        let mut url = Url::parse(first).map_err(|error| RegistryError::protocol(action, error))?;
        let (mut size, mut seen) = (0, HashSet::new());
        for _ in 0..MAX_PAGES {
            seen.insert(url.clone());
            let page = self.get_within(action, effort, || self.http.get(url.clone())).await?;
            let Some(page) = page else { return Ok(None) };
            size += page.bytes.len() as u64;
            if size > MAX_LIST_SIZE {
                return Err(too_large(action, MAX_LIST_SIZE, size));
            }
            if take(&page.bytes).is_none() {
                return Ok(None);
            }
            match page.links.iter().find_map(|link| next_page(&url, link)) {
                Some(next) if !seen.contains(&next) => url = next,
                _ => return Ok(Some(())),
            }
        }
        Err(RegistryError::protocol(action, format!("the list has over {MAX_PAGES} pages")).into())
    }
}

/// The URL in a `Link` header with `rel="next"` (RFC 8288). It is always one of the server that the page is
/// from, since credentials go nowhere else: a registry behind a proxy may not know what it is called and
/// whether it is reached by TLS, so only the path counts.
pub(crate) fn next_page(base: &Url, link: &str) -> Option<Url> {
    let mut rest = link;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let parameters = up_to_comma(after);
        rest = &after[parameters.len()..];
        if !is_next(parameters) {
            continue;
        }
        let mut next = base.join(target.trim()).ok()?;
        next.set_fragment(None);
        if next.origin() != base.origin() {
            if !next.path().starts_with("/v2/") {
                return None;
            }
            let mut here = base.clone();
            here.set_path(next.path());
            here.set_query(next.query());
            next = here;
        }
        return Some(next);
    }
    None
}

/// The part of a list before the next comma that stands in no quotes.
fn up_to_comma(text: &str) -> &str {
    let mut is_quoted = false;
    let end = text.find(|letter| {
        is_quoted ^= letter == '"';
        letter == ',' && !is_quoted
    });
    end.map_or(text, |end| &text[..end])
}

/// Returns true if one of the relations of a link is that to the next page.
fn is_next(parameters: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("rel")
            && value.trim().trim_matches('"').split_whitespace().any(|rel| rel.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_pages_stay_on_the_server() {
        let base = Url::parse("https://a:5000/v2/x/referrers/sha256:1").unwrap();
        let next = |link| next_page(&base, link).map(String::from);
        let wanted = Some("https://a:5000/v2/x/referrers/sha256:1?page=2".to_owned());
        for link in [
            r#"</v2/x/referrers/sha256:1?page=2>; rel="next""#,
            "<?page=2>; rel=next",
            "<?page=2>;title=\"a, b\";Rel=\"last NEXT\"",
            r#"<?page=1>; rel="prev", <?page=2>; rel="next", <?page=9>; rel="last""#,
            r#"<http://a/v2/x/referrers/sha256:1?page=2>; rel="next""#,
            r#"<https://a/v2/x/referrers/sha256:1?page=2#x>; rel="next""#,
            r#"<http://internal:8080/v2/x/referrers/sha256:1?page=2>; rel="next""#,
            r#"<http://user:password@b/v2/x/referrers/sha256:1?page=2>; rel="next""#,
        ] {
            assert_eq!(next(link), wanted, "{link}");
        }
        for link in [r#"<https://b/x>; rel="next""#, r#"</v2/x>; rel="prev""#, "nonsense", "<", "<a>; rel"] {
            assert_eq!(next(link), None, "{link}");
        }
    }
}
