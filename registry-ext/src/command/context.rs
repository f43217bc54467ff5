//! The context that all commands share: credentials, the way to registries, the output.

use std::collections::HashMap;
use std::env;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use cli::{Bar, Progress};
use registry_ext::credentials::{Credentials, Explicit};
use registry_ext::delta::MakeOptions;
use registry_ext::image::Images;
use registry_ext::image::{self, Image, Platform};
use registry_ext::reference::ImageRef;
use registry_ext::registry::RegistryOptions;
use registry_ext::repository::Repository;
use registry_ext::watch::{Event, Watch};
use tar_diff::DiffOptions;

use super::args::CommonArgs;

pub(crate) struct Context {
    pub(crate) registry: RegistryOptions,
    pub(crate) temp_dir: PathBuf,
    pub(crate) concurrency: usize,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    pub(crate) watch: Watch,
    progress: Progress,
}

impl Context {
    /// `first` is the image that credentials on the command line are for.
    pub(crate) fn new(args: &CommonArgs, first: Option<&ImageRef>) -> Result<Self> {
        let read = |path: &PathBuf| {
            std::fs::read(path).with_context(|| format!("cannot read the CA file {}", path.display()))
        };
        let explicit = match (&args.username, first.and_then(ImageRef::registry)) {
            (Some(username), Some(registry)) => Some(Explicit {
                registry: registry.to_owned(),
                username: username.clone(),
                password: password_from_stdin()?,
            }),
            _ => None,
        };
        let files = match &args.authfile {
            Some(file) => vec![file.clone()],
            None => credential_files(),
        };
        let progress = Progress::new(args.quiet || args.json);
        Ok(Self {
            registry: RegistryOptions::default()
                .plain_http(args.plain_http)
                .ca_certificates(args.ca_file.iter().map(read).collect::<Result<_>>()?)
                .credentials(Credentials { explicit, files })
                .foreign_urls(args.foreign_urls),
            temp_dir: args.temp_dir(),
            concurrency: args.concurrency.get(),
            json: args.json,
            quiet: args.quiet,
            watch: watch(&progress),
            progress,
        })
    }

    pub(crate) fn open(&self, image: &ImageRef) -> registry_ext::Result<Repository> {
        Repository::open(image, &self.registry, &self.temp_dir)
    }

    /// The images that a name stands for, of one platform or of all.
    pub(crate) async fn images(
        &self,
        name: &ImageRef,
        platform: Option<&Platform>,
    ) -> registry_ext::Result<Images> {
        let repository = self.open(name)?;
        let images = match platform {
            Some(platform) => vec![self.image(&repository, name, platform).await?],
            None => {
                image::resolve_all(&repository, name.name().as_ref(), &self.temp_dir, &self.watch).await?
            }
        };
        Ok(Images { repository, images })
    }

    pub(crate) async fn image(
        &self,
        repository: &Repository,
        name: &ImageRef,
        platform: &Platform,
    ) -> registry_ext::Result<Image> {
        image::resolve(repository, name.name().as_ref(), platform, &self.temp_dir).await
    }

    /// Tells of something that went wrong and does not stop the work.
    pub(crate) fn warn(&self, text: &str) {
        warn(&self.progress, text);
    }

    pub(crate) fn make_options(&self, diff: DiffOptions) -> MakeOptions {
        MakeOptions::default().diff(diff).temp_dir(self.temp_dir.clone()).concurrency(self.concurrency)
    }
}

fn password_from_stdin() -> Result<String> {
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password).context("cannot read the password from stdin")?;
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}

/// The files that podman and docker look into (containers-auth.json(5), docker-login(1)).
fn credential_files() -> Vec<PathBuf> {
    if let Some(file) = env::var_os("REGISTRY_AUTH_FILE") {
        return vec![file.into()];
    }
    let home = env::var_os("HOME").map(PathBuf::from);
    let below = |dir: Option<PathBuf>, path: &str| dir.map(|dir| dir.join(path));
    let variable = |name: &str| env::var_os(name).map(PathBuf::from);
    [
        below(variable("XDG_RUNTIME_DIR"), "containers/auth.json"),
        below(variable("XDG_CONFIG_HOME").or_else(|| below(home.clone(), ".config")), "containers/auth.json"),
        below(variable("DOCKER_CONFIG").or_else(|| below(home, ".docker")), "config.json"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn warn(progress: &Progress, text: &str) {
    progress.line(&format!("registry-ext: warning: {text}"));
}

/// Draws tasks as bars; writes warnings to stderr.
fn watch(progress: &Progress) -> Watch {
    let (progress, bars) = (progress.clone(), Mutex::new(HashMap::<String, Bar>::new()));
    Watch::new(move |event| {
        let mut bars = bars.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, total } => {
                bars.insert(task.to_owned(), progress.bytes(task, total));
            }
            Event::Advanced { task, bytes } => {
                if let Some(bar) = bars.get(task) {
                    bar.advance(bytes);
                }
            }
            Event::Finished { task } => {
                if let Some(bar) = bars.remove(task) {
                    bar.finish();
                }
            }
            Event::Warning(text) => warn(&progress, text),
            _ => {}
        }
    })
}
