//! Ops: read, applied, and applied by somebody else's applier, too.

use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom, Write};
use std::num::NonZeroUsize;

use delta_format::{CorruptKind, Error as DeltaError, Op, OpReader};
use explain::Summary;
use layer::{DiffId, Digest};
use oci_delta::{DeltaDataSource, tar_patch_apply};
use tar_patch::{Applied, ApplyOptions, Error, apply as patch};

use crate::Input;
use crate::delta::{Files, VERSIONS, delta};

/// Whatever bytes a delta has, reading it ends; what reads all of it and what sums it up agree on
/// whether it is whole, and on how much there is.
pub fn op_reader(data: &[u8]) {
    let mut input = Input::new(data);
    // The fourth choice is a delta as it comes, with a frame that may be broken.
    let version = VERSIONS.get(usize::from(input.within(0..=3)));
    let delta = version.map_or(input.rest().to_vec(), |version| delta(*version, input.rest()));
    match (read_all(&delta), Summary::read(delta.as_slice())) {
        (Ok((ops, size)), Ok(summary)) => {
            assert_eq!(summary.stream_size, size);
            assert_eq!(summary.by_kind().iter().map(|(_, totals)| totals.ops).sum::<u64>(), ops);
            assert!(summary.data.payload.saturating_add(summary.add_data.payload) <= size);
        }
        (Err(_), Err(_)) => {}
        (read, summary) => panic!("{read:?} is not {summary:?}"),
    }
}

/// Reads every other payload and skips the others. Gives the number of ops and of bytes.
fn read_all(delta: &[u8]) -> delta_format::Result<(u64, u64)> {
    let mut reader = OpReader::new(delta)?;
    let (mut ops, mut position) = (0, 0);
    while let Some(op) = reader.next_op()? {
        assert_eq!(reader.op_index(), ops);
        assert!(reader.position() > position, "an op takes bytes");
        position = reader.position();
        ops += 1;
        if ops % 2 == 0 {
            let mut payload = reader.payload();
            let mut left = op.payload_size();
            while let Ok(bytes @ [_, ..]) = payload.fill_buf() {
                let size = bytes.len();
                payload.consume(size);
                left = left.checked_sub(size as u64).expect("no more than the payload");
            }
        }
    }
    Ok((ops, reader.position()))
}

/// Applying ends within the bound, whatever the ops and the sources are; what it says of the output is
/// so, and one byte less is too little for it.
pub fn apply(data: &[u8]) {
    let mut input = Input::new(data);
    let version = *input.pick(&VERSIONS);
    let max_output = u64::from(input.word());
    let files = Files::take(&mut input);
    check_apply(&delta(version, input.rest()), &files, max_output);
}

/// The law of [`apply`]. Gives the output, if there is one.
pub(crate) fn check_apply(delta: &[u8], files: &Files<'_>, max_output: u64) -> Option<Vec<u8>> {
    let (applied, output) = run(delta, files, max_output, None);
    assert!(output.len() as u64 <= max_output, "{} bytes of {max_output}", output.len());
    let applied = applied.ok()?;
    let diff_id = DiffId(Digest::of(&output));
    assert_eq!(applied, Applied { diff_id, size: output.len() as u64 });
    let (again, same) = run(delta, files, applied.size, Some(diff_id));
    assert!(again.is_ok() && same == output, "{again:?}");
    if let Some(less) = applied.size.checked_sub(1) {
        assert!(run(delta, files, less, None).0.is_err());
    }
    Some(output)
}

fn run(
    delta: &[u8],
    files: &Files<'_>,
    max_output: u64,
    expected: Option<DiffId>,
) -> (Result<Applied, Error>, Vec<u8>) {
    let options = ApplyOptions::default().expected(expected).max_output(max_output).jobs(NonZeroUsize::MIN);
    let mut output = Vec::new();
    let applied = patch(delta, &mut files.clone(), options, &mut output);
    (applied, output)
}

/// Our applier and the crate `oci-delta` give the same bytes for a delta, or both refuse it, but for
/// what [`is_stricter`] and [`is_stricter_there`] name.
pub fn differential(data: &[u8]) {
    let mut input = Input::new(data);
    let version = *input.pick(&VERSIONS[..2]);
    let max_output = u64::from(input.word());
    let files = Files::take(&mut input);
    let delta = delta(version, input.rest());
    let (ours, output) = run(&delta, &files, max_output, None);
    let mut sources = Sources { files: &files, current: None };
    let mut theirs = Bounded { bytes: Vec::new(), max: usize::try_from(max_output).unwrap_or(0) };
    let of_theirs = tar_patch_apply(delta.as_slice(), &mut sources, &mut theirs);
    match (ours, of_theirs) {
        (Ok(_), Ok(())) => assert!(output == theirs.bytes, "other bytes"),
        (Ok(_), Err(error)) => assert!(is_stricter_there(&error), "they refuse: {error:#}"),
        (Err(error), Ok(())) => assert!(is_stricter(&error, &delta), "we refuse: {error:?}"),
        (Err(_), Err(_)) => {}
    }
}

/// What FORMAT.md forbids and oci-delta leaves to its sources, does not bound (work, too), or does not see: that a
/// delta ends inside a zstd_dict op, but behind its frame, and that such a frame says a false size.
fn is_stricter(error: &Error, delta: &[u8]) -> bool {
    let kind = match error {
        Error::Delta(DeltaError::Corrupt { kind, .. }) => kind,
        Error::Delta(DeltaError::TooLarge { what, .. }) => return *what == "the frame of a zstd_dict op",
        Error::Delta(DeltaError::OverBudget(_)) => return true,
        _ => return false,
    };
    match kind {
        CorruptKind::Path(_) | CorruptKind::Idle | CorruptKind::FrameSize { .. } => true,
        CorruptKind::Truncated => matches!(last_op(delta), Some(Op::ZstdDict { .. })),
        _ => false,
    }
}

/// The last op that can be read.
fn last_op(delta: &[u8]) -> Option<Op> {
    let mut reader = OpReader::new(delta).ok()?;
    std::iter::from_fn(|| reader.next_op().ok().flatten()).last()
}

/// Paths are bytes here, text there.
fn is_stricter_there(error: &anyhow::Error) -> bool {
    error.to_string().contains("UTF-8")
}

/// The files as oci-delta asks for them.
struct Sources<'f> {
    files: &'f Files<'f>,
    current: Option<Cursor<&'f [u8]>>,
}

impl<'f> Sources<'f> {
    fn current(&mut self) -> anyhow::Result<&mut Cursor<&'f [u8]>> {
        self.current.as_mut().ok_or_else(|| anyhow::anyhow!("no file is open"))
    }
}

impl DeltaDataSource for Sources<'_> {
    fn set_current_file(&mut self, path: &str) -> anyhow::Result<()> {
        let content = self.files.find(path.as_bytes());
        self.current = Some(Cursor::new(content.ok_or_else(|| anyhow::anyhow!("no such file"))?));
        Ok(())
    }

    fn read_exact_current(&mut self, bytes: &mut [u8]) -> anyhow::Result<()> {
        Ok(self.current()?.read_exact(bytes)?)
    }

    fn seek_current(&mut self, offset: u64) -> anyhow::Result<u64> {
        Ok(self.current()?.seek(SeekFrom::Start(offset))?)
    }

    fn read_current_to_end(&mut self, max_size: u64) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let current = self.current()?;
        current.rewind()?;
        current.take(max_size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn copy_to(&mut self, output: &mut dyn Write, size: u64) -> anyhow::Result<()> {
        let copied = io::copy(&mut self.current()?.take(size), output)?;
        anyhow::ensure!(copied == size, "the source is short");
        Ok(())
    }
}

/// An output that refuses to grow past a bound, as ours does.
pub(crate) struct Bounded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) max: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
