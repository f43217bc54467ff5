//! The results: what `benches measure --json` writes, and what table and page are made of.

use serde::{Deserialize, Serialize};

use crate::kinds::KindShare;

/// All results of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Cores and processor, for those who compare.
    pub machine: String,
    /// The tools that took part, in the order of their columns.
    pub tools: Vec<ToolInfo>,
    /// Pair by pair.
    pub pairs: Vec<PairReport>,
    /// The tool that the means are ratios to; `None`: the new layer compressed by `gzip -6`.
    pub baseline: Option<String>,
    /// Geometric means over the pairs.
    pub means: Vec<Mean>,
}

/// The project that a tool belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// tar-diff of this workspace.
    Ours,
    /// Another maker of tar-diff deltas.
    TarDiff,
    /// A differ that knows no layers and takes the two tars as two files.
    WholeFile,
}

/// A tool that took part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToolInfo {
    /// Its name in the results; unique.
    pub name: String,
    /// The project that it belongs to.
    pub group: Group,
    /// Its command line.
    pub command: String,
}

/// The results of one pair.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PairReport {
    /// The name of the pair.
    pub name: String,
    /// A line that says it to people, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Size of the uncompressed new tar in bytes.
    pub new_size: u64,
    /// Size of the new layer as a registry serves it, in bytes: what a pull without delta costs.
    pub layer_size: u64,
    /// The costs that others are multiples of.
    pub yardstick: Yardstick,
    /// Tool by tool.
    pub runs: Vec<Run>,
}

/// The costs that those of a pair are multiples of, measured in the same run. In seconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Yardstick {
    /// Processor time of `gzip -6 -n < new.tar`.
    pub gzip_cpu: f64,
    /// Processor time of `sha256sum < new.tar`.
    pub sha256_cpu: f64,
    /// Time by the clock of the same.
    pub sha256_wall: f64,
}

/// The run of one tool with one pair.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The name of the tool.
    pub tool: String,
    /// Its outcome.
    pub outcome: Outcome,
}

/// The outcome of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A delta whose result was the new tar.
    Done(Figures),
    /// No delta, or a wrong one, and why.
    Failed(String),
}

/// The figures of a run that went well.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// Size of the delta in bytes.
    pub delta_size: u64,
    /// The cost of making it: multiples of the processor time of gzip.
    pub make: Cost,
    /// The cost of applying it: multiples of sha256sum, CPU of CPU and wall of wall. `None` where it
    /// was not measured here.
    pub apply: Option<Cost>,
    /// The bytes of a tar-diff delta by kind of file; empty for others.
    pub kinds: Vec<KindShare>,
    /// True if the figures were given and not measured.
    pub is_quoted: bool,
}

/// The cost of a command.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Cost {
    /// Processor time as a multiple of the yardstick.
    pub cpu: f64,
    /// Time by the clock as a multiple of the yardstick.
    pub wall: Option<f64>,
    /// Most memory in bytes.
    pub peak: u64,
}

/// Geometric means of one tool over the pairs that it and the baseline did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mean {
    /// The tool.
    pub tool: String,
    /// Over how many pairs.
    pub pairs: usize,
    /// Size of the delta as a ratio to the baseline's.
    pub size: f64,
    /// Processor time, likewise.
    pub cpu: f64,
    /// Time by the clock, where both have it.
    pub wall: Option<f64>,
    /// Peak memory. Without a baseline: in bytes.
    pub peak: f64,
}

impl Report {
    /// Fills in the means over the pairs.
    pub fn set_means(&mut self) {
        let means = self.tools.iter().filter_map(|tool| self.mean(&tool.name)).collect();
        self.means = means;
    }

    /// Lists the tools whose figures were given.
    pub fn add_quoted_tools(&mut self) {
        for run in self.pairs.iter().flat_map(|pair| &pair.runs) {
            if !self.tools.iter().any(|tool| tool.name == run.tool) {
                let group = if run.tool.contains("tar-diff") { Group::TarDiff } else { Group::WholeFile };
                let command = "not run here: the figures were given".to_owned();
                self.tools.push(ToolInfo { name: run.tool.clone(), group, command });
            }
        }
    }

    /// Returns the project that a tool belongs to.
    pub fn group(&self, tool: &str) -> Group {
        self.tools.iter().find(|info| info.name == tool).map_or(Group::WholeFile, |info| info.group)
    }

    fn mean(&self, tool: &str) -> Option<Mean> {
        let mut size = Vec::new();
        let (mut cpu, mut wall, mut peak) = (Vec::new(), Vec::new(), Vec::new());
        for pair in &self.pairs {
            let Some(of_tool) = pair.figures(tool) else { continue };
            let (base_size, base_cpu, base_wall, base_peak) = match &self.baseline {
                None => (pair.layer_size, 1.0, Some(1.0), 1),
                Some(name) => match pair.figures(name) {
                    Some(of) => (of.delta_size, of.make.cpu, of.make.wall, of.make.peak),
                    None => continue,
                },
            };
            size.push(of_tool.delta_size as f64 / base_size as f64);
            cpu.push(of_tool.make.cpu / base_cpu);
            wall.extend(of_tool.make.wall.zip(base_wall).map(|(of_tool, base)| of_tool / base));
            peak.push(of_tool.make.peak as f64 / base_peak as f64);
        }
        Some(Mean {
            tool: tool.to_owned(),
            pairs: size.len(),
            size: geometric_mean(&size)?,
            cpu: geometric_mean(&cpu)?,
            wall: geometric_mean(&wall),
            peak: geometric_mean(&peak)?,
        })
    }
}

impl PairReport {
    /// The figures of a tool, if it succeeded.
    pub fn figures(&self, tool: &str) -> Option<&Figures> {
        self.done().find(|(name, _)| *name == tool).map(|(_, figures)| figures)
    }

    /// The tools that succeeded, and their figures.
    pub fn done(&self) -> impl Iterator<Item = (&str, &Figures)> {
        self.runs.iter().filter_map(|run| match &run.outcome {
            Outcome::Done(figures) => Some((run.tool.as_str(), figures)),
            Outcome::Failed(_) => None,
        })
    }

    /// The tools that no other tool beats in both size and processor time, fastest first.
    pub fn pareto_front(&self) -> Vec<&str> {
        let mut by_cpu: Vec<_> = self.done().collect();
        by_cpu.sort_by(|(_, left), (_, right)| {
            left.make.cpu.total_cmp(&right.make.cpu).then(left.delta_size.cmp(&right.delta_size))
        });
        let mut least = u64::MAX;
        let is_on_front = |(_, figures): &(&str, &Figures)| {
            let is_smaller = figures.delta_size < least;
            least = least.min(figures.delta_size);
            is_smaller
        };
        by_cpu.into_iter().filter(is_on_front).map(|(name, _)| name).collect()
    }
}

fn geometric_mean(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (sum / values.len() as f64).exp())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn figures(delta_size: u64, cpu: f64, peak: u64) -> Outcome {
        let make = Cost { cpu, wall: Some(cpu / 2.0), peak };
        Outcome::Done(Figures { delta_size, make, apply: None, kinds: Vec::new(), is_quoted: false })
    }

    pub(crate) fn example() -> Report {
        let run = |tool: &str, outcome| Run { tool: tool.into(), outcome };
        let pair = |name: &str, runs| PairReport {
            name: name.into(),
            about: None,
            new_size: 4000,
            layer_size: 1000,
            yardstick: Yardstick { gzip_cpu: 1.0, sha256_cpu: 1.0, sha256_wall: 1.0 },
            runs,
        };
        let tool = |name: &str| ToolInfo {
            name: name.into(),
            group: Group::WholeFile,
            command: format!("{name} OLD NEW DELTA"),
        };
        let failed = Outcome::Failed("exit status 1".into());
        let mut report = Report {
            machine: "test".into(),
            tools: ["a", "b", "c"].map(tool).into(),
            pairs: vec![
                pair("x", vec![run("a", figures(100, 2.0, 10)), run("b", figures(50, 4.0, 40))]),
                pair("y", vec![run("a", figures(100, 2.0, 10)), run("b", figures(200, 4.0, 10))]),
                pair("z", vec![run("a", figures(10, 2.0, 10)), run("b", failed)]),
            ],
            baseline: Some("a".into()),
            means: Vec::new(),
        };
        report.set_means();
        report
    }

    #[test]
    fn means_are_geometric_and_over_common_pairs() {
        let report = example();
        assert_eq!(report.means.iter().map(|mean| mean.tool.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let b = &report.means[1];
        assert_eq!(b.pairs, 2);
        for (actual, wanted) in [(b.size, 1.0), (b.cpu, 2.0), (b.wall.unwrap(), 2.0), (b.peak, 2.0)] {
            assert!((actual - wanted).abs() < 1e-9, "{b:?}");
        }
        let without = Report { baseline: None, ..report };
        assert!((without.mean("a").unwrap().size - (0.1 * 0.1 * 0.01f64).cbrt()).abs() < 1e-9);
    }

    #[test]
    fn the_front_leaves_out_what_is_beaten_twice() {
        let report = example();
        assert_eq!(report.pairs[0].pareto_front(), ["a", "b"]);
        assert_eq!(report.pairs[1].pareto_front(), ["a"]);
    }
}
