//! Names of images and stores, as the command line has them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use layer::Digest;
use oci_spec::distribution::Reference;

use crate::Error;
use crate::oci::Name;
use crate::store::full_name;

/// The place of an image.
///
/// - `HOST[:PORT]/NAME[:TAG][@DIGEST]`, on a registry. A digest wins over a tag; without either the
///   tag is `latest`. `docker://` in front is allowed.
/// - `oci:DIR[:TAG]`, in an OCI image layout. Without a tag, the only image that is there.
/// - `oci-archive:FILE[:TAG]`, in a tar of such a layout.
/// - `docker-archive:FILE[:NAME[:TAG]]`, in a tar that `docker save` wrote, to be read. Without a name, the
///   only image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageRef {
    /// On a registry.
    Registry(Reference),
    /// In an OCI image layout.
    Layout(LayoutRef),
    /// In a tar of an OCI image layout.
    Archive(LayoutRef),
    /// In a tar of `docker save`.
    DockerArchive(LayoutRef),
}

/// An image in an OCI image layout, in a tar of one, or in a tar of `docker save`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutRef {
    /// The directory, or the tar. Its name holds no colon.
    pub path: PathBuf,
    /// The image's name in it (annotation `org.opencontainers.image.ref.name`; in a tar of `docker save` the whole
    /// name, with registry and tag), or a digest.
    pub name: Option<Name>,
}

impl ImageRef {
    /// The tag or digest that was given; `latest` on a registry if none was.
    pub fn name(&self) -> Option<Name> {
        match self {
            Self::Registry(reference) => {
                let digest = reference.digest().and_then(|digest| digest.parse().ok()).map(Name::Digest);
                digest.or_else(|| Some(Name::Tag(reference.tag().unwrap_or("latest").to_owned())))
            }
            Self::Layout(layout) | Self::Archive(layout) | Self::DockerArchive(layout) => layout.name.clone(),
        }
    }

    /// The registry, with its port.
    pub fn registry(&self) -> Option<&str> {
        match self {
            Self::Registry(reference) => Some(reference.registry()),
            Self::Layout(_) | Self::Archive(_) | Self::DockerArchive(_) => None,
        }
    }
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Reference { text: text.to_owned(), reason: reason.to_owned() };
        if let Some(layout) = text.strip_prefix("oci:") {
            return LayoutRef::parse(layout)
                .map(Self::Layout)
                .ok_or_else(|| wrong("the directory is missing"));
        }
        if let Some(layout) = text.strip_prefix("oci-archive:") {
            return LayoutRef::parse(layout).map(Self::Archive).ok_or_else(|| wrong("the file is missing"));
        }
        if let Some(layout) = text.strip_prefix("docker-archive:") {
            let mut layout = LayoutRef::parse(layout).ok_or_else(|| wrong("the file is missing"))?;
            if let Some(Name::Tag(name)) = &mut layout.name {
                *name = full_name(name).ok_or_else(|| wrong("the form is docker-archive:FILE:NAME:TAG"))?;
            }
            return Ok(Self::DockerArchive(layout));
        }
        let name = text.strip_prefix("docker://").unwrap_or(text);
        let reference: Reference =
            name.parse().map_err(|error| wrong(&format!("no image reference: {error}")))?;
        if reference.digest().is_some_and(|digest| digest.parse::<Digest>().is_err()) {
            return Err(wrong("digests other than sha256 are not supported"));
        }
        Ok(Self::Registry(reference))
    }
}

impl LayoutRef {
    fn parse(text: &str) -> Option<Self> {
        let (path, name) = match text.split_once(':') {
            Some((path, name)) => (path, Some(name).filter(|name| !name.is_empty())),
            // As skopeo has it: `oci:DIR@sha256:…` would be split at the wrong colon.
            None => (text, None),
        };
        let (path, name) = match path.strip_suffix("@sha256") {
            Some(path) => (path, name.and_then(|hex| format!("sha256:{hex}").parse().ok()).map(Name::Digest)),
            None => (path, name.map(|name| Name::Tag(name.to_owned()))),
        };
        (!path.is_empty()).then(|| Self { path: path.into(), name })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => write!(out, "{reference}"),
            Self::Layout(layout) => write!(out, "oci:{layout}"),
            Self::Archive(layout) => write!(out, "oci-archive:{layout}"),
            Self::DockerArchive(layout) => write!(out, "docker-archive:{layout}"),
        }
    }
}

impl fmt::Display for LayoutRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.path.display())?;
        match &self.name {
            Some(Name::Tag(tag)) => write!(out, ":{tag}"),
            Some(Name::Digest(digest)) => write!(out, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn name(text: &str) -> Option<String> {
        text.parse::<ImageRef>().unwrap().name().map(|name| name.to_string())
    }

    #[test]
    fn names_are_read() {
        assert_eq!(name("127.0.0.1:5000/a/b:v2").as_deref(), Some("v2"));
        assert_eq!(name("docker://127.0.0.1:5000/a").as_deref(), Some("latest"));
        assert_eq!(name(&format!("localhost:5000/a:v1@{DIGEST}")).as_deref(), Some(DIGEST));
        assert_eq!(name("oci:dir"), None);
        assert_eq!(name("oci:dir:v1").as_deref(), Some("v1"));
        assert_eq!(name(&format!("oci-archive:/a/b.tar@{DIGEST}")).as_deref(), Some(DIGEST));
        assert_eq!("debian:12".parse::<ImageRef>().unwrap().registry(), Some("docker.io"));
    }

    #[test]
    fn they_are_written_as_they_are_read() {
        for text in [
            "127.0.0.1:5000/a/b:v2",
            "oci:dir",
            "oci:/a/dir:v1",
            "oci-archive:x.tar:v1",
            "docker-archive:x.tar:docker.io/library/a:v1",
        ] {
            assert_eq!(text.parse::<ImageRef>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in
            ["", "oci:", "oci-archive::v1", "h:1/UPPER", "a b", &format!("a@sha512:{}", "0".repeat(128))]
        {
            assert!(matches!(text.parse::<ImageRef>(), Err(Error::Reference { .. })), "{text}");
        }
    }
}
