//! Shows the blobs of layers that can be made again of their tars, and the bytes of their recipes.
//!
//! ```sh
//! cargo run --release -p registry-ext --example blob_recipes -- BLOB...
//! ```
//!
//! Prints for each its size, that of its recipe, and their share in percent, or why there is none;
//! separated by tabs.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use layer::{Digest, Spool, SpoolOptions};
use registry_ext::Error;
use registry_ext::blob_recipe::BlobRecipe;

#[expect(
    clippy::disallowed_methods,
    reason = "it prints nothing that comes from outside but its own arguments"
)]
fn main() -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    for path in std::env::args().skip(1) {
        let file = File::open(&path)?;
        let size = file.metadata()?.len();
        let (digest, _) = Digest::of_reader(&file)?;
        let tar = Spool::open(Path::new(&path), &SpoolOptions::default())?;
        match BlobRecipe::find(&Spool::of_file(path.clone(), file, size), digest, &tar) {
            Ok(recipe) => {
                let recipe_size = recipe.to_bytes().len();
                let share = 100.0 * recipe_size as f64 / size as f64;
                writeln!(output, "{path}\t{size}\t{recipe_size}\t{share:.4}%\texact")?;
            }
            Err(Error::NoRecipe(refusal)) => writeln!(output, "{path}\t{size}\t\t\t{refusal}")?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
