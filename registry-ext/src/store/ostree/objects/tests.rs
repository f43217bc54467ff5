//! Objects as ostree 2022.7 wrote them, and broken ones. `registry-ext/tests/object_stores.rs` has whole repositories.

use fixtures::Rng;

use super::*;

/// Two keys in its metadata: `xa.diff-id`, and the names of refs, which are no text.
const COMMIT: &str = "78612e646966662d6964000000000000306130613061306130613061306130613061306130613061306130613061306130613061306130613061306130613061306130613061306130613061306130610000730b000000006f73747265652e7265662d62696e64696e67000000000000617070000400617313547973756200000000000000000000a9ddcf1b05aab17f3a080f0a00375a3f53b3b96b5f5b48cccee11249363e94f6446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488a8807f7b7b7b";
/// `usr` and `etc` are directories, and `bin` is a file.
const DIRECTORY: &str = "62696e00389846c2702216e1367c8dfb68326a6b93ccf5703c89c93979052a9bf359608e042565746300e2e466595f791b2c76e4da2d7e2d0c3e483b78f76d73d471cb615b44e1464b64446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488240475737200f111d11738424c7f6ebdc14345dbf2e646e39694eeb7f1589e18ee95bd1eddc9446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c54882404468c26";
/// The header of a link to `usr/bin`, after the eight bytes before it.
const LINK: &str = "000000000000000000000000000000000000a1ff000000007573722f62696e0020";

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn a_commit_tells_its_directory_and_its_image() {
    let commit = Commit::parse(&bytes(COMMIT)).unwrap();
    assert_eq!(
        commit.root.to_string(),
        "sha256:a9ddcf1b05aab17f3a080f0a00375a3f53b3b96b5f5b48cccee11249363e94f6"
    );
    assert_eq!(commit.image.last_layer.unwrap().to_string(), format!("sha256:{}", "0a".repeat(32)));
    assert_eq!(commit.image.config, None);
}

#[test]
fn a_directory_has_names() {
    let directory = Directory::parse(&bytes(DIRECTORY)).unwrap();
    let mut names: Vec<_> = directory.directories.keys().collect();
    names.sort();
    assert_eq!(names, [b"etc", b"usr"]);
    assert_eq!(directory.files.keys().collect::<Vec<_>>(), [b"bin"]);
    let empty = Directory::parse(&[0]).unwrap();
    assert!(empty.files.is_empty() && empty.directories.is_empty());
    assert!(Directory::parse(b"").is_none());
}

#[test]
fn the_header_of_an_archived_file_has_its_kind() {
    let header = ArchivedHeader::parse(&bytes(LINK)).unwrap();
    assert_eq!(header, ArchivedHeader { size: 0, mode: 0o120_777, target: b"usr/bin".to_vec() });
}

#[test]
fn any_bytes_give_a_result_or_none() {
    let mut rng = Rng::new(1);
    let mut broken = 0;
    for sample in [COMMIT, DIRECTORY, LINK].map(bytes) {
        for _ in 0..2000 {
            let mut changed = sample.clone();
            for _ in 0..rng.between(1, 4) {
                // What says where members are stands at the end.
                let at =
                    if rng.chance(50) { changed.len() - 1 - rng.below(8) } else { rng.below(changed.len()) };
                changed[at] = if rng.chance(50) { rng.byte() } else { rng.pick(&[0, 1, 0x7f, 0xff]) };
            }
            changed.truncate(if rng.chance(20) { rng.below(changed.len()) } else { changed.len() });
            broken += usize::from(Commit::parse(&changed).is_none());
            if let Some(directory) = Directory::parse(&changed) {
                assert!(directory.files.len() + directory.directories.len() <= changed.len());
            }
            let _ = ArchivedHeader::parse(&changed);
        }
    }
    assert!(broken > 2000, "{broken}");
}
