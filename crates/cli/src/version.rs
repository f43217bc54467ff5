//! The versions that `--version` shows.

use std::sync::LazyLock;

use delta_format::Version;

/// Returns the version of the release, the commit that it was built from, and the formats of deltas that it knows. A
/// build of a release says the commit in the variable `RELEASE_COMMIT`.
pub fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let formats = [Version::V1, Version::V2, Version::V3].map(Version::name).join(", ");
        let commit = option_env!("RELEASE_COMMIT").unwrap_or("not recorded in this build");
        format!("v{}\ncommit: {commit}\nformats: {formats}", env!("CARGO_PKG_VERSION"))
    });
    &TEXT
}
