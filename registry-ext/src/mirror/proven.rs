//! The recipes that have made their blob here before.
//!
//! Of a blob that is made by a recipe no byte is given away before all of it has its digest: the recipe is the word of
//! a stranger. A recipe that has made the blob once makes it again, so that the bytes may be given away while they
//! come. This is for a client that resumes after the blob has left the cache, or after the mirror was killed before it
//! was kept.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use layer::{BlobDigest, DiffId, Digest};

use crate::{Error, Result};

/// Most recipes that are known. The oldest goes first.
const MAX_RECIPES: usize = 4096;
/// Most bytes of the file: that of twice as many lines.
const MAX_SIZE: u64 = 2 * MAX_RECIPES as u64 * 256;
/// Names the encoders, in each line: recipes that others have proved are proved again.
const ENCODERS: &str = recode::ENCODERS;

/// A recipe that makes a blob of a tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ProvenRecipe {
    pub(super) blob: BlobDigest,
    pub(super) tar: DiffId,
    pub(super) recipe: Digest,
}

impl ProvenRecipe {
    fn line(&self) -> String {
        format!("{ENCODERS} {} {} {}\n", self.blob.0, self.tar.0, self.recipe)
    }

    /// Reads a line that these encoders have written.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        if words.next()? != ENCODERS {
            return None;
        }
        let mut digest = || words.next()?.parse().ok();
        let (blob, tar, recipe) = (BlobDigest(digest()?), DiffId(digest()?), digest()?);
        words.next().is_none().then_some(Self { blob, tar, recipe })
    }
}

/// The recipes that are known, and the file that has them.
#[derive(Debug)]
pub(super) struct ProvenRecipes {
    known: Mutex<Known>,
    /// Locked on its own, so that nobody who asks waits for the disk.
    journal: Mutex<Journal>,
}

#[derive(Debug, Default)]
struct Known {
    /// Oldest first.
    order: VecDeque<ProvenRecipe>,
    all: HashSet<ProvenRecipe>,
}

impl Known {
    fn add(&mut self, recipe: ProvenRecipe) -> bool {
        if !self.all.insert(recipe) {
            return false;
        }
        self.order.push_back(recipe);
        if self.order.len() > MAX_RECIPES
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
        true
    }
}

impl ProvenRecipes {
    /// Reads the file of a cache. Lines that cannot be read are none, and so is a file that is too large.
    pub(super) fn open(cache: &Path) -> Self {
        let path = cache.join("proven-recipes");
        let is_small = fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= MAX_SIZE);
        let text = Some(&path).filter(|_| is_small).and_then(|path| fs::read_to_string(path).ok());
        let text = text.unwrap_or_default();
        // A line that was cut off when the mirror was killed has no end.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut known = Known::default();
        whole.lines().filter_map(ProvenRecipe::parse).for_each(|recipe| {
            known.add(recipe);
        });
        // The next one writes the file anew, unless it ends with a line of its own.
        let lines = if text.len() == whole.len() + 1 { whole.lines().count() } else { usize::MAX };
        Self { known: Mutex::new(known), journal: Mutex::new(Journal { path, lines }) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, recipe: &ProvenRecipe) -> bool {
        self.known().all.contains(recipe)
    }

    /// Notes a recipe that has made its blob. Blocks. Where it cannot be written, the next start does not know it.
    pub(super) fn note(&self, recipe: ProvenRecipe) {
        if !self.known().add(recipe) {
            return;
        }
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let written = if journal.lines < 2 * MAX_RECIPES {
            journal.append(&recipe.line())
        } else {
            // Another one that is known already may wait for its line: it then has two, which are read as one.
            let lines: Vec<_> = self.known().order.iter().map(ProvenRecipe::line).collect();
            journal.replace(&lines)
        };
        drop(journal);
        if let Err(error) = written {
            tracing::warn!(
                "a recipe that made its blob is forgotten at the next start: {}",
                error.one_line()
            );
        }
    }
}

/// The file that has the recipes, a line each.
#[derive(Debug)]
struct Journal {
    path: PathBuf,
    /// Its lines. Where a part of a line may stand there, they are so many that the next one writes the file anew.
    lines: usize,
}

impl Journal {
    fn append(&mut self, line: &str) -> Result<()> {
        let lines = std::mem::replace(&mut self.lines, usize::MAX);
        let file = File::options().append(true).create(true).open(&self.path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(Error::io("write", &self.path))?;
        self.lines = lines + 1;
        Ok(())
    }

    fn replace(&mut self, lines: &[String]) -> Result<()> {
        self.lines = usize::MAX;
        let new = self.path.with_extension("new");
        fs::write(&new, lines.concat()).map_err(Error::io("write", &new))?;
        fs::rename(&new, &self.path).map_err(Error::io("rename to", &self.path))?;
        self.lines = lines.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(number: usize) -> ProvenRecipe {
        let digest = |part: &str| Digest::of(format!("{part} {number}").as_bytes());
        let [blob, tar, recipe] = ["blob", "tar", "recipe"].map(digest);
        ProvenRecipe { blob: BlobDigest(blob), tar: DiffId(tar), recipe }
    }

    #[test]
    fn a_restart_knows_the_recipes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let recipes = ProvenRecipes::open(dir.path());
        recipes.note(recipe(1));
        recipes.note(recipe(1));
        recipes.note(recipe(2));
        let path = dir.path().join("proven-recipes");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        let mixed = ProvenRecipe { tar: recipe(2).tar, ..recipe(1) };
        for recipes in [recipes, ProvenRecipes::open(dir.path())] {
            assert!(recipes.has(&recipe(1)) && recipes.has(&recipe(2)));
            assert!(!recipes.has(&recipe(3)) && !recipes.has(&mixed));
        }
        // Cut off, of other encoders, and no line at all.
        let other = recipe(3).line().replacen(ENCODERS, "0000000000000000", 1);
        fs::write(&path, format!("{}{other}nothing\n{}", recipe(1).line(), recipe(2).line().trim_end()))
            .unwrap();
        let recipes = ProvenRecipes::open(dir.path());
        assert!(recipes.has(&recipe(1)) && !recipes.has(&recipe(2)) && !recipes.has(&recipe(3)));
        recipes.note(recipe(4));
        let recipes = ProvenRecipes::open(dir.path());
        assert!(recipes.has(&recipe(1)) && recipes.has(&recipe(4)) && !recipes.has(&recipe(2)));
    }

    #[test]
    fn the_file_and_what_is_known_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let recipes = ProvenRecipes::open(dir.path());
        for number in 0..2 * MAX_RECIPES + 10 {
            recipes.note(recipe(number));
        }
        let size = fs::metadata(dir.path().join("proven-recipes")).unwrap().len();
        assert!(size < MAX_SIZE, "{size}");
        let last = 2 * MAX_RECIPES + 9;
        for recipes in [recipes, ProvenRecipes::open(dir.path())] {
            assert!(recipes.has(&recipe(last)) && recipes.has(&recipe(last + 1 - MAX_RECIPES)));
            assert!(!recipes.has(&recipe(last - MAX_RECIPES)));
        }
    }
}
