//! Publishes the deltas of a plan, or of a job's share of it.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use layer::DiffId;
use serde::Serialize;

use super::job::{Job, Share};
use super::survey::is_of_one_image;
use super::{Plan, PlannedImage, Way};
use crate::chain::ChainStep;
use crate::delta::{DeltaCache, MakeOptions};
use crate::image::{Image, Images, resolve_all};
use crate::oci::Name;
use crate::publish::{PublishReport, Publisher};
use crate::reference::ImageRef;
use crate::registry::RegistryOptions;
use crate::repository::Repository;
use crate::store::Base;
use crate::watch::Watch;
use crate::{Error, Result};

/// The publishing of a job's share of a plan, with its options. [`publish`](Self::publish) does it.
#[derive(Debug, Clone)]
pub struct PlanPublisher<'p> {
    plan: &'p Plan,
    job: Job,
    registry: RegistryOptions,
    options: MakeOptions,
    watch: Watch,
}

/// The result for the updates to one image.
#[derive(Debug, Clone, Serialize)]
pub struct TargetReport {
    /// The name of the repository.
    pub repository: String,
    /// The new image.
    pub to: PlannedImage,
    /// The old images.
    pub from: Vec<PlannedImage>,
    /// The deltas that were published; `None` if that failed.
    pub report: Option<PublishReport>,
    /// The reasons why deltas are missing that the plan has.
    pub failures: Vec<String>,
}

/// An image of a plan that was read again.
struct Resolved<'p> {
    planned: &'p PlannedImage,
    images: Images,
}

/// The updates to one image, with all that is read for them.
struct Work<'p> {
    to: Resolved<'p>,
    /// The old images from which deltas are made of the layers.
    from: Vec<Resolved<'p>>,
    /// Those from which they are merged.
    merged: Vec<Resolved<'p>>,
    /// The steps over which they are.
    steps: BTreeSet<ChainStep>,
    failures: Vec<String>,
}

impl Work<'_> {
    fn layers(&self) -> impl Iterator<Item = DiffId> {
        let images = std::iter::once(&self.to).chain(&self.from).chain(&self.merged);
        let images = images.flat_map(|of| &of.images.images);
        images.flat_map(|image: &Image| image.layers.iter().map(|layer| layer.diff_id))
    }
}

impl<'p> PlanPublisher<'p> {
    /// Prepares to publish a job's share of a plan.
    pub fn new(plan: &'p Plan, job: Job) -> Self {
        Self {
            plan,
            job,
            registry: RegistryOptions::default(),
            options: MakeOptions::default(),
            watch: Watch::nothing(),
        }
    }

    /// Sets the options for the registries.
    #[must_use]
    pub fn registry(mut self, options: &RegistryOptions) -> Self {
        self.registry = options.clone();
        self
    }

    /// Sets the options for making deltas.
    #[must_use]
    pub fn options(mut self, options: MakeOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets the receiver of warnings and of progress.
    #[must_use]
    pub fn watch(mut self, watch: &Watch) -> Self {
        self.watch = watch.clone();
        self
    }

    /// Publishes the deltas. `configure` sets the options of each [`Publisher`], and `done` gets the report on each new
    /// image as soon as it is there.
    ///
    /// Old and new layers are fetched once for all updates of a repository that read them. A new image whose deltas
    /// cannot be published costs those deltas alone.
    ///
    /// # Errors
    /// Those of the machine.
    pub async fn publish(
        &self,
        configure: impl for<'a> Fn(Publisher<'a>) -> Publisher<'a>,
        mut done: impl FnMut(&TargetReport),
    ) -> Result<Vec<TargetReport>> {
        let mut reports = Vec::new();
        let shares = self.plan.share(self.job);
        for shares in shares.chunk_by(|one, other| one.repository == other.repository) {
            let Some(first) = shares.first() else { continue };
            let mut report = |report: TargetReport| {
                done(&report);
                reports.push(report);
            };
            match self.open(first.repository) {
                Ok(repository) => self.publish_in(&repository, shares, &configure, &mut report).await?,
                Err(error) => {
                    let failed = |share| failed(share, error.one_line());
                    shares.iter().map(failed).for_each(&mut report);
                }
            }
        }
        Ok(reports)
    }

    fn open(&self, name: &str) -> Result<Repository> {
        let reference = name.parse::<ImageRef>()?;
        if matches!(reference, ImageRef::Archive(_)) {
            return Err(Error::malformed(format!("`{name}`"), "an archive is no repository of a plan"));
        }
        Repository::open(&reference, &self.registry, &self.options.temp_dir)
    }

    async fn publish_in(
        &self,
        repository: &Repository,
        shares: &[Share<'p>],
        configure: &impl for<'a> Fn(Publisher<'a>) -> Publisher<'a>,
        report: &mut impl FnMut(TargetReport),
    ) -> Result<()> {
        let cache = DeltaCache::new(&self.options, &self.watch)?;
        let mut works = Vec::new();
        for share in shares {
            match self.read(repository, share).await {
                Ok(work) => works.push(work),
                Err(error) => report(failed(share, error.one_line())),
            }
        }
        while !works.is_empty() {
            // What nobody reads any more goes before the next is fetched.
            cache.keep_only(&works.iter().flat_map(Work::layers).collect::<HashSet<_>>());
            let work = works.remove(0);
            let publish = async |from: &[Resolved<'_>], over: Option<&BTreeSet<ChainStep>>| {
                let publisher = configure(Publisher::new(repository, &work.to.images));
                let publisher = publisher.options(self.options.clone()).watch(&self.watch);
                let publisher = from.iter().fold(publisher, |publisher, old| publisher.old(&old.images));
                let publisher = over.into_iter().fold(publisher, Publisher::merge_over);
                publisher.publish_from(&cache).await
            };
            let mut failures = work.failures.clone();
            let mut published = publish(&work.from, None).await;
            if !work.merged.is_empty()
                && let Ok(report) = &mut published
            {
                // Those that were just published are among those that are merged.
                match publish(&work.merged, Some(&work.steps)).await {
                    Ok(merged) => report.append(merged),
                    Err(error) => {
                        // The others are published all the same, and are reported.
                        let reason = error.one_line();
                        self.watch.warn(&reason);
                        failures.push(reason);
                    }
                }
            }
            let published = published.map_err(|error| failures.push(error.one_line())).ok();
            report(TargetReport {
                repository: repository.name(),
                to: work.to.planned.clone(),
                from: work.from.iter().chain(&work.merged).map(|old| old.planned.clone()).collect(),
                report: published,
                failures,
            });
        }
        Ok(())
    }

    /// Reads the images of updates again. An old image that is gone costs a warning; there are no deltas from it.
    async fn read(&self, repository: &Repository, share: &Share<'p>) -> Result<Work<'p>> {
        let to = self.resolve(repository, share.to).await?;
        let (mut from, mut merged, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        let mut steps = BTreeSet::new();
        for pair in &share.pairs {
            match self.resolve(repository, &pair.from).await {
                Ok(old) if pair.way == Way::Merged => {
                    let mut before = old.images.images.clone();
                    for image in pair.between.iter().chain([share.to]) {
                        let after = self.images(repository, image).await?;
                        steps.extend(after.iter().flat_map(|new| steps_to(new, &before)));
                        before = after;
                    }
                    merged.push(old);
                }
                Ok(old) => from.push(old),
                Err(error) if is_of_one_image(&error) => {
                    let reason = format!("there is no delta from {}: {}", pair.from.digest, error.one_line());
                    self.watch.warn(&reason);
                    failures.push(reason);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Work { to, from, merged, steps, failures })
    }

    /// Reads the images of the platforms of one. There is none, and no step over it, where it is gone.
    async fn images(&self, repository: &Repository, image: &'p PlannedImage) -> Result<Vec<Image>> {
        match self.resolve(repository, image).await {
            Ok(found) => Ok(found.images.images),
            Err(error) if is_of_one_image(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn resolve(&self, repository: &Repository, planned: &'p PlannedImage) -> Result<Resolved<'p>> {
        let (name, dir): (Name, &Path) = (Name::Digest(planned.digest), &self.options.temp_dir);
        let images = resolve_all(repository, Some(&name), dir, &self.watch).await?;
        Ok(Resolved { planned, images: Images { repository: repository.clone(), images } })
    }
}

/// Returns the steps to an image of one platform: its deltas from the image of that platform before, and from
/// its layers.
fn steps_to(new: &Image, before: &[Image]) -> Vec<ChainStep> {
    let Some(old) = new.platform.counterpart(before, |image| &image.platform) else { return Vec::new() };
    let layers = old.layers.iter().map(|layer| Base::Layer(layer.diff_id));
    let bases = layers.chain([Base::Image(old.config_digest)]);
    bases.map(|base| (base, new.manifest.digest)).collect()
}

fn failed(share: &Share<'_>, failure: String) -> TargetReport {
    let (repository, from) = (share.repository.to_owned(), share.pairs.iter().map(|pair| pair.from.clone()));
    TargetReport {
        repository,
        to: share.to.clone(),
        from: from.collect(),
        report: None,
        failures: vec![failure],
    }
}
