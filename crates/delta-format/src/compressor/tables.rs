//! The tables in which zstd remembers strings, no larger than the input can fill.
//!
//! zstd makes the tables of a level for an input of any size, and clears them for each job: 80 MiB at level 19
//! and 640 MiB at level 22, even for one kilobyte. It would fit them to the input itself if it knew the size,
//! but then it writes the size into the frame and takes other parameters for small inputs, which changes deltas.

use super::{Effort, Encoding};

/// The first level at which zstd keeps strings in trees, for inputs of any size.
const MIN_TREE_LEVEL: i32 = 13;
/// Levels and the base-2 logarithms of their links and hashes (zstd 1.5.7, `clevels.h`, inputs of any size).
const LEVELS: [(i32, u32, u32); 10] = [
    (13, 22, 22),
    (14, 22, 23),
    (15, 23, 23),
    (16, 22, 22),
    (17, 23, 22),
    (18, 23, 22),
    (19, 24, 22),
    (20, 25, 23),
    (21, 26, 24),
    (22, 27, 25),
];
/// Hashes for each byte of the input, as a base-2 logarithm: with fewer, strings that have nothing in common
/// share a tree, and the search in it ends before the best match.
const HASHES_LOG: u32 = 2;
/// The least logarithms, below which tables take next to nothing.
const MIN_LOG: u32 = 17;

/// Base-2 logarithms of the sizes of zstd's tables; 0 takes that of the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tables {
    /// Two links for each string in the trees.
    pub(super) links_log: u32,
    /// The roots of the trees.
    pub(super) hash_log: u32,
}

impl Tables {
    /// Returns the tables for an effort, if zstd looks back at `reach` bytes at most.
    ///
    /// Trees that have a place for each byte that zstd looks back to never drop a string, so that the links
    /// change no byte of the output however many more there are.
    pub(super) fn of(effort: Effort, reach: Option<u64>) -> Self {
        if let Some(links_log) = effort.table_log {
            // The hashes lead to trees of half as many nodes as there are links.
            return Self { links_log, hash_log: links_log - 1 };
        }
        let level = LEVELS.iter().find(|(level, ..)| *level == effort.level);
        match (level, reach) {
            (Some(&(_, links, hashes)), Some(reach)) => {
                let log = (u64::BITS - reach.leading_zeros()).max(MIN_LOG);
                Self { links_log: links.min(log + 1), hash_log: hashes.min(log + HASHES_LOG) }
            }
            _ => Self { links_log: 0, hash_log: 0 },
        }
    }
}

/// Returns the bytes that zstd looks back to at any time, at most: those of the whole stream, or those of a job
/// and of the part of the window before it. `None` if neither is known.
pub(super) fn reach(encoding: &Encoding) -> Option<u64> {
    /// The overlap that is a whole window.
    const WHOLE: u32 = 9;
    if encoding.level < MIN_TREE_LEVEL {
        return None;
    }
    let job = match *encoding {
        Encoding {
            workers: 1..,
            job_size: Some(job),
            overlap_log: Some(log @ 1..=WHOLE),
            window_log: Some(window),
            ..
        } => Some(u64::from(job) + (1 << window.min(crate::wire::MAX_WRITTEN_WINDOW_LOG) >> (WHOLE - log))),
        _ => None,
    };
    job.into_iter().chain(encoding.stream_size).min()
}

#[cfg(test)]
mod tests {
    use zstd::zstd_safe::{CCtx, CParameter};

    use super::*;
    use crate::compressor::Compressor;

    /// Memory of an encoder that has begun, in bytes.
    fn memory(level: i32, tables: Tables) -> usize {
        let mut context = CCtx::create();
        context.set_parameter(CParameter::CompressionLevel(level)).unwrap();
        context.set_parameter(CParameter::WindowLog(17)).unwrap();
        context.set_parameter(CParameter::ChainLog(tables.links_log)).unwrap();
        context.set_parameter(CParameter::HashLog(tables.hash_log)).unwrap();
        let mut output = Vec::with_capacity(1 << 10);
        context
            .compress_stream(
                &mut zstd::zstd_safe::OutBuffer::around(&mut output),
                &mut zstd::zstd_safe::InBuffer::around(b"begun"),
            )
            .unwrap();
        context.sizeof()
    }

    #[test]
    fn the_tables_of_a_level_are_those_of_zstd() {
        for (level, links_log, hash_log) in LEVELS {
            let own = memory(level, Tables { links_log: 0, hash_log: 0 });
            let tables = Tables::of(Effort::of_level(level), Some(u64::MAX));
            assert_eq!(tables, Tables { links_log, hash_log });
            assert_eq!(memory(level, tables), own, "{level}");
            let less = Tables { links_log: links_log - 1, hash_log };
            assert!(memory(level, less) < own, "{level}");
        }
    }

    #[test]
    fn a_small_stream_takes_small_tables_at_every_level() {
        for (level, ..) in LEVELS {
            let tables = Tables::of(Effort::of_level(level), Some(20_000));
            assert!(memory(level, tables) < 6 << 20, "{level}");
        }
    }

    #[test]
    fn tables_that_fit_the_stream_give_the_same_bytes() {
        let mut rng = fixtures::Rng::new(7);
        let text = fixtures::contents::text(&mut rng, 400_000);
        let mixed = [&text[..100_000], &rng.bytes(30_000), &text[50_000..150_000], &[0; 5000]].concat();
        for (level, ..) in LEVELS.into_iter().filter(|(level, ..)| [13, 16, 19, 22].contains(level)) {
            for content in [&text[..1000], &text, &mixed] {
                for workers in [0, 1] {
                    let compressed = |stream_size| {
                        let encoding = Encoding {
                            level,
                            workers,
                            window_log: Some(20),
                            long_distance: level >= 16,
                            stream_size,
                            ..Encoding::default()
                        };
                        let mut compressor = Compressor::new(Vec::new(), encoding).unwrap();
                        compressor.write_all(content).unwrap();
                        compressor.finish(&|_| ()).unwrap()
                    };
                    let fitting = compressed(Some(content.len() as u64));
                    assert!(fitting == compressed(None), "level {level}, {} bytes", content.len());
                }
            }
        }
    }

    #[test]
    fn a_job_reaches_to_its_own_bytes_and_its_overlap() {
        let jobs = Encoding {
            level: 22,
            workers: 1,
            job_size: Some(8 << 20),
            overlap_log: Some(6),
            window_log: Some(25),
            ..Encoding::default()
        };
        assert_eq!(reach(&jobs), Some(12 << 20));
        assert_eq!(reach(&Encoding { stream_size: Some(1000), ..jobs }), Some(1000));
        assert_eq!(reach(&Encoding { workers: 0, ..jobs }), None);
        assert_eq!(reach(&Encoding { level: 12, stream_size: Some(1000), ..jobs }), None);
        assert_eq!(
            Tables::of(Effort::of_level(22), reach(&jobs)),
            Tables { links_log: 25, hash_log: 25 },
            "a place for each of 12 MiB"
        );
    }
}
