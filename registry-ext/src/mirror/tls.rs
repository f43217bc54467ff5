//! TLS for clients that come from other hosts.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::options::TlsFiles;
use crate::{Error, Result};

/// Reads the certificate and its key.
///
/// # Errors
/// [`Error::Malformed`] if a file cannot be read, or the key is not that of the certificate.
pub(super) fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let wrong = |path: &std::path::Path| {
        let what = path.display().to_string();
        move |error: pem::Error| match error {
            pem::Error::Io(error) => Error::malformed(what, error),
            pem::Error::NoItemsFound => Error::malformed(what, "nothing of the kind is in it, in PEM"),
            error => Error::malformed(what, format!("this is no PEM: {error}")),
        }
    };
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect)
        .map_err(wrong(&files.certificates))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(wrong(&files.key))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|error| Error::malformed(files.certificates.display().to_string(), error))?;
    // Nothing else is spoken here.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
