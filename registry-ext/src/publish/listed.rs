//! Lists of oci-delta artifacts, and signatures in them, that some readers need beside the usual ones.

use layer::Digest;
use oci_spec::image::Descriptor;

use super::Publisher;
use super::image::ImagePublisher;
use crate::artifact::oci_delta::{Kind, OciDelta};
use crate::image::{Image, ImageIn};
use crate::oci::{Manifest, Name, digest_of, parse_manifest, to_json};
use crate::repository::Repository;
use crate::signature::CarriedSignature;
use crate::{Error, Result, shared_index};

impl Publisher<'_> {
    /// The signatures that artifacts of an image carry: of those that are given, the ones of the image, and what
    /// cosign put beside it, if that is asked for.
    pub(super) async fn signatures_of(&self, target: &Image) -> Result<Vec<CarriedSignature>> {
        let digest = target.manifest.digest;
        let given = self.signatures.iter().filter(|signature| signature.is_of(digest));
        let mut signatures: Vec<CarriedSignature> = given.cloned().collect();
        if self.carries_found {
            let found =
                CarriedSignature::of_image(&self.new.repository, digest, &self.options.temp_dir).await?;
            signatures.extend(found.filter(|found| found.is_of(digest)));
        }
        if signatures.is_empty() && (self.carries_found || !self.signatures.is_empty()) {
            self.watch.warn_once(&format!(
                "the deltas to {digest} carry no signature: there is none of this manifest (cosign sign --recursive signs \
                 each image of an index)"
            ));
        }
        Ok(signatures)
    }
}

impl ImagePublisher<'_> {
    /// Lists the oci-delta artifacts from the `old` images where readers look that do not ask for the referrers of
    /// the image: those that were there before, too.
    pub(super) async fn list_for_others(&mut self, old: &[ImageIn<'_>]) -> Result<()> {
        let publisher = self.publisher;
        let by_tag = publisher.tags_always && matches!(publisher.to, Repository::Registry(_));
        let under = if publisher.lists_under_index { self.target.index } else { None };
        if !by_tag && under.is_none() {
            return Ok(());
        }
        let index = match under {
            Some(index) => Some(self.index(index).await?),
            None => None,
        };
        let is_from_old = |artifact: &OciDelta| {
            let source = artifact.source_config;
            artifact.kind == Kind::OciDelta && old.iter().any(|old| old.image.config_digest == source)
        };
        let known = self.found.artifacts.iter().filter(|(_, artifact)| is_from_old(artifact));
        let artifacts: Vec<Digest> =
            known.map(|(digest, _)| *digest).chain(self.published.drain(..)).collect();
        for artifact in artifacts {
            let Some(manifest) = publisher.to.manifest(&Name::Digest(artifact)).await? else { continue };
            if by_tag {
                shared_index::list_by_tag(publisher.to, &manifest).await?;
            }
            if let Some(index) = &index {
                self.list_under(index, &manifest, by_tag).await?;
            }
        }
        Ok(())
    }

    /// The descriptor of the index that the image was chosen from.
    async fn index(&self, index: Digest) -> Result<Descriptor> {
        let repository = &self.publisher.new.repository;
        let found = repository.manifest(&Name::Digest(index)).await?;
        let found = found
            .ok_or_else(|| Error::NotFound { what: format!("index {index} in {}", repository.name()) })?;
        Ok(found.descriptor())
    }

    /// Publishes an artifact once more, as one that refers to the index.
    async fn list_under(&mut self, index: &Descriptor, artifact: &Manifest, by_tag: bool) -> Result<()> {
        let to = self.publisher.to;
        let mut parsed = parse_manifest("artifact", &artifact.bytes)?;
        parsed.set_subject(Some(index.clone()));
        let listed = Manifest::new(to_json(&parsed), None);
        if to.manifest(&Name::Digest(listed.digest)).await?.is_none() {
            to.put_manifest(&listed, None).await?;
            self.report.index_artifacts.push(listed.digest);
        }
        if by_tag {
            shared_index::list_by_tag(to, &listed).await?;
        }
        if self.publisher.force {
            let alike = OciDelta::parse(&parsed)?;
            let older = self.older_under(digest_of(index)?, &alike, listed.digest).await?;
            crate::prune::remove_artifacts(to, digest_of(index)?, &older).await?;
        }
        Ok(())
    }

    /// The other artifacts under an index for the same pair of images.
    async fn older_under(&self, index: Digest, alike: &OciDelta, newest: Digest) -> Result<Vec<Digest>> {
        let mut older = Vec::new();
        for entry in self.publisher.to.referrers(index).await?.iter().take(MAX_READ) {
            let digest = digest_of(entry)?;
            if digest == newest
                || Kind::of(entry.artifact_type().as_ref()).is_some_and(|kind| kind != alike.kind)
            {
                continue;
            }
            let Some(manifest) = self.publisher.to.manifest(&Name::Digest(digest)).await? else { continue };
            let Ok(parsed) = parse_manifest("referrer", &manifest.bytes) else { continue };
            let is_older = OciDelta::parse(&parsed).is_ok_and(|other| {
                (other.kind, other.source_config) == (alike.kind, alike.source_config)
                    && other.target.digest() == alike.target.digest()
            });
            if is_older {
                older.push(digest);
            }
        }
        Ok(older)
    }
}

/// Most artifacts under an index that are looked at for others that are to be replaced.
const MAX_READ: usize = 1024;
