//! Line charts as SVG: over the steps of a stage, and over the rounds.

use super::format::{count, escape, number, percent};
use super::scale::{Scale, labels, share_labels};

/// What the horizontal axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Across {
    /// Many steps: a faint line of what was measured under a smooth one.
    Steps,
    /// Many steps of what is set, not measured, and needs no smoothing.
    Schedule,
    /// A few rounds: every one a dot.
    Rounds,
}

/// One line of a chart.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    pub name: String,
    /// Across and up.
    pub points: Vec<(f64, f64)>,
}

/// A chart before it is drawn.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    pub title: String,
    pub across: Across,
    pub series: Vec<Series>,
    /// A level to compare with, and its name.
    pub level: Option<(f64, &'static str)>,
    /// Intervals: across, low, high.
    pub intervals: Vec<(f64, f64, f64)>,
    /// Whether the numbers are shares of one.
    pub share: bool,
}

// The drawing, in user units; the page scales it to the width there is.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 176.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 22.0;

/// A line of more points is thinned: more than two per pixel cannot be seen.
const MOST_POINTS: usize = 600;
/// Fewer points than this are their own smooth line.
const FEWEST_SMOOTHED: usize = 12;

impl Chart {
    /// A chart of one line.
    pub(super) fn line(title: &str, across: Across, points: Vec<(f64, f64)>) -> Self {
        let series = Series {
            name: title.to_owned(),
            points,
        };
        Self {
            title: title.to_owned(),
            across,
            series: vec![series],
            level: None,
            intervals: Vec::new(),
            share: false,
        }
    }

    /// The chart as a `<figure>`; none when nothing was measured.
    pub(super) fn draw(mut self) -> Option<String> {
        for series in &mut self.series {
            series
                .points
                .retain(|(x, y)| x.is_finite() && y.is_finite());
        }
        self.series.retain(|series| !series.points.is_empty());
        let axes = Axes::of(&self)?;
        let mut svg = axes.grid(&self);
        for (index, series) in self.series.iter().enumerate() {
            svg.push_str(&match self.across {
                Across::Steps => axes.steps(series, index, smoothed(&series.points)),
                Across::Schedule => axes.steps(series, index, None),
                Across::Rounds => axes.rounds(series, index, self.share),
            });
        }
        let label = escape(&self.spoken());
        let caption = self.caption();
        Some(format!(
            "<figure>{caption}<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">{svg}</svg></figure>\n"
        ))
    }

    /// Title, and the last value of each line, with its colour where there are several.
    fn caption(&self) -> String {
        let last: String = self
            .series
            .iter()
            .enumerate()
            .map(|(index, series)| {
                let value = series.points.last().map_or(f64::NAN, |(_, y)| *y);
                let value = self.write(value);
                match self.series.len() {
                    1 => format!("<b>{value}</b>"),
                    _ => format!(
                        "<span><span class=\"key c{index}\">{}</span> <b>{value}</b></span>",
                        escape(&series.name)
                    ),
                }
            })
            .collect();
        let title = escape(&self.title);
        format!("<figcaption><span>{title}</span><span class=\"last\">{last}</span></figcaption>")
    }

    /// The chart in words, for who cannot see it.
    fn spoken(&self) -> String {
        let lines: Vec<String> = self
            .series
            .iter()
            .filter_map(|series| {
                let (first, last) = (series.points.first()?.1, series.points.last()?.1);
                let (first, last) = (self.write(first), self.write(last));
                Some(format!("{} from {first} to {last}", series.name))
            })
            .collect();
        let points = self.series.iter().map(|s| s.points.len()).max();
        let across = match self.across {
            Across::Steps | Across::Schedule => count(points.unwrap_or(0), "point"),
            Across::Rounds => count(points.unwrap_or(0), "round"),
        };
        format!("{} over {across}", lines.join(", "))
    }

    fn write(&self, value: f64) -> String {
        match self.share {
            true => percent(value),
            false => number(value),
        }
    }
}

/// The two scales of a chart.
struct Axes {
    x: Scale,
    y: Scale,
}

impl Axes {
    fn of(chart: &Chart) -> Option<Self> {
        let points = || chart.series.iter().flat_map(|series| &series.points);
        let ends = chart
            .intervals
            .iter()
            .flat_map(|(_, low, high)| [*low, *high]);
        let level = chart.level.map(|(level, _)| level);
        let x = Scale::of(points().map(|(x, _)| *x))?;
        let shown = points().map(|(_, y)| *y).chain(ends).chain(level);
        let y = match chart.share {
            true => Scale::of_shares(shown)?,
            false => Scale::of(shown)?,
        };
        Some(match chart.across {
            Across::Steps | Across::Schedule => Self {
                x,
                y: y.padded(0.04),
            },
            Across::Rounds => Self {
                x: x.padded(0.08),
                y: y.padded(0.1),
            },
        })
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let across = LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT);
        let down = TOP + (1.0 - self.y.place(y)) * (HEIGHT - TOP - BOTTOM);
        (across, down)
    }

    /// Grid lines, their labels, the level to compare with, and the intervals.
    fn grid(&self, chart: &Chart) -> String {
        let mut svg = String::new();
        let mut ticks = self.y.ticks(4);
        // The room above 100 % and below 0 is there for the dots alone.
        ticks.retain(|tick| !chart.share || (-1e-9..1.0 + 1e-9).contains(tick));
        let names = match chart.share {
            true => share_labels(&ticks),
            false => labels(&ticks),
        };
        for (tick, name) in ticks.iter().zip(names) {
            let (_, y) = self.at(self.x.low, *tick);
            let (right, text, below) = (WIDTH - RIGHT, LEFT - 6.0, y + 3.5);
            svg.push_str(&format!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{text}\" y=\"{below:.1}\" class=\"y\">{name}</text>"
            ));
        }
        let ticks = self.whole_ticks(chart);
        for (tick, name) in ticks.iter().zip(labels(&ticks)) {
            let (x, _) = self.at(*tick, self.y.low);
            let y = HEIGHT - 6.0;
            svg.push_str(&format!(
                "<text x=\"{x:.1}\" y=\"{y}\" class=\"x\">{name}</text>"
            ));
        }
        if let Some((level, name)) = chart.level {
            let (_, y) = self.at(self.x.low, level);
            let (right, above) = (WIDTH - RIGHT, y - 4.0);
            svg.push_str(&format!(
                "<path class=\"level\" d=\"M{LEFT} {y:.1}H{right}\"/><text x=\"{right}\" y=\"{above:.1}\" class=\"level-name\">{name}</text>"
            ));
        }
        for (x, low, high) in &chart.intervals {
            let ((x, bottom), (_, top)) = (self.at(*x, *low), self.at(*x, *high));
            svg.push_str(&format!(
                "<path class=\"interval\" d=\"M{x:.1} {bottom:.1}V{top:.1}\"/>"
            ));
        }
        svg
    }

    /// Steps and rounds are counted in whole numbers.
    fn whole_ticks(&self, chart: &Chart) -> Vec<f64> {
        let mut ticks = match chart.across {
            Across::Rounds => self.x.ticks(8),
            _ => self.x.ticks(4),
        };
        ticks.retain(|tick| tick.fract() == 0.0);
        ticks
    }

    fn steps(&self, series: &Series, index: usize, smooth: Option<Vec<(f64, f64)>>) -> String {
        let class = if smooth.is_some() { "raw" } else { "line" };
        let mut svg = self.path(&thinned(&series.points), &format!("{class} c{index}"));
        if let Some(smooth) = smooth {
            svg.push_str(&self.path(&thinned(&smooth), &format!("line c{index}")));
        }
        if let [(x, y)] = series.points[..] {
            svg.push_str(&self.dot(x, y, index, ""));
        }
        svg
    }

    fn rounds(&self, series: &Series, index: usize, share: bool) -> String {
        let mut svg = self.path(&series.points, &format!("line c{index}"));
        for (x, y) in &series.points {
            let value = if share { percent(*y) } else { number(*y) };
            let title = format!("round {x}: {} {value}", series.name);
            svg.push_str(&self.dot(*x, *y, index, &title));
        }
        svg
    }

    fn dot(&self, x: f64, y: f64, index: usize, title: &str) -> String {
        let (x, y) = self.at(x, y);
        let title = escape(title);
        format!(
            "<circle class=\"c{index}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{title}</title></circle>"
        )
    }

    fn path(&self, points: &[(f64, f64)], class: &str) -> String {
        let mut d = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let (x, y) = self.at(*x, *y);
            let command = if index == 0 { 'M' } else { 'L' };
            d.push_str(&format!("{command}{x:.1} {y:.1}"));
        }
        format!("<path class=\"{class}\" d=\"{d}\"/>")
    }
}

/// Local linear regression over a twelfth of the points around each: away from the ends the mean, and near
/// them without the lag and the hooks of one. None for few points.
fn smoothed(points: &[(f64, f64)]) -> Option<Vec<(f64, f64)>> {
    let count = points.len();
    if count < FEWEST_SMOOTHED {
        return None;
    }
    // Running sums of y and of n y, so that every window costs the same.
    let mut sums = vec![(0.0, 0.0)];
    for (n, (_, y)) in points.iter().enumerate() {
        let (plain, moment) = sums[n];
        sums.push((plain + y, moment + n as f64 * y));
    }
    let widest = (count / 24).max(3);
    let smooth = points.iter().enumerate().map(|(n, (x, _))| {
        let (left, right) = (widest.min(n), widest.min(count - 1 - n));
        let (from, to) = (sums[n - left], sums[n + right + 1]);
        let sum_y = to.0 - from.0;
        let sum_dy = to.1 - from.1 - n as f64 * sum_y;
        // Sums over the distances d = -left..=right from this point: 1, d, d squared.
        let (l, r) = (left as f64, right as f64);
        let ones = l + r + 1.0;
        let sum_d = (r * (r + 1.0) - l * (l + 1.0)) / 2.0;
        let sum_dd = (r * (r + 1.0) * (2.0 * r + 1.0) + l * (l + 1.0) * (2.0 * l + 1.0)) / 6.0;
        let level = (sum_dd * sum_y - sum_d * sum_dy) / (ones * sum_dd - sum_d * sum_d);
        (*x, level)
    });
    Some(smooth.collect())
}

/// At most [`MOST_POINTS`]: the lowest and the highest of every stretch, so that no spike is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MOST_POINTS {
        return points.to_vec();
    }
    let stretch = (2 * points.len()).div_ceil(MOST_POINTS);
    let extremes = points.chunks(stretch).flat_map(|chunk| {
        let up = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let low = chunk.iter().min_by(up).copied();
        let high = chunk.iter().max_by(up).copied();
        let mut both: Vec<(f64, f64)> = low.into_iter().chain(high).collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        both
    });
    extremes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_survives_thinning_and_the_order_does_too() {
        let mut points: Vec<(f64, f64)> = (0..5000).map(|n| (n as f64, 1.0)).collect();
        points[1234].1 = 99.0;
        let thin = thinned(&points);
        assert!(thin.len() <= MOST_POINTS);
        assert!(thin.contains(&(1234.0, 99.0)));
        assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn a_straight_line_stays_where_it_is_when_smoothed() {
        let points: Vec<(f64, f64)> = (0..40).map(|n| (n as f64, 0.7 * n as f64)).collect();
        let smooth = smoothed(&points).unwrap();
        let same = |(a, b): (&(f64, f64), &(f64, f64))| a.0 == b.0 && (a.1 - b.1).abs() < 1e-9;
        assert!(smooth.iter().zip(&points).all(same));
    }

    #[test]
    fn nothing_measured_is_no_chart_and_gaps_are_left_out() {
        let nan = vec![(1.0, f64::NAN)];
        assert!(Chart::line("loss", Across::Steps, nan).draw().is_none());
        let gap = vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)];
        let svg = Chart::line("loss", Across::Steps, gap).draw().unwrap();
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(svg.contains("loss from 2.000 to 1.000 over 2 points"));
    }
}
