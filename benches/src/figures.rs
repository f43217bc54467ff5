//! Figures of tools that cannot be run here, given in a file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::report::{Cost, Figures, Outcome, Run};
use crate::{Error, Result};

/// One tool's figures for one pair.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Quoted {
    name: String,
    /// In bytes.
    delta_size: u64,
    /// Processor time as a multiple of `gzip -6 -n < new.tar`.
    cpu_over_gzip: f64,
    /// The same of the time by the clock.
    wall_over_gzip: Option<f64>,
    /// In MB (10^6 bytes).
    peak_mb: f64,
}

/// One tool or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Quoted),
    Many(Vec<Quoted>),
}

/// Reads figures by pair: `{"PAIR": {"name": …, "delta_size": …, "cpu_over_gzip": …, "peak_mb": …}}`,
/// or a list of such objects for each pair. `wall_over_gzip` may be given too.
///
/// # Errors
/// [`Error::Io`] or [`Error::Json`].
pub fn quoted_runs(path: &Path) -> Result<BTreeMap<String, Vec<Run>>> {
    let json = std::fs::read(path).map_err(Error::io("read", path))?;
    let by_pair: BTreeMap<String, OneOrMany> =
        serde_json::from_slice(&json).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    Ok(by_pair.into_iter().map(|(pair, quoted)| (pair, quoted.runs())).collect())
}

impl OneOrMany {
    fn runs(self) -> Vec<Run> {
        let many = match self {
            Self::One(quoted) => vec![quoted],
            Self::Many(many) => many,
        };
        many.into_iter().map(Quoted::run).collect()
    }
}

impl Quoted {
    fn run(self) -> Run {
        #[expect(clippy::cast_possible_truncation, reason = "a file of figures is no place for exabytes")]
        #[expect(clippy::cast_sign_loss, reason = "saturates at 0")]
        let peak = (self.peak_mb * 1e6) as u64;
        let make = Cost { cpu: self.cpu_over_gzip, wall: self.wall_over_gzip, peak };
        let figures =
            Figures { delta_size: self.delta_size, make, apply: None, kinds: Vec::new(), is_quoted: true };
        Run { tool: self.name, outcome: Outcome::Done(figures) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_or_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("figures.json");
        let one = r#"{"name": "t", "delta_size": 5, "cpu_over_gzip": 2.5, "peak_mb": 1.5}"#;
        std::fs::write(&path, format!(r#"{{"a": {one}, "b": [{one}, {one}]}}"#)).unwrap();
        let runs = quoted_runs(&path).unwrap();
        assert_eq!((runs["a"].len(), runs["b"].len()), (1, 2));
        let Outcome::Done(figures) = &runs["a"][0].outcome else { panic!("{runs:?}") };
        assert_eq!((figures.delta_size, figures.make.peak, figures.is_quoted), (5, 1_500_000, true));
        std::fs::write(&path, r#"{"a": {"name": "t"}}"#).unwrap();
        assert!(matches!(quoted_runs(&path), Err(Error::Json { .. })));
    }
}
