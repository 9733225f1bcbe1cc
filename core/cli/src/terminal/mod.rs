//! The phone for a person: a screen in the terminal.

use wakeline_engine::Options;
use wakeline_settings::Settings;
use wakeline_user_agent::Command;

use crate::exit::{Exit, Failure};

pub(crate) fn run(
    _options: Options,
    _settings: Option<&Settings>,
    _first: Vec<Command>,
) -> Result<Exit, Failure> {
    Err(Failure::new(Exit::Usage, "this build has no screen yet; use `wakeline phone --headless`"))
}
