//! The metadata in the headers of an entry, as the system wants it.

use layer::{Entry, Members, SparseMap, Spool};
use rustix::fs::Timespec;

use crate::{Error, Result};

/// The rest of an entry.
#[derive(Debug, Clone)]
pub(super) struct Details {
    /// The byte that says what it is (POSIX.1-1988, ustar, `typeflag`).
    pub(super) kind: u8,
    pub(super) metadata: Metadata,
    /// Major and minor number.
    pub(super) device: (u32, u32),
    /// Only of [`layer::EntryKind::Sparse`].
    pub(super) sparse: Option<SparseMap>,
}

/// The metadata of a file.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// `None` leaves the time as it is.
    pub(super) mtime: Option<Timespec>,
    pub(super) xattrs: Vec<Xattr>,
}

/// Name and value of an extended attribute.
pub(super) type Xattr = (Vec<u8>, Vec<u8>);

/// Lists the entries of a layer as container tools read them, also those that GNU tar reads differently.
///
/// # Errors
/// [`Error::Layer`].
pub(super) fn entries(spool: &Spool) -> Result<Vec<Entry>> {
    let entries = Members::of(spool).map(|member| {
        let member = member?;
        Ok(Entry { kind: member.kind, ..member.entry })
    });
    entries.collect()
}

/// Reads the details of the entries of a layer, in their order.
#[derive(Debug)]
pub(super) struct DetailsReader<'s> {
    spool: &'s Spool,
    members: Members<'s>,
}

impl<'s> DetailsReader<'s> {
    pub(super) fn new(spool: &'s Spool) -> Self {
        Self { spool, members: Members::of(spool) }
    }

    /// The details of `entry`, which has to be the next one of the tar.
    ///
    /// # Errors
    /// [`Error::Layer`] if a number or a record makes no sense.
    pub(super) fn next(&mut self, entry: &Entry) -> Result<Details> {
        let member = self.members.next().transpose()?;
        let member = member.filter(|member| member.entry.path == entry.path);
        let member = member.ok_or_else(|| {
            Error::malformed(self.spool.name(), "it changed while it was unpacked; pull it again")
        })?;
        let details = member.details(self.spool)?;
        let mtime = Timespec { tv_sec: details.mtime.seconds, tv_nsec: details.mtime.nanoseconds.into() };
        Ok(Details {
            kind: details.type_flag,
            metadata: Metadata {
                mode: details.mode,
                uid: details.uid,
                gid: details.gid,
                mtime: Some(mtime),
                xattrs: details.xattrs.into_iter().collect(),
            },
            device: details.device,
            sparse: details.sparse,
        })
    }
}
