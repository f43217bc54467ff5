//! Who we are to a registry: basic credentials, or a token that it hands out for them.
//!
//! The OCI client could get tokens itself, but reads an answer of any size, hides why it got none and then
//! goes on without, and cannot get those for an identity token, nor those that may delete. So a token
//! is got here, ahead of the first request and again after a refusal; for uploads the client is given it.

use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{RequestBuilder, Url};

use super::{RegistryError, Repository};
use crate::credentials::Credential;

/// What a request does, and so what it must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Pull,
    Push,
    Delete,
}

/// What a request carries.
#[derive(Clone)]
pub(super) enum Access {
    Anonymous,
    Basic(String, String),
    Bearer(String),
}

impl Access {
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Anonymous => request,
            Self::Basic(username, password) => request.basic_auth(username, Some(password)),
            Self::Bearer(token) => request.bearer_auth(token),
        }
    }
}

/// A registry's answer to the question where tokens come from (distribution, "Token Authentication
/// Specification").
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: Option<String>,
}

impl Repository {
    pub(super) async fn access(&self, operation: Operation) -> Result<Access, RegistryError> {
        let mut known = self.access.lock().await;
        if let Some(access) = known.get(&operation) {
            return Ok(access.clone());
        }
        let access = self.get_access(operation).await?;
        known.insert(operation, access.clone());
        Ok(access)
    }

    pub(super) async fn forget_access(&self, operation: Operation) {
        self.access.lock().await.remove(&operation);
    }

    async fn get_access(&self, operation: Operation) -> Result<Access, RegistryError> {
        let action = format!("log in to {}", self.reference.registry());
        Ok(match (self.challenge().await?, &self.credential) {
            (Some(challenge), _) => Access::Bearer(self.token(&challenge, operation, &action).await?),
            (None, Credential::Basic(username, password)) => {
                Access::Basic(username.clone(), password.clone())
            }
            (None, Credential::Anonymous | Credential::Identity(_)) => Access::Anonymous,
        })
    }

    async fn challenge(&self) -> Result<Option<Challenge>, RegistryError> {
        let root = self.base.find("/v2/").map_or(self.base.as_str(), |at| &self.base[..at + 4]);
        let answer = self.http.get(root).send().await;
        // Nobody has asked for a login yet.
        let reach = || format!("reach {}", self.reference.registry());
        let answer = answer.map_err(|error| RegistryError::from_http(&reach(), error))?;
        let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        Ok(headers.filter_map(|header| header.to_str().ok()).find_map(parse_challenge))
    }

    async fn token(
        &self,
        challenge: &Challenge,
        operation: Operation,
        action: &str,
    ) -> Result<String, RegistryError> {
        if self.base.starts_with("https://") && !challenge.realm.starts_with("https://") {
            return Err(RegistryError::protocol(action, "its token server has no TLS"));
        }
        let actions = match operation {
            Operation::Pull => "pull",
            Operation::Push => "pull,push",
            Operation::Delete => "pull,push,delete",
        };
        let scope = format!("repository:{}:{actions}", self.reference.repository());
        let mut fields = vec![("scope", scope.as_str())];
        fields.extend(challenge.service.as_deref().map(|service| ("service", service)));
        let request = match &self.credential {
            Credential::Identity(token) => {
                fields.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "registry-ext"),
                    ("refresh_token", token),
                ]);
                self.http
                    .post(&challenge.realm)
                    .header("Content-Type", "application/x-www-form-urlencoded")
                    .body(form(&fields))
            }
            Credential::Basic(username, password) => {
                self.http.get(&challenge.realm).query(&fields).basic_auth(username, Some(password))
            }
            Credential::Anonymous => self.http.get(&challenge.realm).query(&fields),
        };
        let body = self.get_token(action, request).await?;
        let json: serde_json::Value =
            serde_json::from_slice(&body).map_err(|error| RegistryError::protocol(action, error))?;
        let token = json.get("token").or_else(|| json.get("access_token")).and_then(|token| token.as_str());
        token.map(str::to_owned).ok_or_else(|| RegistryError::protocol(action, "the answer holds no token"))
    }
}

/// Fields as an HTML form sends them.
fn form(fields: &[(&str, &str)]) -> String {
    let mut url = Url::parse("form:/").expect("a constant URL is valid");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

/// Reads `Bearer realm="…",service="…"` (RFC 6750). `None` for other schemes.
fn parse_challenge(header: &str) -> Option<Challenge> {
    let (scheme, mut rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service) = (None, None);
    while let Some((key, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(',').unwrap_or((value, "")),
        };
        match key.trim_matches([' ', ',']) {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            _ => {}
        }
        rest = after;
    }
    Some(Challenge { realm: realm?, service })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let header =
            r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a:pull,push""#;
        let wanted =
            Challenge { realm: "https://auth.example/token".into(), service: Some("registry".into()) };
        assert_eq!(parse_challenge(header), Some(wanted));
        assert_eq!(parse_challenge(r#"Basic realm="x""#), None);
        assert_eq!(parse_challenge(r#"Bearer service="x""#), None);
        assert_eq!(
            parse_challenge("bearer realm=r, service=s"),
            Some(Challenge { realm: "r".into(), service: Some("s".into()) })
        );
    }

    #[test]
    fn forms_are_escaped() {
        assert_eq!(
            form(&[("scope", "repository:a:pull"), ("x", "&=")]),
            "scope=repository%3Aa%3Apull&x=%26%3D"
        );
    }

    #[tokio::test]
    async fn credentials_do_not_leave_tls_for_a_token() {
        let reference = "registry.example/app".parse().unwrap();
        let repository = Repository::open(&reference, &crate::registry::RegistryOptions::default()).unwrap();
        let challenge = Challenge { realm: "http://registry.example/token".into(), service: None };
        let error = repository.token(&challenge, Operation::Pull, "log in").await.unwrap_err();
        assert!(error.to_string().contains("has no TLS"), "{error}");
    }
}
