//! The arguments for plans.

use std::path::PathBuf;

use cli::Misuse;
use registry_ext::plan::Job;
use registry_ext::reference::ImageRef;

use super::operands::image;

#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// The repositories; a tag in their names does not count
    #[arg(value_name = "REPOSITORY", required = true, value_parser = image)]
    pub(crate) repositories: Vec<ImageRef>,
    /// The policy, in TOML [default: to the newest release of each series, from the last three and from the last of
    /// each minor version]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The figures of a mirror, as its /metrics gives them: each image that hosts pulled through it gets a delta to the
    /// newest release, too, and what was pulled often comes first in a budget. May be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) pulls: Vec<PathBuf>,
    /// The plan that was made before, for tags that move, such as latest: it says what they named then
    #[arg(long, value_name = "FILE")]
    pub(crate) previous: Option<PathBuf>,
    /// Write the plan here, for `publish --plan`
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Show only what differs from what is published: the deltas that publish would add, and those that prune with the
    /// same policy would remove
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// The flags that say which share of a plan is published.
#[derive(Debug, clap::Args)]
pub(crate) struct JobArgs {
    /// Publish the deltas of the plan in FILE, as `registry-ext plan` wrote it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["new", "from", "to", "platform", "strict"])]
    pub(crate) plan: Option<PathBuf>,
    /// Publish share K of N of the plan, from 1: all N jobs may run at one time
    #[arg(long, value_name = "K/N", requires = "plan")]
    job: Option<String>,
    /// Count the jobs from 0, as Kubernetes does
    #[arg(long, requires = "job")]
    job_from_zero: bool,
}

impl JobArgs {
    /// The share that is published: the whole plan unless one was asked for.
    pub(crate) fn job(&self) -> Result<Job, Misuse> {
        if self.plan.is_none() && self.job.is_some() {
            return Err(Misuse("--job is for a plan: give --plan FILE".into()));
        }
        let first = usize::from(!self.job_from_zero);
        let job = self.job.as_ref().map(|text| Job::parse(text, first)).transpose();
        job.map(|job| job.unwrap_or(Job::ALONE)).map_err(|error| Misuse(error.to_string()))
    }
}
