//! What the charts share: a figure with title, description and caption, a frame with axes, and rows
//! of bars.

use super::{escape, region};
use std::fmt::Write;

/// Width of every chart.
pub(super) const WIDTH: f64 = 1200.0;

/// A chart as a figure that scrolls where the page is narrow. `description` is plain text for those
/// who do not see the chart; `caption` is HTML.
pub(super) fn figure(id: &str, [title, description]: [&str; 2], height: f64, body: &str, caption: &str) -> String {
    let svg = format!(
        "<svg id=\"{id}\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-title {id}-desc\">\n\
         <title id=\"{id}-title\">{}</title>\n<desc id=\"{id}-desc\">{}</desc>\n{body}</svg>\n",
        escape(title),
        escape(description)
    );
    format!("<figure>\n{}<figcaption>{caption}</figcaption>\n</figure>\n", region(title, &svg))
}

/// A coloured square and a word of a caption.
pub(super) fn swatch(class: &str, word: &str) -> String {
    format!("<span class=\"legend\"><span class=\"swatch {class}\"></span>{word}</span> ")
}

/// The rectangle that a panel of a chart draws in, in pixels. Parts in [0, 1] run to the right and
/// upwards.
pub(super) struct Frame {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Frame {
    pub fn x(&self, part: f64) -> f64 {
        self.left + part * (self.right - self.left)
    }

    pub fn y(&self, part: f64) -> f64 {
        self.bottom - part * (self.bottom - self.top)
    }

    /// The axes, with a line and a label at each mark of the vertical one.
    pub fn axes(&self, marks: impl Iterator<Item = (f64, String)>) -> String {
        let mut s = format!("<path class=\"axis\" d=\"M{} {} V{} H{}\"/>\n", self.left, self.top, self.bottom, self.right);
        for (part, label) in marks {
            let (y, label) = (self.y(part), escape(&label));
            let (left, right) = (self.left, self.right);
            let _ = writeln!(
                s,
                "<path class=\"axis\" d=\"M{left} {y:.1} H{right}\"/><text class=\"faint\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 8.0,
                y + 4.0
            );
        }
        s
    }

    /// A line through points.
    pub fn line(&self, class: &str, points: &[(f64, f64)]) -> String {
        let list: Vec<String> = points.iter().map(|(a, b)| format!("{:.1},{:.1}", self.x(*a), self.y(*b))).collect();
        format!("<polyline class=\"{class}\" points=\"{}\"/>\n", list.join(" "))
    }
}

/// Points of a line that keeps each value until the next begins: values change in steps, not in
/// slopes.
pub(super) fn steps(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = vec![];
    for (x, y) in points {
        if let Some(&(_, before)) = out.last() {
            out.push((x, before));
        }
        out.push((x, y));
    }
    out
}

/// Whole numbers from 0 with an even step, and `top`; about five, each with its part of `top`.
pub(super) fn whole_marks(top: usize) -> impl Iterator<Item = (f64, usize)> {
    let step = [1, 2, 5, 10, 20, 50, 100].into_iter().find(|s| top / s <= 6).unwrap_or(top).max(1);
    let even = (0..top).step_by(step).filter(move |m| 3 * (top - m) > step);
    even.chain([top]).map(move |m| (m as f64 / top.max(1) as f64, m))
}

/// A row of a bar chart.
pub(super) struct Bar {
    /// What the row is about.
    pub label: String,
    /// A word more.
    pub note: String,
    /// Class, which decides the colour.
    pub class: &'static str,
    /// Begin and end, as parts of the room for bars.
    pub span: [f64; 2],
    /// What stands behind the bar.
    pub value: String,
}

const ROW: f64 = 20.0;
const BARS: Frame = Frame { left: 400.0, right: 1060.0, top: 0.0, bottom: 0.0 };

/// Bars, one row each, below one another; with a line at part `zero` if there is one.
pub(super) fn bars(id: &str, words: [&str; 2], rows: &[Bar], zero: Option<f64>, caption: &str) -> String {
    let height = ROW * rows.len() as f64 + 10.0;
    let mut s = String::new();
    if let Some(part) = zero {
        let _ = writeln!(s, "<path class=\"axis\" d=\"M{:.1} 0 V{height}\"/>", BARS.x(part));
    }
    for (i, b) in rows.iter().enumerate() {
        let top = ROW * i as f64 + 4.0;
        let [from, to] = b.span.map(|p| BARS.x(p));
        let base = top + 12.0;
        let _ = writeln!(
            s,
            "<text x=\"4\" y=\"{base}\">{}</text><text class=\"faint\" x=\"300\" y=\"{base}\">{}</text><rect class=\"bar {}\" x=\"{from:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"14\"/>\
             <text class=\"faint\" x=\"{:.1}\" y=\"{base}\">{}</text>",
            escape(&tail(&b.label, 40)),
            escape(&b.note),
            b.class,
            (to - from).max(1.0),
            to.max(from + 1.0) + 6.0,
            escape(&b.value)
        );
    }
    figure(id, words, height, &s, caption)
}

/// A name shortened at its front, where names of one network are alike.
pub(super) fn tail(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most { name.to_string() } else { format!("…{}", name.chars().skip(count + 1 - most).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_end() {
        assert_eq!(tail("/layers.0/conv", 20), "/layers.0/conv");
        assert_eq!(tail("/layers.0/conv", 5), "…conv");
        assert_eq!(tail("äöü", 2), "…ü");
    }

    #[test]
    fn marks_are_whole_and_few() {
        for top in 1..400 {
            let marks: Vec<(f64, usize)> = whole_marks(top).collect();
            assert!((2..=8).contains(&marks.len()) && marks[0] == (0.0, 0) && marks.last() == Some(&(1.0, top)), "{top}: {marks:?}");
        }
    }

    #[test]
    fn steps_keep_a_value_until_the_next() {
        let points = [(0.0, 1.0), (0.5, 0.3), (1.0, 0.2)];
        assert_eq!(steps(points.into_iter()), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.3), (1.0, 0.3), (1.0, 0.2)]);
    }
}
