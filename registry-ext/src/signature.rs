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

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use layer::Digest;
use oci_spec::image::{Descriptor, ImageManifest};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;
use serde::Deserialize;

use crate::artifact::{ANNOTATION_CONTENT, annotation, hex, parse_manifest};
use crate::image::Image;
use crate::repository::{Name, Repository};
use crate::{Error, Result};

/// Annotation of a payload: its signature in base64, ECDSA in DER over the payload's SHA-256.
pub const ANNOTATION_SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// Media type of a payload.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// artifactType of a signature that refers to its image.
pub const ARTIFACT_TYPE_SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// Content of a delta artifact's layer: a signature's manifest, verbatim.
const EMBEDDED_MANIFEST: &str = "cosign-signature";
/// Content of a delta artifact's layer: a payload that the signature's manifest names.
const EMBEDDED_PAYLOAD: &str = "cosign-signature-content";
/// Most signatures and payloads that are looked at: an image has a few signers.
const MAX_SIGNATURES: usize = 64;
/// Largest payload in bytes: cosign's have some hundred.
const MAX_PAYLOAD_SIZE: u64 = 64 << 10;

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

    /// Whether `signature` (DER) is of `payload` and by this key.
    fn has_signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|signature| self.0.verify(payload, &signature).is_ok())
    }
}

/// What a payload says. Its other fields (the name, remarks) are claims that nothing here rests on.
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
/// # Errors
/// [`Error::NotSigned`] if no signature does; those of the repository.
pub async fn verify(repository: &Repository, image: &Image, key: &PublicKey, temp_dir: &Path) -> Result<()> {
    let signed = [Some(image.manifest.digest), image.index];
    let mut faults = Vec::new();
    for digest in signed.into_iter().flatten() {
        for candidate in candidates(repository, digest, temp_dir).await? {
            match candidate.check(digest, key) {
                Ok(()) => return Ok(()),
                Err(fault) => faults.push(fault),
            }
        }
    }
    faults.sort_unstable();
    faults.dedup();
    let reason = if faults.is_empty() { "it has no signature".to_owned() } else { faults.join("; ") };
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

/// Everything that claims to be a signature of `digest`.
async fn candidates(repository: &Repository, digest: Digest, temp_dir: &Path) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    let tag = Name::Tag(format!("sha256-{}.sig", hex(digest)));
    if let Some(manifest) = repository.manifest(&tag).await? {
        let manifest = parse_manifest("signature", &manifest.bytes)?;
        collect(repository, &manifest, manifest.layers(), temp_dir, &mut found).await?;
    }
    for referrer in repository.referrers(digest).await?.iter().take(MAX_SIGNATURES) {
        let Some(manifest) =
            repository.manifest(&Name::Digest(crate::artifact::digest_of(referrer)?)).await?
        else {
            continue;
        };
        let Ok(manifest) = parse_manifest("referrer", &manifest.bytes) else { continue };
        let layers = manifest.layers();
        if manifest.artifact_type().as_ref().is_some_and(|kind| kind.as_ref() == ARTIFACT_TYPE_SIGNATURE) {
            collect(repository, &manifest, layers, temp_dir, &mut found).await?;
        }
        for embedded in layers.iter().filter(|layer| content(layer) == Some(EMBEDDED_MANIFEST)) {
            let bytes = repository.small_blob(embedded, MAX_PAYLOAD_SIZE, temp_dir).await?;
            let signature = parse_manifest("embedded signature", &bytes)?;
            let payloads: Vec<Descriptor> =
                layers.iter().filter(|layer| content(layer) == Some(EMBEDDED_PAYLOAD)).cloned().collect();
            collect(repository, &signature, &payloads, temp_dir, &mut found).await?;
        }
    }
    Ok(found)
}

fn content(layer: &Descriptor) -> Option<&str> {
    annotation(layer, ANNOTATION_CONTENT)
}

/// Adds the payloads of a signature's manifest, as far as they are among `blobs`.
async fn collect(
    repository: &Repository,
    manifest: &ImageManifest,
    blobs: &[Descriptor],
    temp_dir: &Path,
    found: &mut Vec<Candidate>,
) -> Result<()> {
    for layer in manifest.layers() {
        let signature = annotation(layer, ANNOTATION_SIGNATURE);
        let blob = blobs.iter().find(|blob| blob.digest() == layer.digest());
        let (Some(signature), Some(blob)) = (signature, blob) else { continue };
        if found.len() == MAX_SIGNATURES {
            break;
        }
        let payload = repository.small_blob(blob, MAX_PAYLOAD_SIZE, temp_dir).await?;
        found.push(Candidate { payload, signature: signature.to_owned() });
    }
    Ok(())
}
