use layer::BlobDigest;
use oci_spec::image::{ImageManifestBuilder, MediaType};

use super::*;
use crate::image::Platform;
use crate::oci::{Manifest, descriptor};

fn digest(name: u8) -> Digest {
    Digest::from_bytes([name; 32])
}

/// An image of one platform with layers of these names.
fn image(platform: &str, names: impl IntoIterator<Item = u8>) -> Image {
    let layer = |name| {
        let blob = descriptor(MediaType::ImageLayer.as_ref(), digest(name), 1000);
        ImageLayer { blob, digest: BlobDigest(digest(name)), diff_id: DiffId(digest(name)) }
    };
    let layers: Vec<ImageLayer> = names.into_iter().map(layer).collect();
    let parsed = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .config(descriptor(MediaType::ImageConfig.as_ref(), digest(0), 1))
        .layers(layers.iter().map(|layer| layer.blob.clone()).collect::<Vec<_>>());
    let parsed = parsed.build().unwrap();
    let bytes = format!("{platform} {layers:?}").into_bytes();
    let (config, config_digest) = (Vec::new(), Digest::of(&bytes));
    let (manifest, platform) = (Manifest::new(bytes, None), platform.parse::<Platform>().unwrap());
    Image { manifest, index: None, parsed, config, config_digest, layers, platform }
}

#[test]
fn a_pull_goes_over_images_of_so_many_new_layers_together_on_each_platform() {
    let (amd, arm) = ("linux/amd64", "linux/arm64");
    let old = vec![image(amd, [1]), image(arm, [2])];
    // The layer of the old image is not made again.
    let limit: u8 = MAX_MADE.try_into().unwrap();
    let most = image(amd, std::iter::once(1).chain(100..100 + limit));
    let images = BTreeMap::from([
        (digest(1), old),
        (digest(2), vec![most.clone(), image(arm, [3])]),
        (digest(3), vec![image(amd, 100..=100 + limit)]),
        (digest(4), vec![image(amd, [99])]),
        (digest(5), vec![image(amd, [100]), image(arm, [4, 5])]),
        (digest(6), vec![image(amd, [1]), image(arm, 100..=100 + limit)]),
        (digest(7), vec![image("linux/s390x", 100..=100 + limit)]),
    ]);
    for (between, is_expected) in [
        (vec![], true),
        (vec![2], true),
        (vec![3], false),
        (vec![2, 4], false),
        // Layers that two of the images have are made once, and each platform counts for itself.
        (vec![2, 5], true),
        (vec![6], false),
        // The old image is not for this platform.
        (vec![7], true),
    ] {
        let digests: Vec<Digest> = between.iter().copied().map(digest).collect();
        assert_eq!(is_way(&images, digest(1), &digests), is_expected, "{between:?}");
    }
}
