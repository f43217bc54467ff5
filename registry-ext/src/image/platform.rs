//! Platforms: what an image is for, and which one somebody gets who asks for another.
//!
//! Processors of one architecture come in levels (`amd64/v3`, `arm/v6`), and what is for a lower level runs on
//! a higher one (containerd, `platforms`; containers/image, `internal/pkg/platform`).

use std::fmt;
use std::str::FromStr;

use oci_spec::image::Descriptor;

use crate::{Error, Result};

/// Operating system, architecture and variant, as in `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// As Go names it.
    pub os: String,
    /// As Go names it.
    pub architecture: String,
    /// Of the architecture; `None` stands for the one that is usual.
    pub variant: Option<String>,
    /// The version of the system, which matters for Windows.
    pub os_version: Option<String>,
}

/// The fit of something that is offered to something that is wanted, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fit {
    /// 0: the same level. 1: a lower one. 2: a higher one, where no level was asked for.
    relation: u8,
    /// Levels between both, in tenths.
    distance: u32,
    /// 0: the same version of the system. 1: the same build. 2: unknown.
    version: u8,
}

impl Platform {
    /// The platform that this program runs on.
    pub fn host() -> Self {
        // What Rust and Go call differently (Go, internal/syslist).
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "loongarch64" => "loong64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            other => other,
        };
        Self::new(std::env::consts::OS, architecture, None, None)
    }

    /// A platform as somebody wrote it, in the names that Go has. A variant that is empty is none.
    pub(super) fn new(os: &str, architecture: &str, variant: Option<&str>, os_version: Option<&str>) -> Self {
        let os = os.to_ascii_lowercase();
        let architecture = architecture.to_ascii_lowercase();
        let some = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let (architecture, usual) = match architecture.as_str() {
            "x86_64" | "x86-64" => ("amd64", None),
            "i386" | "i486" | "i586" | "i686" => ("386", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            other => (other, None),
        };
        let os = if os == "macos" { "darwin".into() } else { os };
        let variant = some(variant).map(|variant| variant.to_ascii_lowercase());
        Self {
            os,
            architecture: architecture.into(),
            variant: variant.or_else(|| some(usual)),
            os_version: some(os_version),
        }
    }

    /// Returns the platform that an entry of an index states.
    pub(super) fn of(entry: &Descriptor) -> Option<Self> {
        let platform = entry.platform().as_ref()?;
        let variant = platform.variant().as_deref();
        let version = platform.os_version().as_deref();
        let platform =
            Self::new(&platform.os().to_string(), &platform.architecture().to_string(), variant, version);
        (!platform.os.is_empty() && !platform.architecture.is_empty()).then_some(platform)
    }

    /// The level of the variant, in tenths: 82 for `v8.2`. `None` if variants of this architecture have none
    /// that is known.
    fn level(&self) -> Option<u32> {
        let usual = match self.architecture.as_str() {
            "amd64" => "v1",
            "arm64" => "v8",
            "arm" => "v7",
            _ => "v0",
        };
        let variant = self.variant.as_deref().unwrap_or(usual);
        let number = variant.strip_prefix('v').unwrap_or(variant);
        // The rest of `v7l`, `v8.2-a`.
        let end = number.find(|digit: char| !digit.is_ascii_digit() && digit != '.').unwrap_or(number.len());
        let (major, minor) = number[..end].split_once('.').unwrap_or((&number[..end], "0"));
        let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        (major < 1000).then(|| major * 10 + minor.min(9))
    }

    /// Returns the fit of something for `self` to a request for `wanted`; `None` if it does not run there.
    pub(crate) fn fit(&self, wanted: &Self) -> Option<Fit> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        let version = match (&self.os_version, &wanted.os_version) {
            (own, wanted) if own == wanted => 0,
            (Some(own), Some(wanted)) if build(own) == build(wanted) => 1,
            (Some(_), Some(_)) => return None,
            _ => 2,
        };
        let (relation, distance) = match (self.level(), wanted.level()) {
            _ if self.variant == wanted.variant => (0, 0),
            (Some(own), Some(wanted)) if own == wanted => (0, 0),
            (Some(own), Some(wanted)) if own < wanted => (1, wanted - own),
            (Some(own), Some(other)) if wanted.variant.is_none() => (2, own - other),
            (_, _) if self.variant.is_none() || wanted.variant.is_none() => (2, u32::MAX),
            _ => return None,
        };
        Some(Fit { relation, distance, version })
    }

    /// Returns true if something for `self` is what somebody may get who asks for `wanted`.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self.fit(wanted).is_some()
    }

    /// The one of the `others` that somebody with an image for `self` most likely had before: the same, or
    /// one that it takes the place of.
    pub(crate) fn counterpart<'o, T>(
        &self,
        others: impl IntoIterator<Item = &'o T>,
        platform: impl Fn(&T) -> &Self,
    ) -> Option<&'o T> {
        others
            .into_iter()
            .filter_map(|other| platform(other).fit(self).map(|fit| (fit, other)))
            .min_by_key(|(fit, _)| *fit)
            .map(|(_, other)| other)
    }
}

/// Major, minor and build of a version of Windows: what an image and its host have to share.
fn build(version: &str) -> Vec<&str> {
    version.split('.').take(3).collect()
}

impl serde::Serialize for Platform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.os)?;
        self.os_version.iter().try_for_each(|version| write!(out, "({version})"))?;
        write!(out, "/{}", self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(out, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`; a version of the system stands in parentheses
    /// after its name, as containerd has it.
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some(*variant)),
            _ => {
                let reason = "a platform is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT".into();
                return Err(Error::Reference { text: text.into(), reason });
            }
        };
        let version = os.strip_suffix(')').and_then(|os| os.split_once('('));
        let (os, version) = version.map_or((os, None), |(os, version)| (os, Some(version)));
        Ok(Self::new(os, architecture, variant, version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    /// Returns the platform of `available` that a client gets who asks for `wanted`, for every order of them.
    fn chosen(wanted: &str, available: &[&str]) -> Option<String> {
        let wanted = platform(wanted);
        let mut available: Vec<Platform> = available.iter().map(|text| platform(text)).collect();
        let mut found = Vec::new();
        for _ in 0..available.len() {
            available.rotate_left(1);
            found.push(wanted.counterpart(&available, |other| other).cloned());
        }
        found.dedup();
        assert_eq!(found.len(), 1, "the order of {available:?} counts");
        found.remove(0).map(|platform| platform.to_string())
    }

    #[test]
    fn exact_comes_before_compatible_and_compatible_before_other() {
        for (wanted, available, got) in [
            (
                "linux/amd64",
                ["linux/amd64/v2", "linux/amd64", "linux/amd64/v3"].as_slice(),
                Some("linux/amd64"),
            ),
            ("linux/amd64", &["linux/amd64/v2", "linux/amd64/v1"], Some("linux/amd64/v1")),
            ("linux/amd64/v3", &["linux/amd64/v2", "linux/amd64", "linux/amd64/v4"], Some("linux/amd64/v2")),
            ("linux/amd64/v2", &["linux/amd64", "linux/amd64/v3"], Some("linux/amd64")),
            ("linux/amd64", &["linux/amd64/v3", "linux/amd64/v2"], Some("linux/amd64/v2")),
            ("linux/amd64/v2", &["linux/amd64/v3"], None),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], Some("linux/arm/v6")),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"], Some("linux/arm/v5")),
            ("linux/arm/v6", &["linux/arm/v7", "linux/arm"], Some("linux/arm")),
            ("linux/arm", &["linux/arm/v6", "linux/arm/v7", "linux/arm/v8"], Some("linux/arm/v7")),
            ("linux/arm/v7", &["linux/arm", "linux/arm/v6"], Some("linux/arm")),
            ("linux/arm64", &["linux/arm64/v9", "linux/arm64/v8", "linux/arm/v8"], Some("linux/arm64/v8")),
            ("linux/arm64/v8", &["linux/arm64", "linux/arm/v8"], Some("linux/arm64")),
            ("linux/arm64/v8.2", &["linux/arm64", "linux/arm64/v9"], Some("linux/arm64")),
            ("linux/riscv64", &["linux/riscv64/rva22", "linux/riscv64"], Some("linux/riscv64")),
            ("linux/riscv64", &["linux/riscv64/rva22"], Some("linux/riscv64/rva22")),
            ("linux/amd64", &["windows/amd64", "linux/arm64"], None),
        ] {
            assert_eq!(chosen(wanted, available).as_deref(), got, "{wanted} of {available:?}");
        }
    }

    #[test]
    fn windows_wants_its_build() {
        let available = [
            "windows(10.0.17763.5458)/amd64",
            "windows(10.0.20348.2322)/amd64",
            "windows(10.0.20348.1)/amd64",
        ];
        for (wanted, got) in [
            ("windows(10.0.17763.1)/amd64", Some(available[0])),
            ("windows(10.0.20348.2322)/amd64", Some(available[1])),
            ("windows(10.0.1.1)/amd64", None),
        ] {
            assert_eq!(chosen(wanted, &available).as_deref(), got, "{wanted}");
        }
    }

    #[test]
    fn every_spelling_is_one_platform() {
        for (text, wanted) in [
            ("linux/arm/v7", "linux/arm/v7"),
            ("Linux/X86_64", "linux/amd64"),
            ("linux/aarch64/", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("macos/ARM64/V8", "darwin/arm64/v8"),
            ("windows(10.0.1)/amd64", "windows(10.0.1)/amd64"),
        ] {
            assert_eq!(platform(text).to_string(), wanted, "{text}");
        }
        assert!("linux".parse::<Platform>().is_err());
        assert!(platform("linux/arm64/v8").satisfies(&platform("linux/arm64")));
        assert!(platform("linux/arm64").satisfies(&platform("linux/arm64/v8")));
    }
}
