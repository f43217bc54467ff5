//! Measures the growth of time and memory with a layer: pairs of growing size, made, applied and checked.
//!
//! Two series. One has more and more small files, which would show a search that compares each with
//! each, and tables that are read again for each file. The other has one file that grows, which would
//! show anything that is held whole. Each step is four times the one before; where the time per byte
//! grows by more than a factor from one step to the next, the proof fails. What is quadratic grows by
//! four.

mod layers;

use std::fs;

use serde::Serialize;

use crate::launch::Usage;
use crate::table::{aligned, megabytes, multiple};
use crate::{Error, Ours, Result};
use layers::{Content, Side};

/// The factor by which each step is larger than the one before.
const STEP: u64 = 4;

/// A measurement of growth: the tools, and the number of steps.
#[derive(Debug)]
pub struct Growth<'g> {
    /// The commands. There has to be room for three of the largest layers.
    pub ours: Ours<'g>,
    /// Files of the last step; 0 leaves the series out.
    pub files: u64,
    /// Bytes of the one file in the last step; 0 leaves the series out.
    pub file_size: u64,
    /// Steps of each series.
    pub steps: u32,
}

/// The figures of a measurement, step by step.
#[derive(Debug, Clone, Serialize)]
pub struct GrowthReport {
    /// The preset of tar-diff.
    pub preset: String,
    /// All steps, series by series, each from small to large.
    pub steps: Vec<GrowthStep>,
}

/// One pair.
#[derive(Debug, Clone, Serialize)]
pub struct GrowthStep {
    /// The property of the layer that grows.
    pub series: Series,
    /// Files of the new layer.
    pub files: u64,
    /// Bytes of the new layer.
    pub size: u64,
    /// Bytes of the delta.
    pub delta_size: u64,
    /// The cost of tar-diff, verification included.
    pub make: Usage,
    /// The cost of tar-patch, the check of the digest included.
    pub apply: Usage,
}

/// The property of a layer that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Series {
    /// The number of small files.
    Files,
    /// The size of the only file.
    FileSize,
}

impl Growth<'_> {
    /// Runs both series. `progress` is told what each pair holds.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Yardstick`] if a command fails; a delta that gives another layer is one
    /// of these failures.
    pub fn run(&self, progress: &dyn Fn(&str)) -> Result<GrowthReport> {
        let mut steps = Vec::new();
        for (series, last) in [(Series::Files, self.files), (Series::FileSize, self.file_size)] {
            let sizes = (0..self.steps).rev().map(|back| last / STEP.saturating_pow(back));
            for size in sizes.filter(|size| *size > 0) {
                progress(&match series {
                    Series::Files => format!("{size} files"),
                    Series::FileSize => format!("one file of {} MB", megabytes(size)),
                });
                steps.push(self.step(series, size)?);
            }
        }
        Ok(GrowthReport { preset: self.ours.preset.to_owned(), steps })
    }

    fn step(&self, series: Series, size: u64) -> Result<GrowthStep> {
        let content = match series {
            Series::Files => Content::Files(size),
            Series::FileSize => Content::OneFile(size),
        };
        let dir = self.ours.directory()?;
        let [old, new, delta, out] =
            ["old.tar", "new.tar", "delta", "out.tar"].map(|name| dir.path().join(name));
        layers::write(&old, content, Side::Old)?;
        let written = layers::write(&new, content, Side::New)?;
        let make = self.ours.diff(&old, &new, &delta)?;
        // What is applied is compared by its digest; the layer itself only takes room.
        fs::remove_file(&new).map_err(Error::io("remove", &new))?;
        let diff_id = written.diff_id.to_string();
        let apply = self.ours.run(
            "tar-patch",
            &[
                "--quiet".as_ref(),
                "--diff-id".as_ref(),
                diff_id.as_ref(),
                delta.as_ref(),
                old.as_ref(),
                out.as_ref(),
            ],
        )?;
        let delta_size = fs::metadata(&delta).map_err(Error::io("read", &delta))?.len();
        let files = if series == Series::Files { size } else { 1 };
        Ok(GrowthStep { series, files, size: written.size, delta_size, make, apply })
    }
}

/// Gives what one of the commands took.
type Took = fn(&GrowthStep) -> Usage;

/// Both commands by name.
const COMMANDS: [(&str, Took); 2] = [("tar-diff", |step| step.make), ("tar-patch", |step| step.apply)];

impl GrowthStep {
    fn cpu_per_byte(&self, of: Took) -> f64 {
        of(self).cpu / self.size as f64
    }
}

impl GrowthReport {
    /// Each step but the first of its series, with the one before.
    fn pairs(&self) -> impl Iterator<Item = (&GrowthStep, &GrowthStep)> {
        let pairs = self.steps.windows(2).map(|pair| (&pair[0], &pair[1]));
        pairs.filter(|(before, step)| before.series == step.series)
    }

    /// Returns true if no step took more than `most` times as much CPU per byte as the one before.
    ///
    /// # Errors
    /// [`Error::Grew`] with the first that did.
    pub fn check(&self, most: f64) -> Result<()> {
        for (before, step) in self.pairs() {
            for (what, of) in COMMANDS {
                let growth = step.cpu_per_byte(of) / before.cpu_per_byte(of);
                if growth > most {
                    return Err(Error::Grew { what, growth, most, from: before.size, to: step.size });
                }
            }
        }
        Ok(())
    }

    /// The steps as aligned columns that are Markdown as well.
    pub fn table(&self) -> String {
        let head = [
            "files",
            "MB",
            "delta MB",
            "tar-diff: CPU s",
            "per byte",
            "ms/MB",
            "µs/file",
            "peak MB",
            "tar-patch: CPU s",
            "per byte",
            "ms/MB",
            "µs/file",
            "peak MB",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for (index, step) in self.steps.iter().enumerate() {
            let before = index.checked_sub(1).map(|before| &self.steps[before]);
            let before = before.filter(|before| before.series == step.series);
            let mut row = vec![step.files.to_string(), megabytes(step.size), megabytes(step.delta_size)];
            for (_, of) in COMMANDS {
                let usage = of(step);
                let growth = before.map(|before| step.cpu_per_byte(of) / before.cpu_per_byte(of));
                row.extend([
                    format!("{:.2}", usage.cpu),
                    growth.map_or_else(|| "-".into(), multiple),
                    format!("{:.2}", 1e9 * step.cpu_per_byte(of)),
                    format!("{:.1}", 1e6 * usage.cpu / step.files as f64),
                    format!("{:.0}", usage.peak as f64 / 1e6),
                ]);
            }
            rows.push(row);
        }
        aligned(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(series: Series, size: u64, cpu: f64) -> GrowthStep {
        let usage = Usage { cpu, wall: cpu, peak: 10_000_000 };
        GrowthStep { series, files: size / 1000, size, delta_size: 5, make: usage, apply: usage }
    }

    #[test]
    fn what_is_quadratic_fails() {
        let report = |cpu: [f64; 3]| GrowthReport {
            preset: "fast".into(),
            steps: vec![
                step(Series::Files, 1_000_000, cpu[0]),
                step(Series::Files, 4_000_000, cpu[1]),
                // Another series, with which nothing is compared.
                step(Series::FileSize, 4_000_000, cpu[2]),
            ],
        };
        report([1.0, 4.0, 99.0]).check(1.5).unwrap();
        let error = report([1.0, 16.0, 1.0]).check(2.0).unwrap_err();
        let told = "tar-diff takes 4.00 times the CPU per byte at 4000000 bytes of what it takes at 1000000";
        assert!(error.to_string().starts_with(told), "{error}");
    }

    #[test]
    fn the_table_has_a_line_for_each_step() {
        let steps = vec![step(Series::Files, 1_000_000, 0.1), step(Series::Files, 4_000_000, 0.2)];
        let table = GrowthReport { preset: "fast".into(), steps }.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[3].contains(" 0.50x |") && lines[3].contains(" 50.00 |"), "{table}");
    }
}
