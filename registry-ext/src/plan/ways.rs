//! The way in which hosts get each update: by a delta that is made of the layers, by one that is merged of
//! others, or by others that follow each other.

use std::collections::BTreeMap;

use layer::Digest;

use super::{Pair, PlannedImage, Policy, Verdict, Way};
use crate::chain::MAX_STEPS;

/// The deltas from one image to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// The bytes that a host fetches.
    pub(super) bytes: u64,
    /// True if they are published; false if the plan has them.
    pub(super) is_published: bool,
}

/// The deltas that are known, by the digests of the old and the new image.
pub(super) type KnownDeltas = BTreeMap<(Digest, Digest), Known>;

/// Deltas that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chain {
    bytes: u64,
    is_published: bool,
    /// The images on the way, the last one included.
    images: Vec<Digest>,
}

/// Marks the updates that are to be made with the way in which the policy has them made. `known` are the
/// deltas that are published, and `planned` gives the name of an image. `is_way` returns true if a pull that has one
/// image can go over others: the layers that it makes on the way are few enough.
///
/// Updates over fewer releases come first, since the deltas that they get are parts of chains for others.
pub(super) fn mark(
    pairs: &mut [Pair],
    mut known: KnownDeltas,
    policy: &Policy,
    planned: impl Fn(Digest) -> PlannedImage,
    is_way: impl Fn(Digest, &[Digest]) -> bool,
) {
    let mut order: Vec<&mut Pair> = pairs.iter_mut().filter(|pair| pair.verdict == Verdict::Make).collect();
    order.sort_by_key(|pair| (pair.behind, pair.to.digest, pair.from.digest));
    for pair in order {
        let (from, to) = (pair.from.digest, pair.to.digest);
        // Nobody takes a chain of as many bytes as the blobs.
        let blob_bytes = pair.blob_bytes;
        let is_smaller = |chain: &Chain| chain.bytes < blob_bytes;
        let is_over = |between: &[Digest]| is_way(from, between);
        let any = cheapest(&known, (from, to), is_over, |_, _| true).filter(is_smaller);
        // Another job may make the deltas to other images, and be behind.
        let is_of_job = |(_, target): &(Digest, Digest), known: &Known| known.is_published || *target == to;
        let of_job = cheapest(&known, (from, to), is_over, is_of_job).filter(is_smaller);
        let suffices = |chain: &Chain| chain.bytes as f64 <= pair.delta_bytes as f64 * policy.chains;
        let (way, chain) = match (any, of_job) {
            (Some(any), _) if suffices(&any) => (Way::Chain, Some(any)),
            (_, Some(of_job)) if policy.merge => (Way::Merged, Some(of_job)),
            (any, _) => (Way::Direct, any),
        };
        pair.way = way;
        if let Some(chain) = chain {
            pair.chain_bytes = Some(chain.bytes);
            pair.chain_is_published = chain.is_published;
            let between = chain.images.split_last().map_or(&[][..], |(_, between)| between);
            pair.between = between.iter().map(|image| planned(*image)).collect();
        }
        match way {
            Way::Direct => {
                known.insert((from, to), Known { bytes: pair.delta_bytes, is_published: false });
            }
            Way::Chain => pair.verdict = Verdict::Chain,
            Way::Merged => pair.cpu_seconds *= super::MERGED_CPU,
        }
    }
}

/// Takes updates out whose chains have deltas that are not made after all.
pub(super) fn drop_broken(pairs: &mut [Pair]) {
    let dropped: Vec<(Digest, Digest)> = pairs
        .iter()
        .filter(|pair| pair.verdict == Verdict::OverBudget)
        .map(|pair| (pair.from.digest, pair.to.digest))
        .collect();
    for pair in pairs.iter_mut().filter(|pair| matches!(pair.way, Way::Chain | Way::Merged)) {
        let is_broken = pair.steps().any(|step| dropped.contains(&step));
        if is_broken && matches!(pair.verdict, Verdict::Chain | Verdict::Make) {
            pair.verdict = Verdict::OverBudget;
        }
    }
}

/// Returns the cheapest chain of at least two deltas. `is_part` chooses the deltas, and `is_over` accepts the images on
/// the way, which it is given all at once. Each round adds one delta to the chains that were found before.
fn cheapest(
    known: &KnownDeltas,
    (from, to): (Digest, Digest),
    is_over: impl Fn(&[Digest]) -> bool,
    is_part: impl Fn(&(Digest, Digest), &Known) -> bool,
) -> Option<Chain> {
    let start = Chain { bytes: 0, is_published: true, images: Vec::new() };
    let mut chains = BTreeMap::from([(from, start)]);
    for _ in 0..MAX_STEPS {
        let before = chains.clone();
        for (step, delta) in known.iter().filter(|(step, delta)| is_part(step, delta)) {
            let (old, new) = *step;
            let Some(chain) = before.get(&old).filter(|_| *step != (from, to)) else { continue };
            let bytes = chain.bytes.saturating_add(delta.bytes);
            if chains.get(&new).is_none_or(|best| bytes < best.bytes) {
                let images: Vec<Digest> = chain.images.iter().copied().chain([new]).collect();
                if new != to && !is_over(&images) {
                    continue;
                }
                let is_published = chain.is_published && delta.is_published;
                chains.insert(new, Chain { bytes, is_published, images });
            }
        }
    }
    chains.remove(&to).filter(|chain| chain.images.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: u8) -> Digest {
        Digest::from_bytes([name; 32])
    }

    fn image(digest: Digest) -> PlannedImage {
        PlannedImage { tags: Vec::new(), digest }
    }

    /// The updates to release 4 from those before.
    fn pairs() -> Vec<Pair> {
        let pair = |from: u8| Pair {
            delta_bytes: 100 * u64::from(4 - from),
            blob_bytes: 1000,
            behind: usize::from(4 - from),
            ..Pair::new(image(digest(from)), image(digest(4)))
        };
        vec![pair(1), pair(2), pair(3)]
    }

    /// Published deltas from each release to the next one, up to the third.
    fn known() -> KnownDeltas {
        let step = |from: u8| ((digest(from), digest(from + 1)), Known { bytes: 90, is_published: true });
        KnownDeltas::from([step(1), step(2)])
    }

    fn marked(policy: &str) -> Vec<(Way, Verdict, Option<u64>, usize)> {
        let mut pairs = pairs();
        mark(&mut pairs, known(), &Policy::parse(policy).unwrap(), image, |_, _| true);
        pairs.iter().map(|pair| (pair.way, pair.verdict, pair.chain_bytes, pair.between.len())).collect()
    }

    #[test]
    fn a_policy_says_what_is_made_and_what_is_left_to_chains() {
        let direct = (Way::Direct, Verdict::Make, None, 0);
        let first = |way, verdict| (way, verdict, Some(280), 2);
        let second = |way, verdict| (way, verdict, Some(190), 1);
        let make = Verdict::Make;
        assert_eq!(
            marked(""),
            [(Way::Direct, make, Some(280), 2), (Way::Direct, make, Some(190), 1), direct]
        );
        assert_eq!(marked("merge = true"), [first(Way::Merged, make), second(Way::Merged, make), direct]);
        let chain = Verdict::Chain;
        assert_eq!(marked("chains = 1.0"), [first(Way::Chain, chain), second(Way::Chain, chain), direct]);
        // 280 of 300 bytes suffice, and 190 of 200 do not.
        assert_eq!(
            marked("chains = 0.94\nmerge = true"),
            [first(Way::Chain, chain), second(Way::Merged, make), direct]
        );
    }

    #[test]
    fn a_chain_of_as_many_bytes_as_the_blobs_is_no_way() {
        let policy = Policy::parse("chains = 100.0\nmerge = true").unwrap();
        for (blob_bytes, way) in [(280, Way::Direct), (281, Way::Chain)] {
            let mut pairs = pairs();
            pairs[0].blob_bytes = blob_bytes;
            mark(&mut pairs, known(), &policy, image, |_, _| true);
            assert_eq!(pairs[0].way, way, "{blob_bytes}");
        }
    }

    #[test]
    fn a_delta_of_another_job_is_part_of_a_chain_and_of_no_merge() {
        let policy = Policy::parse("merge = true").unwrap();
        let mut pairs = pairs();
        pairs.push(Pair { delta_bytes: 90, behind: 1, ..Pair::new(image(digest(2)), image(digest(3))) });
        let known = KnownDeltas::from([((digest(1), digest(2)), Known { bytes: 90, is_published: true })]);
        mark(&mut pairs, known.clone(), &policy, image, |_, _| true);
        // The step to the third release is for another image.
        assert_eq!(pairs[1].way, Way::Direct);
        assert_eq!((pairs[1].chain_bytes, pairs[1].chain_is_published), (Some(190), false));
        // Over the second release all is there by then.
        assert_eq!((pairs[0].way, pairs[0].between.len()), (Way::Merged, 1));
        let mut pairs = self::pairs();
        mark(&mut pairs, known, &Policy::parse("chains = 2.0").unwrap(), image, |_, _| true);
        assert_eq!(pairs[0].verdict, Verdict::Chain);
        pairs[1].verdict = Verdict::OverBudget;
        drop_broken(&mut pairs);
        assert_eq!(pairs[0].verdict, Verdict::OverBudget);
    }

    #[test]
    fn chains_end_after_eight_deltas_and_cycles_do_no_harm() {
        let step = |from: u8, to: u8| ((digest(from), digest(to)), Known { bytes: 1, is_published: true });
        let line: KnownDeltas = (0..20).flat_map(|at| [step(at, at + 1), step(at + 1, at)]).collect();
        let to = |last: u8| cheapest(&line, (digest(0), digest(last)), |_| true, |_, _| true);
        assert_eq!(to(8).unwrap().bytes, 8);
        assert_eq!(to(9), None);
        assert_eq!(to(1), None, "a delta of its own is no chain");
    }

    #[test]
    fn a_way_that_no_pull_goes_is_no_chain_and_another_one_is() {
        let step =
            |from: u8, to: u8, bytes| ((digest(from), digest(to)), Known { bytes, is_published: true });
        let known = KnownDeltas::from([step(1, 2, 10), step(2, 4, 10), step(1, 3, 50), step(3, 4, 50)]);
        let over = |image: u8| {
            let is_over = move |between: &[Digest]| !between.contains(&digest(image));
            cheapest(&known, (digest(1), digest(4)), is_over, |_, _| true).map(|chain| chain.bytes)
        };
        assert_eq!((over(0), over(2), over(3)), (Some(20), Some(100), Some(20)));
    }
}
