//! The entries of a layer's tar, in a list.

use crate::members::Members;
use crate::{Entry, Result, Spool};

/// Lists the entries of a tar, up to its first zero block or its end.
///
/// The paths are those that Go's archive/tar finds, and the data lies where it finds it. What follows the
/// end of the archive is nobody's data and is not looked at. Fewer than 512 bytes at the end cannot be a
/// header and count as such, unless they are the start of one.
///
/// # Errors
/// [`Error::NotATar`](crate::Error::NotATar) if there is no header at the start,
/// [`Error::BrokenTar`](crate::Error::BrokenTar) with the offset of the header that is broken or whose data
/// is cut off, [`Error::Io`](crate::Error::Io).
pub fn entries(spool: &Spool) -> Result<Vec<Entry>> {
    Members::of(spool).map(|member| member.map(|member| member.entry)).collect()
}
