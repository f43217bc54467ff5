//! Tags that name releases: their versions, their order, and the series that they belong to.
//!
//! A tag is a prefix without digits, numbers with `.`, `-` or `_` between them, and a suffix: `v1.2.3`,
//! `release-2026.11`, `3.12.1-slim`, `2026-11-29`. Tags of the same prefix and suffix are one series, since a host that
//! runs `3.12.1-slim` goes on to `3.13.0-slim`. A suffix such as `-rc1` is that of a pre-release (Semantic Versioning
//! 2.0.0, 9), and comes before the release.

use std::cmp::Ordering;

/// The words with which the suffix of a pre-release begins.
const PRE_RELEASES: [&str; 7] = ["alpha", "beta", "dev", "nightly", "pre", "preview", "rc"];

/// The part that the tags of a series have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The text before the numbers: `v`.
    pub prefix: String,
    /// The text behind them: `-slim`.
    pub suffix: String,
    /// True if the version is a date without separators: `20261129`.
    pub is_date: bool,
}

/// A tag that names a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The tag.
    pub tag: String,
    /// The series of the release.
    pub series: Series,
    /// The numbers of its version, the most significant first.
    pub numbers: Vec<u64>,
    /// The word and the number of a pre-release.
    pub pre_release: Option<(String, u64)>,
}

impl Release {
    /// Reads a tag; `None` if it has no version.
    pub fn parse(tag: &str) -> Option<Self> {
        let start = tag.find(|letter: char| letter.is_ascii_digit())?;
        let (prefix, rest) = tag.split_at(start);
        let (mut numbers, mut end) = (Vec::new(), 0);
        loop {
            let digits = rest[end..].bytes().take_while(u8::is_ascii_digit).count();
            numbers.push(rest[end..end + digits].parse().ok()?);
            end += digits;
            let mut next = rest[end..].chars();
            let goes_on = next.next().is_some_and(|letter| matches!(letter, '.' | '-' | '_'))
                && next.next().is_some_and(|letter| letter.is_ascii_digit());
            if !goes_on {
                break;
            }
            end += 1;
        }
        let suffix = &rest[end..];
        // `3f2a9c1` is the name of a commit.
        if suffix.starts_with(|letter: char| letter.is_ascii_alphabetic()) && !is_pre_release(suffix) {
            return None;
        }
        let is_date = is_date(&rest[..end]);
        // `4821973` may be the name of a commit, too.
        if numbers.len() == 1 && end > 5 && !is_date {
            return None;
        }
        let (pre_release, suffix) = split_pre_release(suffix);
        let series = Series { prefix: prefix.to_owned(), suffix: suffix.to_owned(), is_date };
        Some(Self { tag: tag.to_owned(), series, numbers, pre_release })
    }

    /// Returns true if this tag moves along with the other one: `1.2` with `1.2.3`. One of three numbers does not: in
    /// `1.2.3-1` the last one is that of a build.
    pub fn is_part_of(&self, other: &Self) -> bool {
        self.series == other.series
            && self.numbers.len() < 3
            && self.numbers.len() < other.numbers.len()
            && other.numbers.starts_with(&self.numbers)
    }

    /// The numbers of the minor version: all but the last, at most two.
    pub fn minor(&self) -> &[u64] {
        &self.numbers[..self.numbers.len().saturating_sub(1).min(2)]
    }
}

impl PartialOrd for Release {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Release {
    /// Compares the series, then the versions: a pre-release comes before its release.
    fn cmp(&self, other: &Self) -> Ordering {
        let stage = |release: &Self| (release.pre_release.is_none(), release.pre_release.clone());
        let versions = self.numbers.cmp(&other.numbers).then_with(|| stage(self).cmp(&stage(other)));
        self.series.cmp(&other.series).then(versions).then_with(|| self.tag.cmp(&other.tag))
    }
}

/// Returns true if digits are a date, with or without a time: `20261129`, `202611291530`.
fn is_date(digits: &str) -> bool {
    let number = |range: std::ops::Range<usize>| digits.get(range).and_then(|part| part.parse::<u32>().ok());
    matches!(digits.len(), 8 | 10 | 12 | 14)
        && matches!(number(0..4), Some(1970..=2199))
        && matches!(number(4..6), Some(1..=12))
        && matches!(number(6..8), Some(1..=31))
}

fn is_pre_release(suffix: &str) -> bool {
    let word = suffix.trim_start_matches(['.', '-', '_']);
    let end = word.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(word.len());
    PRE_RELEASES.contains(&word[..end].to_ascii_lowercase().as_str())
}

/// Splits the suffix of a tag into what it says of a pre-release, and the rest.
fn split_pre_release(suffix: &str) -> (Option<(String, u64)>, &str) {
    if !is_pre_release(suffix) {
        return (None, suffix);
    }
    let word = suffix.trim_start_matches(['.', '-', '_']);
    let end = word.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(word.len());
    let (word, rest) = word.split_at(end);
    let digits = rest.trim_start_matches(['.', '-']);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    match digits[..count].parse() {
        Ok(number) => (Some((word.to_ascii_lowercase(), number)), &digits[count..]),
        Err(_) => (Some((word.to_ascii_lowercase(), 0)), rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(tag: &str) -> Release {
        Release::parse(tag).unwrap_or_else(|| panic!("{tag}"))
    }

    #[test]
    fn releases_are_in_the_order_of_their_versions() {
        for ordered in [
            &["v1.2.3", "v1.2.10", "v1.10.0", "v2.0.0-alpha", "v2.0.0-rc1", "v2.0.0-rc.2", "v2.0.0"][..],
            &["2025-12-31", "2026-01-02", "2026-11-29"],
            &["20251231", "20260102"],
            &["release-9", "release-10"],
            &["3.9.0-slim", "3.12.0-slim"],
        ] {
            let mut sorted: Vec<Release> = ordered.iter().rev().map(|tag| release(tag)).collect();
            sorted.sort();
            assert!(sorted.windows(2).all(|pair| pair[0].series == pair[1].series), "{ordered:?}");
            assert_eq!(sorted.iter().map(|release| release.tag.as_str()).collect::<Vec<_>>(), ordered);
        }
    }

    #[test]
    fn a_variant_is_a_series_of_its_own() {
        let [plain, slim, rc] = ["3.12.1", "3.12.1-slim", "3.13.0-rc1-slim"].map(release);
        assert_ne!(plain.series, slim.series);
        assert_eq!(slim.series, rc.series);
        assert_eq!(rc.pre_release, Some(("rc".into(), 1)));
    }

    #[test]
    fn a_tag_of_fewer_numbers_moves_along() {
        assert!(release("1.2").is_part_of(&release("1.2.3")));
        assert!(!release("1.2").is_part_of(&release("1.20.3")));
        assert!(!release("1.2-slim").is_part_of(&release("1.2.3")));
        assert!(!release("v1.2.3").is_part_of(&release("v1.2.3-1")), "the number of a build");
        assert!(!release("2026-11-29").is_part_of(&release("2026-11-29-2")));
        assert_ne!(release("20261129").series, release("1.2.3").series);
        assert_eq!(release("v1.2.3").minor(), [1, 2]);
        assert_eq!(release("v7").minor(), [0; 0]);
    }

    #[test]
    fn what_has_no_version_is_no_release() {
        for tag in
            ["latest", "3f2a9c1", "main", "", "99999999999999999999999999", "sha-12ab", "4821973", "20269929"]
        {
            assert_eq!(Release::parse(tag), None, "{tag}");
        }
    }
}
