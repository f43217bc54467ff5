//! The totals of the payloads of `relocated` ops.

use std::collections::BTreeMap;

use program::Payload;

/// The parts of the payloads of `relocated` ops, in bytes before compression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct RelocatedParts {
    /// Rules: where programs hold addresses.
    pub rules: u64,
    /// The number of rules of each kind, and of computed tables.
    pub rule_kinds: BTreeMap<&'static str, u64>,
    /// The stretches of sources that the files consist of.
    pub blocks: u64,
    /// Lengths of the runs of bytes that are as predicted, and of others.
    pub runs: u64,
    /// The differences of the others.
    pub differences: u64,
    /// New bytes.
    pub new: u64,
}

impl RelocatedParts {
    pub(crate) fn add(&mut self, payload: &Payload<'_>) {
        let sizes = payload.sizes();
        self.rules += sizes.rules as u64;
        self.blocks += sizes.blocks as u64;
        self.runs += sizes.runs as u64;
        self.differences += sizes.differences as u64;
        self.new += sizes.new as u64;
        // Broken ones are told when the delta is applied.
        let rules = payload.rules().unwrap_or_default();
        let frames = rules.frame_table.as_ref().map(|_| "computed frames");
        let hashes = rules.hash_table.as_ref().map(|_| "computed hashes");
        for kind in rules.rules.iter().map(program::Rule::kind_name).chain(frames).chain(hashes) {
            *self.rule_kinds.entry(kind).or_default() += 1;
        }
    }
}
