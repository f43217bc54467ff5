//! An applier that nobody here wrote, the crate `oci-delta`, rebuilds the new tar from our deltas.

#![allow(clippy::unwrap_used, reason = "a test that fails should panic")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use fixtures::Scenario;
use layer::{MergeOptions, Spool, SpoolOptions};
use oci_delta::{DeltaDataSource, tar_patch_apply};
use tar_diff::{DiffOptions, Method, diff};

struct Tree {
    root: PathBuf,
    current: Option<File>,
}

impl Tree {
    fn current(&mut self) -> &mut File {
        self.current.as_mut().expect("a file is open")
    }
}

impl DeltaDataSource for Tree {
    fn set_current_file(&mut self, path: &str) -> anyhow::Result<()> {
        self.current = Some(File::open(self.root.join(path))?);
        Ok(())
    }

    fn read_exact_current(&mut self, bytes: &mut [u8]) -> anyhow::Result<()> {
        Ok(self.current().read_exact(bytes)?)
    }

    fn seek_current(&mut self, offset: u64) -> anyhow::Result<u64> {
        Ok(self.current().seek(SeekFrom::Start(offset))?)
    }

    fn read_current_to_end(&mut self, max_size: u64) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.current().rewind()?;
        self.current().take(max_size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn copy_to(&mut self, output: &mut dyn Write, size: u64) -> anyhow::Result<()> {
        let copied = std::io::copy(&mut self.current().take(size), output)?;
        anyhow::ensure!(copied == size, "the source is short");
        Ok(())
    }
}

fn check(scenario: &Scenario, method: Method) {
    let tree = tempfile::tempdir().unwrap();
    scenario.extract_old(tree.path());
    let spool =
        |bytes: &Vec<u8>| Spool::read("layer".into(), bytes.as_slice(), &SpoolOptions::default()).unwrap();
    let old: Vec<Spool> = scenario.old.iter().map(spool).collect();
    let new = spool(&scenario.new);
    let merge = MergeOptions::default().apply_whiteouts(scenario.apply_whiteouts);
    let options = DiffOptions::default().merge(merge).method(method);
    let (delta, _) = diff(&old, &new, &options, Vec::new(), &|_| ()).unwrap();
    let mut sources = Tree { root: tree.path().to_owned(), current: None };
    let mut rebuilt = Vec::new();
    match tar_patch_apply(delta.as_slice(), &mut sources, &mut rebuilt) {
        Ok(()) => assert!(rebuilt == scenario.new, "{}: {method:?}: the result differs", scenario.name),
        // That crate takes paths for text.
        Err(error) => {
            assert!(error.to_string().contains("UTF-8"), "{}: {method:?}: {error:?}", scenario.name)
        }
    }
}

fn check_all(method: Method) {
    fixtures::scenarios::all().iter().for_each(|scenario| check(scenario, method));
}

#[test]
fn oci_delta_rebuilds_every_scenario_from_bsdiff() {
    check_all(Method::Bsdiff);
}

#[test]
fn oci_delta_rebuilds_every_scenario_from_frames() {
    check_all(Method::Zstd);
}

#[test]
fn oci_delta_rebuilds_every_scenario_of_the_default_method() {
    check_all(Method::Auto);
}
