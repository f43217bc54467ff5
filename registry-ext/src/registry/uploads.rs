//! Uploads of blobs, the part of the protocol that the OCI client does.
//!
//! It is made for the first upload: to read the certificates of the system takes longer than many a
//! pull.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::try_unfold;
use layer::BlobDigest;
use oci_distribution::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_distribution::errors::OciDistributionError;
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::token_cache::{RegistryToken, RegistryTokenType};
use oci_distribution::{Client as UploadClient, RegistryOperation};
use oci_spec::distribution::Reference;
use oci_spec::image::Descriptor;
use reqwest::Url;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::access::{Access, Operation};
use super::request::Effort;
use super::{CONNECT_TIMEOUT, Client, RegistryError, USER_AGENT, is_loopback, proxy};
use crate::Result;
use crate::oci::digest_of;

/// Bytes that are read from a file and sent at once: what a registry takes at least in the time that it
/// has for them.
const CHUNK_SIZE: usize = 64 << 10;
/// Bytes that a registry checks and stores in a second at least before it answers.
const STORE_RATE: u64 = 16 << 20;

impl Client {
    /// Stores the blob in a file, unless the repository has it. An upload may take any time, as long as
    /// the registry goes on taking it.
    ///
    /// # Errors
    /// [`Error::Registry`](crate::Error::Registry), [`Error::Io`](crate::Error::Io).
    pub async fn put_blob(&self, blob: &Descriptor, path: &Path) -> Result<()> {
        let digest = digest_of(blob)?;
        if self.has_blob(BlobDigest(digest)).await? {
            return Ok(());
        }
        let action = self.routed(&format!("put the blob {digest} to {}", self.name()))?;
        let text = digest.to_string();
        let patience = self.patience + Duration::from_secs(blob.size() / STORE_RATE);
        let (action, text) = (&action, &text);
        let put = |access: Access| async move {
            let file = tokio::fs::File::open(path)
                .await
                .map_err(|error| RegistryError::connection(action, error))?;
            let moved = Arc::new(Notify::new());
            let chunks = try_unfold((file, Arc::clone(&moved)), async |(mut file, moved)| {
                moved.notify_one();
                let mut chunk = Vec::with_capacity(CHUNK_SIZE);
                (&mut file).take(CHUNK_SIZE as u64).read_to_end(&mut chunk).await?;
                Ok::<_, OciDistributionError>((!chunk.is_empty()).then(|| (chunk.into(), (file, moved))))
            });
            let client = self.upload_client(&access).await?;
            let put = tokio::select! {
                put = client.push_blob_stream(&self.reference, chunks, text, Some(blob.size())) => put,
                () = stands_still(&moved, patience) => return Err(stalled(action)),
            };
            match put {
                // The blob is there: a registry that stores elsewhere need not say where.
                Ok(_) | Err(OciDistributionError::RegistryNoLocationError) => Ok(()),
                Err(error) => Err(RegistryError::from_client(action, error)),
            }
        };
        Ok(self.attempt(Operation::Push, Effort::Full, put).await?)
    }

    /// Has the registry take a blob over from another of its repositories. Gives false if it does
    /// not, for whatever reason: the blob then has to be uploaded.
    pub async fn mount_blob(&self, digest: BlobDigest, from: &Self) -> bool {
        if from.reference.registry() != self.reference.registry() {
            return false;
        }
        let source = Reference::with_tag(
            from.reference.registry().to_owned(),
            from.reference.repository().to_owned(),
            "latest".into(),
        );
        let text = digest.to_string();
        let Ok(action) = self.routed("mount a blob") else { return false };
        let (action, source, text) = (&action, &source, &text);
        let mount = |access: Access| async move {
            let client = self.upload_client(&access).await?;
            let mounted = timeout(self.patience, client.mount_blob(&self.reference, source, text)).await;
            mounted.map_err(|_| stalled(action))?.map_err(|error| RegistryError::from_client(action, error))
        };
        self.attempt(Operation::Push, Effort::Full, mount).await.is_ok()
    }

    /// Adds the proxy by which the registry is reached to what is tried.
    pub(super) fn routed(&self, action: &str) -> Result<String, RegistryError> {
        let url = Url::parse(&self.base).map_err(|error| RegistryError::protocol(action, error))?;
        proxy::route(action, &url)
    }

    /// The client, with what it needs to be let in.
    async fn upload_client(&self, access: &Access) -> Result<&UploadClient, RegistryError> {
        let client = self.uploads.get_or_try_init(async || self.make_upload_client()).await?;
        let token = match access {
            // What somebody has handed over is for reading.
            Access::Anonymous | Access::Handed(_) => return Ok(client),
            Access::Basic(username, password) => RegistryTokenType::Basic(username.clone(), password.clone()),
            Access::Bearer(token) => RegistryTokenType::Bearer(RegistryToken::Token { token: token.clone() }),
        };
        // It looks for tokens only where it has credentials; those would get it another token.
        let registry = self.reference.resolve_registry();
        client.store_auth_if_needed(registry, &RegistryAuth::Anonymous).await;
        client.tokens.insert(&self.reference, RegistryOperation::Push, token).await;
        Ok(client)
    }

    fn make_upload_client(&self) -> Result<UploadClient, RegistryError> {
        let is_plain = self.base.starts_with("http:");
        // Only another proxy keeps it from those of the environment: one that is never used.
        let no_proxy = is_loopback(self.reference.resolve_registry()).then(|| "http://unused".to_owned());
        let certificate =
            |pem: &Vec<u8>| Certificate { encoding: CertificateEncoding::Pem, data: pem.clone() };
        // It makes a client of the defaults, too, and panics where that has no CA certificates, whatever was given.
        let default = reqwest::Client::builder().build();
        default.map_err(|source| RegistryError::NoCertificates { source: source.into() })?;
        // Not `UploadClient::new`: it hides errors and falls back to defaults.
        UploadClient::try_from(ClientConfig {
            protocol: if is_plain { ClientProtocol::Http } else { ClientProtocol::Https },
            use_monolithic_push: true,
            extra_root_certificates: self.ca_certificates.iter().map(certificate).collect(),
            // It would count from the start of an upload, however long that takes.
            read_timeout: None,
            connect_timeout: Some(CONNECT_TIMEOUT),
            user_agent: USER_AGENT,
            http_proxy: no_proxy.clone(),
            https_proxy: no_proxy,
            no_proxy: Some("localhost,127.0.0.0/8,::1".to_owned()),
            platform_resolver: None,
            ..ClientConfig::default()
        })
        .map_err(RegistryError::setup)
    }
}

/// Returns once nothing has moved for so long.
async fn stands_still(moved: &Notify, patience: Duration) {
    while timeout(patience, moved.notified()).await.is_ok() {}
}

fn stalled(action: &str) -> RegistryError {
    RegistryError::connection(action, "the registry neither takes anything nor answers")
}
