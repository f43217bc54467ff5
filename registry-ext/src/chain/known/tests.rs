use layer::BlobDigest;

use super::*;
use crate::artifact::TAR_DIFF;
use crate::discover::Published;
use crate::oci::descriptor;

fn digest(name: u8) -> Digest {
    Digest::from_bytes([name; 32])
}

fn id(name: u8) -> DiffId {
    DiffId(digest(name))
}

fn layer(name: u8, size: u64) -> ImageLayer {
    let blob = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest(100 + name), size);
    ImageLayer { blob, digest: BlobDigest(digest(100 + name)), diff_id: id(name) }
}

fn delta(base: Base, to: u8, size: u64) -> Candidate {
    let blob = descriptor(TAR_DIFF, Digest::of(format!("{base} {to} {size}").as_bytes()), size);
    Candidate { layout: Published::Artifact, base, to: id(to), blob, manifest: digest(0) }
}

/// Adds an image whose config has the number of its last layer.
fn add_image(known: &mut Known, layers: &[(u8, u64)]) {
    for (name, size) in layers {
        known.layers.insert(id(*name), layer(*name, *size));
    }
    let config = layers.last().unwrap().0;
    known.images.insert(digest(config), layers.iter().map(|(name, _)| id(*name)).collect());
}

fn image(name: u8) -> Base {
    Base::Image(digest(name))
}

/// Images 2 to `last` of one layer each, with a delta of 10 bytes from each to the next; image 1 is here.
fn line(last: u8) -> Known {
    let mut known = Known { here: HashSet::from([image(1)]), ..Known::default() };
    for name in 2..=last {
        known.deltas.push(delta(image(name - 1), name, 10));
        if name < last {
            add_image(&mut known, &[(name, 1000)]);
        }
    }
    known
}

fn size(known: &Known, to: u8) -> Option<u64> {
    Rounds::new(known, false).cheapest(id(to)).map(|path| path.size)
}

#[test]
fn the_way_that_fetches_least_is_taken() {
    let mut known = line(4);
    assert_eq!(size(&known, 4), Some(30));
    known.deltas.push(delta(image(1), 3, 25));
    assert_eq!(size(&known, 4), Some(30), "two small deltas are less than one");
    known.deltas.push(delta(image(2), 4, 15));
    assert_eq!(size(&known, 4), Some(25));
    known.deltas.push(delta(image(1), 4, 24));
    let rounds = Rounds::new(&known, false);
    let path = rounds.cheapest(id(4)).unwrap();
    assert_eq!((path.size, path.before.len()), (24, 0));
    known.here.clear();
    assert_eq!(size(&known, 4), Some(1010), "over a blob, since nothing is here");
}

#[test]
fn layers_on_the_way_are_in_the_order_in_which_they_are_made() {
    let known = line(5);
    let rounds = Rounds::new(&known, false);
    let path = rounds.cheapest(id(5)).unwrap();
    let before: Vec<_> = path.before.iter().map(|(layer, delta)| (*layer, delta.unwrap().base)).collect();
    assert_eq!(before, [(id(2), image(1)), (id(3), image(2)), (id(4), image(3))]);
    assert_eq!(path.delta.base, image(4));
}

#[test]
fn eight_deltas_follow_each_other_and_nine_do_not() {
    assert_eq!(size(&line(9), 9), Some(80));
    // The blob of the release before, and one delta.
    assert_eq!(size(&line(10), 10), Some(1010));
}

#[test]
fn cycles_do_no_harm() {
    let mut known = line(4);
    known.deltas.extend([delta(image(3), 2, 0), delta(image(2), 2, 0), delta(image(4), 3, 0)]);
    assert_eq!(size(&known, 4), Some(30));
    known.here.clear();
    known.layers.clear();
    assert_eq!(size(&known, 4), None);
}

#[test]
fn an_image_takes_all_its_layers() {
    let mut known = Known { here: HashSet::from([image(1), Base::Layer(id(9))]), ..Known::default() };
    // One layer is here, one has a delta, one is fetched, and one is used twice.
    add_image(&mut known, &[(9, 500), (8, 400), (7, 30), (2, 1000), (2, 1000)]);
    known.deltas.extend([delta(image(1), 8, 20), delta(image(1), 7, 40), delta(image(1), 2, 100)]);
    known.deltas.push(delta(image(2), 3, 5));
    let rounds = Rounds::new(&known, false);
    let path = rounds.cheapest(id(3)).unwrap();
    let before: Vec<_> = path.before.iter().map(|(layer, delta)| (*layer, delta.is_some())).collect();
    assert_eq!(before, [(id(8), true), (id(7), false), (id(2), true)]);
    assert_eq!(path.size, 20 + 30 + 100 + 5);
}

#[test]
fn a_way_makes_so_many_layers_at_most() {
    for (count, is_found) in [(32, true), (33, false)] {
        let mut known = Known::default();
        add_image(&mut known, &(1..=count).map(|name| (name, 10)).collect::<Vec<_>>());
        known.deltas.push(delta(image(count), 99, 1));
        assert_eq!(size(&known, 99).is_some(), is_found, "{count}");
    }
}

#[test]
fn a_way_that_makes_too_many_layers_gives_way_to_a_costlier_one() {
    let many = |of: u8| -> Vec<(u8, u64)> { (of..of + 34).map(|name| (name, 1000)).collect() };
    // The last step over image 43 is cheaper, and image 43 has 34 layers; image 3 has one.
    let mut known = Known { here: HashSet::from([image(1)]), ..Known::default() };
    add_image(&mut known, &many(10));
    add_image(&mut known, &[(3, 1000)]);
    known.deltas.extend(many(10).into_iter().map(|(name, _)| delta(image(1), name, 1)));
    known.deltas.extend([delta(image(43), 4, 10), delta(image(1), 3, 50), delta(image(3), 4, 50)]);
    assert_eq!(size(&known, 4), Some(100));
    // It is so before the last step, too.
    add_image(&mut known, &[(4, 1000)]);
    known.deltas.push(delta(image(4), 5, 10));
    assert_eq!(size(&known, 5), Some(110));
}

#[test]
fn hope_leads_to_images_that_were_not_read() {
    let mut known = Known { here: HashSet::from([image(1)]), ..Known::default() };
    known.deltas.extend([delta(image(1), 4, 100), delta(image(2), 4, 20), delta(image(3), 4, 10)]);
    known.unread.insert(digest(2));
    let rounds = Rounds::new(&known, true);
    let path = rounds.cheapest(id(4)).unwrap();
    assert_eq!((path.size, path.unread), (20, BTreeSet::from([digest(2)])), "image 3 cannot be read");
    assert_eq!(size(&known, 4), Some(100), "without hope");
}
