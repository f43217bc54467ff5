//! Plans: the deltas that a repository deserves, their costs, and their shares for jobs.
//!
//! A [`Policy`] says which updates are worth deltas. A [`Planner`] reads what a repository has and gives a [`Plan`],
//! with a [`Verdict`] on each update. The jobs of any engine (a matrix of GitHub Actions, an array of Slurm, an indexed
//! Job of Kubernetes) each take their [share](Plan::share) of it, and publish it with a [`PlanPublisher`]. The
//! repository is the only state that they share: a job that is killed is run again, and makes what is missing.

mod budget;
mod job;
mod judge;
mod policy;
mod publish;
mod pulls;
mod release;
mod select;
mod survey;
mod usage;
mod ways;

use std::collections::BTreeMap;

use layer::Digest;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use job::{Job, Share};
pub use policy::{Budget, InUse, Policy};
pub use publish::{PlanPublisher, TargetReport};
pub use pulls::Pulls;
pub use release::{Release, Series};
pub use survey::Planner;

/// The version of the plans that this crate writes, and the only one that it reads.
const VERSION: u32 = 1;
/// The share of the CPU of a delta that is made of the layers that a merged one takes (`benches merge`).
const MERGED_CPU: f64 = 0.6;
/// Most bytes of a plan that is read.
const MAX_SIZE: u64 = 256 << 20;

/// The updates of repositories, with a verdict on each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The version of this form.
    pub version: u32,
    /// The repositories.
    pub repositories: Vec<RepositoryPlan>,
}

/// The updates of one repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RepositoryPlan {
    /// Its name: `HOST[:PORT]/NAME`, or `oci:DIR`.
    pub repository: String,
    /// The number of its tags that count.
    #[serde(default)]
    pub tags: usize,
    /// The tags that move, as the policy names them, and the images that each named, the newest first: the
    /// next plan has deltas from those.
    #[serde(default)]
    pub floating: BTreeMap<String, Vec<Digest>>,
    /// The share of the blobs that deltas are expected to have.
    pub expected_ratio: f64,
    /// True if that share is the one of the deltas that are published; false if the policy assumes it.
    pub ratio_is_measured: bool,
    /// The updates.
    pub pairs: Vec<Pair>,
    /// The things that could not be read.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// An update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The old image.
    pub from: PlannedImage,
    /// The new image.
    pub to: PlannedImage,
    /// The reasons why the policy wants it.
    pub reasons: Vec<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// Bytes of the blobs that a host with the old image fetches.
    pub blob_bytes: u64,
    /// Bytes that the deltas are expected to have.
    pub delta_bytes: u64,
    /// Seconds of CPU that they are expected to take.
    pub cpu_seconds: f64,
    /// The number of releases by which the old image is behind.
    pub behind: usize,
    /// The number of hosts that run the old image, if the policy says so.
    pub hosts: Option<u64>,
    /// The way in which hosts get it.
    #[serde(default)]
    pub way: Way,
    /// The images between, in their order, of deltas that follow each other: those that are merged, that
    /// suffice, or that there are.
    #[serde(default)]
    pub between: Vec<PlannedImage>,
    /// Bytes of these deltas. One that is merged of them is hardly larger.
    #[serde(default)]
    pub chain_bytes: Option<u64>,
    /// True if all of them are published, so that their sizes are known; false if the plan has some of them.
    #[serde(default)]
    pub chain_is_published: bool,
}

/// The way in which hosts get an update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Way {
    /// By deltas that are made of the layers.
    #[default]
    Direct,
    /// By deltas that are merged of those that follow each other.
    Merged,
    /// By deltas that follow each other; none is made.
    Chain,
}

impl Way {
    /// The word for people, which is that of the JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Merged => "merged",
            Self::Chain => "chain",
        }
    }
}

/// An image or an index of images in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedImage {
    /// The tags that name it, of those that were looked at.
    pub tags: Vec<String>,
    /// Digest of its manifest or index.
    pub digest: Digest,
}

/// The verdict on an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// Its deltas are to be made.
    Make,
    /// Its deltas are published.
    Published,
    /// The old image has all layers of the new one.
    Shared,
    /// The images have no platform in common.
    NoPlatform,
    /// Its deltas are not expected to be enough smaller than the blobs.
    NotSmaller,
    /// Others save more for what they cost, and take the whole budget.
    OverBudget,
    /// Deltas that follow each other suffice.
    Chain,
}

impl Verdict {
    /// A phrase for people.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Make => "to be made",
            Self::Published => "published",
            Self::Shared => "nothing to fetch",
            Self::NoPlatform => "no platform in common",
            Self::NotSmaller => "not smaller than the blobs",
            Self::OverBudget => "over the budget",
            Self::Chain => "left to a chain",
        }
    }
}

impl Plan {
    /// A plan of these repositories, with what their policy's budget allows.
    pub fn new(mut repositories: Vec<RepositoryPlan>, policy: &Policy) -> Self {
        repositories.sort_by(|one, other| one.repository.cmp(&other.repository));
        budget::apply(&mut repositories, &policy.budget);
        repositories.iter_mut().for_each(|repository| ways::drop_broken(&mut repository.pairs));
        Self { version: VERSION, repositories }
    }

    /// Reads a plan in JSON.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none, or one of another version.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::malformed("the plan", reason);
        if text.len() as u64 > MAX_SIZE {
            return Err(wrong(format!("it has {} bytes, at most {MAX_SIZE} are read", text.len())));
        }
        let plan: Self = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if plan.version != VERSION {
            return Err(wrong(format!(
                "it has version {}, and {VERSION} is the one that is read",
                plan.version
            )));
        }
        Ok(plan)
    }

    /// The updates whose deltas are to be made, with their repositories.
    pub fn wanted(&self) -> impl Iterator<Item = (&RepositoryPlan, &Pair)> {
        let pairs = self.repositories.iter().flat_map(|of| of.pairs.iter().map(move |pair| (of, pair)));
        pairs.filter(|(_, pair)| pair.verdict == Verdict::Make)
    }
}

impl Pair {
    /// Returns the steps from the old image over those between to the new one, by their digests.
    fn steps(&self) -> impl Iterator<Item = (Digest, Digest)> {
        let (from, to) = (self.from.digest, self.to.digest);
        let between = self.between.iter().map(|image| image.digest);
        std::iter::once(from).chain(between.clone()).zip(between.chain([to]))
    }

    /// An update that is to be made, of which nothing else is known.
    #[cfg(test)]
    pub(crate) fn new(from: PlannedImage, to: PlannedImage) -> Self {
        Self {
            from,
            to,
            reasons: Vec::new(),
            verdict: Verdict::Make,
            blob_bytes: 0,
            delta_bytes: 0,
            cpu_seconds: 1.0,
            behind: 1,
            hosts: None,
            way: Way::Direct,
            between: Vec::new(),
            chain_bytes: None,
            chain_is_published: false,
        }
    }

    /// Bytes that its deltas are expected to have, made in its way.
    pub fn bytes(&self) -> u64 {
        match self.way {
            Way::Direct => self.delta_bytes,
            Way::Merged | Way::Chain => self.chain_bytes.unwrap_or(self.delta_bytes),
        }
    }

    /// Bytes that all hosts together are expected to save: those of one host if their number is not known.
    pub fn saved(&self) -> u64 {
        self.blob_bytes.saturating_sub(self.bytes()).saturating_mul(self.hosts.unwrap_or(1))
    }
}
