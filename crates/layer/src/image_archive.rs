//! Archives of images: tars that are given as a layer and are none.

use std::fmt;

use crate::merged::clean_path;
use crate::{Entry, EntryKind, Error, Result, Spool, entries};

/// An archive of images, which is a tar but no layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageArchive {
    /// A tar of an OCI image layout (`oci-archive:` in container tools; also what `docker save` writes
    /// since version 25).
    Oci,
    /// An archive as older versions of `docker save` write it (`docker-archive:`).
    Docker,
}

impl fmt::Display for ImageArchive {
    /// Says what it is, and what takes it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Oci => {
                "an archive of images in an OCI layout; `registry-ext measure` and `registry-ext publish` take \
                 it as oci-archive:FILE, and its layers are files in its directory blobs/sha256"
            }
            Self::Docker => {
                "an archive of images as `docker save` writes it; `registry-ext measure` and `registry-ext publish` \
                 take it as docker-archive:FILE, and its layers are the tars in it"
            }
        })
    }
}

/// Checks that a tar which a user gave as a layer is not an archive of images.
///
/// Such an archive could be the layer of an image as well, so what comes from a registry is not checked.
///
/// # Errors
/// [`Error::ImageArchive`]; those of [`entries`].
pub fn check_is_layer(spool: &Spool) -> Result<()> {
    match ImageArchive::detect(&entries(spool)?) {
        Some(archive) => Err(Error::ImageArchive { name: spool.name().to_owned(), archive }),
        None => Ok(()),
    }
}

impl ImageArchive {
    /// Tells whether a tar with these entries is an archive of images.
    pub fn detect(entries: &[Entry]) -> Option<Self> {
        let has = |is_wanted: &dyn Fn(&[u8]) -> bool| {
            let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
            files.filter_map(|entry| clean_path(&entry.path)).any(|path| is_wanted(&path))
        };
        let has_file = |name: &[u8]| has(&|path| path == name);
        if has_file(b"oci-layout") && has_file(b"index.json") {
            return Some(Self::Oci);
        }
        // Of an image without layers there are manifest and config alone, which could be anything.
        let is_layer = |path: &[u8]| path.ends_with(b"/layer.tar") || is_layer_of_skopeo(path);
        (has_file(b"manifest.json") && has(&is_layer)).then_some(Self::Docker)
    }
}

/// Recognizes `<64 hex digits>.tar`.
fn is_layer_of_skopeo(path: &[u8]) -> bool {
    let digest = path.strip_suffix(b".tar");
    digest.is_some_and(|digest| digest.len() == 64 && digest.iter().all(u8::is_ascii_hexdigit))
}
