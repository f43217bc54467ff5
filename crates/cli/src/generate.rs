//! Files that packagers install beside a command: shell completions and a manual page.

use std::io::{self, Write};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Output;

/// The options `--completions SHELL` and `--man`, to be flattened into a command's arguments.
/// Each stands alone: with one of them a command's required arguments may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Args)]
pub struct GenerateArgs {
    /// Print completions for this shell
    #[arg(long, value_name = "SHELL", exclusive = true)]
    pub completions: Option<Shell>,
    /// Print the manual page
    #[arg(long, exclusive = true)]
    pub man: bool,
}

impl GenerateArgs {
    /// Writes to stdout what was asked for, and tells whether anything was.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn run(self, command: Command) -> io::Result<bool> {
        if let Some(shell) = self.completions {
            completions(command, shell)?;
        } else if self.man {
            man(command)?;
        }
        Ok(self.completions.is_some() || self.man)
    }
}

/// Writes the completions of `command` for `shell` to stdout.
///
/// # Errors
/// If stdout cannot be written.
pub fn completions(command: Command, shell: Shell) -> io::Result<()> {
    Output::stdout()?.write_all(&completion_script(command, shell))
}

/// Writes the manual page of `command` to stdout, as roff for man(1).
///
/// # Errors
/// If stdout cannot be written.
pub fn man(command: Command) -> io::Result<()> {
    Output::stdout()?.write_all(&man_page(command)?)
}

fn completion_script(mut command: Command, shell: Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// One page: a subcommand has no page of its own, so its usage and options follow as sections.
fn man_page(mut command: Command) -> io::Result<Vec<u8>> {
    command = command.disable_help_subcommand(true);
    command.build();
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();
    let has_extra = command.get_after_long_help().or(command.get_after_help()).is_some();
    let has_version = command.get_version().is_some();
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for subcommand in subcommands {
        let name = subcommand.get_bin_name().unwrap_or_else(|| subcommand.get_name()).to_uppercase();
        writeln!(page, ".SH \"{}\"", name.replace('-', "\\-"))?;
        let mut sections = Vec::new();
        let man = Man::new(subcommand);
        man.render_synopsis_section(&mut sections)?;
        man.render_description_section(&mut sections)?;
        man.render_options_section(&mut sections)?;
        page.extend(subsections(&sections));
    }
    if has_extra {
        man.render_extra_section(&mut page)?;
    }
    if has_version {
        man.render_version_section(&mut page)?;
    }
    Ok(page)
}

/// The same text with its sections one level lower.
fn subsections(roff: &[u8]) -> Vec<u8> {
    let lines = roff.split_inclusive(|&byte| byte == b'\n');
    let lowered = lines.map(|line| match line.strip_prefix(b".SH ") {
        Some(title) => [b".SS ", title].concat(),
        None => line.to_vec(),
    });
    lowered.collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser, Subcommand};

    use super::*;

    /// Does it
    #[derive(Debug, Parser)]
    #[command(name = "tool", subcommand_negates_reqs = true)]
    struct Tool {
        #[command(subcommand)]
        command: Option<ToolCommand>,
        #[arg(required = true)]
        delta: Option<String>,
        #[command(flatten)]
        generate: GenerateArgs,
    }

    #[derive(Debug, Subcommand)]
    enum ToolCommand {
        /// Shows a delta
        Inspect {
            #[arg(long)]
            top: Option<usize>,
        },
    }

    fn command() -> Command {
        Tool::command()
    }

    #[test]
    fn each_shell_gets_the_options() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completion_script(command(), shell)).unwrap();
            assert!(script.contains("completions") && script.contains("inspect"), "{shell}");
        }
    }

    #[test]
    fn the_page_holds_the_subcommands() {
        let page = String::from_utf8(man_page(command()).unwrap()).unwrap();
        assert!(page.contains("Does it") && page.contains(".SH \"TOOL INSPECT\""), "{page}");
        assert!(
            page.contains("Shows a delta") && page.contains("top") && page.contains(".SS OPTIONS"),
            "{page}"
        );
    }

    #[test]
    fn required_arguments_may_be_missing() {
        assert!(command().try_get_matches_from(["tool", "--man"]).is_ok());
        assert!(command().try_get_matches_from(["tool", "--completions", "bash"]).is_ok());
        assert!(command().try_get_matches_from(["tool"]).is_err());
        assert!(command().try_get_matches_from(["tool", "--man", "delta"]).is_err());
    }
}
