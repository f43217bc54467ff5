//! The parts of the encoder of each number.

use std::collections::VecDeque;

use super::double::Double;
use super::groups::Outline;
use super::igzip::Igzip;
use super::lazy::{Lazy, Version};
use super::libdeflate::Libdeflate;
use super::long::{Compared, Long};
use super::ng::Ng;
use super::numbers::{
    GO_1_26, IGZIP, KLAUSPOST_1_15, KLAUSPOST_1_17, LIBDEFLATE, LIBDEFLATE_1_18, LITERALS, PGZIP_1_11,
    PGZIP_1_15, PGZIP_1_17, PGZIP_1_18, PGZIP_ON_1_15, PIGZ, UMOCI, ZLIB_NG, family, is_known, level,
};
use super::parts::{PART_SIZE, Parts, SMALL_PART_SIZE};
use super::pigz::Pigz;
use super::queue::Queue;
use super::recent::Recent;
use super::single::Single;
use super::writer::{Contents, Manner, Writer};
use super::{Ahead, CHUNK_SIZE, Finder, LITERALS_CHUNK_SIZE};

impl Ahead {
    /// The encoder of a number, if it has one.
    pub(in super::super) fn of(number: u8) -> Option<Self> {
        if !is_known(number) {
            return None;
        }
        let (family, level) = (family(number), level(number));
        let (finder, manner) = match family {
            ZLIB_NG => {
                let finder = Ng::new(level);
                let manner = if finder.is_quick() { Manner::Static } else { Manner::OfZlib };
                (Finder::Ng(Box::new(finder)), manner)
            }
            LIBDEFLATE | LIBDEFLATE_1_18 => {
                let is_earlier = family == LIBDEFLATE_1_18;
                let finder = Libdeflate::new(level, is_earlier);
                (Finder::Libdeflate(Box::new(finder)), Manner::OfLibdeflate { is_earlier })
            }
            IGZIP => {
                let manner = if level == 0 { Manner::Preset } else { Manner::OfIgzip };
                (Finder::Igzip(Box::new(Igzip::new(level))), manner)
            }
            PIGZ => (Finder::Pigz(Box::new(Pigz::new(level))), Manner::OfPigz),
            _ => Self::of_go(family, level),
        };
        let part_size = match family {
            PGZIP_1_18 | PGZIP_1_17 | PGZIP_ON_1_15 | PGZIP_1_15 | PGZIP_1_11 => Some(PART_SIZE),
            UMOCI => Some(SMALL_PART_SIZE),
            _ => None,
        };
        let is_of_literals = level == LITERALS && family != GO_1_26;
        Some(Self {
            finder,
            manner,
            chunk_size: if is_of_literals { LITERALS_CHUNK_SIZE } else { CHUNK_SIZE },
            writer: Writer::new(manner),
            queue: Queue::default(),
            outline: Outline::of(Contents::Plain, false),
            is_flush: false,
            groups: VecDeque::new(),
            parts: part_size.map(Parts::new),
            parsed: 0,
            is_last: false,
        })
    }

    /// The parts of an encoder of Go, klauspost/compress or klauspost/pgzip.
    fn of_go(family: u8, level: u8) -> (Finder, Manner) {
        let is_new = family != GO_1_26;
        let version = match family {
            GO_1_26 => Version::Go,
            KLAUSPOST_1_15 | PGZIP_ON_1_15 => Version::Klauspost,
            _ => Version::New,
        };
        let is_earlier = version == Version::Klauspost
            || matches!(family, KLAUSPOST_1_17 | PGZIP_1_17 | PGZIP_1_15 | PGZIP_1_11 | UMOCI);
        let finder = match (is_new, level) {
            _ if family == PGZIP_1_15 => Finder::EarlierFive(Double::new()),
            _ if matches!(family, PGZIP_1_11 | UMOCI) => Finder::EarliestFive(Double::new()),
            (_, LITERALS) => Finder::Literals,
            (true, 1) => Finder::One(Single::new()),
            (true, 2) => Finder::Two(Single::new()),
            (true, 3) => Finder::Three(Recent::new()),
            (true, 4) => {
                Finder::Four(Long::new(if is_earlier { Compared::Matches } else { Compared::Distance }))
            }
            (true, 5) => Finder::Five(Double::new()),
            (true, 6) => Finder::Six(Double::new()),
            (false, 1) => Finder::Go(Single::new()),
            (_, level) => Finder::Lazy(Box::new(Lazy::new(level, version))),
        };
        let manner = match (is_new, level) {
            (true, LITERALS) => Manner::GoingOn { penalty: 10, is_earlier },
            (true, 7..) => Manner::GoingOn { penalty: 8, is_earlier },
            (true, _) => Manner::GoingOn { penalty: 7, is_earlier },
            (false, 1 | LITERALS) => Manner::Alone,
            (false, _) => Manner::Compared,
        };
        (finder, manner)
    }
}
