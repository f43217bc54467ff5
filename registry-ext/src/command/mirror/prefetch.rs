//! The tags that a mirror follows, as the command line and a file have them.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cli::Misuse;
use registry_ext::mirror::PrefetchOptions;
use registry_ext::reference::ImageRef;

use super::super::args::{BYTES_OF_MBIT, PrefetchArgs};

/// Reads the options.
pub(super) fn options(args: &PrefetchArgs) -> Result<PrefetchOptions> {
    let mut tags = args.prefetch.clone();
    if let Some(path) = &args.prefetch_file {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.lines().map(str::trim).enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let place = || format!("line {} of {}", number + 1, path.display());
            tags.push(line.parse().with_context(place)?);
        }
    }
    let mut options = PrefetchOptions::default();
    for tag in tags {
        match tag {
            ImageRef::Registry(reference) if reference.digest().is_none() => options.tags.push(reference),
            other => {
                let text =
                    format!("{other} cannot be followed; only a tag on a registry can, as in HOST/NAME:TAG");
                return Err(Misuse(text).into());
            }
        }
    }
    let every = Duration::from_secs(args.prefetch_every * 60);
    let rate = args.rate.map(|mbit| mbit * BYTES_OF_MBIT);
    Ok(options.every(every).rate(rate).windows(args.prefetch_window.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(prefetch: &[&str], file: Option<std::path::PathBuf>) -> PrefetchArgs {
        let prefetch = prefetch.iter().map(|tag| tag.parse().unwrap()).collect();
        let windows = vec!["22:00-05:30".parse().unwrap()];
        PrefetchArgs {
            prefetch,
            prefetch_file: file,
            prefetch_every: 2,
            prefetch_window: windows,
            rate: Some(8),
        }
    }

    #[test]
    fn tags_come_from_the_command_line_and_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tags");
        fs::write(&file, "# nightly\n\n registry.example/b\nregistry.example/c:v1\n").unwrap();
        let options = options(&args(&["registry.example/a:v1"], Some(file.clone()))).unwrap();
        let tags: Vec<String> = options.tags.iter().map(ToString::to_string).collect();
        assert_eq!(tags, ["registry.example/a:v1", "registry.example/b:latest", "registry.example/c:v1"]);
        assert_eq!((options.every.as_secs(), options.rate), (120, Some(1_000_000)));
        fs::write(&file, "\nregistry.example/UPPER\n").unwrap();
        let error = format!("{:#}", super::options(&args(&[], Some(file))).unwrap_err());
        assert!(error.contains("line 2 of"), "{error}");
    }

    #[test]
    fn what_is_no_tag_on_a_registry_cannot_be_followed() {
        let digest = format!("registry.example/a@sha256:{}", "0".repeat(64));
        for tag in ["oci:dir:v1", &digest] {
            let error = options(&args(&[tag], None)).unwrap_err().to_string();
            assert!(error.contains("cannot be followed"), "{error}");
        }
    }
}
