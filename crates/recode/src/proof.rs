//! The search for the recipe of a stream, and its proof: the stream is made and compared.

mod zstd;

use crate::compare::{Compare, Files, Slices, Source};
use crate::recipe::{Encoder, Recipe};
use crate::{Budget, Codec, Part, Refused, bzip2_stream, chunked, deflate, encode_charged, xz};

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
