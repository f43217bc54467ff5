//! The meaning of the op that emits entries of a tar: their headers, and the content of those that are whole sources.

use crate::apply::open_work;
use crate::budget::{Budget, cost};
use crate::cursor::{Cursor, SourceFiles};
use crate::headers::{BLOCK, Content, HeaderReader, padding};
use crate::target::Target;
use crate::{OpReader, Result};

/// The entries so far.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// The headers of those to come.
    pub(crate) list: HeaderReader,
    /// Zeros that follow the content of the last entry.
    padding: usize,
    header: Vec<u8>,
}

/// The sides of an apply that entries go between.
pub(crate) struct Sides<'a, 't, S: SourceFiles> {
    pub(crate) sources: &'a mut S,
    pub(crate) source: &'a mut Cursor<S::File>,
    pub(crate) target: &'a mut Target<'t>,
    pub(crate) budget: &'a Budget,
}

impl Entries {
    /// Emits the padding of the entry before and the next `count` entries. The source is the one that the last of them
    /// opens for other ops, if it opens one.
    pub(crate) fn emit<S: SourceFiles>(
        &mut self,
        count: u64,
        sides: &mut Sides<'_, '_, S>,
        delta: &OpReader<'_>,
    ) -> Result<()> {
        sides.source.close();
        self.pad(sides.target)?;
        for _ in 0..count {
            self.emit_one(sides, delta)?;
        }
        Ok(())
    }

    fn emit_one<S: SourceFiles>(&mut self, sides: &mut Sides<'_, '_, S>, delta: &OpReader<'_>) -> Result<()> {
        let Sides { sources, source, target, budget } = sides;
        source.close();
        self.pad(target)?;
        target.meter().charge(cost::HEADER)?;
        let draft = self.list.next().map_err(|kind| delta.corrupt_here(kind))?;
        let is_whole = draft.content() == Content::Whole;
        let mut size = draft.size();
        if let Some(path) = draft.path() {
            target.meter().charge(open_work(path))?;
            source.open(sources.open(path, budget)?, path.clone());
            if is_whole {
                size = source.size(delta)?;
            }
        }
        self.header.clear();
        self.list.finish(&draft, size, &mut self.header).map_err(|kind| delta.corrupt_here(kind))?;
        target.reserve(self.header.len() as u64)?;
        target.write(&self.header)?;
        self.padding = padding(size);
        if is_whole {
            target.reserve(size)?;
            source.copy(size, target, delta)?;
            source.close();
        }
        Ok(())
    }

    fn pad(&mut self, target: &mut Target<'_>) -> Result<()> {
        let padding = std::mem::take(&mut self.padding);
        target.reserve(padding as u64)?;
        target.write(&[0; BLOCK][..padding])
    }
}
