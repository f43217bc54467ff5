//! Finds the headers of the new tar that a list can hold (tardf3), and says which op emits each byte around the files.

use std::ops::Range;

use delta_format::{Content, HeaderList, HeaderLists, OpWriter, SourcePath, TarEntry};
use layer::{BLOCK_SIZE, Entry, Spool};

use crate::Result;
use crate::edit::Edit;
use crate::plan::{Plan, SegmentKind};

/// Most bytes before a header that hold a long name: a header, and a name of 4 KiB.
const MAX_LONG_NAME: u64 = 10 * BLOCK_SIZE;

/// The entries whose headers lists hold.
#[derive(Debug, Default)]
pub(super) struct Framing {
    lists: Vec<HeaderList>,
    framed: Vec<Framed>,
}

/// An entry whose header a list holds.
#[derive(Debug)]
struct Framed {
    /// The start of the header, or of the long name before it, in the new tar.
    start: u64,
    /// Its content.
    data: Range<u64>,
    content: Content,
    /// The source that it opens for the ops that make the content.
    opened: Option<SourcePath>,
}

impl Framed {
    /// The end of the padding.
    const fn end(&self) -> u64 {
        self.data.end.next_multiple_of(BLOCK_SIZE)
    }
}

impl Framing {
    /// Makes the lists. The edits are those of the segments of the plan.
    ///
    /// # Errors
    /// If the new tar cannot be read.
    pub(super) fn new(plan: &Plan, edits: &[Option<Edit>], entries: &[Entry], new: &Spool) -> Result<Self> {
        let mut lists = HeaderLists::default();
        let mut framed = Vec::new();
        let mut segments = plan.segments.iter().zip(edits).peekable();
        let mut position = 0;
        for entry in entries {
            let data = entry.data.clone();
            let size = data.end - data.start;
            while segments.next_if(|(segment, _)| segment.target.start < data.start).is_some() {}
            let made = segments.peek().filter(|(segment, _)| size > 0 && segment.target == data);
            let (content, source) = match made {
                _ if size == 0 => (Content::None, None),
                Some((segment, edit)) => match (&segment.kind, edit) {
                    (SegmentKind::Same(source), _) => (Content::Whole, Some(&source.path)),
                    (SegmentKind::Similar(source), Some(edit)) if !matches!(edit, Edit::Viewed(_)) => {
                        (Content::Opened, Some(&source.path))
                    }
                    _ => (Content::Ops, None),
                },
                None => (Content::Ops, None),
            };
            let Some((start, blocks)) = header(new, position, data.start)? else {
                position = data.end.next_multiple_of(BLOCK_SIZE);
                continue;
            };
            let of_list = TarEntry { blocks: &blocks, content, size, source };
            let opened = source.filter(|_| content == Content::Opened).cloned();
            let entry = Framed { start, data, content, opened };
            position = entry.end();
            if is_padded(new, &entry)? && lists.push(&of_list) {
                framed.push(entry);
            }
        }
        Ok(Self { lists: lists.finish(), framed })
    }

    /// The number of entries.
    pub(super) const fn len(&self) -> usize {
        self.framed.len()
    }
}

/// The header that ends where the content starts, from the long name before it on, and where that begins.
/// `position` is the end of the entry before.
fn header(new: &Spool, position: u64, data: u64) -> Result<Option<(u64, Vec<u8>)>> {
    let Some(size) = data.checked_sub(position).filter(|size| *size >= BLOCK_SIZE) else { return Ok(None) };
    let is_long = size > BLOCK_SIZE && size <= MAX_LONG_NAME && is_long_name(new, position)?;
    let start = if is_long { position } else { data - BLOCK_SIZE };
    Ok(Some((start, new.read_range(start..data)?)))
}

/// Returns true if the header at the position is that of a long name.
fn is_long_name(new: &Spool, position: u64) -> Result<bool> {
    const TYPE: u64 = 156;
    Ok(new.read_range(position + TYPE..position + TYPE + 1)? == b"L")
}

/// Returns true if the content is followed by as many zeros as it takes to end its last block.
fn is_padded(new: &Spool, entry: &Framed) -> Result<bool> {
    Ok(entry.end() <= new.size()
        && new.read_range(entry.data.end..entry.end())?.iter().all(|byte| *byte == 0))
}

/// The place in a framing that the writer has reached.
#[derive(Debug)]
pub(super) struct Frames<'f> {
    framing: &'f Framing,
    /// The next entry.
    next: usize,
    /// Entries before it that are passed and not written.
    passed: u64,
    /// The next list, and how many entries of the one before are not written.
    list: usize,
    left: u64,
    /// True if the padding of the last entry is not written.
    owes: bool,
}

/// A part of a range between files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Bytes that the delta carries.
    Literal(Range<u64>),
    /// Bytes that a list makes.
    Framed(u64),
}

impl<'f> Frames<'f> {
    pub(super) const fn new(framing: &'f Framing) -> Self {
        Self { framing, next: 0, passed: 0, list: 0, left: 0, owes: false }
    }

    /// The entry whose header was passed last.
    fn last(&self) -> Option<&'f Framed> {
        self.framing.framed.get(self.next.checked_sub(1)?)
    }

    /// The first part of a range that no segment of a file has. Headers in it are passed.
    pub(super) fn piece(&mut self, range: Range<u64>) -> Piece {
        if let Some(last) = self.last()
            && range.start == last.data.end
            && last.end() > range.start
        {
            return Piece::Framed(last.end());
        }
        match self.framing.framed.get(self.next) {
            Some(next) if next.start == range.start => {
                self.next += 1;
                self.passed += 1;
                self.owes = true;
                Piece::Framed(next.data.start)
            }
            next => {
                let of_content = self.last().map(|last| last.data.end).filter(|end| *end > range.start);
                let end = of_content.into_iter().chain(next.map(|next| next.start)).min();
                Piece::Literal(range.start..end.map_or(range.end, |end| end.min(range.end)))
            }
        }
    }

    /// Returns true if the content of the last entry is written with its header.
    pub(super) fn has_content(&self, start: u64) -> bool {
        self.last().is_some_and(|last| last.content == Content::Whole && last.data.start == start)
    }

    /// Writes the entries that were passed, before ops that make something else at `position`.
    pub(super) fn flush<W: std::io::Write>(&mut self, writer: &mut OpWriter<W>, position: u64) -> Result<()> {
        let Some(last) = self.last() else { return Ok(()) };
        while self.passed > 0 {
            if self.left == 0 {
                let list = &self.framing.lists[self.list];
                writer.headers(list)?;
                self.left = list.entries;
                self.list += 1;
            }
            let count = self.passed.min(self.left);
            self.passed -= count;
            self.left -= count;
            let opened = last.opened.as_ref().filter(|_| self.passed == 0);
            writer.entries(count, opened)?;
        }
        if self.owes && position >= last.end() {
            if last.end() > last.data.end {
                writer.entries(0, None)?;
            }
            self.owes = false;
        }
        Ok(())
    }
}
