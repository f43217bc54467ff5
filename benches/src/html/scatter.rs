//! Size against CPU, both on logarithmic axes, with the Pareto front.

use std::fmt::Write;

use super::labels::{Rect, place};
use super::{class, escaped};
use crate::report::{Group, PairReport, Report};
use crate::table::{megabytes, multiple};

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 320.0;
/// The plot inside the chart.
const PLOT: Rect = Rect { left: 44.0, top: 26.0, right: 390.0, bottom: 276.0 };

/// One axis: values to coordinates.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// An axis with all `values` well inside.
    fn new(values: &[f64], from: f64, to: f64) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min).clamp(1e-9, 1e9);
        let most = values.iter().copied().fold(least, f64::max);
        // At least a factor of 4, so that nearly equal values do not seem far apart.
        let spread = (most / least).max(1.0).ln();
        let margin = ((4f64.ln() - spread) / 2.0).max(0.12 * spread).max(0.25);
        Self { least: least.ln() - margin, most: most.ln() + margin, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value.max(1e-9).ln() - self.least) / (self.most - self.least) * (self.to - self.from)
    }

    /// Round values at least `distance` apart: 1 and its tenfolds first, then 2 and 5, then others.
    fn ticks(&self, distance: f64) -> Vec<f64> {
        let mut ticks: Vec<f64> = Vec::new();
        for digits in [&[1.0][..], &[2.0, 5.0], &[3.0, 4.0, 7.0], &[1.5]] {
            for power in -9..12 {
                for digit in digits {
                    let value = digit * 10f64.powi(power);
                    let inside = (self.least..=self.most).contains(&value.ln());
                    let is_apart = |tick: &f64| (self.at(*tick) - self.at(value)).abs() >= distance;
                    if inside && ticks.iter().all(is_apart) {
                        ticks.push(value);
                    }
                }
            }
        }
        ticks.sort_by(f64::total_cmp);
        ticks
    }
}

/// The chart of a pair.
pub(super) fn chart(report: &Report, pair: &PairReport) -> String {
    let sizes: Vec<f64> = pair.done().map(|(_, figures)| figures.delta_size as f64 / 1e6).collect();
    let costs: Vec<f64> = pair.done().map(|(_, figures)| figures.make.cpu).collect();
    let x = Axis::new(&costs, PLOT.left, PLOT.right);
    let y = Axis::new(&sizes, PLOT.bottom, PLOT.top);
    let mut svg = format!(
        "<svg class=\"scatter\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Size against CPU\">\n"
    );
    grid(&mut svg, &x, &y);
    let at = |tool: &str| {
        let figures = pair.figures(tool)?;
        Some((x.at(figures.make.cpu), y.at(figures.delta_size as f64 / 1e6)))
    };
    let front: Vec<(f64, f64)> = pair.pareto_front().into_iter().filter_map(at).collect();
    let line = front.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ");
    let _ = writeln!(svg, "<polyline class=\"front\" points=\"{line}\"/>");
    let marks: Vec<(&str, f64, f64)> =
        pair.done().filter_map(|(tool, _)| at(tool).map(|(x, y)| (tool, x, y))).collect();
    let labels = place(&marks, &front, PLOT);
    // Ours come first and so get the best places; drawn last they lie on top.
    for ((tool, x, y), label) in marks.iter().zip(labels).rev() {
        let Some(figures) = pair.figures(tool) else { continue };
        let group = report.group(tool);
        let name = escaped(tool);
        let _ = writeln!(
            svg,
            "<g class=\"mark {}\" data-tool=\"{name}\"><title>{name}: {} MB, CPU {}</title>{}\
             <g transform=\"translate({x:.1} {y:.1})\">{}</g>\
             <text x=\"{:.1}\" y=\"{:.1}\">{name}</text></g>",
            class(group),
            megabytes(figures.delta_size),
            multiple(figures.make.cpu),
            label.leader((*x, *y)),
            mark(group),
            label.text.left,
            label.text.bottom - 4.0,
        );
    }
    svg + "</svg>\n"
}

/// The mark of a group around the origin: told apart by shape as well as by colour.
pub(super) fn mark(group: Group) -> &'static str {
    match group {
        Group::Ours => "<circle r=\"5\"/>",
        Group::TarDiff => "<path d=\"M0-6.5 6.5 0 0 6.5-6.5 0z\"/>",
        Group::WholeFile => "<rect x=\"-4.5\" y=\"-4.5\" width=\"9\" height=\"9\"/>",
    }
}

fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    let Rect { left, top, right, bottom } = PLOT;
    svg.push_str("<g class=\"axes\">\n");
    for tick in x.ticks(44.0) {
        let at = x.at(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {top}V{bottom}\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 15.0,
            short(tick)
        );
    }
    for tick in y.ticks(22.0) {
        let at = y.at(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {at:.1}H{right}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            at + 4.0,
            short(tick)
        );
    }
    let _ = writeln!(
        svg,
        "<path class=\"edge\" d=\"M{left} {top}V{bottom}H{right}\"/>\
         <text x=\"4\" y=\"14\">delta, MB</text>\
         <text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">CPU to make it, multiples of gzip -6</text>\n</g>",
        bottom + 36.0
    );
}

/// A round number without the noise of its binary form.
fn short(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_their_values_and_have_round_ticks() {
        let axis = Axis::new(&[0.3, 40.0], 0.0, 300.0);
        assert!(axis.at(0.3) > 10.0 && axis.at(40.0) < 290.0);
        assert!(axis.ticks(30.0).windows(2).all(|pair| axis.at(pair[1]) - axis.at(pair[0]) >= 30.0));
        assert!(axis.ticks(30.0).len() >= 4, "{:?}", axis.ticks(30.0));
        let one = Axis::new(&[7.0], 300.0, 0.0);
        assert!((one.at(7.0) - 150.0).abs() < 1.0);
        assert!(!one.ticks(30.0).is_empty());
        assert_eq!((short(0.05), short(200.0)), ("0.05".into(), "200".into()));
    }
}
