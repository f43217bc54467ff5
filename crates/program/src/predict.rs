//! Predicts the bytes that the fields of a block have in the new file.

use crate::Rules;
use crate::bundle::{Bundle, LIMIT, Pool};
use crate::error::Result;
use crate::form::{At, CONTEXTS, Field, word};
use crate::kind::Kind;
use crate::learned::Targets;
use crate::map::Map;
use crate::misses::{Guess, Lasts};
use crate::neighbours::Neighbours;
use crate::scan::Scanned;
use crate::space::{Segment, Space};

/// The largest score of a context: a prediction that comes true adds one, another takes one away, down to the negative
/// of it.
const MOST: i8 = 8;
/// The score of a context before its first prediction.
const AT_FIRST: i8 = 2;
/// Weight of what a field tells about a place: of code, and of a table.
const CODE_WEIGHT: u8 = 2;
const TABLE_WEIGHT: u8 = 1;

/// The outcomes of the predictions of one kind of fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Fields.
    pub fields: u64,
    /// Those whose bytes are not as in the old file.
    pub changed: u64,
    /// Those whose bytes are not as predicted.
    pub missed: u64,
}

/// Bytes of the size of code, which follows the field that has its start.
const SIZE_WIDTH: usize = 4;
/// Compilers start functions at multiples of this.
const CODE_ALIGNMENT: u64 = 16;

/// Returns the address where the code after that at `address`, of so many bytes, starts.
const fn after_code(address: u64, size: u64) -> u64 {
    let end = address.wrapping_add(size).wrapping_add(CODE_ALIGNMENT - 1);
    end & !(CODE_ALIGNMENT - 1)
}

/// Bytes of a stretch of the old file whose fields are found at once.
const STRETCH: u32 = 128;

/// Returns the index of the first of the sorted fields in each stretch of a file of `size` bytes or after it, and the
/// number of fields.
#[expect(clippy::cast_possible_truncation, reason = "there are fewer than 2^28 fields")]
fn firsts(fields: &[Field], size: usize) -> Vec<u32> {
    let mut first = Vec::with_capacity(size / STRETCH as usize + 2);
    for (index, field) in fields.iter().enumerate() {
        let stretch = (field.position / STRETCH) as usize;
        if first.len() <= stretch {
            first.resize(stretch + 1, index as u32);
        }
    }
    first.push(fields.len() as u32);
    first
}

/// Predicts field after field, and learns from what they hold.
#[derive(Debug)]
pub(crate) struct Predictor<'o> {
    old: &'o [u8],
    fields: Vec<Field>,
    /// The index of the first field in each [`STRETCH`] of the old file or after it; one more at the end.
    first: Vec<u32>,
    targets: Targets,
    segments: Vec<Segment>,
    bases: Vec<u64>,
    /// The bundles of the old file, each where it is expected in the new one.
    bundles: Vec<Bundle>,
    /// The bundle of the new file whose indexes were found last.
    bundle: Option<Bundle>,
    /// By [`Form::context`](crate::form::Form::context): above zero where predictions are better than what
    /// the field holds.
    contexts: Vec<i8>,
    lasts: Lasts,
    outcomes: [Outcome; Kind::COUNT],
}

impl<'o> Predictor<'o> {
    /// `correct` gets the new bases as the map has them.
    pub(crate) fn new(
        old: &'o [u8],
        rules: &Rules,
        scanned: Scanned,
        map: &Map,
        correct: impl FnOnce(&mut [u64]) -> Result<()>,
    ) -> Result<Self> {
        let Scanned { mut fields, bases, mut bundles } = scanned;
        let end = u32::try_from(old.len()).unwrap_or(u32::MAX);
        let (of_old, of_new) = (Space(&rules.old.segments), Space(&rules.new.segments));
        let moved = |address: &u64| match of_old.place(*address) {
            Some(place) if place < end => of_new.address(map.get(place).0),
            Some(place) => of_new.address(place),
            None => *address,
        };
        let mut bases: Vec<u64> = bases.iter().map(moved).collect();
        correct(&mut bases)?;
        for bundle in &mut bundles {
            bundle.root = moved(&bundle.root);
            bundle.pool = bundle.pool.map(|pool| Pool::new(pool.base, &bases));
        }
        let targets = Targets::new(fields.iter().map(|field| field.target), map, end);
        for field in &mut fields {
            let index = targets.index(field.target).and_then(|index| u32::try_from(index).ok());
            field.target = index.expect("every target was collected, and there are fewer than 2^28");
        }
        let segments = rules.new.segments.clone();
        Ok(Self {
            old,
            first: firsts(&fields, old.len()),
            fields,
            targets,
            segments,
            bases,
            bundles,
            bundle: None,
            contexts: vec![AT_FIRST; CONTEXTS],
            lasts: Lasts::default(),
            outcomes: [Outcome::default(); Kind::COUNT],
        })
    }

    /// One that predicts nothing.
    pub(crate) fn none(old: &'o [u8]) -> Self {
        Self {
            old,
            fields: Vec::new(),
            first: Vec::new(),
            targets: Targets::new(std::iter::empty(), &Map::default(), 0),
            segments: Vec::new(),
            bases: Vec::new(),
            bundles: Vec::new(),
            bundle: None,
            contexts: Vec::new(),
            lasts: Lasts::default(),
            outcomes: [Outcome::default(); Kind::COUNT],
        }
    }

    /// Returns the position, `end` or before it, at which a stretch of the old file that begins at `start` can be cut
    /// without cutting a field.
    pub(crate) fn cut(&self, start: u32, end: u32) -> u32 {
        let index = self.first_from(end);
        match index.checked_sub(1).map(|index| self.fields[index]) {
            #[expect(clippy::cast_possible_truncation, reason = "2, 4 or 8")]
            Some(field) if field.position > start && field.position + field.form.width() as u32 > end => {
                field.position
            }
            _ => end,
        }
    }

    /// Predicts the bytes of a block that lie along the old file from `source` on, at `position` of the new one.
    /// `bytes` holds the old bytes. `actual` gives the bytes of a field, by its range and its prediction; it is called
    /// for one field after the other. Before each call, `correct` may give the value of a field that means something
    /// else than is expected.
    pub(crate) fn predict(
        &mut self,
        neighbours: Neighbours<'_>,
        source: u32,
        position: u32,
        bytes: &mut [u8],
        correct: &mut dyn FnMut(usize, &Guess<'_>) -> Result<Option<u64>>,
        mut actual: impl FnMut(usize, &[u8]) -> u64,
    ) -> Result<()> {
        for index in self.first_from(source)..self.fields.len() {
            let field = self.fields[index];
            let offset = (field.position - source) as usize;
            let width = field.form.width();
            let Some(predicted) = offset.checked_add(width).and_then(|end| bytes.get_mut(offset..end)) else {
                break;
            };
            let own = position.wrapping_add(field.position - source);
            let found_bundle;
            let bundle = match field.form.bundle() {
                None => &Bundle::NONE,
                Some(number) => {
                    found_bundle = self.bundle_of(number, own);
                    &found_bundle
                }
            };
            let at = At {
                space: Space(&self.segments),
                bases: &self.bases,
                position: own,
                moved: own.wrapping_sub(field.position),
                bundle,
            };
            let mask = field.form.mask();
            let old = word(self.old, field.position as usize, width);
            let target = field.target as usize;
            let near = if field.form.is_near() {
                neighbours.place(field.position, self.targets.place(target))
            } else {
                None
            };
            let is_conditional = field.form.is_conditional(old);
            let expected = match near {
                Some(place) => place,
                // The target is in the same function, wherever its bytes went.
                None if is_conditional => self.targets.place(target).wrapping_add(at.moved),
                None => self.targets.expected(target),
            };
            let value = at.value(field.form, expected, old) & mask;
            let before = match field.position.checked_sub(1) {
                #[expect(clippy::cast_possible_truncation, reason = "a branch has 4 bytes")]
                _ if is_conditional => field.form.set().opcode(old as u32),
                Some(before) if !field.form.is_of_table() => self.old[before as usize],
                _ => (field.position & 7) as u8,
            };
            let context = &mut self.contexts[field.form.context(before)];
            let expected = if *context >= 0 { value } else { old };
            let mut guess = expected;
            if field.form.is_counted() {
                let last = *self.lasts.of(field.form);
                let of_field = Guess { at, form: field.form, old, predicted: expected, before, last };
                guess = correct(offset, &of_field)?.unwrap_or(expected);
            }
            predicted.copy_from_slice(&guess.to_le_bytes()[..width]);
            let found = actual(offset, predicted);
            if value != old {
                if found == value {
                    *context = (*context + 1).min(MOST);
                } else if found == old {
                    *context = (*context - 1).max(-MOST);
                }
            }
            let outcome = &mut self.outcomes[field.form.kind() as usize];
            outcome.fields += 1;
            outcome.changed += u64::from(found != old);
            outcome.missed += u64::from(found != expected);
            if let Some(address) = at.address(field.form, found).filter(|_| field.form.is_of_table()) {
                *self.lasts.of(field.form) = match field.form.is_start_of_code() {
                    true => after_code(address, word(self.old, field.position as usize + width, SIZE_WIDTH)),
                    false => address,
                };
            }
            if let Some(index) = field.form.bundle_index() {
                let address = at.own_address();
                if index == LIMIT {
                    self.bundle = Some(Bundle::NONE);
                }
                #[expect(clippy::cast_possible_truncation, reason = "an index has 4 bytes")]
                if let Some(bundle) = &mut self.bundle {
                    bundle.take(index, address, found as u32);
                }
            }
            if let Some(place) = at.place(field.form, found) {
                let weight = if field.form.is_of_table() { TABLE_WEIGHT } else { CODE_WEIGHT };
                self.targets.learn(target, place, weight);
            }
        }
        Ok(())
    }

    /// Returns the index of the first field that does not lie before `position`.
    fn first_from(&self, position: u32) -> usize {
        let stretch = (position / STRETCH) as usize;
        let Some([from, to]) = self.first.get(stretch..).and_then(|firsts| firsts.first_chunk()).copied()
        else {
            return self.fields.len();
        };
        let fields = &self.fields[from as usize..to as usize];
        from as usize + fields.partition_point(|field| field.position < position)
    }

    /// Returns the bundle of the new file that a field at `position` is in. The bundle of the old file with this number
    /// has its pool.
    fn bundle_of(&self, number: usize, position: u32) -> Bundle {
        let Some(bundle) = self.bundles.get(number) else {
            return Bundle::NONE;
        };
        let address = self.space().address(position);
        match self.bundle.filter(|found| found.holds(address)) {
            Some(found) => Bundle { pool: bundle.pool, ..found },
            None => *bundle,
        }
    }

    /// The addresses of the new file.
    pub(crate) fn space(&self) -> Space<'_> {
        Space(&self.segments)
    }

    /// Returns the outcomes of the predictions so far, by the kind of the field.
    pub(crate) fn outcomes(&self) -> Vec<(Kind, Outcome)> {
        Kind::all().zip(self.outcomes).filter(|(_, outcome)| outcome.fields > 0).collect()
    }

    /// The fields of the old file, each with the place of the new file where its target was found, or is expected.
    #[cfg(feature = "writer")]
    pub(crate) fn found(&self) -> impl Iterator<Item = Field> {
        let found = |field: &Field| Field { target: self.targets.expected(field.target as usize), ..*field };
        self.fields.iter().map(found)
    }

    /// The place of the new file where a place of the old one was found, if a field means it.
    #[cfg(feature = "writer")]
    pub(crate) fn place(&self, place: u32) -> Option<u32> {
        self.targets.index(place).map(|index| self.targets.expected(index))
    }
}
