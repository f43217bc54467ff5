//! Tables for people.

use cli::Text;
use explain::{AddressGroup, Explanation, Group};

/// Directories that are shown.
const MAX_DIRECTORIES: usize = 10;
/// Characters of a path or note that are shown.
const MAX_LINE: usize = 300;

/// The explanation with the `top` costliest files. Sizes are in bytes.
pub(super) fn text(explanation: &Explanation, top: usize) -> Text {
    let mut out = Text::new();
    let Explanation { version, delta_size, new_blob_size, frame_size, .. } = *explanation;
    let name = &explanation.new;
    let share = percent(delta_size, new_blob_size);
    out.line(format_args!(
        "{version}: {delta_size} bytes, {share:.2}% of the {new_blob_size} bytes of {name}"
    ));
    out.line(format_args!(
        "costs are bytes of the delta; with {frame_size} bytes of framing they add up to its size"
    ));
    groups(&mut out, "reason", &explanation.reasons, delta_size);
    groups(&mut out, "kind of file", &explanation.kinds, delta_size);
    let directories = &explanation.directories;
    groups(&mut out, "directory", &directories[..directories.len().min(MAX_DIRECTORIES)], delta_size);

    addresses(&mut out, &explanation.addresses);

    out.line("");
    out.line(format_args!("{:>10} {:>6} {:>10}  {:<18}  file", "cost", "share", "size", "reason"));
    for file in explanation.costliest(top) {
        let share = 100.0 * file.share;
        let (cost, size, reason) = (file.cost.total, file.size, file.reason.name());
        out.line(format_args!("{cost:>10} {share:>5.1}% {size:>10}  {reason:<18}  {}", short(&file.path)));
        let note = file.note();
        if !note.is_empty() {
            out.line(format_args!("{:>28}  {:<18}  {}: {}", "", "", file.kind, short(&note)));
        }
    }
    if !explanation.has_old {
        out.line("");
        out.line(format_args!("Give the old layers too, and it says more."));
    } else if !explanation.hints.is_empty() {
        out.line("");
        out.line(format_args!("what would make it smaller:"));
        for hint in &explanation.hints {
            out.line(format_args!("- {hint}"));
        }
    }
    out
}

fn groups(out: &mut Text, title: &str, groups: &[Group], delta_size: u64) {
    out.line("");
    out.line(format_args!(
        "{:>10} {:>6} {:>8} {:>8} {:>12}  {title}",
        "cost", "share", "changed", "files", "size"
    ));
    for group in groups.iter().filter(|group| group.cost > 0) {
        let Group { name, files, changed, size, cost, .. } = group;
        let share = percent(*cost, delta_size);
        out.line(format_args!(
            "{cost:>10} {share:>5.1}% {changed:>8} {files:>8} {size:>12}  {}",
            short(name)
        ));
    }
}

/// The addresses of programs, if there are any.
fn addresses(out: &mut Text, groups: &[AddressGroup]) {
    if groups.is_empty() {
        return;
    }
    out.line("");
    out.line(format_args!(
        "{:>10} {:>10} {:>12}  form of the addresses in programs",
        "missed", "changed", "all"
    ));
    for AddressGroup { form, addresses, changed, missed, .. } in groups {
        out.line(format_args!("{missed:>10} {changed:>10} {addresses:>12}  {form}"));
    }
}

fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

/// The text, or its end if it is long: of a path the end says most.
fn short(text: &str) -> String {
    let count = text.chars().count();
    if count <= MAX_LINE {
        return text.to_owned();
    }
    format!("...{}", text.chars().skip(count - MAX_LINE).collect::<String>())
}
