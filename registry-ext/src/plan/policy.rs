//! The policy: the images that are worth deltas.

use std::fmt;

use layer::Digest;
use serde::{Deserialize, Serialize};

use super::pulls::Pulls;
use crate::{Error, Result};

/// The images that deltas are made to and from, and the most that they may cost.
///
/// ```
/// let policy = registry_ext::plan::Policy::parse("last = 5\nignore = ['*-debug']").unwrap();
/// assert_eq!((policy.targets, policy.last), (1, 5));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Policy {
    /// Patterns (`v1.*`) of the tags that count; all if there are none.
    pub tags: Vec<String>,
    /// Patterns of tags that do not count.
    pub ignore: Vec<String>,
    /// Whether pre-releases count.
    pub pre_releases: bool,
    /// The number of the newest releases of each series that get deltas.
    pub targets: usize,
    /// The number of releases before each of those that get a delta to it.
    pub last: usize,
    /// Whether the last release of each minor version before it gets one too.
    pub each_minor: bool,
    /// Tags that move, such as `latest`: the image that such a tag named in the plan before gets a delta to
    /// the one that it names now.
    pub floating: Vec<String>,
    /// Releases that hosts run: each gets a delta to the newest of its series.
    pub in_use: Vec<InUse>,
    /// The pulls that mirrors counted: each image that was pulled gets a delta to the newest of its series, too. They
    /// are no part of the text of a policy.
    #[serde(skip)]
    pub pulls: Pulls,
    /// The largest share of the blobs for which a delta is expected to be worth making.
    pub max_ratio: f64,
    /// The share of the blobs that a delta is expected to have where no delta of the repository is known.
    pub expected_ratio: f64,
    /// True if deltas over several releases are merged of those between, where these are published or made first: with
    /// less CPU, and perhaps larger.
    pub merge: bool,
    /// The most bytes of deltas that follow each other, as a multiple of those that an update's own would
    /// have, for which it gets none: registry-ext and the mirror use the others, and no other client does.
    /// With 0, each gets its own.
    pub chains: f64,
    /// The most that all deltas of a plan may cost.
    pub budget: Budget,
}

/// A release that hosts run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InUse {
    /// Its tag, or the digest of its manifest or index.
    pub image: String,
    /// The number of hosts that run it.
    #[serde(default = "one")]
    pub hosts: u64,
}

const fn one() -> u64 {
    1
}

/// The most that the deltas of a plan may cost together; what saves most for its cost comes first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Budget {
    /// Bytes of all deltas.
    pub bytes: Option<u64>,
    /// Seconds of CPU to make them.
    pub cpu_seconds: Option<f64>,
}

impl Default for Policy {
    /// From the last three releases, and the last release of each minor version, to the newest one.
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            ignore: Vec::new(),
            pre_releases: false,
            targets: 1,
            last: 3,
            each_minor: true,
            floating: Vec::new(),
            in_use: Vec::new(),
            pulls: Pulls::default(),
            max_ratio: 0.9,
            expected_ratio: 0.2,
            merge: false,
            chains: 0.0,
            budget: Budget::default(),
        }
    }
}

impl Policy {
    /// Reads a policy in TOML. What it does not say is as in [`Policy::default`].
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is no TOML, says something that a policy does not have, or a number or a pattern is
    /// none.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |reason: &dyn fmt::Display| Error::malformed("the policy", reason.to_string().trim_end());
        let policy: Self = toml_edit::de::from_str(text).map_err(|error| wrong(&error))?;
        for pattern in policy.tags.iter().chain(&policy.ignore) {
            glob::Pattern::new(pattern)
                .map_err(|error| wrong(&format!("the pattern `{pattern}`: {error}")))?;
        }
        for (name, ratio) in [("max-ratio", policy.max_ratio), ("expected-ratio", policy.expected_ratio)] {
            if !(0.0..=1.0).contains(&ratio) {
                return Err(wrong(&format!("{name} is {ratio}, and has to be from 0 to 1")));
            }
        }
        if policy.chains.is_nan() || policy.chains < 0.0 {
            return Err(wrong(&format!("chains is {}, and has to be a multiple from 0 on", policy.chains)));
        }
        for of in &policy.in_use {
            let is_digest = of.image.contains(':');
            if of.image.is_empty() || (is_digest && of.image.parse::<Digest>().is_err()) {
                return Err(wrong(&format!(
                    "in-use names `{}`, which is neither a tag nor a digest",
                    of.image
                )));
            }
        }
        if policy.targets == 0 {
            return Err(wrong(&"targets is 0, so that there would be no delta at all"));
        }
        if policy.budget.cpu_seconds.is_some_and(|seconds| seconds.is_nan() || seconds < 0.0) {
            return Err(wrong(&"cpu-seconds of the budget is no time"));
        }
        Ok(policy)
    }

    /// Returns true if deltas that follow each other matter.
    pub(super) fn follows_chains(&self) -> bool {
        self.merge || self.chains > 0.0
    }

    /// Returns true if a tag counts.
    pub fn takes(&self, tag: &str) -> bool {
        let matches = |patterns: &[String]| {
            patterns.iter().any(|text| glob::Pattern::new(text).is_ok_and(|pattern| pattern.matches(tag)))
        };
        (self.tags.is_empty() || matches(&self.tags)) && !matches(&self.ignore)
    }

    /// The number of hosts that run an image of a repository with one of these tags or this digest, if it is said to be
    /// in use; of an image that mirrors counted, the number of its pulls.
    pub(super) fn hosts(&self, repository: &str, tags: &[String], digest: Digest) -> Option<u64> {
        let text = digest.to_string();
        let entries = self.in_use.iter().filter(|of| of.image == text || tags.contains(&of.image));
        let pulls = self.pulls.of_image(repository, digest);
        entries.map(|of| of.hosts).chain(pulls).reduce(u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_what_differs_from_the_default() {
        assert_eq!(Policy::parse("").unwrap(), Policy::default());
        let text = "tags = ['v*']\nignore = ['*-debug']\n[budget]\nbytes = 1000\n[[in-use]]\nimage = 'v1'\nhosts = 7";
        let policy = Policy::parse(text).unwrap();
        assert!(policy.takes("v1.2") && !policy.takes("1.2") && !policy.takes("v1.2-debug"));
        assert_eq!(policy.budget.bytes, Some(1000));
        assert_eq!(policy.hosts("r.example/app", &["v1".into()], Digest::from_bytes([0; 32])), Some(7));
    }

    #[test]
    fn faults_of_a_policy_are_said() {
        for (text, reason) in [
            ("lasst = 3", "unknown field `lasst`"),
            ("last = -1", "last"),
            ("tags = ['[']", "the pattern `[`"),
            ("max-ratio = 2", "from 0 to 1"),
            ("expected-ratio = nan", "from 0 to 1"),
            ("targets = 0", "no delta at all"),
            ("chains = -1.0", "from 0 on"),
            ("chains = nan", "from 0 on"),
            ("[budget]\ncpu-seconds = nan", "no time"),
            ("= 3", "the policy"),
            ("[[in-use]]\nimage = 'sha256:zz'", "neither a tag nor a digest"),
        ] {
            let message = Policy::parse(text).unwrap_err().to_string();
            assert!(message.contains(reason), "{text}: {message}");
        }
    }
}
