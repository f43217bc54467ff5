//! Proxies of the environment: which one a request goes through, and what to do where one cannot be used.
//!
//! The HTTP client reads the same variables by the same code; here they are read for messages, since a
//! failure of a proxy looks like one of the registry.

use std::env;
use std::error::Error as _;
use std::sync::LazyLock;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::Url;

use super::{RegistryError, is_loopback};

/// The variables, in the order in which they count. The first of a line that is set is the one.
const VARIABLES: [[&str; 2]; 3] =
    [["HTTPS_PROXY", "https_proxy"], ["HTTP_PROXY", "http_proxy"], ["ALL_PROXY", "all_proxy"]];
/// The text of the HTTP client for a proxy that answers `CONNECT` with status 407. It has no type for it.
const WANTS_CREDENTIALS: &str = "proxy authorization required";
const CREDENTIALS: &str = "the proxy wants a user name and a password, or others than these: they belong into \
                           the variable, as in HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT";

static PROXIES: LazyLock<Matcher> = LazyLock::new(Matcher::from_env);

/// Refuses variables that name no proxy: the client would pass over them and connect directly.
///
/// # Errors
/// [`RegistryError::Setup`].
pub(super) fn check() -> Result<(), RegistryError> {
    for names in VARIABLES {
        let set = names.into_iter().find_map(|name| Some((name, env::var(name).ok()?)));
        if let Some((name, value)) = set.filter(|(_, value)| !value.is_empty()) {
            check_variable(name, &value)?;
        }
    }
    Ok(())
}

fn check_variable(name: &str, value: &str) -> Result<(), RegistryError> {
    let proxies = Matcher::builder().all(value).build();
    let any = "http://registry.example/".parse().expect("a constant URL is valid");
    let is_known = |proxy: &Intercept| {
        let scheme = proxy.uri().scheme_str().unwrap_or("http");
        let Some(authority) = proxy.uri().authority() else { return false };
        let has_port =
            authority.as_str().rsplit('@').next().is_some_and(|place| place.len() > authority.host().len());
        (scheme.starts_with("http") || scheme.starts_with("socks"))
            && !authority.host().is_empty()
            && (!has_port || authority.port_u16().is_some())
    };
    match proxies.intercept(&any).filter(is_known) {
        Some(_) => Ok(()),
        // The value may hold a password.
        None => Err(RegistryError::setup(format!(
            "the environment variable {name} does not name a proxy: write {name}=http://HOST:PORT, or unset it"
        ))),
    }
}

fn of(url: &Url) -> Option<Intercept> {
    if url.host_str().is_none_or(is_loopback) {
        return None;
    }
    PROXIES.intercept(&url.as_str().parse().ok()?)
}

/// Adds the proxy that a request goes through to the name of an action, without its user name and password.
///
/// # Errors
/// [`RegistryError::Protocol`] for a proxy that speaks SOCKS.
pub(super) fn route(action: &str, url: &Url) -> Result<String, RegistryError> {
    let Some(proxy) = of(url) else { return Ok(action.to_owned()) };
    let (scheme, place) = (proxy.uri().scheme_str().unwrap_or("http"), proxy.uri().authority());
    let place = place.map(ToString::to_string).unwrap_or_default();
    let action = format!("{action} through the proxy {scheme}://{place}");
    if scheme.starts_with("socks") {
        let reason = "SOCKS proxies are not supported: name an HTTP proxy in HTTPS_PROXY, or the registry in \
                      NO_PROXY";
        return Err(RegistryError::protocol(&action, reason));
    }
    Ok(action)
}

/// The error for a proxy that refuses whoever has not logged in to it; `None` if the client failed otherwise.
pub(super) fn refusal(action: &str, error: &reqwest::Error) -> Option<RegistryError> {
    let mut cause = error.source();
    while let Some(of) = cause {
        if of.to_string().contains(WANTS_CREDENTIALS) {
            return Some(RegistryError::protocol(action, CREDENTIALS));
        }
        cause = of.source();
    }
    None
}

/// The error for an answer with status 407 (RFC 9110, 15.5.8), which only a proxy gives.
pub(super) fn refused(action: &str) -> RegistryError {
    RegistryError::protocol(action, CREDENTIALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_names_no_proxy_is_named_without_its_value() {
        for value in ["http://proxy:3128", "proxy:3128", "http://user:secret@proxy", "socks5://proxy"] {
            assert!(check_variable("HTTPS_PROXY", value).is_ok(), "{value}");
        }
        for value in ["http://", "ftp://user:secret@proxy", "http://user:secret@proxy:port", "a b"] {
            let Err(error) = check_variable("HTTPS_PROXY", value) else { panic!("{value} is no proxy") };
            let text = format!("{error}: {}", error.source().unwrap());
            assert!(text.contains("HTTPS_PROXY does not name a proxy"), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
