//! Drawing: a frame with axes, and marks in it, as SVG.
//!
//! Colours and fonts are those of the page, by class; nothing is loaded from anywhere.

use std::fmt::Write;

use super::axis::Scale;
use super::text::{alike, escaped};

/// What surrounds the frame.
const TOP: f64 = 34.0;
const RIGHT: f64 = 18.0;
const BOTTOM: f64 = 46.0;
/// The top of rows, which have no axis of their own, and how high one is with its name above it.
const ROWS_TOP: f64 = 6.0;
const ROW: f64 = 54.0;
/// The width of a digit, nearly.
const DIGIT: f64 = 7.2;

/// How a tick is written.
pub(super) type Label = fn(f64) -> String;

/// An axis: its scale, what it measures, its ticks.
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) title: String,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis whose ticks are numbers alike.
    pub(super) fn linear(scale: Scale, title: &str) -> Self {
        let ticks = scale.ticks();
        let labels = alike(&ticks);
        Self { scale, title: title.to_owned(), ticks: ticks.into_iter().zip(labels).collect() }
    }

    /// An axis with the ticks of its scale.
    pub(super) fn new(scale: Scale, title: &str, label: Label) -> Self {
        let ticks = scale.ticks().into_iter().map(|tick| (tick, label(tick))).collect();
        Self { scale, title: title.to_owned(), ticks }
    }
}

/// A drawing that is being made.
pub(super) struct Chart {
    width: f64,
    height: f64,
    left: f64,
    top: f64,
    x: Scale,
    y: Scale,
    svg: String,
}

impl Chart {
    /// A frame with two axes; lines across for the values of the second one.
    pub(super) fn new(width: f64, height: f64, x: &Axis, y: &Axis) -> Self {
        let longest = y.ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0);
        let left = 20.0 + longest as f64 * DIGIT;
        let (top, svg) = (TOP, String::new());
        let mut chart = Self { width, height, left, top, x: x.scale, y: y.scale, svg };
        chart.draw_y(y);
        chart.draw_x(x);
        chart
    }

    /// A frame with rows instead of a second axis.
    pub(super) fn rows(width: f64, rows: usize, x: &Axis) -> Self {
        let height = ROWS_TOP + BOTTOM + rows as f64 * ROW;
        let y = Scale::Linear { min: 0.0, max: rows as f64 };
        let (left, top, svg) = (0.0, ROWS_TOP, String::new());
        let mut chart = Self { width, height, left, top, x: x.scale, y, svg };
        chart.draw_x(x);
        chart
    }

    fn draw_y(&mut self, axis: &Axis) {
        let (left, right) = (self.left, self.right());
        for (tick, label) in &axis.ticks {
            let y = self.y_of(*tick);
            let _ = write!(
                self.svg,
                r#"<path class="grid" d="M{left:.1} {y:.1}H{right:.1}"/>
<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                left - 8.0,
                y + 4.0,
                escaped(label)
            );
        }
        let _ = write!(
            self.svg,
            r#"<text class="axis" x="0" y="{:.1}">{}</text>"#,
            TOP - 20.0,
            escaped(&axis.title)
        );
    }

    fn draw_x(&mut self, axis: &Axis) {
        let (left, right, bottom) = (self.left, self.right(), self.bottom());
        let _ = write!(self.svg, r#"<path class="base" d="M{left:.1} {bottom:.1}H{right:.1}"/>"#);
        let mut free = f64::MIN;
        for (tick, label) in &axis.ticks {
            let x = self.x_of(*tick);
            let _ = write!(self.svg, r#"<path class="base" d="M{x:.1} {bottom:.1}v4"/>"#);
            let length = label.chars().count() as f64 * DIGIT;
            // In the middle below its tick, unless half of it would be outside of the drawing.
            let (from, anchor) =
                if x < 2.0 * DIGIT { (x, "start") } else { (x - length / 2.0, "middle") };
            // Better no label than one over another.
            if from < free {
                continue;
            }
            free = from + length;
            let _ = write!(
                self.svg,
                r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
                bottom + 18.0,
                escaped(label)
            );
        }
        let _ = write!(
            self.svg,
            r#"<text class="axis" x="{right:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            bottom + 38.0,
            escaped(&axis.title)
        );
    }

    fn right(&self) -> f64 {
        self.width - RIGHT
    }

    fn bottom(&self) -> f64 {
        self.height - BOTTOM
    }

    fn x_of(&self, value: f64) -> f64 {
        self.left + self.x.place(value) * (self.right() - self.left)
    }

    fn y_of(&self, value: f64) -> f64 {
        self.bottom() - self.y.place(value) * (self.bottom() - self.top)
    }

    /// The middle of a row's bar, which is below its name.
    fn row(&self, row: usize) -> f64 {
        self.top + ROW * row as f64 + 34.0
    }

    /// A line through points.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let path = self.path(points);
        let _ = write!(self.svg, r#"<path class="line {class}" d="{path}"/>"#);
    }

    /// The area below a line, if there is all of it: over 0, on a scale with equal steps.
    pub(super) fn area(&mut self, class: &str, points: &[(f64, f64)]) {
        if !matches!(self.y, Scale::Linear { min: 0.0, .. }) {
            return;
        }
        let ends = points.first().zip(points.last());
        let Some((first, last)) = ends.map(|(a, b)| (self.x_of(a.0), self.x_of(b.0))) else {
            return;
        };
        let (path, bottom) = (self.path(points), self.bottom());
        let _ = write!(
            self.svg,
            r#"<path class="area {class}" d="{path}L{last:.1} {bottom:.1}L{first:.1}
{bottom:.1}Z"/>"#
        );
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let letter = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{:.1} {:.1}", self.x_of(*x), self.y_of(*y));
        }
        path
    }

    /// A point, with what is said when a pointer rests on it.
    pub(super) fn point(&mut self, class: &str, x: f64, y: f64, said: &str) {
        let (x, y) = (self.x_of(x), self.y_of(y));
        let _ = write!(
            self.svg,
            r#"<circle class="point {class}" cx="{x:.1}" cy="{y:.1}" r="4">
<title>{}</title></circle>"#,
            escaped(said)
        );
    }

    /// A bar from the bottom up, between two values.
    pub(super) fn bar(&mut self, class: &str, from: f64, to: f64, y: f64, said: &str) {
        let (from, to, top) = (self.x_of(from), self.x_of(to), self.y_of(y));
        let width = (to - from - 1.0).max(0.5);
        let height = self.bottom() - top;
        let _ = write!(
            self.svg,
            r#"<rect class="bar {class}" x="{from:.1}" y="{top:.1}" width="{width:.1}"
height="{height:.1}">
<title>{}</title></rect>"#,
            escaped(said)
        );
    }

    /// A vertical band in the first row and below, behind everything that comes later.
    pub(super) fn band(&mut self, from: f64, to: f64) {
        let (from, to) = (self.x_of(from), self.x_of(to));
        let top = self.row(0) - 11.0;
        let (width, height) = (to - from, self.bottom() - top);
        let _ = write!(
            self.svg,
            r#"<rect class="band" x="{from:.1}" y="{top:.1}" width="{width:.1}"
height="{height:.1}"/>"#
        );
    }

    /// A vertical line there.
    pub(super) fn mark(&mut self, x: f64) {
        let (x, top, end) = (self.x_of(x), self.row(0) - 11.0, self.bottom());
        let _ = write!(self.svg, r#"<path class="mark" d="M{x:.1} {top:.1}V{end:.1}"/>"#);
    }

    /// The name of a row on its left, and what it comes to on its right.
    pub(super) fn row_name(&mut self, row: usize, name: &str, value: &str) {
        let (y, left, right) = (self.row(row) - 16.0, self.left, self.right());
        let _ = write!(
            self.svg,
            r#"<text class="row" x="{left:.1}" y="{y:.1}">{}</text>
<text class="value" x="{right:.1}" y="{y:.1}" text-anchor="end">{}</text>"#,
            escaped(name),
            escaped(value)
        );
    }

    /// A bar of a row, from one value to another.
    pub(super) fn row_bar(&mut self, class: &str, row: usize, from: f64, to: f64) {
        let (from, to, y) = (self.x_of(from), self.x_of(to), self.row(row));
        let width = (to - from).max(1.0);
        let _ = write!(
            self.svg,
            r#"<rect class="bar {class}" x="{from:.1}" y="{:.1}" width="{width:.1}"
height="14" rx="2"/>"#,
            y - 7.0
        );
    }

    /// A point in a row.
    pub(super) fn row_point(&mut self, class: &str, row: usize, x: f64, said: &str) {
        let (x, y) = (self.x_of(x), self.row(row));
        let _ = write!(
            self.svg,
            r#"<circle class="point {class}" cx="{x:.1}" cy="{y:.1}" r="3.5">
<title>{}</title></circle>"#,
            escaped(said)
        );
    }

    /// The middle value of a row.
    pub(super) fn row_median(&mut self, row: usize, x: f64) {
        let (x, y) = (self.x_of(x), self.row(row));
        let _ = write!(self.svg, r#"<path class="median" d="M{x:.1} {:.1}v22"/>"#, y - 11.0);
    }

    /// Words above a place on a line that rises, on its left. If they have no room there they are
    /// below it on its right, where the line is not either.
    pub(super) fn words(&mut self, x: f64, y: f64, text: &str) {
        let (x, y) = (self.x_of(x), self.y_of(y));
        let length = text.chars().count() as f64 * DIGIT;
        let (x, y, anchor) = match x - 8.0 - length > self.left {
            true => (x - 8.0, y - 9.0, "end"),
            false => (x + 7.0, y + 14.0, "start"),
        };
        let _ = write!(
            self.svg,
            r#"<text class="note" x="{x:.1}" y="{y:.1}"
text-anchor="{anchor}">{}</text>"#,
            escaped(text)
        );
    }

    /// The drawing, and what it shows for who does not see it.
    pub(super) fn finish(self, class: &str, described: &str) -> String {
        let Self { width, height, svg, .. } = self;
        format!(
            r#"<svg class="{class}" viewBox="0 0 {width} {height}" role="img"
aria-label="{}">{svg}</svg>"#,
            escaped(described)
        )
    }
}
