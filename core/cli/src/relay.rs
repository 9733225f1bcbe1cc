//! `wakeline relay`: starts it, says where it listens, and ends it on a signal.

use wakeline_gateway::relay::{Config, EXAMPLE, Relay};

use crate::arguments::RelayFlags;
use crate::exit::{Exit, Failure};

/// Runs the relay until SIGINT or SIGTERM.
pub(crate) fn run(flags: &RelayFlags) -> Result<Exit, Failure> {
    if flags.example {
        print!("{EXAMPLE}");
        return Ok(Exit::Well);
    }
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let path = flags.config.as_ref().ok_or_else(|| usage(&"--config FILE; --example prints one"))?;
    crate::log::start(None, std::io::stderr());
    let config = Config::from_file(path).map_err(|error| usage(&error))?;
    let handle = Relay::start(config).map_err(|error| crate::gateway::not_started(&error))?;
    for address in handle.bound() {
        println!("listening on {address}");
    }
    crate::block_on(crate::gateway::signal())?;
    handle.shutdown();
    Ok(Exit::Well)
}
