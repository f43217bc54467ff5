//! The share of a plan that one of several jobs makes.

use std::collections::BTreeMap;

use layer::Digest;

use super::{Pair, Plan, PlannedImage};
use crate::Error;

/// One of several jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// Its number, from 0.
    index: usize,
    /// The number of all jobs.
    count: usize,
}

impl Job {
    /// The only job.
    pub const ALONE: Self = Self { index: 0, count: 1 };

    /// Reads `K/N`, job K of N: the first one is `first`, which is 0 or 1.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is no such text, or there is no such job.
    pub fn parse(text: &str, first: usize) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::malformed(format!("job `{text}`"), reason);
        let (number, count) =
            text.split_once('/').ok_or_else(|| wrong("it has the form K/N, such as 1/8"))?;
        let parse = |part: &str| part.parse::<usize>().map_err(|_| wrong("K and N are whole numbers"));
        let (number, count) = (parse(number)?, parse(count)?);
        match number.checked_sub(first) {
            None => Err(wrong(&format!("the first job is {first}"))),
            Some(index) if index >= count => {
                Err(wrong(&format!("of {count} jobs the last one is {}", (count + first).saturating_sub(1))))
            }
            Some(index) => Ok(Self { index, count }),
        }
    }
}

/// The updates to one image, which one job makes: what refers to an image has one writer.
#[derive(Debug, Clone)]
pub struct Share<'p> {
    /// The name of the repository.
    pub repository: &'p str,
    /// The new image.
    pub to: &'p PlannedImage,
    /// The updates to it: at least one.
    pub pairs: Vec<&'p Pair>,
}

impl Share<'_> {
    fn cpu_seconds(&self) -> f64 {
        self.pairs.iter().map(|pair| pair.cpu_seconds).sum()
    }
}

impl Plan {
    /// Returns the share of a job, by repositories. All shares together are the plan, and for the same plan they are
    /// always the same ones.
    ///
    /// The longest work is given away first, each to the job that has the least so far (Graham's rule of the longest
    /// processing time, 1969), and of two jobs that have about the same to the one that reads the repository anyway.
    pub fn share(&self, job: Job) -> Vec<Share<'_>> {
        let mut groups = BTreeMap::<(&str, Digest), Vec<&Pair>>::new();
        for (repository, pair) in self.wanted() {
            groups.entry((&repository.repository, pair.to.digest)).or_default().push(pair);
        }
        let groups = groups
            .into_iter()
            .filter_map(|((repository, _), pairs)| Some(Share { repository, to: &pairs.first()?.to, pairs }));
        let mut groups: Vec<Share<'_>> = groups.collect();
        // Stable: of equals, those of a repository stay together.
        groups.sort_by(|one, other| other.cpu_seconds().total_cmp(&one.cpu_seconds()));
        // A job with more than there are groups has nothing to do.
        let count = job.count.min(groups.len().max(1));
        let mut loads = vec![0.0_f64; count];
        let mut mine = Vec::new();
        for group in groups {
            let least = (0..count).min_by(|one, other| loads[*one].total_cmp(&loads[*other])).unwrap_or(0);
            loads[least] += group.cpu_seconds();
            if least == job.index {
                mine.push(group);
            }
        }
        mine.sort_by(|one, other| one.repository.cmp(other.repository));
        mine
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::{Policy, RepositoryPlan};
    use super::*;

    fn plan(targets: u8, sources: u8) -> Plan {
        let image = |byte| PlannedImage { tags: Vec::new(), digest: Digest::from_bytes([byte; 32]) };
        let pair = |to: u8, from: u8| Pair {
            blob_bytes: 100,
            delta_bytes: 10,
            cpu_seconds: f64::from(to % 5),
            ..Pair::new(image(100 + from), image(to))
        };
        let repository = |name: &str| RepositoryPlan {
            repository: name.into(),
            tags: 0,
            floating: BTreeMap::new(),
            expected_ratio: 0.2,
            ratio_is_measured: false,
            pairs: (0..targets).flat_map(|to| (0..sources).map(move |from| pair(to, from))).collect(),
            warnings: Vec::new(),
        };
        Plan::new(vec![repository("h/b"), repository("h/a")], &Policy::default())
    }

    #[test]
    fn shares_are_the_whole_plan_and_each_image_has_one_writer() {
        let plan = plan(7, 3);
        for count in [1, 2, 3, 5, 8, 100] {
            let (mut seen, mut writers) = (Vec::new(), HashSet::new());
            for number in 1..=count {
                let job = Job::parse(&format!("{number}/{count}"), 1).unwrap();
                for share in plan.share(job) {
                    let to = share.to.digest;
                    assert!(share.pairs.iter().all(|pair| pair.to.digest == to));
                    assert!(writers.insert((share.repository, to)), "{number}/{count}");
                    seen.extend(share.pairs.iter().map(|pair| (share.repository, to, pair.from.digest)));
                }
            }
            seen.sort();
            let mut all: Vec<_> = plan
                .wanted()
                .map(|(of, pair)| (of.repository.as_str(), pair.to.digest, pair.from.digest))
                .collect();
            all.sort();
            assert_eq!(seen, all, "{count} jobs");
        }
    }

    #[test]
    fn shares_take_about_the_same_time() {
        let plan = plan(50, 4);
        let load = |number| -> f64 {
            plan.share(Job::parse(&format!("{number}/8"), 1).unwrap()).iter().map(Share::cpu_seconds).sum()
        };
        let loads: Vec<f64> = (1..=8).map(load).collect();
        let (least, most) =
            loads.iter().fold((f64::MAX, 0.0_f64), |(a, b), load| (a.min(*load), b.max(*load)));
        assert!(most <= 1.2 * least, "{loads:?}");
    }

    #[test]
    fn numbers_of_jobs_are_checked() {
        assert_eq!(Job::parse("1/1", 1).unwrap(), Job::ALONE);
        assert_eq!(Job::parse("7/8", 0).unwrap(), Job::parse("8/8", 1).unwrap());
        for (text, first, reason) in [
            ("0/4", 1, "the first job is 1"),
            ("5/4", 1, "the last one is 4"),
            ("4/4", 0, "the last one is 3"),
            ("0/0", 0, "of 0 jobs"),
            ("1", 1, "K/N"),
            ("a/b", 1, "whole numbers"),
            ("1/-1", 1, "whole numbers"),
        ] {
            assert!(Job::parse(text, first).unwrap_err().to_string().contains(reason), "{text}");
        }
    }
}
