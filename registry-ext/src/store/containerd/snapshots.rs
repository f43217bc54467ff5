//! Snapshots: the unpacked layers of containerd.

use std::path::{Path, PathBuf};

use layer::{DiffId, Digest};

use super::digest_in;
use crate::Result;
use crate::store::bolt::{self, Bucket};
use crate::store::layer_dirs::{DirContent, chain_id, is_dir_itself};

/// The kind of a snapshot that is complete and never written to again.
const COMMITTED: &[u8] = &[3];

/// The part of containerd that keeps snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Snapshotter {
    Overlayfs,
    Native,
}

impl Snapshotter {
    pub(super) const ALL: [Self; 2] = [Self::Overlayfs, Self::Native];

    pub(super) const fn content(self) -> DirContent {
        match self {
            Self::Overlayfs => DirContent::OwnFiles,
            Self::Native => DirContent::WholeTree,
        }
    }

    /// Reads the list of snapshots below the directory of a daemon. Returns `None` if there is none.
    ///
    /// # Errors
    /// As [`bolt::read`].
    pub(super) fn read(self, root: &Path) -> Result<Option<Snapshots>> {
        let dir = root.join(match self {
            Self::Overlayfs => "io.containerd.snapshotter.v1.overlayfs",
            Self::Native => "io.containerd.snapshotter.v1.native",
        });
        let list = bolt::read(&dir.join("metadata.db"), |root| {
            let mut list = Vec::new();
            let Some(version) = root.bucket(b"v1")? else { return Ok(list) };
            let Some(snapshots) = version.bucket(b"snapshots")? else { return Ok(list) };
            snapshots.buckets(|name, fields| {
                list.extend(Snapshot::read(name, fields)?);
                Ok(())
            })?;
            Ok(list)
        })?;
        Ok(list.map(|list| Snapshots { dir: dir.join("snapshots"), snapshotter: self, list }))
    }
}

/// The snapshots of a snapshotter.
#[derive(Debug)]
pub(super) struct Snapshots {
    dir: PathBuf,
    snapshotter: Snapshotter,
    list: Vec<Snapshot>,
}

/// A snapshot that is complete.
#[derive(Debug)]
struct Snapshot {
    chain: Digest,
    /// The chain below it.
    below: Option<Digest>,
    /// The name of its directory.
    id: u64,
}

impl Snapshot {
    /// Reads an entry of the list. Returns `None` if it is no layer: a container's own files, or a layer that
    /// is being unpacked.
    fn read(name: &[u8], fields: &Bucket<'_>) -> Result<Option<Self>> {
        let Some(chain) = chain_in(name) else { return Ok(None) };
        let (mut is_committed, mut id, mut below) = (false, None, Some(None));
        fields.values(|key, value| match key {
            b"kind" => is_committed = value == COMMITTED,
            b"id" => id = uvarint(value),
            b"parent" if !value.is_empty() => below = chain_in(value).map(Some),
            _ => {}
        })?;
        Ok(id.zip(below).filter(|_| is_committed).map(|(id, below)| Self { chain, below, id }))
    }
}

impl Snapshots {
    /// Returns the directory of the layers up to this chain.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be seen.
    pub(super) fn dir_of_chain(&self, chain: Digest) -> Result<Option<PathBuf>> {
        self.first(|snapshot| snapshot.chain == chain)
    }

    /// Returns the directory of a layer, whatever is below it.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if it cannot be seen.
    pub(super) fn dir_of_layer(&self, diff_id: DiffId) -> Result<Option<PathBuf>> {
        // The list has no diff_ids, but a chain ID is the digest of the one below and a diff_id.
        self.first(|snapshot| snapshot.chain == chain_id(snapshot.below, diff_id))
    }

    fn first(&self, is_wanted: impl Fn(&Snapshot) -> bool) -> Result<Option<PathBuf>> {
        for snapshot in self.list.iter().filter(|snapshot| is_wanted(snapshot)) {
            let own = self.dir.join(snapshot.id.to_string());
            let dir = match self.snapshotter {
                Snapshotter::Overlayfs => own.join("fs"),
                Snapshotter::Native => own.clone(),
            };
            if is_dir_itself(&own)? && is_dir_itself(&dir)? {
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }
}

/// The chain ID in a name: `NAMESPACE/N/sha256:HEX`.
fn chain_in(name: &[u8]) -> Option<Digest> {
    digest_in(name.rsplit(|&byte| byte == b'/').next()?)
}

/// A number as Go's `encoding/binary` writes it: seven bits a byte, lowest first, the high bit for more.
fn uvarint(bytes: &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        let shift = u32::try_from(7 * index).ok()?;
        value |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_writes_them() {
        for (bytes, number) in [
            (&b"\x01"[..], Some(1)),
            (b"\xac\x02", Some(300)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some(u64::MAX)),
            (b"", None),
            (b"\x80", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", None),
            (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", None),
        ] {
            assert_eq!(uvarint(bytes), number, "{bytes:?}");
        }
    }
}
