//! The costs add up, and the reasons are those that the layers were made for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use delta_format::{CorruptKind, Encoding, OpWriter, SourcePath, Version, wire};
use explain::*;
use fixtures::{Ending, LayerBuilder, Rng, contents};
use layer::{Spool, SpoolOptions};

use tar_diff::{DiffOptions, Method, Stats, diff};

fn spool(bytes: &[u8]) -> Spool {
    Spool::read("new.tar".into(), bytes, &SpoolOptions::default()).unwrap()
}

/// Diffs and explains; checks what holds for all explanations.
fn explained(old: &[Vec<u8>], new: &[u8], method: Method) -> Explanation {
    let (explanation, stats) = explained_with(old, new, &DiffOptions::default().method(method));
    let made = || explanation.files.iter().chain([&explanation.headers]).map(|file| &file.made);
    assert_eq!(made().map(|made| made.ops).sum::<u64>(), stats.written.ops);
    assert_eq!(made().map(|made| made.data).sum::<u64>(), stats.written.data_size);
    assert_eq!(made().map(|made| made.copied).sum::<u64>(), stats.written.copy_size);
    assert_eq!(made().map(|made| made.added).sum::<u64>(), stats.written.add_size);
    assert_eq!(made().map(|made| made.frames).sum::<u64>(), stats.written.zstd_dict_size);
    explanation
}

/// Diffs and explains; checks what holds for all explanations of all versions.
fn explained_with(old: &[Vec<u8>], new: &[u8], options: &DiffOptions) -> (Explanation, Stats) {
    let (old, new): (Vec<_>, _) = (old.iter().map(|layer| spool(layer)).collect(), spool(new));
    let (delta, stats) = diff(&old, &new, options, Vec::new(), &|_| ()).unwrap();
    let alone = check(&explain(delta.as_slice(), &new, &[]).unwrap(), delta.len());
    assert!(alone.hints.is_empty() && !alone.has_old);
    (check(&explain(delta.as_slice(), &new, &old).unwrap(), delta.len()), stats)
}

fn check(explanation: &Explanation, delta_size: usize) -> Explanation {
    let Explanation { files, headers, frame_size, .. } = explanation;
    let all = || files.iter().chain([headers]);
    let spent: u64 = all().map(|file| file.cost.total).sum();
    assert_eq!(explanation.delta_size, delta_size as u64);
    assert_eq!(spent + frame_size, delta_size as u64);
    // Magic, frame header, and a block or checksum that holds nothing; or the headers, the check and the
    // index of an xz stream.
    assert!((10..=8 + 18 + 3 + 4).contains(frame_size) || (56..=72).contains(frame_size), "{frame_size}");
    assert_eq!(all().map(|file| file.size).sum::<u64>(), explanation.new_size);
    for file in all() {
        let Cost { total, ops, data, add, frames, relocated, streams, headers } = file.cost;
        assert_eq!(ops + data + add + frames + relocated + streams + headers, total);
        if file.made.encoded == 0 {
            assert_eq!(file.made.size(), file.size, "{}: {:?}", file.path, file.made);
        }
    }
    for groups in [&explanation.reasons, &explanation.kinds, &explanation.directories] {
        assert_eq!(groups.iter().map(|group| group.cost).sum::<u64>(), spent);
    }
    assert!(files.is_sorted_by(|left, right| left.cost.total >= right.cost.total));
    assert!(
        explanation.costliest(usize::MAX).is_sorted_by(|left, right| left.cost.total >= right.cost.total)
    );
    explanation.clone()
}

fn explain_all(method: Method) {
    for scenario in fixtures::scenarios::all() {
        explained(&scenario.old, &scenario.new, method);
    }
}

#[test]
fn costs_add_up_to_the_delta_for_all_scenarios_with_bsdiff() {
    explain_all(Method::Bsdiff);
}

#[test]
fn costs_add_up_to_the_delta_for_all_scenarios_with_frames() {
    explain_all(Method::Zstd);
}

#[test]
fn costs_add_up_to_the_delta_for_all_scenarios_that_are_seen_through() {
    let mut versions = BTreeSet::new();
    for scenario in fixtures::scenarios::all() {
        let seen = explained_with(&scenario.old, &scenario.new, &DiffOptions::default().sees_through(true));
        versions.insert(seen.0.version);
    }
    assert!(versions.contains("tardf3"));
}

#[test]
fn a_file_that_a_delta_sees_through_costs_what_changed_inside() {
    let (old, new) = layers();
    let (explanation, _) = explained_with(&[old], &new, &DiffOptions::default().sees_through(true));
    assert_eq!(explanation.version, "tardf3");
    let file = |path: &str| explanation.files.iter().find(|file| file.path == path).unwrap();
    let changelog = file("doc/changelog.gz");
    assert_eq!(changelog.reason, Reason::ManySmallChanges);
    assert!(changelog.made.encoded >= 60_000 && changelog.cost.total < 200, "{changelog:?}");
    assert!(changelog.cost.streams > 0 && file("usr/bin/program").cost.streams == 0);
    assert!(changelog.note().contains("of what it holds"), "{}", changelog.note());
    // What is new costs as much as ever, and headers stand in lists.
    assert!(file("new").cost.total.abs_diff(30_000) < 300);
    assert!(explanation.headers.cost.headers > 0 && explanation.headers.made.listed > 4000);
    assert!(!explanation.hints.iter().any(|hint| matches!(hint, Hint::SeeThrough { .. })));
}

#[test]
fn the_parts_of_a_program_whose_addresses_moved_are_told() {
    let functions: Vec<u32> = (0..400).collect();
    let mut changed = functions.clone();
    changed.splice(50..52, [1000, 1001, 1002]);
    changed.swap(100, 300);
    let [old, new] = [functions, changed].map(|functions| {
        let program = fixtures::programs::program(&functions);
        LayerBuilder::new().mode(0o755).file("usr/bin/program", program).finish(Ending::Normal)
    });
    let (explanation, stats) = explained_with(&[old], &new, &DiffOptions::default().sees_through(true));
    assert!(stats.relocated.count > 0);
    let program = &explanation.files[0];
    let (cost, made) = (program.cost, &program.made);
    assert_eq!((made.relocated, made.sources[0].path.as_str()), (program.size, "usr/bin/program"));
    assert!(cost.relocated > 0 && cost.data + cost.add > 0, "{cost:?}");
    assert!(made.changed < made.relocated / 20, "{made:?}");
    assert_eq!(program.reason, Reason::ManySmallChanges);
    let relative = explanation.addresses.iter().find(|group| group.form == "relative").unwrap();
    assert!(relative.addresses > 400 && relative.changed > 100, "{relative:?}");
    assert!(relative.missed < relative.changed / 4, "{relative:?}");
}

#[test]
fn deltas_of_the_go_tool_are_explained() {
    let read = |name: &str| std::fs::read(fixtures::golden_dir().join(name)).unwrap();
    let new = spool(&read("new.tar.gz"));
    for name in ["basic", "level19", "prefix", "two-old", "nolimit"] {
        let delta = read(&format!("{name}.tardiff"));
        check(&explain(delta.as_slice(), &new, &[]).unwrap(), delta.len());
    }
}

fn gzip(content: &[u8], level: u32) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Every reason once; the costs of the incompressible ones are known.
fn layers() -> (Vec<u8>, Vec<u8>) {
    let mut rng = Rng::new(7);
    let noise = [0, 1, 2, 3].map(|_| rng.bytes(30_000));
    let text = contents::text(&mut rng, 60_000);
    let mut changed = text.clone();
    changed.splice(20..21, *b"a change");
    let half = [&noise[3][..15_000], &text[..15_000]].concat();
    let zip = |time| fixtures::zip(&[("META-INF/x", &text[..3000]), ("y", &text[3000..])], time);
    let old = LayerBuilder::new()
        .file("same", &text[..5000])
        .file("opt/before", &text[5000..9000])
        .mode(0o600)
        .file("secret", &noise[1])
        .file("half", &half)
        .file("usr/bin/program", contents::program(3, 100_000, 0))
        .file("doc/changelog.gz", gzip(&text, 9))
        .file("doc/again.gz", gzip(&text, 9))
        .file("lib/x.jar", zip(1))
        .finish(Ending::Normal);
    let new = LayerBuilder::new()
        .mtime(1)
        .file("same", &text[..5000])
        .file("opt/after", &text[5000..9000])
        .file("secret", &noise[1])
        .file("half", [&noise[2][..15_000], &half[15_000..]].concat())
        .file("usr/bin/program", contents::program(3, 100_000, 1))
        .file("doc/changelog.gz", gzip(&changed, 9))
        .file("doc/again.gz", gzip(&text, 1))
        .file("lib/x.jar", zip(2))
        .file("new", &noise[0])
        .finish(Ending::Normal);
    (old, new)
}

#[test]
fn a_file_that_is_there_once_whiteouts_are_applied_is_not_unusable() {
    let text = [1, 2].map(|seed| contents::text(&mut Rng::new(seed), 30_000));
    let lower = LayerBuilder::new().dir("real").symlink("doc", "real").finish(Ending::Normal);
    // As a plain tar it would go through the link.
    let upper = LayerBuilder::new().whiteout("doc").file("doc/x", &text[0]).finish(Ending::Normal);
    let new = LayerBuilder::new().file("doc/x", &text[1]).finish(Ending::Normal);
    let explanation = explained(&[lower, upper], &new, Method::Bsdiff);
    let file = &explanation.files[0];
    assert_eq!((file.path.as_str(), file.reason), ("doc/x", Reason::NoSource), "{file:?}");
}

#[test]
fn each_file_has_its_reason() {
    let (old, new) = layers();
    let explanation = explained(&[old], &new, Method::Bsdiff);
    let file = |path: &str| explanation.files.iter().find(|file| file.path == path).unwrap();
    for (path, reason) in [
        ("same", Reason::Unchanged),
        ("opt/after", Reason::Renamed),
        ("secret", Reason::UnusableSource),
        ("half", Reason::LowSimilarity),
        ("usr/bin/program", Reason::ManySmallChanges),
        ("doc/changelog.gz", Reason::CompressedContent),
        ("doc/again.gz", Reason::Recompressed),
        ("new", Reason::NewFile),
    ] {
        assert_eq!(file(path).reason, reason, "{path}: {:?}", file(path));
    }
    for (path, cost) in [("new", 30_000), ("secret", 30_000), ("half", 15_000), ("same", 0), ("opt/after", 0)]
    {
        assert!(file(path).cost.total.abs_diff(cost) < 100, "{path}: {:?}", file(path).cost);
    }
    assert_eq!(explanation.files[0].kind, ContentKind::Binary);
    assert_eq!(file("usr/bin/program").kind, ContentKind::Elf);
    assert_eq!(file("opt/after").made.sources[0].path, "opt/before");
    let old = OldFile { path: "half".into(), size: 30_000 };
    assert_eq!(file("half").old, Some(old));
    assert!(matches!(file("doc/changelog.gz").finding, Some(Finding::Unpacked { estimate: 1..500, .. })));

    let hints = &explanation.hints;
    let gzip = ContentKind::Gzip;
    assert!(matches!(hints[0], Hint::SeeThrough { files: 2.., .. }), "{hints:?}");
    assert!(hints[0].to_string().contains("tar-diff --format tardf3"), "{}", hints[0]);
    assert!(hints.iter().any(|hint| matches!(hint, Hint::UnusableSource { files: 1, .. })), "{hints:?}");
    assert!(
        hints.iter().any(|hint| matches!(hint, Hint::SameContent { kind, files: 1, .. } if *kind == gzip)),
        "{hints:?}"
    );
    assert!(
        hints.iter().any(|hint| matches!(hint, Hint::StoreUnpacked { kind, files: 1, .. } if *kind == gzip)),
        "{hints:?}"
    );
}

#[test]
fn archives_that_differ_in_times_alone_are_told() {
    let mut rng = Rng::new(8);
    let texts: Vec<_> = (0..40).map(|_| contents::text(&mut rng, 3000)).collect();
    let zip = |time| {
        let members: Vec<_> = texts.iter().map(|text| ("member/with/a/name", text.as_slice())).collect();
        let zip = fixtures::zip(&members, time);
        LayerBuilder::new().file("x.jar", zip).finish(Ending::Normal)
    };
    let explanation = explained(&[zip(1)], &zip(0x1234), Method::Bsdiff);
    assert_eq!(explanation.files[0].finding, Some(Finding::SameMembers { members: 40 }));
    assert_eq!(explanation.files[0].reason, Reason::Recompressed);
}

#[test]
fn times_of_unchanged_files_are_told() {
    let layer = |mtime: u64| {
        let mut builder = LayerBuilder::new();
        for index in 0..50u64 {
            builder.mtime(mtime + index).file(format!("file{index}"), format!("{index}"));
        }
        builder.finish(Ending::Normal)
    };
    let explanation = explained(&[layer(1)], &layer(1000), Method::Bsdiff);
    assert!(matches!(explanation.hints[..], [Hint::OtherMtime { files: 50, unchanged: 50, .. }]));
    let explanation = explained(&[layer(1)], &layer(1), Method::Bsdiff);
    assert_eq!(explanation.hints, []);
}

fn delta_of(write: impl FnOnce(&mut OpWriter<Vec<u8>>)) -> Vec<u8> {
    let mut writer = OpWriter::new(Vec::new(), Version::V1, Encoding::default()).unwrap();
    write(&mut writer);
    writer.finish().unwrap().0
}

#[test]
fn a_delta_of_another_layer_is_refused() {
    let layer = LayerBuilder::new().file("a", [7; 600]).finish(Ending::Normal);
    let new = spool(&layer);
    let path = SourcePath::new(b"a").unwrap();
    let other = [&layer[..layer.len() - 1], &[1]].concat();
    let size = layer.len() as u64;
    for (delta, seen) in [
        (delta_of(|writer| writer.literal(&layer[1..]).unwrap()), 0),
        (delta_of(|writer| writer.literal(&layer[..layer.len() / 2]).unwrap()), size / 2),
        (delta_of(|writer| writer.literal(&other).unwrap()), size - 1),
        (delta_of(|writer| writer.copy(&path, 0, size + 1).unwrap()), size),
        (delta_of(|writer| writer.copy(&path, 0, u64::MAX - 5).unwrap()), size),
        (delta_of(|writer| (0..2).for_each(|_| writer.copy(&path, 7, size).unwrap())), size),
    ] {
        let error = explain(delta.as_slice(), &new, &[]).unwrap_err();
        assert!(matches!(error, Error::OtherLayer { offset, .. } if offset == seen), "{error:?}");
    }
}

#[test]
fn broken_deltas_are_errors() {
    let new = spool(&LayerBuilder::new().file("a", [7; 600]).finish(Ending::Normal));
    let raw = |ops: &[u8]| [&wire::MAGIC_V1[..], &zstd::encode_all(ops, 1).unwrap()].concat();
    let no_source = explain(raw(&[wire::OP_COPY, 5]).as_slice(), &new, &[]).unwrap_err();
    let kind = match no_source {
        Error::Delta(delta_format::Error::Corrupt { kind, .. }) => kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind, CorruptKind::NoSource);
    for delta in [&b"tardf1"[..], b"tardf1\n\0", &raw(&[wire::OP_DATA, 100, 1]), &raw(b"\xff\0")] {
        assert!(matches!(explain(delta, &new, &[]), Err(Error::Delta(_) | Error::OtherLayer { .. })));
    }
}

#[test]
fn the_bars_of_a_page_have_one_scale() {
    let (old, new) = layers();
    let explanation = explained(&[old], &new, Method::Bsdiff);
    let page = explanation.html("delta", 10);
    for group in explanation.kinds.iter().chain(&explanation.reasons).filter(|group| group.cost > 0).take(3) {
        let share = 100.0 * group.cost as f64 / explanation.delta_size as f64;
        assert!(page.contains(&format!("<rect class=\"v\" width=\"{share:.2}%\"")), "{}", group.name);
    }
}

#[test]
fn the_page_escapes_what_others_wrote() {
    let (_, new) = layers();
    let hostile = "<script>alert('&')</script>\u{1b}[2J\u{202e}";
    let mut builder = LayerBuilder::new();
    let tail = builder.file(hostile, Rng::new(1).bytes(5000)).finish(Ending::Normal);
    let explanation = explained(&[new], &tail, Method::Bsdiff);
    let page = explanation.html("<b>delta</b>", 10);
    assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;\\u{1b}[2J\\u{202e}"));
    assert!(page.contains("<title>&lt;b&gt;delta&lt;/b&gt;"));
    assert!(!page.contains("<script") && !page.contains("http"), "the page needs nothing else");
}
