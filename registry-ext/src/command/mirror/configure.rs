//! `registry-ext mirror configure`: the files by which clients pull through a mirror.
//!
//! | step | module |
//! |---|---|
//! | the mirror and the registries, as users name them | `names` |
//! | a file that is edited, its copy, and the way back | `file` |
//! | the edits for podman and its like, containerd, docker | `containers`, `containerd`, `docker` |
//!
//! All files are read and all edits are made before the first file is written.

mod containerd;
mod containers;
mod docker;
mod document;
mod file;
mod names;

use anyhow::Result;
use cli::{Misuse, Text};
use serde::Serialize;

use super::super::args::{ClientArg, ConfigureArgs};
use super::super::context::Context;
use super::super::print_json;
use file::{Action, Change, Edit, Root, add, take_out};

pub(crate) use names::{MirrorAddress, RegistryHost};

/// The edits of a client's files, and what its users have to know.
struct Plan {
    edits: Vec<Box<dyn Edit>>,
    /// The steps that remain for the user.
    notes: Vec<String>,
    /// The command by which the client reads the files again; `None` if it reads them at each pull.
    reload: Option<&'static str>,
}

/// The report of the command.
#[derive(Serialize)]
struct Report<'r> {
    written: bool,
    files: &'r [Change],
    notes: &'r [String],
    reload: Option<&'static str>,
}

/// Shows, writes or removes the configuration of a client.
pub(super) fn run(context: &Context, args: &ConfigureArgs) -> Result<()> {
    let root = Root::open(&args.root)?;
    let (plan, changes) = prepare(&root, args)?;
    let is_written = args.write || args.remove;
    if is_written {
        changes.iter().try_for_each(|change| change.apply(&root))?;
    }
    let is_changed = changes.iter().any(|change| change.action != Action::Nothing);
    let reload = plan.reload.filter(|_| is_changed);
    if context.json {
        return print_json(&Report { written: is_written, files: &changes, notes: &plan.notes, reload });
    }
    show(context, &root, &changes, is_written)?;
    plan.notes.iter().for_each(|note| context.warn(note));
    if !context.quiet {
        tell(args, is_changed, reload);
    }
    Ok(())
}

/// Plans all changes, and writes nothing.
fn prepare(root: &Root, args: &ConfigureArgs) -> Result<(Plan, Vec<Change>)> {
    let plan = plan(root, args)?;
    let change = if args.remove { take_out } else { add };
    let changes = plan.edits.iter().map(|edit| change(root, edit.as_ref())).collect::<Result<_>>()?;
    Ok((plan, changes))
}

fn plan(root: &Root, args: &ConfigureArgs) -> Result<Plan> {
    match args.client {
        ClientArg::Podman | ClientArg::CriO => {
            let reload = (args.client == ClientArg::CriO).then_some("systemctl reload crio");
            containers::plan(root, args, reload)
        }
        ClientArg::Containerd => containerd::plan(root, args),
        ClientArg::Docker => {
            if let Some(other) = args.registry.iter().find(|host| host.as_str() != docker::REGISTRY) {
                return Err(Misuse(format!(
                    "docker has mirrors for docker.io alone, and none for {other}; leave --registry out, or let \
                     containerd or podman pull these images"
                ))
                .into());
            }
            Ok(docker::plan(args))
        }
    }
}

/// Prints the changes: each file whole, or a line about it once it is written.
fn show(context: &Context, root: &Root, changes: &[Change], is_written: bool) -> Result<()> {
    let mut text = Text::new();
    for change in changes {
        let path = root.shown(&change.path);
        let path = path.display();
        match (&change.action, &change.text) {
            (Action::Nothing, _) => text.line(format_args!("# {path}: nothing to change")),
            (Action::Remove, _) if is_written => text.line(format_args!("removed {path}")),
            (Action::Restore { from }, _) if is_written => {
                text.line(format_args!("restored {path} from {}", root.shown(from).display()));
            }
            (Action::Write { backup: Some(backup) }, _) if is_written => {
                let backup = root.shown(backup);
                text.line(format_args!("wrote {path}, the file before it is {}", backup.display()));
            }
            (Action::Write { backup: None }, _) if is_written => text.line(format_args!("wrote {path}")),
            (_, file) => {
                text.line(format_args!("# {path}:"));
                file.iter().flat_map(|file| file.lines()).for_each(|line| text.line(line));
            }
        }
    }
    if !(is_written && context.quiet) {
        text.print()?;
    }
    Ok(())
}

/// Tells the next step.
fn tell(args: &ConfigureArgs, is_changed: bool, reload: Option<&str>) {
    let mut text = Text::new();
    match (args.write || args.remove, is_changed, reload) {
        (false, ..) => text.line("nothing is written without --write"),
        (true, false, _) if args.remove => {
            let mirror = args.mirror.url();
            text.line(format_args!("no file names the mirror {mirror}; --mirror says which one goes"));
        }
        (true, false, _) => {}
        (true, true, Some(reload)) => text.line(format_args!("run `{reload}`, so that the change is seen")),
        (true, true, None) => text.line("the next pull sees the change; nothing has to be reloaded"),
    }
    text.print_to_stderr();
}

#[cfg(test)]
mod tests;
