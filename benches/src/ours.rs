//! Runs of our own commands, for measurements of one preset.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use tempfile::TempDir;

use crate::launch::{Launcher, Step, Usage};
use crate::{Error, Result};

/// Our own commands, and the place and the preset that they work with.
#[derive(Debug)]
pub struct Ours<'o> {
    /// Runs the commands.
    pub launcher: Launcher<'o>,
    /// The directory of tar-diff and tar-patch.
    pub bin_dir: &'o Path,
    /// A directory with room for layers and deltas; each measurement says for how many.
    pub work_dir: &'o Path,
    /// The preset of tar-diff.
    pub preset: &'o str,
}

impl Ours<'_> {
    /// Returns the same, with each command run once.
    pub(crate) fn once(&self) -> Self {
        let launcher = Launcher { repeat: 1, program: self.launcher.program.clone(), ..self.launcher };
        Self { launcher, ..*self }
    }

    /// Makes a directory for one measurement.
    pub(crate) fn directory(&self) -> Result<TempDir> {
        tempfile::tempdir_in(self.work_dir).map_err(Error::io("create a directory in", self.work_dir))
    }

    /// Makes a delta.
    pub(crate) fn diff(&self, old: &Path, new: &Path, delta: &Path) -> Result<Usage> {
        let options: [&OsStr; 3] = ["--quiet".as_ref(), "--preset".as_ref(), self.preset.as_ref()];
        let paths: [&OsStr; 3] = [old.as_ref(), new.as_ref(), delta.as_ref()];
        self.run("tar-diff", &[options, paths].concat())
    }

    /// Runs one of the commands. Its failure is the error.
    pub(crate) fn run(&self, what: &'static str, arguments: &[&OsStr]) -> Result<Usage> {
        let mut command = vec![self.bin_dir.join(what).into_os_string()];
        command.extend(arguments.iter().map(OsString::from));
        self.step(what, &Step { command, ..Step::default() })
    }

    /// Runs any command. Its failure is the error.
    pub(crate) fn step(&self, what: &'static str, step: &Step) -> Result<Usage> {
        self.launcher.run(step)?.map_err(|reason| Error::Yardstick { what, reason })
    }
}
