//! The part of an entry's headers that [`Entry`](crate::Entry) does not keep: owner, times, devices,
//! extended attributes, the map of a sparse file.

use std::collections::BTreeMap;

use crate::entry::EntryKind;
use crate::header::{DEVICE_MAJOR, DEVICE_MINOR, Dialect, GID, MODE, MTIME, SIZE, UID};
use crate::members::Member;
use crate::pax::{decimal, signed_decimal};
use crate::sparse::{SparseMap, is_pax_sparse};
use crate::{Error, Result, Spool};

/// The rest of an entry.
#[derive(Debug, Clone)]
pub struct Details {
    /// The byte that says what it is (POSIX.1-1988, ustar, `typeflag`).
    pub type_flag: u8,
    /// Permission bits.
    pub mode: u32,
    /// The number of its user.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
    /// The time of its last change.
    pub mtime: Timestamp,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Values of extended attributes by their names (star's records `SCHILY.xattr.NAME`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Only of [`EntryKind::Sparse`].
    pub sparse: Option<SparseMap>,
}

/// A time; the fraction counts forward also before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// The fraction, below a second.
    pub nanoseconds: u32,
}

impl Member {
    /// Reads the rest of the entry.
    ///
    /// # Errors
    /// [`Error::BrokenTar`] if a number or a record makes no sense: Go, and so podman, refuses the layer
    /// then. [`Error::Io`].
    pub fn details(&self, spool: &Spool) -> Result<Details> {
        let sparse = self.sparse(spool)?;
        let details = sparse.and_then(|sparse| self.read_details(sparse));
        details.map_err(|reason| Error::BrokenTar {
            name: spool.name().to_owned(),
            offset: self.start,
            reason: format!("{}: {reason}", self.entry.path.escape_ascii()),
        })
    }

    fn sparse(&self, spool: &Spool) -> Result<Result<Option<SparseMap>, &'static str>> {
        let data = &self.entry.data;
        if self.kind != EntryKind::Sparse {
            let is_marked = is_pax_sparse(&self.pax);
            return Ok(if is_marked { Err("it is sparse, and no file") } else { Ok(None) });
        }
        let map = match self.header.type_flag() {
            b'S' if self.header.dialect() != Dialect::Gnu => Err("its sparse map is in no format of GNU tar"),
            b'S' => SparseMap::of_header(&self.header, spool, (self.header_end, data))?,
            _ => SparseMap::of_pax(&self.pax, spool, data)?,
        };
        Ok(map.map(Some))
    }

    fn read_details(&self, sparse: Option<SparseMap>) -> Result<Details, &'static str> {
        let Self { header, pax, .. } = self;
        if pax.is_refused_by_go() {
            return Err("a PAX record holds a NUL or lacks a key");
        }
        if header.number(SIZE).is_none() {
            return Err("the size field of the header is no number");
        }
        let record = |key| match pax.get(key) {
            Some(value) => signed_decimal(value).map(Some).ok_or(()),
            None => Ok(None),
        };
        let uid = record("uid").map_err(|()| "the PAX uid is no number")?;
        let gid = record("gid").map_err(|()| "the PAX gid is no number")?;
        let of_fields = (header.number(UID), header.number(GID), header.number(MTIME), header.number(MODE));
        let (Some(uid_field), Some(gid_field), Some(seconds), Some(mode)) = of_fields else {
            return Err("its mode, owner or time is no number");
        };
        let mtime = match pax.get("mtime") {
            Some(value) => timestamp(value).ok_or("the PAX mtime is no time")?,
            None => Timestamp { seconds, nanoseconds: 0 },
        };
        let device = match header.dialect() {
            Dialect::V7 => Some((0, 0)),
            _ => header.number(DEVICE_MAJOR).zip(header.number(DEVICE_MINOR)),
        };
        let (major, minor) = device.ok_or("its device is no number")?;
        let mut xattrs = BTreeMap::new();
        for (key, value) in pax.records() {
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                xattrs.insert(name.to_vec(), value.to_vec());
            }
        }
        Ok(Details {
            type_flag: header.type_flag(),
            mode: low_half(mode) & 0o7777,
            uid: owner(uid.unwrap_or(uid_field)),
            gid: owner(gid.unwrap_or(gid_field)),
            mtime,
            device: (low_half(major), low_half(minor)),
            xattrs,
            sparse,
        })
    }
}

/// The number that the system takes a user's or a group's number for, as Go hands it over: its lower
/// half. The highest one means "no change" to chown(2), which leaves the file to root.
fn owner(number: i64) -> u32 {
    match low_half(number) {
        u32::MAX => 0,
        number => number,
    }
}

fn low_half(number: i64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Reads seconds since 1970 with a fraction, `-1.5`; digits below a nanosecond are dropped.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (is_negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let point = text.iter().position(|&byte| byte == b'.').unwrap_or(text.len());
    let fraction = text.get(point + 1..).unwrap_or_default();
    let seconds = i64::try_from(decimal(&text[..point])?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some(match (is_negative, nanoseconds) {
        (false, _) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, wanted) in [
            ("0", Some((0, 0))),
            ("1777593600.5", Some((1_777_593_600, 500_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("7.", Some((7, 0))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-9223372036854775807.5", Some((i64::MIN, 500_000_000))),
            ("", None),
            ("1.x", None),
            ("1.0000000000x", None),
            ("9223372036854775808", None),
        ] {
            let read = timestamp(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
            assert_eq!(read, wanted, "{text}");
        }
    }

    #[test]
    fn owners_that_do_not_fit_are_those_that_podman_gives() {
        for (number, wanted) in [
            (0, 0),
            (4_000_000_000, 4_000_000_000),
            (1 << 32, 0),
            ((1 << 32) + 5, 5),
            (-2, 0xffff_fffe),
            (0xffff_ffff, 0),
            (-1, 0),
        ] {
            assert_eq!(owner(number), wanted, "{number}");
        }
    }
}
