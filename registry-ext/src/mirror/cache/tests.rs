use std::io::{Read, Write};
use std::time::Duration;

use oci_spec::image::ImageManifestBuilder;
use tempfile::TempDir;

use super::*;
use crate::oci::descriptor;

fn keep(cache: &BlobCache, bytes: &[u8]) -> Digest {
    let mut file = cache.temporary().unwrap();
    file.write_all(bytes).unwrap();
    let digest = Digest::of(bytes);
    cache.keep(digest, bytes.len() as u64, file).unwrap();
    digest
}

#[test]
fn the_least_recently_used_goes_first_and_what_is_read_stays() {
    let dir = TempDir::new().unwrap();
    let cache = BlobCache::open(dir.path(), 3000).unwrap();
    let [first, second, third] = [1, 2, 3].map(|name| keep(&cache, &[name; 1000]));
    drop(cache.open_blob(first).unwrap());
    let reading = cache.open_blob(second).unwrap();
    keep(&cache, &[4; 1000]);
    assert!(cache.open_blob(third).is_none(), "it was used before all others");
    keep(&cache, &[5; 2000]);
    assert!(cache.open_blob(first).is_none());
    let mut bytes = Vec::new();
    (&*reading).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, [2; 1000]);
    assert!(cache.open_blob(second).is_some());
    assert_eq!(cache.size().0, 3000);
}

#[test]
fn what_a_restart_finds_is_compared_with_its_digest() {
    let dir = TempDir::new().unwrap();
    let cache = BlobCache::open(dir.path(), 10_000).unwrap();
    let [good, changed, cut] = [1, 2, 3].map(|name| keep(&cache, &[name; 1000]));
    drop(cache);
    let blob = |digest: Digest| OciLayout::open(dir.path()).unwrap().blob_path(digest);
    fs::write(blob(changed), [9; 1000]).unwrap();
    fs::write(blob(cut), [3; 999]).unwrap();
    let cache = BlobCache::open(dir.path(), 10_000).unwrap();
    assert!(cache.open_blob(good).is_some());
    for digest in [changed, cut] {
        assert!(cache.open_blob(digest).is_none());
        assert!(!blob(digest).exists(), "it is of no use to anybody");
    }
}

#[test]
fn a_smaller_budget_holds_from_the_start_on() {
    let dir = TempDir::new().unwrap();
    let cache = BlobCache::open(dir.path(), 10_000).unwrap();
    for name in 0..5 {
        keep(&cache, &[name; 1000]);
    }
    drop(cache);
    let cache = BlobCache::open(dir.path(), 2500).unwrap();
    assert_eq!(cache.size(), (2000, 2500));
    assert!(!cache.takes(2501));
}

#[test]
fn a_cache_that_was_removed_is_made_again() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("cache");
    let cache = BlobCache::open(&place, 10_000).unwrap();
    let gone = keep(&cache, &[1; 1000]);
    fs::remove_dir_all(&place).unwrap();
    let kept = keep(&cache, &[2; 1000]);
    assert!(cache.open_blob(gone).is_none() && cache.open_blob(kept).is_some());
    assert_eq!(cache.size().0, 1000);
    assert!(BlobCache::open(&place, 1).is_err(), "the new directory is as much its own");
    // With the lock, and without the blobs.
    fs::remove_dir_all(place.join("blobs")).unwrap();
    keep(&cache, &[3; 1000]);
    assert_eq!(cache.size().0, 1000);
}

#[test]
fn what_is_being_made_has_its_room() {
    let dir = TempDir::new().unwrap();
    let cache = Arc::new(BlobCache::open(dir.path(), 3000).unwrap());
    let old = keep(&cache, &[1; 1000]);
    let first = cache.reserve(2000).unwrap();
    assert!(cache.open_blob(old).is_some());
    let second = cache.reserve(1000).unwrap();
    assert!(cache.open_blob(old).is_none(), "it went for the second");
    let error = cache.reserve(1).unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 3001, max: 3000, .. }), "{error}");
    drop(second);
    drop((cache.reserve(1000).unwrap(), first));
    assert!(cache.reserve(3000).is_ok());
}

#[test]
fn two_mirrors_do_not_share_a_cache() {
    let dir = TempDir::new().unwrap();
    let _first = BlobCache::open(dir.path(), 1).unwrap();
    let error = BlobCache::open(dir.path(), 1).unwrap_err();
    assert!(error.to_string().contains("another mirror uses this cache"), "{error}");
}

/// Keeps an image of one layer. Returns the digests of its layer, config and manifest.
fn keep_image(cache: &BlobCache, config: &[u8], layer: &[u8]) -> [Digest; 3] {
    let kept = keep(cache, layer);
    let layers = vec![descriptor("application/vnd.oci.image.layer.v1.tar", kept, layer.len() as u64)];
    let of_config =
        descriptor("application/vnd.oci.image.config.v1+json", Digest::of(config), config.len() as u64);
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type("application/vnd.oci.image.manifest.v1+json")
        .config(of_config)
        .layers(layers)
        .build()
        .unwrap();
    let manifest = Manifest::new(serde_json::to_vec(&manifest).unwrap(), None);
    cache.keep_image(&manifest, config).unwrap();
    [kept, Digest::of(config), manifest.digest]
}

#[test]
fn manifests_and_configs_go_with_the_last_layer_of_their_image() {
    let dir = TempDir::new().unwrap();
    let cache = BlobCache::open(dir.path(), 1 << 20).unwrap();
    let first = keep_image(&cache, b"{}", &[1; 1000]);
    let second = keep_image(&cache, b"{}", &[2; 1000]);
    let third = keep_image(&cache, b"{\"of\": 3}", &[3; 1000]);
    drop(cache);
    // Long ago, and the documents longer ago than the layers.
    for (age, digests) in [(3, [first, second, third]), (2, [first; 3]), (1, [second; 3])] {
        for (number, digest) in digests.into_iter().flatten().enumerate() {
            let then = SystemTime::now() - Duration::from_secs(age * 3600 + number as u64);
            let blob = OciLayout::open(dir.path()).unwrap().blob_path(digest);
            let times = FileTimes::new().set_accessed(then);
            File::options().write(true).open(blob).unwrap().set_times(times).unwrap();
        }
    }
    let has =
        |digests: [Digest; 3]| digests.map(|of| OciLayout::open(dir.path()).unwrap().blob_path(of).exists());
    // The room of two layers with their documents.
    let cache = BlobCache::open(dir.path(), 3900).unwrap();
    assert_eq!(has(third), [false; 3]);
    assert_eq!((has(first), has(second)), ([true; 3], [true; 3]));
    drop(cache);
    let cache = BlobCache::open(dir.path(), 2000).unwrap();
    assert_eq!(has(first), [false, true, false], "another image has the same config");
    assert_eq!(has(second), [true; 3]);
    assert!(cache.open_blob(second[0]).is_some());
}

#[test]
fn what_a_killed_mirror_was_making_is_gone_at_the_next_start() {
    let dir = TempDir::new().unwrap();
    let left = dir.path().join(".registry-ext-tmp-killed");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("half"), "half").unwrap();
    BlobCache::open(dir.path(), 1000).unwrap();
    assert!(!left.exists());
}
