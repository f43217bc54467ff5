//! Deltas in a container registry: publishes them, finds them, and pulls images with them.
//!
//! - [`artifact`] writes and reads the two published layouts, `_deltaindex` and the oci-delta
//!   artifact; it is pure.
//! - A [`Publisher`] makes the deltas between two images, applies each to prove it, keeps those that
//!   save something, and pushes them.
//! - [`discover()`](discover::discover) gathers the deltas for an image; [`choose`](discover::choose)
//!   takes the best, and is pure. A chain of deltas leads over images that are not here.
//! - A [`Puller`] gets an image: what is here stays, what has a delta is rebuilt from it, the rest is
//!   fetched. It compares each layer with its diff_id, and never fails because of a delta.
//! - A [`plan`] says which images of a repository deserve deltas, and shares the work among jobs.
//! - A [`Verifier`], a [`Pruner`] and a [`Measurer`] check, remove and weigh deltas.
//! - [`blob_recipe`] makes the compressed blob of a layer of its tar, bit for bit.
//! - [`scratch`] has the temporary directories; a program that is told to end removes them all.
//! - [`store`] is where images are installed, [`repository`] where they are published: on a
//!   registry ([`registry`], which alone knows the OCI client) or in an OCI image layout.
//!
//! This crate alone is async. Whole blobs go to and from files; making and applying deltas is the
//! work of `tar_diff` and `tar_patch`, on threads that may block. A runtime of
//! one thread is enough.
//!
//! ```no_run
//! use registry_ext::{image, pull::Puller, registry::RegistryOptions, repository::Repository};
//! use registry_ext::{store::PullTarget, watch::Watch};
//! # async fn example() -> registry_ext::Result<()> {
//! let temp = std::env::temp_dir();
//! let name: registry_ext::reference::ImageRef = "127.0.0.1:5000/app:v2".parse()?;
//! let repository = Repository::open(&name, &RegistryOptions::default(), &temp)?;
//! let image = image::resolve(&repository, name.name().as_ref(), &image::Platform::host(), &temp).await?;
//! let store = PullTarget::open(&"oci:/var/lib/app:v2".parse()?, &temp, &Watch::nothing())?;
//! let report = Puller::new(&repository, &image).into(store).await?;
//! assert!(report.fetched <= report.plain);
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(feature = "mirror"), allow(dead_code, unused_imports, reason = "some is for a mirror alone"))]

// A fuzz target that is a test here, too, has the name of the crate.
#[cfg(test)]
extern crate self as registry_ext;

pub mod artifact;
pub mod blob_recipe;
mod chain;
mod cost;
pub mod credentials;
pub mod delta;
pub mod discover;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod image;
pub mod measure;
#[cfg(feature = "mirror")]
pub mod mirror;
pub mod oci;
pub mod plan;
pub mod prune;
pub mod publish;
pub mod pull;
pub mod reference;
pub mod registry;
pub mod repository;
pub mod scratch;
mod shared_index;
pub mod signature;
pub mod source_tags;
pub mod store;
pub mod verify;
pub mod watch;

pub use cost::Prefer;
pub use error::{Error, Result};
pub use measure::Measurer;
pub use plan::Planner;
pub use prune::Pruner;
pub use publish::Publisher;
pub use pull::Puller;
pub use verify::Verifier;
