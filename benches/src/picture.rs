//! The picture of the README: the bytes of an update with and without deltas, as an SVG that needs nothing
//! else and is read in light and in dark.

use crate::chart::{Bar, Chart, Group};
use crate::report::{PairReport, Report};
use crate::table::megabytes;

/// The bars of the deltas: their label, and the tool of the report that they show.
const DELTAS: [(&str, &str); 2] = [("delta", "tar-diff default"), ("delta, tardf3", "tar-diff tardf3")];
/// The label of the first bar, which the others are shares of.
const PULL: &str = "plain pull";
const TITLE: &str = "Bytes of an update, with and without deltas";
const CAPTION: &str = "The bar of the plain pull is the new layer as gzip. The other bars are shares of it.";

/// Returns the picture of a report: for each pair the layer that a plain pull fetches and the deltas that
/// the report has of the presets and formats that the picture shows.
pub fn svg(report: &Report) -> String {
    let group = |pair: &PairReport| {
        let name = pair.about.as_deref().unwrap_or(&pair.name).to_owned();
        Group { name, bars: bars(pair) }
    };
    Chart { title: TITLE, caption: CAPTION, groups: report.pairs.iter().map(group).collect() }.svg()
}

fn bars(pair: &PairReport) -> Vec<Bar> {
    let bar = |class, label, size: u64| {
        let share = size as f64 / pair.layer_size.max(1) as f64;
        Bar { class, label, value: value(class, size, share), share }
    };
    let mut bars = vec![bar("pull", PULL, pair.layer_size)];
    for (index, (label, tool)) in DELTAS.into_iter().enumerate() {
        let class = if index == 0 { "delta" } else { "through" };
        bars.extend(pair.figures(tool).map(|figures| bar(class, label, figures.delta_size)));
    }
    bars
}

fn value(class: &str, size: u64, share: f64) -> String {
    let share = 100.0 * share;
    let digits = usize::from(share < 10.0) + usize::from(share < 1.0);
    match class {
        "pull" => format!("{} MB", megabytes(size)),
        _ => format!("{} MB, {share:.digits$}%", megabytes(size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Outcome, tests::example};

    #[test]
    fn a_pair_is_drawn_with_the_deltas_that_it_has() {
        let mut report = example();
        report.pairs.truncate(2);
        let [first, second] = &mut report.pairs[..] else { panic!("two pairs") };
        first.about = Some("<b> & \"c\"".into());
        first.runs[0].tool = DELTAS[0].1.into();
        first.runs[1].tool = DELTAS[1].1.into();
        second.runs[0].tool = DELTAS[0].1.into();
        second.runs[0].outcome = Outcome::Failed("exit status 1".into());
        let picture = svg(&report);
        assert_eq!(picture.matches("class=\"pull\"").count(), 2);
        assert_eq!(picture.matches("class=\"delta\"").count(), 1);
        assert_eq!(picture.matches("class=\"through\"").count(), 1);
        assert!(picture.contains("&lt;b&gt; &amp; &quot;c&quot;: plain pull 0.001 MB; delta 0.000 MB, 10%"));
        assert!(!picture.contains("<b>") && !picture.contains("<script"));
    }

    #[test]
    fn a_share_below_ten_percent_has_a_digit_more() {
        let value = |share| value("delta", 2_000_000, share);
        assert_eq!([0.246, 0.046, 0.0026].map(value), ["2.00 MB, 25%", "2.00 MB, 4.6%", "2.00 MB, 0.26%"]);
    }
}
