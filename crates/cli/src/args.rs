//! Options as Go's flag package spells them.
//!
//! Scripts call the Go tools with `-name value`, `-name=value`, `--name value` and `--name=value`.
//! clap takes the last two; the first two it would read as a cluster of short options.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};

use clap::{Arg, Command, Parser};
use delta_format::is_printable;

use crate::Text;

/// Reads the command line of the process, options as Go spells them included. Where that fails, or help
/// was asked for, this says so and ends the process.
pub fn parse<A: Parser>() -> A {
    let args = go_style(&A::command(), std::env::args_os());
    let are_printable = args.iter().all(|arg| arg.to_str().is_some_and(|arg| arg.chars().all(is_printable)));
    A::try_parse_from(args).unwrap_or_else(|error| {
        if are_printable || !error.use_stderr() {
            error.exit();
        }
        // The error repeats the argument: without colours, then.
        let mut text = Text::new();
        error.to_string().lines().for_each(|line| text.line(line));
        text.print_to_stderr();
        std::process::exit(error.exit_code())
    })
}

/// Gives `-name` and `-name=value` their second dash where `name` is a long option of `command` or
/// of one of its subcommands and has more than one letter.
///
/// The first of `args` is the program's name. Everything else stays as it is: short options,
/// values of options (even if they look like an option), `-`, and all that follows `--`.
/// Where `-name` could also be read as a cluster of short options, the long option is meant, as in
/// Go. An option that is in several subcommands must take a value in all of them or in none.
pub fn go_style(command: &Command, mut args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let options = Options::of(command);
    let mut styled: Vec<OsString> = args.next().into_iter().collect();
    while let Some(arg) = args.next() {
        if arg == "--" {
            styled.push(arg);
            break;
        }
        let value_follows = options.value_follows(&arg);
        styled.push(if options.lacks_a_dash(&arg) { with_dash(&arg) } else { arg });
        if value_follows {
            styled.extend(args.next());
        }
    }
    styled.extend(args);
    styled
}

fn with_dash(arg: &OsStr) -> OsString {
    let mut longer = OsString::from("-");
    longer.push(arg);
    longer
}

/// The options of a command and its subcommands; the values tell whether an option must be
/// followed by a value.
struct Options {
    long: HashMap<String, bool>,
    short: HashMap<char, bool>,
}

impl Options {
    fn of(command: &Command) -> Self {
        let mut command = command.clone();
        // Adds `help` and `version`, which clap leaves out until it parses.
        command.build();
        let mut options = Self { long: HashMap::new(), short: HashMap::new() };
        options.add(&command);
        options
    }

    fn add(&mut self, command: &Command) {
        for arg in command.get_arguments() {
            let takes_value = takes_value(arg);
            let names = arg.get_long_and_visible_aliases().into_iter().flatten();
            for name in names.chain(arg.get_all_aliases().into_iter().flatten()) {
                self.long.insert(name.to_owned(), takes_value);
            }
            let letters = arg.get_short_and_visible_aliases().into_iter().flatten();
            for letter in letters.chain(arg.get_all_short_aliases().into_iter().flatten()) {
                self.short.insert(letter, takes_value);
            }
        }
        command.get_subcommands().for_each(|subcommand| self.add(subcommand));
    }

    fn lacks_a_dash(&self, arg: &OsStr) -> bool {
        matches!(split(arg), Some((1, name, _)) if name.len() > 1 && self.long.contains_key(name))
    }

    /// Tells whether the argument after `arg` is the value of `arg`.
    fn value_follows(&self, arg: &OsStr) -> bool {
        match split(arg) {
            Some((dashes, name, has_value)) if dashes == 2 || self.lacks_a_dash(arg) => {
                !has_value && self.long.get(name) == Some(&true)
            }
            Some((_, cluster, has_value)) => !has_value && self.cluster_wants_value(cluster),
            None => false,
        }
    }

    /// Tells whether a cluster of short options ends with one whose value is not attached.
    fn cluster_wants_value(&self, cluster: &str) -> bool {
        let taker = cluster.char_indices().find(|(_, letter)| self.short.get(letter) != Some(&false));
        taker.is_some_and(|(at, letter)| {
            self.short.contains_key(&letter) && at + letter.len_utf8() == cluster.len()
        })
    }
}

fn takes_value(arg: &Arg) -> bool {
    let is_optional = arg.get_num_args().is_some_and(|count| count.min_values() == 0);
    arg.get_action().takes_values() && !is_optional && !arg.is_require_equals_set()
}

/// Dashes (1 or 2), name, and whether `=value` follows; `None` if `arg` is no option.
fn split(arg: &OsStr) -> Option<(usize, &str, bool)> {
    let bytes = arg.as_encoded_bytes();
    let dashes = bytes.iter().take_while(|&&byte| byte == b'-').count();
    let body = &bytes[dashes..];
    if !(1..=2).contains(&dashes) || body.is_empty() {
        return None;
    }
    let end = body.iter().position(|&byte| byte == b'=').unwrap_or(body.len());
    // A value may be any bytes, a name that is not UTF-8 names no option.
    let name = std::str::from_utf8(&body[..end]).ok()?;
    Some((dashes, name, end < body.len()))
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    fn command() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        Command::new("tool")
            .version("v1")
            .arg(Arg::new("compression-level").long("compression-level").alias("level").short('l'))
            .arg(flag("quiet").short('q'))
            .arg(Arg::new("color").long("color").num_args(0..=1))
            .arg(Arg::new("x").long("x"))
            .arg(Arg::new("files").num_args(0..))
            .subcommand(Command::new("inspect").arg(Arg::new("top").long("top")).arg(flag("json")))
    }

    fn styled(line: &str) -> String {
        let args = line.split(' ').map(OsString::from);
        let args: Vec<_> =
            go_style(&command(), args).into_iter().map(|arg| arg.into_string().unwrap()).collect();
        args.join(" ")
    }

    #[test]
    fn long_options_get_their_second_dash() {
        for (given, wanted) in [
            ("tool -version", "tool --version"),
            ("tool -help", "tool --help"),
            ("tool -compression-level 3 a", "tool --compression-level 3 a"),
            ("tool -compression-level=3 a", "tool --compression-level=3 a"),
            ("tool -level 3", "tool --level 3"),
            ("tool inspect -top 3 -json d", "tool inspect --top 3 --json d"),
            ("tool -color -quiet", "tool --color --quiet"),
        ] {
            assert_eq!(styled(given), wanted);
        }
    }

    #[test]
    fn everything_else_stays() {
        for line in [
            "-version",
            "tool --version",
            "tool - -",
            "tool -q -l 3",
            "tool -x x",
            "tool -12 -3.5 -unknown -unknown=quiet",
            "tool -- -version",
            "tool ---version",
            "tool a-version",
            "tool --compression-level -quiet",
            "tool --level -quiet",
            "tool -l -quiet",
            "tool -ql -quiet",
        ] {
            assert_eq!(styled(line), line);
        }
        assert_eq!(
            styled("tool -compression-level -quiet -quiet"),
            "tool --compression-level -quiet --quiet"
        );
        assert_eq!(styled("tool -level=1 -quiet"), "tool --level=1 --quiet");
        assert_eq!(styled("tool -l3 -quiet"), "tool -l3 --quiet");
        assert_eq!(styled("tool -level -- -quiet"), "tool --level -- --quiet");
    }

    #[cfg(unix)]
    #[test]
    fn values_may_be_any_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let args = [b"tool".to_vec(), b"-level=\xff".to_vec(), b"-\xff".to_vec()].map(OsString::from_vec);
        let styled = go_style(&command(), args.into_iter());
        assert_eq!(styled[1].as_encoded_bytes(), b"--level=\xff");
        assert_eq!(styled[2].as_encoded_bytes(), b"-\xff");
    }
}
