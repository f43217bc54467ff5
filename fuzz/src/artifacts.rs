//! The answers of a registry: manifests, indexes, lists of referrers, configs, headers.

use layer::Digest;
use registry_ext::artifact::delta_index::{self, LayerDelta};
use registry_ext::artifact::oci_delta::OciDelta;
use registry_ext::fuzzing;
use registry_ext::oci::{Manifest, digest_of, parse_index, parse_manifest};
use registry_ext::reference::ImageRef;

// A test of registry-ext takes this file, too.
use super::Input;

/// Whatever a registry answers is read or refused; what is read of an artifact is written and read
/// again as the same, and an index takes and gives back an entry.
pub fn artifacts(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.within(0..=4);
    let bytes = input.rest();
    match kind {
        0 => manifest(bytes),
        1 => index(bytes),
        2 => drop(fuzzing::diff_ids(bytes)),
        3 => {
            let text = String::from_utf8_lossy(bytes);
            assert!(!fuzzing::leads_away(&text), "credentials would go there");
            if let Ok(name) = text.parse::<ImageRef>() {
                let _ = (name.name(), name.registry(), name.to_string());
            }
        }
        // A media type of the transport and a document, as they come together.
        _ => {
            let media_type = String::from_utf8_lossy(input.sized());
            let manifest = Manifest::new(input.rest().to_vec(), Some(&media_type));
            let _ = (manifest.is_index(), manifest.descriptor());
        }
    }
}

fn manifest(bytes: &[u8]) {
    let Ok(manifest) = parse_manifest("fuzz", bytes) else { return };
    let deltas = delta_index::deltas_of(&manifest);
    let built = delta_index::build(Digest::of(bytes), &deltas);
    let again = delta_index::deltas_of(&parse_manifest("fuzz", &built).expect("as it was written"));
    assert!(again.iter().all(|delta| deltas.iter().any(|known| is_same(known, delta))));
    if let Ok(artifact) = OciDelta::parse(&manifest) {
        let built = parse_manifest("fuzz", &artifact.build()).expect("as it was written");
        assert_eq!(OciDelta::parse(&built).expect("as it was written"), artifact);
    }
}

fn is_same(left: &LayerDelta, right: &LayerDelta) -> bool {
    (left.from, left.to, left.blob.digest()) == (right.from, right.to, right.blob.digest())
}

fn index(bytes: &[u8]) {
    let Ok(index) = parse_index("fuzz", bytes) else { return };
    for entry in index.manifests() {
        let _ = digest_of(entry);
    }
    let _ = delta_index::targets(&index);
    let target = Digest::of(bytes);
    let changed = delta_index::with_entry(&index, target, Some(b"{}"));
    assert_eq!(delta_index::entries_for(&changed, target).len(), 1);
    let removed = delta_index::with_entry(&changed, target, None);
    assert_eq!(removed.manifests().len(), changed.manifests().len() - 1);
}
