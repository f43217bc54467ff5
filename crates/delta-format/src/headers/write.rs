//! Makes the lists of headers ops.

use std::borrow::Cow;

use super::list::{KEPT, KINDS, LINKS, NAMES, PARTS, PATCHES, PATHS, SIZES};
use super::{
    BLOCK, CHECKSUM_DIGITS, Content, HAS_PATH, Header, IS_LONG, IS_PATCHED, LINK, MAGIC, NAME, PREFIX,
    REMEMBERED, TEMPLATE_SHIFT, Templates, USTAR, is_link, padding, put_checksum, put_text,
};
use crate::SourcePath;
use crate::wire::{MAX_PATH_SIZE, put_uvarint};

/// Bytes of a list from which on the next entry goes to another one: a quarter of the limit.
const LIST_SIZE: usize = 4 << 20;
/// Equal bytes between two stretches of a patch that cost less than another stretch.
const MAX_GAP: usize = 1;

/// An entry of a tar whose header is to be made.
#[derive(Debug, Clone, Copy)]
pub struct TarEntry<'t> {
    /// The header and, where it says its name alone does not fit, what lies before it for the name.
    pub blocks: &'t [u8],
    /// The content.
    pub content: Content,
    /// Bytes of the content.
    pub size: u64,
    /// The source that the entry opens, if it opens one.
    pub source: Option<&'t SourcePath>,
}

/// The payload of a headers op.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderList {
    /// Bytes of the op.
    pub payload: Vec<u8>,
    /// The number of its entries.
    pub entries: u64,
}

/// Makes lists of headers.
#[derive(Debug, Default)]
pub struct HeaderLists {
    templates: Templates,
    parts: [Vec<u8>; PARTS],
    entries: u64,
    done: Vec<HeaderList>,
}

impl HeaderLists {
    /// Adds an entry. Returns false if a list cannot hold it: then nothing is added.
    pub fn push(&mut self, entry: &TarEntry<'_>) -> bool {
        let Some(wanted) = entry.blocks.last_chunk::<BLOCK>() else { return false };
        let before = &entry.blocks[..entry.blocks.len() - BLOCK];
        let Some(name) = name(wanted, before).filter(|name| name.len() as u64 <= MAX_PATH_SIZE) else {
            return false;
        };
        let name = &*name;
        let Some(path) = self.path(entry, name) else { return false };
        let mut long_patch = None;
        let mut long_header = None;
        if !before.is_empty() {
            let mut header = self.templates.long(name);
            let Some(found) = before.first_chunk::<BLOCK>() else { return false };
            if self.templates.long.is_none() {
                long_patch = Some(patch(&mut header, found));
            }
            put_checksum(&mut header);
            if header != *found {
                return false;
            }
            long_header = Some(header);
        }
        let Some((template, header, patch)) = self.best(entry, name, wanted) else { return false };
        let mut kind = entry.content.bits() | template.to_le_bytes()[0] << TEMPLATE_SHIFT;
        if let Some(header) = long_header {
            kind |= IS_LONG;
            self.templates.long = Some(header);
        }
        let is_patched = !patch.is_empty();
        kind |= if is_patched { IS_PATCHED } else { 0 } | if path.is_some() { HAS_PATH } else { 0 };
        self.parts[KINDS].push(kind);
        let kept = name.iter().zip(&self.templates.name).take_while(|(left, right)| left == right).count();
        put_uvarint(&mut self.parts[KEPT], kept as u64);
        put_string(&mut self.parts[NAMES], &name[kept..]);
        if entry.content.has_size() {
            put_uvarint(&mut self.parts[SIZES], entry.size);
        }
        self.parts[PATCHES].extend(long_patch.into_iter().flatten());
        self.parts[PATCHES].extend(patch);
        if is_link(&header) {
            put_string(&mut self.parts[LINKS], text(&header[LINK]));
        }
        if let Some(path) = path {
            put_string(&mut self.parts[PATHS], path);
        }
        self.templates.name.clear();
        self.templates.name.extend_from_slice(name);
        self.templates.remember(template, is_patched, header);
        self.entries += 1;
        if self.parts.iter().map(Vec::len).sum::<usize>() >= LIST_SIZE {
            self.end_list();
        }
        true
    }

    /// The lists, in order.
    pub fn finish(mut self) -> Vec<HeaderList> {
        if self.entries > 0 {
            self.end_list();
        }
        self.done
    }

    pub(super) fn end_list(&mut self) {
        let mut payload = Vec::new();
        for part in &mut self.parts {
            put_uvarint(&mut payload, part.len() as u64);
            payload.append(part);
        }
        self.done.push(HeaderList { payload, entries: std::mem::take(&mut self.entries) });
    }

    /// The path that the list has to name, if any; `None` outside if the entry has no source where it needs one.
    fn path<'t>(&self, entry: &TarEntry<'t>, name: &[u8]) -> Option<Option<&'t [u8]>> {
        match (entry.content.has_source(), entry.source) {
            (true, Some(source)) => {
                let is_name = SourcePath::new(name).is_ok_and(|path| path == *source);
                Some((!is_name).then(|| source.as_bytes()))
            }
            (false, None) => Some(None),
            _ => None,
        }
    }

    /// The template that fits best, the header, and the patch that makes it of the template; an empty one if none is
    /// needed. `None` if the header cannot be made.
    fn best(&self, entry: &TarEntry<'_>, name: &[u8], wanted: &Header) -> Option<(usize, Header, Vec<u8>)> {
        let mut best: Option<(usize, Header, Vec<u8>)> = None;
        for template in 0..REMEMBERED {
            let mut header = self.templates.draft(template, name, entry.size);
            let is_exact = is_like(&header, wanted);
            let patch = if is_exact { Vec::new() } else { patch(&mut header, wanted) };
            if best.as_ref().is_none_or(|(_, _, other)| patch.len() < other.len()) {
                best = Some((template, header, patch));
            }
            if is_exact {
                break;
            }
        }
        let (template, mut header, patch) = best?;
        if is_link(&header) {
            put_text(&mut header[LINK], text(&wanted[LINK]));
        }
        put_checksum(&mut header);
        (header == *wanted).then_some((template, header, patch))
    }
}

/// Returns true if a header needs no patch to become another one.
fn is_like(header: &Header, wanted: &Header) -> bool {
    (0..BLOCK).all(|at| header[at] == wanted[at] || is_free(at, wanted))
}

/// Returns true for bytes that follow from others, or that the list has.
fn is_free(at: usize, wanted: &Header) -> bool {
    CHECKSUM_DIGITS.contains(&at) || LINK.contains(&at) && is_link(wanted)
}

/// Makes the header the wanted one, but for what follows from the rest. Returns the patch.
fn patch(header: &mut Header, wanted: &Header) -> Vec<u8> {
    let differs: Vec<usize> =
        (0..BLOCK).filter(|at| header[*at] != wanted[*at] && !is_free(*at, wanted)).collect();
    let stretches: Vec<&[usize]> = differs.chunk_by(|left, right| right - left <= MAX_GAP + 1).collect();
    let mut patch = Vec::new();
    put_uvarint(&mut patch, stretches.len() as u64);
    let mut last = 0;
    for stretch in stretches {
        let (start, end) = (stretch[0], stretch[stretch.len() - 1] + 1);
        put_uvarint(&mut patch, (start - last) as u64);
        put_uvarint(&mut patch, (end - start) as u64);
        patch.extend_from_slice(&wanted[start..end]);
        header[start..end].copy_from_slice(&wanted[start..end]);
        last = end;
    }
    patch
}

/// The name of an entry: that of its header, or the long one that lies before it.
fn name<'t>(header: &'t Header, before: &'t [u8]) -> Option<Cow<'t, [u8]>> {
    if before.is_empty() {
        let (prefix, name) = (text(&header[PREFIX]), text(&header[NAME]));
        let is_split = &header[MAGIC] == USTAR && !prefix.is_empty();
        return Some(if is_split { Cow::Owned([prefix, b"/", name].concat()) } else { Cow::Borrowed(name) });
    }
    let content = before.get(BLOCK..)?;
    let name = text(content);
    let fits = content.len() == name.len() + 1 + padding(name.len() as u64 + 1);
    (fits && content[name.len()..].iter().all(|byte| *byte == 0)).then_some(Cow::Borrowed(name))
}

/// A field up to its first zero byte.
fn text(field: &[u8]) -> &[u8] {
    let size = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..size]
}

fn put_string(part: &mut Vec<u8>, text: &[u8]) {
    part.extend_from_slice(text);
    part.push(0);
}
