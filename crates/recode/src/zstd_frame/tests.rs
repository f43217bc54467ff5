use super::*;
use crate::Recipe;

/// The memory that an applier grants; it encodes with no recipe that says more.
const GRANTED: u64 = 256 << 20;

/// The tables of level 22 take 640 MiB, whatever the window.
#[test]
fn a_small_window_does_not_hide_the_tables_of_a_level() {
    let recipe = Recipe::parse(&[3, 22, 0, 16]).expect("level 22 with a window of 64 KiB");
    assert_eq!(recipe.codec(), Codec::Zstd);
    assert!(recipe.memory() > 640 << 20, "{}", recipe.memory());
}

/// The numbers are levels, windows, jobs, and the MiB that encoding noise with threads took.
#[test]
fn jobs_take_about_what_was_measured() {
    for (level, long, job, measured) in [
        (12, 0, 16, 139),
        (15, 0, 16, 163),
        (19, 0, 32, 242),
        (12, 10, 32, 243),
        (3, 27, 2, 150),
        (9, 27, 8, 197),
        (12, 27, 32, 347),
    ] {
        let plan = Plan { level, has_size: false, has_checksum: false, is_threaded: true, long };
        assert_eq!(plan.job(), job << 20, "{plan:?}");
        let most = measured << 20;
        assert!((most..most * 3 / 2).contains(&plan.memory()), "{plan:?}: {}", plan.memory() >> 20);
    }
}

/// The buffer of jobs and what is made of one of them are larger than the tables.
#[test]
fn threads_take_no_more_than_is_said_over_several_jobs() {
    let plain_size = 104 << 20;
    for level in [17, 19] {
        let plan = Plan { level, has_size: false, has_checksum: false, is_threaded: true, long: 0 };
        let mut encoder = plan.encoder(plain_size).expect("parameters of libzstd");
        let mut zeros = std::io::repeat(0);
        let mut plain = Plain::new(&mut zeros, plain_size);
        plan.encode_by(&mut encoder, &mut plain, &mut std::io::sink()).expect("all is read");
        let size = encoder.sizeof() as u64;
        assert!(size <= plan.memory() && plan.memory() <= GRANTED, "{level}: {size}, {}", plan.memory());
    }
}

#[test]
fn no_encoder_takes_more_than_it_says() {
    let plain = vec![7; 4 * BUFFER_SIZE];
    let mut granted = 0;
    for level in 1..=22 {
        for long in [0, 10, 16, 22, 25, 27] {
            for flags in [0_u8, 1, 4, 5] {
                let plan = Plan {
                    level,
                    has_size: flags & 1 != 0,
                    has_checksum: false,
                    is_threaded: flags & 4 != 0,
                    long,
                };
                if plan.memory() > GRANTED {
                    continue;
                }
                let mut encoder = plan.encoder(plain.len() as u64).expect("parameters of libzstd");
                let mut made = vec![0; plain.len()];
                let (mut input, mut output) =
                    (InBuffer::around(&plain), OutBuffer::around(made.as_mut_slice()));
                encoder
                    .compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_continue)
                    .expect("there is room");
                let size = encoder.sizeof() as u64;
                assert!(size <= plan.memory(), "{plan:?}: {size}, not {}", plan.memory());
                granted += 1;
            }
        }
    }
    assert!(granted > 200, "{granted}");
}
