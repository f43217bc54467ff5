//! Places the labels of marks: near their mark, over nothing else.

/// A rectangle in the units of the chart; `top` is less than `bottom`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// The place of one label.
#[derive(Debug, Clone, Copy)]
pub(super) struct Label {
    pub(super) text: Rect,
    is_far: bool,
}

/// Height of a label, and width of a letter: more than any usual font has at 11 units.
const LINE: f64 = 15.0;
const LETTER: f64 = 6.4;
/// Half the size of a mark, with the air around it.
const MARK: f64 = 7.0;

impl Rect {
    fn overlap(&self, other: &Self) -> f64 {
        let width = self.right.min(other.right) - self.left.max(other.left);
        let height = self.bottom.min(other.bottom) - self.top.max(other.top);
        width.max(0.0) * height.max(0.0)
    }

    fn area(&self) -> f64 {
        (self.right - self.left) * (self.bottom - self.top)
    }
}

impl Label {
    /// A thin line to the mark, if the label is not beside it.
    pub(super) fn leader(&self, (x, y): (f64, f64)) -> String {
        if !self.is_far {
            return String::new();
        }
        let to_x = x.clamp(self.text.left, self.text.right);
        let to_y = y.clamp(self.text.top + 2.0, self.text.bottom - 2.0);
        format!("<path class=\"leader\" d=\"M{x:.1} {y:.1}L{to_x:.1} {to_y:.1}\"/>")
    }
}

/// Places a label for each mark (name, x, y) inside `bounds`, in the order of the marks: each where it
/// covers least of marks, labels before it, and the line through `front`.
pub(super) fn place(marks: &[(&str, f64, f64)], front: &[(f64, f64)], bounds: Rect) -> Vec<Label> {
    let of_marks: Vec<Rect> = marks
        .iter()
        .map(|&(_, x, y)| Rect { left: x - MARK, top: y - MARK, right: x + MARK, bottom: y + MARK })
        .collect();
    let of_line = along(front);
    let mut placed: Vec<Label> = Vec::new();
    for &(name, x, y) in marks {
        let width = name.chars().count() as f64 * LETTER;
        let cost = |label: &Label| {
            let text = &label.text;
            let over_marks: f64 = of_marks.iter().map(|mark| text.overlap(mark)).sum();
            let over_labels: f64 = placed.iter().map(|other| text.overlap(&other.text)).sum();
            let over_line: f64 = of_line.iter().map(|dot| text.overlap(dot)).sum();
            let outside = text.area() - text.overlap(&bounds);
            let centre = ((text.left + text.right) / 2.0, (text.top + text.bottom) / 2.0);
            let distance = (centre.0 - x).abs() * 0.02 + (centre.1 - y).abs() * 0.1;
            20.0 * over_labels + 20.0 * outside + 8.0 * over_marks + 0.4 * over_line + distance
        };
        let best = candidates(x, y, width).min_by(|left, right| cost(left).total_cmp(&cost(right)));
        placed.extend(best);
    }
    placed
}

/// Small squares along a line.
fn along(points: &[(f64, f64)]) -> Vec<Rect> {
    let mut dots = Vec::new();
    for pair in points.windows(2) {
        let ((x, y), (to_x, to_y)) = (pair[0], pair[1]);
        for step in 0..20 {
            let share = f64::from(step) / 20.0;
            let (x, y) = (x + (to_x - x) * share, y + (to_y - y) * share);
            dots.push(Rect { left: x - 2.0, top: y - 2.0, right: x + 2.0, bottom: y + 2.0 });
        }
    }
    dots
}

/// Right, left, above and below of a mark, ever further away.
fn candidates(x: f64, y: f64, width: f64) -> impl Iterator<Item = Label> {
    (0..7).flat_map(move |ring| {
        let away = f64::from(ring) * LINE;
        let rises: &[f64] = if ring == 0 { &[0.0] } else { &[-1.0, 1.0] };
        let beside = rises.iter().flat_map(move |rise| {
            let middle = y + rise * away;
            [x + MARK + 2.0, x - MARK - 2.0 - width].map(|left| (left, middle))
        });
        let over = [y - MARK - LINE / 2.0 - away, y + MARK + LINE / 2.0 + away].into_iter().flat_map(
            move |middle| [x - width / 2.0, x - 0.8 * width, x - 0.2 * width].map(|left| (left, middle)),
        );
        beside.chain(over).map(move |(left, middle)| Label {
            text: Rect { left, top: middle - LINE / 2.0, right: left + width, bottom: middle + LINE / 2.0 },
            is_far: ring > 0,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_marks_in_one_place_do_not_overlap() {
        let bounds = Rect { left: 40.0, top: 20.0, right: 390.0, bottom: 280.0 };
        for at in [(200.0, 150.0), (385.0, 25.0), (45.0, 275.0)] {
            let marks: Vec<(&str, f64, f64)> =
                ["tar-diff default", "tar-diff fast", "zstd -19", "bsdiff", "xdelta3"]
                    .into_iter()
                    .enumerate()
                    .map(|(index, name)| (name, at.0 + index as f64, at.1))
                    .collect();
            let labels = place(&marks, &[], bounds);
            for (index, label) in labels.iter().enumerate() {
                assert!(label.text.area() - label.text.overlap(&bounds) < 1.0, "{label:?} is outside");
                for other in &labels[index + 1..] {
                    assert!(label.text.overlap(&other.text) < 1.0, "{label:?} {other:?}");
                }
            }
        }
    }
}
