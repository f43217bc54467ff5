//! The command `benches`: measures, shows, and writes the guards' figures.

#![allow(clippy::disallowed_methods, reason = "its users measure files of their own")]

mod arguments;

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use arguments::{Apply, Arguments, Files, Growth, Measure, Merge, Pairs, Places, Reference, Subcommand};
use benches::applying::{self, Part};
use benches::growth;
use benches::launch::{Launcher, launch};
use benches::merging;
use benches::report::{PairReport, Report};
use benches::tools::{self, Tool};
use benches::{Error, Measurement, Ours, Pair, fleet, guard, html, picture, pull_times, reference, table};
use clap::Parser;
use serde::Serialize;
use tempfile::TempDir;

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => cli::report("benches", error.as_ref(), 1, &env::temp_dir()),
    }
}

fn run(command: Subcommand) -> Result<()> {
    match command {
        Subcommand::Measure(arguments) => measure(&arguments),
        Subcommand::Growth(arguments) => grow(&arguments),
        Subcommand::Apply(arguments) => apply(&arguments),
        Subcommand::Merge(arguments) => merge(&arguments),
        Subcommand::ApplyPart { part, file } => {
            let part = Part::from_name(&part).with_context(|| format!("there is no part {part:?}"))?;
            Ok(part.run(&file)?)
        }
        Subcommand::Show { report, baseline, files } => {
            let json = fs::read(&report).with_context(|| format!("cannot read {}", report.display()))?;
            let mut report: Report = serde_json::from_slice(&json).context("this is no report")?;
            report.baseline = baseline.or(report.baseline);
            show(report, &files)
        }
        Subcommand::PullTimes { figures, picture } => {
            let lines =
                fs::read_to_string(&figures).with_context(|| format!("cannot read {}", figures.display()))?;
            let pulls = pull_times::parse(&lines).context("this is no list of pulls")?;
            if let Some(path) = picture {
                fs::write(&path, pull_times::svg(&pulls))
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            io::stdout().write_all(pull_times::markdown(&pulls).as_bytes()).context("cannot write the table")
        }
        Subcommand::Fleet { assumptions, picture } => {
            let choices = assumptions.choices();
            if let Some(path) = picture {
                fs::write(&path, fleet::svg(&choices))
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            let table = fleet::markdown(&assumptions, &choices);
            io::stdout().write_all(table.as_bytes()).context("cannot write the table")
        }
        Subcommand::Guard => {
            let counted = guard::write(&env::current_exe()?)?;
            ensure!(counted, "sizes are written, but valgrind is missing: no instructions are counted");
            Ok(())
        }
        Subcommand::Launch { timeout, report, command } => Ok(launch(&command, timeout, &report)?),
        Subcommand::Reference(Reference::Make { old, new, delta }) => {
            Ok(reference::make(&old, &new, &delta)?)
        }
        Subcommand::Reference(Reference::Apply { old, delta, new }) => {
            Ok(reference::apply(&old, &delta, &new)?)
        }
        Subcommand::DiffOnce { preset, old, new } => Ok(guard::diff_once(&preset, &old, &new)?),
    }
}

fn measure(arguments: &Measure) -> Result<()> {
    let Workplace { program, bin_dir, work_dir } = Workplace::open(&arguments.places)?;
    let mut quoted = match &arguments.peer_figures {
        Some(path) => benches::quoted_runs(path)?,
        None => Default::default(),
    };
    let tools = chosen_tools(arguments, &program, &bin_dir)?;
    let launcher =
        Launcher { program, timeout: arguments.timeout, repeat: arguments.repeat, dir: work_dir.path() };
    let measurement = Measurement { launcher, tools: &tools, work_dir: work_dir.path() };
    let mut report = Report {
        machine: machine(),
        tools: tools.iter().map(|tool| tool.info.clone()).collect(),
        pairs: Vec::new(),
        baseline: None,
        means: Vec::new(),
    };
    let given = pairs(&arguments.pair, &arguments.dirs, arguments.generated, work_dir.path())?;
    for pair in given {
        let progress = |tool: &str| {
            // Who cannot be told is not waiting.
            let _ = writeln!(io::stderr(), "{}: {tool}", pair.name);
        };
        let mut measured: PairReport = benches::measure(&measurement, &pair, &progress)?;
        measured.runs.extend(quoted.remove(&pair.name).unwrap_or_default());
        report.pairs.push(measured);
    }
    report.add_quoted_tools();
    report.baseline.clone_from(&arguments.baseline);
    show(report, &arguments.files)
}

fn grow(arguments: &Growth) -> Result<()> {
    let place = Workplace::open(&arguments.places)?;
    let report = growth::Growth {
        ours: place.ours(arguments.repeat, &arguments.preset),
        files: arguments.files,
        file_size: arguments.file_size.saturating_mul(1 << 20),
        steps: arguments.steps,
    }
    .run(&|pair| {
        // Who cannot be told is not waiting.
        let _ = writeln!(io::stderr(), "{pair}");
    })?;
    write_json(arguments.json.as_deref(), &report)?;
    io::stdout().write_all(report.table().as_bytes())?;
    Ok(report.check(arguments.most)?)
}

fn apply(arguments: &Apply) -> Result<()> {
    let measured = measure_each(&arguments.pairs, arguments.repeat, applying::measure)?;
    io::stdout().write_all(applying::table(&measured).as_bytes())?;
    Ok(applying::check(&measured, arguments.most.unwrap_or(f64::INFINITY))?)
}

fn merge(arguments: &Merge) -> Result<()> {
    let measured = measure_each(&arguments.pairs, arguments.repeat, merging::measure)?;
    Ok(io::stdout().write_all(merging::table(&measured).as_bytes())?)
}

/// Measures pairs one by one, and writes the figures as JSON where that is asked for.
fn measure_each<T: Serialize>(
    arguments: &Pairs,
    repeat: u32,
    measure: impl Fn(&Ours<'_>, &Pair) -> benches::Result<T>,
) -> Result<Vec<T>> {
    let place = Workplace::open(&arguments.places)?;
    let ours = place.ours(repeat, &arguments.preset);
    let mut measured = Vec::new();
    for pair in pairs(&[], &arguments.dirs, false, ours.work_dir)? {
        // Who cannot be told is not waiting.
        let _ = writeln!(io::stderr(), "{}", pair.name);
        measured.push(measure(&ours, &pair)?);
    }
    write_json(arguments.json.as_deref(), &measured)?;
    Ok(measured)
}

fn chosen_tools(arguments: &Measure, program: &Path, bin_dir: &Path) -> Result<Vec<Tool>> {
    let mut tools = tools::ours(bin_dir, &arguments.with);
    tools.extend(tools::peers(program));
    let names =
        |tools: &[Tool]| tools.iter().map(|tool| tool.info.name.clone()).collect::<Vec<_>>().join(", ");
    let all = names(&tools);
    tools.retain(|tool| {
        let is_called = |name: &String| tool.info.name.contains(name.as_str());
        (arguments.only.is_empty() || arguments.only.iter().any(is_called))
            && !arguments.skip.iter().any(is_called)
    });
    ensure!(!tools.is_empty(), "no tool is left of: {all}");
    Ok(tools)
}

fn pairs(given: &[Pair], dirs: &[PathBuf], generated: bool, work_dir: &Path) -> Result<Vec<Pair>> {
    let mut pairs = given.to_vec();
    for dir in dirs {
        pairs.extend(benches::find_pairs(dir)?);
    }
    if generated || pairs.is_empty() {
        pairs.push(benches::generated_pair(work_dir)?);
    }
    Ok(pairs)
}

/// The programs of a measurement, and a directory of its own that goes away with it.
struct Workplace {
    /// This program.
    program: PathBuf,
    /// The directory of the commands that are measured.
    bin_dir: PathBuf,
    work_dir: TempDir,
}

impl Workplace {
    fn open(places: &Places) -> Result<Self> {
        let program = env::current_exe().context("cannot find this program")?;
        let bin_dir = bin_dir(places.bin_dir.as_deref(), &program)?;
        let temp_dir = places.work_dir.clone().unwrap_or_else(env::temp_dir);
        let work_dir = tempfile::tempdir_in(&temp_dir).context("cannot create a working directory")?;
        Ok(Self { program, bin_dir, work_dir })
    }

    /// Our own commands, each run so often, without a limit of time.
    fn ours<'o>(&'o self, repeat: u32, preset: &'o str) -> Ours<'o> {
        let (program, work_dir) = (self.program.clone(), self.work_dir.path());
        let launcher = Launcher { program, timeout: 0, repeat, dir: work_dir };
        Ours { launcher, bin_dir: &self.bin_dir, work_dir, preset }
    }
}

/// Writes figures to a file, if one was named.
fn write_json(path: Option<&Path>, figures: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    fs::write(path, serde_json::to_string_pretty(figures)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Returns the directory of the commands that are measured: as told, or the one of this program.
fn bin_dir(told: Option<&Path>, program: &Path) -> Result<PathBuf> {
    match told {
        Some(dir) => Ok(dir.to_owned()),
        None => build(program.parent().unwrap_or(Path::new("."))),
    }
}

/// Builds the commands that are measured, if cargo started this one; gives their directory.
fn build(dir: &Path) -> Result<PathBuf> {
    if let Some(cargo) = env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "-p", "tar-diff", "-p", "tar-patch"]);
        command.args((!cfg!(debug_assertions)).then_some("--release"));
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        ensure!(
            command.status().context("cannot run cargo")?.success(),
            "cannot build tar-diff and tar-patch"
        );
    }
    for name in ["tar-diff", "tar-patch"] {
        if !dir.join(name).is_file() {
            bail!("there is no {name} beside this program: build it, or say where with --bin-dir");
        }
    }
    Ok(dir.to_owned())
}

fn show(mut report: Report, files: &Files) -> Result<()> {
    if let Some(name) = &report.baseline
        && !report.tools.iter().any(|tool| tool.name == *name)
    {
        let known = report.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(Error::UnknownTool { name: name.clone(), known }.into());
    }
    report.set_means();
    let text = table::markdown(&report);
    let write = |path: &Option<PathBuf>, text: &str| match path {
        Some(path) => fs::write(path, text).with_context(|| format!("cannot write {}", path.display())),
        None => Ok(()),
    };
    write(&files.markdown, &text)?;
    write(&files.json, &serde_json::to_string_pretty(&report)?)?;
    write(&files.html, &html::page(&report))?;
    write(&files.picture, &picture::svg(&report))?;
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// Describes the machine.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    format!("{cores} cores, {model}, {}", env::consts::ARCH)
}
