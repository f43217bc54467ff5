//! The search for the recipe of a stream, and its proof: the stream is made and compared.

use crate::compare::{Compare, Files, Slices, Source};
use crate::recipe::{Encoder, Recipe};
use crate::{
    Budget, Codec, EncodingWork, Part, Refused, bzip2_stream, chunked, deflate, encode_charged, klauspost,
    xz, zstd_corrections, zstd_frame,
};

/// Finds how `encoded` is made of `plain`, and proves it: the stream was made and compared.
///
/// The search takes the work of [`Budget::of_file`] at most.
///
/// # Errors
/// [`Refused`] with the reason, if no encoder makes these bytes.
pub fn recipe(codec: Codec, encoded: &[u8], plain: &[u8]) -> Result<Recipe, Refused> {
    recipe_within(codec, encoded, plain, &Budget::of_file(encoded.len() as u64))
}

/// Finds how `encoded` is made of `plain` as [`recipe`] does, and charges what each encoder costs that is
/// tried to `budget`.
///
/// # Errors
/// [`Refused`] with the reason; [`Refused::OverBudget`] and [`Refused::TooMuchMemory`] if an encoder that
/// might make these bytes was not tried to the end.
pub fn recipe_within(codec: Codec, encoded: &[u8], plain: &[u8], budget: &Budget) -> Result<Recipe, Refused> {
    measured_recipe_within(codec, encoded, plain, budget).map(|measured| measured.recipe)
}

/// A recipe and what it costs to encode with it.
#[derive(Debug, Clone)]
pub struct MeasuredRecipe {
    /// The recipe.
    pub recipe: Recipe,
    /// All units of work that [`encode_charged`] and its caller charge for this stream, counted when the recipe
    /// was proved. An estimate would not do: how far the searches of deflate go depends on the plain bytes.
    pub work: u64,
}

/// Does what [`recipe_within`] does, and counts what encoding with the recipe costs.
///
/// # Errors
/// As [`recipe_within`].
pub fn measured_recipe_within(
    codec: Codec,
    encoded: &[u8],
    plain: &[u8],
    budget: &Budget,
) -> Result<MeasuredRecipe, Refused> {
    find(codec, &mut Slices { encoded, plain }, budget)
}

/// Finds how a stream is made that is too large to hold, as [`measured_recipe_within`] does.
///
/// Both parts are read several times: a level that the start rules out costs little, the proof reads all.
/// Memory is that of the encoder and a few megabytes; for xz and zstd:chunked, which end with a table, also
/// that of the encoded bytes, at most 512 MiB.
///
/// # Errors
/// As [`measured_recipe_within`]; [`Refused::Unreadable`] if a file cannot be read.
pub fn recipe_of_stream(
    codec: Codec,
    encoded: Part<'_>,
    plain: Part<'_>,
    budget: &Budget,
) -> Result<MeasuredRecipe, Refused> {
    find(codec, &mut Files { encoded, plain }, budget)
}

fn find(codec: Codec, source: &mut dyn Source, budget: &Budget) -> Result<MeasuredRecipe, Refused> {
    let mut search = Search { source, budget, lacked_memory: false, work: 0 };
    let found = search.encoder(codec);
    let Search { lacked_memory, work, .. } = search;
    found.map(|encoder| MeasuredRecipe { recipe: Recipe::new(encoder), work }).map_err(
        |refused| match refused {
            // Each attempt fails once the budget is spent, whatever it says of the stream.
            _ if budget.is_spent() => Refused::OverBudget,
            Refused::NoEncoder if lacked_memory => Refused::TooMuchMemory,
            refused => refused,
        },
    )
}

/// An encoder of klauspost/compress that makes a frame, and how many bytes of it are carried.
type Near = Option<(Encoder, u64)>;

/// A search for what makes a stream.
struct Search<'s> {
    source: &'s mut dyn Source,
    budget: &'s Budget,
    /// True if an encoder was not tried because it takes more memory than the budget has.
    lacked_memory: bool,
    /// Units of work that the encoder took that made the whole stream.
    work: u64,
}

impl Search<'_> {
    fn encoder(&mut self, codec: Codec) -> Result<Encoder, Refused> {
        let (start, _) = self.source.starts(32, 0).map_err(|_| Refused::Unreadable)?;
        Ok(match codec {
            Codec::Deflate => return self.deflate(),
            Codec::Xz => {
                let encoded = self.source.encoded()?;
                let mut plans = xz::find(&encoded)?.into_iter().map(Encoder::Xz);
                drop(encoded);
                plans.find(|encoder| self.makes(encoder)).ok_or(Refused::NoEncoder)?
            }
            Codec::Zstd => return self.zstd(&start),
            Codec::ZstdChunked => {
                let encoder = Encoder::Chunked(chunked::find(self.source, self.budget)?);
                Some(encoder).filter(|encoder| self.makes(encoder)).ok_or(Refused::NoEncoder)?
            }
            Codec::ZstdBlocks => {
                Some(Encoder::ZstdBlocks).filter(|encoder| self.makes(encoder)).ok_or(Refused::NoEncoder)?
            }
            Codec::Bzip2 => {
                let encoder = Encoder::Bzip2(bzip2_stream::find(&start)?);
                Some(encoder).filter(|encoder| self.makes(encoder)).ok_or(Refused::NoEncoder)?
            }
        })
    }

    /// `start` is the first bytes of the frame. The encoder of klauspost/compress is tried first at its default level,
    /// since it is fast and usual, and then at the level that makes the first block, if one does. Where it comes near,
    /// but not near enough, libzstd may make the frame without anything that is carried, or it may at another level.
    fn zstd(&mut self, start: &[u8]) -> Result<Encoder, Refused> {
        let few = klauspost::FEW_CARRIED + self.source.encoded_size() / 1024;
        let is_few = |near: &Near| near.as_ref().is_some_and(|(_, carried)| *carried <= few);
        let nearer =
            |near: Near, other: Near| near.into_iter().chain(other).min_by_key(|(_, carried)| *carried);
        let mut near = self.klauspost(klauspost::Levels::Default);
        let is_other = !is_few(&near) && klauspost::makes_start(self.source, self.budget);
        if is_other {
            near = nearer(near, self.klauspost(klauspost::Levels::Others));
        }
        if let Some((encoder, _)) = near.as_ref().filter(|_| is_few(&near)) {
            return Ok(encoder.clone());
        }
        let (encoded_size, plain_size) = (self.source.encoded_size(), self.source.plain_size());
        // Corrections take as much as what is tried in vain before them.
        let reserve = self.budget.work() / 2;
        let matches = |plan| {
            if self.budget.work() < reserve { 0 } else { self.matched(&Encoder::Zstd(plan)) }
        };
        let found = zstd_frame::find(start, encoded_size, plain_size, matches).map(Encoder::Zstd);
        found.or_else(|refused| {
            if !is_other {
                near = nearer(near, self.klauspost(klauspost::Levels::Others));
            }
            match near {
                Some((encoder, carried)) => {
                    Ok(self.corrected_klauspost(&encoder, carried).unwrap_or(encoder))
                }
                None => self.corrected_zstd(refused),
            }
        })
    }

    /// Returns the corrections of a frame of which an encoder of klauspost/compress carries so many bytes, if they are
    /// fewer.
    fn corrected_klauspost(&mut self, encoder: &Encoder, carried: u64) -> Option<Encoder> {
        let Encoder::Klauspost(plan) = encoder else { return None };
        let found = zstd_corrections::find_of_klauspost(self.source, self.budget, plan.settings(), carried);
        let encoder = found.ok().filter(|plan| (plan.corrections_size() as u64) < carried)?;
        let encoder = Encoder::ZstdCorrections(encoder);
        self.makes(&encoder).then_some(encoder)
    }

    /// Returns the corrections of a frame that no encoder makes, for the reason that is given.
    fn corrected_zstd(&mut self, refused: Refused) -> Result<Encoder, Refused> {
        let found = zstd_corrections::find(self.source, self.budget);
        self.lacked_memory |= matches!(found, Err(Refused::TooMuchMemory));
        let encoder = Encoder::ZstdCorrections(match found {
            Err(Refused::TooMuchMemory) => return Err(refused),
            found => found?,
        });
        if self.makes(&encoder) { Ok(encoder) } else { Err(Refused::NotTheStream) }
    }

    /// Returns the encoder of klauspost/compress if it makes the frame. Where nothing is carried, the search has made
    /// and compared all blocks, which is the proof.
    fn klauspost(&mut self, levels: klauspost::Levels) -> Near {
        let found = klauspost::find(self.source, self.budget, levels);
        self.lacked_memory |= matches!(found, Err(Refused::TooMuchMemory));
        let (plan, carried) = found.ok()?;
        let EncodingWork { setup, byte } = plan.encoding_work();
        let encoder = Encoder::Klauspost(plan);
        if carried == 0 {
            self.work = setup + byte * (self.source.plain_size() + self.source.encoded_size());
            return Some((encoder, 0));
        }
        self.makes(&encoder).then_some((encoder, carried))
    }

    fn deflate(&mut self) -> Result<Encoder, Refused> {
        let mut candidates = deflate::Candidates::read(self.source)?;
        let (encoded_size, budget) = (self.source.encoded_size(), self.budget);
        if let Some(encoder) = self.first_that_makes(std::iter::from_fn(|| candidates.next_of_zlib(budget))) {
            return Ok(encoder);
        }
        if let Some(encoder) = self.first_that_makes(candidates.of_pigz(encoded_size, budget)) {
            return Ok(encoder);
        }
        let nearest = candidates.nearest(self.source, self.budget)?;
        if let Some(encoder) = self.first_that_makes(nearest.exact(encoded_size)) {
            return Ok(encoder);
        }
        let encoder = Encoder::Deflate(nearest.corrections(self.source, self.budget)?);
        if self.makes(&encoder) { Ok(encoder) } else { Err(Refused::NotTheStream) }
    }

    /// Returns the first encoder of deflate that makes the stream.
    fn first_that_makes(&mut self, plans: impl IntoIterator<Item = deflate::Plan>) -> Option<Encoder> {
        plans.into_iter().map(Encoder::Deflate).find(|encoder| self.makes(encoder))
    }

    /// Tells whether the encoder makes the stream.
    fn makes(&mut self, encoder: &Encoder) -> bool {
        self.matched(encoder) == self.source.encoded_size()
    }

    /// Returns the number of bytes of the stream that the encoder makes, whole pieces of output only; it is
    /// stopped where it makes others. All of them means that it makes no more, either.
    fn matched(&mut self, encoder: &Encoder) -> u64 {
        let recipe = Recipe::new(encoder.clone());
        if recipe.memory() > self.budget.memory() {
            self.lacked_memory = true;
            return 0;
        }
        let (encoded_size, plain_size) = (self.source.encoded_size(), self.source.plain_size());
        let before = self.budget.work();
        if !self.budget.charge(recipe.encoding_work(plain_size).setup) {
            return 0;
        }
        let Ok((mut encoded, mut plain)) = self.source.readers() else { return 0 };
        let mut output = Compare::new(&mut encoded);
        let charge = |units| self.budget.take(units);
        let is_made = encode_charged(&recipe, &mut plain, plain_size, &mut output, &charge).is_ok();
        let matched = output.matched();
        if is_made && matched == encoded_size {
            self.work = before - self.budget.work();
        }
        // An encoder that failed behind the last byte has not made the stream.
        if is_made { matched } else { matched.min(encoded_size.saturating_sub(1)) }
    }
}
