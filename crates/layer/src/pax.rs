//! PAX extended headers (POSIX.1-2001, pax). Crate `tar` cuts their records at line ends, which a value
//! may hold.

/// The records of an extended header.
#[derive(Debug, Clone, Default)]
pub(crate) struct PaxHeader {
    bytes: Vec<u8>,
}

impl PaxHeader {
    /// Takes the data of an extended header; `None` if a record is malformed.
    pub(crate) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let is_whole = pax_records(&bytes).all(|record| record.is_some());
        is_whole.then_some(Self { bytes })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes of all records.
    pub(crate) const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Key and value of each record, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        pax_records(&self.bytes).flatten()
    }

    /// The value of the last record with this key. An empty one takes the key away, so that the field of
    /// the header counts.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        self.get_or_empty(key).filter(|value| !value.is_empty())
    }

    /// The value of the last record with this key, also if it is empty.
    pub(crate) fn get_or_empty(&self, key: &str) -> Option<&[u8]> {
        self.records().filter(|(known, _)| *known == key.as_bytes()).last().map(|(_, value)| value)
    }

    /// Returns whether there is a record of GNU tar's sparse files.
    pub(crate) fn is_about_sparse_files(&self) -> bool {
        self.records().any(|(key, _)| key.starts_with(b"GNU.sparse."))
    }

    /// Returns whether Go refuses a record that has a place for a NUL where none may be, or no key.
    pub(crate) fn is_refused_by_go(&self) -> bool {
        self.records().any(|(key, value)| {
            let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
            key.is_empty() || if is_text { value.contains(&0) } else { key.contains(&0) }
        })
    }
}

/// Key and value of each record, in order. `None` stands for a record that is malformed, and ends them.
fn pax_records(records: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
    let mut rest = records;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = split_record(rest);
        rest = record.map_or(&[], |(_, _, after)| after);
        Some(record.map(|(key, value, _)| (key, value)))
    })
}

/// Splits the first record, `SIZE KEY=VALUE\n` with the size of all of it in decimal, off.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|&byte| byte == b' ')?;
    let size = usize::try_from(decimal(&records[..space])?).ok()?;
    let (record, rest) = records.split_at_checked(size)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], rest))
}

/// Reads a number of decimal digits.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit).then_some(text)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads a number of decimal digits, perhaps with a sign, as Go does.
pub(crate) fn signed_decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_record_ends_them() {
        let read = |records| pax_records(records).collect::<Vec<_>>();
        assert_eq!(read(b""), []);
        assert_eq!(read(b"6 a=b\n6 c=\n\n"), [Some((&b"a"[..], &b"b"[..])), Some((&b"c"[..], &b"\n"[..]))]);
        assert_eq!(read(b"6 a=b\n9 c=d\n"), [Some((&b"a"[..], &b"b"[..])), None]);
        for malformed in [&b"x"[..], b"6 a=b", b"5 a=b\n", b"0 a=b\n", b"4 a\n", b"-6 a=b\n", b"+6 a=b\n"] {
            assert_eq!(read(malformed), [None], "{}", malformed.escape_ascii());
            assert!(PaxHeader::parse(malformed.to_vec()).is_none());
        }
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_an_empty_one_takes_it_away() {
        let header = |bytes: &[u8]| PaxHeader::parse(bytes.to_vec()).unwrap();
        let both = header(b"6 a=1\n6 a=2\n6 b=1\n5 b=\n");
        assert_eq!(both.get("a"), Some(&b"2"[..]));
        assert_eq!((both.get("b"), both.get_or_empty("b")), (None, Some(&b""[..])));
        assert_eq!((both.get("c"), both.get_or_empty("c")), (None, None));
    }

    #[test]
    fn a_value_may_hold_line_ends() {
        let header = PaxHeader::parse(b"14 a=\n6 x=y\n\0\n".to_vec()).unwrap();
        assert_eq!(header.get("a"), Some(&b"\n6 x=y\n\0"[..]));
        assert_eq!(header.get("x"), None);
    }
}
