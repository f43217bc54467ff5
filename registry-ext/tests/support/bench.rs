//! The registry in process with an update in it.

use std::path::Path;
use std::sync::{Arc, Mutex};

use oci_spec::image::Descriptor;
use registry_ext::Result;
use registry_ext::image::Images;
use registry_ext::image::{Platform, resolve};
use registry_ext::oci::{Name, descriptor_of};
use registry_ext::publish::{PublishReport, Publisher};
use registry_ext::pull::{PullReport, Puller};
use registry_ext::registry::RegistryOptions;
use registry_ext::repository::Repository;
use registry_ext::store::{OciLayout, PullTarget};
use registry_ext::watch::{Event, Watch};
use tempfile::TempDir;

use super::images::{TestImage, images_of, pair, push, write_images};
use super::server::{Registry, Switches};
use super::{open, options};

/// A registry with the images v1 and v2, and a directory for everything else.
pub(crate) struct Bench {
    pub(crate) registry: Registry,
    pub(crate) dir: TempDir,
    pub(crate) images: (TestImage, TestImage),
    pub(crate) options: RegistryOptions,
}

impl Bench {
    pub(crate) async fn new(switches: Switches) -> Self {
        Self::with(switches, options()).await
    }

    pub(crate) async fn with(switches: Switches, options: RegistryOptions) -> Self {
        let registry = Registry::start("127.0.0.1:0", switches).await.unwrap();
        let bench = Self { registry, dir: TempDir::new().unwrap(), images: pair(), options };
        let (old, new) = &bench.images;
        let layout = write_images(bench.dir.path(), &[(old, "v1"), (new, "v2")]);
        push(&layout, "v1", &bench.repository()).await;
        push(&layout, "v2", &bench.repository()).await;
        bench
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn name(&self) -> String {
        format!("{}/app", self.registry.address())
    }

    pub(crate) fn repository(&self) -> Repository {
        open(&self.name(), &self.options, self.dir.path())
    }

    /// Stores a blob of these bytes.
    pub(crate) async fn put_blob(&self, bytes: &[u8], media_type: &str) -> Descriptor {
        let path = self.path("blob-to-put");
        std::fs::write(&path, bytes).unwrap();
        let blob = descriptor_of(media_type, bytes);
        self.repository().put_blob(&blob, &path).await.unwrap();
        blob
    }

    pub(crate) async fn images(&self, tag: &str) -> Images {
        images_of(self.repository(), tag, self.dir.path()).await
    }

    /// Publishes the deltas from v1 to v2, with the options that `set` sets.
    pub(crate) async fn publish(
        &self,
        set: impl for<'p> FnOnce(Publisher<'p>) -> Publisher<'p>,
    ) -> Result<PublishReport> {
        let (new, old) = (self.images("v2").await, self.images("v1").await);
        set(Publisher::new(&self.repository(), &new).old(&old)).publish().await
    }

    pub(crate) async fn pull(&self, tag: &str, store: &Path, watch: &Watch) -> Result<PullReport> {
        let repository = self.repository();
        let name = Name::Tag(tag.into());
        let image =
            resolve(&repository, Some(&name), &"linux/amd64".parse::<Platform>()?, self.dir.path()).await?;
        let layout = OciLayout::create(store)?;
        Puller::new(&repository, &image).watch(watch).into(PullTarget::layout(layout, Some(tag))).await
    }
}

/// Collects warnings.
pub(crate) fn warnings() -> (Watch, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let watch = Watch::new(move |event| {
        if let Event::Warning(text) = event {
            kept.lock().unwrap().push(text.to_owned());
        }
    });
    (watch, seen)
}
