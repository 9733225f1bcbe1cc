//! Draws the view; small terminals lose the log first, then the quality, never the calls.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use wakeline_user_agent::{
    CallPhase, CallSnapshot, Direction, Encryption, PushStatus, RegistrationPhase, RegistrationSnapshot,
};

use super::keys::HELP;
use super::view::{Mode, View, name, waits_for_answer};
use crate::call::{one_line, quality_line};

/// With fewer lines there is no room for the log.
const ROOM_FOR_LOG: u16 = 16;
/// With fewer lines there are no frames.
const ROOM_FOR_FRAMES: u16 = 9;

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    if let Mode::Log(up) = view.mode {
        return draw_log(frame, area, view, up);
    }
    let accounts = u16::try_from(view.registrations.len().clamp(1, 4)).unwrap_or(1);
    let log = if area.height >= ROOM_FOR_LOG { area.height / 3 } else { 0 };
    let quality = u16::from(area.height >= 6);
    let rows = [
        Constraint::Length(accounts),
        Constraint::Min(1),
        Constraint::Length(quality),
        Constraint::Length(log),
        Constraint::Length(1),
    ];
    let [top, calls, sound, below, bottom] = Layout::vertical(rows).areas(area);
    frame.render_widget(Paragraph::new(registrations(view)), top);
    draw_calls(frame, calls, view, area.height >= ROOM_FOR_FRAMES);
    if let Some(quality) = view.sound() {
        frame.render_widget(Paragraph::new(quality_line(quality)).style(dim()), sound);
    }
    if log > 0 {
        draw_log(frame, below, view, 0);
    }
    let last = match &view.mode {
        Mode::Dial(text) => {
            // The end of a long address is where the person types.
            let room = usize::from(bottom.width).saturating_sub(8);
            let skipped = text.chars().count().saturating_sub(room);
            let shown: String = text.chars().skip(skipped).collect();
            Line::from(vec![
                Span::styled("dial ", bold(Color::Cyan)),
                Span::raw(shown),
                Span::raw("\u{2588}"),
            ])
        }
        Mode::Keys | Mode::Log(_) => Line::from(HELP).style(dim()),
    };
    frame.render_widget(Paragraph::new(last), bottom);
}

fn registrations(view: &View) -> Vec<Line<'static>> {
    if view.registrations.is_empty() {
        return vec![Line::from("no account is registered; a whole address can be dialled").style(dim())];
    }
    view.registrations.iter().map(registration).collect()
}

fn registration(now: &RegistrationSnapshot) -> Line<'static> {
    let (word, color) = match now.phase {
        RegistrationPhase::Unregistered => ("not registered", Color::DarkGray),
        RegistrationPhase::Registering => ("registering …", Color::Yellow),
        RegistrationPhase::Registered => ("registered", Color::Green),
        RegistrationPhase::Suspended => ("asleep, a push will wake it", Color::Blue),
        RegistrationPhase::Failed => ("failed", Color::Red),
    };
    let push = match now.push {
        PushStatus::NotAsked => "",
        PushStatus::Confirmed => ", push confirmed",
        PushStatus::NotOffered => ", no push: calls come in only while this runs",
        PushStatus::Refused => ", push refused",
    };
    let mut more = push.to_owned();
    if now.phase == RegistrationPhase::Failed {
        if let Some(code) = now.code {
            more.push_str(&format!(" ({code})"));
        }
        if let Some(text) = &now.text {
            more.push_str(&format!(": {}", one_line(text)));
        }
        if let Some(wait) = now.retry_in_ms {
            more.push_str(&format!(", tried again in {} s", wait.div_ceil(1000)));
        }
    }
    Line::from(vec![
        Span::styled("\u{25cf} ", Style::default().fg(color)),
        Span::styled(one_line(&now.address), Style::default().add_modifier(Modifier::BOLD)),
        Span::raw(format!("  {word}{more}")),
    ])
}

fn draw_calls(frame: &mut Frame<'_>, area: Rect, view: &View, framed: bool) {
    let current = view.current().map(|call| call.call);
    let mut lines: Vec<Line<'_>> =
        view.calls.iter().map(|call| call_line(call, Some(call.call) == current)).collect();
    lines.extend(view.ended.iter().map(|ended| {
        let way = arrow(ended.last.direction);
        let seconds = ended.talk_ms / 1000;
        let text = format!("  {way} {}  {}, {seconds} s", name(&ended.last), one_line(&ended.reason));
        Line::from(text).style(dim())
    }));
    if lines.is_empty() {
        lines.push(Line::from("  no calls; press d to dial").style(dim()));
    }
    let paragraph = Paragraph::new(lines);
    let paragraph =
        if framed { paragraph.block(Block::new().borders(Borders::TOP).title(" calls ")) } else { paragraph };
    frame.render_widget(paragraph, area);
}

fn call_line(call: &CallSnapshot, current: bool) -> Line<'static> {
    let phase = match call.phase {
        CallPhase::Announced => "announced by a push",
        CallPhase::Ringing => "RINGS",
        CallPhase::Answering => "answering",
        CallPhase::Dialling => "dialling",
        CallPhase::Alerting => "rings there",
        CallPhase::Established if call.on_hold => "on hold",
        CallPhase::Established if call.held_by_peer => "held by the far end",
        CallPhase::Established => "talking",
        CallPhase::Ending => "ending",
    };
    let mut text = format!("{} {}  {phase}", arrow(call.direction), name(call));
    if let Some(codec) = &call.codec {
        text.push_str(&format!("  {}", one_line(codec)));
    }
    match call.encryption {
        Encryption::Unknown => {}
        Encryption::None => text.push_str(" in the clear"),
        Encryption::Srtp => text.push_str(" SRTP"),
    }
    if call.in_conference {
        text.push_str("  in conference");
    } else if call.joins.is_some() && waits_for_answer(call) {
        text.push_str("  wants to join your call");
    }
    if call.microphone_muted {
        text.push_str("  muted");
    }
    let style = match (waits_for_answer(call), current) {
        (true, _) => bold(Color::Yellow),
        (false, true) => Style::default().add_modifier(Modifier::BOLD),
        (false, false) => Style::default(),
    };
    Line::from(format!("{} {text}", if current { "\u{25b6}" } else { " " })).style(style)
}

fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Outgoing => "\u{2192}",
        Direction::Incoming => "\u{2190}",
    }
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, view: &View, up: usize) {
    let (room, width) = (usize::from(area.height.saturating_sub(1)), usize::from(area.width.max(1)));
    // A long line takes several rows: its end, with the cure, is what a person needs.
    let rows: Vec<String> = view.log.iter().flat_map(|line| wrapped(line, width)).collect();
    let end = rows.len().saturating_sub(up).max(room.min(rows.len()));
    let lines: Vec<Line<'_>> =
        rows[end.saturating_sub(room)..end].iter().map(|line| Line::from(line.as_str())).collect();
    let block = Block::new().borders(Borders::TOP).title(" log ");
    frame.render_widget(Paragraph::new(lines).style(dim()).block(block), area);
}

/// A line in pieces of at most this width, broken at spaces where there are any.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let characters: Vec<char> = word.chars().collect();
        for piece in characters.chunks(width) {
            let taken = rows.last().map_or(0, |row| row.chars().count());
            // A space at the end may hang over the edge.
            let needed = piece.iter().collect::<String>().trim_end().chars().count();
            if taken > 0 && taken + needed > width {
                rows.push(String::new());
            }
            if let Some(row) = rows.last_mut() {
                row.extend(piece);
            }
        }
    }
    rows
}

fn dim() -> Style {
    Style::default().add_modifier(Modifier::DIM)
}

fn bold(color: Color) -> Style {
    Style::default().fg(color).add_modifier(Modifier::BOLD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use wakeline_user_agent::Event;

    fn shown(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(row).collect::<Vec<_>>().join("\n")
    }

    fn ringing() -> View {
        let mut view = View::default();
        let events = serde_json::json!([
            { "event": "registration-changed", "account": 0, "address": "sip:mia@example.org", "phase": "registered",
              "push": "confirmed", "expires_s": 60, "code": null, "text": null, "retry_in_ms": null, "round_trips": 1 },
            { "event": "rings", "call": 1, "account": 0, "external_id": "2ed6657d-e927-568b-95e1-2665a8aea6a2",
              "wake_id": null, "direction": "incoming", "phase": "ringing", "peer": "sip:bob@example.org",
              "peer_name": "Bob\u{1b}[2J", "on_hold": false, "held_by_peer": false, "microphone_muted": false,
              "speaker_muted": false, "encryption": "unknown", "codec": null, "media_flows": false }
        ]);
        for event in serde_json::from_value::<Vec<Event>>(events).unwrap() {
            view.take(&event);
        }
        view
    }

    #[test]
    fn the_screen_shows_account_call_and_keys() {
        let text = shown(&ringing(), 90, 20);
        for part in ["sip:mia@example.org", "push confirmed", "Bob", "RINGS", "a answer", " log "] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "S7: no escape of a foreign name reaches the terminal");
    }

    #[test]
    fn a_long_line_of_the_log_is_shown_to_its_end() {
        let mut view = ringing();
        view.say("problem: no audio device: something is wrong with it; and here is what helps");
        view.mode = Mode::Log(0);
        let text = shown(&view, 30, 6);
        assert!(text.contains("here is what") && text.contains("helps"), "{text}");
        assert_eq!(wrapped("ab cd", 3), ["ab ", "cd"]);
        assert_eq!(wrapped("abcdefg", 3), ["abc", "def", "g"]);
        assert_eq!(wrapped("", 3), [""]);
        assert!(HELP.chars().count() <= 80, "the usual width of a terminal");
    }

    #[test]
    fn who_asks_to_join_and_who_is_in_the_conference_is_shown() {
        let mut view = ringing();
        view.calls[0].joins = Some(wakeline_user_agent::CallId(9));
        assert!(shown(&view, 90, 20).contains("wants to join your call"));
        view.calls[0].phase = CallPhase::Established;
        view.calls[0].in_conference = true;
        let text = shown(&view, 90, 20);
        assert!(text.contains("in conference") && !text.contains("wants to join"));
    }

    #[test]
    fn the_smallest_terminals_still_show_the_call() {
        let mut view = ringing();
        for (width, height) in [(40, 6), (20, 3), (5, 2), (1, 1)] {
            let text = shown(&view, width, height);
            assert!(height < 3 || text.contains("Bob"), "{width}x{height}:\n{text}");
        }
        view.mode = Mode::Dial("sip:somebody.with.a.long.name@example.org".to_owned());
        assert!(shown(&view, 30, 6).contains("@example.org"));
        view.mode = Mode::Log(400);
        assert!(shown(&view, 90, 6).contains("calls"));
    }
}
