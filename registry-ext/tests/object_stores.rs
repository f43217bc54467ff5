//! Old images in repositories of objects that are named by their content: composefs and ostree.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::{Ending, LayerBuilder, Rng};
use layer::{DiffId, Digest, SpoolOptions};
use registry_ext::oci::{Name, digest_of, parse_manifest};
use registry_ext::store::{Base, LayerStore, OciLayout, OstreeStore};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::docker_registry::run;
use crate::support::images::{TestImage, stored_layers, write_blobs, write_images};
use crate::support::{json, registry_ext};

/// The programs that deltas are published for: those for one read an image, those for the other a layer.
const READERS: [&str; 2] = ["oci-delta", "flatpak"];
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// The fixture: an image of two layers, and a repository into which cfsctl pulled it.
struct Composefs {
    dir: TempDir,
    old: Vec<Vec<u8>>,
    new: Vec<Vec<u8>>,
}

impl Composefs {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let fixture = fixtures::golden_dir().join("../interop/composefs.tar.xz");
        run("tar", &["-xf", fixture.to_str().unwrap(), "-C", dir.path().to_str().unwrap()]);
        let old = stored_layers(&dir.path().join("image"), "v1");
        // Each file has some bytes more than before, so that all of them are read.
        let mut builder = LayerBuilder::new();
        let spool = spool(&old[1]);
        for entry in layer::entries(&spool).unwrap() {
            let content = spool.read_range(entry.data.clone()).unwrap();
            if content.len() > 100 {
                builder.file(&entry.path, [&content[..], b"more"].concat());
            }
        }
        let base = self::spool(&old[0]);
        let of_base =
            layer::entries(&base).unwrap().into_iter().find(|entry| *entry.path == *b"usr/lib/base");
        let content = base.read_range(of_base.unwrap().data).unwrap();
        builder.file("usr/lib/base", [&content[..], b"more"].concat());
        let new = vec![old[0].clone(), builder.finish(Ending::Normal)];
        let layout = OciLayout::open(&dir.path().join("image")).unwrap();
        let manifest =
            write_blobs(&layout, "amd64", &new, new.iter().map(|tar| (TAR, tar.clone())).collect());
        layout.put_manifest(&manifest, Some("v2")).unwrap();
        Self { dir, old, new }
    }

    fn image(&self) -> String {
        format!("oci:{}", self.dir.path().join("image").display())
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    /// Pulls the new image into an empty layout.
    fn pull(&self, to: &str) -> Value {
        let store = self.dir.path().join(to);
        let (image, source) = (self.image(), self.repository());
        let report = json(&format!(
            "pull {image}:v2 --into oci:{} --source composefs:{} --prefer size",
            store.display(),
            source.display()
        ));
        assert_eq!(stored_layers(&store, "v2"), self.new);
        report
    }

    /// The object that the stream of a layer is.
    fn stream_of(&self, layer: &[u8]) -> PathBuf {
        let link = format!("streams/oci-layer-{}", Digest::of(layer));
        self.repository().join("streams").join(fs::read_link(self.repository().join(link)).unwrap())
    }
}

fn spool(tar: &[u8]) -> layer::Spool {
    layer::Spool::read("layer".into(), tar, &layer::SpoolOptions::default()).unwrap()
}

#[test]
fn a_repository_of_cfsctl_is_a_source() {
    let composefs = Composefs::new();
    let image = composefs.image();
    for reader in READERS {
        json(&format!("publish {image}:v2 --from {image}:v1 --for {reader}"));
        let report = composefs.pull(reader);
        assert!(report["layers"][1]["from"]["delta"].is_string(), "{reader}: {report}");
        registry_ext(&format!("prune {image}:v2 --yes")).assert().success();
    }
    let line = format!("pull {image}:v2 --into composefs:{}", composefs.repository().display());
    let run = registry_ext(&line).assert().failure();
    let text = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(text.contains("is a source"), "{text}");
}

#[test]
fn a_broken_repository_of_cfsctl_costs_a_warning() {
    let composefs = Composefs::new();
    let image = composefs.image();
    json(&format!("publish {image}:v2 --from {image}:v1 --for oci-delta"));
    let stream = composefs.stream_of(&composefs.old[1]);
    let whole = fs::read(&stream).unwrap();
    // A secret beside the repository, which nothing in it leads to.
    let outside = composefs.dir.path().join("outside");
    fs::write(&outside, &whole).unwrap();
    for (what, damage) in [
        ("the stream is gone", None),
        ("the stream is cut", Some(&whole[..whole.len() / 2])),
        ("the stream is another", Some(&b"SplitStreamSplitStreamSplitStreamSplitStream"[..])),
    ] {
        fs::remove_file(&stream).unwrap();
        if let Some(bytes) = damage {
            fs::write(&stream, bytes).unwrap();
        } else {
            std::os::unix::fs::symlink(&outside, &stream).unwrap();
        }
        let to = what.replace(' ', "-");
        assert_eq!(composefs.pull(&to)["layers"][1]["from"], "blob", "{what}");
    }
}

/// An ostree repository with the files of images.
struct Ostree {
    dir: TempDir,
    old: TestImage,
    new: TestImage,
}

/// The modes of repositories, and the forms in which they have files.
const MODES: [&str; 4] = ["bare", "bare-user", "bare-user-only", "archive"];

impl Ostree {
    /// Images of one layer.
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let layer = |version: u8| {
            let mut rng = Rng::new(18);
            let mut layer = LayerBuilder::new();
            layer.dir("usr").dir("usr/bin").dir("usr/lib").dir("etc").symlink("bin", "usr/bin");
            for path in ["usr/bin/app", "usr/lib/data", "etc/app.conf"] {
                layer.mode(0o755).file(path, [rng.bytes(9000), vec![version; 100]].concat());
            }
            // Other sizes of words, and more than one of them, in the object of a directory.
            for index in 0..60 {
                layer.file(format!("usr/lib/file-with-a-name-{index}"), format!("{index}"));
            }
            TestImage::new(&[&layer.finish(Ending::Normal)])
        };
        let (old, new) = (layer(1), layer(2));
        for reader in READERS {
            let layout = dir.path().join(reader);
            fs::create_dir(&layout).unwrap();
            write_images(&layout, &[(&old, "v1"), (&new, "v2")]);
            let images = layout.join("images").display().to_string();
            json(&format!("publish oci:{images}:v2 --from oci:{images}:v1 --for {reader}"));
        }
        Self { dir, old, new }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The digest of the old image's config, and its manifest and config.
    fn documents(&self) -> (Digest, String, String) {
        let layout = OciLayout::open(&self.dir.path().join("flatpak/images")).unwrap();
        let manifest = layout.manifest(&Name::Tag("v1".into())).unwrap().unwrap();
        let parsed = parse_manifest("manifest", &manifest.bytes).unwrap();
        let digest = digest_of(parsed.config()).unwrap();
        let config = fs::read_to_string(layout.blob_path(digest)).unwrap();
        (digest, String::from_utf8(manifest.bytes).unwrap(), config)
    }

    /// Makes a repository of a mode, and commits the files of the old image under a ref.
    fn commit(&self, mode: &str, reference: &str, metadata: &[(&str, &str)]) -> String {
        let repository = self.path(mode);
        let tree = self.path("tree");
        if !Path::new(&tree).exists() {
            fs::create_dir(&tree).unwrap();
            fixtures::extract_all(&self.old.layers, true, Path::new(&tree));
            // bootc has the configuration of an image there.
            fs::rename(format!("{tree}/etc"), format!("{tree}/usr/etc")).unwrap();
        }
        ostree(&repository, &["init", "--mode", mode]);
        let pairs: Vec<String> =
            metadata.iter().map(|(key, value)| format!("--add-metadata-string={key}={value}")).collect();
        let tree = format!("dir={tree}");
        let mut line = vec!["commit", "-b", reference, "--tree", &tree, "--no-xattrs", "--fsync=false"];
        if mode == "bare-user-only" {
            line.push("--canonical-permissions");
        }
        line.extend(pairs.iter().map(String::as_str));
        ostree(&repository, &line);
        repository
    }

    /// Pulls the new image to an empty layout, with the deltas that are published for a program.
    fn pull(&self, reader: &str, source: &str) -> Value {
        let to = TempDir::new_in(self.dir.path()).unwrap();
        let (images, store) = (self.path(reader), to.path().join("store"));
        let report = json(&format!(
            "pull oci:{images}/images:v2 --into oci:{} --source {source} --prefer size",
            store.display()
        ));
        assert_eq!(stored_layers(&store, "v2"), self.new.layers);
        report["layers"][0]["from"].clone()
    }
}

fn ostree(repository: &str, line: &[&str]) -> String {
    let output = Command::new("ostree").arg(format!("--repo={repository}")).args(line).output();
    let output = output.expect("ostree is there (Debian package ostree)");
    assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn repositories_of_ostree_are_sources_in_each_mode() {
    let ostree = Ostree::new();
    let (_, manifest, config) = ostree.documents();
    let metadata = [("ostree.manifest", &*manifest), ("ostree.container.image-config", &*config)];
    for mode in MODES {
        let repository = ostree.commit(mode, "ostree/container/image/docker_3A__2F__2F_app", &metadata);
        for reader in READERS {
            let from = ostree.pull(reader, &format!("ostree:{repository}"));
            assert!(from["delta"].is_string(), "{mode}, {reader}: {from}");
        }
    }
}

#[test]
fn a_broken_commit_of_ostree_hides_no_other() {
    let ostree = Ostree::new();
    let layout = OciLayout::create(Path::new(&ostree.path("two"))).unwrap();
    let other = LayerBuilder::new().file("other", "other").finish(Ending::Normal);
    TestImage::new(&[&ostree.old.layers[0], &other]).write(&layout, "v1");
    let manifest = layout.manifest(&Name::Tag("v1".into())).unwrap().unwrap();
    let parsed = parse_manifest("manifest", &manifest.bytes).unwrap();
    let config = digest_of(parsed.config()).unwrap();
    let documents = (manifest.bytes, fs::read(layout.blob_path(config)).unwrap());
    let documents = (String::from_utf8(documents.0).unwrap(), String::from_utf8(documents.1).unwrap());
    let metadata = [("ostree.manifest", &*documents.0), ("ostree.container.image-config", &*documents.1)];
    let repository = ostree.commit("archive", "ostree/container/image/app", &metadata);
    let blob = parsed.layers()[0].digest().digest().to_owned();
    let layers = ["a", "b"].map(|name| format!("ostree/container/blob/{name}/{blob}"));
    for name in &layers {
        ostree.commit("archive", name, &[("name", name)]);
    }
    ostree.commit("archive", "broken", &[("name", "broken")]);
    let break_commit = |name: &str| {
        let commit = self::ostree(&repository, &["rev-parse", name]);
        let object = format!("{repository}/objects/{}/{}.commit", &commit[..2], &commit[2..]);
        fs::write(object, "broken").unwrap();
    };
    let store = OstreeStore::open(Path::new(&repository), None).unwrap();
    let layer = Base::Layer(DiffId(Digest::of(&ostree.old.layers[0])));
    assert!(store.has(layer).unwrap());
    break_commit(&layers[0]);
    break_commit("broken");
    assert!(store.has(layer).unwrap() && store.has(Base::Image(config)).unwrap());
    store.sources(layer, &SpoolOptions::default()).unwrap();
    break_commit(&layers[1]);
    assert!(store.has(Base::Image(config)).unwrap());
    // What is broken may be what was asked for.
    let error = store.has(layer).unwrap_err().to_string();
    assert!(error.contains("commit") && error.contains("cannot be read"), "{error}");
}

#[test]
fn commits_of_ostree_are_found_by_what_they_say_or_by_their_names() {
    let ostree = Ostree::new();
    let layer = Digest::of(&ostree.old.layers[0]).to_string();
    let hex = layer.strip_prefix("sha256:").unwrap();
    // As flatpak has it.
    let repository = ostree.commit("bare-user", "app/org.example.App/x86_64/stable", &[("xa.diff-id", hex)]);
    for reader in READERS {
        // The layers of an image are the image.
        assert!(ostree.pull(reader, &format!("ostree:{repository}"))["delta"].is_string(), "{reader}");
    }
    // A commit that says nothing is tried if it is named.
    let repository = ostree.commit("archive", "app", &[]);
    assert_eq!(ostree.pull("oci-delta", &format!("ostree:{repository}")), "blob");
    let commit = self::ostree(&repository, &["rev-parse", "app"]);
    for name in ["app", &commit] {
        let from = ostree.pull("oci-delta", &format!("ostree:{repository}@{name}"));
        assert!(from["delta"].is_string(), "{name}: {from}");
    }
    for (source, wanted) in [
        (
            format!("ostree:{repository}@other"),
            format!("the ref other in ostree:{repository}, which has app, does not exist"),
        ),
        (format!("ostree:{repository}@{}", "1".repeat(64)), format!("commit {} in", "1".repeat(64))),
        ("ostree:/nonexistent".into(), "an ostree repository".into()),
    ] {
        let images = ostree.path("flatpak/images");
        let line = format!("pull oci:{images}:v2 --into oci:{} --source {source}", ostree.path("to"));
        let run = registry_ext(&line).assert().code(4);
        let text = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(text.contains(&wanted), "{source}: {text}");
    }
}

#[test]
fn refs_of_heads_and_of_remotes_are_told_apart_and_paths_may_have_an_at() {
    let ostree = Ostree::new();
    let repository = ostree.commit("archive", "origin/app", &[]);
    // The remote has another commit under the name.
    let empty = ostree.path("empty");
    fs::create_dir(&empty).unwrap();
    let tree = format!("dir={empty}");
    self::ostree(&repository, &["commit", "-b", "other", "--tree", &tree, "--no-xattrs", "--fsync=false"]);
    let refs = Path::new(&repository).join("refs");
    fs::create_dir_all(refs.join("remotes/origin")).unwrap();
    fs::copy(refs.join("heads/other"), refs.join("remotes/origin/app")).unwrap();
    assert_eq!(ostree.pull("oci-delta", &format!("ostree:{repository}@origin:app")), "blob");
    let named = ostree.path("a@b");
    fs::rename(&repository, &named).unwrap();
    assert!(ostree.pull("oci-delta", &format!("ostree:{named}@origin/app"))["delta"].is_string());
    assert_eq!(ostree.pull("oci-delta", &format!("ostree:{named}@")), "blob", "no commit says what it is of");
}
