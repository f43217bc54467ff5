//! The errors of a registry, and of the way to it.

use std::time::Duration;

use oci_distribution::errors::{OciDistributionError, OciErrorCode};

use super::challenge::Challenges;
use super::proxy;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The error code of a registry that lacks a blob of a manifest (OCI distribution specification, "Error Codes").
const MANIFEST_BLOB_UNKNOWN: &str = "MANIFEST_BLOB_UNKNOWN";

/// The reason why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// It wants other credentials.
    #[error("not authorized to {action}: {reason}")]
    Unauthorized {
        /// The action that was tried.
        action: String,
        /// The reason that the registry gave.
        reason: String,
        /// The HTTP status.
        status: u16,
        /// The credentials that it asks for.
        challenges: Box<Challenges>,
    },
    /// It answered with another status than success.
    #[error("cannot {action}: HTTP status {status}: {message}")]
    Status {
        /// The action that was tried.
        action: String,
        /// The HTTP status.
        status: u16,
        /// The message of the registry, at most 1000 characters.
        message: String,
        /// The pause for which the registry asks.
        retry_after: Option<Duration>,
    },
    /// The connection could not be made, or broke.
    #[error("cannot {action}")]
    Connection {
        /// The action that was tried.
        action: String,
        /// The error of the HTTP client.
        source: Cause,
    },
    /// It broke the protocol.
    #[error("cannot {action}: {reason}")]
    Protocol {
        /// The action that was tried.
        action: String,
        /// The fault in the answer.
        reason: String,
    },
    /// The system has no certificates of CAs, without which no server can prove who it is.
    #[error(
        "there are no CA certificates: install the package ca-certificates, or let $SSL_CERT_FILE name some"
    )]
    NoCertificates {
        /// The error of the client.
        source: Cause,
    },
    /// The client cannot be set up: a certificate is broken.
    #[error("cannot set up the client")]
    Setup {
        /// The error of the client.
        source: Cause,
    },
}

impl RegistryError {
    /// Returns true if another try may have more luck.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            // RFC 9110, RFC 6585 and RFC 8470: request timeout, too early, too many requests, and what
            // servers say under load. 520 to 530 are of Cloudflare and say that the server behind it fails.
            Self::Status { status: 408 | 425 | 429 | 500 | 502..=504 | 520..=530, .. } => true,
            // Manifests are put after their blobs. docker-registry says this too while another client
            // puts the same blob: it reads the link to the blob that it is writing anew.
            Self::Status { message, .. } => message.contains(MANIFEST_BLOB_UNKNOWN),
            Self::Unauthorized { .. }
            | Self::Protocol { .. }
            | Self::NoCertificates { .. }
            | Self::Setup { .. } => false,
        }
    }

    /// Returns true if the registry wants other credentials.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unauthorized { .. })
    }

    /// The HTTP status, if that was what was wrong.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Unauthorized { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns how long the registry wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The same with what the registry said of when to come again.
    pub(super) fn after(mut self, wait: Option<Duration>) -> Self {
        if let Self::Status { retry_after, .. } = &mut self {
            *retry_after = wait;
        }
        self
    }

    /// The same with how the registry would let somebody in.
    pub(super) fn asking(mut self, asked: Challenges) -> Self {
        if let Self::Unauthorized { challenges, .. } = &mut self {
            **challenges = asked;
        }
        self
    }

    /// The same with the credential that was tried, and the way to log in.
    pub(super) fn with_hint(mut self, hint: &str) -> Self {
        if let Self::Unauthorized { reason, .. } = &mut self {
            reason.push_str("; ");
            reason.push_str(hint);
        }
        self
    }

    pub(super) fn setup(source: impl Into<Cause>) -> Self {
        Self::Setup { source: source.into() }
    }

    pub(super) fn connection(action: &str, source: impl Into<Cause>) -> Self {
        Self::Connection { action: action.into(), source: source.into() }
    }

    pub(super) fn protocol(action: &str, reason: impl ToString) -> Self {
        Self::Protocol { action: action.into(), reason: reason.to_string() }
    }

    /// The error for a status that is no success. What the registry said goes to a terminal: without
    /// what would move its cursor.
    pub(super) fn from_status(action: &str, status: u16, body: &str) -> Self {
        let action = action.to_owned();
        let plain = |text: char| if text.is_control() { ' ' } else { text };
        let message: String = body.trim().chars().take(1000).map(plain).collect();
        match status {
            401 | 403 => {
                let reason = format!("HTTP status {status}: {message}");
                Self::Unauthorized { action, reason, status, challenges: Box::default() }
            }
            _ => Self::Status { action, status, message, retry_after: None },
        }
    }

    /// Sorts the errors of the client.
    pub(super) fn from_client(action: &str, error: OciDistributionError) -> Self {
        use OciDistributionError as E;
        match error {
            E::UnauthorizedError { .. } => Self::from_status(action, 401, "the credentials were refused"),
            E::AuthenticationFailure(reason) => Self::from_status(action, 401, &reason),
            E::ServerError { code, message, .. } => Self::from_status(action, code, &message),
            E::RegistryError { envelope, .. } => {
                let status = envelope.errors.first().map_or(400, |error| status_of(&error.code));
                Self::from_status(action, status, &envelope.to_string())
            }
            E::RequestError(error) => Self::from_http(action, error),
            E::IoError(error) => Self::connection(action, error),
            other => Self::protocol(action, other),
        }
    }

    /// Sorts the errors of the HTTP client below it.
    pub(super) fn from_http(action: &str, error: reqwest::Error) -> Self {
        if let Some(refusal) = proxy::refusal(action, &error) {
            return refusal;
        }
        match error.status() {
            Some(status) => Self::from_status(action, status.as_u16(), ""),
            // The URL is in `action` in a form that people know, and could hold a signature.
            None => Self::connection(action, error.without_url()),
        }
    }
}

/// The status that the distribution specification has for an error code; the client drops it.
fn status_of(code: &OciErrorCode) -> u16 {
    match code {
        OciErrorCode::Unauthorized => 401,
        OciErrorCode::Denied => 403,
        OciErrorCode::BlobUnknown
        | OciErrorCode::BlobUploadUnknown
        | OciErrorCode::ManifestUnknown
        | OciErrorCode::NameUnknown
        | OciErrorCode::NotFound => 404,
        OciErrorCode::Unsupported => 405,
        OciErrorCode::Toomanyrequests => 429,
        _ => 400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_does_not_steer_the_terminal() {
        for status in [404, 401] {
            let error = RegistryError::from_status("get it", status, "\x1b[2Jgone\r\nroot# \u{9b}1m");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
            assert!(error.to_string().contains("gone"));
        }
        let endless = "x".repeat(100_000);
        assert!(RegistryError::from_status("get it", 500, &endless).to_string().len() < 1100);
    }
}
