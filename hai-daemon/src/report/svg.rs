//! Draws charts as SVG: lines, stacked areas, bars. What is drawn carries classes, so that a page's colours apply.

use std::fmt::Write as _;

/// A chart that is as wide as it is told and has its legend beneath.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// What it shows, for those who can not see it.
    pub(super) title: String,
    /// Of the horizontal axis, with its unit.
    pub(super) across: String,
    /// Of the vertical axis, with its unit.
    pub(super) up: String,
    pub(super) x: Scale,
    pub(super) y_max: f64,
    pub(super) marks: Marks,
    /// Where a line of its own goes up to, e.g. what there is of devices, with its name.
    pub(super) bound: Option<Line>,
}

/// A horizontal axis.
#[derive(Clone, Debug)]
pub(super) enum Scale {
    /// From 0 to this.
    Linear(f64),
    /// Seconds, from and to, in equal factors.
    Log(f64, f64),
}

/// Points from the left to the right.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) enum Marks {
    /// One line beside the other.
    Lines(Vec<Line>),
    /// Steps, each line on top of the one before. All have the same places.
    Stacked(Vec<Line>),
}

/// How many colours there are.
pub(super) const COLOURS: usize = 9;

/// Text as it may stand in HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in XML at all.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Steps between marks of an axis from 0: 1, 2 or 5 times a power of ten.
pub(super) fn step(most: f64, marks: f64) -> f64 {
    let rough = (most / marks).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0);
    factor * power
}

/// A number at an axis.
pub(super) fn tick(value: f64) -> String {
    if value >= 10_000.0 {
        let text = format!("{:.1}", value / 1000.0);
        format!("{}k", text.trim_end_matches('0').trim_end_matches('.'))
    } else {
        let text = format!("{value:.2}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

/// Marks of an axis of seconds in equal factors.
const TIMES: [(f64, &str); 12] = [
    (0.1, "0.1 s"),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3600.0, "1 h"),
    (36_000.0, "10 h"),
    (86_400.0, "1 d"),
    (864_000.0, "10 d"),
    (8_640_000.0, "100 d"),
    (86_400_000.0, "1000 d"),
    (864_000_000.0, "10000 d"),
];

struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Plot {
    fn x(&self, frame: &Frame, value: f64) -> f64 {
        let part = match self.x {
            Scale::Linear(most) => value / most.max(1e-9),
            Scale::Log(from, to) => (value.max(from) / from).ln() / (to / from).ln().max(1e-9),
        };
        frame.left + frame.width * part.clamp(0.0, 1.0)
    }

    fn y(&self, frame: &Frame, value: f64) -> f64 {
        frame.top + frame.height * (1.0 - (value / self.y_max.max(1e-9)).clamp(0.0, 1.0))
    }

    fn names(&self) -> Vec<&str> {
        let (Marks::Lines(lines) | Marks::Stacked(lines)) = &self.marks;
        lines.iter().map(|line| line.name.as_str()).collect()
    }

    /// The chart, so many units wide and, without its legend, high.
    pub(super) fn draw(&self, width: f64, height: f64) -> String {
        let names = self.names();
        let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(24);
        let each = (longest as f64).mul_add(6.6, 34.0);
        let in_row = ((width - 10.0) / each).floor().max(1.0) as usize;
        let rows = if names.len() > 1 || self.bound.is_some() {
            (names.len() + usize::from(self.bound.is_some())).div_ceil(in_row)
        } else {
            0
        };
        let frame = Frame { left: 52.0, top: 26.0, width: width - 64.0, height: height - 72.0 };
        let full = height + rows as f64 * 18.0;
        let mut svg = String::new();
        let title = escape(&self.title);
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {full:.0}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>"
        );
        self.axes(&mut svg, &frame, height);
        match &self.marks {
            Marks::Lines(lines) => {
                for (at, line) in lines.iter().enumerate() {
                    self.polyline(&mut svg, &frame, line, &format!("l c{} d{}", at % COLOURS, at / 3 % 4));
                }
            }
            Marks::Stacked(lines) => self.stacked(&mut svg, &frame, lines),
        }
        if let Some(bound) = &self.bound {
            self.polyline(&mut svg, &frame, bound, "l bound");
        }
        if rows > 0 {
            let stacked = matches!(self.marks, Marks::Stacked(_));
            for (at, name) in
                names.iter().copied().chain(self.bound.as_ref().map(|bound| bound.name.as_str())).enumerate()
            {
                let (x, y) = (8.0 + (at % in_row) as f64 * each, height + 8.0 + (at / in_row) as f64 * 18.0);
                if at == names.len() {
                    let _ = write!(svg, "<path class=\"l bound\" d=\"M{x:.1} {y:.1}h18\"/>");
                } else if stacked {
                    let _ = write!(
                        svg,
                        "<rect class=\"f c{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"18\" height=\"10\"/>",
                        at % COLOURS,
                        y - 5.0
                    );
                } else {
                    let _ =
                        write!(svg, "<path class=\"l c{} d{}\" d=\"M{x:.1} {y:.1}h18\"/>", at % COLOURS, at / 3 % 4);
                }
                let short: String = if name.chars().count() > 24 {
                    name.chars().take(23).chain(['…']).collect()
                } else {
                    (*name).to_owned()
                };
                let _ = write!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", x + 23.0, y + 4.0, escape(&short));
            }
        }
        svg.push_str("</svg>");
        svg
    }

    fn axes(&self, svg: &mut String, frame: &Frame, height: f64) {
        let bottom = frame.top + frame.height;
        let up = step(self.y_max, 5.0);
        let mut value = 0.0;
        while value <= self.y_max * 1.000_001 && self.y_max.is_finite() {
            let y = self.y(frame, value);
            let _ = write!(
                svg,
                "<path class=\"g\" d=\"M{:.1} {y:.1}h{:.1}\"/><text class=\"e\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                frame.left,
                frame.width,
                frame.left - 6.0,
                y + 4.0,
                tick(value)
            );
            value += up;
        }
        let mut last = f64::NEG_INFINITY;
        let mut mark = |value: f64, text: &str| {
            let x = self.x(frame, value);
            if x - last < 46.0 {
                return;
            }
            last = x;
            let _ = write!(
                svg,
                "<path class=\"g\" d=\"M{x:.1} {:.1}v{:.1}\"/><text class=\"m\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>",
                frame.top,
                frame.height,
                bottom + 16.0
            );
        };
        match self.x {
            Scale::Linear(most) => {
                let across = step(most, (frame.width / 80.0).max(2.0));
                let mut value = 0.0;
                while value <= most * 1.000_001 {
                    mark(value, &tick(value));
                    value += across;
                }
            }
            Scale::Log(from, to) => {
                for (value, text) in TIMES {
                    if (from * 0.999..=to * 1.001).contains(&value) {
                        mark(value, text);
                    }
                }
            }
        }
        let _ = write!(
            svg,
            "<text class=\"t\" x=\"6\" y=\"14\">{}</text><text class=\"m t\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            escape(&self.up),
            frame.left + frame.width / 2.0,
            height - 12.0,
            escape(&self.across)
        );
    }

    fn polyline(&self, svg: &mut String, frame: &Frame, line: &Line, class: &str) {
        if line.points.is_empty() {
            return;
        }
        let _ = write!(svg, "<path class=\"{class}\" d=\"");
        for (at, &(x, y)) in line.points.iter().enumerate() {
            let _ = write!(svg, "{}{:.1} {:.1}", if at == 0 { 'M' } else { 'L' }, self.x(frame, x), self.y(frame, y));
        }
        svg.push_str("\"/>");
    }

    fn stacked(&self, svg: &mut String, frame: &Frame, lines: &[Line]) {
        let count = lines.iter().map(|line| line.points.len()).max().unwrap_or(0);
        let mut below = vec![0.0; count];
        for (at, line) in lines.iter().enumerate() {
            let above: Vec<f64> = below
                .iter()
                .enumerate()
                .map(|(at, low)| low + line.points.get(at).map_or(0.0, |point| point.1))
                .collect();
            let mut path = String::new();
            for (place, (&(x, _), high)) in line.points.iter().zip(&above).enumerate() {
                let _ = write!(
                    path,
                    "{}{:.1} {:.1}",
                    if place == 0 { 'M' } else { 'L' },
                    self.x(frame, x),
                    self.y(frame, *high)
                );
            }
            for (&(x, _), low) in line.points.iter().zip(&below).rev() {
                let _ = write!(path, "L{:.1} {:.1}", self.x(frame, x), self.y(frame, *low));
            }
            let _ = write!(
                svg,
                "<path class=\"f c{}\" d=\"{path}Z\"><title>{}</title></path>",
                at % COLOURS,
                escape(&line.name)
            );
            below = above;
        }
    }
}

/// A user's bar: what he got, and a mark where what he was due ends.
pub(super) struct Share {
    pub(super) name: String,
    pub(super) got: f64,
    pub(super) due: f64,
}

/// One bar for each user.
pub(super) fn shares(title: &str, unit: &str, rows: &[Share], width: f64) -> String {
    const LANE: f64 = 22.0;
    let most = rows.iter().map(|row| row.got.max(row.due)).fold(1e-9, f64::max);
    let left = (width * 0.24).min(150.0);
    let (wide, high) = (width - left - 16.0, rows.len() as f64 * LANE);
    let title = escape(title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {:.0}\" role=\"img\" aria-label=\"{title}\"><title>{title}</title>",
        high + 60.0
    );
    let (each, mut value) = (step(most, (wide / 80.0).max(2.0)), 0.0);
    while value <= most * 1.000_001 {
        let x = left + wide * value / most;
        let _ = write!(
            svg,
            "<path class=\"g\" d=\"M{x:.1} 4v{high:.1}\"/><text class=\"m\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            high + 18.0,
            tick(value)
        );
        value += each;
    }
    for (at, row) in rows.iter().enumerate() {
        let y = 6.0 + at as f64 * LANE;
        let letters = (left / 6.6) as usize;
        let name: String = if row.name.chars().count() > letters {
            row.name.chars().take(letters - 1).chain(['…']).collect()
        } else {
            row.name.clone()
        };
        let _ = write!(
            svg,
            "<text class=\"e\" x=\"{:.1}\" y=\"{:.1}\">{}</text><rect class=\"f c0\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"14\"><title>got {:.1}, due {:.1}</title></rect><path class=\"l c5\" d=\"M{:.1} {:.1}v20\"/>",
            left - 6.0,
            y + 11.0,
            escape(&name),
            wide * row.got / most,
            row.got,
            row.due,
            left + wide * row.due / most,
            y - 3.0
        );
    }
    let y = high + 44.0;
    let _ = write!(
        svg,
        "<rect class=\"f c0\" x=\"{left:.1}\" y=\"{:.1}\" width=\"18\" height=\"10\"/><text x=\"{:.1}\" y=\"{:.1}\">got</text><path class=\"l c5\" d=\"M{:.1} {:.1}v14\"/><text x=\"{:.1}\" y=\"{:.1}\">due</text><text class=\"e t\" x=\"{:.1}\" y=\"{:.1}\">{}</text></svg>",
        y - 6.0,
        left + 23.0,
        y + 3.0,
        left + 62.0,
        y - 8.0,
        left + 69.0,
        y + 3.0,
        width - 8.0,
        y + 3.0,
        escape(unit)
    );
    svg
}

/// What a chart looks like on its own: the page's colours, light or dark as the reader likes.
pub(super) const STYLE: &str = include_str!("chart.css");

/// The chart as a file of its own.
pub(super) fn file(svg: &str) -> String {
    svg.replacen("<title>", &format!("<style>{STYLE}svg{{background:var(--paper)}}</style><title>"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_steps() {
        for (most, marks, round) in
            [(10.0, 5.0, 2.0), (99.0, 5.0, 20.0), (1064.0, 5.0, 500.0), (0.7, 5.0, 0.2), (0.0, 5.0, 1e-9)]
        {
            assert!((step(most, marks) - round).abs() < 1e-9, "{most}: {}", step(most, marks));
        }
        assert_eq!(
            ["0", "0.2", "1500", "10k", "12.5k"],
            [0.0, 0.2, 1500.0, 10_000.0, 12_500.0].map(tick).each_ref().map(String::as_str)
        );
    }

    #[test]
    fn names_can_not_break_out() {
        let line = Line { name: "</svg><script>alert(1)</script>\u{1}".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] };
        for marks in [Marks::Lines(vec![line.clone()]), Marks::Stacked(vec![line.clone(), line.clone()])] {
            let plot = Plot {
                title: "\"><script>".into(),
                across: "a<b".into(),
                up: "&".into(),
                x: Scale::Linear(1.0),
                y_max: 2.0,
                marks,
                bound: Some(line.clone()),
            };
            let svg = plot.draw(300.0, 200.0);
            assert!(!svg.contains("<script") && !svg.contains("\u{1}"), "{svg}");
            assert_eq!(svg.matches("</svg>").count(), 1);
        }
    }
}
