//! The phone for a person: a screen in the terminal, keys, and a phone behind it.

mod keys;
mod screen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crossterm::event::Event as Input;
use ratatui::DefaultTerminal;
use tokio::sync::mpsc;
use wakeline_engine::{Options, Phone};
use wakeline_settings::Settings;
use wakeline_user_agent::Command;

use self::keys::Wish;
use self::view::View;
use crate::exit::{Exit, Failure};
use crate::{gateway, log};

/// How often the quality is looked at while there are calls; without calls nothing ticks.
const LOOK: Duration = Duration::from_millis(500);

/// Runs the phone until the person has had enough.
pub(crate) fn run(
    options: Options,
    settings: Option<&Settings>,
    first: Vec<Command>,
) -> Result<Exit, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let cause = "the phone's screen needs a terminal, and this is none; for a program there is `wakeline phone --headless`";
        return Err(Failure::new(Exit::Usage, cause));
    }
    let (lines, log) = mpsc::unbounded_channel();
    log::start(settings, Lines(lines));
    let phone = Phone::start(options).map_err(|error| Failure::of_start(&error))?;
    for command in first {
        phone.command(command);
    }
    let keys = read_keys().map_err(|error| Failure::new(Exit::Failed, format!("no keys: {error}")))?;
    let mut desk = Desk { phone, view: View::default(), keys, log };
    let mut terminal =
        ratatui::try_init().map_err(|error| Failure::new(Exit::Failed, format!("no screen: {error}")))?;
    let worked = crate::block_on(desk.work(&mut terminal));
    ratatui::restore();
    println!("ending …");
    desk.phone.stop();
    worked?.map_err(|error| Failure::new(Exit::Failed, format!("the terminal: {error}")))?;
    Ok(Exit::Well)
}

/// A phone on its desk.
struct Desk {
    phone: Phone,
    view: View,
    keys: mpsc::UnboundedReceiver<Input>,
    log: mpsc::UnboundedReceiver<String>,
}

impl Desk {
    async fn work(&mut self, terminal: &mut DefaultTerminal) -> io::Result<()> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            terminal.draw(|frame| screen::draw(frame, &self.view))?;
            tokio::select! {
                input = self.keys.recv() => match input {
                    Some(Input::Key(key)) => match keys::press(&mut self.view, key) {
                        Wish::Nothing => {}
                        Wish::Command(command) => self.phone.command(command),
                        Wish::Quit => return Ok(()),
                    },
                    // A resized terminal is drawn anew.
                    Some(_) => {}
                    None => return Ok(()),
                },
                event = self.phone.event() => match event {
                    Some(event) => self.view.take(&event.event),
                    None => return Ok(()),
                },
                Some(line) = self.log.recv() => self.view.say(line),
                _ = look.tick(), if !self.view.calls.is_empty() => {
                    if let Some(stats) = self.phone.stats().await {
                        self.view.quality = stats.quality;
                    }
                }
                () = gateway::signal() => return Ok(()),
            }
        }
    }
}

/// Keys come from a thread of their own: the terminal cannot be read without blocking. It ends with the process.
fn read_keys() -> io::Result<mpsc::UnboundedReceiver<Input>> {
    let (sender, keys) = mpsc::unbounded_channel();
    let read = move || {
        while let Ok(input) = crossterm::event::read() {
            if sender.send(input).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("wakeline-keys".to_owned()).spawn(read)?;
    Ok(keys)
}

/// Brings the log's lines onto the screen.
struct Lines(mpsc::UnboundedSender<String>);

impl Write for Lines {
    /// The log hands over one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // The screen may be gone already.
        let _ = self.0.send(String::from_utf8_lossy(line).trim_end().to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
