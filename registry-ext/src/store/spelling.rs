//! The spelling of a place that somebody named by its path alone.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use layer::{Compression, Error, ImageArchive, Spool, SpoolOptions, entries};

use super::OciLayout;

/// A path to something that is there, with what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenPath {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Layout,
    /// The root file system of an image, by its usual directories.
    Root,
    Directory,
    Archive(ImageArchive),
    /// A compressed file, which is an archive or a layer: it is not decompressed to find out.
    Compressed(Compression),
    Layer,
    Delta,
    File,
}

impl GivenPath {
    /// Looks at what is at `path`. `None` if nothing is, or something that is no file and no directory.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let kind = if metadata.is_dir() {
            kind_of_directory(path)
        } else if metadata.is_file() {
            kind_of_file(path)
        } else {
            return None;
        };
        Some(Self { path: path.to_owned(), kind })
    }
}

fn kind_of_directory(dir: &Path) -> Kind {
    if OciLayout::open(dir).is_ok() {
        return Kind::Layout;
    }
    let has = |names: &[&str]| names.iter().any(|name| dir.join(name).exists());
    if has(&["usr", "bin"]) && has(&["etc", "var", "lib"]) { Kind::Root } else { Kind::Directory }
}

fn kind_of_file(path: &Path) -> Kind {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(8).read_to_end(&mut start));
    if read.is_err() {
        return Kind::File;
    }
    if start.starts_with(b"tardf") {
        return Kind::Delta;
    }
    match Compression::detect(&start[..start.len().min(Compression::MAGIC_SIZE)]) {
        Compression::None => {}
        compression => return Kind::Compressed(compression),
    }
    // A tar that is not compressed is read in place: only its headers.
    let listed = Spool::open(path, &SpoolOptions::default()).and_then(|spool| entries(&spool));
    match listed {
        Ok(entries) => ImageArchive::detect(&entries).map_or(Kind::Layer, Kind::Archive),
        Err(Error::BrokenTar { .. }) => Kind::Layer,
        Err(_) => Kind::File,
    }
}

impl fmt::Display for GivenPath {
    /// Says what it is, and how it is written.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.kind {
            Kind::Layout => write!(out, "this is an OCI layout: write oci:{path}"),
            Kind::Root => write!(
                out,
                "this is a directory with a root file system: as a store it is tree:{path}, and no image"
            ),
            Kind::Directory => write!(
                out,
                "this is a directory, and no OCI layout: a new layout there is oci:{path}, an unpacked image tree:{path}"
            ),
            Kind::Archive(ImageArchive::Oci) => {
                write!(out, "this is an archive of an OCI layout: write oci-archive:{path}")
            }
            Kind::Archive(ImageArchive::Docker) => {
                write!(out, "this is an archive of `docker save`: write docker-archive:{path}")
            }
            Kind::Compressed(compression) => write!(
                out,
                "this is a file compressed with {}: write oci-archive:{path} if it is an archive of an OCI layout, \
                 docker-archive:{path} if `docker save` wrote it; a layer in a file is for `registry-ext measure` and \
                 tar-diff",
                compression.name()
            ),
            Kind::Layer => write!(
                out,
                "this is a tar, and no archive of images: a layer in a file is for `registry-ext measure` and tar-diff"
            ),
            Kind::Delta => write!(out, "this is a delta: it is for tar-patch"),
            Kind::File => write!(out, "this is a file, and no archive of images"),
        }
    }
}

#[cfg(test)]
mod tests {
    use fixtures::{Ending, LayerBuilder};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_is_there_is_told_with_its_spelling() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        let tar = |name: &str, files: &[&str]| {
            let mut tar = LayerBuilder::new();
            for file in files {
                tar.file(file, "x");
            }
            std::fs::write(path(name), tar.finish(Ending::Normal)).unwrap();
        };
        OciLayout::create(&path("layout")).unwrap();
        std::fs::create_dir_all(path("root/usr")).unwrap();
        std::fs::create_dir_all(path("root/etc")).unwrap();
        tar("oci.tar", &["oci-layout", "index.json"]);
        tar("docker.tar", &["0/layer.tar", "manifest.json"]);
        tar("layer.tar", &["etc/passwd"]);
        for (name, bytes) in
            [("delta", b"tardf1\n\0"), ("gzip", b"\x1f\x8b\x08\0\0\0\0\0"), ("text", b"Hello...")]
        {
            std::fs::write(path(name), bytes).unwrap();
        }
        for (name, wanted) in [
            ("layout", format!("write oci:{}", path("layout").display())),
            ("root", format!("tree:{}", path("root").display())),
            ("", "no OCI layout".into()),
            ("oci.tar", format!("write oci-archive:{}", path("oci.tar").display())),
            ("docker.tar", format!("write docker-archive:{}", path("docker.tar").display())),
            ("layer.tar", "no archive of images: a layer".into()),
            ("delta", "tar-patch".into()),
            ("gzip", format!("docker-archive:{} if `docker save`", path("gzip").display())),
            ("text", "no archive of images".into()),
        ] {
            let text = GivenPath::of(&path(name)).unwrap().to_string();
            assert!(text.contains(&wanted), "{name}: {text}");
        }
        assert_eq!(GivenPath::of(&path("missing")), None);
        let store = path("docker.tar").display().to_string().parse::<super::super::StoreRef>();
        assert!(store.unwrap_err().to_string().contains("write docker-archive:"));
    }
}
