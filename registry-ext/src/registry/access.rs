//! Access to a registry: basic credentials, or a token that it hands out for them.
//!
//! The OCI client could get tokens itself, but reads an answer of any size, hides why it got none and then
//! goes on without, and cannot get those for an identity token, nor those that may delete. So a token
//! is got here, ahead of the first request and again after a refusal; for uploads the client is given it.

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, Url};

use super::challenge::{Bearer, Challenges};
use super::exchange::exchange;
use super::{Client, RegistryError};
use crate::credentials::Credential;

/// The operation of a request, for which it needs permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Pull,
    Push,
    Delete,
}

/// The credentials that a request carries.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Access {
    Anonymous,
    Basic(String, String),
    Bearer(String),
    /// The header of somebody else, as it is.
    Handed(HeaderValue),
}

impl Access {
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Anonymous => request,
            Self::Basic(username, password) => request.basic_auth(username, Some(password)),
            Self::Bearer(token) => request.bearer_auth(token),
            Self::Handed(header) => request.header(AUTHORIZATION, header),
        }
    }
}

impl Client {
    pub(super) async fn access(&self, operation: Operation) -> Result<Access, RegistryError> {
        let mut known = self.access.lock().await;
        if let Some(access) = known.get(&operation) {
            return Ok(access.clone());
        }
        let access = self.gain(&self.challenges().await?, operation).await?;
        known.insert(operation, access.clone());
        Ok(access)
    }

    /// Makes sure that the next request of this kind carries something else than what was refused: what
    /// the refusal asks for, if it says so.
    pub(super) async fn renew(
        &self,
        operation: Operation,
        refused: &Access,
        challenges: &Challenges,
    ) -> Result<(), RegistryError> {
        let mut known = self.access.lock().await;
        // Another request may have been refused before, and have got a new one.
        if known.get(&operation).is_some_and(|access| access != refused) {
            return Ok(());
        }
        known.remove(&operation);
        if !challenges.is_empty() {
            let access = self.gain(challenges, operation).await?;
            known.insert(operation, access);
        }
        Ok(())
    }

    fn login(&self) -> String {
        format!("log in to {}", self.reference.registry())
    }

    fn root(&self) -> &str {
        self.base.find("/v2/").map_or(self.base.as_str(), |at| &self.base[..at + 4])
    }

    /// Asks the base of the API, which says whether the credentials are good.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] if they are not; those of the connection.
    pub(crate) async fn greet(&self) -> Result<(), RegistryError> {
        let action = format!("reach {}", self.reference.registry());
        match self.send(Operation::Pull, &action, || self.http.get(self.root())).await {
            Ok(_) => Ok(()),
            // Some serve the repositories alone.
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks the registry which credentials it wants, ahead of any request.
    async fn challenges(&self) -> Result<Challenges, RegistryError> {
        let root = self.root();
        let action = format!("reach {}", self.reference.registry());
        match exchange(&action, self.http.get(root), self.document_patience()).await {
            Ok(_) => Ok(Challenges::default()),
            Err(RegistryError::Unauthorized { challenges, .. }) => Ok(*challenges),
            // Some serve the repositories alone.
            Err(error) if error.status().is_some() && !error.is_transient() => Ok(Challenges::default()),
            Err(error) => Err(error),
        }
    }

    /// Gets in, in one of the ways that are open.
    async fn gain(&self, challenges: &Challenges, operation: Operation) -> Result<Access, RegistryError> {
        let basic = match &self.credential {
            Credential::Basic(username, password) => Some(Access::Basic(username.clone(), password.clone())),
            Credential::Anonymous | Credential::Identity(_) => None,
        };
        match (&challenges.bearer, basic) {
            (Some(bearer), basic) => match (self.token(bearer, operation).await, basic) {
                (Ok(token), _) => Ok(Access::Bearer(token)),
                (Err(error), Some(basic)) if challenges.basic && !error.is_transient() => Ok(basic),
                (Err(error), _) => Err(error),
            },
            (None, Some(basic)) => Ok(basic),
            (None, None) => Ok(Access::Anonymous),
        }
    }

    async fn token(&self, bearer: &Bearer, operation: Operation) -> Result<String, RegistryError> {
        let action = self.login();
        let realm = Url::parse(&self.base).and_then(|base| base.join(&bearer.realm));
        let realm = realm.map_err(|error| RegistryError::protocol(&action, error))?;
        if self.base.starts_with("https://") && realm.scheme() != "https" {
            return Err(RegistryError::protocol(&action, "its token server has no TLS"));
        }
        let scopes = scopes(self.reference.repository(), operation, bearer);
        let mut fields: Vec<(&str, &str)> =
            bearer.service.iter().map(|service| ("service", service.as_str())).collect();
        let joined = scopes.join(" ");
        let request = match &self.credential {
            Credential::Identity(token) => {
                fields.extend([
                    ("scope", joined.as_str()),
                    ("grant_type", "refresh_token"),
                    ("client_id", "registry-ext"),
                    ("refresh_token", token),
                ]);
                let request = self.http.post(realm).body(form(&fields));
                request.header("Content-Type", "application/x-www-form-urlencoded")
            }
            Credential::Basic(..) | Credential::Anonymous => {
                fields.extend(scopes.iter().map(|scope| ("scope", scope.as_str())));
                let request = self.http.get(realm).query(&fields);
                match &self.credential {
                    Credential::Basic(username, password) => request.basic_auth(username, Some(password)),
                    _ => request,
                }
            }
        };
        let body = self.get_token(&action, request).await?;
        let json: serde_json::Value =
            serde_json::from_slice(&body).map_err(|error| RegistryError::protocol(&action, error))?;
        // Token servers fill in one of both, and some leave the other one there, empty.
        let token = ["token", "access_token"]
            .into_iter()
            .filter_map(|name| json.get(name)?.as_str())
            .map(str::trim)
            .find(|token| !token.is_empty())
            .ok_or_else(|| RegistryError::protocol(&action, "the answer holds no token"))?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RegistryError::protocol(&action, "the token holds what no header can carry"));
        }
        Ok(token.to_owned())
    }
}

/// Returns the scopes of a token: those that the operation needs, and those that the registry says. It may
/// know the repository under another name than we do.
fn scopes(repository: &str, operation: Operation, bearer: &Bearer) -> Vec<String> {
    let actions = match operation {
        Operation::Pull => "pull",
        Operation::Push => "pull,push",
        Operation::Delete => "pull,push,delete",
    };
    let mut scopes = vec![format!("repository:{repository}:{actions}")];
    for scope in &bearer.scopes {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    scopes
}

/// Fields as an HTML form sends them.
fn form(fields: &[(&str, &str)]) -> String {
    let mut url = Url::parse("form:/").expect("a constant URL is valid");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, scopes: &[&str]) -> Bearer {
        let scopes = scopes.iter().map(ToString::to_string).collect();
        Bearer { realm: realm.into(), service: None, scopes }
    }

    #[test]
    fn forms_are_escaped() {
        assert_eq!(
            form(&[("scope", "repository:a:pull"), ("x", "&=")]),
            "scope=repository%3Aa%3Apull&x=%26%3D"
        );
    }

    #[test]
    fn a_token_is_for_what_is_done_and_what_is_asked_for() {
        let asked = bearer("r", &["repository:a:pull", "repository:team/a:pull"]);
        assert_eq!(scopes("a", Operation::Pull, &asked), ["repository:a:pull", "repository:team/a:pull"]);
        assert_eq!(scopes("a", Operation::Delete, &bearer("r", &[])), ["repository:a:pull,push,delete"]);
    }

    #[tokio::test]
    async fn credentials_do_not_leave_tls_for_a_token() {
        let reference = "registry.example/app".parse().unwrap();
        let repository = Client::open(&reference, &crate::registry::RegistryOptions::default()).unwrap();
        let http = bearer("http://registry.example/token", &[]);
        let error = repository.token(&http, Operation::Pull).await.unwrap_err();
        assert!(error.to_string().contains("has no TLS"), "{error}");
    }
}
