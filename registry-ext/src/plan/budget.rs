//! The choice among updates where not all can be afforded.

use std::cmp::Ordering;

use super::policy::Budget;
use super::{Pair, RepositoryPlan, Verdict};

/// Turns the verdict on updates that the budget does not allow. Those that save most for their cost come first; hosts
/// that are further behind count less, where their number is not known.
pub(super) fn apply(repositories: &mut [RepositoryPlan], budget: &Budget) {
    let mut wanted: Vec<&mut Pair> = repositories
        .iter_mut()
        .flat_map(|repository| &mut repository.pairs)
        .filter(|pair| pair.verdict == Verdict::Make)
        .collect();
    wanted.sort_by(|one, other| order(one, other));
    let (mut bytes, mut seconds) = (0_u64, 0.0);
    for pair in wanted {
        let is_over = budget.bytes.is_some_and(|most| bytes.saturating_add(pair.bytes()) > most)
            || budget.cpu_seconds.is_some_and(|most| seconds + pair.cpu_seconds > most);
        if is_over {
            pair.verdict = Verdict::OverBudget;
        } else {
            bytes = bytes.saturating_add(pair.bytes());
            seconds += pair.cpu_seconds;
        }
    }
}

/// Compares updates by what they save for their cost, the best first; of equals by their digests, so that the order is
/// the same each time.
fn order(one: &Pair, other: &Pair) -> Ordering {
    let digests = |pair: &Pair| (pair.to.digest, pair.from.digest);
    worth(other).total_cmp(&worth(one)).then_with(|| digests(one).cmp(&digests(other)))
}

fn worth(pair: &Pair) -> f64 {
    let weight = if pair.hosts.is_some() { 1.0 } else { 1.0 / pair.behind.max(1) as f64 };
    // Both costs, each in its own unit: a pair that is twice as large costs twice as much of both.
    pair.saved() as f64 * weight / (pair.bytes() as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use layer::Digest;

    use super::super::PlannedImage;
    use super::*;

    fn pair(name: u8, blob_bytes: u64, delta_bytes: u64, behind: usize, hosts: Option<u64>) -> Pair {
        let image = |byte| PlannedImage { tags: Vec::new(), digest: Digest::from_bytes([byte; 32]) };
        Pair { blob_bytes, delta_bytes, behind, hosts, ..Pair::new(image(name), image(0)) }
    }

    fn made(pairs: Vec<Pair>, budget: &Budget) -> Vec<u8> {
        let mut plans = [RepositoryPlan {
            repository: "h/app".into(),
            tags: 0,
            floating: Default::default(),
            expected_ratio: 0.2,
            ratio_is_measured: false,
            pairs,
            warnings: Vec::new(),
        }];
        apply(&mut plans, budget);
        let made = plans[0].pairs.iter().filter(|pair| pair.verdict == Verdict::Make);
        made.map(|pair| pair.from.digest.as_bytes()[0]).collect()
    }

    #[test]
    fn what_saves_most_for_its_cost_is_made() {
        let pairs = vec![pair(1, 100, 90, 1, None), pair(2, 100, 10, 2, None), pair(3, 100, 10, 1, None)];
        assert_eq!(made(pairs.clone(), &Budget::default()), [1, 2, 3]);
        assert_eq!(made(pairs.clone(), &Budget { bytes: Some(20), cpu_seconds: None }), [2, 3]);
        assert_eq!(made(pairs.clone(), &Budget { bytes: None, cpu_seconds: Some(1.5) }), [3]);
        assert!(made(pairs, &Budget { bytes: Some(9), cpu_seconds: None }).is_empty());
        let pairs = vec![pair(1, 100, 50, 5, Some(1000)), pair(2, 100, 10, 1, Some(1))];
        assert_eq!(made(pairs, &Budget { bytes: Some(50), cpu_seconds: None }), [1], "hosts count");
    }
}
