//! `tar-diff explain DELTA NEW [OLD...]`

mod args;
mod text;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use cli::destination::is_same_file;
use cli::{Misuse, Output, Text};
use layer::{Spool, SpoolOptions};

use super::check;
pub(crate) use args::{AFTER_HELP, ExplainArgs};

const ORDER: &str = "tar-diff explain takes DELTA NEW [OLD...], in this order";

/// Runs what the arguments ask for.
pub(super) fn run(args: &ExplainArgs) -> Result<()> {
    check::delta(&args.delta, ORDER)?;
    check::layers(args.layers(), ORDER)?;
    if let Some(page) = &args.html
        && let Some(input) = args.layers().chain([&args.delta]).find(|input| is_same_file(input, page))
    {
        let text = format!("the page would replace `{}`: choose another name for --html", input.display());
        return Err(Misuse(text).into());
    }
    let options = SpoolOptions::default().temp_dir(args.temp_dir());
    let delta = open_delta(&args.delta, &options.temp_dir)?;
    let mut page = args.html.as_deref().map(Output::create).transpose()?;
    let new = Spool::open(&args.new, &options)?;
    let old = args.old.iter().map(|path| Spool::open(path, &options)).collect::<layer::Result<Vec<_>>>()?;
    old.iter().chain([&new]).try_for_each(layer::check_is_layer)?;
    let mut explanation = ::explain::explain(delta, &new, &old)?;

    let takes_stdout = page.as_ref().is_some_and(Output::is_stdout);
    if let Some(mut page) = page.take() {
        page.write_all(explanation.html(&args.delta.display().to_string(), args.top()).as_bytes())?;
        page.commit()?;
    }
    let text = if args.json {
        explanation.files.retain(|file| file.cost.total > 0);
        explanation.files.truncate(args.json_top());
        Text::json(&explanation)?
    } else if args.html.is_some() {
        return Ok(());
    } else {
        text::text(&explanation, args.top())
    };
    if takes_stdout {
        text.print_to_stderr();
        return Ok(());
    }
    Ok(text.print()?)
}

/// A delta that can be read twice at once: what is no regular file is spooled to one.
fn open_delta(path: &Path, temp_dir: &Path) -> Result<FromStart> {
    let spool = |input: &mut dyn Read| -> Result<File> {
        let mut file = tempfile::tempfile_in(temp_dir)
            .with_context(|| format!("cannot make a temporary file in {}", temp_dir.display()))?;
        io::copy(input, &mut file).with_context(|| format!("cannot read the delta {}", path.display()))?;
        Ok(file)
    };
    let file = if path == Path::new("-") {
        spool(&mut io::stdin().lock())?
    } else {
        let mut file =
            File::open(path).with_context(|| format!("cannot open the delta {}", path.display()))?;
        if file.metadata()?.is_file() { file } else { spool(&mut file)? }
    };
    Ok(FromStart { file: Arc::new(file), position: 0 })
}

/// Reads a file from its start, with a position of its own.
#[derive(Clone)]
struct FromStart {
    file: Arc<File>,
    position: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}
