//! A chart of ratios, as SVG.

use std::fmt::Write as _;

use super::rows::{Comparison, Comparisons};

/// All lengths are in pixels.
const WIDTH: f64 = 960.0;
const LEFT: f64 = 430.0;
const RIGHT: f64 = 150.0;
const LINE: f64 = 20.0;
const TITLE: f64 = 34.0;
const TOP: f64 = 62.0;

/// The ratios at the left and the right end.
const LEAST: f64 = 0.01;
const MOST: f64 = 4.0;

/// Colours that are readable on a light and on a dark background.
const STYLE: &str = "
    text { font: 13px system-ui, sans-serif; fill: #1f2328; }
    .title { font-weight: 600; }
    .small { font-size: 11px; fill: #59636e; }
    .grid { stroke: #d1d9e0; }
    .one { stroke: #59636e; }
    .faster { fill: #1a7f37; }
    .same { fill: #0969da; }
    .missed { fill: #cf222e; }
    .spread { stroke: #1f2328; stroke-width: 1.5; }
    .goal { stroke: #9a6700; stroke-width: 2; }
    @media (prefers-color-scheme: dark) {
        text { fill: #f0f6fc; }
        .small { fill: #9198a1; }
        .grid { stroke: #3d444d; }
        .one, .spread { stroke: #9198a1; }
        .faster { fill: #3fb950; }
        .same { fill: #4493f8; }
        .missed { fill: #f85149; }
        .goal { stroke: #d29922; }
    }
";

/// Draws the rows that have a goal: a bar from 1 to the median of the ratios, on a logarithmic scale, a line from the 10th to the 90th percentile,
/// and a mark at the goal.
pub fn chart(stores: &[Comparisons]) -> String {
    let mut body = String::new();
    let mut y = TOP;
    for Comparisons { store, rows } in stores {
        let goals = rows.iter().filter(|row| row.at_most.is_some()).collect::<Vec<_>>();
        if goals.is_empty() {
            continue;
        }
        y += TITLE;
        text(&mut body, 12.0, y - 12.0, "title", "start", store);
        for row in goals {
            draw(&mut body, y, row);
            y += LINE;
        }
    }
    let height = y + 16.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<title>Time of ours / time of the peer</title>\n<style>{STYLE}</style>\n"
    );
    text(&mut svg, 12.0, 24.0, "title", "start", "Time of ours / time of the peer: to the left of 1, ours is faster");
    text(
        &mut svg,
        12.0,
        44.0,
        "small",
        "start",
        "bar: median; line: 10th to 90th percentile of the rounds; mark: the goal",
    );
    for ratio in [0.01, 0.03, 0.1, 0.3, 1.0, 3.0] {
        let (x, class) = (place(ratio), if (0.9..1.1).contains(&ratio) { "one" } else { "grid" });
        let _ =
            writeln!(svg, "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>", y + 4.0);
        text(&mut svg, x, TOP - 4.0, "small", "middle", &ratio.to_string());
    }
    svg + &body + "</svg>\n"
}

fn draw(svg: &mut String, y: f64, row: &Comparison) {
    let middle = y + LINE / 2.0;
    let label = if row.beside.is_empty() { row.name.clone() } else { format!("{}  /  {}", row.name, row.beside) };
    text(svg, 12.0, middle + 4.0, "", "start", &label);
    let class = if row.is_missed() {
        "missed"
    } else if row.ratio < 0.9 {
        "faster"
    } else {
        "same"
    };
    let (one, ratio) = (place(1.0), place(row.ratio));
    let (x, width) = (one.min(ratio), (one - ratio).abs().max(2.0));
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"10\" rx=\"2\"/>",
        middle - 5.0
    );
    let (low, high) = (place(row.low), place(row.high));
    let _ = writeln!(svg, "<line class=\"spread\" x1=\"{low:.1}\" x2=\"{high:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>");
    if let Some(goal) = row.at_most {
        let (x, from, to) = (place(goal), middle - 8.0, middle + 8.0);
        let _ = writeln!(svg, "<line class=\"goal\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from}\" y2=\"{to}\"/>");
    }
    let figures = format!("{:.*}   {}", if row.ratio < 0.1 { 4 } else { 2 }, row.ratio, row.shown(row.ours));
    text(svg, WIDTH - RIGHT + 12.0, middle + 4.0, "", "start", &figures);
}

/// The horizontal position of a ratio.
fn place(ratio: f64) -> f64 {
    let part = (ratio.clamp(LEAST, MOST) / LEAST).ln() / (MOST / LEAST).ln();
    LEFT + part * (WIDTH - LEFT - RIGHT)
}

fn text(svg: &mut String, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::super::rows::{Row, Unit};
    use super::*;

    #[test]
    fn it_has_the_rows_that_have_a_goal() {
        let row = |name, at_most: Option<f64>| {
            let row = Row::new(name).beside("a <map> & more");
            let row = if let Some(at_most) = at_most { row.at_most(at_most) } else { row };
            Comparison::of_counts(row, "", Unit::Count, 3.0, 2.0)
        };
        let rows = vec![row("reached", Some(1.6)), row("missed", Some(1.2)), row("without a goal", None)];
        let svg = chart(&[Comparisons { store: "mine".into(), rows }]);
        assert!(svg.contains("reached  /  a &lt;map> &amp; more</text>"), "{svg}");
        assert!(svg.contains(">mine</text>") && !svg.contains("without a goal"), "{svg}");
        assert_eq!(svg.matches("<rect class=\"missed\"").count(), 1, "{svg}");
        assert_eq!(svg.matches("<rect class=\"same\"").count(), 1, "{svg}");
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn the_scale_is_logarithmic_and_ends_somewhere() {
        let step = place(0.1) - place(0.01);
        assert!((place(1.0) - place(0.1) - step).abs() < 1e-9);
        assert!((place(0.000_1) - place(LEAST)).abs() < 1e-9 && (place(1e9) - place(MOST)).abs() < 1e-9);
    }
}
