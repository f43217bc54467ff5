//! A mirror in process, in front of the registry of a [`Bench`].

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use layer::Digest;
use registry_ext::discover::discover;
use registry_ext::image::{Image, Platform, resolve};
use registry_ext::mirror::{Mirror, MirrorOptions};
use registry_ext::oci::Name;
use registry_ext::publish::Recipes;
use registry_ext::pull::{PullReport, Puller};
use registry_ext::repository::Repository;
use registry_ext::store::{OciLayout, PullTarget, StoreRef};
use registry_ext::watch::Watch;
use reqwest::{Client, Response};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::bench::Bench;
use super::server::Switches;
use super::{open, options};

/// The time after which something that the page is waited for to say is taken for one that it never says.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A running mirror. It has ended once it is dropped, and writes no more to the directory of the bench.
pub(crate) struct TestMirror {
    pub(crate) address: SocketAddr,
    /// Lets running answers come to their end.
    end: Option<oneshot::Sender<()>>,
    /// Breaks them off.
    abort: Option<oneshot::Sender<()>>,
    /// The thread of its runtime, whose end waits for the work that blocks.
    thread: Option<JoinHandle<()>>,
    client: Client,
    /// The path of the registry's repository `app`, below `/v2/`.
    app: String,
}

impl TestMirror {
    /// Starts a mirror with the cache `cache` of the bench, after the options were changed.
    pub(crate) async fn start(bench: &Bench, change: impl FnOnce(&mut MirrorOptions)) -> Self {
        let mut mirror = MirrorOptions::new(bench.path("cache"));
        mirror.registry = bench.options.clone();
        change(&mut mirror);
        let mirror = Mirror::open(mirror).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener.into_std().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let (abort, aborted) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = mirror.serve(listener, async { drop(ended.await) }) => {}
                    _ = aborted => {}
                }
            });
        });
        let app = format!("{}/app", bench.registry.address()).replace(':', "__");
        let (end, abort, thread) = (Some(end), Some(abort), Some(thread));
        Self { address, end, abort, thread, client: Client::new(), app }
    }

    /// Ends it, and waits until it has ended.
    pub(crate) async fn stop(mut self) {
        drop(self.end.take());
        let thread = self.thread.take().unwrap();
        spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    }

    /// Tells it to end.
    pub(crate) fn tell_to_end(&mut self) {
        drop(self.end.take());
    }

    /// The URL of something in the repository `app`.
    pub(crate) fn url(&self, object: &str) -> String {
        format!("http://{}/v2/{}/{object}", self.address, self.app)
    }

    /// Gets something of the repository `app`.
    pub(crate) async fn get(&self, object: &str) -> Response {
        self.client.get(self.url(object)).send().await.unwrap()
    }

    /// Gets something, with a header.
    pub(crate) async fn get_with(&self, object: &str, header: (&str, &str)) -> Response {
        self.client.get(self.url(object)).header(header.0, header.1).send().await.unwrap()
    }

    /// The page for people.
    pub(crate) async fn page(&self) -> String {
        let page = self.client.get(format!("http://{}/", self.address)).send().await.unwrap();
        page.text().await.unwrap()
    }

    /// Waits until the page says something.
    pub(crate) async fn wait_for(&self, text: &str) {
        let began = Instant::now();
        loop {
            let page = self.page().await;
            if page.contains(text) {
                return;
            }
            assert!(began.elapsed() < LONGEST_WAIT, "no {text:?}: {page}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks for the headers of something.
    pub(crate) async fn head(&self, object: &str) -> Response {
        self.client.head(self.url(object)).send().await.unwrap()
    }

    /// Gets a blob that has to come whole.
    pub(crate) async fn blob(&self, digest: Digest) -> Vec<u8> {
        let answer = self.get(&format!("blobs/{digest}")).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap().to_vec()
    }

    /// Pulls the image through the mirror as a client that knows no deltas, and compares all digests.
    pub(crate) async fn pull(&self, bench: &Bench, tag: &str) -> registry_ext::Result<PullReport> {
        let name = format!("{}/{}", self.address, self.app);
        let repository = open(&name, &options(), bench.dir.path());
        let image = image_of(&repository, tag, bench.dir.path()).await?;
        let store = tempfile::TempDir::new_in(bench.dir.path()).unwrap();
        let layout = OciLayout::create(store.path())?;
        let target = PullTarget::layout(layout, Some(tag));
        let report =
            Puller::new(&repository, &image).deltas(false).temp_dir(bench.dir.path()).into(target).await?;
        assert_eq!(report.manifest, report.stored_manifest);
        Ok(report)
    }
}

impl Drop for TestMirror {
    fn drop(&mut self) {
        drop(self.abort.take());
        // A panic of the mirror is one of the test, unless that fails already.
        let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) else { return };
        if !thread::panicking() {
            resume_unwind(panic);
        }
    }
}

/// The image of a tag.
pub(crate) async fn image_of(repository: &Repository, tag: &str, dir: &Path) -> registry_ext::Result<Image> {
    resolve(repository, Some(&Name::Tag(tag.into())), &"linux/amd64".parse::<Platform>()?, dir).await
}

/// A bench with deltas and recipes of its update, and a store `old` that has v1.
pub(crate) async fn published(bench: Bench) -> (Bench, Image) {
    bench.publish(|to| to.recipes(Recipes::All).delta_index(false)).await.unwrap();
    bench.pull("v1", &bench.path("old"), &Watch::nothing()).await.unwrap();
    let image = image_of(&bench.repository(), "v2", bench.dir.path()).await.unwrap();
    bench.registry.take_requests();
    (bench, image)
}

/// A bench with deltas and recipes of its update, and the new image.
pub(crate) async fn bench() -> (Bench, Image) {
    published(Bench::new(Switches::default()).await).await
}

/// A mirror whose source is the store that has v1.
pub(crate) async fn mirror(bench: &Bench) -> TestMirror {
    let old = bench.path("old");
    TestMirror::start(bench, |options| options.sources.push(StoreRef::Layout(old, None))).await
}

/// The blob of the layer that has a delta, as the registry has it.
pub(crate) fn updated(bench: &Bench, image: &Image) -> (Digest, Vec<u8>) {
    let digest = image.layers[1].digest.0;
    let layout = OciLayout::open(&bench.path("images")).unwrap();
    (digest, std::fs::read(layout.blob_path(digest)).unwrap())
}

/// Number of the requests that asked for a blob.
pub(crate) fn asked_for(requests: &[String], digest: Digest) -> usize {
    requests.iter().filter(|of| of.starts_with("GET") && of.contains(&format!("blobs/{digest}"))).count()
}

/// The blobs of the delta and of the recipe of the layer that has both.
pub(crate) async fn delta_and_recipe(bench: &Bench, image: &Image) -> [String; 2] {
    let found = discover(&bench.repository(), image).await;
    let delta = found.candidates[0].blob.digest().to_string();
    let recipe = found.blob_recipes[&image.layers[1].digest].digest().to_string();
    bench.registry.take_requests();
    [delta, recipe]
}
