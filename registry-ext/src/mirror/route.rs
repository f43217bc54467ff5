//! The registry, the repository and the object that a request asks for.
//!
//! The registry is named by the query (`?ns=HOST`, which containerd adds), or else by the first component of the
//! path, or else it is the default. containers/image refuses a colon in a path, so a port may be written as in
//! `host__5000`.

use std::borrow::Cow;

use layer::{BlobDigest, Digest};
use oci_spec::distribution::Reference;
use percent_encoding::percent_decode_str;

use crate::oci::Name;

/// Most bytes of a path that is looked at.
const MAX_PATH: usize = 1024;

/// An object of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Object {
    /// A manifest or an index.
    Manifest(Name),
    /// A blob.
    Blob(BlobDigest),
    /// The list of what refers to a manifest.
    Referrers(Digest),
    /// The list of tags.
    Tags,
}

/// A request, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// The base of the API, by which clients find out that this is a registry.
    Base,
    /// Something of a repository.
    Object {
        /// The repository, as its clients name it. Its tag means nothing.
        repository: Box<Reference>,
        /// The thing in it.
        object: Object,
    },
}

/// Reads the path of a request below `/v2/`. `ns` is the registry that the query names, `default` the one that is
/// meant where nothing names one. Returns `None` for what no registry has.
pub(super) fn route(path: &str, ns: Option<&str>, default: Option<&str>) -> Option<Route> {
    if path.len() > MAX_PATH {
        return None;
    }
    let path = path.strip_prefix("/v2")?;
    if path.is_empty() || path == "/" {
        return Some(Route::Base);
    }
    let path = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
    // From the end, since a component of a name may be called as these are.
    let (rest, last) = path.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    let object = match kind {
        "manifests" => Object::Manifest(manifest_name(last)?),
        "blobs" => Object::Blob(BlobDigest(last.parse().ok()?)),
        "referrers" => Object::Referrers(last.parse().ok()?),
        "tags" if last == "list" => Object::Tags,
        _ => return None,
    };
    let (host, name) = match (ns, name.split_once('/')) {
        (Some(ns), _) => (registry(ns)?, name),
        (None, Some((first, name))) if registry(first).is_some() => (registry(first)?, name),
        (None, _) => (Cow::Borrowed(default?), name),
    };
    // Its other name, which references do not keep.
    let host = if host == "index.docker.io" { Cow::Borrowed("docker.io") } else { host };
    let repository: Reference = format!("{host}/{name}").parse().ok()?;
    // What the grammar of references takes for something else than it stands for here.
    let is_plain = repository.digest().is_none() && repository.registry() == host;
    is_plain.then(|| Route::Object { repository: Box::new(repository), object })
}

/// Returns the name of a registry, if a text is one: `host.domain`, `host:port`, `host__port`, `localhost`.
fn registry(text: &str) -> Option<Cow<'_, str>> {
    let with_port = text.rsplit_once("__").filter(|(host, port)| !host.is_empty() && is_port(port));
    let name = match with_port {
        Some((host, port)) => Cow::Owned(format!("{host}:{port}")),
        None => Cow::Borrowed(text),
    };
    let is_host = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte));
    let is_registry = name.contains(['.', ':']) || name == "localhost";
    (is_host && is_registry).then_some(name)
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A tag or a digest (OCI distribution specification, "Pulling manifests").
fn manifest_name(text: &str) -> Option<Name> {
    if text.contains(':') {
        return text.parse().ok().map(Name::Digest);
    }
    let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_tag = text.len() <= 128
        && text.bytes().next().is_some_and(is_first)
        && text.bytes().all(|byte| is_first(byte) || byte == b'.' || byte == b'-');
    is_tag.then(|| Name::Tag(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn read(path: &str, ns: Option<&str>, default: Option<&str>) -> Option<(String, Object)> {
        match route(path, ns, default)? {
            Route::Base => None,
            Route::Object { repository, object } => {
                Some((format!("{} {}", repository.registry(), repository.repository()), object))
            }
        }
    }

    #[test]
    fn the_registry_is_named_in_three_ways() {
        let tag = || Object::Manifest(Name::Tag("v1".into()));
        let found = |text: &str| Some((text.to_owned(), tag()));
        assert_eq!(read("/v2/a/b/manifests/v1", Some("h.io"), Some("d.io")), found("h.io a/b"));
        assert_eq!(read("/v2/a.b/c/manifests/v1", Some("h:50"), None), found("h:50 a.b/c"));
        assert_eq!(read("/v2/h.io/a/b/manifests/v1", None, Some("d.io")), found("h.io a/b"));
        for host in ["h__5000", "h:5000", "h%3A5000"] {
            assert_eq!(read(&format!("/v2/{host}/a/manifests/v1"), None, None), found("h:5000 a"), "{host}");
        }
        assert_eq!(read("/v2/localhost/a/manifests/v1", None, None), found("localhost a"));
        assert_eq!(read("/v2/a/b/manifests/v1", None, Some("d.io")), found("d.io a/b"));
        assert_eq!(read("/v2/library/a/manifests/v1", None, Some("docker.io")), found("docker.io library/a"));
        assert_eq!(read("/v2/a/b/manifests/v1", None, None), None);
    }

    #[test]
    fn objects_are_told_from_the_end_of_the_path() {
        let digest: Digest = DIGEST.parse().unwrap();
        for (path, object) in [
            (format!("/v2/h.io/a/blobs/{DIGEST}"), Object::Blob(BlobDigest(digest))),
            (format!("/v2/h.io/a/manifests/{DIGEST}"), Object::Manifest(Name::Digest(digest))),
            (format!("/v2/h.io/a/referrers/{DIGEST}"), Object::Referrers(digest)),
            ("/v2/h.io/a/tags/list".into(), Object::Tags),
        ] {
            assert_eq!(read(&path, None, None), Some(("h.io a".into(), object)), "{path}");
        }
        let inner = read("/v2/h.io/manifests/blobs/manifests/blobs", None, None);
        assert_eq!(inner, Some(("h.io manifests/blobs".into(), Object::Manifest(Name::Tag("blobs".into())))));
        for base in ["/v2", "/v2/"] {
            assert_eq!(route(base, None, None), Some(Route::Base));
        }
    }

    #[test]
    fn what_no_registry_has_is_no_route() {
        for path in [
            "/",
            "/v1/x",
            "/v2/h.io/a/blobs/uploads/",
            "/v2/h.io/a/blobs/sha256:12",
            "/v2/h.io/a/manifests/..",
            "/v2/h.io/a/manifests/",
            "/v2/h.io/../a/manifests/v1",
            "/v2/h.io/a%2F..%2F..%2Fetc/manifests/v1",
            "/v2/h.io/UPPER/manifests/v1",
            "/v2/h.io/a@sha256:1/manifests/v1",
            "/v2/h.io//manifests/v1",
            "/v2/h.io/a%00/manifests/v1",
            "/v2/h.io/a%FF/manifests/v1",
            "/v2/u:p@h.io/a/manifests/v1",
            "/v2/h.io/a/tags/other",
        ] {
            assert_eq!(route(path, None, None), None, "{path}");
        }
        assert_eq!(route("/v2/a/manifests/v1", Some("h.io/x"), None), None);
        assert_eq!(route("/v2/a/manifests/v1", Some("h.io#"), None), None);
        assert_eq!(route(&format!("/v2/h.io/{}/manifests/v1", "a/".repeat(1000)), None, None), None);
    }
}
