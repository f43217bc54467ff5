//! Pushes an image that is made of layer tarballs: for demos where no other tool is installed.
//!
//! `cargo run -p registry-ext --features demo --bin push-layers -- HOST/NAME:TAG LAYER.tar.gz...`

use std::error::Error;
use std::path::{Path, PathBuf};

use layer::{Spool, SpoolOptions};
use registry_ext::oci::{Manifest, descriptor_of};
use registry_ext::reference::ImageRef;
use registry_ext::registry::RegistryOptions;
use registry_ext::repository::Repository;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("usage: push-layers HOST/NAME:TAG LAYER.tar.gz...")?;
    let layers: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let directory = tempfile::tempdir()?;
    let repository =
        Repository::open(&name.parse::<ImageRef>()?, &RegistryOptions::default(), directory.path())?;

    let mut diff_ids = Vec::new();
    let mut descriptors = Vec::new();
    for path in &layers {
        diff_ids.push(Spool::open(path, &SpoolOptions::default())?.diff_id()?.to_string());
        descriptors.push(put(&repository, "application/vnd.oci.image.layer.v1.tar+gzip", path).await?);
    }
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config_file = directory.path().join("config");
    std::fs::write(&config_file, config.to_string())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(&repository, "application/vnd.oci.image.config.v1+json", &config_file).await?,
        "layers": descriptors,
    });
    let tag = name.rsplit_once(':').map(|(_, tag)| tag);
    repository.put_manifest(&Manifest::new(manifest.to_string().into_bytes(), None), tag).await?;
    Ok(())
}

async fn put(
    repository: &Repository,
    media_type: &str,
    path: &Path,
) -> Result<oci_spec::image::Descriptor, Box<dyn Error>> {
    let descriptor = descriptor_of(media_type, &std::fs::read(path)?);
    repository.put_blob(&descriptor, path).await?;
    Ok(descriptor)
}
