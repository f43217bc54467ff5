//! Answers as the OCI distribution specification has them.

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::login::Refusal;
use crate::Error;
use crate::registry::RegistryError;

/// The digest of what an answer has.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// Says that a request was understood to be for this registry (`?ns=`).
pub(super) const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");

/// Begins an answer.
pub(super) fn with_status(status: StatusCode) -> axum::http::response::Builder {
    Response::builder().status(status).header(API_VERSION, "registry/2.0")
}

/// Ends an answer.
pub(super) fn finish(builder: axum::http::response::Builder, body: Body) -> Response<Body> {
    builder.body(body).unwrap_or_else(|_| {
        // A registry's own words, such as a media type, may be none that a header can have.
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        answer
    })
}

/// An answer with JSON.
pub(super) fn document(status: StatusCode, media_type: &str, bytes: Vec<u8>) -> Response<Body> {
    let builder = with_status(status).header(CONTENT_TYPE, media_type).header(CONTENT_LENGTH, bytes.len());
    finish(builder, Body::from(bytes))
}

/// The error of a request (OCI distribution specification, "Error Codes").
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = json!({ "errors": [{ "code": code, "message": message }] });
    document(status, "application/json", body.to_string().into_bytes())
}

/// Says that only reading is possible here.
pub(super) fn not_allowed() -> Response<Body> {
    let mut answer =
        error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this is a mirror: it is only read from");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

/// The answer that says why the registry did not give something: with its own status, so that clients do as they do
/// with the registry itself.
pub(super) fn of_failure(failure: &Error, unknown: &str) -> Response<Body> {
    let message = failure.one_line();
    let (status, code) = match failure {
        Error::NotFound { .. } => (StatusCode::NOT_FOUND, unknown),
        // Not 401: a client would then send its own credentials here.
        Error::Registry(of) if of.is_unauthorized() => (StatusCode::FORBIDDEN, "DENIED"),
        Error::Registry(of) => match of.status().and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(StatusCode::NOT_FOUND) => (StatusCode::NOT_FOUND, unknown),
            Some(StatusCode::TOO_MANY_REQUESTS) => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
            Some(status) if status.is_server_error() => (status, "UNKNOWN"),
            _ => (StatusCode::BAD_GATEWAY, "UNKNOWN"),
        },
        _ => (StatusCode::BAD_GATEWAY, "UNKNOWN"),
    };
    let mut answer = error(status, code, &message);
    let wait = match failure {
        Error::Registry(of) => of.retry_after(),
        _ => None,
    };
    if let Some(wait) = wait {
        answer.headers_mut().insert(RETRY_AFTER, wait.as_secs().into());
    }
    if let Error::Registry(RegistryError::Unauthorized { status, challenges, .. }) = failure {
        let challenges = challenges.headers().to_vec();
        answer.extensions_mut().insert(Refusal { status: *status, challenges });
    }
    answer
}

/// Asks for a name and a password.
pub(super) fn who_are_you() -> Response<Body> {
    let message = "this mirror wants a name and a password, which its htpasswd file has";
    let mut answer = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message);
    let challenge = HeaderValue::from_static("Basic realm=\"registry-ext mirror\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

/// Turns the answer to a client whose own credentials a registry refuses into that of the registry.
pub(super) fn pass_refusal(answer: &mut Response<Body>) {
    let Some(refusal) = answer.extensions_mut().remove::<Refusal>() else { return };
    if refusal.status == StatusCode::UNAUTHORIZED.as_u16() {
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
    }
    for challenge in refusal.challenges {
        answer.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
}

/// The part of a blob that is asked for: its first byte and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// From one byte up to, and without, another.
    Range(u64, u64),
    /// Beyond its end.
    Beyond,
}

impl Part {
    /// The part that a request for a blob of `size` bytes asks for (RFC 9110, 14.2). Several ranges at once, and what
    /// is no range, ask for the whole.
    pub(super) fn of(headers: &HeaderMap, size: u64) -> Self {
        let value = headers.get(axum::http::header::RANGE).and_then(|value| value.to_str().ok());
        let range = value.and_then(|value| value.trim().strip_prefix("bytes="));
        let Some((first, last)) = range.and_then(|range| range.split_once('-')) else { return Self::Whole };
        let (first, last) = (first.trim(), last.trim());
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
        let range = match (number(first).flatten(), number(last).flatten()) {
            (Some(first), None) if last.is_empty() => (first, size),
            (Some(first), Some(last)) if first <= last => (first, size.min(last.saturating_add(1))),
            (None, Some(count)) if first.is_empty() && count > 0 => (size.saturating_sub(count), size),
            (None, Some(_)) if first.is_empty() => return Self::Beyond,
            _ => return Self::Whole,
        };
        if range.0 < size { Self::Range(range.0, range.1) } else { Self::Beyond }
    }

    /// The first byte and the end in a blob of `size` bytes.
    pub(super) const fn bounds(self, size: u64) -> (u64, u64) {
        match self {
            Self::Range(first, end) => (first, end),
            Self::Whole | Self::Beyond => (0, size),
        }
    }

    /// Begins the answer that has it, of a blob of `size` bytes.
    pub(super) fn answer(self, size: u64) -> axum::http::response::Builder {
        let builder = match self {
            Self::Whole => with_status(StatusCode::OK).header(CONTENT_LENGTH, size),
            Self::Range(first, end) => with_status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_LENGTH, end - first)
                .header(CONTENT_RANGE, format!("bytes {first}-{}/{size}", end - 1)),
            Self::Beyond => with_status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(CONTENT_RANGE, format!("bytes */{size}")),
        };
        builder.header(ACCEPT_RANGES, "bytes").header(CONTENT_TYPE, "application/octet-stream")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read() {
        let part = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("range", value.parse().unwrap());
            Part::of(&headers, 100)
        };
        for (value, wanted) in [
            ("bytes=0-", Part::Range(0, 100)),
            ("bytes=7-", Part::Range(7, 100)),
            ("bytes=7-9", Part::Range(7, 10)),
            ("bytes=7-1000", Part::Range(7, 100)),
            ("bytes=-10", Part::Range(90, 100)),
            ("bytes=-1000", Part::Range(0, 100)),
            ("bytes=7-18446744073709551615", Part::Range(7, 100)),
            ("bytes=100-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=9-7", Part::Whole),
            ("bytes=1-2,5-6", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=x-", Part::Whole),
            ("items=0-", Part::Whole),
        ] {
            assert_eq!(part(value), wanted, "{value}");
        }
        assert_eq!(Part::of(&HeaderMap::new(), 100), Part::Whole);
        let mut any = HeaderMap::new();
        any.insert("range", "bytes=0-".parse().unwrap());
        assert_eq!(Part::of(&any, 0), Part::Beyond);
    }
}
