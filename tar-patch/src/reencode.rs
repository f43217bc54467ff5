//! Encodes stretches of the target, and makes relocated files of it, on several threads, and writes them in their order
//! (tardf3).

mod stretch;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::Scope;

use delta_format::{Budget, Error, Reencoding, Relocation, Result, Sink, StreamWork};

use stretch::Stretch;

/// Bytes that wait to be encoded or written, at most, beside the stretch that comes next.
const MAX_WAITING: usize = 32 << 20;
/// Most memory of the encoders of all stretches that wait, in bytes.
const MAX_ENCODERS_MEMORY: u64 = 1 << 30;
/// Most bytes of a relocated file, of its source and of its payload together for which it is made as a whole. A larger
/// one is handed on in pieces.
const MAX_WHOLE: usize = MAX_WAITING / 2;
/// Pieces of a file that wait to be written, at most.
const MAX_PIECES: usize = 16;
/// Most bytes of the source of a relocated file and of its payload with which the next op is read before it is made: the
/// next may be as large.
const MAX_AHEAD: usize = 64 << 20;
/// The waiting bytes that such a file counts for, so that there are two at a time.
const LARGE: usize = MAX_WAITING / 2;

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
    /// A file that a worker hands on in pieces, which end with it.
    Streamed(Receiver<Result<Vec<u8>>>),
}

/// A piece of work for a worker, and where its result goes.
enum Job<'e> {
    Whole { task: Task<'e>, made: Sender<Result<Made>> },
    Streamed { relocation: Relocation, pieces: SyncSender<Result<Vec<u8>>> },
}

impl Job<'_> {
    /// Nobody waits for the result if the delta turned out to be broken.
    fn run(self, max_output: u64) {
        match self {
            Self::Whole { task, made } => {
                let _ = made.send(task.run(max_output));
            }
            Self::Streamed { relocation, pieces } => {
                let gone = |_| Error::Output(io::ErrorKind::BrokenPipe.into());
                let result = relocation.make(|piece| pieces.send(Ok(piece.to_vec())).map_err(gone));
                if let Err(error) = result {
                    let _ = pieces.send(Err(error));
                }
            }
        }
    }
}

/// The bytes that a worker makes as a whole.
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
            while let Some(job) = next() {
                job.run(max_output);
            }
        });
    }

    /// Gives a task to the workers. It holds so many bytes, and so much memory of an encoder.
    fn order(&mut self, task: Task<'e>, held: usize, memory: u64) -> Result<()> {
        // First, so that what waits and this one together are bounded.
        let max_memory = MAX_ENCODERS_MEMORY.saturating_sub(memory);
        self.drain(MAX_WAITING.saturating_sub(held).max(1), max_memory)?;
        let (made, result) = channel();
        self.send(Job::Whole { task, made });
        self.waiting.push_back(Piece::Ordered { held, memory, made: result });
        self.waiting_size += held;
        self.waiting_memory += memory;
        Ok(())
    }

    /// Gives a large file to the workers.
    fn stream(&mut self, relocation: Relocation) -> Result<()> {
        self.drain(MAX_WAITING - LARGE, u64::MAX)?;
        let is_awaited = relocation.held() > MAX_AHEAD;
        let (pieces, result) = sync_channel(MAX_PIECES);
        self.send(Job::Streamed { relocation, pieces });
        self.waiting.push_back(Piece::Streamed(result));
        self.waiting_size += LARGE;
        if is_awaited { self.drain(0, 0) } else { Ok(()) }
    }

    fn send(&mut self, job: Job<'e>) {
        self.start_worker();
        self.jobs.send(job).expect("the queue lives as long as this sink");
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
                Some(Piece::Streamed(pieces)) => {
                    self.waiting_size -= LARGE;
                    for piece in pieces {
                        self.write_out(&piece?)?;
                    }
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
        if held > MAX_WHOLE {
            return self.stream(relocation);
        }
        self.order(Task::Relocate(relocation), held, 0)
    }

    fn finish(&mut self) -> Result<u64> {
        self.drain(0, 0)?;
        Ok(self.encoded)
    }
}
