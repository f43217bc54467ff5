//! The tools that take part, and how each is called.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::report::{Group, ToolInfo};

/// A tool that is there.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Its row in the report.
    pub info: ToolInfo,
    /// The command that makes a delta, with the places of [`fill`].
    make: Vec<OsString>,
    /// The command that applies it.
    apply: Vec<OsString>,
}

/// The paths that take the places in a command.
#[derive(Debug)]
pub(crate) struct Places<'p> {
    pub(crate) values: &'p [(&'static str, &'p OsStr)],
}

/// The places: `{old-layer}` and `{new-layer}` as they were given, `{old}` and `{new}` without
/// compression, `{old-size}` in bytes, `{tree}` the old layer extracted, `{delta}`, `{out}`, `{diff-id}`.
fn fill(template: &[OsString], places: &Places<'_>) -> Vec<OsString> {
    template.iter().map(|part| places.fill(part)).collect()
}

impl Places<'_> {
    /// A place is the whole of an argument or its end.
    fn fill(&self, part: &OsStr) -> OsString {
        let found = part.to_str().and_then(|text| {
            self.values.iter().find_map(|(place, value)| Some((text.strip_suffix(place)?, value)))
        });
        found.map_or_else(
            || part.to_owned(),
            |(before, value)| {
                let mut filled = OsString::from(before);
                filled.push(value);
                filled
            },
        )
    }
}

impl Tool {
    fn new(name: &str, group: Group, make: Vec<OsString>, apply: Vec<OsString>) -> Self {
        let parts = make.iter().enumerate().map(|(index, part)| match index {
            0 => Path::new(part).file_name().unwrap_or(part).to_string_lossy().into_owned(),
            _ => part.to_string_lossy().into_owned(),
        });
        let command = parts.collect::<Vec<_>>().join(" ");
        Self { info: ToolInfo { name: name.to_owned(), group, command }, make, apply }
    }

    /// A tool that knows no layers, from command lines without spaces inside arguments.
    fn whole_file(name: &str, make: &str, apply: &str) -> Self {
        let words = |line: &str| line.split(' ').map(OsString::from).collect();
        Self::new(name, Group::WholeFile, words(make), words(apply))
    }

    pub(crate) fn make(&self, places: &Places<'_>) -> Vec<OsString> {
        fill(&self.make, places)
    }

    pub(crate) fn apply(&self, places: &Places<'_>) -> Vec<OsString> {
        fill(&self.apply, places)
    }

    /// Returns true if its deltas are made of the ops of tar-diff.
    pub(crate) fn makes_ops(&self) -> bool {
        self.info.group != Group::WholeFile
    }
}

/// Our presets, run as users run them: with the delta verified before it appears. `more` are
/// further sets of options, each with a name.
pub fn ours(bin_dir: &Path, more: &[(String, String)]) -> Vec<Tool> {
    let tar_diff = bin_dir.join("tar-diff");
    let mut sets: Vec<(String, String)> = if says(&tar_diff, "--help", "--preset") {
        ["fast", "default", "max"].map(|preset| (preset.to_owned(), format!("--preset {preset}"))).into()
    } else {
        [3, 9, 19].map(|level| (format!("level {level}"), format!("--level {level}"))).into()
    };
    sets.extend_from_slice(more);
    sets.into_iter()
        .map(|(name, options)| {
            let mut make = vec![tar_diff.clone().into_os_string(), "--quiet".into()];
            make.extend(options.split_whitespace().map(OsString::from));
            make.extend(["{old-layer}", "{new-layer}", "{delta}"].map(OsString::from));
            let mut apply = vec![bin_dir.join("tar-patch").into_os_string()];
            apply.extend(
                ["--quiet", "--force", "--diff-id", "{diff-id}", "{delta}", "{tree}", "{out}"]
                    .map(OsString::from),
            );
            Tool::new(&format!("tar-diff {name}"), Group::Ours, make, apply)
        })
        .collect()
}

/// The peers that are on the PATH; `benches` is this program, for the one that is a library.
pub fn peers(benches: &Path) -> Vec<Tool> {
    let mut tools: Vec<Tool> = go_tar_diff().into_iter().collect();
    if on_path("zstd") {
        for level in [3, 19] {
            tools.push(Tool::whole_file(
                &format!("zstd -{level}"),
                &format!("zstd -q -f -{level} --long=31 --patch-from={{old}} {{new}} -o {{delta}}"),
                "zstd -q -f -d --long=31 --patch-from={old} {delta} -o {out}",
            ));
        }
    }
    if on_path("xdelta3") {
        tools.push(Tool::whole_file(
            "xdelta3",
            "xdelta3 -e -f -9 -S djw -B {old-size} -s {old} {new} {delta}",
            "xdelta3 -d -f -B {old-size} -s {old} {delta} {out}",
        ));
    }
    if on_path("hdiffz") {
        let make = "hdiffz -m -f -c-zstd-19 {old} {new} {delta}";
        tools.push(Tool::whole_file("hdiffz", make, "hpatchz -f {old} {delta} {out}"));
    }
    let reference = |verb: &str, files: [&str; 3]| {
        let mut command = vec![benches.as_os_str().to_owned()];
        command.extend(["reference", verb].into_iter().chain(files).map(OsString::from));
        command
    };
    tools.push(Tool::new(
        "qbsdiff",
        Group::WholeFile,
        reference("make", ["{old}", "{new}", "{delta}"]),
        reference("apply", ["{old}", "{delta}", "{out}"]),
    ));
    if on_path("bsdiff") {
        tools.push(Tool::whole_file("bsdiff", "bsdiff {old} {new} {delta}", "bspatch {old} {out} {delta}"));
    }
    tools
}

/// The Go tool has the name of ours, so what it says tells them apart; its tar-patch lies beside it.
fn go_tar_diff() -> Option<Tool> {
    let program = directories().map(|dir| dir.join("tar-diff")).find(|program| {
        program.is_file() && says(program, "--help", "source-prefix") && !says(program, "--help", "--json")
    })?;
    let patch = program.with_file_name("tar-patch");
    let words = |program: PathBuf, places: [&str; 3]| {
        std::iter::once(program.into_os_string()).chain(places.map(OsString::from)).collect()
    };
    Some(Tool::new(
        "Go tar-diff",
        Group::TarDiff,
        words(program, ["{old-layer}", "{new-layer}", "{delta}"]),
        words(patch, ["{delta}", "{tree}", "{out}"]),
    ))
}

/// Returns true if a program, called with one argument, says `word`.
fn says(program: &Path, argument: &str, word: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| {
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).contains(word)
    })
}

fn on_path(name: &str) -> bool {
    directories().any(|dir| dir.join(name).is_file())
}

fn directories() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_at_the_end_of_arguments() {
        let values =
            [("{old}", OsStr::new("/o")), ("{new}", OsStr::new("/n")), ("{delta}", OsStr::new("/d"))];
        let tool = Tool::whole_file("t", "t -f --from={old} {new} {delta}", "t {old-layer}");
        let places = Places { values: &values };
        assert_eq!(tool.make(&places), ["t", "-f", "--from=/o", "/n", "/d"]);
        assert_eq!(tool.apply(&places), ["t", "{old-layer}"]);
        assert_eq!(tool.info.command, "t -f --from={old} {new} {delta}");
    }

    #[test]
    fn the_reference_is_always_there() {
        let tools = peers(Path::new("/nowhere/benches"));
        let names: Vec<_> = tools.iter().map(|tool| tool.info.name.as_str()).collect();
        assert!(names.contains(&"qbsdiff"), "{names:?}");
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
    }
}
