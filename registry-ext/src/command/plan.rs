//! `registry-ext plan`, and `publish --plan`

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cli::{Misuse, Output, Text};
use registry_ext::plan::{Pair, Plan, PlanPublisher, PlannedImage, Policy, RepositoryPlan, Verdict};
use registry_ext::publish::Outcome;
use registry_ext::reference::ImageRef;
use registry_ext::{Error, Planner};
use serde::Serialize;

use super::args::{PlanArgs, PublishArgs, short};
use super::context::Context;
use super::prune::{Pruned, by_policy};
use super::publish::configured;
use super::table::{Table, percent};
use super::{exit_code, print_json};

/// The policy in a file, or the default one if there is no file, with the pulls that mirrors counted.
pub(super) fn policy(path: Option<&PathBuf>, pulls: &[PathBuf]) -> Result<Policy> {
    let policy = path
        .map(|path| Policy::parse(&read(path)?).with_context(|| format!("cannot use {}", path.display())));
    let mut policy = policy.transpose()?.unwrap_or_default();
    for path in pulls {
        policy.pulls.add(&read(path)?).with_context(|| format!("cannot use {}", path.display()))?;
    }
    Ok(policy)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(super) fn read_plan(path: &Path) -> Result<Plan> {
    Plan::parse(&read(path)?).with_context(|| format!("cannot use {}", path.display()))
}

/// A planner with the options of the command.
pub(super) fn planner<'p>(context: &Context, policy: &'p Policy) -> Planner<'p> {
    Planner::new(policy).temp_dir(&context.temp_dir).watch(&context.watch)
}

/// A repository that could not be planned does not keep others from it; the exit code is that of the first one.
pub(super) async fn run(context: &Context, args: &PlanArgs) -> Result<u8> {
    let policy = policy(args.policy.as_ref(), &args.pulls)?;
    let previous = args.previous.as_ref().map(|path| read_plan(path)).transpose()?;
    let planner = previous.iter().fold(planner(context, &policy), Planner::previous);
    let (mut repositories, mut pruned, mut code) = (Vec::new(), Vec::new(), 0);
    let mut seen = HashSet::new();
    for name in &args.repositories {
        if matches!(name, ImageRef::Archive(_) | ImageRef::DockerArchive(_)) {
            return Err(
                Misuse(format!("{name} is an archive, and deltas are published in repositories")).into()
            );
        }
        let planned = async {
            let repository = context.open(name)?;
            if !seen.insert(repository.name()) {
                return Ok(None);
            }
            let planned = planner.survey(&repository).await?;
            if args.dry_run {
                pruned.extend(by_policy(&planner, &repository, true).await?);
            }
            Ok::<_, anyhow::Error>(Some(planned))
        };
        match planned.await {
            Ok(planned) => repositories.extend(planned),
            Err(error) if args.repositories.len() == 1 => return Err(error),
            Err(error) => {
                context.warn(&format!("{name} is not planned: {}", cli::report::one_line(error.as_ref())));
                code = if code == 0 { exit_code(&error) } else { code };
            }
        }
    }
    if !repositories.is_empty() && repositories.iter().all(|planned: &RepositoryPlan| planned.tags == 0) {
        return Err(Error::NotFound { what: "a tag that the policy takes".into() }.into());
    }
    let plan = Plan::new(repositories, &policy);
    if let Some(path) = &args.output {
        let mut file = Output::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let text = serde_json::to_string_pretty(&plan)?;
        writeln!(file, "{text}").with_context(|| format!("cannot write {}", path.display()))?;
        file.commit().with_context(|| format!("cannot write {}", path.display()))?;
    }
    if context.json {
        print_json(&plan)?;
    } else if !context.quiet {
        show(&plan, &pruned, args.dry_run)?;
    }
    Ok(code)
}

fn show(plan: &Plan, pruned: &[Pruned], only_differences: bool) -> Result<()> {
    let mut text = Text::new();
    for repository in &plan.repositories {
        text.line(heading(repository));
        let mut table =
            Table::new(&["from", "to", ">blobs", ">delta", ">chain", ">CPU s", "way", "verdict", "reason"]);
        let pairs = repository.pairs.iter().filter(|pair| !only_differences || pair.verdict == Verdict::Make);
        let mut count = 0;
        for pair in pairs {
            table.row(row(pair));
            count += 1;
        }
        if count > 0 {
            text.append(&table.text());
        } else {
            text.line(if only_differences { "nothing is to be made" } else { "no update is wanted" });
        }
    }
    for Pruned { target, report, .. } in pruned.iter().filter(|pruned| pruned.report.removes()) {
        text.line(format_args!(
            "out of the policy, artifacts: {}, entries of _deltaindex: {}, to {}",
            report.artifacts.len() + report.recipe_artifacts.len(),
            report.deltas.len(),
            short(target),
        ));
    }
    let (mut count, mut bytes, mut blobs, mut seconds) = (0, 0_u64, 0_u64, 0.0);
    for (_, pair) in plan.wanted() {
        count += 1;
        (bytes, blobs) = (pair.bytes().saturating_add(bytes), pair.blob_bytes.saturating_add(blobs));
        seconds += pair.cpu_seconds;
    }
    text.line(format_args!(
        "{count} to be made: about {bytes} bytes in place of {blobs}, and {seconds:.0} s of CPU"
    ));
    Ok(text.print()?)
}

fn heading(repository: &RepositoryPlan) -> String {
    let ratio = 100.0 * repository.expected_ratio;
    let source = if repository.ratio_is_measured { "as its published ones have" } else { "as is assumed" };
    format!("{}: deltas of {ratio:.1}% of the blobs are expected, {source}", repository.repository)
}

fn row(pair: &Pair) -> Vec<String> {
    let is_sized = pair.blob_bytes > 0;
    let sized = |text: String| if is_sized { text } else { "-".into() };
    vec![
        name(&pair.from),
        name(&pair.to),
        sized(pair.blob_bytes.to_string()),
        sized(pair.delta_bytes.to_string()),
        pair.chain_bytes.map_or_else(|| "-".into(), |bytes| bytes.to_string()),
        sized(format!("{:.1}", pair.cpu_seconds)),
        if way_matters(pair.verdict) { pair.way.word().into() } else { "-".into() },
        pair.verdict.phrase().into(),
        pair.reasons.join(", "),
    ]
}

/// Returns true if the verdict on an update leaves open how hosts get it.
const fn way_matters(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Make | Verdict::Chain | Verdict::OverBudget)
}

fn name(image: &PlannedImage) -> String {
    if image.tags.is_empty() { short(image.digest) } else { image.tags.join(" ") }
}

/// The result of a job.
#[derive(Debug, Serialize)]
struct JobReport {
    targets: Vec<registry_ext::plan::TargetReport>,
}

/// Publishes a plan, or a share of it. What fails does not keep other deltas from being published.
pub(super) async fn publish(context: &Context, args: &PublishArgs, plan: &Path) -> Result<u8> {
    if let Some(name) = args.artifacts.named_signatures().next() {
        let text = format!(
            "a plan has many images, and {name} is of one: --signature cosign finds that of each image"
        );
        return Err(Misuse(text).into());
    }
    let plan = read_plan(plan)?;
    let mut options = args.make.options(&context.temp_dir);
    options.sees_through &= args.make.readers.registry_ext();
    let publisher = PlanPublisher::new(&plan, args.job.job()?)
        .registry(&context.registry)
        .options(context.make_options(options))
        .watch(&context.watch);
    let mut failed = false;
    let is_shown = !context.json && !context.quiet;
    let mut print = Ok(());
    let targets = publisher.publish(
        |publisher| {
            let to = publisher.repository();
            configured(args, to, publisher)
        },
        |target| {
            failed |= !target.failures.is_empty();
            for failure in target.failures.iter().filter(|_| target.report.is_none()) {
                context.warn(&format!("{}: {failure}", target.repository));
            }
            if is_shown && print.is_ok() {
                print = Text::of(line(target)).print();
            }
        },
    );
    let targets = targets.await?;
    print?;
    if targets.is_empty() && is_shown {
        Text::of("this share of the plan is empty").print()?;
    }
    if context.json {
        print_json(&JobReport { targets })?;
    }
    Ok(u8::from(failed))
}

fn line(target: &registry_ext::plan::TargetReport) -> String {
    let (to, from) = (name(&target.to), target.from.iter().map(name).collect::<Vec<_>>().join(", "));
    let Some(report) = &target.report else {
        return format!("{} {to} from {from}: nothing was published", target.repository);
    };
    let count = |outcome| report.deltas.iter().filter(|delta| delta.outcome == outcome).count();
    let published = report.deltas.iter().filter(|delta| delta.outcome == Outcome::Published);
    let (mut size, mut blobs) = (0, 0);
    for delta in published {
        (size, blobs) = (size + delta.delta_size.unwrap_or(0), blobs + delta.blob_size);
    }
    format!(
        "{} {to} from {from}: {} published ({size} of {blobs} bytes, {}), {} already there, {} not worth it",
        target.repository,
        count(Outcome::Published),
        percent(size, blobs),
        count(Outcome::AlreadyThere),
        count(Outcome::NotSmaller) + count(Outcome::NoGain) + count(Outcome::Failed),
    )
}
