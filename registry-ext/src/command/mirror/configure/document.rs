//! TOML files, with the layout that their users gave them.

use std::path::Path;

use anyhow::{Context as _, Result};
use toml_edit::DocumentMut;

/// Reads a file's text.
pub(super) fn parse(path: &Path, text: &str) -> Result<DocumentMut> {
    text.parse().with_context(|| format!("{} is broken; mend it first, nothing is written", path.display()))
}

/// Returns the text of what is left of a document; `None` if nothing is.
pub(super) fn rest(document: &DocumentMut) -> Option<String> {
    let rest = document.to_string();
    (!rest.trim().is_empty()).then_some(rest)
}
