//! The picture that `top` shows: fits 80 columns and 24 lines.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Sparkline, Table, Tabs};

use super::view::{Panel, View};
use crate::cli::figures::{age, bytes, count};
use crate::cli::{holds, pause, table};
use crate::store::stats::{Counted, Stats};

/// The most lines of numbers above the panels, on a screen of 40 columns.
const HEAD_LINES_MAX: u16 = 12;

pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let area = frame.area();
    let numbers = lines(view, usize::from(area.width));
    // On a low screen the panels are worth more than the last of the numbers.
    let most = HEAD_LINES_MAX.min((area.height / 2).max(5));
    let head_lines = u16::try_from(numbers.len()).map_or(most, |lines| lines.min(most));
    let [head, chart, tabs, panel, keys] = Layout::vertical([
        Constraint::Length(head_lines),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(numbers), head);
    // The newest at the right edge.
    let width = usize::from(chart.width).min(view.history.len());
    let history: Vec<u64> = view.history.iter().skip(view.history.len() - width).copied().collect();
    frame.render_widget(Sparkline::default().data(history).style(view.style(Color::Cyan)), chart);
    let titles = Panel::ALL.map(Panel::title);
    let chosen = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Tabs::new(titles).select(view.panel).highlight_style(chosen), tabs);
    draw_panel(frame, view, panel);
    let help = if area.width < 56 {
        "q quit  p pause  Tab/arrows"
    } else {
        "q quit   p pause the picture   Tab/arrows panels, scroll"
    };
    frame.render_widget(Paragraph::new(help).style(view.style(Color::DarkGray)), keys);
}

impl View {
    fn style(&self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

fn lines(view: &View, width: usize) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let still = if view.paused { "[picture paused: p]  " } else { "" };
    let title =
        Line::styled(format!("outbox-relay top  {still}{}", table::clean(&view.database)), bold);
    let mut lines = vec![title];
    match &view.stats {
        None => lines.push(Line::raw("looking…")),
        Some(stats) => {
            for (text, style) in numbers(view, stats) {
                lines
                    .extend(folded(&text, width).into_iter().map(|line| Line::styled(line, style)));
            }
        }
    }
    if let Some(trouble) = &view.trouble {
        let text = format!("not up to date: {}", table::clean(trouble));
        // Behind the title: whatever is cut off below, this is not.
        lines.insert(1, Line::styled(text, view.style(Color::Red).add_modifier(Modifier::BOLD)));
    }
    lines
}

/// Breaks a line between its parts, which two spaces part.
fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in text.split("  ") {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 2 + part.chars().count() <= width => {
                line.push_str("  ");
                line.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

fn numbers(view: &View, stats: &Stats) -> Vec<(String, Style)> {
    let unknown = || "?".to_owned();
    let pending = stats.pending.as_ref();
    let oldest = pending.and_then(|p| p.oldest_age_seconds);
    let rates = view
        .rates
        .map_or_else(unknown, |r| format!("in {:.0}/s  settled {:.0}/s", r.written, r.settled));
    let waits = format!(
        "pending {}  oldest {}  {rates}",
        pending.map_or_else(unknown, |p| count(p.events, p.more)),
        age(oldest)
    );
    let late = oldest.is_some_and(|age| age > 60.0);
    let waits = (waits, if late { view.style(Color::Yellow) } else { Style::new() });
    let done = stats.published.as_ref().map_or_else(unknown, |p| {
        format!(
            "published {}/min  latency p50 {} p99 {}",
            count(p.last_minute, p.more),
            age(p.latency_p50_seconds),
            age(p.latency_p99_seconds)
        )
    });
    let dead = stats.dead_letters.as_ref().map_or_else(unknown, |d| count(d.events, d.more));
    let relays = stats.relays.as_ref().map_or_else(unknown, |r| r.len().to_string());
    let done = (format!("{done}  dead letters {dead}  versions connected {relays}"), Style::new());
    let size = stats.table.as_ref().map_or_else(unknown, |t| {
        format!(
            "table {} + {} indexes  rows {}  dead {}",
            bytes(t.table_bytes),
            bytes(t.index_bytes),
            count(t.live_rows, false),
            count(t.dead_rows, false)
        )
    });
    let size = (size, Style::new());
    let mut pauses = stats.pauses.iter().flatten();
    let paused = pauses.next().map(|first| {
        let more = match pauses.count() {
            0 => String::new(),
            n => format!(", and {n} more"),
        };
        let text = format!("PAUSED: {} by {}{more}", pause::in_words(first), first.actor);
        (text, view.style(Color::Yellow).add_modifier(Modifier::BOLD))
    });
    // What an operator has done comes before what follows from it.
    paused.into_iter().chain([waits, done, size]).collect()
}

fn draw_panel(frame: &mut Frame<'_>, view: &mut View, area: Rect) {
    let panel = Panel::ALL.get(view.panel).copied().unwrap_or(Panel::Tenants);
    let (head, rows) = match &view.stats {
        Some(stats) => content(panel, stats),
        None => return,
    };
    if rows.is_empty() {
        return frame.render_widget(Paragraph::new("none"), area);
    }
    let lines = table::lines_within(&head, &rows, usize::from(area.width));
    let visible = usize::from(area.height).saturating_sub(1);
    view.scroll = view.scroll.min(rows.len().saturating_sub(visible));
    let shown = lines.iter().skip(1 + view.scroll).take(visible);
    let shown = shown.map(|line| Row::new([line.clone()]));
    let head = lines.first().cloned().unwrap_or_default();
    let head = Row::new([head]).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(shown, [Constraint::Fill(1)]).header(head), area);
}

fn content(panel: Panel, stats: &Stats) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let pending = stats.pending.as_ref();
    match panel {
        Panel::Tenants => (
            vec!["TENANT", "PENDING", "OLDEST"],
            pending.map(|p| counted(&p.tenants)).unwrap_or_default(),
        ),
        Panel::Types => (
            vec!["TYPE", "PENDING", "OLDEST"],
            pending.map(|p| counted(&p.types)).unwrap_or_default(),
        ),
        Panel::Holds => {
            let pauses = stats.pauses.iter().flatten().map(holds::paused);
            let rows = pauses.chain(stats.holds.iter().flatten().map(holds::row));
            (holds::HEAD.to_vec(), rows.collect())
        }
        Panel::DeadLetters => (
            vec!["CODE", "EVENTS", "OLDEST"],
            stats.dead_letters.as_ref().map(|d| counted(&d.codes)).unwrap_or_default(),
        ),
        Panel::Relays => {
            let relays = stats.relays.iter().flatten();
            let rows = relays.map(|r| vec![r.name.clone(), r.sessions.to_string()]);
            (vec!["NAME", "SESSIONS"], rows.collect())
        }
    }
}

fn counted(rows: &[Counted]) -> Vec<Vec<String>> {
    let row = |c: &Counted| vec![c.name.clone(), count(c.events, false), age(c.oldest_age_seconds)];
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyModifiers};

    use super::super::view::After;
    use super::*;
    use crate::store::pause::Pause;
    use crate::store::stats::{DeadLetters, Pending, Published, Table};

    fn stats(position: i64) -> Stats {
        let named = |name: &str| Counted {
            name: name.to_owned(),
            events: 7,
            oldest_age_seconds: Some(61.0),
        };
        Stats {
            pending: Some(Pending {
                events: 10_000,
                more: true,
                oldest_age_seconds: Some(61.0),
                tenants: (0..40).map(|n| named(&format!("tenant-{n}\u{1b}[2J"))).collect(),
                types: vec![named("orders.order.created")],
            }),
            published: Some(Published { last_position: position, ..Published::default() }),
            dead_letters: Some(DeadLetters { events: 1, more: false, codes: vec![named("40009")] }),
            pauses: Some(vec![Pause {
                scope: "all".into(),
                target: String::new(),
                since: "2026-01-01T00:00:00Z".into(),
                until: None,
                actor: "alice".into(),
                reason: None,
            }]),
            table: Some(Table { updates: position * 2, ..Table::default() }),
            ..Stats::default()
        }
    }

    fn picture(view: &mut View, width: u16, height: u16) -> (String, bool) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        let text = cells.chunks(usize::from(width)).map(|line| line.concat() + "\n").collect();
        let coloured =
            buffer.content().iter().any(|c| c.fg != Color::Reset || c.bg != Color::Reset);
        (text, coloured)
    }

    #[test]
    fn eighty_columns_and_twenty_four_lines_are_enough_and_any_size_is_survived() {
        let mut view = View::new("postgres://db/app".into(), true);
        assert!(picture(&mut view, 80, 24).0.contains("looking"));
        let now = Instant::now();
        view.seen(Ok(stats(100)), now);
        view.seen(Ok(stats(150)), now + Duration::from_secs(1));
        let (text, coloured) = picture(&mut view, 80, 24);
        for part in [
            "pending 10,000+",
            "oldest 61.0 s",
            "in 50/s  settled 100/s",
            "dead letters 1",
            "PAUSED: everything by alice",
            "Tenants",
            "tenant-0",
            "q quit",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(coloured && !text.contains('\u{1b}'));
        for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 100)] {
            picture(&mut view, width, height);
        }
        // A telephone, or half a window: no number and no column is lost.
        let (text, _) = picture(&mut view, 40, 24);
        for part in
            ["oldest 61.0 s", "settled 100/s", "latency p50", "dead letters 1", "dead 0", "OLDEST"]
        {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        view.colours = false;
        assert!(!picture(&mut view, 80, 24).1, "NO_COLOR");
    }

    #[test]
    fn keys_change_panels_scroll_pause_and_end() {
        let mut view = View::new("db".into(), false);
        let now = Instant::now();
        view.seen(Ok(stats(100)), now);
        let press = |view: &mut View, code| view.key(code, KeyModifiers::NONE);
        for _ in 0..99 {
            press(&mut view, KeyCode::Down);
        }
        let (text, _) = picture(&mut view, 80, 24);
        assert!(text.contains("tenant-39") && !text.contains("tenant-0\u{fffd}"), "{text}");
        press(&mut view, KeyCode::Tab);
        assert!(picture(&mut view, 80, 24).0.contains("orders.order.created"));
        press(&mut view, KeyCode::Right);
        press(&mut view, KeyCode::Right);
        assert!(picture(&mut view, 80, 24).0.contains("40009"));
        press(&mut view, KeyCode::BackTab);
        assert!(picture(&mut view, 80, 24).0.contains("resumed"));
        press(&mut view, KeyCode::Char('p'));
        view.seen(Err("gone".into()), now);
        let (text, _) = picture(&mut view, 80, 24);
        assert!(text.contains("picture paused") && !text.contains("gone"), "{text}");
        press(&mut view, KeyCode::Char('p'));
        view.seen(Err("gone".into()), now);
        assert!(picture(&mut view, 80, 24).0.contains("not up to date: gone"));
        assert_eq!(press(&mut view, KeyCode::Char('q')), After::End);
        assert_eq!(view.key(KeyCode::Char('c'), KeyModifiers::CONTROL), After::End);
        assert_eq!(view.key(KeyCode::Char('c'), KeyModifiers::NONE), After::Draw);
    }
}
