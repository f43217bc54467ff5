//! Encodes stretches of the target, and makes relocated files of it, on several threads, and writes them in their order
//! (tardf3).

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;

use delta_format::wire::MAX_ENCODER_MEMORY;
use delta_format::{Budget, Error, Exhausted, Reencoding, Relocation, Result, Sink, StreamWork};
use recode::{Codec, Recipe};

/// Bytes that wait to be encoded or written, at most, beside the stretch that comes next.
const MAX_WAITING: usize = 32 << 20;
/// Most memory of the encoders of all stretches that wait, in bytes.
const MAX_ENCODERS_MEMORY: u64 = 1 << 30;
/// Bytes that an encoded stretch may have over twice its plain bytes: what encoders write that find
/// nothing to compress, with room for their framing. The stretches in a stretch may have so many over
/// the bytes that ops emit for it, all together.
const MAX_GROWTH: u64 = 1 << 20;

/// Most bytes of a relocated file, of its source and of its payload together that a worker makes: what comes
/// after a larger one would wait for it anyway, and its memory is better not held twice.
const MAX_RELOCATED: usize = MAX_WAITING / 2;

/// A [`Sink`] that encodes.
///
/// Stretches and relocated files go to the workers of a thread scope; what comes after them waits in memory.
pub(crate) struct Reencoder<'s, 'e, 'o> {
    scope: &'s Scope<'s, 'e>,
    output: &'o mut dyn Write,
    max_output: u64,
    budget: &'e Budget,
    /// Workers that may still be started.
    workers_left: usize,
    /// The queue that workers take from; they end when the sender is dropped.
    queue: Arc<Mutex<Receiver<Job<'e>>>>,
    jobs: Sender<Job<'e>>,
    /// Pieces of the target in order.
    waiting: VecDeque<Piece>,
    /// Bytes of the pieces, as they are before they are encoded.
    waiting_size: usize,
    /// Memory of the encoders of the stretches among them.
    waiting_memory: u64,
    /// Bytes that were written, and those of them that were encoded.
    written: u64,
    encoded: u64,
}

/// A piece of the target.
enum Piece {
    Bytes(Vec<u8>),
    /// To be made by a worker, which takes so many bytes and so much memory of an encoder.
    Ordered {
        held: usize,
        memory: u64,
        made: Receiver<Result<Made>>,
    },
}

/// A piece of work for a worker.
struct Job<'e> {
    task: Task<'e>,
    made: Sender<Result<Made>>,
}

/// The bytes that a worker makes.
enum Task<'e> {
    /// A stream of these plain bytes.
    Encode { stretch: Stretch, work: StreamWork<'e>, plain: Vec<u8> },
    /// A file of a source.
    Relocate(Relocation),
}

impl Task<'_> {
    fn run(self, max_output: u64) -> Result<Made> {
        match self {
            Self::Encode { stretch, work, plain } => {
                let bytes = stretch.encode(plain, max_output, &work)?;
                Ok(Made { encoded: bytes.len() as u64, bytes, overdraft: work.overdraft() })
            }
            Self::Relocate(relocation) => {
                let mut bytes = Vec::with_capacity(relocation.size());
                relocation.make(|piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                })?;
                Ok(Made { bytes, encoded: 0, overdraft: 0 })
            }
        }
    }
}

/// A stream or a file. Of a stream its size, too, and the work that it took over what its bytes are granted.
struct Made {
    bytes: Vec<u8>,
    encoded: u64,
    overdraft: u64,
}

/// A [`Reencoding`] whose recipes were read.
struct Stretch {
    size: u64,
    gap: u64,
    recipe: Recipe,
    inner: Vec<Self>,
}

impl<'s, 'e, 'o> Reencoder<'s, 'e, 'o> {
    pub(crate) fn new(
        scope: &'s Scope<'s, 'e>,
        jobs: NonZeroUsize,
        max_output: u64,
        budget: &'e Budget,
        output: &'o mut dyn Write,
    ) -> Self {
        let (sender, receiver) = channel();
        Self {
            scope,
            output,
            max_output,
            budget,
            workers_left: jobs.get(),
            queue: Arc::new(Mutex::new(receiver)),
            jobs: sender,
            waiting: VecDeque::new(),
            waiting_size: 0,
            waiting_memory: 0,
            written: 0,
            encoded: 0,
        }
    }

    /// Starts one more worker, if there may be one.
    fn start_worker(&mut self) {
        if self.workers_left == 0 {
            return;
        }
        self.workers_left -= 1;
        let (queue, max_output) = (Arc::clone(&self.queue), self.max_output);
        self.scope.spawn(move || {
            // The lock is held while waiting for a job, not while one is done.
            let next = || queue.lock().ok()?.recv().ok();
            while let Some(Job { task, made }) = next() {
                // Nobody waits for it if the delta turned out to be broken.
                let _ = made.send(task.run(max_output));
            }
        });
    }

    /// Gives a task to the workers. It holds so many bytes, and so much memory of an encoder.
    fn order(&mut self, task: Task<'e>, held: usize, memory: u64) -> Result<()> {
        // First, so that what waits and this one together are bounded.
        let max_memory = MAX_ENCODERS_MEMORY.saturating_sub(memory);
        self.drain(MAX_WAITING.saturating_sub(held).max(1), max_memory)?;
        self.start_worker();
        let (made, result) = channel();
        self.jobs.send(Job { task, made }).expect("the queue lives as long as this sink");
        self.waiting.push_back(Piece::Ordered { held, memory, made: result });
        self.waiting_size += held;
        self.waiting_memory += memory;
        Ok(())
    }

    fn write_out(&mut self, bytes: &[u8]) -> Result<()> {
        let size = self.written.saturating_add(bytes.len() as u64);
        if size > self.max_output {
            return Err(Error::TooLarge { what: "the output", size, max: self.max_output });
        }
        self.written = size;
        self.output.write_all(bytes).map_err(Error::Output)
    }

    /// Writes the pieces that come next until at most `max` bytes wait, with encoders of at most
    /// `max_memory`.
    fn drain(&mut self, max: usize, max_memory: u64) -> Result<()> {
        let waits = |sink: &Self| sink.waiting_size > max || sink.waiting_memory > max_memory;
        while waits(self) || max == 0 && !self.waiting.is_empty() {
            match self.waiting.pop_front() {
                None => break,
                Some(Piece::Bytes(bytes)) => {
                    self.waiting_size -= bytes.len();
                    self.write_out(&bytes)?;
                }
                Some(Piece::Ordered { held, memory, made }) => {
                    self.waiting_size -= held;
                    self.waiting_memory -= memory;
                    let Made { bytes, encoded, overdraft } =
                        made.recv().expect("a worker answers each job, and outlives the queue")?;
                    self.budget.settle(overdraft)?;
                    self.encoded += encoded;
                    self.write_out(&bytes)?;
                }
            }
        }
        Ok(())
    }
}

impl Sink for Reencoder<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.waiting.is_empty() {
            return self.write_out(bytes);
        }
        match self.waiting.back_mut() {
            Some(Piece::Bytes(waiting)) => waiting.extend_from_slice(bytes),
            _ => self.waiting.push_back(Piece::Bytes(bytes.to_vec())),
        }
        self.waiting_size += bytes.len();
        self.drain(MAX_WAITING, u64::MAX)
    }

    fn reencode(&mut self, stretch: Reencoding, plain: Vec<u8>) -> Result<()> {
        let work = self.budget.stream();
        let stretch = Stretch::new(stretch, &work)?;
        let (held, memory) = (plain.len(), stretch.memory());
        self.order(Task::Encode { stretch, work, plain }, held, memory)
    }

    fn relocate(&mut self, relocation: Relocation) -> Result<()> {
        let held = relocation.held() + relocation.size();
        if held > MAX_RELOCATED {
            return relocation.make(|piece| self.write(piece));
        }
        self.order(Task::Relocate(relocation), held, 0)
    }

    fn finish(&mut self) -> Result<u64> {
        self.drain(0, 0)?;
        Ok(self.encoded)
    }
}

impl Stretch {
    /// Reads all recipes: an encoder that is not known is told before anything is encoded. Charges what
    /// it takes to set the encoders up, of each before the next recipe is read: a recipe is larger in
    /// memory than on the wire.
    fn new(stretch: Reencoding, work: &StreamWork<'_>) -> Result<Self> {
        let recipe = Recipe::parse(&stretch.recipe).map_err(failed)?;
        drop(stretch.recipe);
        let (what, size, max) = ("the memory of an encoder", recipe.memory(), MAX_ENCODER_MEMORY);
        if size > max {
            return Err(Error::TooLarge { what, size, max });
        }
        work.charge(recipe.encoding_work(stretch.size).setup)?;
        let inner = stretch.inner.into_iter().map(|inner| Self::new(inner, work)).collect::<Result<_>>()?;
        Ok(Self { size: stretch.size, gap: stretch.gap, recipe, inner })
    }

    /// Memory that encoding takes, in bytes: one encoder after the other.
    fn memory(&self) -> u64 {
        self.inner.iter().map(Self::memory).fold(encoder_memory(&self.recipe), u64::max)
    }

    /// Encodes what ops emitted, inner stretches first.
    fn encode(&self, emitted: Vec<u8>, max_output: u64, work: &StreamWork<'_>) -> Result<Vec<u8>> {
        let plain = if self.inner.is_empty() { emitted } else { self.encode_inner(&emitted, work)? };
        self.encode_plain(&plain, max_output, work, true)
    }

    /// Encodes plain bytes to at most `max` bytes. Only those that lie in no other stretch are bytes of the
    /// target, for which work is granted.
    fn encode_plain(
        &self,
        plain: &[u8],
        max: u64,
        work: &StreamWork<'_>,
        is_outermost: bool,
    ) -> Result<Vec<u8>> {
        let plain_size = plain.len() as u64;
        let max = max.min(2 * plain_size + MAX_GROWTH);
        let mut encoded = Bounded { bytes: Vec::new(), max, work: is_outermost.then_some(work) };
        let charge = |units| Ok(work.charge(units)?);
        recode::encode_charged(&self.recipe, &mut &*plain, plain_size, &mut encoded, &charge)
            .map_err(failed)?;
        Ok(encoded.bytes)
    }

    /// Encodes the stretches in this one. What they come to is bounded while it grows: many stretches of
    /// no bytes can each make some.
    fn encode_inner(&self, emitted: &[u8], work: &StreamWork<'_>) -> Result<Vec<u8>> {
        // The reader has checked that inner stretches lie in the outer one.
        let part = |position: usize, size: u64| {
            let end = position + usize::try_from(size).expect("within the outer stretch");
            (&emitted[position..end], end)
        };
        let (mut plain, mut position) = (Vec::new(), 0);
        let mut room = emitted.len() as u64 + MAX_GROWTH;
        for inner in &self.inner {
            let (gap, start) = part(position, inner.gap);
            let (emitted, end) = part(start, inner.size);
            plain.extend_from_slice(gap);
            room = room.saturating_sub(gap.len() as u64);
            let within;
            let inner_plain = if inner.inner.is_empty() {
                emitted
            } else {
                within = inner.encode_inner(emitted, work)?;
                &within
            };
            let encoded = inner.encode_plain(inner_plain, room, work, false)?;
            room = room.saturating_sub(encoded.len() as u64);
            plain.extend(encoded);
            position = end;
        }
        plain.extend_from_slice(&emitted[position..]);
        Ok(plain)
    }
}

/// Memory of an encoder in bytes. What deflate takes beside its tables grows with the plain bytes.
fn encoder_memory(recipe: &Recipe) -> u64 {
    if recipe.codec() == Codec::Deflate { 1 << 20 } else { recipe.memory() }
}

fn failed(error: recode::Error) -> Error {
    let exhausted = match &error {
        recode::Error::Io { source, .. } => Exhausted::of(source),
        _ => None,
    };
    exhausted.map_or_else(|| Error::Reencode(Box::new(error)), Error::from)
}

/// A vector that refuses to grow past a bound.
struct Bounded<'w, 'b> {
    bytes: Vec<u8>,
    max: u64,
    /// The work that the bytes are granted, if they are bytes of the target.
    work: Option<&'w StreamWork<'b>>,
}

impl Write for Bounded<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the stream grows past all measure"));
        }
        self.bytes.extend_from_slice(bytes);
        if let Some(work) = self.work {
            work.make(bytes.len() as u64);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
