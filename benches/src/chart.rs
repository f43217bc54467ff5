//! Bars as an SVG that needs nothing else and is read in light and in dark.

use std::fmt::Write;

use crate::html::escaped;

const STYLE: &str = include_str!("chart.css");

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

/// Groups of bars under a title.
pub(crate) struct Chart {
    /// The title.
    pub(crate) title: &'static str,
    /// The explanation of the bars.
    pub(crate) caption: &'static str,
    /// The groups, from top to bottom.
    pub(crate) groups: Vec<Group>,
}

/// Bars that are compared.
pub(crate) struct Group {
    /// The name that stands over them.
    pub(crate) name: String,
    /// The bars, from top to bottom.
    pub(crate) bars: Vec<Bar>,
}

/// A bar.
pub(crate) struct Bar {
    /// Its class in the style.
    pub(crate) class: &'static str,
    /// Its label, before it.
    pub(crate) label: &'static str,
    /// Its value, after it.
    pub(crate) value: String,
    /// Its length, as a share of the longest possible.
    pub(crate) share: f64,
}

impl Chart {
    /// Draws the chart.
    pub(crate) fn svg(&self) -> String {
        let Self { title, caption, .. } = self;
        let mut groups = String::new();
        let mut description = String::from(*caption);
        let mut top = HEAD;
        for Group { name, bars } in &self.groups {
            let name = escaped(name);
            let _ = writeln!(groups, "<text class=\"pair\" x=\"{MARGIN}\" y=\"{}\">{name}</text>", top + 14);
            top += HEADING;
            for bar in bars {
                groups.push_str(&bar.draw(top));
                top += ROW;
            }
            let values: Vec<String> = bars.iter().map(|bar| format!("{} {}", bar.label, bar.value)).collect();
            let _ = write!(description, " {name}: {}.", values.join("; "));
            top += GAP;
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" \
             height=\"{top}\" role=\"img\" aria-labelledby=\"title desc\">\n\
             <title id=\"title\">{title}</title>\n<desc id=\"desc\">{description}</desc>\n\
             <style>\n{STYLE}</style>\n\
             <rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
             <text class=\"title\" x=\"{MARGIN}\" y=\"32\">{title}</text>\n\
             <text class=\"soft\" x=\"{MARGIN}\" y=\"53\">{caption}</text>\n{groups}</svg>\n",
            WIDTH - 1,
            top - 1,
        )
    }
}

impl Bar {
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
            self.value,
        )
    }
}
