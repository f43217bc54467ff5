//! The command `tar-diff`: its arguments, its exit codes, what it prints.

mod command;

use std::process::ExitCode;

use command::Args;

fn main() -> ExitCode {
    let args = cli::parse::<Args>();
    match command::run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report("tar-diff", error.as_ref(), 1, &args.temp_dir()),
    }
}
