//! The mirror and the registries, as users name them and as the files spell them.

use std::fmt;
use std::str::FromStr;

/// The address of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirrorAddress {
    host: String,
    is_tls: bool,
}

impl MirrorAddress {
    /// The URL of the mirror, without a slash at its end.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.host)
    }

    /// The place of a registry's images on the mirror, as containers/image names it: that refuses a colon in a path.
    pub(super) fn location(&self, registry: &RegistryHost) -> String {
        format!("{}/{}", self.host, registry.0.replace(':', "__"))
    }

    /// Returns the registry whose images are at a place on this mirror.
    pub(super) fn registry(&self, location: &str) -> Option<RegistryHost> {
        let spelled = location.strip_prefix(&self.host)?.strip_prefix('/')?;
        spelled.replacen("__", ":", 1).parse().ok()
    }

    /// True if it speaks plain http.
    pub(super) const fn is_insecure(&self) -> bool {
        !self.is_tls
    }
}

impl FromStr for MirrorAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (is_tls, host) = match text.split_once("://") {
            Some(("https", host)) => (true, host),
            Some(("http", host)) => (false, host),
            None => (false, text),
            Some((scheme, _)) => return Err(format!("{scheme} is neither http nor https")),
        };
        let host = host.strip_suffix('/').unwrap_or(host);
        match is_host(host) {
            true => Ok(Self { host: host.to_owned(), is_tls }),
            false => Err("this is no HOST:PORT".into()),
        }
    }
}

/// A registry: host, and port if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RegistryHost(String);

impl RegistryHost {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for RegistryHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Other names are the first component of a path on a registry, such as `library`.
        let names_registry = text.contains(['.', ':']) || text == "localhost";
        match is_host(text) && names_registry {
            true => Ok(Self(text.to_owned())),
            false => {
                Err("this is no HOST[:PORT] of a registry, such as registry.example or localhost:5000".into())
            }
        }
    }
}

fn is_host(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte);
    text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'[')
        && text.bytes().all(is_plain)
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_spelled_so_that_a_path_may_have_it() {
        let mirror: MirrorAddress = "127.0.0.1:5050".parse().unwrap();
        for (host, location) in [
            ("registry.example", "127.0.0.1:5050/registry.example"),
            ("localhost:5000", "127.0.0.1:5050/localhost__5000"),
        ] {
            let host: RegistryHost = host.parse().unwrap();
            assert_eq!(mirror.location(&host), location);
            assert_eq!(mirror.registry(location), Some(host));
        }
        assert_eq!(mirror.registry("127.0.0.1:5051/registry.example"), None);
        assert_eq!(mirror.registry("127.0.0.1:50505/registry.example"), None);
    }

    #[test]
    fn addresses_have_a_scheme_or_mean_http() {
        for (text, url) in [
            ("127.0.0.1:5050", "http://127.0.0.1:5050"),
            ("http://[::1]:5050/", "http://[::1]:5050"),
            ("https://mirror.example", "https://mirror.example"),
        ] {
            assert_eq!(text.parse::<MirrorAddress>().unwrap().url(), url);
        }
        for text in ["", "ftp://h", "h/x", "u:p@h", "a\"b", "https://"] {
            assert!(text.parse::<MirrorAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_no_registry() {
        for text in ["", "..", "../x", "a/b", "library", "_default", "h.io\"", ".h.io", "a..b"] {
            assert!(text.parse::<RegistryHost>().is_err(), "{text}");
        }
    }
}
