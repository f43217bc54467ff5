//! One request: its place in the API, its answer, its line in the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request as HttpRequest, Response, StatusCode, header};
use hyper::body::Incoming;

use super::answer::{NAMESPACE, document, error, not_allowed, of_failure, pass_refusal, who_are_you};
use super::login::Login;
use super::objects::Request;
use super::page::{Totals, page};
use super::route::{Object, Route, route};
use super::shared::Shared;
use crate::registry::is_loopback;

/// Answers a request and writes a line about it to the log, without what may be a secret.
pub(super) async fn answer(
    shared: &Arc<Shared>,
    (peer, is_local): (SocketAddr, bool),
    request: HttpRequest<Incoming>,
) -> Response<Body> {
    let began = Instant::now();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (answer, registry, object) = match is_local && !is_for_this_host(&request) {
        // A page in a browser on this host would otherwise read what the credentials of the mirror open, under a name
        // of its own that leads to this address.
        true => {
            let message = "this mirror is for this host, by its loopback address";
            (error(StatusCode::MISDIRECTED_REQUEST, "DENIED", message), String::new(), "other")
        }
        false if !may_ask(shared, &request).await => (who_are_you(), String::new(), "other"),
        false => dispatch(shared, &request).await,
    };
    let status = answer.status().as_u16();
    shared.metrics.answered(&registry, object, status);
    let client = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let bytes = answer.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    tracing::info!(
        %peer, %method, path = %path.escape_debug(), status, registry, bytes,
        client = client.unwrap_or_default(), ms = began.elapsed().as_millis(), "request"
    );
    answer
}

/// Returns true if the one who asks is known, where somebody has to be. Anybody may know that the mirror runs.
async fn may_ask(shared: &Shared, request: &HttpRequest<Incoming>) -> bool {
    let Some(users) = &shared.users else { return true };
    let is_open = matches!(request.uri().path(), "/healthz" | "/readyz");
    is_open || users.accepts(request.headers().get(header::AUTHORIZATION)).await
}

/// Returns true if a request names this host by a loopback address, or does not name it.
fn is_for_this_host(request: &HttpRequest<Incoming>) -> bool {
    let named = request.headers().get(header::HOST).map(|host| host.to_str().is_ok_and(is_loopback));
    let target = request.uri().authority().map(|authority| is_loopback(authority.as_str()));
    named.unwrap_or(true) && target.unwrap_or(true)
}

/// Returns the answer to a request, with the registry and the kind of object that it is about.
async fn dispatch(
    shared: &Arc<Shared>,
    request: &HttpRequest<Incoming>,
) -> (Response<Body>, String, &'static str) {
    let (method, path) = (request.method(), request.uri().path());
    if method != Method::GET && method != Method::HEAD {
        return (not_allowed(), String::new(), "other");
    }
    let own = match path {
        "/" => {
            let (cache, max_cache) = shared.cache.size();
            let fetched = shared.upstreams.received().values().sum();
            let totals = Totals { fetched, saved: shared.metrics.saved_in_all(), cache, max_cache };
            // Where each client has rights of its own, nobody is told of what others pull.
            let pulls = if shared.is_passing { Vec::new() } else { shared.history.last() };
            let followed = if shared.is_passing { Vec::new() } else { shared.prefetcher.followed() };
            let page = page(totals, &followed, &pulls, SystemTime::now());
            Some(text("text/html; charset=utf-8", page))
        }
        "/healthz" => Some(text("text/plain", "ok\n".into())),
        "/readyz" => Some(match shared.check_cache().await {
            Ok(()) => text("text/plain", "ready\n".into()),
            Err(failure) => error(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", &failure.one_line()),
        }),
        "/metrics" => {
            let (fetched, making) = (shared.upstreams.received(), shared.productions.count());
            let figures = shared.metrics.text(&fetched, shared.cache.size().0, making);
            Some(text("application/openmetrics-text; version=1.0.0; charset=utf-8", figures))
        }
        _ => None,
    };
    if let Some(own) = own {
        return (own, String::new(), "own");
    }
    let query = request.uri().query();
    let ns = query.and_then(namespace);
    let Some(route) = route(path, ns.as_deref(), shared.upstreams.default_registry()) else {
        let message = "this path is none of a registry; the registry is named by the first component, by ?ns=, or \
                       by --upstream";
        return (error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message), String::new(), "other");
    };
    // A client that does not name the registry has chosen its credentials for the one whose challenge it got.
    let is_for_it = |registry: &str| ns.is_some() || shared.upstreams.default_registry() == Some(registry);
    let login = |registry: Option<&str>| match shared.is_passing {
        true if registry.is_some_and(is_for_it) => Login::of_client(request.headers()),
        true => Login::Client(None),
        false => Login::Own,
    };
    let Route::Object { repository, object } = route else {
        let registry = ns.as_deref().or_else(|| shared.upstreams.default_registry());
        return (base(shared, registry, login(registry)).await, String::new(), "base");
    };
    let registry = repository.registry().to_owned();
    if !shared.upstreams.allows(&registry) {
        let message = format!("this mirror is not for {registry}; --upstream says for which it is");
        return (error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", &message), String::new(), "other");
    }
    let upstream = match shared.upstreams.get(&repository, login(Some(&registry))).await {
        Ok(upstream) => upstream,
        Err(failure) => return (of_failure(&failure, "NAME_UNKNOWN"), registry, "other"),
    };
    let request = Request { shared, upstream: Arc::clone(&upstream), method, headers: request.headers() };
    let place = (path, ns.as_deref());
    let (mut answer, kind) = match object {
        Object::Manifest(name) => (request.manifest(&name).await, "manifest"),
        Object::Blob(digest) => (request.blob(digest).await, "blob"),
        Object::Referrers(subject) => {
            let query = without_namespace(query);
            (request.list(place, &format!("referrers/{subject}"), query.as_deref()).await, "list")
        }
        Object::Tags => {
            let query = without_namespace(query);
            (request.list(place, "tags/list", query.as_deref()).await, "list")
        }
    };
    if answer.status() == StatusCode::FORBIDDEN {
        shared.upstreams.forget(&upstream);
        if shared.is_passing {
            pass_refusal(&mut answer);
        }
    }
    if let Some(ns) = ns.and_then(|ns| HeaderValue::from_str(&ns).ok()) {
        answer.headers_mut().insert(NAMESPACE, ns);
    }
    (answer, registry, kind)
}

/// Answers a request for the base of the API. A client that has to show its own credentials learns here, as from the
/// registry itself, which ones.
async fn base(shared: &Shared, registry: Option<&str>, login: Login) -> Response<Body> {
    let fine = || document(StatusCode::OK, "application/json", b"{}".to_vec());
    let Some(registry) = registry.filter(|registry| shared.is_passing && shared.upstreams.allows(registry))
    else {
        return fine();
    };
    // No repository is asked for.
    let Ok(reference) = format!("{registry}/base").parse() else { return fine() };
    let greeted = async {
        let upstream = shared.upstreams.get(&reference, login).await?;
        let greeted = upstream.client.greet().await;
        if greeted.is_err() {
            shared.upstreams.forget(&upstream);
        }
        Ok(greeted?)
    };
    match greeted.await {
        Ok(()) => fine(),
        Err(failure) => {
            let mut answer = of_failure(&failure, "NAME_UNKNOWN");
            pass_refusal(&mut answer);
            answer
        }
    }
}

fn text(media_type: &str, text: String) -> Response<Body> {
    document(StatusCode::OK, media_type, text.into_bytes())
}

/// The registry that a query names.
fn namespace(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("ns="))?;
    let value = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
    Some(value.into_owned()).filter(|value| !value.is_empty())
}

/// A query without the name of the registry, which the registry itself does not know.
fn without_namespace(query: Option<&str>) -> Option<String> {
    let kept: Vec<&str> = query?.split('&').filter(|pair| !pair.starts_with("ns=")).collect();
    Some(kept.join("&")).filter(|query| !query.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_taken_out_of_a_query() {
        assert_eq!(namespace("n=5&ns=h%3A5000&last=a").as_deref(), Some("h:5000"));
        assert_eq!(namespace("ns="), None);
        assert_eq!(namespace("n=5"), None);
        assert_eq!(without_namespace(Some("n=5&ns=h&last=a")).as_deref(), Some("n=5&last=a"));
        assert_eq!(without_namespace(Some("ns=h")), None);
        assert_eq!(without_namespace(None), None);
    }
}
