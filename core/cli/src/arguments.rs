//! The command line: what clap knows, and every webphone parameter as a flag beside it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use wakeline_settings::{Kind, nearest, parameter};

use crate::exit::{self, Exit};

/// The SIP phone that answers while it sleeps.
#[derive(Parser, Debug)]
#[command(name = "wakeline", version, about, after_help = EXAMPLES, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

const EXAMPLES: &str = "\
Examples:
  wakeline phone --serveraddress sip.example.org --username mia --password secret --transport 2
  wakeline call sip:bob@example.org --config account.conf --play hello.wav --record answer.wav --seconds 10
  wakeline provision https://voice.example.org/p/7K3M-… --state ~/.local/state/wakeline
  wakeline gateway init
  wakeline gateway --config gateway.toml
  wakeline doctor --config gateway.toml
  wakeline demo

Every webphone parameter is a flag of phone and call: --<parameter> value. In the environment: WP_<PARAMETER>.
Logs go to standard error; WAKELINE_LOG=debug shows more.";

const PARAMETERS: &str = "\
Account:
  Every webphone parameter is a flag (--serveraddress, --username, --password, --transport, --mediaencryption, …),
  or WP_<PARAMETER> in the environment, or a line name=value in a file. Weakest first: file, environment, flag, link.";

/// What is to be done.
#[derive(Subcommand, Debug)]
pub(crate) enum Task {
    /// A phone: for a person at a terminal, or with --headless for a program
    #[command(after_help = PHONE_HELP)]
    Phone(PhoneFlags),
    /// Sets the phone up by a provider's link
    #[command(after_help = PROVISION_HELP)]
    Provision(ProvisionFlags),
    /// One call, with a telling exit code
    #[command(after_help = CALL_HELP.as_str())]
    Call(CallFlags),
    /// The push gateway: SIP registrar and edge that holds calls and wakes phones
    #[command(after_help = GATEWAY_HELP)]
    Gateway(GatewayFlags),
    /// The blind relay: lets anybody's gateway wake one vendor's app
    #[command(after_help = RELAY_HELP)]
    Relay(RelayFlags),
    /// Examines an installation hop by hop, and names the cure of what is broken
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorFlags),
    /// A phone that is not running is woken by a push and takes a real call, on this machine
    Demo(DemoFlags),
}

const PHONE_HELP: &str = "\
Account:
  Every webphone parameter is a flag (--serveraddress, --username, --password, --transport, --mediaencryption, …),
  or WP_<PARAMETER> in the environment, or a line name=value in a file. Weakest first: file, environment, flag, link.

Headless, a line of standard input is a command and a line of standard output an event:
  {\"command\":\"dial\",\"to\":\"sip:bob@example.org\"}   {\"command\":\"answer\",\"call\":0}   {\"command\":\"hangup\",\"call\":0}
  {\"command\":\"stats\"}   {\"command\":\"snapshot\"}   {\"command\":\"quit\"}

Exit codes: 0 ended as asked, 1 failed, 2 wrong command line or settings.

Examples:
  wakeline phone --config account.conf
  wakeline phone --link 'https://example.org/phone?wp_serveraddress=sip.example.org&wp_username=mia'
  wakeline phone --headless --state ~/.local/state/wakeline --tone 440 --serveraddress sip.example.org --username mia";

const PROVISION_HELP: &str = "\
It shows who the provider is and what would be set, and asks before the link's code is used up: that works once. Keys,
passwords and the settings stay in the folder; a phone that is started with it asks the provider for newer ones when its
registrar tells of them, and stops using them when they are withdrawn. What the device itself decides (certificates to
trust, addresses, sound devices, files) no provider sets; what stands on the command line goes before.

Exit codes: 0 the settings are kept, 1 failed or declined, 2 wrong command line.

Examples:
  wakeline provision https://voice.example.org/p/7K3M-… --state ~/.local/state/wakeline
  wakeline phone --state ~/.local/state/wakeline";

static CALL_HELP: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    format!(
        "{PARAMETERS}\n\n{}\n\nExample:\n  wakeline call sip:bob@example.org --config account.conf --play hello.wav --seconds 10",
        exit::TABLE
    )
});

const GATEWAY_HELP: &str = "\
Without a file it serves this machine only, forgets everything when it ends, and has two accounts to try:
mia and ben, whose passwords it prints. `wakeline gateway --example` prints a file with every key.

Exit codes: 0 ended by a signal, 1 failed, 2 wrong configuration.";

const RELAY_HELP: &str = "\
The vendor of an app runs it with the keys of its app. The app asks it for a push address and gives that to whatever
gateway it registers at, as a Web Push subscription; gateways post what is sealed for the phone.

Exit codes: 0 ended by a signal, 1 failed, 2 wrong configuration.";

const DOCTOR_HELP: &str = "\
Run it on the gateway's machine while the gateway runs. It looks at the file, the store, names, ports, certificates,
the push services' opinion of the keys and the gateway's own view, and makes a call to a fake phone that sleeps. The
push of that call goes to the first canary's token: one of your own devices, which does not ring.

Exit codes: 0 nothing is broken, 1 something is, 2 wrong command line or configuration.

Examples:
  wakeline doctor --config gateway.toml
  wakeline doctor --self-test";

/// Where accounts come from.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct AccountFlags {
    /// Settings for every account: lines of name=value, JSON, or a webphone_config.js
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// An account's file; once for each account of a phone that has several
    #[arg(long, value_name = "FILE")]
    pub(crate) account: Vec<PathBuf>,
    /// A link whose query has wp_PARAMETER=value
    #[arg(long, value_name = "URL")]
    pub(crate) link: Option<String>,
    /// Where the phone remembers nonces and bindings between starts
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// PEM file of the authorities to trust in place of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "tls_pin")]
    pub(crate) tls_roots: Option<PathBuf>,
    /// SHA-256 of the server's public key, in hex, to trust instead of any authority
    #[arg(long, value_name = "HEX")]
    pub(crate) tls_pin: Option<String>,
}

/// Microphone and loudspeaker.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct AudioFlags {
    /// A WAV file as the microphone
    #[arg(long, value_name = "WAV", conflicts_with_all = ["tone", "no_audio"])]
    pub(crate) play: Option<PathBuf>,
    /// Records what is heard into a WAV file; nothing is played on a loudspeaker then
    #[arg(long, value_name = "WAV", conflicts_with = "no_audio")]
    pub(crate) record: Option<PathBuf>,
    /// A tone as the microphone
    #[arg(long, value_name = "HZ", conflicts_with = "no_audio")]
    pub(crate) tone: Option<f32>,
    /// Neither microphone nor loudspeaker: silence
    #[arg(long)]
    pub(crate) no_audio: bool,
    /// Says again what is heard, to test a line, as a sound device of this rate would
    #[arg(long, value_name = "RATE", conflicts_with_all = ["play", "record", "tone", "no_audio"],
        value_parser = clap::value_parser!(u32).range(8000..=48_000))]
    pub(crate) echo: Option<u32>,
}

/// `wakeline phone`.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct PhoneFlags {
    #[command(flatten)]
    pub(crate) accounts: AccountFlags,
    #[command(flatten)]
    pub(crate) audio: AudioFlags,
    /// No screen: commands and events as JSON lines on standard input and output
    #[arg(long)]
    pub(crate) headless: bool,
    /// The JSON lines go over this Unix socket instead
    #[arg(long, value_name = "PATH", requires = "headless")]
    pub(crate) control_socket: Option<PathBuf>,
    /// The push token: fcm:PROJECT:TOKEN
    #[arg(long, value_name = "PROVIDER:PARAM:PRID")]
    pub(crate) push_token: Option<String>,
    /// Follows a provider's link; the screen, or the event `provisioning`, asks for consent. --state keeps the settings
    #[arg(long, value_name = "LINK")]
    pub(crate) provision: Option<String>,
    /// A push's data as JSON: the phone was started by it, and registers at once
    #[arg(long, value_name = "PAYLOAD")]
    pub(crate) push: Option<String>,
}

/// `wakeline provision`.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct ProvisionFlags {
    /// The link: https://HOST/p/CODE, as it was sent or scanned
    #[arg(value_name = "LINK")]
    pub(crate) link: String,
    /// The phone's folder: the settings are kept there, readable by this user only
    #[arg(long, value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Agrees to whatever the provider sets, without asking
    #[arg(long)]
    pub(crate) yes: bool,
    /// PEM file of the authorities to trust in place of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "tls_pin")]
    pub(crate) tls_roots: Option<PathBuf>,
    /// SHA-256 of the server's public key, in hex, to trust instead of any authority
    #[arg(long, value_name = "HEX")]
    pub(crate) tls_pin: Option<String>,
}

/// `wakeline call`.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct CallFlags {
    /// Whom to call: a URI, or a number or name at the account's server
    #[arg(value_name = "URI")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) accounts: AccountFlags,
    #[command(flatten)]
    pub(crate) audio: AudioFlags,
    /// Hangs up this long after the answer
    #[arg(long, value_name = "N")]
    pub(crate) seconds: Option<f64>,
    /// Key presses to send once answered
    #[arg(long, value_name = "KEYS")]
    pub(crate) dtmf: Option<String>,
}

/// `wakeline gateway`.
#[derive(Args, Debug, Default, Clone)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct GatewayFlags {
    #[command(subcommand)]
    pub(crate) action: Option<GatewayAction>,
    /// The operator's file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Prints a file with every key, its default and its meaning
    #[arg(long)]
    pub(crate) example: bool,
    /// Seals the password of an account at a PBX, read from standard input, and prints the lines for the file
    #[arg(long, value_name = "USER@DOMAIN", requires = "config")]
    pub(crate) seal: Option<String>,
}

/// What there is to do beside serving.
#[derive(Subcommand, Debug, Clone)]
pub(crate) enum GatewayAction {
    /// Asks five questions and writes the file
    Init(InitFlags),
    /// Copies the store while the gateway goes on
    Backup(CopyFlags),
    /// Puts a copy in the store's place; the gateway must not run
    Restore(CopyFlags),
}

/// `wakeline gateway init`. Every flag answers a question.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct InitFlags {
    /// The domain of the phones' addresses; localhost: this machine only
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
    /// The certificate with its whole chain, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Its key, where it does not lie beside it under the usual name
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// The Firebase service account
    #[arg(long, value_name = "FILE")]
    pub(crate) firebase: Option<PathBuf>,
    /// Apple's key: its file, the team and the bundle, in one text
    #[arg(long, value_name = "FILE TEAM BUNDLE")]
    pub(crate) apple: Option<String>,
    /// The first account's name
    #[arg(long, value_name = "USER")]
    pub(crate) account: Option<String>,
    /// Where the store goes; without it, beside the file, or in /var/lib/wakeline for a file in /etc
    #[arg(long, value_name = "FILE")]
    pub(crate) store: Option<PathBuf>,
    /// The file that is written
    #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
    pub(crate) output: PathBuf,
    /// Asks nothing: what no flag answers has the answer that would be offered
    #[arg(long)]
    pub(crate) yes: bool,
    /// Writes over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// `wakeline gateway backup` and `restore`.
#[derive(Args, Debug, Clone)]
pub(crate) struct CopyFlags {
    /// The gateway's file, which names the store
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The copy
    #[arg(value_name = "COPY")]
    pub(crate) copy: PathBuf,
}

/// `wakeline relay`.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct RelayFlags {
    /// The operator's file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Prints a file with every key, its default and its meaning
    #[arg(long)]
    pub(crate) example: bool,
}

/// `wakeline doctor`.
#[derive(Args, Debug, Default, Clone)]
pub(crate) struct DoctorFlags {
    /// The gateway's file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The account of the test call, USER@DOMAIN for one of a PBX behind the edge; without it, the first of the file that
    /// has a password and no devices
    #[arg(long, value_name = "USER", requires = "password")]
    pub(crate) user: Option<String>,
    /// Its password
    #[arg(long, value_name = "PASSWORD", env = "WAKELINE_DOCTOR_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,
    /// The token that the test call's push goes to; without it, the first canary's
    #[arg(long, value_name = "PROVIDER:PARAM:PRID")]
    pub(crate) push_token: Option<String>,
    /// PEM file of authorities to trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Starts a gateway and a push service's stand-in on loopback, and examines them
    #[arg(long, conflicts_with_all = ["config", "user", "password", "push_token", "ca"])]
    pub(crate) self_test: bool,
    /// The findings and the test call's trace as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `wakeline demo`.
#[derive(Args, Debug, Clone)]
pub(crate) struct DemoFlags {
    /// One round only
    #[arg(long)]
    pub(crate) once: bool,
    /// One JSON object as the last line of every round
    #[arg(long)]
    pub(crate) json: bool,
    /// How long to talk
    #[arg(long, value_name = "N", default_value_t = 6.0)]
    pub(crate) seconds: f64,
    /// Keeps the folder with recordings and logs
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A command line that was read.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// What is to be done.
    pub(crate) task: Task,
    /// Webphone parameters that stood among the flags, in their order.
    pub(crate) parameters: Vec<(String, String)>,
}

/// Why there is nothing to do.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Help, version, or what clap says of a mistake.
    Clap(Box<clap::Error>),
    /// A flag that nobody knows, or that lacks its value.
    Flag(String),
}

impl Stop {
    /// Shows it; the exit code of it.
    pub(crate) fn show(self) -> ExitCode {
        match self {
            Stop::Clap(error) => {
                // Nothing can be said where the terminal takes nothing.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8))
            }
            Stop::Flag(text) => {
                eprintln!("wakeline: {text}");
                Exit::Usage.into()
            }
        }
    }
}

/// Reads the arguments, without the program's name.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, Stop> {
    let (ours, parameters) = split(arguments)?;
    let whole = std::iter::once(OsString::from("wakeline")).chain(ours);
    match CommandLine::try_parse_from(whole) {
        Ok(read) => Ok(Arguments { task: read.task, parameters }),
        Err(error) => Err(Stop::Clap(Box::new(error))),
    }
}

type Split = (Vec<OsString>, Vec<(String, String)>);

/// Takes the webphone parameters out; what stays is clap's.
fn split(arguments: impl IntoIterator<Item = OsString>) -> Result<Split, Stop> {
    let mut arguments = arguments.into_iter().peekable();
    let (mut ours, mut parameters) = (Vec::new(), Vec::new());
    let program = CommandLine::command();
    let mut task: Option<clap::Command> = None;
    while let Some(argument) = arguments.next() {
        let text = argument.to_str().unwrap_or("");
        let Some(flag) = text.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
            if task.is_none() {
                task = program.find_subcommand(text).cloned();
            }
            // Behind `--` everything is an argument.
            if text == "--" {
                ours.push(argument);
                ours.extend(arguments);
                break;
            }
            ours.push(argument);
            continue;
        };
        let Some(task) = &task else {
            ours.push(argument);
            continue;
        };
        let (name, value) =
            flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        let takes_value = |known: &clap::Arg| known.get_action().takes_values();
        if let Some(known) = task.get_arguments().find(|known| known.get_long() == Some(name)) {
            let mut whole = argument;
            // Its value may look like anything, a flag too; clap takes that only in one piece.
            if takes_value(known)
                && value.is_none()
                && let Some(value) = arguments.next()
            {
                whole.push("=");
                whole.push(value);
            }
            ours.push(whole);
            continue;
        }
        let plain = name.replace('-', "_");
        match parameter(&plain).or_else(|| parameter(name)) {
            Some(known) if has_parameters(task) => {
                let value = match value {
                    Some(value) => value,
                    // A switch may stand alone.
                    None if known.kind == Kind::Boolean
                        && arguments.peek().is_none_or(|next| is_flag(next)) =>
                    {
                        "true".to_owned()
                    }
                    None => match arguments.next() {
                        Some(value) => value
                            .into_string()
                            .map_err(|_| Stop::Flag(format!("--{name}: the value is not UTF-8")))?,
                        None => return Err(Stop::Flag(format!("--{name} needs a value: --{name}=VALUE"))),
                    },
                };
                parameters.push((name.to_owned(), value));
            }
            // `--help` and `--version` are clap's own.
            _ if matches!(name, "help" | "version") => ours.push(argument),
            // Read, ignored and told by name: it cannot be mistaken for anything else.
            None if value.is_some() && has_parameters(task) && nearest_flag(task, name).is_none() => {
                parameters.push((name.to_owned(), value.unwrap_or_default()));
            }
            Some(_) | None => return Err(unknown(task, name)),
        }
    }
    Ok((ours, parameters))
}

/// Phones have accounts, and so parameters.
fn has_parameters(task: &clap::Command) -> bool {
    matches!(task.get_name(), "phone" | "call")
}

fn is_flag(argument: &OsStr) -> bool {
    argument.to_str().is_some_and(|text| text.starts_with("--"))
}

fn unknown(task: &clap::Command, name: &str) -> Stop {
    let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    let meant = nearest_flag(task, name).or_else(|| if has_parameters(task) { nearest(name) } else { None });
    let cure = match meant {
        Some(meant) => format!("did you mean --{meant}?"),
        None => format!("`wakeline {} --help` lists the flags", task.get_name()),
    };
    Stop::Flag(format!("there is no flag or parameter --{shown}; {cure}"))
}

/// A flag of the task that differs by a letter or two.
fn nearest_flag<'a>(task: &'a clap::Command, name: &str) -> Option<&'a str> {
    let close = |known: &str| {
        let same = known.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        let tail = known.bytes().rev().zip(name.bytes().rev()).take_while(|(a, b)| a == b).count();
        same + tail + 2 >= known.len().max(name.len()) && known.len().min(name.len()) > 3
    };
    task.get_arguments().filter_map(clap::Arg::get_long).find(|known| close(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(line: &[&str]) -> Result<Arguments, Stop> {
        read(line.iter().map(OsString::from))
    }

    fn refused(line: &[&str]) -> String {
        match reading(line) {
            Err(Stop::Flag(text)) => text,
            Err(Stop::Clap(error)) => error.to_string(),
            Ok(read) => panic!("{read:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
        // A flag that is a parameter too would be two things at once; these are meant so, and mean the same.
        for task in CommandLine::command().get_subcommands().filter(|task| has_parameters(task)) {
            for flag in task.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(parameter(flag).is_none(), "--{flag} is a webphone parameter");
            }
        }
    }

    #[test]
    fn parameters_stand_among_the_flags_in_every_spelling() {
        let read = reading(&[
            "phone",
            "--headless",
            "--serveraddress",
            "sip.example",
            "--Username=mia",
            "--use-rport",
            "2",
            "--autoaccept",
            "--state",
            "--odd",
            "--prefercodec=opus",
        ])
        .unwrap();
        let parameters: Vec<_> =
            read.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            parameters,
            [
                ("serveraddress", "sip.example"),
                ("Username", "mia"),
                ("use-rport", "2"),
                ("autoaccept", "true"),
                ("prefercodec", "opus"),
            ]
        );
        let Task::Phone(flags) = read.task else { panic!("a phone") };
        assert!(flags.headless);
        assert_eq!(flags.accounts.state, Some(PathBuf::from("--odd")));
    }

    #[test]
    fn a_call_has_its_uri_among_parameters() {
        let read = reading(&["call", "--password", "--x", "sip:bob@example.org", "--seconds", "3"]).unwrap();
        let Task::Call(flags) = read.task else { panic!("a call") };
        assert_eq!((flags.to.as_str(), flags.seconds), ("sip:bob@example.org", Some(3.0)));
        assert_eq!(read.parameters, [("password".to_owned(), "--x".to_owned())]);
    }

    #[test]
    fn unknown_flags_are_refused_with_the_nearest_name() {
        assert!(refused(&["phone", "--headles"]).contains("did you mean --headless?"));
        assert!(refused(&["phone", "--usernme", "mia"]).contains("did you mean --username?"));
        assert!(refused(&["demo", "--username", "mia"]).contains("--help"));
        assert!(refused(&["phone", "--serveraddress"]).contains("needs a value"));
        assert!(refused(&["phone", "--play", "a.wav", "--no-audio"]).contains("cannot be used with"));
        assert!(refused(&["call"]).contains("URI"));
    }

    #[test]
    fn an_unknown_parameter_with_its_value_is_left_to_the_settings_to_tell() {
        let read = reading(&["phone", "--completelyelse=1"]).unwrap();
        assert_eq!(read.parameters, [("completelyelse".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn s7_a_hostile_flag_is_shown_in_one_line() {
        let text = refused(&["phone", "--a\u{1b}[31m\r\nb", "x"]);
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
