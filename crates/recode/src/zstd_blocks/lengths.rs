//! The lengths of Huffman codes: the tree, and the limit that its depth has.

/// Most bits of a code.
pub(crate) const MAX_LOG: u32 = 11;

/// Returns the length of the code of each of so many symbols, 0 where it has none. The leaves are the counts of those
/// that have one, and which they are; the most frequent is the first. No code has more than `most` bits.
pub(crate) fn lengths_of(leaves: &[(u32, usize)], symbols: usize, most: u32) -> Option<Vec<u8>> {
    let mut sizes = depths(leaves)?;
    limit(&mut sizes, leaves, most)?;
    let mut lengths = vec![0; symbols];
    for ((_, symbol), size) in leaves.iter().zip(sizes) {
        *lengths.get_mut(*symbol)? = u8::try_from(size).ok()?;
    }
    Some(lengths)
}

/// Returns the depth of each leaf in the tree of Huffman. The most frequent leaf is the first.
fn depths(leaves: &[(u32, usize)]) -> Option<Vec<u32>> {
    const NONE: u32 = 1 << 30;
    let inner = leaves.len().checked_sub(1).filter(|inner| *inner > 0)?;
    let mut counts: Vec<u32> = Vec::with_capacity(inner);
    let mut parent_of_leaf = vec![0; leaves.len()];
    let mut parent_of_inner = vec![0; inner];
    // Leaves are taken from the last to the first, and the nodes above them in the order in which they were made.
    let (mut leaf, mut node) = (leaves.len(), 0);
    for parent in 0..inner {
        let mut count = 0;
        for _ in 0..2 {
            let of_leaf = leaf.checked_sub(1).map_or(2 * NONE, |leaf| leaves[leaf].0);
            let of_node = counts.get(node).copied().unwrap_or(NONE);
            // Where both are as frequent, the node is taken.
            if of_leaf < of_node {
                leaf -= 1;
                parent_of_leaf[leaf] = parent;
                count += of_leaf;
            } else {
                parent_of_inner[node] = parent;
                count += of_node;
                node += 1;
            }
        }
        counts.push(count);
    }
    let mut depth_of_inner = vec![0; inner];
    for node in (0..inner - 1).rev() {
        depth_of_inner[node] = depth_of_inner[parent_of_inner[node]] + 1;
    }
    Some(parent_of_leaf.iter().map(|parent| depth_of_inner[*parent] + 1).collect())
}

/// Makes no code longer than `most` bits: longer ones are cut, and others pay for it, from the rarest on of those that
/// cost least. `None` if there are too few places for that.
fn limit(sizes: &mut [u32], leaves: &[(u32, usize)], most: u32) -> Option<()> {
    let longest = *sizes.last()?;
    if longest <= most {
        return Some(());
    }
    // What is owed is counted in places of codes of `most` bits.
    let mut owed: i64 = 0;
    let mut kept = sizes.len();
    while *sizes.get(kept.checked_sub(1)?)? > most {
        kept -= 1;
        owed += (1 << (longest - most)) - (1i64 << (longest - sizes[kept]));
        sizes[kept] = most;
    }
    while kept > 0 && sizes[kept - 1] == most {
        kept -= 1;
    }
    owed >>= longest - most;
    // The rarest symbol of those that are so many bits shorter than `most`.
    let mut rarest: [Option<usize>; MAX_LOG as usize + 2] = [None; MAX_LOG as usize + 2];
    let mut size = most;
    for index in (0..kept).rev().filter(|index| sizes[*index] < most) {
        if sizes[index] < size {
            size = sizes[index];
            *rarest.get_mut((most - size) as usize)? = Some(index);
        }
    }
    while owed > 0 {
        let mut shorter = owed.ilog2() as usize + 1;
        while shorter > 1 {
            let (far, near) = (rarest.get(shorter).copied().flatten(), rarest[shorter.min(13) - 1]);
            if let Some(far) = far {
                let Some(near) = near else { break };
                if leaves[far].0 <= 2 * leaves[near].0 {
                    break;
                }
            }
            shorter -= 1;
        }
        while rarest.get(shorter)?.is_none() {
            shorter += 1;
        }
        owed -= 1 << (shorter - 1);
        let index = rarest[shorter]?;
        if rarest[shorter - 1].is_none() {
            rarest[shorter - 1] = Some(index);
        }
        sizes[index] += 1;
        let is_there = |before: &usize| most - sizes[*before] == u32::try_from(shorter).unwrap_or(0);
        rarest[shorter] = index.checked_sub(1).filter(is_there);
    }
    // More may have been paid than was owed.
    while owed < 0 {
        let longer = match rarest[1] {
            Some(index) => index + 1,
            None => {
                while kept > 0 && sizes[kept - 1] == most {
                    kept -= 1;
                }
                kept
            }
        };
        *sizes.get_mut(longer)? -= 1;
        rarest[1] = Some(longer);
        owed += 1;
    }
    Some(())
}
