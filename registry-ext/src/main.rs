//! The command `registry-ext`: its arguments, its exit codes, what it prints.

mod command;

use std::process::ExitCode;

use command::Args;

fn main() -> ExitCode {
    let args = cli::parse::<Args>();
    let temp_dir = args.common.temp_dir();
    match command::run(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => cli::report("registry-ext", error.as_ref(), command::exit_code(&error), &temp_dir),
    }
}
