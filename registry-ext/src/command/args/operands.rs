//! The images and files that commands are given.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use registry_ext::Error;
use registry_ext::reference::ImageRef;
use registry_ext::store::GivenPath;

/// An operand of `measure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Measured {
    Image(ImageRef),
    /// A file with a layer.
    Layer(PathBuf),
}

impl FromStr for Measured {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match names_file(text) && !Path::new(text).is_dir() {
            true => Ok(Self::Layer(text.into())),
            false => image(text).map(Self::Image),
        }
    }
}

/// Reads the name of an image. What is a file here is not taken for an image of docker.io.
pub(super) fn image(text: &str) -> Result<ImageRef, Error> {
    if !names_file(text) {
        return text.parse();
    }
    let reason = match GivenPath::of(Path::new(text)) {
        Some(given) => format!("{given}. An image of docker.io with this name is docker.io/{text}"),
        None => format!(
            "this is the name of a file, and there is none. Images in files are oci:DIR, oci-archive:FILE and \
             docker-archive:FILE; an image of docker.io with this name is docker.io/{text}"
        ),
    };
    Err(Error::Reference { text: text.into(), reason })
}

/// The ends of names that files have and images do not.
const FILE_ENDS: [&str; 8] =
    [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tardiff", ".oci"];

/// Tells whether somebody who writes this means a file: by how it starts or ends, or as it is there. Where a
/// registry is named, it means an image.
fn names_file(text: &str) -> bool {
    if ["oci:", "oci-archive:", "docker-archive:", "docker://"].iter().any(|prefix| text.starts_with(prefix))
    {
        return false;
    }
    if ["/", "./", "../", "~"].iter().any(|start| text.starts_with(start)) {
        return true;
    }
    let names_registry =
        text.split_once('/').is_some_and(|(first, _)| first == "localhost" || first.contains(['.', ':']));
    !names_registry && (FILE_ENDS.iter().any(|end| text.ends_with(end)) || Path::new(text).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_not_taken_for_images_of_docker_io() {
        for (text, wanted) in [
            ("./app", "there is none"),
            ("/srv/app.tar", "there is none"),
            ("app.tar.gz", "docker-archive:FILE"),
            ("Cargo.toml", "this is a file, and no archive of images"),
            ("src", "this is a directory, and no OCI layout"),
        ] {
            let error = image(text).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(wanted), "{error}");
        }
        for text in [
            "debian:12",
            "registry.example/app.tar",
            "localhost:5000/Cargo",
            "docker.io/src",
            "oci:src",
            "docker-archive:src",
        ] {
            assert!(!names_file(text), "{text}");
        }
        let measured = |text: &str| text.parse::<Measured>().unwrap();
        assert_eq!(measured("old.tar.gz"), Measured::Layer("old.tar.gz".into()));
        assert_eq!(measured("Cargo.toml"), Measured::Layer("Cargo.toml".into()));
        assert!(matches!(measured("debian:12"), Measured::Image(_)));
    }
}
