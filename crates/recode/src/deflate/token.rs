//! The tokens of a deflate stream: literals and references, and their codes (RFC 1951, 3.2.5).

#![expect(clippy::cast_possible_truncation, reason = "sizes, distances and codes are under 2^16")]

/// Shortest reference in bytes.
pub(super) const MIN_MATCH: usize = 3;
/// Longest reference in bytes.
pub(super) const MAX_MATCH: usize = 258;
/// Most plain bytes of a stored block.
pub(super) const MAX_STORED: usize = u16::MAX as usize;
/// The symbol that ends a block.
pub(super) const END_OF_BLOCK: usize = 256;
pub(super) const LITERAL_CODES: usize = 286;
pub(super) const DISTANCE_CODES: usize = 30;

/// A literal byte, or a reference to earlier bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    /// Bytes back; 0 is a literal.
    distance: u16,
    /// The byte, or the size of the reference.
    value: u16,
}

impl Token {
    pub(super) const fn literal(byte: u8) -> Self {
        Self { distance: 0, value: byte as u16 }
    }

    /// Sizes are 3 to 258, distances 1 to 32768.
    pub(super) const fn reference(size: usize, distance: usize) -> Self {
        Self { distance: distance as u16, value: size as u16 }
    }

    pub(super) const fn is_literal(self) -> bool {
        self.distance == 0
    }

    /// Plain bytes that it stands for.
    pub(super) const fn size(self) -> usize {
        if self.is_literal() { 1 } else { self.value as usize }
    }

    pub(super) const fn distance(self) -> usize {
        self.distance as usize
    }

    /// The symbol of the literal tree, and the extra bits behind it: their value and their count.
    pub(super) fn symbol(self) -> (usize, u32, u32) {
        if self.is_literal() {
            return (self.value as usize, 0, 0);
        }
        let size = self.value as usize - MIN_MATCH;
        let code = LENGTH_CODE[size & 0xff] as usize;
        (END_OF_BLOCK + 1 + code, (size as u32).wrapping_sub(LENGTH_BASE[code] as u32), length_extra(code))
    }

    /// The symbol of the distance tree, and the extra bits behind it.
    pub(super) const fn distance_symbol(self) -> (usize, u32, u32) {
        let distance = (self.distance as u32).wrapping_sub(1) & 0x7fff;
        // From 4 on, each two symbols have a bit more behind them, and tell the two highest bits.
        let extra_bits = 30 - (distance | 2).leading_zeros();
        let code = 2 * extra_bits + (distance >> extra_bits);
        (code as usize, distance & ((1 << extra_bits) - 1), extra_bits)
    }

    /// A number under [`SHAPES`] that tells the literal, or the size of the reference.
    pub(super) const fn shape(self) -> usize {
        let of_size = if self.is_literal() { 0 } else { 256 - MIN_MATCH };
        (self.value as usize + of_size) % SHAPES
    }
}

/// The number of different literals and sizes.
pub(super) const SHAPES: usize = 512;

/// Gives a reference of each size, whose [`shape`](Token::shape) is 256 and so many more.
pub(super) fn of_each_size() -> impl Iterator<Item = Token> {
    (MIN_MATCH..=MAX_MATCH).map(|size| Token::reference(size, 1))
}

/// Extra bits of a length code, 0 to 28.
pub(super) const fn length_extra(code: usize) -> u32 {
    match code {
        0..8 | 28 => 0,
        _ => code as u32 / 4 - 1,
    }
}

/// Extra bits of a distance code, 0 to 29.
pub(super) const fn distance_extra(code: usize) -> u32 {
    if code < 4 { 0 } else { code as u32 / 2 - 1 }
}

/// The least size of each length code, less 3.
pub(super) static LENGTH_BASE: [u16; 29] = {
    let mut table = [0; 29];
    let (mut code, mut base) = (0, 0);
    while code < 28 {
        table[code] = base;
        base += 1 << length_extra(code);
        code += 1;
    }
    table[28] = 255;
    table
};

/// The least distance of each code, less 1.
pub(super) static DISTANCE_BASE: [u16; DISTANCE_CODES] = {
    let mut table = [0; DISTANCE_CODES];
    let (mut code, mut base) = (0, 0_u16);
    while code < DISTANCE_CODES {
        table[code] = base;
        base = base.wrapping_add(1 << distance_extra(code));
        code += 1;
    }
    table
};

/// The code of each size less 3.
static LENGTH_CODE: [u8; 256] = {
    let mut table = [0; 256];
    let mut size = 0;
    while size < 255 {
        let mut code = 27;
        while LENGTH_BASE[code] as usize > size {
            code -= 1;
        }
        table[size] = code as u8;
        size += 1;
    }
    table[255] = 28;
    table
};

/// Returns how many bytes of two strings are the same from the start: what a reference could stand for.
pub(super) fn common(a: &[u8; MAX_MATCH], b: &[u8; MAX_MATCH]) -> usize {
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    for (index, (a, b)) in a_words.iter().zip(b_words).enumerate() {
        let differing = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differing != 0 {
            return index * 8 + differing.trailing_zeros() as usize / 8;
        }
    }
    a_words.len() * 8 + a_rest.iter().zip(b_rest).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_extra_bits_say_the_sizes_and_distances() {
        for size in MIN_MATCH..=MAX_MATCH {
            let (symbol, extra, bits) = Token::reference(size, 1).symbol();
            let code = symbol - END_OF_BLOCK - 1;
            assert_eq!(usize::from(LENGTH_BASE[code]) + extra as usize + MIN_MATCH, size);
            assert!(extra < 1 << bits && bits <= 5, "{size}");
        }
        let literals = (0..=u8::MAX).map(Token::literal);
        assert!(literals.chain(of_each_size()).map(Token::shape).eq(0..SHAPES));
        assert_eq!(Token::reference(257, 1).symbol(), (284, 30, 5));
        assert_eq!(Token::reference(258, 1).symbol(), (285, 0, 0));
        for distance in 1..=32768 {
            let (code, extra, bits) = Token::reference(3, distance).distance_symbol();
            assert_eq!(usize::from(DISTANCE_BASE[code]) + extra as usize + 1, distance);
            assert!(extra < 1 << bits && bits == distance_extra(code), "{distance}");
        }
    }
}
