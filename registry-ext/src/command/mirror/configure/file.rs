//! A file of a client that is edited: its text before and after, the copy that is kept, and the way back.
//!
//! The copy of a file is the original if the edit makes the present text of it: then nobody has changed the file since,
//! and the copy is brought back, byte for byte.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cli::Output;
use serde::Serialize;

/// The end of the name of a copy. No client reads files with this end.
const COPY: &str = "before-registry-ext";
/// Most copies of a file.
const MAX_COPIES: u32 = 1000;

/// An edit of one file. It is pure: text in, text out.
pub(super) trait Edit {
    /// The file, as its client names it.
    fn path(&self) -> PathBuf;

    /// Returns the text with the mirror in it. It is the same text if the mirror is there already.
    fn with(&self, text: Option<&str>) -> Result<String>;

    /// Returns the text without the mirror; `None` if nothing else is in it. It is the same text if the mirror is not
    /// there.
    fn without(&self, text: &str) -> Result<Option<String>>;
}

/// A change of a file.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    /// The file, as its client names it.
    pub(super) path: PathBuf,
    /// The step that is taken.
    pub(super) action: Action,
    /// The text that the file gets; `None` if it goes away or stays.
    pub(super) text: Option<String>,
}

/// The step by which a file is changed.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Action {
    /// The file is as it has to be.
    Nothing,
    /// The file is written, after a copy of the one that is there.
    Write {
        /// The name of the copy.
        backup: Option<PathBuf>,
    },
    /// The file is what it was before: this copy.
    Restore {
        /// The name of the copy.
        from: PathBuf,
    },
    /// The file is removed.
    Remove,
}

/// The root of the file system with the files.
#[derive(Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    /// Opens a directory as the root.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let dir = fs::canonicalize(dir).with_context(|| format!("cannot open the root {}", dir.display()))?;
        if !dir.is_dir() {
            bail!("the root {} is no directory; give the directory that has etc in it", dir.display());
        }
        Ok(Self(dir))
    }

    /// The path of a file, for people.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Returns the place of a file. Links in another root lead to files of this system, so they are refused.
    fn place(&self, path: &Path) -> Result<PathBuf> {
        let mut place = self.0.clone();
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            place.push(name);
            if self.0 != Path::new("/") && fs::symlink_metadata(&place).is_ok_and(|file| file.is_symlink()) {
                bail!(
                    "{} is a symbolic link, which may lead out of the root {}; run this command inside of that root",
                    place.display(),
                    self.0.display()
                );
            }
        }
        Ok(place)
    }

    /// Reads a file; `None` if there is none.
    pub(super) fn read(&self, path: &Path) -> Result<Option<String>> {
        let place = self.place(path)?;
        match layer::open_regular(&place).and_then(io::read_to_string) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", place.display())),
        }
    }

    /// Returns the names in a directory, sorted; none if there is no directory.
    pub(super) fn names(&self, path: &Path) -> Result<Vec<String>> {
        let place = self.place(path)?;
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", place.display())),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>();
        let names = names.with_context(|| format!("cannot list {}", place.display()))?;
        let mut names: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        let place = self.place(path)?;
        if let Some(dir) = place.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        let write = || {
            let mut output = Output::create(&place)?;
            output.write_all(text.as_bytes())?;
            output.commit_synced()
        };
        write().with_context(|| format!("cannot write {}", place.display()))
    }

    /// Removes a file, and the directory that it leaves empty.
    fn remove(&self, path: &Path) -> Result<()> {
        let place = self.place(path)?;
        fs::remove_file(&place).with_context(|| format!("cannot remove {}", place.display()))?;
        if let Some(dir) = place.parent() {
            // One with other files in it stays.
            let _ = fs::remove_dir(dir);
        }
        Ok(())
    }

    /// Returns the copies of a file, oldest first, and the name for the next one.
    fn copies(&self, path: &Path) -> Result<(Vec<PathBuf>, PathBuf)> {
        let mut copies = Vec::new();
        for number in 0..MAX_COPIES {
            let end = if number == 0 { COPY.to_owned() } else { format!("{COPY}.{number}") };
            let copy = PathBuf::from(format!("{}.{end}", path.display()));
            if fs::symlink_metadata(self.place(&copy)?).is_err() {
                return Ok((copies, copy));
            }
            copies.push(copy);
        }
        bail!("there are too many copies of {}; remove those that end in .{COPY}.NUMBER", path.display())
    }
}

/// Plans to put the mirror into a file.
pub(super) fn add(root: &Root, edit: &dyn Edit) -> Result<Change> {
    let path = edit.path();
    let present = root.read(&path)?;
    let text = edit.with(present.as_deref())?;
    if present.as_ref() == Some(&text) {
        return Ok(Change { path, action: Action::Nothing, text: None });
    }
    let backup = match &present {
        // A file that has nothing but the mirror in it was written by this command.
        Some(present) if edit.without(present)?.is_some() => {
            let (copies, next) = root.copies(&path)?;
            let is_edited = copies.iter().try_fold(false, |is_edited, copy| -> Result<bool> {
                Ok(is_edited || is_made_of(root, edit, copy, present)?)
            })?;
            (!is_edited).then_some(next)
        }
        _ => None,
    };
    Ok(Change { path, action: Action::Write { backup }, text: Some(text) })
}

/// Plans to take the mirror out of a file.
pub(super) fn take_out(root: &Root, edit: &dyn Edit) -> Result<Change> {
    let path = edit.path();
    let nothing = |path| Change { path, action: Action::Nothing, text: None };
    let Some(present) = root.read(&path)? else { return Ok(nothing(path)) };
    let rest = edit.without(&present)?;
    if rest.as_ref() == Some(&present) {
        return Ok(nothing(path));
    }
    for copy in root.copies(&path)?.0.into_iter().rev() {
        if is_made_of(root, edit, &copy, &present)? {
            let text = root.read(&copy)?;
            return Ok(Change { path, action: Action::Restore { from: copy }, text });
        }
    }
    Ok(match rest {
        Some(rest) => Change { path, action: Action::Write { backup: None }, text: Some(rest) },
        None => Change { path, action: Action::Remove, text: None },
    })
}

/// True if the edit makes the present text of a copy. A copy that cannot be edited is that of another text.
fn is_made_of(root: &Root, edit: &dyn Edit, copy: &Path, present: &str) -> Result<bool> {
    let Some(text) = root.read(copy)? else { return Ok(false) };
    Ok(edit.with(Some(&text)).is_ok_and(|edited| edited == present))
}

impl Change {
    /// Takes the step.
    pub(super) fn apply(&self, root: &Root) -> Result<()> {
        let text = self.text.as_deref().unwrap_or_default();
        match &self.action {
            Action::Nothing => Ok(()),
            Action::Remove => root.remove(&self.path),
            Action::Write { backup } => {
                if let Some(backup) = backup {
                    let (from, to) = (root.place(&self.path)?, root.place(backup)?);
                    // With the permission bits, since a configuration may have secrets in it.
                    fs::copy(&from, &to).with_context(|| format!("cannot write {}", to.display()))?;
                }
                root.write(&self.path, text)
            }
            Action::Restore { from } => {
                root.write(&self.path, text)?;
                let copy = root.place(from)?;
                fs::remove_file(&copy).with_context(|| format!("cannot remove {}", copy.display()))
            }
        }
    }
}
