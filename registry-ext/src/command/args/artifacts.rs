//! The flags of `publish` for programs that read oci-delta artifacts.

use std::str::FromStr;

use registry_ext::reference::ImageRef;
use registry_ext::{Error, Publisher};

use super::operands::image;

/// A signature that artifacts carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignatureArg {
    /// The one that cosign put beside the image.
    Cosign,
    /// Another one, by its name.
    Named(ImageRef),
}

impl FromStr for SignatureArg {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text == "cosign" { Ok(Self::Cosign) } else { image(text).map(Self::Named) }
    }
}

/// The cases in which artifacts are listed by the tag that stands in for a list of referrers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum StandInTag {
    /// Only if the registry keeps no list of referrers
    #[default]
    Needed,
    /// Also if it keeps one
    Always,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ArtifactArgs {
    /// Put a signature by cosign into oci-delta artifacts, for hosts that check it without the registry (oci-delta
    /// apply --verify-key). `cosign` takes the signature that cosign put beside the image; a reference such as
    /// oci-archive:FILE takes the signature there. May be given several times. Artifacts that are published already
    /// get no signature without --force
    #[arg(long, value_name = "cosign|REF")]
    pub(crate) signature: Vec<SignatureArg>,
    /// List oci-delta artifacts in an index under the tag sha256-DIGEST as well, which stands in for the referrers
    /// API: only where the registry lacks that API, or always, for clients that ask for the tag alone
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    stand_in_tag: StandInTag,
    /// List the oci-delta artifacts of an image in an index under the index, too: for clients that know the digest of
    /// the index alone, such as flightctl
    #[arg(long)]
    list_under_index: bool,
}

impl ArtifactArgs {
    /// Sets the options that the arguments have, but not the signatures that are named.
    pub(crate) fn configured<'p>(&self, publisher: Publisher<'p>) -> Publisher<'p> {
        publisher
            .carry_found_signatures(self.signature.contains(&SignatureArg::Cosign))
            .stand_in_tag_always(self.stand_in_tag == StandInTag::Always)
            .list_under_index(self.list_under_index)
    }

    /// The signatures that are named.
    pub(crate) fn named_signatures(&self) -> impl Iterator<Item = &ImageRef> {
        self.signature.iter().filter_map(|signature| match signature {
            SignatureArg::Named(name) => Some(name),
            SignatureArg::Cosign => None,
        })
    }
}
