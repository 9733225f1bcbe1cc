//! `wakeline provision`: follows a provider's link, asks the person, and keeps the settings for `wakeline phone`.

use std::io::{self, BufRead as _, Write as _};

use wakeline_engine::{AudioChoice, Options, Phone};
use wakeline_settings::Settings;
use wakeline_settings::provisioning::Consent;
use wakeline_user_agent::{AccountId, Command, Event, ProvisioningStep};

use crate::accounts;
use crate::arguments::ProvisionFlags;
use crate::call::one_line;
use crate::exit::{Exit, Failure};
use crate::log;

/// Follows the link to its end. The phone that does it registers nowhere.
pub(crate) fn run(flags: &ProvisionFlags) -> Result<Exit, Failure> {
    log::start(None, io::stderr());
    let options = Options {
        accounts: vec![Settings::new()],
        state: Some(flags.state.clone()),
        audio: AudioChoice::Null,
        trust: accounts::trust_of(flags.tls_roots.as_deref(), flags.tls_pin.as_deref())?,
        ..Options::default()
    };
    let mut phone = Phone::start(options).map_err(|error| Failure::of_start(&error))?;
    let account = AccountId(0);
    phone.command(Command::Provision { account, link: flags.link.as_str().into() });
    let outcome = crate::block_on(async {
        while let Some(told) = phone.event().await {
            let Event::Provisioning { step, .. } = told.event else { continue };
            match step {
                ProvisioningStep::ConsentWanted(consent) => {
                    for line in lines(&consent) {
                        println!("{line}");
                    }
                    let agreed = flags.yes || asked("Use these settings? [y/N] ");
                    phone.command(Command::Consent { account, agreed });
                }
                ProvisioningStep::Done { provider, serial } => {
                    return Ok(format!("settings {serial} of {} are kept", one_line(&provider)));
                }
                ProvisioningStep::Failed { cause, cure } => return Err(format!("{cause}; {cure}")),
                ProvisioningStep::Withdrawn { .. } => return Err("the settings were withdrawn".to_owned()),
            }
        }
        Err("the phone has stopped".to_owned())
    });
    // Only then has everything been written.
    phone.stop();
    let said = outcome?.map_err(|why| Failure::new(Exit::Failed, why))?;
    println!("{said}; start the phone with: wakeline phone --state {}", flags.state.display());
    Ok(Exit::Well)
}

/// What a person is shown before a yes.
pub(crate) fn lines(consent: &Consent) -> Vec<String> {
    let mut lines = vec![format!("The provider at {} wants to set up this phone.", one_line(&consent.host))];
    lines.extend(consent.name.as_ref().map(|name| format!("  It calls itself {}.", one_line(name))));
    for (name, value) in &consent.settings {
        let value = value.as_deref().map_or("(secret)".to_owned(), one_line);
        lines.push(format!("  {} = {value}", one_line(name)));
    }
    lines.extend(consent.left_out.iter().map(|left| format!("  not taken: {}", one_line(left))));
    lines
}

/// Whether the answer begins with a y; without anybody to ask it is no.
fn asked(question: &str) -> bool {
    print!("{question}");
    let mut answer = String::new();
    let heard = io::stdout().flush().and_then(|()| io::stdin().lock().read_line(&mut answer));
    heard.is_ok() && answer.trim_start().starts_with(['y', 'Y'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_a_consent_shows_no_secret_and_s7_no_control_character() {
        let consent: Consent = serde_json::from_value(serde_json::json!({
            "host": "voice.example.org", "name": "Ac\u{1b}[2Jme",
            "settings": { "username": "mia", "password": null }, "left_out": ["tlsroots (the server): no"]
        }))
        .unwrap();
        let shown = lines(&consent).join("|");
        assert!(shown.contains("password = (secret)") && shown.contains("not taken: tlsroots"), "{shown}");
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}
