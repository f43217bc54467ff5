//! A directory that is the root file system of an image.
//!
//! - [`walk`](walk()) resolves a path as the kernel does after a `chroot`: it is the one walk by which files are
//!   read from such a directory and written to it, and nothing outside the directory is ever reached.
//! - [`Unpacker`] unpacks the layers of an image over each other.
//! - [`remove_path`] removes whatever has a name, however deep.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! std::fs::create_dir("tree")?;
//! let mut unpacker = rootfs::Unpacker::new("tree".as_ref())?;
//! for layer in ["base.tar.gz", "app.tar.gz"] {
//!     let spool = layer::Spool::open(layer.as_ref(), &layer::SpoolOptions::default())?;
//!     unpacker.layer(&spool, &|_bytes| ())?;
//! }
//! let left_out = unpacker.finish()?;
//! println!("{} devices are left out", left_out.devices);
//! # Ok(())
//! # }
//! ```

mod error;
mod unpack;
mod walk;

pub use error::{Error, Result};
pub use unpack::{LeftOut, Unpacker, remove_path};
pub use walk::{DIRECTORY, Visitor, open_in, walk};
