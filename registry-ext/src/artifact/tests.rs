//! The examples of ARTIFACT.md, and what is written and read again.

use layer::{BlobDigest, DiffId, Digest};

use super::delta_index::{self, LayerDelta};
use super::oci_delta::{ArtifactLayer, ArtifactSignature, Kind, OciDelta};
use super::*;
use crate::oci::{
    annotated, descriptor, descriptor_of, digest_annotation, digest_of, index, parse_index, parse_manifest,
};

/// The JSON examples of ARTIFACT.md, in order.
fn examples() -> Vec<&'static str> {
    let text = include_str!("../../ARTIFACT.md");
    text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

fn digest(name: u8) -> Digest {
    Digest::from_bytes([name; 32])
}

fn layer_delta(from: u8, to: u8, blob: u8, size: u64) -> LayerDelta {
    LayerDelta::new(DiffId(digest(from)), DiffId(digest(to)), digest(blob), size)
}

#[test]
fn the_examples_are_what_they_say() {
    let [index, delta_manifest, artifact] = examples().try_into().unwrap();
    let index = parse_index("index", index.as_bytes()).unwrap();
    let (target, _) = delta_index::targets(&index)[0];
    assert_eq!(delta_index::entries_for(&index, target).len(), 1);

    let parsed = parse_manifest("delta manifest", delta_manifest.as_bytes()).unwrap();
    let deltas = delta_index::deltas_of(&parsed);
    assert_eq!(deltas.len(), 1);
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    assert_eq!(json(&delta_index::build(target, &deltas)), json(delta_manifest.as_bytes()));

    let parsed = OciDelta::parse(&parse_manifest("artifact", artifact.as_bytes()).unwrap()).unwrap();
    assert_eq!(parsed.layers.iter().map(ArtifactLayer::is_delta).collect::<Vec<_>>(), [true, false]);
    assert_eq!(digest_of(&parsed.target).unwrap(), target);
    assert_eq!(json(&parsed.build()), json(artifact.as_bytes()));
}

#[test]
fn the_smallest_delta_of_a_pair_comes_first_and_alone() {
    let deltas = [
        layer_delta(1, 9, 11, 50),
        layer_delta(2, 9, 12, 20),
        layer_delta(1, 9, 13, 40),
        layer_delta(1, 8, 14, 60),
    ];
    let manifest = parse_manifest("m", &delta_index::build(digest(0), &deltas)).unwrap();
    let kept = delta_index::deltas_of(&manifest);
    let blobs: Vec<Digest> = kept.iter().map(|delta| digest_of(&delta.blob).unwrap()).collect();
    assert_eq!(blobs, [digest(12), digest(13), digest(14)]);
    // What is read can be written again without a change.
    assert_eq!(delta_index::build(digest(0), &kept), delta_index::build(digest(0), &deltas));
}

#[test]
fn what_flatpak_indexer_writes_is_read() {
    let [_, delta_manifest, _]: [&str; 3] = examples().try_into().unwrap();
    let older = delta_manifest
        .replace(TAR_DIFF, TAR_DIFF_REDHAT)
        .replace("\"schemaVersion\": 2", "\"schemaVersion\": 1")
        .replace("\"size\": 48213,", "\"size\": 48213, \"urls\": [\"https://cdn.example/x\"],");
    let deltas = delta_index::deltas_of(&parse_manifest("m", older.as_bytes()).unwrap());
    assert_eq!(deltas.len(), 1);
    assert!(deltas[0].blob.urls().is_some());
}

#[test]
fn a_target_has_one_entry() {
    let entry = |target: u8, bytes: &[u8]| {
        annotated(descriptor_of("m", bytes), [(ANNOTATION_TARGET, digest(target).to_string())])
    };
    let foreign = descriptor_of("m", b"foreign");
    let entries = vec![entry(1, b"a"), foreign, entry(2, b"b"), entry(1, b"c")];
    let changed = delta_index::with_entry(&index(entries), digest(1), Some(b"new"));
    assert_eq!(changed.manifests().len(), 3);
    let (first, rest) = changed.manifests().split_first().unwrap();
    assert_eq!(digest_of(first).unwrap(), Digest::of(b"new"));
    assert!(rest.iter().all(|entry| digest_annotation(entry, ANNOTATION_TARGET) != Some(digest(1))));
    let removed = delta_index::with_entry(&changed, digest(1), None);
    assert_eq!(delta_index::targets(&removed), [(digest(2), Digest::of(b"b"))]);
}

#[test]
fn an_artifact_is_read_as_it_was_written() {
    let original = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest(5), 7);
    let artifact = OciDelta {
        target: descriptor("application/vnd.oci.image.manifest.v1+json", digest(1), 100),
        target_config: descriptor("application/vnd.oci.image.config.v1+json", digest(2), 200),
        source: Some(digest(3)),
        source_config: digest(4),
        reused: vec![(BlobDigest(digest(6)), DiffId(digest(7)))],
        layers: vec![
            ArtifactLayer { to: BlobDigest(digest(8)), blob: descriptor(TAR_DIFF, digest(9), 10) },
            ArtifactLayer { to: BlobDigest(digest(10)), blob: descriptor(TAR_DIFF_V3, digest(11), 10) },
            ArtifactLayer::original(&original).unwrap(),
        ],
        kind: Kind::OciDelta,
        signatures: vec![ArtifactSignature {
            manifest: descriptor("application/vnd.oci.image.manifest.v1+json", digest(12), 300),
            blobs: vec![descriptor("application/vnd.dev.cosign.simplesigning.v1+json", digest(13), 20)],
        }],
        tardf3_saves_nothing: false,
    };
    let bytes = artifact.build();
    let manifest = parse_manifest("artifact", &bytes).unwrap();
    assert_eq!(OciDelta::parse(&manifest).unwrap(), artifact);
    assert_eq!(bytes, artifact.build());
    let deltas: Vec<bool> = artifact.layers.iter().map(ArtifactLayer::is_delta).collect();
    assert_eq!(deltas, [true, true, false]);

    let tried = OciDelta { tardf3_saves_nothing: true, ..artifact.clone() };
    assert_eq!(OciDelta::parse(&parse_manifest("artifact", &tried.build()).unwrap()).unwrap(), tried);

    let json = String::from_utf8(bytes).unwrap();
    for (artifact_type, kind) in [(ARTIFACT_TYPE_REDHAT, Kind::Older), (ARTIFACT_TYPE_TARDF3, Kind::Tardf3)] {
        let of_kind = OciDelta { kind, ..artifact.clone() };
        let changed = json.replace(ARTIFACT_TYPE, artifact_type);
        assert_eq!(OciDelta::parse(&parse_manifest("x", changed.as_bytes()).unwrap()).unwrap(), of_kind);
        assert_eq!(of_kind.build(), changed.as_bytes());
    }
    let other = json.replace(ARTIFACT_TYPE, "application/vnd.example");
    assert!(OciDelta::parse(&parse_manifest("artifact", other.as_bytes()).unwrap()).is_err());
}

#[test]
fn hostile_documents_are_errors() {
    for text in ["", "{}", "[]", "null", r#"{"schemaVersion":2}"#, r#"{"manifests":{}}"#, "\u{0}"] {
        assert!(parse_index("x", text.as_bytes()).is_err(), "{text}");
        assert!(parse_manifest("x", text.as_bytes()).is_err(), "{text}");
    }
}
