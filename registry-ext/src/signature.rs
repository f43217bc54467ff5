//! Signatures of images, as cosign makes them with a key: who holds the key has signed the digest.
//!
//! A signature is over a small JSON text, the *payload* ("simple signing", containers/image,
//! `docs/containers-signature.5.md`), which names the digest of the signed manifest. cosign stores it
//! in a manifest whose layers are payloads, each annotated with its signature
//! (sigstore/cosign, `specs/SIGNATURE_SPEC.md`). That manifest is looked for
//!
//! - under the tag `sha256-<hex>.sig`,
//! - among the referrers of the signed manifest,
//! - in delta artifacts of the image, which may carry it (`cosign-signature` and
//!   `cosign-signature-content`).
//!
//! Where it lies proves nothing: only the key does. Transparency logs and certificates are not looked
//! at.

mod carried;
mod search;

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use layer::Digest;
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;
use serde::Deserialize;
use tokio::time::timeout;

use crate::image::Image;
use crate::repository::Repository;
use crate::{Error, Result};
pub use carried::CarriedSignature;
use search::{Place, Search};

/// Annotation of a payload: its signature in base64, ECDSA in DER over the payload's SHA-256.
pub const ANNOTATION_SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Media type of a payload.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// artifactType of a signature that refers to its image.
pub const ARTIFACT_TYPE_SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// The longest time that the search in one place takes.
const MAX_TIME: Duration = Duration::from_secs(60);
/// Most reasons that are given.
const MAX_FAULTS: usize = 8;

/// The tag under which cosign puts the signatures of a manifest.
pub fn tag_of(signed: Digest) -> String {
    format!("sha256-{}.sig", crate::oci::hex(signed))
}

/// The public key that signatures are checked with: ECDSA on the curve P-256, cosign's default.
#[derive(Debug, Clone)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a key as `cosign generate-key-pair` and `openssl ec -pubout` write it.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none, or one of another kind.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let reason = "it is not an ECDSA P-256 public key in PEM (BEGIN PUBLIC KEY)";
        VerifyingKey::from_public_key_pem(pem).map(Self).map_err(|_| Error::malformed("public key", reason))
    }

    /// Returns true if `signature` (DER) is of `payload` and by this key.
    fn has_signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|signature| self.0.verify(payload, &signature).is_ok())
    }
}

/// The fields of a payload that are read. Its other fields (the name, remarks) are claims that nothing here rests on.
#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    #[serde(rename = "type")]
    kind: String,
    image: Signed,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Proves that the holder of `key` signed the image: its manifest, or the index that it was chosen
/// from. Nothing but small documents is fetched, to a directory in `temp_dir`.
///
/// There is one key, and signatures of cosign do not say with which key they were made: so there is no order of
/// keys, and those that claim nothing else are tried from the newest on. The bounds of the search are for all
/// of them.
///
/// One good signature is enough. Whatever else claims to be one, and cannot be read, is of another key or of
/// another image, is passed over.
///
/// # Errors
/// [`Error::NotSigned`] if no signature does; those of the repository, if that may be the reason.
pub async fn verify(repository: &Repository, image: &Image, key: &PublicKey, temp_dir: &Path) -> Result<()> {
    let mut search = Search::new(repository, key, temp_dir);
    let (mut faults, mut failure) = (Vec::new(), None);
    for digest in [Some(image.manifest.digest), image.index].into_iter().flatten() {
        // Under the tag first: it can be found without a look at what others may list.
        for place in [Place::Tag, Place::Referrers] {
            match timeout(MAX_TIME, search.look(place, digest)).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(_) => search
                    .faults
                    .push(format!("looking for signatures took over {} seconds", MAX_TIME.as_secs())),
            }
            faults.append(&mut search.faults);
        }
    }
    faults.sort_unstable();
    faults.dedup();
    faults.truncate(MAX_FAULTS);
    let reason = match (faults.is_empty(), failure) {
        (true, Some(error)) => return Err(error),
        (true, None) => "it has no signature".to_owned(),
        (false, failure) => {
            faults.extend(failure.iter().map(Error::one_line));
            faults.join("; ")
        }
    };
    Err(Error::NotSigned { what: format!("{}@{}", repository.name(), image.manifest.digest), reason })
}

/// A payload and what claims to be its signature.
struct Candidate {
    payload: Vec<u8>,
    /// In base64.
    signature: String,
}

impl Candidate {
    fn check(&self, digest: Digest, key: &PublicKey) -> Result<(), &'static str> {
        let signature = STANDARD.decode(self.signature.trim()).map_err(|_| "a signature is not in base64")?;
        if !key.has_signed(&self.payload, &signature) {
            return Err("it is signed with another key");
        }
        // Only a text that the key has signed is read at all.
        let payload: Payload =
            serde_json::from_slice(&self.payload).map_err(|_| "a signed payload cannot be read")?;
        match payload.critical {
            Critical { kind, .. } if kind != "cosign container image signature" => {
                Err("a signature is of something that is no image")
            }
            Critical { image, .. } if image.digest != digest.to_string() => {
                Err("a signature is of another image")
            }
            _ => Ok(()),
        }
    }
}
