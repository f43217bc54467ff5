//! Another manifest of the same image, and another index.

use layer::Digest;
use serde_json::Value;

use super::Tar;
use crate::oci::{Manifest, digest_of, parse_json, to_json};
use crate::{Error, Result};

/// The media type of a layer that is a tar.
const OCI_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// The same in images of docker.
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// The beginnings of the annotations that are about the compressed form of a layer: of zstd:chunked
/// (containers/storage, `pkg/chunked`) and of eStargz.
const OF_COMPRESSED: [&str; 3] =
    ["io.github.containers.zstd-chunked.", "containerd.io/snapshot/stargz/", "io.containers.estargz."];

/// Returns an image's manifest in which some layers are tars. All else in it stays.
///
/// # Errors
/// [`Error::Malformed`].
pub(super) fn image(original: &Manifest, tars: &[Tar]) -> Result<Manifest> {
    let mut manifest: Value = parse_json("the manifest", &original.bytes)?;
    let layers = manifest.get_mut("layers").and_then(Value::as_array_mut);
    let layers = layers.ok_or_else(|| Error::malformed("the manifest", "it has no layers"))?;
    for layer in layers {
        let of_layer = |tar: &&Tar| digest_of(&tar.blob).is_ok_and(|digest| is_of(layer, digest));
        let Some(tar) = tars.iter().find(of_layer) else { continue };
        let is_docker =
            layer.get("mediaType").and_then(Value::as_str).is_some_and(|of| of.contains(".docker."));
        let Some(fields) = layer.as_object_mut() else { continue };
        let media_type = if is_docker { DOCKER_TAR } else { OCI_TAR };
        fields.insert("mediaType".into(), media_type.into());
        fields.insert("digest".into(), tar.digest.to_string().into());
        fields.insert("size".into(), tar.size.into());
        // Places of the compressed form.
        fields.remove("urls");
        if let Some(annotations) = fields.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| !OF_COMPRESSED.iter().any(|start| key.starts_with(start)));
            if annotations.is_empty() {
                fields.remove("annotations");
            }
        }
    }
    finish(manifest, original)
}

/// Returns an index with another manifest in the place of one; `None` if it does not list that one.
///
/// # Errors
/// [`Error::Malformed`].
pub(super) fn index(original: &Manifest, from: Digest, to: &Manifest) -> Result<Option<Manifest>> {
    let mut index: Value = parse_json("the index", &original.bytes)?;
    let entries = index.get_mut("manifests").and_then(Value::as_array_mut);
    let mut is_listed = false;
    for entry in entries.into_iter().flatten().filter(|entry| is_of(entry, from)) {
        let Some(fields) = entry.as_object_mut() else { continue };
        fields.insert("digest".into(), to.digest.to_string().into());
        fields.insert("size".into(), to.bytes.len().into());
        is_listed = true;
    }
    is_listed.then(|| finish(index, original)).transpose()
}

fn is_of(descriptor: &Value, digest: Digest) -> bool {
    descriptor.get("digest").and_then(Value::as_str) == Some(&*digest.to_string())
}

/// The document with its media type, which says how it is read.
fn finish(mut document: Value, original: &Manifest) -> Result<Manifest> {
    let fields = document.as_object_mut();
    let fields = fields.ok_or_else(|| Error::malformed("the manifest", "it is no JSON object"))?;
    fields.insert("mediaType".into(), original.media_type.clone().into());
    Ok(Manifest::new(to_json(&document), Some(&original.media_type)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oci::descriptor;

    fn digest(name: u8) -> Digest {
        Digest::from_bytes([name; 32])
    }

    fn manifest(document: &Value) -> Manifest {
        Manifest::new(document.to_string().into_bytes(), Some("application/vnd.oci.image.manifest.v1+json"))
    }

    fn tar(name: u8, blob: u8) -> Tar {
        Tar { digest: digest(name), size: 1000, blob: descriptor("x", digest(blob), 10) }
    }

    #[test]
    fn layers_are_tars_and_all_else_stays() {
        let layer = |name: u8, kind: &str| {
            json!({
                "mediaType": kind, "digest": digest(name).to_string(), "size": 10, "urls": ["https://h/x"],
                "annotations": {
                    "io.github.containers.zstd-chunked.manifest-checksum": "x",
                    "containerd.io/snapshot/stargz/toc.digest": "x", "other": "y",
                },
            })
        };
        let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let original = json!({
            "schemaVersion": 2, "config": {"digest": digest(9).to_string(), "size": 2, "mediaType": "c"},
            "layers": [layer(1, zstd), layer(2, zstd), layer(3, docker)],
            "annotations": {"of": "image"}, "unknown": [1],
        });
        let made = image(&manifest(&original), &[tar(21, 1), tar(23, 3)]).unwrap();
        let read: Value = serde_json::from_slice(&made.bytes).unwrap();
        let plain = |name: u8, kind: &str| {
            json!({
                "mediaType": kind, "digest": digest(name).to_string(), "size": 1000, "annotations": {"other": "y"},
            })
        };
        let mut wanted = original.clone();
        wanted["mediaType"] = "application/vnd.oci.image.manifest.v1+json".into();
        wanted["layers"] = json!([plain(21, OCI_TAR), layer(2, zstd), plain(23, DOCKER_TAR)]);
        assert_eq!(read, wanted);
        assert_eq!(made.digest, Digest::of(&made.bytes));
        // The order of keys is no matter.
        let again = original.to_string().replacen("\"schemaVersion\":2", "\"schemaVersion\": 2", 1);
        let again = Manifest::new(again.into_bytes(), Some(&made.media_type));
        assert_eq!(image(&again, &[tar(23, 3), tar(21, 1)]).unwrap(), made);
    }

    #[test]
    fn an_index_lists_another_manifest_for_one_platform() {
        let entry = |name: u8, size| {
            json!({
                "mediaType": "m", "digest": digest(name).to_string(), "size": size, "platform": {"os": "linux"},
            })
        };
        let to = manifest(&json!({}));
        let original = manifest(&json!({"manifests": [entry(1, 5), entry(2, 5)]}));
        let made = index(&original, digest(2), &to).unwrap().unwrap();
        let read: Value = serde_json::from_slice(&made.bytes).unwrap();
        assert_eq!(read["manifests"][0], entry(1, 5));
        assert_eq!(read["manifests"][1]["digest"], to.digest.to_string());
        assert_eq!(read["manifests"][1]["size"], to.bytes.len());
        assert_eq!(read["manifests"][1]["platform"], json!({"os": "linux"}));
        assert_eq!(index(&original, digest(7), &to).unwrap(), None);
    }
}
