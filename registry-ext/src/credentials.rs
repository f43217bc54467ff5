//! Credentials as other tools keep them: the `config.json` of docker, the `auth.json` of podman, and
//! the credential helpers that either names.

use std::fmt;
use std::io;
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use serde_json::Value;

use crate::{Error, Result};

/// The places where credentials are looked for. The caller says which files those are: a library
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

/// The credential that a registry is shown.
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
    /// [`Error::Io`] if a file exists and cannot be opened, [`Error::Malformed`] if it cannot be read.
    pub fn find(&self, registry: &str, repository: &str) -> Result<Credential> {
        self.look_up(registry, repository).map(|found| found.credential)
    }

    /// The same, and its origin. A credential that cannot be had is no reason not to ask, since most of what is
    /// pulled is for everybody.
    pub(crate) fn look_up(&self, registry: &str, repository: &str) -> Result<LookedUp> {
        if let Some(explicit) = self.explicit.as_ref().filter(|explicit| explicit.registry == registry) {
            let credential = Credential::Basic(explicit.username.clone(), explicit.password.clone());
            return Ok(LookedUp { origin: credential.said_to_be("given"), credential });
        }
        let mut faults = Vec::new();
        for path in &self.files {
            let bytes = match std::fs::read(path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("open", path)(error)),
            };
            let broken = |error: &dyn fmt::Display| Error::malformed(path.display().to_string(), error);
            let file = without_empty_fields(&bytes).map_err(|error| broken(&error))?;
            for name in names(registry, repository) {
                match credential_in(&file, &name) {
                    Ok(Credential::Anonymous) => {}
                    Ok(credential) => {
                        let origin = credential.said_to_be(&format!("for `{name}` in {}", path.display()));
                        return Ok(LookedUp { credential, origin });
                    }
                    Err(CredentialRetrievalError::ConfigReadError) => {
                        return Err(broken(&CredentialRetrievalError::ConfigReadError));
                    }
                    Err(error) => {
                        let reason = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
                        faults.push(format!("the one in {} cannot be had: {reason}", path.display()));
                    }
                }
            }
        }
        Ok(LookedUp { credential: Credential::Anonymous, origin: self.none_for(registry, &faults) })
    }

    /// Says why there is no credential for a registry.
    fn none_for(&self, registry: &str, faults: &[String]) -> String {
        if !faults.is_empty() {
            return format!("no credential was tried: {}", faults.join("; "));
        }
        let files: Vec<String> = self.files.iter().map(|path| path.display().to_string()).collect();
        if files.is_empty() {
            return "no credential was tried, since none was given".to_owned();
        }
        format!("no credential was tried, since there is none for {registry} in {}", files.join(", "))
    }
}

/// The credential for a repository.
pub(crate) struct LookedUp {
    pub(crate) credential: Credential,
    /// Says which credential is tried and where it stands, or why there is none.
    pub(crate) origin: String,
}

impl Credential {
    /// Says that this credential is tried, without its secret.
    fn said_to_be(&self, place: &str) -> String {
        match self {
            Self::Anonymous => "no credential was tried".to_owned(),
            Self::Basic(username, _) => {
                format!("the credential that was tried is {place}, of the user `{username}`")
            }
            Self::Identity(_) => format!("the credential that was tried is {place}, an identity token"),
        }
    }
}

/// The credential that a file has under a name. Where a helper fails, what stands in the file itself is taken.
fn credential_in(file: &Value, name: &str) -> Result<Credential, CredentialRetrievalError> {
    let find = |file: &Value| match get_credential_from_reader(file.to_string().as_bytes(), name) {
        Ok(credential) => Ok(credential.into()),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(Credential::Anonymous),
        Err(error) if is_unknown_to_helper(&error) => Ok(Credential::Anonymous),
        Err(error) => Err(error),
    };
    let failed = match find(file) {
        Err(error) => error,
        found => return found,
    };
    let mut plain = file.clone();
    if let Some(fields) = plain.as_object_mut() {
        fields.retain(|field, _| !matches!(field.as_str(), "credHelpers" | "credsStore"));
    }
    match find(&plain)? {
        Credential::Anonymous => Err(failed),
        found => Ok(found),
    }
}

/// The file without the fields that hold nothing: docker writes `"auths": {"HOST": {}}` where a helper has
/// the credential, and others leave empty texts.
fn without_empty_fields(bytes: &[u8]) -> serde_json::Result<Value> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let mut file: Value = serde_json::from_slice(bytes)?;
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    for field in ["auths", "credHelpers"] {
        let Some(entries) = file.get_mut(field).and_then(Value::as_object_mut) else { continue };
        for entry in entries.values_mut().filter_map(Value::as_object_mut) {
            entry.retain(|_, value| !is_empty(value));
        }
        entries.retain(|_, entry| !is_empty(entry));
    }
    if let Some(fields) = file.as_object_mut() {
        fields.retain(|_, value| !is_empty(value));
    }
    Ok(file)
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
            DockerCredential::UsernamePassword(user, password) if user.is_empty() && password.is_empty() => {
                Self::Anonymous
            }
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

    #[test]
    fn fields_that_hold_nothing_are_as_if_absent() {
        for (file, wanted) in [
            ("", None),
            (" \n", None),
            ("{}", None),
            (r#"{"auths": null, "credsStore": "", "credHelpers": null}"#, None),
            (r#"{"auths": {"h:1": {}}}"#, None),
            (r#"{"auths": {"h:1": null}}"#, None),
            (r#"{"auths": {"h:1": {"auth": ""}}, "credHelpers": {"h:1": ""}}"#, None),
            (r#"{"auths": {"h:1": {"auth": null, "identitytoken": "", "username": ""}}}"#, None),
            (r#"{"auths": {"h:1": {"auth": "Og=="}}}"#, None),
            (
                r#"{"auths": {"h:1": {"auth": "dTpw", "identitytoken": "", "username": "", "email": null}}}"#,
                Some(("u", "p")),
            ),
            (r#"{"auths": {"h:1": {"auth": "", "username": "u", "password": "p"}}}"#, Some(("u", "p"))),
            (r#"{"auths": {"h:1/team": {}, "https://h:1/v2/": {"auth": "dTpw"}}}"#, Some(("u", "p"))),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("config.json");
            std::fs::write(&path, file).unwrap();
            let found = Credentials { explicit: None, files: vec![path] }.find("h:1", "team/app").unwrap();
            let wanted = match wanted {
                Some((user, password)) => Credential::Basic(user.into(), password.into()),
                None => Credential::Anonymous,
            };
            assert!(found == wanted, "{file}: {found:?}");
        }
    }

    #[test]
    fn what_stands_in_the_file_is_taken_where_its_helper_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let file = r#"{"auths": {"h:1": {"auth": "dTpw"}}, "credHelpers": {"h:1": "of-nobody"}}"#;
        std::fs::write(&path, file).unwrap();
        let found = Credentials { explicit: None, files: vec![path] }.find("h:1", "app").unwrap();
        assert!(found == Credential::Basic("u".into(), "p".into()), "{found:?}");
    }

    #[test]
    fn the_origin_of_a_credential_is_told_without_its_secret() {
        let explicit = Explicit { registry: "own".into(), username: "me".into(), password: "pw".into() };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        std::fs::write(&path, FILE).unwrap();
        let credentials = Credentials { explicit: Some(explicit), files: vec![path.clone()] };
        for (registry, repository, parts) in [
            ("own", "app", ["given", "`me`"]),
            ("127.0.0.1:5000", "team/app", ["for `127.0.0.1:5000/team` in", "`team`"]),
            ("docker.io", "library/debian", ["auth.json", "identity token"]),
            ("elsewhere", "app", ["none for elsewhere in", "auth.json"]),
        ] {
            let origin = credentials.look_up(registry, repository).unwrap().origin;
            assert!(parts.iter().all(|part| origin.contains(part)), "{origin}");
            // The name of the directory is random, and may have any letters.
            let told = origin.replace(&path.display().to_string(), "");
            assert!(!["pw", "other", "abc"].iter().any(|secret| told.contains(secret)), "{told}");
        }
        let none = Credentials::default().look_up("own", "app").unwrap().origin;
        assert_eq!(none, "no credential was tried, since none was given");
    }

    #[test]
    fn a_helper_that_cannot_be_run_leaves_its_fault_and_the_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        std::fs::write(&second, r#"{"auths": {"h:1": {"auth": "dTpw"}}}"#).unwrap();
        for file in [
            r#"{"credsStore": "of-nobody"}"#,
            r#"{"auths": {"h:1": {}}, "credHelpers": {"h:1": "of-nobody"}}"#,
            r#"{"auths": {"h:1": {"auth": "no base64"}}}"#,
        ] {
            std::fs::write(&first, file).unwrap();
            let find = |files| Credentials { explicit: None, files }.look_up("h:1", "app").unwrap();
            let LookedUp { credential, origin } = find(vec![first.clone()]);
            assert!(credential == Credential::Anonymous, "{file}");
            assert!(origin.contains("first cannot be had") && !origin.contains('\n'), "{origin}");
            let of_second = find(vec![first.clone(), second.clone()]);
            assert!(of_second.credential == Credential::Basic("u".into(), "p".into()));
            assert!(of_second.origin.contains("second"), "{}", of_second.origin);
        }
    }
}
