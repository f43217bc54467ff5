//! Counts how often clients pulled each image: a plan reads it, and so knows the releases that hosts run.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use layer::Digest;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Most images that are counted at one time. The one that nobody has asked for in the longest time gives way.
const MAX_IMAGES: usize = 2048;

/// An image, by the labels of its figure.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pulled {
    /// `HOST[:PORT]/NAME`, as `plan` names it.
    repository: String,
    digest: String,
}

/// The numbers of the pulls.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    counts: Family<Pulled, Counter>,
    latest: Mutex<Latest>,
}

/// The latest pull of each image, by its number among all pulls.
#[derive(Debug, Default)]
struct Latest {
    number: u64,
    by_image: HashMap<Pulled, u64>,
}

impl Pulls {
    /// Has the numbers written with the other figures of the mirror.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Manifests that clients got, by repository and digest";
        registry.register("pulls", help, self.counts.clone());
    }

    /// Counts a pull.
    pub(super) fn count(&self, repository: &str, digest: Digest) {
        let image = Pulled { repository: repository.to_owned(), digest: digest.to_string() };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.number += 1;
        let number = latest.number;
        if !latest.by_image.contains_key(&image)
            && latest.by_image.len() >= MAX_IMAGES
            && let Some(oldest) = latest.by_image.iter().min_by_key(|(_, number)| **number)
        {
            let oldest = oldest.0.clone();
            latest.by_image.remove(&oldest);
            self.counts.remove(&oldest);
        }
        self.counts.get_or_create(&image).inc();
        latest.by_image.insert(image, number);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn the_image_that_was_asked_for_longest_ago_gives_way() {
        let pulls = Pulls::default();
        let digest = |number: usize| Digest::of(&number.to_be_bytes());
        for number in 0..MAX_IMAGES {
            pulls.count("r.example/app", digest(number));
        }
        pulls.count("r.example/app", digest(0));
        pulls.count("r.example/app", digest(MAX_IMAGES));
        let mut registry = Registry::default();
        pulls.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let of = |number: usize| {
            let label = format!(r#"pulls_total{{repository="r.example/app",digest="{}"}} "#, digest(number));
            text.lines().find_map(|line| line.strip_prefix(&label).map(ToOwned::to_owned))
        };
        assert_eq!((of(0), of(1), of(2)), (Some("2".into()), None, Some("1".into())));
        assert_eq!(of(MAX_IMAGES), Some("1".into()));
        assert_eq!(text.lines().filter(|line| line.starts_with("pulls_total")).count(), MAX_IMAGES);
    }
}
