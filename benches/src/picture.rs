//! The picture of the README: the bytes of an update with and without deltas, as an SVG that needs nothing
//! else and is read in light and in dark.

use std::fmt::Write;

use crate::html::escaped;
use crate::report::{PairReport, Report};
use crate::table::megabytes;

const STYLE: &str = include_str!("picture.css");

/// The bars of the deltas: their label, and the tool of the report that they show.
const DELTAS: [(&str, &str); 2] = [("delta", "tar-diff default"), ("delta, tardf3", "tar-diff tardf3")];
/// The label of the first bar, which the others are shares of.
const PULL: &str = "plain pull";
const TITLE: &str = "Bytes of an update, with and without deltas";
const CAPTION: &str = "The bar of the plain pull is the new layer as gzip. The other bars are shares of it.";

/// Sizes and places, in pixels.
const WIDTH: u32 = 700;
const MARGIN: u32 = 20;
const BARS_LEFT: u32 = 130;
const BARS_WIDTH: f64 = 400.0;
const BAR: u32 = 14;
const ROW: u32 = 22;
const HEADING: u32 = 24;
const GAP: u32 = 14;
const HEAD: u32 = 74;

/// A bar: its class, label, size in bytes, and share of the plain pull.
struct Bar {
    class: &'static str,
    label: &'static str,
    size: u64,
    share: f64,
}

/// Returns the picture of a report: for each pair the layer that a plain pull fetches and the deltas that
/// the report has of the presets and formats that the picture shows.
pub fn svg(report: &Report) -> String {
    let mut groups = String::new();
    let mut description = String::from(CAPTION);
    let mut top = HEAD;
    for pair in &report.pairs {
        let name = escaped(pair.about.as_deref().unwrap_or(&pair.name));
        let bars = bars(pair);
        let _ = writeln!(groups, "<text class=\"pair\" x=\"{MARGIN}\" y=\"{}\">{name}</text>", top + 14);
        top += HEADING;
        for bar in &bars {
            groups.push_str(&bar.draw(top));
            top += ROW;
        }
        let values: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.label, bar.value())).collect();
        let _ = write!(description, " {name}: {}.", values.join("; "));
        top += GAP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" \
         height=\"{top}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">{TITLE}</title>\n<desc id=\"desc\">{description}</desc>\n\
         <style>\n{STYLE}</style>\n\
         <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"32\">{TITLE}</text>\n\
         <text class=\"soft\" x=\"{MARGIN}\" y=\"53\">{CAPTION}</text>\n{groups}</svg>\n",
        WIDTH - 1,
        top - 1,
    )
}

fn bars(pair: &PairReport) -> Vec<Bar> {
    let bar = |class, label, size: u64| Bar {
        class,
        label,
        size,
        share: size as f64 / pair.layer_size.max(1) as f64,
    };
    let mut bars = vec![bar("pull", PULL, pair.layer_size)];
    for (index, (label, tool)) in DELTAS.into_iter().enumerate() {
        let class = if index == 0 { "delta" } else { "through" };
        bars.extend(pair.figures(tool).map(|figures| bar(class, label, figures.delta_size)));
    }
    bars
}

impl Bar {
    fn value(&self) -> String {
        let share = 100.0 * self.share;
        let digits = usize::from(share < 10.0) + usize::from(share < 1.0);
        match self.class {
            "pull" => format!("{} MB", megabytes(self.size)),
            _ => format!("{} MB, {share:.digits$}%", megabytes(self.size)),
        }
    }

    fn draw(&self, top: u32) -> String {
        // A bar of no width would look like one that is missing.
        let width = (BARS_WIDTH * self.share.min(1.0)).max(1.5);
        let text = top + 12;
        format!(
            "<text class=\"soft\" x=\"{MARGIN}\" y=\"{text}\">{}</text>\
             <rect class=\"{}\" x=\"{BARS_LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>\
             <text class=\"value\" x=\"{:.1}\" y=\"{text}\">{}</text>\n",
            self.label,
            self.class,
            f64::from(BARS_LEFT) + width + 8.0,
            self.value(),
        )
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
        let value = |share| Bar { class: "delta", label: "delta", size: 2_000_000, share }.value();
        assert_eq!([0.246, 0.046, 0.0026].map(value), ["2.00 MB, 25%", "2.00 MB, 4.6%", "2.00 MB, 0.26%"]);
    }
}
