//! A registry as the OCI distribution specification 1.1 has it, in memory, with switches for what
//! real registries and networks do differently.

#[path = "downloads.rs"]
mod downloads;
#[path = "exchange.rs"]
mod exchange;
#[path = "switches.rs"]
mod switches;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Request, Response, StatusCode, header};
use futures_util::StreamExt;
use layer::Digest;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub(crate) use exchange::{Call, error, respond, status};
pub(crate) use switches::Switches;

/// Largest request body in bytes.
const MAX_BODY: usize = 1 << 30;

#[derive(Debug, Default)]
struct Repository {
    blobs: HashMap<String, Bytes>,
    /// Media type and bytes.
    manifests: HashMap<String, (String, Bytes)>,
    tags: BTreeMap<String, String>,
}

/// The function that answers in place of the registry, where it gives an answer.
pub(crate) type Lie = Box<dyn FnMut(&Call) -> Option<Response<Body>> + Send>;

#[derive(Default)]
struct Stored {
    switches: Switches,
    repositories: HashMap<String, Repository>,
    uploads: HashMap<String, Vec<u8>>,
    tokens: HashSet<String>,
    counter: u64,
    /// Method and path of each request, with the range of those that have one.
    requests: Vec<String>,
    lie: Option<Lie>,
}

/// A running registry. It stops when it is dropped.
pub(crate) struct Registry {
    address: SocketAddr,
    stored: Arc<Mutex<Stored>>,
    task: JoinHandle<io::Result<()>>,
}

impl Registry {
    /// Listens on an address; port 0 is any free port.
    pub(crate) async fn start(address: &str, switches: Switches) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let stored = Arc::new(Mutex::new(Stored { switches, ..Stored::default() }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&stored));
        let task = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, stored, task })
    }

    /// Returns the address at which it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until it fails.
    #[allow(dead_code, reason = "the tests stop it")]
    pub(crate) async fn wait(mut self) -> io::Result<()> {
        (&mut self.task).await?
    }

    /// Changes the switches.
    #[allow(dead_code, reason = "the example does not")]
    pub(crate) fn switch(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut lock(&self.stored).switches);
    }

    /// Has something else answer first.
    #[allow(dead_code, reason = "the example does not")]
    pub(crate) fn lie(&self, lie: impl FnMut(&Call) -> Option<Response<Body>> + Send + 'static) {
        lock(&self.stored).lie = Some(Box::new(lie));
    }

    /// Has it be itself again.
    #[allow(dead_code, reason = "the example does not")]
    pub(crate) fn be_honest(&self) {
        lock(&self.stored).lie = None;
    }

    /// Makes all tokens invalid.
    #[allow(dead_code, reason = "the example does not")]
    pub(crate) fn revoke_tokens(&self) {
        lock(&self.stored).tokens.clear();
    }

    /// Takes the requests so far.
    #[allow(dead_code, reason = "the example does not")]
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.stored).requests)
    }

    /// Replaces the bytes of a blob under its old digest, as a broken disk does.
    #[allow(dead_code, reason = "the example does not")]
    pub(crate) fn corrupt_blob(&self, repository: &str, digest: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut stored = lock(&self.stored);
        let blob = stored.repositories.get_mut(repository).and_then(|found| found.blobs.get_mut(digest));
        let blob = blob.expect("the blob is there");
        let mut bytes = blob.to_vec();
        change(&mut bytes);
        *blob = bytes.into();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(stored: &Mutex<Stored>) -> MutexGuard<'_, Stored> {
    stored.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(stored): State<Arc<Mutex<Stored>>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let sips = lock(&stored).switches.sips;
    let body = body.into_data_stream().then(move |part| async move {
        if let Some(pause) = sips {
            tokio::time::sleep(pause).await;
        }
        part
    });
    let Ok(body) = axum::body::to_bytes(Body::from_stream(body), MAX_BODY).await else {
        return status(StatusCode::BAD_REQUEST);
    };
    let call = Call { method: parts.method, uri: parts.uri, headers: parts.headers, body };
    let mut stored = lock(&stored);
    let range = call.header(header::RANGE).map_or_else(String::new, |range| format!(" {range}"));
    stored.requests.push(format!("{} {}{range}", call.method, call.uri));
    if stored.switches.failures > 0 {
        stored.switches.failures -= 1;
        return status(StatusCode::SERVICE_UNAVAILABLE);
    }
    if let Some(told) = stored.lie.as_mut().and_then(|lie| lie(&call)) {
        return told;
    }
    if call.uri.path() == "/token" {
        return stored.token(&call);
    }
    if let Some(refusal) = stored.refusal(&call) {
        return refusal;
    }
    stored.route(&call).unwrap_or_else(|| error(StatusCode::NOT_FOUND, "NOT_FOUND"))
}

const CONTENT_DIGEST: header::HeaderName = header::HeaderName::from_static("docker-content-digest");
const OCI_SUBJECT: header::HeaderName = header::HeaderName::from_static("oci-subject");
const FILTERS_APPLIED: header::HeaderName = header::HeaderName::from_static("oci-filters-applied");

impl Stored {
    fn token(&mut self, call: &Call) -> Response<Body> {
        let Some((user, password)) = self.switches.bearer.clone() else {
            return status(StatusCode::NOT_FOUND);
        };
        // An identity token in this registry is the password itself.
        let form = String::from_utf8_lossy(&call.body).into_owned();
        let is_identity = call.method == Method::POST && form.contains(&format!("refresh_token={password}"));
        let basic = call.header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Basic "));
        if !is_identity && basic != Some(exchange::base64(format!("{user}:{password}").as_bytes()).as_str()) {
            return error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        }
        self.counter += 1;
        let scope = call.query("scope").unwrap_or(form);
        let token =
            format!("token-{}-{}", self.counter, if scope.contains("delete") { "delete" } else { "" });
        self.tokens.insert(token.clone());
        respond(StatusCode::OK, &[], json!({"token": token}).to_string())
    }

    fn refusal(&self, call: &Call) -> Option<Response<Body>> {
        self.switches.bearer.as_ref()?;
        let token = call.header(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let allows = |token: &str| call.method != Method::DELETE || token.ends_with("delete");
        if token.is_some_and(|token| self.tokens.contains(token) && allows(token)) {
            return None;
        }
        let host = call.header(header::HOST).unwrap_or_default();
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
        let mut refusal = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge.parse().ok()?);
        Some(refusal)
    }

    fn route(&mut self, call: &Call) -> Option<Response<Body>> {
        let path = call.uri.path().strip_prefix("/v2/")?;
        if path.is_empty() {
            return Some(status(StatusCode::OK));
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            return self.tags(call, name);
        }
        if let Some((name, upload)) = path.split_once("/blobs/uploads/") {
            return self.upload(call, name, upload);
        }
        if let Some((name, digest)) = path.split_once("/blobs/") {
            return self.blob(call, name, digest);
        }
        if let Some((name, reference)) = path.split_once("/manifests/") {
            return self.manifest(call, name, reference);
        }
        let (name, subject) = path.split_once("/referrers/")?;
        self.referrers(call, name, subject)
    }

    fn tags(&self, call: &Call, name: &str) -> Option<Response<Body>> {
        let last = call.query("last").unwrap_or_default();
        let mut tags: Vec<&String> = self.repositories.get(name)?.tags.keys().collect();
        tags.retain(|tag| **tag > last);
        let mut headers = Vec::new();
        if tags.len() > self.switches.page_size {
            tags.truncate(self.switches.page_size);
            let last = tags.last()?;
            headers.push((header::LINK, format!("</v2/{name}/tags/list?last={last}>; rel=\"next\"")));
        }
        Some(respond(StatusCode::OK, &headers, json!({"name": name, "tags": tags}).to_string()))
    }

    fn upload(&mut self, call: &Call, name: &str, upload: &str) -> Option<Response<Body>> {
        let digest = call.query("digest");
        match (&call.method, digest) {
            (&Method::POST, None) => {
                if let (Some(digest), Some(from), true) =
                    (call.query("mount"), call.query("from"), self.switches.mounts)
                    && let Some(blob) = self.repositories.get(&from).and_then(|from| from.blobs.get(&digest))
                {
                    let blob = blob.clone();
                    return Some(self.store_blob(name, digest, blob));
                }
                self.counter += 1;
                let id = format!("upload-{}", self.counter);
                self.uploads.insert(id.clone(), Vec::new());
                let location = format!("/v2/{name}/blobs/uploads/{id}");
                Some(respond(StatusCode::ACCEPTED, &[(header::LOCATION, location)], Body::empty()))
            }
            (&Method::PATCH, None) => {
                self.uploads.get_mut(upload)?.extend_from_slice(&call.body);
                let location = call.uri.path().to_owned();
                Some(respond(StatusCode::ACCEPTED, &[(header::LOCATION, location)], Body::empty()))
            }
            (&Method::PUT, Some(digest)) => {
                let mut bytes = self.uploads.remove(upload)?;
                bytes.extend_from_slice(&call.body);
                if Digest::of(&bytes).to_string() != digest {
                    return Some(error(StatusCode::BAD_REQUEST, "DIGEST_INVALID"));
                }
                Some(self.store_blob(name, digest, bytes.into()))
            }
            _ => Some(error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED")),
        }
    }

    fn store_blob(&mut self, name: &str, digest: String, blob: Bytes) -> Response<Body> {
        let location = format!("/v2/{name}/blobs/{digest}");
        self.repositories.entry(name.into()).or_default().blobs.insert(digest, blob);
        respond(StatusCode::CREATED, &[(header::LOCATION, location)], Body::empty())
    }

    fn manifest(&mut self, call: &Call, name: &str, reference: &str) -> Option<Response<Body>> {
        if call.method == Method::PUT {
            return Some(self.put_manifest(call, name, reference));
        }
        let repository = self.repositories.get_mut(name)?;
        let digest = repository.tags.get(reference).map_or(reference, String::as_str).to_owned();
        let (media_type, bytes) = repository.manifests.get(&digest)?.clone();
        if call.method == Method::DELETE {
            let is_tag = digest != reference;
            if !self.switches.deletes || is_tag && !self.switches.deletes_tags {
                return Some(error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"));
            }
            if is_tag {
                repository.tags.remove(reference);
                return Some(status(StatusCode::ACCEPTED));
            }
            let manifest = repository.manifests.remove(&digest)?;
            if self.switches.keeps_tags {
                // The tags have a copy of their own.
                let copy = format!("copy of {digest}");
                let tagged = repository.tags.values_mut().filter(|tagged| **tagged == digest);
                tagged.for_each(|tagged| tagged.clone_from(&copy));
                repository.manifests.insert(copy, manifest);
            }
            repository.tags.retain(|_, tagged| *tagged != digest);
            return Some(status(StatusCode::ACCEPTED));
        }
        let digest = Digest::of(&bytes).to_string();
        let headers = [(header::CONTENT_TYPE, media_type), (CONTENT_DIGEST, digest)];
        Some(respond(StatusCode::OK, &headers, bytes))
    }

    fn put_manifest(&mut self, call: &Call, name: &str, reference: &str) -> Response<Body> {
        let Ok(json) = serde_json::from_slice::<Value>(&call.body) else {
            return error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID");
        };
        let repository = self.repositories.entry(name.into()).or_default();
        let list = |key: &str| json.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let digests = list("layers").into_iter().chain(json.get("config").cloned());
        let is_there = |blob: &Value| {
            blob.get("digest")
                .and_then(Value::as_str)
                .is_some_and(|digest| repository.blobs.contains_key(digest))
        };
        if !digests.into_iter().all(|blob| is_there(&blob)) {
            return error(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN");
        }
        let digest = Digest::of(&call.body).to_string();
        if !reference.starts_with("sha256:") {
            repository.tags.insert(reference.into(), digest.clone());
        } else if reference != digest {
            return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        }
        let media_type = call.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        repository.manifests.insert(digest.clone(), (media_type, call.body.clone()));
        let mut headers =
            vec![(header::LOCATION, format!("/v2/{name}/manifests/{digest}")), (CONTENT_DIGEST, digest)];
        if let (Some(subject), true) = (subject_of(&json), self.switches.referrers) {
            headers.push((OCI_SUBJECT, subject.to_owned()));
        }
        respond(StatusCode::CREATED, &headers, Body::empty())
    }

    fn referrers(&self, call: &Call, name: &str, subject: &str) -> Option<Response<Body>> {
        if !self.switches.referrers {
            return None;
        }
        let wanted = call.query("artifactType").filter(|_| self.switches.filters);
        let empty = Repository::default();
        let repository = self.repositories.get(name).unwrap_or(&empty);
        let mut manifests = Vec::new();
        for (digest, (media_type, bytes)) in &repository.manifests {
            let Ok(json) = serde_json::from_slice::<Value>(bytes) else { continue };
            let artifact_type = json.get("artifactType").cloned().unwrap_or_default();
            let is_wanted = wanted.as_ref().is_none_or(|wanted| artifact_type.as_str() == Some(wanted));
            if subject_of(&json) == Some(subject) && is_wanted {
                manifests.push(json!({
                    "mediaType": media_type, "digest": digest, "size": bytes.len(),
                    "artifactType": artifact_type, "annotations": json.get("annotations"),
                }));
            }
        }
        manifests.sort_by_key(|entry| entry["digest"].to_string());
        let start: usize = call.query("start").and_then(|start| start.parse().ok()).unwrap_or(0);
        let end = manifests.len().min(start + self.switches.page_size);
        let page = manifests.get(start..end).unwrap_or_default();
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": page,
        });
        let mut headers = vec![(header::CONTENT_TYPE, "application/vnd.oci.image.index.v1+json".to_owned())];
        if end < manifests.len() {
            let next = format!("</v2/{name}/referrers/{subject}?start={end}>; rel=\"next\"");
            headers.push((header::LINK, next));
        }
        if wanted.is_some() {
            headers.push((FILTERS_APPLIED, "artifactType".to_owned()));
        }
        Some(respond(StatusCode::OK, &headers, index.to_string()))
    }
}

fn subject_of(manifest: &Value) -> Option<&str> {
    manifest.get("subject")?.get("digest")?.as_str()
}
