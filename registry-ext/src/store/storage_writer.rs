//! The programs that write to a containers-storage.
//!
//! Only the library of these programs (github.com/containers/storage) knows the locks and the metadata of a storage.
//! skopeo reads an image from an OCI layout and gives it any name in one step. podman and buildah take their name for
//! the image from the place that it is read from, and none from the form `dir:` of the same library, a directory with
//! a file for each blob. So they pull such a directory, whose files are links to the blobs of the layout, and then give
//! the image its name. In both ways the manifest and the layers keep their digests, layers that the storage has need
//! not be in the layout, and no other copy of a layer is written than that which the library makes while it unpacks
//! the layer. The archives that `podman load` reads would be written once by us and unpacked to /var/tmp by podman.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{OciLayout, StorageRef, full_name};
use crate::error::blocking;
use crate::oci::{Name, digest_of, hex, parse_manifest};
use crate::scratch::ScratchDir;
use crate::{Error, Result};

/// A program that writes to the containers-storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageWriter {
    /// It copies from the layout.
    Skopeo,
    /// It pulls from a directory.
    Podman,
    /// It does as podman does.
    Buildah,
}

impl StorageWriter {
    const ALL: [Self; 3] = [Self::Skopeo, Self::Podman, Self::Buildah];

    const fn name(self) -> &'static str {
        match self {
            Self::Skopeo => "skopeo",
            Self::Podman => "podman",
            Self::Buildah => "buildah",
        }
    }

    /// Returns the first of the programs that is installed, in the directories of `$PATH`.
    ///
    /// # Errors
    /// [`Error::NoStorageWriter`] if none is; [`Error::Reference`] if the program cannot give the name of the image.
    pub fn find(storage: &StorageRef) -> Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let is_program = |file: PathBuf| {
            fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        let is_installed =
            |writer: &Self| env::split_paths(&path).any(|dir| is_program(dir.join(writer.name())));
        let found = Self::ALL.into_iter().find(is_installed);
        let found = found.ok_or_else(|| Error::NoStorageWriter { storage: storage.to_string() })?;
        if found != Self::Skopeo {
            found.name_of(storage)?;
        }
        Ok(found)
    }

    /// Returns the name that podman and buildah give an image. Short names mean the same as they do for skopeo: podman
    /// alone would put them below localhost.
    fn name_of(self, storage: &StorageRef) -> Result<String> {
        let name = storage.name.as_deref().filter(|name| !name.contains('@')).and_then(full_name);
        name.ok_or_else(|| Error::Reference {
            text: storage.to_string(),
            reason: format!("{} gives names with a tag alone; install skopeo for other ones", self.name()),
        })
    }

    /// Copies an image from a layout to a containers-storage. Layers that the storage has need not be in the layout.
    ///
    /// # Errors
    /// [`Error::Program`] if the program fails; [`Error::Reference`] if the storage has no name for the image;
    /// [`Error::Io`].
    pub async fn copy(self, layout: &OciLayout, tag: &str, to: &StorageRef) -> Result<()> {
        if self == Self::Skopeo {
            let mut from = OsString::from("oci:");
            from.push(layout.dir());
            from.push(format!(":{tag}"));
            let mut command = Command::new(self.name());
            command.args(["copy", "--quiet"]).arg(from).arg(to.to_string());
            return self.run(command).await.map(drop);
        }
        let name = self.name_of(to)?;
        let (layout, tag) = (layout.clone(), tag.to_owned());
        let dir = blocking(move || directory(&layout, &tag)).await?;
        let mut from = OsString::from("dir:");
        from.push(dir.path());
        let mut pull = self.command(to);
        pull.args(["pull", "--quiet"]).arg(from);
        let answer = self.run(pull).await?;
        let id = answer.lines().last().unwrap_or_default().trim();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(self.failed(format!("`pull` printed no ID of an image but `{id}`")));
        }
        let mut name_it = self.command(to);
        name_it.args(["tag", id, &name]);
        self.run(name_it).await.map(drop)
    }

    /// A command line of podman or buildah for a storage.
    fn command(self, to: &StorageRef) -> Command {
        let mut command = Command::new(self.name());
        // The storage of this machine is meant, whatever service podman is told to use. No registry is asked, and podman
        // looks for the file with credentials all the same.
        for variable in ["CONTAINER_HOST", "CONTAINER_CONNECTION", "REGISTRY_AUTH_FILE"] {
            command.env_remove(variable);
        }
        let options = [
            ("--root", to.root.as_ref().map(|root| root.as_os_str().to_owned())),
            ("--runroot", to.runroot.as_ref().map(|runroot| runroot.as_os_str().to_owned())),
            ("--storage-driver", to.driver.as_ref().map(OsString::from)),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                command.arg(option).arg(value);
            }
        }
        command
    }

    /// Runs a command to its end. Returns what it printed.
    async fn run(self, mut command: Command) -> Result<String> {
        let output = command.kill_on_drop(true).output().await;
        let output = output.map_err(|error| self.failed(format!("cannot start it: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(self.failed(format!("{}: {}", output.status, said.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn failed(self, reason: String) -> Error {
        Error::Program { program: self.name(), reason }
    }
}

/// Makes a directory of the form `dir:` for an image of a layout. Its files are links to the blobs that the layout has.
fn directory(layout: &OciLayout, tag: &str) -> Result<ScratchDir> {
    let missing = || Error::NotFound { what: format!("an image named {tag} in {layout}") };
    let manifest = layout.manifest(&Name::Tag(tag.to_owned()))?.ok_or_else(missing)?;
    let parsed = parse_manifest(tag, &manifest.bytes)?;
    let whole = std::path::absolute(layout.dir()).map_err(Error::io("find", layout.dir()))?;
    let dir = ScratchDir::new_in(&whole)?;
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).map_err(Error::io("write", path))
    };
    write("version", b"Directory Transport Version: 1.1\n")?;
    write("manifest.json", &manifest.bytes)?;
    for blob in std::iter::once(parsed.config()).chain(parsed.layers()) {
        let digest = digest_of(blob)?;
        let file = absolute_in(&whole, layout, &layout.blob_path(digest));
        let link = dir.path().join(hex(digest));
        // An image may have one layer twice.
        if file.exists() && !link.exists() {
            symlink(&file, &link).map_err(Error::io("make a link at", link))?;
        }
    }
    Ok(dir)
}

/// The path of a blob, where the path of its layout is `whole`.
fn absolute_in(whole: &Path, layout: &OciLayout, blob: &Path) -> PathBuf {
    blob.strip_prefix(layout.dir()).map_or_else(|_| blob.to_owned(), |below| whole.join(below))
}
