//! The objects of an ostree repository that describe trees: commits and directories. The reading is pure.

use std::collections::HashMap;

use layer::{DiffId, Digest};

use super::variant::{Container, aligned, string, string_in};
use crate::image::ConfigFields;
use crate::oci::{digest_of, parse_manifest};

/// A commit: `(a{sv} ay a(say) s s t ay ay)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    /// The directory that it is of.
    pub(super) root: Digest,
    /// The image that it was made of.
    pub(super) image: CommitImage,
}

/// The image that a commit was made of, as far as the commit says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CommitImage {
    /// The digest of its config (`ostree.manifest`, by bootc and rpm-ostree).
    pub(super) config: Option<Digest>,
    /// The digests of its blobs, of the same.
    pub(super) blobs: Vec<Digest>,
    /// Its layers (`ostree.container.image-config`, by the same).
    pub(super) diff_ids: Vec<DiffId>,
    /// Its last layer (`xa.diff-id`, by flatpak, whose images have no other).
    pub(super) last_layer: Option<DiffId>,
}

impl Commit {
    /// Reads a commit; `None` if it is broken.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let commit = Container::new(bytes);
        let metadata = commit.member(0, commit.end(0)?)?;
        // Parent, related commits, subject and body end before the time, which is a number of eight bytes.
        let start = aligned(commit.end(4)?, 8).checked_add(8)?;
        let root = digest(commit.member(start, commit.end(5)?)?)?;
        Some(Self { root, image: CommitImage::parse(metadata) })
    }
}

impl CommitImage {
    /// True if nothing is known of it.
    pub(super) fn is_unknown(&self) -> bool {
        self.config.is_none() && self.last_layer.is_none()
    }

    fn parse(metadata: &[u8]) -> Self {
        let mut image = Self::default();
        for entry in Container::new(metadata).elements(8) {
            let entry = Container::new(entry);
            let pair = || {
                let end = entry.end(0)?;
                let key = string(entry.member(0, end)?)?;
                Some((key, string_in(entry.member(aligned(end, 8), entry.last_end(1)?)?)?))
            };
            match pair() {
                // What cannot be read is as good as not there.
                Some((b"ostree.manifest", json)) => {
                    if let Ok(manifest) = parse_manifest("manifest", json) {
                        image.config = digest_of(manifest.config()).ok();
                        image.blobs = manifest
                            .layers()
                            .iter()
                            .map(digest_of)
                            .collect::<Result<_, _>>()
                            .unwrap_or_default();
                    }
                }
                Some((b"ostree.container.image-config", json)) => {
                    let config = ConfigFields::parse("config", json);
                    image.diff_ids = config.and_then(|config| config.diff_ids()).unwrap_or_default();
                }
                Some((b"xa.diff-id", hex)) => {
                    let digest =
                        std::str::from_utf8(hex).ok().and_then(|hex| format!("sha256:{hex}").parse().ok());
                    image.last_layer = digest.map(DiffId);
                }
                _ => {}
            }
        }
        image
    }
}

/// A directory: `(a(say) a(sayay))`, its files and the directories in it.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) files: HashMap<Vec<u8>, Digest>,
    pub(super) directories: HashMap<Vec<u8>, Digest>,
}

impl Directory {
    /// Reads a directory; `None` if it is broken. Entries that are broken are left out.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let directory = Container::new(bytes);
        let end = directory.end(0)?;
        let files = Container::new(directory.member(0, end)?);
        let directories = Container::new(directory.member(end, directory.last_end(1)?)?);
        let file = |entry: &[u8]| {
            let entry = Container::new(entry);
            let end = entry.end(0)?;
            Some((string(entry.member(0, end)?)?.to_vec(), digest(entry.member(end, entry.last_end(1)?)?)?))
        };
        let below = |entry: &[u8]| {
            let entry = Container::new(entry);
            let (name, tree) = (entry.end(0)?, entry.end(1)?);
            Some((string(entry.member(0, name)?)?.to_vec(), digest(entry.member(name, tree)?)?))
        };
        Some(Self {
            files: files.elements(1).filter_map(file).collect(),
            directories: directories.elements(1).filter_map(below).collect(),
        })
    }
}

/// The start of a file in an archive: the size of `(tuuuusa(ayay))` and four zeros, that, and a raw deflate stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArchivedHeader {
    /// Size of the file in bytes.
    pub(super) size: u64,
    /// Its kind and permissions, as stat(2) has them.
    pub(super) mode: u32,
    /// The target of a symlink.
    pub(super) target: Vec<u8>,
}

impl ArchivedHeader {
    /// Most bytes of a header: a link and the attributes of a file.
    pub(super) const MAX_SIZE: u64 = 1 << 20;
    /// Size of what stands before the header.
    pub(super) const PREFIX: u64 = 8;

    /// Reads a header; `None` if it is broken.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let header = Container::new(bytes);
        let size = u64::from_be_bytes(*bytes.first_chunk()?);
        let mode = u32::from_be_bytes(*bytes.get(16..)?.first_chunk()?);
        let target = string(header.member(24, header.end(0)?)?)?.to_vec();
        Some(Self { size, mode, target })
    }
}

fn digest(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest::from_bytes)
}

#[cfg(test)]
mod tests;
