//! Pages of the open source, so that small ops near each other, or near an earlier one, read once.
//!
//! ```text
//! ops of a changed program     copy 30 at 9 MB, add 12 at 9 MB, seek, copy 8 at 2 MB, seek, add 40 at 9 MB, ...
//! pages of the source          [ 8 KiB ][ 8 KiB ] ...      page n is held in slot n mod SLOTS
//! ```
//!
//! A program that was built again reads its functions in another order. With a single window each of
//! its short ops would read a window anew; pages make one read of many of them.

use crate::Result;

/// Bytes of a page: a read of so many costs little more than one of a byte.
pub(crate) const PAGE_SIZE: u64 = 8 << 10;
/// Pages that are held: 16 MiB of them, as far as ops ask for that many. With half of it, programs of 50 MB
/// are read three times over.
const SLOTS: u64 = 2048;

/// The pages that were read last.
#[derive(Default)]
pub(crate) struct Pages {
    /// As many as were needed, at most [`SLOTS`].
    slots: Vec<Slot>,
    /// Tells the pages of the open source from those of sources before it.
    generation: u64,
}

#[derive(Default)]
struct Slot {
    generation: u64,
    page: u64,
    bytes: Vec<u8>,
}

impl Pages {
    /// Another source is open: no page that is held belongs to it.
    pub(crate) const fn forget(&mut self) {
        self.generation += 1;
    }

    /// Gives 1 to `wanted` bytes of a source of `size` bytes from `position` on, which lies in it. `read`
    /// fills a page from an offset on.
    pub(crate) fn get(
        &mut self,
        position: u64,
        wanted: u64,
        size: u64,
        read: impl FnOnce(&mut [u8], u64) -> Result<()>,
    ) -> Result<&[u8]> {
        let page = position / PAGE_SIZE;
        let start = page * PAGE_SIZE;
        let index = usize::try_from(page % SLOTS).expect("there are few slots");
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        let slot = &mut self.slots[index];
        if slot.generation != self.generation || slot.page != page || slot.bytes.is_empty() {
            let length = PAGE_SIZE.min(size - start);
            slot.bytes.resize(usize::try_from(length).expect("at most a page"), 0);
            if let Err(error) = read(&mut slot.bytes, start) {
                slot.bytes.clear();
                return Err(error);
            }
            (slot.generation, slot.page) = (self.generation, page);
        }
        let from = usize::try_from(position - start).expect("within the page");
        let held = &slot.bytes[from..];
        Ok(&held[..usize::try_from(wanted).map_or(held.len(), |wanted| wanted.min(held.len()))])
    }
}
