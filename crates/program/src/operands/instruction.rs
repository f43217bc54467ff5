//! The lengths of instructions of x86-64, byte after byte.
//!
//! ```text
//! instruction = prefix* rex? opcode (modrm sib? displacement?)? immediate?
//! opcode      = b | 0f b | 0f 38 b | 0f 3a b | c5 p b | c4 p p b | 62 p p p b
//! ```
//!
//! Nothing is known of an instruction but where its parts begin and end. What is no instruction of any processor has a
//! length as well.

#[cfg(test)]
mod tests;

/// Bytes of an operand that stands apart.
pub(super) const FOUR: u8 = 4;
/// The SIB byte of an operand that counts from the stack pointer alone.
const STACK_POINTER: u8 = 0x24;

/// The sort of four bytes that stand apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Four {
    /// The distance to what is called.
    Call,
    /// The distance to the target of a jump.
    Jump,
    /// The distance from the next instruction, which begins so many bytes after the operand, to what is accessed.
    Load(u8),
    /// The distance of a variable from the stack pointer.
    Stack,
}

/// The map that an opcode belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Map {
    OneByte,
    Escape0f,
    Escape0f38,
    Escape0f3a,
}

impl Map {
    /// The map with the number that VEX and EVEX have for it.
    const fn of_vex(number: u8) -> Self {
        match number {
            1 => Self::Escape0f,
            3 => Self::Escape0f3a,
            _ => Self::Escape0f38,
        }
    }
}

/// The part of an instruction that the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A prefix or the opcode.
    Start,
    /// The opcode after REX.
    Opcode,
    /// The byte after 0F.
    After0f,
    /// The last byte of an opcode.
    Last(Map),
    /// The first byte after C4 or 62, with the bits of it that are the map, and the bytes after it.
    Vex(u8, u8),
    /// Bytes before the last one of an opcode.
    BeforeLast(u8, Map),
    ModRm,
    Sib(u8),
    Four(Four),
    /// Bytes up to the end of the instruction.
    Rest(u8),
}

/// The form of the instructions that begin with an opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    has_modrm: bool,
    immediate: Immediate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Immediate {
    Bytes(u8),
    /// Four bytes, or two after the prefix 66.
    OperandSize,
    /// The same, or eight bytes after REX.W.
    Wide,
    /// That of TEST: one byte if the register of the ModRM byte is 0 or 1, and none for others.
    TestByte,
    /// The same with that of the operand size.
    Test,
}

const NONE: Immediate = Immediate::Bytes(0);
const ONE: Immediate = Immediate::Bytes(1);

static ONE_BYTE: [Shape; 256] = shapes(Map::OneByte);
static ESCAPE_0F: [Shape; 256] = shapes(Map::Escape0f);

const fn shapes(map: Map) -> [Shape; 256] {
    let mut shapes = [Shape { has_modrm: true, immediate: NONE }; 256];
    let mut opcode = 0u8;
    loop {
        shapes[opcode as usize] = match map {
            Map::OneByte => one_byte(opcode),
            _ => escape_0f(opcode),
        };
        if opcode == u8::MAX {
            return shapes;
        }
        opcode += 1;
    }
}

const fn one_byte(opcode: u8) -> Shape {
    let has_modrm = match opcode {
        0x00..=0x3f => opcode & 4 == 0,
        0x63 | 0x69 | 0x6b | 0x80..=0x8f | 0xc0 | 0xc1 | 0xc6 | 0xc7 => true,
        0xd0..=0xd3 | 0xd8..=0xdf | 0xf6 | 0xf7 | 0xfe | 0xff => true,
        _ => false,
    };
    let immediate = match opcode {
        0x00..=0x3f if opcode & 7 == 4 => ONE,
        0x00..=0x3f if opcode & 7 == 5 => Immediate::OperandSize,
        0x68 | 0x69 | 0x81 | 0xa9 | 0xc7 => Immediate::OperandSize,
        0x6a | 0x6b | 0x70..=0x7f | 0x80 | 0x82 | 0x83 | 0xa8 | 0xb0..=0xb7 | 0xc0 | 0xc1 | 0xc6 => ONE,
        0xcd | 0xd4 | 0xd5 | 0xe0..=0xe7 | 0xeb => ONE,
        0xa0..=0xa3 => Immediate::Bytes(8),
        0xb8..=0xbf => Immediate::Wide,
        0xc2 | 0xca => Immediate::Bytes(2),
        0xc8 => Immediate::Bytes(3),
        0xf6 => Immediate::TestByte,
        0xf7 => Immediate::Test,
        _ => NONE,
    };
    Shape { has_modrm, immediate }
}

const fn escape_0f(opcode: u8) -> Shape {
    let has_modrm = !matches!(
        opcode,
        0x04..=0x0c | 0x0e | 0x30..=0x37 | 0x77 | 0x80..=0x8f | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf
    );
    let immediate = match opcode {
        0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => ONE,
        _ => NONE,
    };
    Shape { has_modrm, immediate }
}

/// An instruction of which some bytes are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instruction {
    part: Part,
    immediate: Immediate,
    has_66: bool,
    has_rex_w: bool,
}

impl Instruction {
    const START: Self = Self { part: Part::Start, immediate: NONE, has_66: false, has_rex_w: false };

    /// Returns the instruction that goes on after some bytes, of which the first begins one.
    pub(super) fn after(bytes: &[u8]) -> Self {
        let mut instruction = Self::START;
        bytes.iter().for_each(|byte| instruction.pass(*byte));
        instruction
    }

    /// The sort of the next four bytes, if they stand apart.
    pub(super) const fn four(&self) -> Option<Four> {
        match self.part {
            Part::Four(four) => Some(four),
            _ => None,
        }
    }

    /// Passes over four bytes that stand apart.
    pub(super) const fn pass_four(&mut self) {
        self.rest(self.immediate_size());
    }

    /// Takes the next four bytes for ones like any others.
    pub(super) const fn keep_four(&mut self) {
        self.rest(FOUR + self.immediate_size());
    }

    /// The number of next bytes, at least one, that go by together if none of them stands apart.
    pub(super) const fn together(&self) -> u8 {
        match self.part {
            Part::Rest(size) => size,
            _ => 1,
        }
    }

    /// Takes in some bytes, at most as many as go by [`together`](Self::together).
    pub(super) fn pass_together(&mut self, bytes: &[u8]) {
        match (self.part, bytes) {
            (Part::Rest(left), _) => {
                self.rest(left.saturating_sub(u8::try_from(bytes.len()).unwrap_or(left)))
            }
            (_, [byte, ..]) => self.pass(*byte),
            (_, []) => {}
        }
    }

    /// Takes in the next byte.
    pub(super) const fn pass(&mut self, byte: u8) {
        match self.part {
            Part::Start => match byte {
                0x66 => self.has_66 = true,
                0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 | 0xf0 | 0xf2 | 0xf3 => {}
                0x40..=0x4f => {
                    self.has_rex_w = byte & 8 != 0;
                    self.part = Part::Opcode;
                }
                _ => self.opcode(byte),
            },
            Part::Opcode => self.opcode(byte),
            Part::After0f => match byte {
                0x38 => self.part = Part::Last(Map::Escape0f38),
                0x3a => self.part = Part::Last(Map::Escape0f3a),
                _ => self.last(Map::Escape0f, byte),
            },
            Part::Last(map) => self.last(map, byte),
            Part::Vex(bits, left) => self.part = Part::BeforeLast(left, Map::of_vex(byte & bits)),
            Part::BeforeLast(1, map) => self.part = Part::Last(map),
            Part::BeforeLast(left, map) => self.part = Part::BeforeLast(left - 1, map),
            Part::ModRm => self.modrm(byte),
            Part::Sib(mode) => match (mode, byte) {
                (2, STACK_POINTER) => self.part = Part::Four(Four::Stack),
                (2, _) => self.keep_four(),
                (1, _) => self.rest(1 + self.immediate_size()),
                _ if byte & 7 == 5 => self.keep_four(),
                _ => self.rest(self.immediate_size()),
            },
            Part::Four(_) => self.rest(FOUR - 1 + self.immediate_size()),
            Part::Rest(left) => self.rest(left - 1),
        }
    }

    const fn opcode(&mut self, byte: u8) {
        match byte {
            0x0f => self.part = Part::After0f,
            0x62 => self.part = Part::Vex(7, 2),
            0xc4 => self.part = Part::Vex(31, 1),
            0xc5 => self.part = Part::BeforeLast(1, Map::Escape0f),
            _ => self.last(Map::OneByte, byte),
        }
    }

    /// Takes in the last byte of the opcode.
    const fn last(&mut self, map: Map, byte: u8) {
        let shape = match map {
            Map::OneByte => ONE_BYTE[byte as usize],
            Map::Escape0f => ESCAPE_0F[byte as usize],
            Map::Escape0f38 => Shape { has_modrm: true, immediate: NONE },
            Map::Escape0f3a => Shape { has_modrm: true, immediate: ONE },
        };
        self.immediate = shape.immediate;
        match (map, byte) {
            (Map::OneByte, 0xe8) => self.part = Part::Four(Four::Call),
            (Map::OneByte, 0xe9) | (Map::Escape0f, 0x80..=0x8f) => self.part = Part::Four(Four::Jump),
            _ if shape.has_modrm => self.part = Part::ModRm,
            _ => self.rest(self.immediate_size()),
        }
    }

    const fn modrm(&mut self, byte: u8) {
        let is_test = byte >> 3 & 7 < 2;
        self.immediate = match self.immediate {
            Immediate::TestByte if is_test => ONE,
            Immediate::Test if is_test => Immediate::OperandSize,
            Immediate::TestByte | Immediate::Test => NONE,
            other => other,
        };
        match (byte >> 6, byte & 7) {
            (3, _) => self.rest(self.immediate_size()),
            (mode, 4) => self.part = Part::Sib(mode),
            (0, 5) => self.part = Part::Four(Four::Load(self.immediate_size())),
            (0, _) => self.rest(self.immediate_size()),
            (1, _) => self.rest(1 + self.immediate_size()),
            _ => self.keep_four(),
        }
    }

    const fn immediate_size(&self) -> u8 {
        match self.immediate {
            Immediate::Bytes(size) => size,
            Immediate::Wide if self.has_rex_w => 8,
            _ if self.has_66 => 2,
            _ => 4,
        }
    }

    /// Goes on to the last bytes of the instruction, or to the next one.
    const fn rest(&mut self, size: u8) {
        *self =
            if size == 0 { Self::START } else { Self { part: Part::Rest(size), immediate: NONE, ..*self } };
    }
}
