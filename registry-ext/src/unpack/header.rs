//! What the headers of an entry say besides what [`layer::Entry`] keeps: owner, times, devices,
//! extended attributes, the map of a sparse file.
//!
//! [`layer::entries`] alone says which entries there are and where they lie. This reads the headers
//! between the entries that it found, so that a delta and an unpacked tree never differ about a tar.

use layer::{BLOCK_SIZE, Entry, EntryKind, MAX_EXTENSION_SIZE, Spool, pax_records};
use rustix::fs::Timespec;
use tar::{EntryType, Header};

use super::sparse::{SparseMap, SparseRecords};
use crate::{Error, Result};

/// The rest of an entry.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) kind: EntryType,
    pub(super) metadata: Metadata,
    /// Major and minor number.
    pub(super) device: (u32, u32),
    /// Only of [`EntryKind::Sparse`].
    pub(super) sparse: Option<SparseMap>,
}

/// What a file has besides its content.
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

/// Reads the details of entries, in their order.
#[derive(Debug)]
pub(super) struct DetailsReader<'s> {
    spool: &'s Spool,
    /// Offset of the next header.
    position: u64,
    global: Records,
}

impl<'s> DetailsReader<'s> {
    pub(super) fn new(spool: &'s Spool) -> Self {
        Self { spool, position: 0, global: Records::default() }
    }

    /// The details of `entry`, which has to be the next one of the tar.
    ///
    /// # Errors
    /// [`Error::Malformed`] if a number or a record makes no sense, [`Error::Layer`].
    pub(super) fn next(&mut self, entry: &Entry) -> Result<Details> {
        let mut records = self.global.clone();
        let header = loop {
            let header = self.header()?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let bytes = self.extension(&header)?;
                    records.read(&bytes).map_err(|reason| self.malformed(entry, reason))?;
                }
                EntryType::XGlobalHeader => {
                    let bytes = self.extension(&header)?;
                    self.global.read(&bytes).map_err(|reason| self.malformed(entry, reason))?;
                    records = self.global.clone();
                }
                // The entry has these names already.
                EntryType::GNULongName | EntryType::GNULongLink => drop(self.extension(&header)?),
                _ => break header,
            }
        };
        let fail = |reason: &'static str| self.malformed(entry, reason);
        let sparse = match entry.kind {
            EntryKind::Sparse if header.entry_type() == EntryType::GNUSparse => {
                Some(SparseMap::of_header(&header, self.spool, (self.position, &entry.data), &fail)?)
            }
            EntryKind::Sparse => {
                Some(std::mem::take(&mut records.sparse).map(self.spool, &entry.data, &fail)?)
            }
            _ => None,
        };
        self.position = entry.data.end.next_multiple_of(BLOCK_SIZE);
        let owner = |record: Option<u64>, field: std::io::Result<u64>| {
            // Fields that are blank, as some old writers leave them, are those of root. The highest
            // number means "no change" to chown(2).
            let number = record.or(field.ok()).unwrap_or(0);
            u32::try_from(number).ok().filter(|&number| number != u32::MAX)
        };
        let (Some(uid), Some(gid)) = (owner(records.uid, header.uid()), owner(records.gid, header.gid()))
        else {
            return Err(self.malformed(entry, "no user or group has such a number"));
        };
        // Base 256 may be negative: two's complement.
        let field = || Timespec { tv_sec: header.mtime().unwrap_or(0).cast_signed(), tv_nsec: 0 };
        let device = |field: std::io::Result<Option<u32>>| field.ok().flatten().unwrap_or(0);
        Ok(Details {
            kind: header.entry_type(),
            metadata: Metadata {
                mode: entry.mode & 0o7777,
                uid,
                gid,
                mtime: Some(records.mtime.unwrap_or_else(field)),
                xattrs: records.xattrs,
            },
            device: (device(header.device_major()), device(header.device_minor())),
            sparse,
        })
    }

    fn header(&mut self) -> Result<Header> {
        let mut header = Header::new_old();
        self.spool.read_exact_at(header.as_mut_bytes(), self.position)?;
        self.position += BLOCK_SIZE;
        Ok(header)
    }

    /// The data of an extension header; moves behind it.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = header.entry_size().unwrap_or(u64::MAX);
        if size > MAX_EXTENSION_SIZE {
            let what = self.spool.name().to_owned();
            return Err(Error::TooLarge { what, size, max: MAX_EXTENSION_SIZE });
        }
        let start = self.position;
        self.position += size.next_multiple_of(BLOCK_SIZE);
        Ok(self.spool.read_range(start..start + size)?)
    }

    fn malformed(&self, entry: &Entry, reason: &str) -> Error {
        Error::malformed(format!("{}: {}", self.spool.name(), entry.path.escape_ascii()), reason)
    }
}

/// The PAX records that matter here (POSIX.1-2001, pax; those with a name of a vendor are star's and
/// GNU tar's).
#[derive(Debug, Clone, Default)]
struct Records {
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<Timespec>,
    xattrs: Vec<Xattr>,
    sparse: SparseRecords,
}

impl Records {
    fn read(&mut self, records: &[u8]) -> Result<(), &'static str> {
        for record in pax_records(records) {
            let (key, value) = record.ok_or("a PAX record is malformed")?;
            match key {
                b"uid" => self.uid = Some(number(value).ok_or("the PAX uid is no number")?),
                b"gid" => self.gid = Some(number(value).ok_or("the PAX gid is no number")?),
                b"mtime" => self.mtime = Some(timestamp(value).ok_or("the PAX mtime is no time")?),
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        // Of two with one name, the last counts.
                        self.xattrs.retain(|(known, _)| known != name);
                        self.xattrs.push((name.to_vec(), value.to_vec()));
                    } else if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                        self.sparse.read(key, value)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads a decimal number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads seconds since 1970 with a fraction, `-1.5`; digits below a nanosecond are dropped.
fn timestamp(text: &[u8]) -> Option<Timespec> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = i64::try_from(number(seconds.as_bytes())?).ok()?;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits
        .into_iter()
        .try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))?;
    Some(match (is_negative, nanoseconds) {
        (false, _) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        (true, 0) => Timespec { tv_sec: -seconds, tv_nsec: 0 },
        // The fraction always counts forward.
        (true, _) => Timespec { tv_sec: -seconds - 1, tv_nsec: 1_000_000_000 - nanoseconds },
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
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("", None),
            ("1.x", None),
            ("9223372036854775808", None),
        ] {
            let read = timestamp(text.as_bytes()).map(|time| (time.tv_sec, time.tv_nsec));
            assert_eq!(read, wanted, "{text}");
        }
    }

    #[test]
    fn a_value_may_hold_line_ends() {
        let mut records = Records::default();
        let value = b"\n1 x=y\n\0\n";
        let record = [b" SCHILY.xattr.user.a=".as_slice(), value, b"\n"].concat();
        records.read(&[(record.len() + 2).to_string().as_bytes(), &record].concat()).unwrap();
        assert_eq!(records.xattrs, [(b"user.a".to_vec(), value.to_vec())]);
        assert!(records.read(b"35 SCHILY.xattr.user.a=x\n").is_err());
    }
}
