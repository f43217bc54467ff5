//! Blobs on their way to a client, and how that goes wrong.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode, header};
use futures_util::{StreamExt, stream};

use super::{CONTENT_DIGEST, Call, Stored, error, respond};

impl Stored {
    pub(super) fn blob(&mut self, call: &Call, name: &str, digest: &str) -> Option<Response<Body>> {
        let blob = self.repositories.get(name)?.blobs.get(digest)?.clone();
        let mut headers = vec![(CONTENT_DIGEST, digest.to_owned())];
        if call.method == Method::HEAD {
            headers.push((header::CONTENT_LENGTH, blob.len().to_string()));
            return Some(respond(StatusCode::OK, &headers, Body::empty()));
        }
        let start =
            call.header(header::RANGE).and_then(|range| range.strip_prefix("bytes=")?.split('-').next());
        let (mut code, mut bytes) = (StatusCode::OK, blob.clone());
        if let Some(start) = start.and_then(|start| start.parse::<usize>().ok()) {
            if start >= blob.len() {
                return Some(error(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID"));
            }
            code = StatusCode::PARTIAL_CONTENT;
            bytes = blob.slice(start..);
            headers.push((header::CONTENT_RANGE, format!("bytes {start}-{}/{}", blob.len() - 1, blob.len())));
        }
        headers.push((header::CONTENT_LENGTH, bytes.len().to_string()));
        if let Some(cut) = self.switches.cuts.pop().filter(|cut| *cut < bytes.len()) {
            // Later, so that the bytes before it are on their way.
            let cut_off = stream::once(async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Err(io::Error::other("cut"))
            });
            let broken = stream::iter([Ok(bytes.slice(..cut))]).chain(cut_off);
            return Some(respond(code, &headers, Body::from_stream(broken)));
        }
        if let Some(pause) = self.switches.drips {
            let drops = stream::iter(0..bytes.len()).then(move |at| {
                let drop = bytes.slice(at..at + 1);
                async move {
                    tokio::time::sleep(pause).await;
                    Ok::<_, io::Error>(drop)
                }
            });
            return Some(respond(code, &headers, Body::from_stream(drops)));
        }
        Some(respond(code, &headers, bytes))
    }
}
