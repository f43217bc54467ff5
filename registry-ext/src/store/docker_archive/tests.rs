//! Archives as docker wrote them before version 25, and such as nobody should write.

use fixtures::{Ending, LayerBuilder};
use tempfile::TempDir;

use super::*;
use crate::oci::Name;

/// An archive with two images that share their first layer: the second has it as a symlink.
fn archive(manifest: &str, dir: &Path) -> std::path::PathBuf {
    let layer = |name: &str| {
        let mut layer = LayerBuilder::new();
        layer.file(name, name);
        layer.finish(Ending::Normal)
    };
    let mut tar = LayerBuilder::new();
    tar.file("old.json", r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#);
    tar.file("0/layer.tar", layer("a"));
    tar.symlink("1/layer.tar", "../0/layer.tar");
    tar.symlink("2/layer.tar", "../../0/layer.tar");
    tar.file("3/layer.tar", layer("b"));
    tar.file("manifest.json", manifest);
    let path = dir.join("saved.tar");
    std::fs::write(&path, tar.finish(Ending::Normal)).unwrap();
    path
}

fn unpacked(manifest: &str) -> Result<OciLayout> {
    let dir = TempDir::new().unwrap();
    OciLayout::unpack_docker(&archive(manifest, dir.path()), dir.path())
}

#[test]
fn a_layer_that_was_written_already_is_a_symlink() {
    let dir = TempDir::new().unwrap();
    let manifest = r#"[
        {"Config": "old.json", "RepoTags": ["app:v1", "h.example/app:v1"], "Layers": ["0/layer.tar"]},
        {"Config": "old.json", "RepoTags": null, "Layers": ["1/layer.tar", "3/layer.tar"]}
    ]"#;
    let layout = OciLayout::unpack_docker(&archive(manifest, dir.path()), dir.path()).unwrap();
    let mut tags = layout.tags().unwrap();
    tags.sort();
    assert_eq!(tags, ["docker.io/library/app:v1", "h.example/app:v1"]);
    let index = layout.index().unwrap();
    let layers = |entry: &Descriptor| {
        let manifest = layout.manifest_of(entry).unwrap();
        crate::oci::parse_manifest("manifest", &manifest.bytes).unwrap().layers().clone()
    };
    let entries = index.manifests();
    assert_eq!((layers(&entries[0]), entries.len()), (layers(&entries[1]), 3));
    assert_eq!(layers(&entries[2])[0], layers(&entries[0])[0]);
    assert_eq!(layers(&entries[2]).len(), 2);
    for blob in layers(&entries[2]) {
        assert!(layout.checked_blob(&blob).is_ok());
    }
    let named = Name::Tag(full_name("app:v1").unwrap());
    assert!(layout.manifest(&named).unwrap().is_some());
    let Err(Error::Reference { reason, .. }) = layout.only_image() else { panic!("there are two images") };
    assert!(reason.contains("docker-archive:"), "{reason}");
}

#[test]
fn a_broken_archive_is_an_error_and_no_image() {
    let of = |layer: &str| format!(r#"[{{"Config": "old.json", "Layers": ["{layer}"]}}]"#);
    for layer in ["2/layer.tar", "4/layer.tar", "../0/layer.tar", "", "0"] {
        assert!(matches!(unpacked(&of(layer)), Err(Error::NotFound { .. })), "{layer}");
    }
    for manifest in ["", "{}", r#"[{"Layers": []}]"#] {
        assert!(matches!(unpacked(manifest), Err(Error::Malformed { .. })), "{manifest}");
    }
    let many = vec!["\"0/layer.tar\""; MAX_LISTED_LAYERS + 1].join(",");
    let many = format!(r#"[{{"Config": "old.json", "Layers": [{many}]}}]"#);
    assert!(matches!(unpacked(&many), Err(Error::Malformed { .. })));
}

#[test]
fn another_tar_is_told_from_an_archive() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("other.tar");
    for (file, wanted) in [("oci-layout", "oci-archive:FILE"), ("etc/passwd", "docker save")] {
        let mut tar = LayerBuilder::new();
        tar.file(file, "x");
        std::fs::write(&path, tar.finish(Ending::Normal)).unwrap();
        let error = OciLayout::unpack_docker(&path, dir.path()).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
