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
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::containers_storage::is_of_root;
use super::{OciLayout, StorageRef, full_name};
use crate::error::blocking;
use crate::oci::{Name, digest_of, hex, parse_manifest};
use crate::scratch::ScratchDir;
use crate::{Error, Result};

/// The directories of programs where `$PATH` is not set: those that the system takes.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A program that writes to the containers-storage, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageWriter {
    program: Program,
    file: PathBuf,
    /// The driver that the program takes where the name of the storage has none.
    driver: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    /// It copies from the layout.
    Skopeo,
    /// It pulls from a directory.
    Podman,
    /// It does as podman does.
    Buildah,
}

impl Program {
    const ALL: [Self; 3] = [Self::Skopeo, Self::Podman, Self::Buildah];

    const fn name(self) -> &'static str {
        match self {
            Self::Skopeo => "skopeo",
            Self::Podman => "podman",
            Self::Buildah => "buildah",
        }
    }

    /// Returns the file of the program in the first of the directories that has it.
    fn find_in(self, path: &OsStr) -> Option<PathBuf> {
        let is_program = |file: &PathBuf| {
            fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        };
        // An empty directory would be the current one, and others may write there.
        let dirs = env::split_paths(path).filter(|dir| dir.is_absolute());
        dirs.map(|dir| dir.join(self.name())).find(is_program)
    }
}

impl StorageWriter {
    /// Returns the first of the programs that is installed, in the directories of `$PATH`.
    ///
    /// # Errors
    /// [`Error::NoStorageWriter`] if none is; [`Error::Reference`] if an image cannot have the name.
    pub fn find(storage: &StorageRef) -> Result<Self> {
        name_of(storage)?;
        let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
        let find = |program: Program| Some((program, program.find_in(&path)?));
        let found = Program::ALL.into_iter().find_map(find);
        let (program, file) = found.ok_or_else(|| Error::NoStorageWriter { storage: storage.to_string() })?;
        Ok(Self { program, file, driver: None })
    }

    /// Takes a driver where the name of the storage has none.
    pub(super) const fn with_driver(mut self, driver: Option<&'static str>) -> Self {
        self.driver = driver;
        self
    }

    /// Copies an image from a layout to a containers-storage. Layers that the storage has need not be in the layout.
    ///
    /// # Errors
    /// [`Error::Program`] if the program fails; [`Error::Reference`] if an image cannot have the name; [`Error::Io`].
    pub async fn copy(&self, layout: &OciLayout, tag: &str, to: &StorageRef) -> Result<()> {
        let name = name_of(to)?;
        // The library copies each new layer to a temporary file first. Those of a process that was killed go away with
        // the layout.
        let temporary = ScratchDir::new_in(&absolute(layout.dir())?)?;
        if self.program == Program::Skopeo {
            let mut from = OsString::from("oci:");
            from.push(layout.dir());
            from.push(format!(":{tag}"));
            let mut to = to.clone();
            if to.root.is_some() && to.driver.is_none() {
                to.driver = self.driver.map(str::to_owned);
            }
            let mut command = self.command(&to);
            // skopeo has an option, and takes no heed of $TMPDIR.
            command
                .arg("--tmpdir")
                .arg(temporary.path())
                .args(["copy", "--quiet"])
                .arg(from)
                .arg(to.to_string());
            return self.run(command).await.map(drop);
        }
        let (layout, tag) = (layout.clone(), tag.to_owned());
        let dir = blocking(move || directory(&layout, &tag)).await?;
        let mut from = OsString::from("dir:");
        from.push(dir.path());
        let mut pull = self.command_in(to, temporary.path());
        pull.args(["pull", "--quiet"]).arg(from);
        let answer = self.run(pull).await?;
        let id = answer.lines().last().unwrap_or_default().trim();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(self.failed(format!("`pull` printed no ID of an image but `{id}`")));
        }
        let mut name_it = self.command_in(to, temporary.path());
        name_it.args(["tag", id, &name]);
        self.run(name_it).await.map(drop)
    }

    /// A command line of a program for a storage.
    fn command(&self, to: &StorageRef) -> Command {
        let mut command = Command::new(&self.file);
        // In the usual place, the programs have options for the driver, which a driver on the command line takes away.
        if let (None, None, Some(driver)) = (&to.root, &to.driver, self.driver) {
            command.env("STORAGE_DRIVER", driver);
        }
        command
    }

    /// A command line of podman or buildah for a storage, with a directory for temporary files.
    fn command_in(&self, to: &StorageRef, temporary: &Path) -> Command {
        let mut command = self.command(to);
        // Without a run-time directory, the state of a user's podman is in $TMPDIR.
        if is_of_root() || env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| !dir.is_empty()) {
            command.env("TMPDIR", temporary);
        }
        // The storage of this machine is meant, whatever service podman is told to use. No registry is asked, and
        // podman looks for the file with credentials all the same.
        for variable in ["CONTAINER_HOST", "CONTAINER_CONNECTION", "REGISTRY_AUTH_FILE"] {
            command.env_remove(variable);
        }
        let driver = to.driver.as_deref().or(self.driver.filter(|_| to.root.is_some()));
        let options = [
            ("--root", to.root.as_ref().map(|root| root.as_os_str().to_owned())),
            ("--runroot", to.runroot.as_ref().map(|runroot| runroot.as_os_str().to_owned())),
            ("--storage-driver", driver.map(OsString::from)),
        ];
        for (option, value) in options {
            if let Some(value) = value {
                command.arg(option).arg(value);
            }
        }
        command
    }

    /// Runs a command to its end. Returns what it printed.
    async fn run(&self, mut command: Command) -> Result<String> {
        let output = command.kill_on_drop(true).output().await;
        let output = output.map_err(|error| self.failed(format!("cannot start it: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(self.failed(match said.trim() {
                "" => format!("{}, without a message", output.status),
                said => format!("{}: {said}", output.status),
            }));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn failed(&self, reason: String) -> Error {
        Error::Program { program: self.program.name(), reason }
    }
}

/// Returns the whole name that an image gets. Short names mean the same as they do for skopeo: podman alone would put
/// them below localhost.
fn name_of(storage: &StorageRef) -> Result<String> {
    let reason = match storage.name.as_deref() {
        None => "say which name the image gets: containers-storage:NAME",
        Some(name) if name.contains('@') => {
            "an image gets no digest here, since a rebuilt layer changes the digest of the manifest; give a tag"
        }
        Some(name) => match full_name(name) {
            Some(name) => return Ok(name),
            None => "no image can have this name; the form is NAME[:TAG]",
        },
    };
    Err(Error::Reference { text: storage.to_string(), reason: reason.to_owned() })
}

fn absolute(dir: &Path) -> Result<PathBuf> {
    std::path::absolute(dir).map_err(Error::io("find", dir))
}

/// Makes a directory of the form `dir:` for an image of a layout. Its files are links to the blobs that the layout has.
fn directory(layout: &OciLayout, tag: &str) -> Result<ScratchDir> {
    let missing = || Error::NotFound { what: format!("an image named {tag} in {layout}") };
    let manifest = layout.manifest(&Name::Tag(tag.to_owned()))?.ok_or_else(missing)?;
    let parsed = parse_manifest(tag, &manifest.bytes)?;
    let whole = absolute(layout.dir())?;
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
