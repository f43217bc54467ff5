//! The records of PAX extended headers. Crate `tar` cuts them at line ends, which a value may hold.

/// Key and value of each record of an extended header (POSIX.1-2001, pax), in order. `None` stands
/// for a record that is malformed, and ends them.
pub fn pax_records(records: &[u8]) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
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
    let size: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let (record, rest) = records.split_at_checked(size)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|&byte| byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], rest))
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
        for malformed in [&b"x"[..], b"6 a=b", b"5 a=b\n", b"0 a=b\n", b"4 a\n", b"-6 a=b\n"] {
            assert_eq!(read(malformed), [None], "{}", malformed.escape_ascii());
        }
    }
}
