//! Checksums: that of zstd frames, which is XXH64 of Yann Collet with no seed, and the tables of CRC-64.

const PRIMES: [u64; 5] = [
    0x9e37_79b1_85eb_ca87,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0x85eb_ca77_c2b2_ae63,
    0x27d4_eb2f_1656_67c5,
];
/// Bytes that are taken at a time.
const STRIPE: usize = 32;

/// The state behind some bytes.
#[derive(Debug, Clone)]
pub(crate) struct Checksum {
    lanes: [u64; 4],
    /// Bytes that are no stripe yet.
    rest: Vec<u8>,
    size: u64,
}

fn eight(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

const fn round(lane: u64, input: u64) -> u64 {
    lane.wrapping_add(input.wrapping_mul(PRIMES[1])).rotate_left(31).wrapping_mul(PRIMES[0])
}

/// Returns the CRC-64 of each byte, for a polynomial whose lowest bit comes first.
pub(crate) const fn crc64_table(polynomial: u64) -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { polynomial ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

impl Checksum {
    pub(crate) fn new() -> Self {
        let both = PRIMES[0].wrapping_add(PRIMES[1]);
        Self { lanes: [both, PRIMES[1], 0, PRIMES[0].wrapping_neg()], rest: Vec::new(), size: 0 }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if !self.rest.is_empty() {
            let (more, left) = bytes.split_at(bytes.len().min(STRIPE - self.rest.len()));
            self.rest.extend_from_slice(more);
            bytes = left;
            if self.rest.len() < STRIPE {
                return;
            }
            let rest = std::mem::take(&mut self.rest);
            self.stripe(&rest);
        }
        let stripes = bytes.chunks_exact(STRIPE);
        self.rest.extend_from_slice(stripes.remainder());
        stripes.for_each(|stripe| self.stripe(stripe));
    }

    fn stripe(&mut self, stripe: &[u8]) {
        for (lane, input) in self.lanes.iter_mut().zip(stripe.chunks_exact(8)) {
            *lane = round(*lane, eight(input));
        }
    }

    /// Returns the bytes that a frame ends with.
    pub(crate) fn finish(&self) -> [u8; 4] {
        let mut hash = PRIMES[4];
        if self.size >= STRIPE as u64 {
            let turned = self.lanes.iter().zip([1, 7, 12, 18]).map(|(lane, by)| lane.rotate_left(by));
            hash = turned.fold(0, u64::wrapping_add);
            for lane in self.lanes {
                hash = (hash ^ round(0, lane)).wrapping_mul(PRIMES[0]).wrapping_add(PRIMES[3]);
            }
        }
        hash = hash.wrapping_add(self.size);
        let words = self.rest.chunks_exact(8);
        let mut rest = words.remainder();
        for word in words {
            hash = (hash ^ round(0, eight(word))).rotate_left(27).wrapping_mul(PRIMES[0]);
            hash = hash.wrapping_add(PRIMES[3]);
        }
        if let Some((four, left)) = rest.split_first_chunk() {
            hash ^= u64::from(u32::from_le_bytes(*four)).wrapping_mul(PRIMES[0]);
            hash = hash.rotate_left(23).wrapping_mul(PRIMES[1]).wrapping_add(PRIMES[2]);
            rest = left;
        }
        for byte in rest {
            hash = (hash ^ u64::from(*byte).wrapping_mul(PRIMES[4])).rotate_left(11).wrapping_mul(PRIMES[0]);
        }
        for (by, prime) in [(33, PRIMES[1]), (29, PRIMES[2])] {
            hash = (hash ^ hash >> by).wrapping_mul(prime);
        }
        hash ^= hash >> 32;
        let [a, b, c, d, ..] = hash.to_le_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_libzstd() {
        let plain: Vec<u8> = (0..100u8).cycle().map(|byte| byte.wrapping_mul(37)).take(700).collect();
        for size in (0..70).chain([255, 256, 700]) {
            let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).expect("an encoder");
            encoder.include_checksum(true).expect("a flag");
            std::io::Write::write_all(&mut encoder, &plain[..size]).expect("memory");
            let frame = encoder.finish().expect("memory");
            let mut checksum = Checksum::new();
            plain[..size].chunks(23).for_each(|part| checksum.update(part));
            assert!(frame.ends_with(&checksum.finish()), "{size}");
        }
    }
}
