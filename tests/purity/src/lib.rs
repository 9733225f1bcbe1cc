//! The phone's machines as a wasm module that may import nothing.
//!
//! `cargo xtask wasm` builds it, looks at its imports and runs it: a phone with one account is created, started and
//! driven to its first REGISTER. What a machine would ask of its host (time, randomness, sockets) would be an import.
#![allow(unsafe_code, reason = "an exported name is an unsafe attribute")]

use wakeline_clock::{Time, WallTime};
use wakeline_flow::{FlowInfo, Transport};
use wakeline_settings::{Settings, Source};
use wakeline_user_agent::{Command, Configuration, Input, Output, UserAgent};

/// Registers a phone over a flow that opens at once; returns the length of the REGISTER, or 0 when none left.
#[unsafe(no_mangle)]
pub extern "C" fn register_once() -> u32 {
    let mut settings = Settings::default();
    for (name, value) in
        [("serveraddress", "192.0.2.1"), ("username", "mia"), ("password", "secret"), ("transport", "1")]
    {
        settings.set(name, value, Source::Assigned);
    }
    let configuration = Configuration { accounts: vec![settings], ..Configuration::default() };
    let now = Time::from_millis(1);
    let Ok(mut phone) = UserAgent::new(configuration, [7; 32], now, WallTime(1_800_000_000_000)) else {
        return 0;
    };
    phone.handle_command(now, Command::Start);
    let mut sent = 0;
    while let Some(output) = phone.poll_output() {
        match output {
            Output::Open { flow, hop, .. } => {
                let info = FlowInfo {
                    id: flow,
                    transport: Transport::Tcp,
                    local: ([10, 0, 0, 2], 40_000).into(),
                    remote: hop.remote,
                };
                phone.handle_input(now, Input::Opened(info));
            }
            Output::Send(transmit) if transmit.bytes.starts_with(b"REGISTER ") => {
                sent = u32::try_from(transmit.bytes.len()).unwrap_or(0);
            }
            Output::Send(_)
            | Output::Close(_)
            | Output::Resolve(_)
            | Output::Provision { .. }
            | Output::Configure(_)
            | Output::Media { .. }
            | Output::Remember { .. } => {}
        }
    }
    sent
}
