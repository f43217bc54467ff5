//! The cost of an input, compared with the bounds in SECURITY.md.
//!
//! Work is counted in units, which are the same on every machine; memory by the allocator of the target. The
//! time of a core is looked at in the random search alone (`COST_CPU`), with a generous factor, as the
//! sanitizer makes everything slower and the machine may be busy.

use std::cell::Cell;
use std::fs;
use std::io;
use std::num::NonZeroUsize;

use delta_format::wire::{MAX_ENCODER_MEMORY, MAX_VIEW_SIZE};
use delta_format::{SourceFile, SourceFiles, SourcePath, Version, View, Work};
use layer::{Listing, MergeOptions, MergedTree};
use recode::Recipe;
use tar_patch::{ApplyOptions, Budget, apply};

use crate::Input;
use crate::codecs::{XZ, try_compress};
use crate::delta::{Files, VERSIONS, delta};
use crate::hostile_layers::hostile_layer;
use crate::layers::spool;
use crate::views;

/// The allocator of the target.
#[derive(Clone, Copy)]
pub struct Heap {
    /// Bytes that are held.
    pub held: fn() -> usize,
    /// The most bytes that were held since the last reset.
    pub peak: fn() -> usize,
    /// Has the peak be what is held.
    pub reset: fn(),
}

/// Memory beside that which follows the input: buffers and the like.
const BUFFERS: usize = 4 << 20;
/// Memory of a tardf3 delta: a decoded source in memory, a stretch and its encoder, all in Rust.
const VIEWS: usize = 128 << 20;
/// Bytes of memory for each byte of a document from a registry.
#[cfg(feature = "artifacts")]
const DOCUMENT_RATIO: usize = 64;
/// Nanoseconds of a core for each unit of work: three are the most that were found, and the sanitizer takes ten
/// to twenty times as long.
const CPU_RATIO: u64 = 64;

/// Applying a delta, listing a layer, reading a document and encoding by a recipe stay within the bounds of
/// work, of bytes that are read and written, and of memory.
///
/// # Panics
/// If one of them does not.
pub fn cost(data: &[u8], heap: Heap) {
    let mut input = Input::new(data);
    match input.within(0..=3) {
        0 => of_delta(&mut input, heap),
        1 => of_layer(&mut input, heap),
        2 => of_document(&input, heap),
        _ => of_recipe(&mut input, heap),
    }
}

fn held_more(heap: Heap, work: impl FnOnce()) -> usize {
    (heap.reset)();
    let before = (heap.held)();
    work();
    (heap.peak)().saturating_sub(before)
}

/// Time of all threads in nanoseconds, if it is to be looked at.
fn cpu() -> Option<u64> {
    std::env::var_os("COST_CPU")?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * 10_000_000)
}

fn check_cpu(before: Option<u64>, units: u64) {
    if let (Some(before), Some(after)) = (before, cpu()) {
        let taken = after.saturating_sub(before);
        assert!(taken <= units.saturating_mul(CPU_RATIO) + 2_000_000_000, "{taken} ns for {units} units");
    }
}

fn of_delta(input: &mut Input<'_>, heap: Heap) {
    let max_output = u64::from(input.word());
    let version = *input.pick(&VERSIONS);
    let views = (version == Version::V3).then(|| views::take(input));
    let (files, ops) = match &views {
        Some((sources, ops)) => (views::files(sources), ops.as_slice()),
        None => (Files::take(input), input.rest()),
    };
    // An odd bound stands for an xz stream, so that the layout of the input stays what it is.
    let delta = if version == Version::V3 && max_output % 2 == 1 {
        let level = u8::try_from(max_output % 256).unwrap_or(0);
        [&version.magic()[..], &try_compress(XZ, level, ops)].concat()
    } else {
        delta(version, ops)
    };
    let (budget, read, written) = (Budget::of_layer(max_output), Cell::new(0), Cell::new(0));
    let before = cpu();
    let held = held_more(heap, || {
        let mut sources = Counted { inner: files, read: &read };
        let options = ApplyOptions::default().max_output(max_output).budget(&budget).jobs(NonZeroUsize::MIN);
        let _ = apply(delta.as_slice(), &mut sources, options, &mut CountedOutput(&written));
    });
    let (spent, max) = (budget.spent(), Work::of_layer(max_output));
    check_cpu(before, spent.reading + spent.encoding);
    assert!(written.get() <= max_output, "{} bytes of {max_output}", written.get());
    // A charge that is refused stays charged; none is larger than a source or the encoders of a list.
    assert!(spent.reading <= max.reading + (8 << 30), "{spent:?}");
    assert!(read.get() <= 8 * spent.reading + (1 << 20), "{} bytes are read for {spent:?}", read.get());
    let most = if version == Version::V3 { VIEWS } else { BUFFERS };
    let most = most + 64 * delta.len() + 4 * usize::try_from(max_output.min(MAX_VIEW_SIZE)).unwrap_or(0);
    assert!(held <= most, "{held} bytes of memory for a delta of {} bytes", delta.len());
}

/// Sources whose bytes are counted as they are read.
struct Counted<'c, 'i> {
    inner: Files<'i>,
    read: &'c Cell<u64>,
}

struct CountedFile<'c, F> {
    inner: F,
    read: &'c Cell<u64>,
}

impl<'c, 'i> SourceFiles for Counted<'c, 'i> {
    type File = CountedFile<'c, <Files<'i> as SourceFiles>::File>;

    fn open(&mut self, path: &SourcePath, budget: &Budget) -> delta_format::Result<Self::File> {
        Ok(CountedFile { inner: self.inner.open(path, budget)?, read: self.read })
    }

    fn open_view(
        &mut self,
        path: &SourcePath,
        view: &View,
        budget: &Budget,
    ) -> delta_format::Result<Self::File> {
        Ok(CountedFile { inner: self.inner.open_view(path, view, budget)?, read: self.read })
    }
}

impl<F: SourceFile> SourceFile for CountedFile<'_, F> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read.set(self.read.get() + buffer.len() as u64);
        self.inner.read_exact_at(buffer, offset)
    }
}

struct CountedOutput<'c>(&'c Cell<u64>);

impl io::Write for CountedOutput<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set(self.0.get() + bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Layers whose entries come again and again, so that what each holds shows.
fn of_layer(input: &mut Input<'_>, heap: Heap) {
    let (times, apply_whiteouts) = (input.within(1..=200), input.byte() & 1 != 0);
    let tar = hostile_layer(input, &mut Vec::new());
    let end = tar.len().saturating_sub(1024);
    let layer = spool(&[tar[..end].repeat(times.into()), vec![0; 1024]].concat());
    let granted = Cell::new(0);
    let held = held_more(heap, || {
        let mut listing = Listing::of([&layer]);
        let Ok(entries) = listing.entries(&layer) else { return };
        granted.set(listing.memory());
        let options = MergeOptions::default().apply_whiteouts(apply_whiteouts);
        drop(MergedTree::merge(&[entries], &options));
    });
    let most = usize::try_from(granted.get()).unwrap_or(usize::MAX).saturating_add(BUFFERS);
    let entries = times;
    assert!(granted.get() == 0 || held <= most, "{held} bytes of memory, {most} granted, {entries} times");
}

#[cfg(feature = "artifacts")]
fn of_document(input: &Input<'_>, heap: Heap) {
    use registry_ext::artifact::blob_recipes::BlobRecipes;
    use registry_ext::artifact::delta_index;
    use registry_ext::artifact::oci_delta::OciDelta;
    use registry_ext::oci::{parse_index, parse_manifest};

    let bytes = input.rest();
    let held = held_more(heap, || {
        if let Ok(manifest) = parse_manifest("fuzz", bytes) {
            drop((
                delta_index::deltas_of(&manifest),
                OciDelta::parse(&manifest),
                BlobRecipes::parse(&manifest),
            ));
        }
        if let Ok(index) = parse_index("fuzz", bytes) {
            drop(delta_index::targets(&index));
        }
    });
    let most = DOCUMENT_RATIO * bytes.len() + (64 << 10);
    assert!(held <= most, "{held} bytes of memory for a document of {}", bytes.len());
}

#[cfg(not(feature = "artifacts"))]
const fn of_document(_: &Input<'_>, _: Heap) {}

fn of_recipe(input: &mut Input<'_>, heap: Heap) {
    let plain = input.sized();
    let Ok(recipe) = Recipe::parse(input.rest()) else { return };
    if recipe.memory() > MAX_ENCODER_MEMORY {
        return;
    }
    let (size, before) = (plain.len() as u64, cpu());
    let work = recipe.encoding_work(size);
    // What a stream of that size is granted at most, so that some recipes are refused in their midst.
    let max = 8192 * size + (1 << 24);
    let (units, refusals, made) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let charge = |more: u64| {
        units.set(units.get() + more);
        if units.get() > max {
            refusals.set(refusals.get() + 1);
            return Err(io::Error::other("enough"));
        }
        Ok(())
    };
    let held = held_more(heap, || {
        let _ = recode::encode_charged(&recipe, &mut &*plain, size, &mut CountedOutput(&made), &charge);
    });
    assert!(refusals.get() <= 1, "it goes on after {} refusals", refusals.get());
    assert!(made.get() <= units.get() / work.byte.max(1) + (1 << 20), "{} bytes for nothing", made.get());
    let most = usize::try_from(recipe.memory()).unwrap_or(usize::MAX).saturating_add(BUFFERS);
    assert!(held <= most, "{held} bytes of memory, the recipe says {}", recipe.memory());
    check_cpu(before, units.get() + work.setup);
}
