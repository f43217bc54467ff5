//! The pairs of tags that a policy wants, by the tags alone.

use std::collections::{BTreeMap, BTreeSet};

use super::policy::Policy;
use super::release::{Release, Series};

/// An update from one tag to another one of the same series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedPair {
    /// The tag of the old image.
    pub(super) from: String,
    /// The tag of the new image.
    pub(super) to: String,
    /// The number of releases by which the old one is behind.
    pub(super) behind: usize,
    /// The reasons why it is wanted, for people.
    pub(super) reasons: Vec<String>,
}

/// Returns the updates that a policy wants: for each series the newest releases, each from those before it.
pub(super) fn select(tags: &[String], policy: &Policy) -> Vec<WantedPair> {
    let mut pairs = Vec::new();
    for releases in series(tags, policy).into_values() {
        for target in releases.len().saturating_sub(policy.targets)..releases.len() {
            let is_newest = target + 1 == releases.len();
            pairs.extend(to_target(&releases[..target], &releases[target], is_newest, policy));
        }
    }
    pairs
}

/// Returns the newest release of each series.
pub(super) fn newest(tags: &[String], policy: &Policy) -> Vec<String> {
    series(tags, policy).into_values().filter_map(|releases| Some(releases.last()?.tag.clone())).collect()
}

/// The releases of each series, the oldest first. Tags that move along with a release are left out.
fn series(tags: &[String], policy: &Policy) -> BTreeMap<Series, Vec<Release>> {
    let releases = tags.iter().filter(|tag| policy.takes(tag) && !policy.floating.contains(tag));
    let releases = releases.filter_map(|tag| Release::parse(tag));
    let releases: BTreeSet<Release> =
        releases.filter(|release| policy.pre_releases || release.pre_release.is_none()).collect();
    let mut series = BTreeMap::<Series, Vec<Release>>::new();
    // A tag of fewer numbers comes before all that it is a part of, and the next one is the first of those.
    for release in releases.into_iter() {
        let of_series = series.entry(release.series.clone()).or_default();
        if of_series.last().is_some_and(|last| last.is_part_of(&release)) {
            of_series.pop();
        }
        // `1`, then `1.2`, then `1.2.3`.
        if of_series.last().is_some_and(|last| last.is_part_of(&release)) {
            of_series.pop();
        }
        of_series.push(release);
    }
    series
}

fn to_target(older: &[Release], target: &Release, is_newest: bool, policy: &Policy) -> Vec<WantedPair> {
    let mut pairs = Vec::new();
    for (index, release) in older.iter().enumerate().rev() {
        let behind = older.len() - index;
        let mut reasons = Vec::new();
        if behind == 1 && policy.last > 0 {
            reasons.push("the release before".to_owned());
        } else if behind <= policy.last {
            reasons.push(format!("one of the last {}", policy.last));
        }
        let is_last_of_minor =
            older.get(index + 1).unwrap_or(target).minor() != release.minor() && !release.minor().is_empty();
        if policy.each_minor && is_last_of_minor && release.minor() != target.minor() {
            let minor: Vec<String> = release.minor().iter().map(u64::to_string).collect();
            reasons.push(format!("the last of {}{}", release.series.prefix, minor.join(".")));
        }
        let hosts = policy.in_use.iter().filter(|of| of.image == release.tag).map(|of| of.hosts);
        if let Some(hosts) = hosts.reduce(u64::saturating_add)
            && is_newest
        {
            reasons.push(in_use(hosts));
        }
        if !reasons.is_empty() {
            pairs.push(WantedPair { from: release.tag.clone(), to: target.tag.clone(), behind, reasons });
        }
    }
    pairs
}

/// Says that hosts run an image.
pub(super) fn in_use(hosts: u64) -> String {
    format!("in use on {hosts} {}", if hosts == 1 { "host" } else { "hosts" })
}

/// Says that clients of mirrors pulled an image.
pub(super) fn pulled(count: u64) -> String {
    if count == 1 { "pulled once".into() } else { format!("pulled {count} times") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(tags: &[&str], policy: &str) -> Vec<String> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let pairs = select(&tags, &Policy::parse(policy).unwrap());
        pairs
            .into_iter()
            .map(|pair| format!("{} {}: {}", pair.from, pair.to, pair.reasons.join(", ")))
            .collect()
    }

    #[test]
    fn the_newest_release_gets_deltas_from_those_that_hosts_may_run() {
        let tags = ["latest", "v1", "v1.0.0", "v1.0.1", "v1.1", "v1.1.0", "v1.2.0", "v1.2.1", "v1.2.2-rc1"];
        assert_eq!(
            pairs(&tags, "last = 2"),
            [
                "v1.2.0 v1.2.1: the release before",
                "v1.1.0 v1.2.1: one of the last 2, the last of v1.1",
                "v1.0.1 v1.2.1: the last of v1.0",
            ]
        );
        assert_eq!(
            pairs(
                &tags,
                "last = 1\neach-minor = false\ntargets = 2\nin-use = [{ image = 'v1.0.0', hosts = 9 }]"
            ),
            [
                "v1.1.0 v1.2.0: the release before",
                "v1.2.0 v1.2.1: the release before",
                "v1.0.0 v1.2.1: in use on 9 hosts",
            ]
        );
    }

    #[test]
    fn variants_and_dates_have_their_own_updates() {
        assert_eq!(
            pairs(&["1.0", "1.1", "1.0-slim", "1.1-slim"], ""),
            ["1.0 1.1: the release before", "1.0-slim 1.1-slim: the release before"]
        );
        assert_eq!(
            pairs(&["2026-10-30", "2026-10-31", "2026-11-01", "2026-11-02"], "last = 1"),
            ["2026-11-01 2026-11-02: the release before", "2026-10-31 2026-11-02: the last of 2026.10",]
        );
    }

    #[test]
    fn nothing_is_wanted_of_one_release_or_of_none() {
        for tags in [&[][..], &["latest", "main"], &["v1"]] {
            assert!(pairs(tags, "").is_empty());
        }
        assert!(pairs(&["v1", "v2"], "tags = ['x*']").is_empty());
    }
}
