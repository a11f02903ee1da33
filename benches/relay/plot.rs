//! Grouped bars as an SVG, by hand: a plotting crate would bring more code than this program has.

use std::fmt::Write as _;

use crate::numbers::{Bar, show};

/// Size of a panel in pixels.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 250.0;
/// Room for its title and its axis.
const TOP: f64 = 46.0;
const BOTTOM: f64 = 28.0;

/// Readable on white and on black, and apart for the colour-blind.
const COLOURS: [&str; 6] = ["#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#9c755f", "#76b7b2"];

/// One panel below the other, each with its own scale from zero.
pub(crate) fn svg(bars: &[Bar]) -> String {
    let panels = distinct(bars.iter().map(|bar| bar.panel));
    let height = crate::numbers::count(panels.len()) * HEIGHT;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let bars: Vec<&Bar> = bars.iter().filter(|bar| bar.panel == *panel).collect();
        let y = crate::numbers::count(index) * HEIGHT;
        let _ = writeln!(out, "<g transform=\"translate(0,{y})\">");
        draw(&mut out, panel, &bars);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, title: &str, bars: &[&Bar]) {
    let groups = distinct(bars.iter().map(|bar| bar.group.as_str()));
    let series = distinct(bars.iter().map(|bar| bar.series.as_str()));
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let _ = writeln!(
        out,
        "<text x=\"12\" y=\"18\" font-size=\"14\" font-weight=\"bold\">{}</text>",
        escape(title)
    );
    let mut x = 12.0;
    for (index, name) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let _ = writeln!(
            out,
            "<rect x=\"{x:.0}\" y=\"26\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{:.0}\" y=\"35\">{}</text>",
            x + 14.0,
            escape(name)
        );
        x += 30.0 + 6.6 * crate::numbers::count(name.chars().count());
    }
    let floor = HEIGHT - BOTTOM;
    let group_width = (WIDTH - 24.0) / crate::numbers::count(groups.len());
    let bar_width = (group_width * 0.8 / crate::numbers::count(series.len())).min(70.0);
    for (g, group) in groups.iter().enumerate() {
        let left = 12.0 + group_width * crate::numbers::count(g);
        for bar in bars.iter().filter(|bar| bar.group == *group) {
            let s = series.iter().position(|name| *name == bar.series).unwrap_or(0);
            let height = (floor - TOP - 12.0) * bar.value.max(0.0) / most;
            let x = left + group_width * 0.05 + bar_width * crate::numbers::count(s);
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9\">{}</text>",
                floor - height,
                bar_width * 0.92,
                COLOURS[s % COLOURS.len()],
                x + bar_width * 0.46,
                floor - height - 3.0,
                show(bar.value)
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            left + group_width * 0.45,
            floor + 15.0,
            escape(group)
        );
    }
    let _ = writeln!(
        out,
        "<line x1=\"12\" y1=\"{floor}\" x2=\"{:.0}\" y2=\"{floor}\" stroke=\"#888\"/>",
        WIDTH - 12.0
    );
}

/// Each once, in the order of first appearance.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
