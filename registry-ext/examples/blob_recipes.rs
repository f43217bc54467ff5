//! Shows the blobs of layers that can be made again of their tars, and the bytes of their recipes.
//!
//! ```sh
//! cargo run --release -p registry-ext --example blob_recipes -- BLOB...
//! ```
//!
//! Prints for each its size, that of its recipe, and their share in percent, or why there is none;
//! separated by tabs.

use std::io::Write;
use std::path::Path;

use layer::{Spool, SpoolOptions};
use registry_ext::Error;
use registry_ext::blob_recipe::BlobRecipe;

#[expect(
    clippy::disallowed_methods,
    reason = "it prints nothing that comes from outside but its own arguments"
)]
fn main() -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    for path in std::env::args().skip(1) {
        let blob = std::fs::read(&path)?;
        let tar = Spool::open(Path::new(&path), &SpoolOptions::default())?;
        match BlobRecipe::find(&blob, &tar) {
            Ok(recipe) => {
                let size = recipe.to_bytes().len();
                let share = 100.0 * size as f64 / blob.len() as f64;
                writeln!(output, "{path}\t{}\t{size}\t{share:.4}%\texact", blob.len())?;
            }
            Err(Error::NoRecipe(refusal)) => writeln!(output, "{path}\t{}\t\t\t{refusal}", blob.len())?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
