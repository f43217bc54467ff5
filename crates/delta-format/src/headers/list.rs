//! Reads the list of a headers op.

use super::{
    BLOCK, Content, HAS_PATH, Header, IS_LONG, IS_PATCHED, LINK, TEMPLATE, TEMPLATE_SHIFT, Templates,
    is_link, padding, put_checksum, put_text,
};
use crate::wire::{MAX_PATH_SIZE, read_uvarint};
use crate::{CorruptKind, SourcePath};

/// Makes the headers of lists, entry by entry.
#[derive(Debug, Default)]
pub struct HeaderReader {
    payload: Vec<u8>,
    parts: [Part; PARTS],
    templates: Templates,
}

/// The number of parts of a list.
pub(super) const PARTS: usize = 7;
/// The index of each.
pub(super) const KINDS: usize = 0;
pub(super) const KEPT: usize = 1;
pub(super) const NAMES: usize = 2;
pub(super) const SIZES: usize = 3;
pub(super) const PATCHES: usize = 4;
pub(super) const LINKS: usize = 5;
pub(super) const PATHS: usize = 6;

/// The range of a part in the payload that is not read yet.
#[derive(Debug, Default, Clone, Copy)]
struct Part {
    start: usize,
    end: usize,
}

/// An entry whose header is made once the size of its content is known.
#[derive(Debug)]
pub struct EntryDraft {
    kind: u8,
    path: Option<SourcePath>,
    /// The size of its content as the list has it.
    size: u64,
}

impl EntryDraft {
    /// The origin of its content.
    pub const fn content(&self) -> Content {
        Content::of_bits(self.kind)
    }

    /// The source that it opens.
    pub const fn path(&self) -> Option<&SourcePath> {
        self.path.as_ref()
    }

    /// The size in bytes of content that ops make; 0 of others.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

const BROKEN: CorruptKind = CorruptKind::Headers("it ends early");

impl HeaderReader {
    /// Goes on with the list that is the payload of a headers op.
    ///
    /// # Errors
    /// [`CorruptKind`] if it is broken, or the list before is not used up.
    pub fn start(&mut self, payload: Vec<u8>) -> Result<(), CorruptKind> {
        self.end()?;
        let mut rest = payload.as_slice();
        let mut start = 0;
        for part in &mut self.parts {
            let before = rest.len();
            let size = number(&mut rest)?;
            start += before - rest.len();
            let size = usize::try_from(size).ok().filter(|size| *size <= rest.len()).ok_or(BROKEN)?;
            *part = Part { start, end: start + size };
            rest = &rest[size..];
            start += size;
        }
        if !rest.is_empty() {
            return Err(CorruptKind::Headers("bytes after its end"));
        }
        self.payload = payload;
        Ok(())
    }

    /// Checks that the list is used up.
    ///
    /// # Errors
    /// [`CorruptKind::Headers`] if something of it is left.
    pub fn end(&self) -> Result<(), CorruptKind> {
        if self.parts.iter().all(|part| part.start == part.end) {
            Ok(())
        } else {
            Err(CorruptKind::Headers("it is not used up"))
        }
    }

    /// Begins the next entry.
    ///
    /// # Errors
    /// [`CorruptKind`] if there is none, or it is broken.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is no iterator: each entry is to be finished before the next"
    )]
    pub fn next(&mut self) -> Result<EntryDraft, CorruptKind> {
        let [kind] = self.take(KINDS, 1)? else { return Err(BROKEN) };
        let kind = *kind;
        let kept = self.number(KEPT)?;
        let end = self.text(NAMES)?;
        let name = &mut self.templates.name;
        let kept = usize::try_from(kept).ok().filter(|kept| *kept <= name.len());
        name.truncate(kept.ok_or(CorruptKind::Headers("a name keeps more than there is"))?);
        name.extend_from_slice(&self.payload[end.start..end.end]);
        if name.len() as u64 > MAX_PATH_SIZE {
            return Err(CorruptKind::Headers("a name is too long"));
        }
        let content = Content::of_bits(kind);
        let path = match kind & HAS_PATH != 0 {
            true => {
                let path = self.text(PATHS)?;
                Some(SourcePath::new(&self.payload[path.start..path.end])?)
            }
            false if content.has_source() => Some(SourcePath::new(&self.templates.name)?),
            false => None,
        };
        if path.is_some() && !content.has_source() {
            return Err(CorruptKind::Headers("a path without use"));
        }
        let size = if content.has_size() { self.number(SIZES)? } else { 0 };
        Ok(EntryDraft { kind, path, size })
    }

    /// Appends the header of the entry that was begun last, whose content has `size` bytes, and what comes before it.
    ///
    /// # Errors
    /// [`CorruptKind`] if the list is broken.
    pub fn finish(&mut self, draft: &EntryDraft, size: u64, out: &mut Vec<u8>) -> Result<(), CorruptKind> {
        if draft.kind & IS_LONG != 0 {
            let mut header = self.templates.long(&self.templates.name);
            if self.templates.long.is_none() {
                self.patch(&mut header)?;
            }
            put_checksum(&mut header);
            self.templates.long = Some(header);
            out.extend_from_slice(&header);
            let name = &self.templates.name;
            out.extend_from_slice(name);
            out.resize(out.len() + 1 + padding(name.len() as u64 + 1), 0);
        }
        let template = usize::from(draft.kind >> TEMPLATE_SHIFT & TEMPLATE);
        let mut header = self.templates.draft(template, &self.templates.name, size);
        let is_patched = draft.kind & IS_PATCHED != 0;
        if is_patched {
            self.patch(&mut header)?;
        }
        if is_link(&header) {
            let link = self.text(LINKS)?;
            put_text(&mut header[LINK], &self.payload[link.start..link.end]);
        }
        put_checksum(&mut header);
        self.templates.remember(template, is_patched, header);
        out.extend_from_slice(&header);
        Ok(())
    }

    /// Reads the bytes in which a header is not as expected.
    fn patch(&mut self, header: &mut Header) -> Result<(), CorruptKind> {
        let mut at = 0;
        for _ in 0..self.number(PATCHES)? {
            let outside = CorruptKind::Headers("a patch reaches past the header");
            let skip = usize::try_from(self.number(PATCHES)?).unwrap_or(BLOCK);
            let size = usize::try_from(self.number(PATCHES)?).unwrap_or(BLOCK);
            let start = at + skip.min(BLOCK);
            let end = start + size.min(BLOCK);
            let place = header.get_mut(start..end).filter(|place| !place.is_empty()).ok_or(outside)?;
            place.copy_from_slice(self.take(PATCHES, size)?);
            at = end;
        }
        Ok(())
    }

    fn take(&mut self, part: usize, size: usize) -> Result<&[u8], CorruptKind> {
        let part = &mut self.parts[part];
        let bytes = self.payload[part.start..part.end].get(..size).ok_or(BROKEN)?;
        part.start += size;
        Ok(bytes)
    }

    fn number(&mut self, part: usize) -> Result<u64, CorruptKind> {
        let part = &mut self.parts[part];
        let mut rest = &self.payload[part.start..part.end];
        let number = number(&mut rest)?;
        part.start = part.end - rest.len();
        Ok(number)
    }

    /// Takes what comes before the next zero byte.
    fn text(&mut self, part: usize) -> Result<Part, CorruptKind> {
        let part = &mut self.parts[part];
        let bytes = &self.payload[part.start..part.end];
        let size = bytes.iter().position(|byte| *byte == 0).ok_or(BROKEN)?;
        let text = Part { start: part.start, end: part.start + size };
        part.start += size + 1;
        Ok(text)
    }
}

fn number(rest: &mut &[u8]) -> Result<u64, CorruptKind> {
    read_uvarint(rest).map_err(|_| BROKEN)
}
