//! The pulls that mirrors counted: they tell which images hosts run, so that nobody has to write these down.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use layer::Digest;

use crate::{Error, Result};

/// The figure of a mirror that has the pulls of an image.
const FIGURE: &str = "registry_ext_mirror_pulls_total{";
/// The beginning of the names of all figures of a mirror.
const OF_A_MIRROR: &str = "registry_ext_mirror_";
/// Most bytes of figures that are read.
const MAX_SIZE: usize = 64 << 20;

/// The pulls of images, by repository and by the digest of the manifest or index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulls {
    by_repository: BTreeMap<String, BTreeMap<Digest, u64>>,
}

impl Pulls {
    /// Adds the figures of a mirror, in the text form that its `/metrics` and Prometheus give. Other figures in the
    /// text do not matter.
    ///
    /// # Errors
    /// [`Error::Malformed`] if there is no figure of a mirror, or a pull that cannot be read.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let wrong = |reason: String| Error::malformed("the figures of a mirror", reason);
        if text.len() > MAX_SIZE {
            return Err(wrong(format!("they have {} bytes, at most {MAX_SIZE} are read", text.len())));
        }
        if !text.contains(OF_A_MIRROR) {
            return Err(wrong(format!(
                "no name in them begins with `{OF_A_MIRROR}`: save the text of /metrics"
            )));
        }
        for (index, line) in text.lines().enumerate() {
            let Some(line) = line.strip_prefix(FIGURE) else { continue };
            let (repository, digest, count) = pulls_of(line)
                .ok_or_else(|| wrong(format!("line {} is not the pulls of an image", index + 1)))?;
            let images = self.by_repository.entry(repository).or_default();
            let counted = images.entry(digest).or_default();
            *counted = counted.saturating_add(count);
        }
        Ok(())
    }

    /// The images of a repository and their pulls, the most pulled first.
    pub(super) fn of(&self, repository: &str) -> Vec<(Digest, u64)> {
        let images = self.by_repository.get(repository).into_iter().flatten();
        let mut images: Vec<_> = images.map(|(digest, count)| (*digest, *count)).collect();
        images.sort_by_key(|(digest, count)| (Reverse(*count), *digest));
        images
    }

    /// The pulls of one image.
    pub(super) fn of_image(&self, repository: &str, digest: Digest) -> Option<u64> {
        self.by_repository.get(repository)?.get(&digest).copied()
    }
}

/// Returns repository, digest and number of a line behind the brace. Prometheus adds labels, and the time.
fn pulls_of(line: &str) -> Option<(String, Digest, u64)> {
    let (mut rest, mut repository, mut digest) = (line, None, None);
    let values = loop {
        if let Some(values) = rest.strip_prefix('}') {
            break values;
        }
        let (name, quoted) = rest.split_once("=\"")?;
        // The names of repositories and digests have no character that would be written as an escape.
        let end = quoted.char_indices().scan(false, |is_escaped, (index, letter)| {
            let ends = letter == '"' && !*is_escaped;
            *is_escaped = letter == '\\' && !*is_escaped;
            Some(ends.then_some(index))
        });
        let end = end.flatten().next()?;
        match name.trim_start_matches([',', ' ']) {
            "repository" => repository = Some(quoted[..end].to_owned()),
            "digest" => digest = quoted[..end].parse().ok(),
            _ => {}
        }
        rest = quoted[end + 1..].trim_start();
    };
    let number: f64 = values.split_whitespace().next()?.parse().ok()?;
    let is_count = number.is_finite() && number >= 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of floats saturates")]
    let count = is_count.then_some(number as u64)?;
    Some((repository?, digest?, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_several_mirrors_add_up() {
        let [one, two] = [b"1", b"2"].map(|bytes| Digest::of(bytes));
        let figure = "registry_ext_mirror_pulls_total";
        let first = format!(
            "# TYPE registry_ext_mirror_pulls counter\n\
             {figure}{{repository=\"r.example/app\",digest=\"{one}\"}} 3\n\
             {figure}{{repository=\"r.example/app\",digest=\"{two}\"}} 4\n\
             {figure}{{repository=\"r.example/other\",digest=\"{two}\"}} 9\n# EOF\n"
        );
        // As Prometheus gives it: labels in the order of their names, others among them, and a time.
        let second = format!(
            "{figure}{{digest=\"{one}\",job=\"a \\\"b\\\" }}\",repository=\"r.example/app\"}} 2e0 1395066363000\n"
        );
        let mut pulls = Pulls::default();
        pulls.add(&first).unwrap();
        pulls.add(&second).unwrap();
        assert_eq!(pulls.of("r.example/app"), [(one, 5), (two, 4)]);
        assert_eq!(pulls.of_image("r.example/other", two), Some(9));
        assert_eq!(pulls.of("r.example/none"), []);
    }

    #[test]
    fn faults_of_figures_are_said() {
        let figure = "registry_ext_mirror_pulls_total";
        for (text, reason) in [
            ("<html>", "save the text of /metrics"),
            (&format!("\n{figure}{{repository=\"a\"}} 1"), "line 2"),
            (&format!("{figure}{{repository=\"a\",digest=\"sha256:zz\"}} 1"), "line 1"),
            (&format!("{figure}{{repository=\"a"), "line 1"),
            (&format!("{figure}{{repository=\"a\",digest=\"{}\"}} NaN", Digest::of(b"")), "line 1"),
        ] {
            let message = Pulls::default().add(text).unwrap_err().to_string();
            assert!(message.contains(reason), "{text}: {message}");
        }
        Pulls::default().add("# HELP registry_ext_mirror_pulls Pulls\n").unwrap();
    }
}
