//! The statements of extension headers about the entries that follow.

use crate::header::{HeaderBlock, up_to_nul};
use crate::pax::{PaxHeader, decimal};

/// The statements of extension headers about the next entry. Of two of a kind, the last counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ahead {
    pub(crate) pax: PaxHeader,
    pub(crate) long_name: Option<Vec<u8>>,
    pub(crate) long_link: Option<Vec<u8>>,
}

impl Ahead {
    pub(crate) fn is_empty(&self) -> bool {
        self.pax.is_empty() && self.long_name.is_none() && self.long_link.is_none()
    }
}

/// The statements of global headers about all entries that follow. GNU tar heeds them, Go does not.
#[derive(Debug, Default)]
pub(crate) struct Global {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) is_about_sparse_files: bool,
}

impl Global {
    pub(crate) fn take(&mut self, header: &PaxHeader) {
        let replace = |known: &mut Option<Vec<u8>>, key| {
            if let Some(value) = header.get_or_empty(key) {
                *known = Some(value.to_vec());
            }
        };
        replace(&mut self.path, "path");
        replace(&mut self.link, "linkpath");
        self.size = size_for_gnu(header).or(self.size);
        self.is_about_sparse_files |= header.is_about_sparse_files();
    }
}

impl Ahead {
    /// The path that Go finds: GNU tar's long name goes before a PAX record.
    pub(crate) fn path(&self, header: &HeaderBlock, is_pax_sparse: bool) -> Box<[u8]> {
        let sparse = is_pax_sparse.then(|| self.pax.get("GNU.sparse.name")).flatten();
        let long = self.long_name.as_deref().filter(|name| !name.is_empty());
        match sparse.or(long).or_else(|| self.pax.get("path")) {
            Some(path) => path.into(),
            None => header.path().into(),
        }
    }

    pub(crate) fn link(&self, header: &HeaderBlock) -> Box<[u8]> {
        let long = self.long_link.as_deref().filter(|name| !name.is_empty());
        long.or_else(|| self.pax.get("linkpath")).unwrap_or_else(|| header.link()).into()
    }

    /// The path that GNU tar finds: PAX records go before its own long name, and end at a NUL.
    pub(crate) fn path_for_gnu(&self, header: &HeaderBlock, global: &Global) -> Box<[u8]> {
        let record = self.pax.get_or_empty("GNU.sparse.name").or_else(|| self.pax.get_or_empty("path"));
        match record.or(global.path.as_deref()).or(self.long_name.as_deref()) {
            Some(path) => up_to_nul(path).into(),
            None => header.path_for_gnu().into(),
        }
    }

    pub(crate) fn link_for_gnu(&self, header: &HeaderBlock, global: &Global) -> Box<[u8]> {
        let record = self.pax.get_or_empty("linkpath").or(global.link.as_deref());
        record.or(self.long_link.as_deref()).map_or_else(|| header.link(), up_to_nul).into()
    }
}

/// The size that GNU tar finds in PAX records: it complains of one that is no number, and goes on without it.
pub(crate) fn size_for_gnu(pax: &PaxHeader) -> Option<u64> {
    pax.records().filter(|(key, _)| *key == b"size").filter_map(|(_, value)| decimal(value)).last()
}
