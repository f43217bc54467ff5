//! The frames of tardf2: zstd with the whole source as raw prefix, as `zstd --patch-from` makes them.

use std::io::{self, Write};

use zstd::stream::raw::CParameter;

use crate::wire::MAX_WINDOW_LOG;

/// Makes the frame that decodes to `target` with `source` as its raw prefix: the payload of a `zstd_dict` op.
/// `level` is a zstd level, 1 to 22.
///
/// # Errors
/// If zstd runs out of memory.
pub fn zstd_dict_frame(source: &[u8], target: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::with_ref_prefix(Vec::new(), level, source)?;
    // A window over both lets every byte of the target reach every byte of the source.
    let both = (source.len() + target.len()).next_power_of_two().trailing_zeros();
    encoder.set_parameter(CParameter::WindowLog(both.clamp(10, MAX_WINDOW_LOG)))?;
    encoder.long_distance_matching(true)?;
    encoder.set_pledged_src_size(Some(target.len() as u64))?;
    encoder.write_all(target)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_decodes_with_its_source() {
        let source: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        let mut target = source.clone();
        target.splice(1000..1010, *b"a change");
        let frame = zstd_dict_frame(&source, &target, 3).unwrap();
        assert!(frame.len() < 500, "{}", frame.len());
        let mut decoder = zstd::Decoder::with_ref_prefix(frame.as_slice(), &source).unwrap();
        let mut decoded = Vec::new();
        io::copy(&mut decoder, &mut decoded).unwrap();
        assert_eq!(decoded, target);
    }
}
