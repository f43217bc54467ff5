//! Errors around a measurement. A tool that fails is a result, not an error.

use std::io;
use std::path::{Path, PathBuf};

/// The reason why nothing could be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of ours or of the user's.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The step that was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The error of it.
        source: io::Error,
    },
    /// A layer cannot be read.
    #[error("cannot read a layer")]
    Layer(#[from] layer::Error),
    /// A delta cannot be made in this process.
    #[error("cannot make a delta")]
    Diff(#[from] tar_diff::Error),
    /// A delta cannot be read or explained in this process.
    #[error("cannot read a delta")]
    Explain(#[from] explain::Error),
    /// A JSON file is not what it should be.
    #[error("cannot understand {}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The place of the fault and the reason.
        source: serde_json::Error,
    },
    /// A directory that holds no layer pair.
    #[error("{} holds no old.tar and new.tar (plain or compressed), and no directories that do", .0.display())]
    NoPair(PathBuf),
    /// A reference tool that fails has no multiples.
    #[error("cannot measure {what}: {reason}")]
    Yardstick {
        /// The command.
        what: &'static str,
        /// The reason.
        reason: String,
    },
    /// A command takes longer for each byte of a large layer than of a small one.
    #[error(
        "{what} takes {growth:.2} times the CPU per byte at {to} bytes of what it takes at {from}; \
         {most} times is the most"
    )]
    Grew {
        /// The command.
        what: &'static str,
        /// The factor by which it takes more.
        growth: f64,
        /// The factor by which it may take more.
        most: f64,
        /// Bytes of the smaller new layer.
        from: u64,
        /// Bytes of the larger one.
        to: u64,
    },
    /// Applying takes more than it may.
    #[error(
        "applying the delta of {pair} takes {takes:.2} times the CPU of sha256sum; {most} times is the most"
    )]
    Dear {
        /// The pair.
        pair: String,
        /// The cost.
        takes: f64,
        /// The highest cost that is allowed.
        most: f64,
    },
    /// A baseline that names no tool of the run.
    #[error("no tool is called {name:?}; there are: {known}")]
    UnknownTool {
        /// The thing that was asked for.
        name: String,
        /// The things that there are.
        known: String,
    },
}

/// The result of a function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err` on what touches a file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
