//! Redirects, followed by hand: where a request may be sent on to depends on what it carries, and the HTTP
//! client does not say that to whoever decides.

use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, PROXY_AUTHORIZATION,
};
use reqwest::{Method, Request, Response, StatusCode, Url};

use super::{RegistryError, proxy};

/// Most redirects that are followed for one request.
const MAX_REDIRECTS: usize = 10;

/// Sends a request, and sends it on as redirects say. Credentials and bodies stay on the server that they
/// are for, and nothing that came by TLS goes on without.
pub(super) async fn execute(
    action: &str,
    client: &reqwest::Client,
    mut request: Request,
) -> Result<Response, RegistryError> {
    for _ in 0..=MAX_REDIRECTS {
        let again = request.try_clone();
        let action = &proxy::route(action, request.url())?;
        let answer =
            client.execute(request).await.map_err(|error| RegistryError::from_http(action, error))?;
        if answer.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(proxy::refused(action));
        }
        let (Some(again), Some(next)) = (again, target(&answer)) else { return Ok(answer) };
        request = sent_on(again, next, answer.status())
            .map_err(|reason| RegistryError::protocol(action, reason))?;
    }
    Err(RegistryError::protocol(action, "it redirects without an end"))
}

/// Returns the URL that an answer redirects to, without a user name and password that may be in the URL.
fn target(answer: &Response) -> Option<Url> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    let mut next = answer.url().join(location).ok().filter(|next| next.has_host())?;
    next.set_username("").ok()?;
    next.set_password(None).ok()?;
    Some(next)
}

/// The request as it goes on to `next`.
fn sent_on(mut request: Request, next: Url, status: StatusCode) -> Result<Request, &'static str> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if request.url().scheme() == "https" && next.scheme() != "https" {
        return Err("it redirects to a place without TLS");
    }
    if next.origin() != request.url().origin() {
        if !is_read {
            return Err("it redirects to another server, where this request must not go");
        }
        let headers: &mut HeaderMap = request.headers_mut();
        for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE] {
            headers.remove(name);
        }
        *request.body_mut() = None;
    } else if status == StatusCode::SEE_OTHER && !is_read {
        return Err("it redirects a change to a place that can only be read");
    }
    *request.url_mut() = next;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, url: &str) -> Request {
        let mut request = Request::new(method, url.parse().unwrap());
        request.headers_mut().insert(AUTHORIZATION, "secret".parse().unwrap());
        *request.body_mut() = Some("refresh_token=secret".into());
        request
    }

    #[test]
    fn nothing_secret_is_sent_on_to_another_server() {
        let statuses = [301, 302, 303, 307, 308].map(|status| StatusCode::from_u16(status).unwrap());
        for status in statuses {
            for next in ["https://b/x", "https://a:444/x", "https://a.b/x"] {
                for method in [Method::GET, Method::HEAD] {
                    let on = sent_on(request(method, "https://a/x"), next.parse().unwrap(), status).unwrap();
                    assert!(!on.headers().contains_key(AUTHORIZATION) && on.body().is_none(), "{next}");
                    assert_eq!(on.url().as_str(), next);
                }
                for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
                    let on = sent_on(request(method, "https://a/x"), next.parse().unwrap(), status);
                    assert!(on.is_err(), "{next}");
                }
            }
            let http = sent_on(request(Method::GET, "https://a/x"), "http://a/x".parse().unwrap(), status);
            assert!(http.is_err());
        }
    }

    #[test]
    fn a_change_stays_one_on_its_own_server() {
        for (status, goes_on) in [(301, true), (302, true), (303, false), (307, true), (308, true)] {
            let status = StatusCode::from_u16(status).unwrap();
            let on = sent_on(request(Method::DELETE, "https://a/x"), "https://a/y".parse().unwrap(), status);
            assert_eq!(on.is_ok(), goes_on, "{status}");
            if let Ok(on) = on {
                assert!(*on.method() == Method::DELETE && on.headers().contains_key(AUTHORIZATION));
            }
        }
    }
}
