//! The part of the commands of this project that deals with the terminal.
//!
//! - [`args`]: options spelled as Go's flag package spells them.
//! - [`text`]: the only ways by which text gets to a terminal.
//! - [`destination`]: where outputs go, and what is not written to.
//! - [`output`]: a file that appears under its name whole or not at all.
//! - [`mod@report`]: an error and its causes on one line of stderr.
//! - [`progress`]: bars, where somebody is looking.
//! - [`generate`]: shell completions and the manual page.
//! - [`interrupt`]: what Ctrl-C does.
//! - [`resources`]: what the process has used.
//! - [`version`]: what `--version` shows.
//!
//! Only the `main.rs` side of a command uses this crate; the libraries do not know that there is a
//! terminal.

pub mod args;
pub mod destination;
pub mod generate;
pub mod interrupt;
pub mod output;
pub mod progress;
pub mod report;
pub mod resources;
pub mod text;
pub mod version;

pub use args::{go_style, parse};
pub use interrupt::on_interrupt;
pub use output::Output;
pub use progress::{Bar, Progress};
pub use report::{Misuse, report};
pub use text::{LogWriter, Text, warn};
