//! Credentials as other tools keep them: the `config.json` of docker, the `auth.json` of podman, and
//! the credential helpers that either names.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

use crate::{Error, Result};

/// Where credentials are looked for. Which files those are is for the caller to say: a library
/// reads no environment.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Credentials for one registry, which win over the files.
    pub explicit: Option<Explicit>,
    /// Files in the form of docker's `config.json`, in order; the first that knows the registry
    /// wins. Those that do not exist are skipped.
    pub files: Vec<PathBuf>,
}

/// Credentials that the user gave.
#[derive(Clone)]
pub struct Explicit {
    /// The registry that they are for, with its port: no other one sees them.
    pub registry: String,
    /// User name.
    pub username: String,
    /// Password or access token.
    pub password: String,
}

/// What a registry is shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    Anonymous,
    /// User name and password.
    Basic(String, String),
    /// A token that is exchanged for access tokens (docker's `identitytoken`, OAuth 2 refresh token).
    Identity(String),
}

impl fmt::Debug for Explicit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Explicit").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic(..) => "Basic",
            Self::Identity(_) => "Identity",
        })
    }
}

impl Credentials {
    /// The credential for a repository.
    ///
    /// # Errors
    /// [`Error::Io`] if a file exists and cannot be opened, [`Error::Malformed`] if it cannot be
    /// read or a credential helper fails.
    pub fn find(&self, registry: &str, repository: &str) -> Result<Credential> {
        if let Some(explicit) = self.explicit.as_ref().filter(|explicit| explicit.registry == registry) {
            return Ok(Credential::Basic(explicit.username.clone(), explicit.password.clone()));
        }
        for path in &self.files {
            for name in names(registry, repository) {
                let file = match File::open(path) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(error) => return Err(Error::io("open", path)(error)),
                };
                match get_credential_from_reader(BufReader::new(file), &name) {
                    Ok(credential) => return Ok(credential.into()),
                    Err(CredentialRetrievalError::NoCredentialConfigured) => {}
                    Err(error) if is_unknown_to_helper(&error) => {}
                    Err(error) => return Err(Error::malformed(path.display().to_string(), error)),
                }
            }
        }
        Ok(Credential::Anonymous)
    }
}

/// The names under which a file may keep a credential, the most specific first
/// (containers-auth.json(5)).
fn names(registry: &str, repository: &str) -> Vec<String> {
    let whole = format!("{registry}/{repository}");
    let mut names: Vec<String> =
        whole.match_indices('/').map(|(slash, _)| whole[..slash].to_owned()).rev().collect();
    names.insert(0, whole);
    if matches!(registry, "docker.io" | "index.docker.io") {
        names.push("https://index.docker.io/v1/".into());
    }
    names
}

/// Helpers say so in words (docker-credential-helpers, `credentials.NewErrCredentialsNotFound`).
fn is_unknown_to_helper(error: &CredentialRetrievalError) -> bool {
    matches!(error, CredentialRetrievalError::HelperFailure { stdout, stderr, .. }
        if stdout.contains("credentials not found") || stderr.contains("credentials not found"))
}

impl From<DockerCredential> for Credential {
    fn from(credential: DockerCredential) -> Self {
        match credential {
            DockerCredential::IdentityToken(token) => Self::Identity(token),
            // Helpers return an identity token as the password of this user.
            DockerCredential::UsernamePassword(user, token) if user == "<token>" => Self::Identity(token),
            DockerCredential::UsernamePassword(user, password) => Self::Basic(user, password),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `user:secret` and `team:other` in base64.
    const FILE: &str = r#"{"auths": {
        "127.0.0.1:5000": {"auth": "dXNlcjpzZWNyZXQ="},
        "127.0.0.1:5000/team": {"auth": "dGVhbTpvdGhlcg=="},
        "https://index.docker.io/v1/": {"identitytoken": "abc"}
    }}"#;

    fn find(registry: &str, repository: &str) -> Credential {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, FILE).unwrap();
        let explicit = Explicit { registry: "own".into(), username: "me".into(), password: "pw".into() };
        let files = vec![dir.path().join("absent.json"), path];
        Credentials { explicit: Some(explicit), files }.find(registry, repository).unwrap()
    }

    #[test]
    fn the_most_specific_name_wins() {
        let basic = |user: &str, password: &str| Credential::Basic(user.into(), password.into());
        assert!(find("127.0.0.1:5000", "other/app") == basic("user", "secret"));
        assert!(find("127.0.0.1:5000", "team/app") == basic("team", "other"));
        assert!(find("docker.io", "library/debian") == Credential::Identity("abc".into()));
        assert!(find("own", "x") == basic("me", "pw"));
        assert!(find("elsewhere", "x") == Credential::Anonymous);
    }

    #[test]
    fn secrets_are_not_printed() {
        let text = format!("{:?}", Credential::Basic("user".into(), "secret".into()));
        assert!(!text.contains("secret"));
    }

    #[test]
    fn a_broken_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, "{").unwrap();
        let credentials = Credentials { explicit: None, files: vec![path] };
        assert!(matches!(credentials.find("x", "y"), Err(Error::Malformed { .. })));
    }
}
