//! Costs of files that have something in common.

use std::collections::BTreeMap;

use crate::{ContentKind, FileCost};

/// Files that have something in common.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Group {
    /// The name of the reason, the kind or the directory.
    pub name: String,
    /// The number of files in it.
    pub files: u64,
    /// The number of files that are neither unchanged nor renamed.
    pub changed: u64,
    /// Their size in the uncompressed layer, in bytes.
    pub size: u64,
    /// Bytes of the delta that they cost.
    pub cost: u64,
}

/// Groups the files, and the headers as one, by what `name` gives; costliest group first.
pub(crate) fn groups(
    files: &[FileCost],
    headers: &FileCost,
    name: &dyn Fn(&FileCost) -> String,
) -> Vec<Group> {
    let mut groups = BTreeMap::new();
    for file in files.iter().chain([headers]) {
        let name = name(file);
        let group = groups.entry(name.clone()).or_insert_with(|| Group {
            name,
            files: 0,
            changed: 0,
            size: 0,
            cost: 0,
        });
        if file.kind != ContentKind::Headers {
            group.files += 1;
            group.changed += u64::from(file.reason.is_change());
        }
        group.size += file.size;
        group.cost += file.cost.total;
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.cost));
    groups
}

/// The directory of a file, at most two levels deep: `usr/lib/` of `./usr/lib/x/y`.
pub(crate) fn directory(path: &str) -> String {
    let mut components: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let name = components.pop();
    if components.is_empty() {
        // Also what is no file: the headers.
        return name.filter(|name| name.starts_with('(')).unwrap_or("/").to_owned();
    }
    components.truncate(2);
    components.join("/") + "/"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_two_levels_deep() {
        for (path, wanted) in
            [("./usr/lib/x/y", "usr/lib/"), ("usr/x", "usr/"), ("x", "/"), ("/etc/x", "etc/"), ("", "/")]
        {
            assert_eq!(directory(path), wanted);
        }
    }
}
