//! The ways in which an address is written in a field.

/// The ways to write an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// 32 bits, relative to the address of the field and a constant.
    Relative,
    /// The address itself.
    Absolute,
    /// The distance from a base, in units of a scale.
    Based,
    /// 32 bits, relative to the start of the table that the field is in.
    InTable,
    /// 32 bits, the distance back from the field.
    Back,
    /// The immediate of an instruction of aarch64 or 32-bit ARM that branches.
    Branch,
    /// The immediate of an aarch64 ADRP.
    Page,
    /// The immediate of an aarch64 instruction that adds the low 12 bits.
    Low,
    /// 16 bits, the key of a table in a resource bundle of ICU.
    Key,
    /// 16 bits, a string of a resource bundle.
    String,
    /// 32 bits, a resource of a bundle: its type and its place.
    Resource,
    /// 32 bits that say how a bundle is laid out, and mean no place.
    Index,
    /// 32 bits among the code of 32-bit ARM, relative to the address of an instruction near the field.
    Pooled,
    /// 31 bits, relative to the address of the field.
    Short,
}

impl Kind {
    /// The number of kinds.
    pub(crate) const COUNT: usize = 14;
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Relative,
        Self::Absolute,
        Self::Based,
        Self::InTable,
        Self::Back,
        Self::Branch,
        Self::Page,
        Self::Low,
        Self::Key,
        Self::String,
        Self::Resource,
        Self::Index,
        Self::Pooled,
        Self::Short,
    ];

    /// All kinds, in the order of their numbers.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }

    /// The name that explanations have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relative => "relative",
            Self::Absolute => "absolute",
            Self::Based => "based",
            Self::InTable => "in table",
            Self::Back => "back",
            Self::Branch => "branch",
            Self::Page => "page",
            Self::Low => "low",
            Self::Key => "key",
            Self::String => "string",
            Self::Resource => "resource",
            Self::Index => "index",
            Self::Pooled => "pooled",
            Self::Short => "short",
        }
    }
}
