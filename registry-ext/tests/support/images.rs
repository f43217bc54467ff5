//! Images with layers that have something in common.

use std::io::Write;
use std::path::Path;

use fixtures::{Corpus, Ending, LayerBuilder};
use layer::Digest;
use registry_ext::image::Images;
use registry_ext::image::resolve_all;
use registry_ext::oci::{Manifest, Name, descriptor_of, parse_manifest};
use registry_ext::repository::Repository;
use registry_ext::store::OciLayout;
use registry_ext::watch::Watch;
use serde_json::json;

/// An image in the making: layers, lowest first.
#[derive(Clone, Debug)]
pub(crate) struct TestImage {
    pub(crate) layers: Vec<Vec<u8>>,
    /// As in `arm/v7`: with the variant, if it has one.
    pub(crate) architecture: &'static str,
}

impl TestImage {
    pub(crate) fn new(layers: &[&[u8]]) -> Self {
        Self { layers: layers.iter().map(|layer| layer.to_vec()).collect(), architecture: "amd64" }
    }

    /// Writes the image to a layout under a tag. Gives the digest of its manifest.
    pub(crate) fn write(&self, layout: &OciLayout, tag: &str) -> Digest {
        let manifest = self.manifest(layout);
        layout.put_manifest(&manifest, Some(tag)).unwrap();
        manifest.digest
    }

    fn manifest(&self, layout: &OciLayout) -> Manifest {
        let blob = |(index, tar): (usize, &Vec<u8>)| match index {
            0 | 1 => ("application/vnd.oci.image.layer.v1.tar+gzip", gzip(tar)),
            // So well compressed that no delta of new files is smaller.
            _ => {
                let frame = zstd::encode_all(tar.as_slice(), 22).unwrap();
                ("application/vnd.oci.image.layer.v1.tar+zstd", frame)
            }
        };
        let blobs = self.layers.iter().enumerate().map(blob).collect();
        write_blobs(layout, self.architecture, &self.layers, blobs)
    }
}

/// Writes the blobs and the config of an image to a layout: each layer, and its blob with a media type.
/// Gives its manifest.
pub(crate) fn write_blobs(
    layout: &OciLayout,
    architecture: &str,
    layers: &[Vec<u8>],
    blobs: Vec<(&str, Vec<u8>)>,
) -> Manifest {
    let put = |media_type: &str, bytes: &[u8]| {
        let mut file = layout.temporary().unwrap();
        file.write_all(bytes).unwrap();
        layout.add_blob(Digest::of(bytes), file).unwrap();
        descriptor_of(media_type, bytes)
    };
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let mut config = platform(architecture);
    config["config"] = json!({});
    config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes()),
        "layers": blobs.iter().map(|(media_type, blob)| put(media_type, blob)).collect::<Vec<_>>(),
    });
    Manifest::new(manifest.to_string().into_bytes(), None)
}

fn platform(architecture: &str) -> serde_json::Value {
    match architecture.split_once('/') {
        Some((architecture, variant)) => {
            json!({"os": "linux", "architecture": architecture, "variant": variant})
        }
        None => json!({"os": "linux", "architecture": architecture}),
    }
}

/// Writes images under their tags to the layout `images` in a directory.
pub(crate) fn write_images(dir: &Path, images: &[(&TestImage, &str)]) -> OciLayout {
    let layout = OciLayout::create(&dir.join("images")).unwrap();
    for (image, tag) in images {
        image.write(&layout, tag);
    }
    layout
}

/// Writes an index of images for several platforms.
pub(crate) fn write_index(layout: &OciLayout, images: &[TestImage], tag: &str) {
    let entries: Vec<_> = images
        .iter()
        .map(|image| {
            let manifest = image.manifest(layout);
            layout.put_manifest(&manifest, None).unwrap();
            let mut entry = serde_json::to_value(manifest.descriptor()).unwrap();
            entry["platform"] = platform(image.architecture);
            entry
        })
        .collect();
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
    });
    layout.put_manifest(&Manifest::new(index.to_string().into_bytes(), None), Some(tag)).unwrap();
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An old and a new image. They share the first layer; the second is an update; the third is a small
/// layer of the new image, with whiteouts.
pub(crate) fn pair() -> (TestImage, TestImage) {
    pair_of(1)
}

/// As [`pair`], with other contents for each seed.
pub(crate) fn pair_of(seed: u64) -> (TestImage, TestImage) {
    let corpus = Corpus { seed, files: 60, mean_size: 12 << 10, ..Corpus::default() };
    let (old, new) = corpus.pair();
    let mut base = LayerBuilder::new();
    base.dir("etc").file("etc/os-release", format!("NAME=test-{seed}\n")).file("etc/gone", "to be hidden");
    let base = base.finish(Ending::Normal);
    let mut top = LayerBuilder::new();
    top.dir("etc").whiteout("etc/gone").file("etc/added", "new");
    let top = top.finish(Ending::Normal);
    (TestImage::new(&[&base, &old]), TestImage::new(&[&base, &new, &top]))
}

/// Copies an image from a layout to a repository, by the crate's own requests.
pub(crate) async fn push(layout: &OciLayout, tag: &str, to: &Repository) -> Digest {
    let from = Repository::Layout(layout.clone());
    let manifest = from.manifest(&registry_ext::oci::Name::Tag(tag.into())).await.unwrap().unwrap();
    if manifest.is_index() {
        let index = registry_ext::oci::parse_index("index", &manifest.bytes).unwrap();
        for entry in index.manifests() {
            let image = from.manifest_of(entry).await.unwrap();
            push_image(layout, &image, None, to).await;
        }
        to.put_manifest(&manifest, Some(tag)).await.unwrap();
    } else {
        push_image(layout, &manifest, Some(tag), to).await;
    }
    manifest.digest
}

async fn push_image(layout: &OciLayout, manifest: &Manifest, tag: Option<&str>, to: &Repository) {
    let parsed = parse_manifest("manifest", &manifest.bytes).unwrap();
    for blob in parsed.layers().iter().chain([parsed.config()]) {
        to.put_blob(blob, &layout.checked_blob(blob).unwrap()).await.unwrap();
    }
    to.put_manifest(manifest, tag).await.unwrap();
}

/// The unpacked layers of an image in a layout, as the layout has them.
pub(crate) fn stored_layers(layout: &Path, tag: &str) -> Vec<Vec<u8>> {
    let layout = OciLayout::open(layout).unwrap();
    let name = registry_ext::oci::Name::Tag(tag.into());
    let manifest = layout.manifest(&name).unwrap().expect("the tag is there");
    let parsed = parse_manifest("manifest", &manifest.bytes).unwrap();
    let read = |blob| {
        let path = layout.checked_blob(blob).unwrap();
        let spool = layer::Spool::open(&path, &layer::SpoolOptions::default()).unwrap();
        spool.read_range(0..spool.size()).unwrap()
    };
    parsed.layers().iter().map(read).collect()
}

/// The images under a tag, of all platforms; `dir` is for downloads.
pub(crate) async fn images_of(repository: Repository, tag: &str, dir: &Path) -> Images {
    let tag = Name::Tag(tag.into());
    let images = resolve_all(&repository, Some(&tag), dir, &Watch::nothing()).await.unwrap();
    Images { repository, images }
}
