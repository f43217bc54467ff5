//! The command `registry-ext`: its arguments, its exit codes, what it prints.

mod command;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use command::Args;

fn main() -> ExitCode {
    let args = Args::parse_from(cli::go_style(&Args::command(), std::env::args_os()));
    match command::run(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => cli::report("registry-ext", error.as_ref(), command::exit_code(&error)),
    }
}
