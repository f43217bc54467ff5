//! The command `tar-patch`: its arguments, its exit codes, what it prints.

mod command;

use std::process::ExitCode;

use command::Args;

fn main() -> ExitCode {
    let args = cli::parse::<Args>();
    let temp_dir = args.temp_dir();
    match command::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report("tar-patch", error.as_ref(), command::exit_code(&error), &temp_dir),
    }
}
