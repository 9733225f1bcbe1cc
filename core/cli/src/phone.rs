//! `wakeline phone`: starts the phone and hands it to a program or to a person.

use std::io;

use wakeline_clock::Time;
use wakeline_engine::Phone;
use wakeline_secret::Secret;
use wakeline_user_agent::{AccountId, Command};

use crate::arguments::PhoneFlags;
use crate::exit::{Exit, Failure};
use crate::{accounts, control, gateway, log, terminal};

/// Runs a phone until it is told to stop. `started` is when the process began.
pub(crate) fn run(
    flags: &PhoneFlags,
    parameters: &[(String, String)],
    started: Time,
) -> Result<Exit, Failure> {
    let token = flags.push_token.as_deref().map(push_token).transpose()?;
    let audio = accounts::audio(&flags.audio);
    let options = accounts::options(&flags.accounts, audio, parameters)?;
    let first = options.accounts.first().cloned();
    if !flags.headless {
        return terminal::run(options, first.as_ref(), first_commands(flags, token));
    }
    log::start(first.as_ref(), io::stderr());
    let mut phone = Phone::start(options).map_err(|error| Failure::of_start(&error))?;
    for command in first_commands(flags, token) {
        phone.command(command);
    }
    let served = crate::block_on(async {
        let serving = async {
            match &flags.control_socket {
                Some(path) => control::serve_socket(&mut phone, started, path).await,
                None => control::serve_stdio(&mut phone, started).await,
            }
        };
        tokio::select! {
            served = serving => served,
            () = gateway::signal() => Ok(()),
        }
    })?;
    phone.stop();
    if let Some(path) = &flags.control_socket {
        // It may be gone already.
        let _ = std::fs::remove_file(path);
    }
    match served {
        // Whoever read us has gone: an ordinary end.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Failed, format!("control: {error}")))
        }
        Ok(()) | Err(_) => Ok(Exit::Well),
    }
}

/// What the phone is told first: a push goes before everything else, so that its REGISTER leaves at once.
fn first_commands(flags: &PhoneFlags, token: Option<Command>) -> Vec<Command> {
    let last = match &flags.push {
        Some(payload) => Command::PushReceived { payload: payload.clone() },
        None => Command::Start,
    };
    let link = flags
        .provision
        .as_deref()
        .map(|link| Command::Provision { account: AccountId(0), link: link.into() });
    token.into_iter().chain([last]).chain(link).collect()
}

/// `provider:param:prid`. Provider and parameter have no colon; a token may.
fn push_token(text: &str) -> Result<Command, Failure> {
    let mut parts = text.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(provider), Some(param), Some(prid)) if !provider.is_empty() && !prid.is_empty() => {
            Ok(Command::SetPushToken {
                provider: provider.to_owned(),
                param: param.to_owned(),
                prid: Secret::from(prid),
            })
        }
        _ => Err(Failure::new(
            Exit::Usage,
            "--push-token is provider:param:prid, such as fcm:my-project:TOKEN",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_goes_out_before_anything_else() {
        let flags = PhoneFlags { push: Some("{}".to_owned()), ..PhoneFlags::default() };
        let commands = first_commands(&flags, Some(push_token("fcm:demo:a:b").unwrap()));
        assert_eq!(
            commands,
            [
                Command::SetPushToken { provider: "fcm".into(), param: "demo".into(), prid: "a:b".into() },
                Command::PushReceived { payload: "{}".into() },
            ]
        );
        assert_eq!(first_commands(&PhoneFlags::default(), None), [Command::Start]);
    }

    #[test]
    fn s23_a_broken_token_is_refused_without_being_shown() {
        for wrong in ["canary", "fcm:canary", "::", ":x:canary"] {
            let error = push_token(wrong).unwrap_err();
            assert!(!error.to_string().contains("canary"));
            assert_eq!(error.exit(), Exit::Usage);
        }
        assert!(push_token("webpush::https://push.example/x").is_ok());
    }
}
