//! The hash of a string: what the instruction of SSE4.2 for CRC-32C makes of four bytes.

/// The polynomial of Castagnoli, lowest bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The remainders of each byte with so many bytes of zeros behind it.
static TABLES: [[u32; 256]; 4] = {
    let mut tables = [[0; 256]; 4];
    let mut zeros = 0;
    while zeros < 4 {
        let (mut byte, mut value) = (0, 0_u32);
        while byte < 256 {
            let mut rest = value;
            let mut bit = 0;
            while bit < 8 * (zeros + 1) {
                rest = if rest & 1 == 1 { rest >> 1 ^ POLYNOMIAL } else { rest >> 1 };
                bit += 1;
            }
            tables[zeros][byte] = rest;
            byte += 1;
            value += 1;
        }
        zeros += 1;
    }
    tables
};

pub(super) fn hash(value: u32) -> usize {
    let bytes = value.to_le_bytes().into_iter().rev();
    bytes.zip(&TABLES).fold(0, |rest, (byte, table)| rest ^ table[usize::from(byte)]) as usize
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_crc_32c_without_inversions() {
        // The check value of CRC-32C is that of the digits 1 to 9 with all bits inverted before and behind.
        let first = u32::from_le_bytes(*b"1234") ^ u32::MAX;
        let second = u32::from_le_bytes(*b"5678");
        let rest = u32::try_from(super::hash(first)).unwrap() ^ second;
        let rest = u32::try_from(super::hash(rest)).unwrap();
        let rest = rest >> 8 ^ super::TABLES[0][usize::from(rest.to_le_bytes()[0] ^ b'9')];
        assert_eq!(rest ^ u32::MAX, 0xe306_9283);
    }
}
