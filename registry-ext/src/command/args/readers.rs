//! The arguments that name the programs that deltas are made for.

use clap::ValueEnum;
use registry_ext::publish::FEW_LAYERS;

/// A program that reads deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reader {
    /// flatpak: the index _deltaindex
    Flatpak,
    /// oci-delta, cfsctl and bootc: an artifact that refers to the image
    OciDelta,
    /// registry-ext: the same artifact, one with tardf3 deltas where these save at least 10% and 4 kB, and
    /// recipes for its mirror; the last two to a layout only if they are asked for
    RegistryExt,
}

/// The former names of readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LayoutArg {
    Auto,
    Deltaindex,
    Artifact,
    Both,
}

/// The programs that deltas are made for.
#[derive(Debug, clap::Args)]
pub(crate) struct ReadersArgs {
    /// The programs to make deltas for, with commas between them [default: all; flatpak only if the old image
    /// has one or two layers, as its images have]
    #[arg(long = "for", value_enum, value_delimiter = ',', value_name = "READER")]
    readers: Vec<Reader>,
    #[arg(long, value_enum, value_name = "LAYOUT", hide = true, conflicts_with = "readers")]
    layout: Option<LayoutArg>,
}

impl ReadersArgs {
    fn has(&self, reader: Reader) -> bool {
        match self.layout {
            None => self.readers.is_empty() || self.readers.contains(&reader),
            Some(LayoutArg::Auto | LayoutArg::Both) => true,
            Some(LayoutArg::Deltaindex) => reader == Reader::Flatpak,
            Some(LayoutArg::Artifact) => reader == Reader::OciDelta,
        }
    }

    /// Most layers of an old image for which `_deltaindex` is written.
    pub(crate) fn max_layers(&self) -> usize {
        let is_asked_for = self.readers.contains(&Reader::Flatpak)
            || matches!(self.layout, Some(LayoutArg::Deltaindex | LayoutArg::Both));
        match (self.has(Reader::Flatpak), is_asked_for) {
            (false, _) => 0,
            (true, false) => FEW_LAYERS,
            (true, true) => usize::MAX,
        }
    }

    /// True if the artifact is written whatever else there is.
    pub(crate) fn artifact(&self) -> bool {
        self.has(Reader::OciDelta)
    }

    /// True if registry-ext was named as a reader.
    pub(crate) fn names_registry_ext(&self) -> bool {
        self.readers.contains(&Reader::RegistryExt)
    }

    /// True if registry-ext is a reader.
    pub(crate) fn registry_ext(&self) -> bool {
        self.has(Reader::RegistryExt)
    }
}
