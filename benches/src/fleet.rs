//! A calculation on paper: the cost of deltas for an organisation, by the number of releases that they lead from.
//!
//! Nothing is measured here. The assumptions are [`Assumptions`], which the command shows with the result, so that
//! somebody with other figures gets another result.

use std::fmt::Write;

use clap::{Args, FromArgMatches};

use crate::chart::{Bar, Chart, Group};

/// The numbers of releases that are compared.
const CHOICES: [u32; 9] = [0, 1, 2, 3, 5, 8, 13, 21, 34];
/// Requests of a pull beside those for blobs: the token, the manifest, its config, two places with deltas.
const PULL_REQUESTS: f64 = 5.0;
/// Requests to plan a repository, beside two for each release: the pages of tags, and the deltas of the newest one.
const PLAN_REQUESTS: f64 = 4.0;
/// Requests to publish the delta of one update: blobs and manifests are looked for, put, and listed.
const PUBLISH_REQUESTS: f64 = 24.0;
/// Bytes of the entry of an artifact in the list of what refers to an image.
const ENTRY_BYTES: f64 = 700.0;
const TITLE: &str = "Cost of a release, by the number of releases that deltas lead from";
const CAPTION: &str =
    "Traffic, storage and CPU by the prices in the table of assumptions; 0 is without deltas.";

/// The assumptions.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Assumptions {
    /// Repositories
    #[arg(long, default_value_t = 10_000.0, value_name = "N")]
    pub repositories: f64,
    /// Tags of each, which are releases
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub tags: u32,
    /// Hosts that run each of them
    #[arg(long, default_value_t = 100.0, value_name = "N")]
    pub hosts: f64,
    /// Megabytes of an image, compressed
    #[arg(long, default_value_t = 150.0, value_name = "MB")]
    pub image: f64,
    /// The share of an image's blobs that a release changes
    #[arg(long, default_value_t = 0.4, value_name = "SHARE")]
    pub change: f64,
    /// The share of these blobs that a delta from the release before has
    #[arg(long, default_value_t = 0.05, value_name = "SHARE")]
    pub ratio: f64,
    /// The power of the number of releases by which a delta from further back grows
    #[arg(long, default_value_t = 0.6, value_name = "POWER")]
    pub growth: f64,
    /// The share of hosts that skip no release; so many of the others skip one, and so on
    #[arg(long, default_value_t = 0.6, value_name = "SHARE")]
    pub prompt: f64,
    /// Layers of which a release changes blobs
    #[arg(long, default_value_t = 3.0, value_name = "N")]
    pub layers: f64,
    /// Seconds of CPU to make the deltas of a megabyte of blobs
    #[arg(long, default_value_t = 0.3, value_name = "SECONDS")]
    pub cpu: f64,
    /// The price of a gigabyte that is sent
    #[arg(long, default_value_t = 0.05, value_name = "PRICE")]
    pub traffic_price: f64,
    /// The price of a gigabyte that is stored until the next release
    #[arg(long, default_value_t = 0.02, value_name = "PRICE")]
    pub storage_price: f64,
    /// The price of an hour of a CPU
    #[arg(long, default_value_t = 0.04, value_name = "PRICE")]
    pub cpu_price: f64,
}

/// The result for one number of releases: of one release of each repository.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The number of releases that deltas lead from.
    pub last: u32,
    /// Gigabytes that hosts fetch.
    pub sent: f64,
    /// Gigabytes of deltas.
    pub stored: f64,
    /// Hours of CPU to make them.
    pub cpu_hours: f64,
    /// Millions of requests of hosts and publishers.
    pub requests: f64,
    /// Kilobytes of the list of what refers to an image.
    pub list: f64,
    /// The price of all that.
    pub price: f64,
}

impl Default for Assumptions {
    /// Those of the command without options.
    fn default() -> Self {
        let command = Self::augment_args(clap::Command::new("fleet"));
        let matches = command.get_matches_from(["fleet"]);
        Self::from_arg_matches(&matches).expect("every option has a default")
    }
}

impl Assumptions {
    /// The share of an image's blobs that a host lacks which is so many releases behind.
    fn lacking(&self, behind: u32) -> f64 {
        1.0 - (1.0 - self.change).powi(i32::try_from(behind).unwrap_or(i32::MAX))
    }

    /// The share of those that a delta has.
    fn delta(&self, behind: u32) -> f64 {
        (self.ratio * f64::from(behind).powf(self.growth)).min(1.0)
    }

    /// The share of hosts that are so many releases behind; all that are further behind count for the oldest.
    fn hosts_behind(&self, behind: u32) -> f64 {
        let skipped = (1.0 - self.prompt).powi(i32::try_from(behind - 1).unwrap_or(i32::MAX));
        if behind == self.oldest() { skipped } else { skipped * self.prompt }
    }

    fn oldest(&self) -> u32 {
        self.tags.saturating_sub(1).max(1)
    }

    /// Calculates the choices.
    pub fn choices(&self) -> Vec<Choice> {
        let all = self.oldest();
        CHOICES.into_iter().filter(|last| *last < all).chain([all]).map(|last| self.choice(last)).collect()
    }

    fn choice(&self, last: u32) -> Choice {
        let (image, mut sent, mut stored, mut cpu) = (self.image / 1e3, 0.0, 0.0, 0.0);
        for behind in 1..=self.oldest() {
            let blobs = image * self.lacking(behind);
            let delta = if behind <= last { blobs * self.delta(behind) } else { blobs };
            sent += self.hosts * self.hosts_behind(behind) * delta;
            if behind <= last {
                stored += delta;
                cpu += blobs * 1e3 * self.cpu / 3600.0;
            }
        }
        let of_hosts = self.hosts * (PULL_REQUESTS + self.layers);
        let of_publisher =
            if last == 0 { 0.0 } else { PLAN_REQUESTS + f64::from(last) * (2.0 + PUBLISH_REQUESTS) };
        let many = self.repositories;
        let price = sent * self.traffic_price + stored * self.storage_price + cpu * self.cpu_price;
        Choice {
            last,
            sent: many * sent,
            stored: many * stored,
            cpu_hours: many * cpu,
            requests: many * (of_hosts + of_publisher) / 1e6,
            // One for all clients, one with tardf3 deltas, and one with recipes.
            list: if last == 0 { 0.0 } else { (2.0 * f64::from(last) + 1.0) * ENTRY_BYTES / 1e3 },
            price: many * price,
        }
    }
}

/// Returns the choice with the lowest price.
pub fn cheapest(choices: &[Choice]) -> Option<&Choice> {
    choices.iter().min_by(|one, other| one.price.total_cmp(&other.price))
}

/// Returns the table of the choices, as Markdown.
pub fn markdown(assumptions: &Assumptions, choices: &[Choice]) -> String {
    let of = assumptions;
    let mut text = format!(
        "For one release of each of {} repositories with {} tags. Assumed: {} hosts for each repository, {} MB an image, {} of \
         it changed by a release, a delta of {} of that from the release before and {:.2} times as much from two before, {} of \
         the hosts skip no release, {} s of CPU for a MB.\n\n",
        of.repositories,
        of.tags,
        of.hosts,
        of.image,
        of.change,
        of.ratio,
        2.0_f64.powf(of.growth),
        of.prompt,
        of.cpu,
    );
    text += "| deltas from the last | sent, GB | stored, GB | CPU hours | requests, millions | list of an image, kB | price |\n";
    text += "|--:|--:|--:|--:|--:|--:|--:|\n";
    let best = cheapest(choices).map(|best| best.last);
    for choice in choices {
        let mark = if best == Some(choice.last) { " (lowest)" } else { "" };
        // A String takes everything.
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0}{mark} |",
            choice.last,
            choice.sent,
            choice.stored,
            choice.cpu_hours,
            choice.requests,
            choice.list,
            choice.price
        );
    }
    text
}

/// Returns the picture of the prices.
pub fn svg(choices: &[Choice]) -> String {
    let most = choices.iter().map(|choice| choice.price).fold(f64::MIN_POSITIVE, f64::max);
    let best = cheapest(choices).map(|best| best.last);
    let group = |choice: &Choice| Group {
        name: format!("the last {}", choice.last),
        bars: vec![Bar {
            class: if best == Some(choice.last) { "through" } else { "pull" },
            label: "price",
            value: format!("{:.0}", choice.price),
            share: choice.price / most,
        }],
    };
    Chart { title: TITLE, caption: CAPTION, groups: choices.iter().map(group).collect() }.svg()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        assumptions: Assumptions,
    }

    fn assumptions(line: &str) -> Assumptions {
        Line::parse_from(["fleet"].into_iter().chain(line.split_whitespace())).assumptions
    }

    #[test]
    fn every_host_is_counted_once() {
        for line in ["", "--tags 2", "--prompt 1", "--prompt 0", "--tags 1"] {
            let of = assumptions(line);
            let share: f64 = (1..=of.oldest()).map(|behind| of.hosts_behind(behind)).sum();
            assert!((share - 1.0).abs() < 1e-9, "{line}: {share}");
        }
    }

    #[test]
    fn more_deltas_send_less_and_store_more() {
        let choices = assumptions("").choices();
        assert_eq!(
            choices.iter().map(|choice| choice.last).collect::<Vec<_>>(),
            [0, 1, 2, 3, 5, 8, 13, 21, 34, 49]
        );
        for pair in choices.windows(2) {
            assert!(pair[0].sent > pair[1].sent && pair[0].stored < pair[1].stored, "{pair:?}");
        }
        let first = &choices[0];
        assert_eq!((first.stored, first.cpu_hours, first.list), (0.0, 0.0, 0.0));
        // All hosts are one release behind and fetch what it changes: 10,000 x 100 x 150 MB x 0.4.
        let prompt = assumptions("--prompt 1").choices();
        assert!((prompt[0].sent - 60_000.0).abs() < 1e-6);
        assert!((prompt[1].sent - 3_000.0).abs() < 1e-6);
        assert_eq!(cheapest(&prompt).unwrap().last, 1, "nobody needs others");
    }

    #[test]
    fn few_hosts_are_no_reason_for_many_deltas() {
        let last = |line: &str| cheapest(&assumptions(line).choices()).unwrap().last;
        assert!(last("--hosts 1") < last("--hosts 10000"));
        assert_eq!(last("--hosts 0.001 --traffic-price 0.01"), 0);
    }

    #[test]
    fn table_and_picture_show_each_choice() {
        let of = assumptions("--tags 4");
        let choices = of.choices();
        let table = markdown(&of, &choices);
        assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 1 + choices.len(), "{table}");
        assert_eq!(table.matches("(lowest)").count(), 1);
        assert_eq!(svg(&choices).matches("class=\"through\"").count(), 1);
    }
}
