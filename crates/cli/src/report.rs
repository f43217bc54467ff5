//! The report of a command about what went wrong.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io;
use std::path::Path;
use std::process::ExitCode;

use crate::Text;
use crate::output::StdoutClosed;

/// Exit code of a command whose reader went away: what a shell shows for a program that SIGPIPE
/// ended (128 + 13).
pub const STDOUT_CLOSED: u8 = 141;

/// Exit code of a command that was called wrongly, as clap has it.
pub const WRONG_USAGE: u8 = 2;

/// Arguments that are well written and still cannot be meant: the text says why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misuse(pub String);

impl fmt::Display for Misuse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Error for Misuse {}

/// Writes `PROGRAM: error: WHAT: CAUSE: CAUSE` to stderr and gives `code` as the exit code.
///
/// If the disk is full and the text names `temp_dir`, it also says what to do about that. A [`Misuse`]
/// has the code [`WRONG_USAGE`] whatever `code` is.
///
/// If the error comes from a stdout that nobody reads any more (`tool - | head`), nothing is
/// written and the code is [`STDOUT_CLOSED`], as with other Unix tools.
pub fn report(program: &str, error: &(dyn Error + 'static), code: u8, temp_dir: &Path) -> ExitCode {
    if is_stdout_closed(error) {
        return ExitCode::from(STDOUT_CLOSED);
    }
    let advice = advice(error, temp_dir);
    Text::of(format_args!("{program}: error: {}{advice}", one_line(error))).print_to_stderr();
    ExitCode::from(if causes(error).any(|cause| cause.is::<Misuse>()) { WRONG_USAGE } else { code })
}

/// The way out where there is no room for temporary files, which may be elsewhere than the output.
fn advice(error: &(dyn Error + 'static), temp_dir: &Path) -> String {
    let is_full = |cause: &(dyn Error + 'static)| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    };
    let temp_dir = temp_dir.display().to_string();
    if causes(error).any(is_full) && one_line(error).contains(&temp_dir) {
        format!("; make room in {temp_dir}, or name another directory with --tmp-dir")
    } else {
        String::new()
    }
}

/// The error and its causes, joined by `: `. A cause whose text the one before it ends with is
/// not repeated.
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    for cause in causes(error).skip(1) {
        let text = cause.to_string();
        if !line.ends_with(&text) {
            // A String takes everything.
            let _ = write!(line, ": {text}");
        }
    }
    line
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn is_stdout_closed(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.is::<StdoutClosed>() || inner.is_some_and(|inner| inner.is::<StdoutClosed>())
    })
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layered(&'static str, Option<io::Error>);

    impl fmt::Display for Layered {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
    }

    impl Error for Layered {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_ref().map(|error| error as _)
        }
    }

    #[test]
    fn causes_follow_on_the_same_line() {
        let inner = io::Error::new(io::ErrorKind::NotFound, Layered("no such file", None));
        let outer = Layered("cannot open x", Some(inner));
        assert_eq!(one_line(&outer), "cannot open x: no such file");
        let repeated = io::Error::other(Layered("b", None));
        assert_eq!(one_line(&Layered("a: b", Some(repeated))), "a: b");
    }

    #[test]
    fn a_full_temporary_directory_has_its_way_out() {
        let full = || Some(io::Error::from(io::ErrorKind::StorageFull));
        let of_temp = Layered("cannot write a temporary file in /scratch", full());
        assert!(advice(&of_temp, Path::new("/scratch")).contains("--tmp-dir"));
        assert_eq!(advice(&Layered("cannot write out.tar", full()), Path::new("/scratch")), "");
        let denied = Some(io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(advice(&Layered("cannot write /scratch/x", denied), Path::new("/scratch")), "");
    }

    #[test]
    fn only_a_closed_stdout_is_silent() {
        let closed = io::Error::new(io::ErrorKind::BrokenPipe, StdoutClosed);
        assert!(is_stdout_closed(&Layered("cannot write the output", Some(closed))));
        let socket = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(!is_stdout_closed(&Layered("cannot send", Some(socket))));
        assert!(!is_stdout_closed(&Layered("other", None)));
    }
}
