//! Documents as others write them.
//!
//! Go writes an empty list as `null`, media types come in any case and with parameters, fields that a
//! client needs are left out. All of that is read; what is then still no document is an error. An entry of
//! an index that names nothing is left out: it is no reason to refuse the others.

use std::fmt;

use oci_spec::image::MediaType;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Media type of an index, as docker has it.
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The type and subtype of a media type in lower case (RFC 9110, 8.3.1): parameters such as `charset`
/// say nothing that is of use here.
pub(crate) fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Returns true if a media type is that of an index, docker's included.
pub(crate) fn is_index(media_type: &str) -> bool {
    media_type == MediaType::ImageIndex.as_ref() || media_type == DOCKER_INDEX
}

/// The fields that tell a manifest from an index.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Shape {
    media_type: Option<Value>,
    #[serde(deserialize_with = "present")]
    manifests: bool,
    #[serde(deserialize_with = "present")]
    config: bool,
    #[serde(deserialize_with = "present")]
    layers: bool,
}

/// Reads any value: the field is there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// The media type of a document: what it states itself, or else `said` (the header `Content-Type`, a
/// descriptor), unless that is not what the document looks like.
pub(crate) fn media_type_of(bytes: &[u8], said: Option<&str>) -> String {
    let shape: Shape = serde_json::from_slice(bytes).unwrap_or_default();
    let stated = shape.media_type.as_ref().and_then(Value::as_str).map(essence).unwrap_or_default();
    if !stated.is_empty() {
        return stated;
    }
    let said = said.map(essence).unwrap_or_default();
    let is_manifest = shape.config || shape.layers;
    match (shape.manifests, is_manifest) {
        (true, false) if !is_index(&said) => MediaType::ImageIndex.to_string(),
        (false, true) if is_index(&said) || !said.contains("manifest") => {
            MediaType::ImageManifest.to_string()
        }
        _ if said.is_empty() => MediaType::ImageManifest.to_string(),
        _ => said,
    }
}

/// Reads a manifest; `what` names it in errors.
pub(super) fn manifest<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    read(what, bytes, |document| {
        if document.contains_key("config") && !document.contains_key("layers") {
            document.insert("layers".into(), Value::Array(Vec::new()));
        }
        for layer in document.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten() {
            descriptor(layer);
        }
    })
}

/// Reads an index; `what` names it in errors.
pub(super) fn index<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    read(what, bytes, entries)
}

/// Reads an index of images, with the versions of the systems that they are for: `oci_spec` knows these
/// under another name than the specification, and so such an index is never written again.
pub(super) fn image_index<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    read(what, bytes, |document| {
        entries(document);
        for entry in document.get_mut("manifests").and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(platform) = entry.get_mut("platform").and_then(Value::as_object_mut) else { continue };
            if let Some(version @ Value::String(_)) = platform.remove("os.version") {
                platform.insert("os_version".into(), version);
            }
        }
    })
}

fn read<T: DeserializeOwned>(
    what: &str,
    bytes: &[u8],
    mend: impl FnOnce(&mut Map<String, Value>),
) -> Result<T> {
    let broken = |reason: &dyn fmt::Display| Error::malformed(what, reason);
    let mut value: Value = serde_json::from_slice(bytes).map_err(|error| broken(&error))?;
    let Some(document) = value.as_object_mut() else { return Err(broken(&"it is no JSON object")) };
    // A list that is there is one.
    for list in ["layers", "manifests"] {
        if let Some(value @ Value::Null) = document.get_mut(list) {
            *value = Value::Array(Vec::new());
        }
    }
    document.retain(|_, value| !value.is_null());
    document.entry("schemaVersion").or_insert_with(|| 2.into());
    media_type(document, "mediaType");
    media_type(document, "artifactType");
    texts(document, "annotations");
    for field in ["config", "subject"] {
        document.get_mut(field).map(descriptor);
    }
    mend(document);
    serde_json::from_value(value).map_err(|error| broken(&error))
}

/// Leaves the entries of an index that name something.
fn entries(document: &mut Map<String, Value>) {
    let Some(entries) = document.get_mut("manifests").and_then(Value::as_array_mut) else { return };
    entries.iter_mut().for_each(|entry| {
        descriptor(entry);
        if let Some(entry) = entry.as_object_mut() {
            entry.entry("size").or_insert_with(|| 0.into());
        }
    });
    entries.retain(|entry| oci_spec::image::Descriptor::deserialize(entry).is_ok());
}

/// Mends a descriptor.
fn descriptor(value: &mut Value) {
    let Some(descriptor) = value.as_object_mut() else { return };
    descriptor.retain(|_, value| !value.is_null());
    media_type(descriptor, "mediaType");
    descriptor.entry("mediaType").or_insert_with(|| "".into());
    media_type(descriptor, "artifactType");
    texts(descriptor, "annotations");
    let is_platform = |platform: &Value| {
        ["os", "architecture"].iter().all(|field| platform.get(field).is_some_and(Value::is_string))
    };
    if descriptor.get("platform").is_some_and(|platform| !is_platform(platform)) {
        descriptor.remove("platform");
    }
}

/// Mends a media type; one that is empty or no text is as if it were absent.
fn media_type(object: &mut Map<String, Value>, field: &str) {
    let Some(value) = object.get(field) else { return };
    match value.as_str().map(essence).filter(|essence| !essence.is_empty()) {
        Some(essence) => drop(object.insert(field.into(), essence.into())),
        None => drop(object.remove(field)),
    }
}

/// Leaves the texts of an object that holds texts.
fn texts(object: &mut Map<String, Value>, field: &str) {
    match object.get_mut(field) {
        Some(Value::Object(texts)) => texts.retain(|_, text| text.is_string()),
        Some(_) => drop(object.remove(field)),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::image::{ImageIndex, ImageManifest};
    use serde_json::json;

    use super::*;

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn of(document: &Value, said: Option<&str>) -> String {
        media_type_of(document.to_string().as_bytes(), said)
    }

    #[test]
    fn a_media_type_is_stated_or_said_or_seen() {
        let (index, image) = (json!({"manifests": null}), json!({"config": {}, "layers": []}));
        for said in [None, Some(""), Some("application/json"), Some("text/plain; charset=utf-8")] {
            assert_eq!(of(&index, said), INDEX, "{said:?}");
            assert_eq!(of(&image, said), MANIFEST, "{said:?}");
        }
        assert_eq!(of(&index, Some(&format!("{}; charset=utf-8", INDEX.to_uppercase()))), INDEX);
        assert_eq!(of(&index, Some(DOCKER_INDEX)), DOCKER_INDEX);
        assert_eq!(of(&index, Some(MANIFEST)), INDEX, "a server that says the same of everything");
        assert_eq!(of(&image, Some(INDEX)), MANIFEST);
        assert_eq!(of(&json!({"mediaType": "", "manifests": []}), None), INDEX);
        assert_eq!(of(&json!({"mediaType": INDEX, "config": {}}), Some(MANIFEST)), INDEX);
        assert_eq!(of(&json!({"manifests": [], "config": {}}), Some(MANIFEST)), MANIFEST);
        assert_eq!(media_type_of(b"<html>", Some("text/html")), "text/html");
    }

    #[test]
    fn null_stands_for_what_is_empty_or_absent() {
        let index = json!({
            "mediaType": null, "manifests": null, "annotations": null, "subject": null, "artifactType": "",
        });
        let index: ImageIndex = super::index("x", index.to_string().as_bytes()).unwrap();
        assert!(index.manifests().is_empty() && index.artifact_type().is_none());
        let config =
            json!({"mediaType": null, "digest": DIGEST, "size": 2, "urls": null, "annotations": {"a": null}});
        for manifest in [json!({"config": config, "layers": null}), json!({"config": config})] {
            let manifest: ImageManifest = manifest_of(&manifest).unwrap();
            assert!(manifest.layers().is_empty());
            assert_eq!(manifest.config().annotations(), &Some(Default::default()));
        }
    }

    fn manifest_of(manifest: &Value) -> Result<ImageManifest> {
        super::manifest("x", manifest.to_string().as_bytes())
    }

    #[test]
    fn entries_that_name_nothing_are_left_out() {
        let index = json!({"manifests": [
            {"mediaType": "", "digest": DIGEST, "size": 2, "platform": {"os": "linux"}},
            {"digest": DIGEST, "platform": null, "artifactType": "Application/X; a=b", "annotations": {"a": 1}},
            {"mediaType": MANIFEST, "size": 2}, {"digest": "nonsense", "size": 2}, {"digest": DIGEST, "size": -1},
            null, 7, [],
        ]});
        let index: ImageIndex = super::index("x", index.to_string().as_bytes()).unwrap();
        assert_eq!(index.manifests().len(), 2);
        assert!(index.manifests().iter().all(|entry| entry.platform().is_none()));
        assert_eq!(index.manifests()[1].artifact_type(), &Some("application/x".into()));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in ["null", "[]", "{}", "1", "", "{\"config\":null,\"layers\":[]}", "{\"layers\":[null]}"] {
            assert!(super::manifest::<ImageManifest>("x", text.as_bytes()).is_err(), "{text}");
        }
        for text in ["{}", "[]", "{\"manifests\":{}}", "{\"message\":\"ok\"}"] {
            assert!(super::index::<ImageIndex>("x", text.as_bytes()).is_err(), "{text}");
        }
    }
}
