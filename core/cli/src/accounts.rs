//! From the command line, files and the environment to the settings of each account.

use std::path::{Path, PathBuf};

use wakeline_engine::{AudioChoice, Options, Trust};
use wakeline_settings::{Diagnosis, Settings, Source};

use crate::arguments::{AccountFlags, AudioFlags};
use crate::exit::{Exit, Failure};

/// The accounts that are described, and what there is to say of the description.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// At least one.
    pub(crate) settings: Vec<Settings>,
    /// What cannot be used as it stands, each remark once.
    pub(crate) diagnoses: Vec<Diagnosis>,
}

/// Reads every source. `environment` is handed in so that a test can have its own.
///
/// With several account files, everything else counts for each of them.
pub(crate) fn read<N: AsRef<str> + Clone, V: AsRef<str> + Clone>(
    flags: &AccountFlags,
    parameters: &[(String, String)],
    environment: impl IntoIterator<Item = (N, V)>,
) -> Result<Accounts, Failure> {
    let environment: Vec<(N, V)> = environment.into_iter().collect();
    let config = flags.config.as_deref().map(file).transpose()?;
    let mut files = Vec::new();
    for path in &flags.account {
        files.push(Some(file(path)?));
    }
    if files.is_empty() {
        files.push(None);
    }
    let mut accounts = Accounts { settings: Vec::new(), diagnoses: Vec::new() };
    for account in files {
        let mut settings = Settings::new();
        for (path, text) in config.iter().chain(&account) {
            settings
                .read_file(text, Source::File)
                .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))?;
        }
        settings.read_environment(environment.iter().cloned());
        settings.read_flags(parameters.iter().map(|(name, value)| (name, value)));
        if let Some(link) = &flags.link {
            settings.read_link(link);
        }
        for diagnosis in settings.take_diagnoses() {
            if !accounts.diagnoses.contains(&diagnosis) {
                accounts.diagnoses.push(diagnosis);
            }
        }
        accounts.settings.push(settings);
    }
    Ok(accounts)
}

fn file(path: &Path) -> Result<(PathBuf, String), Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display())))?;
    Ok((path.to_owned(), text))
}

/// The environment's variables that are text.
pub(crate) fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Everything that a phone is started with; remarks go to standard error.
pub(crate) fn options(
    flags: &AccountFlags,
    audio: AudioChoice,
    parameters: &[(String, String)],
) -> Result<Options, Failure> {
    if let AudioChoice::File { play: Some(path), .. } = &audio {
        // In the call it would be too late: the far end would hear silence.
        std::fs::File::open(path)
            .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {}: {error}", path.display())))?;
    }
    let accounts = read(flags, parameters, environment())?;
    for diagnosis in &accounts.diagnoses {
        eprintln!("wakeline: {diagnosis}");
    }
    let trust = trust(flags)?;
    Ok(Options {
        accounts: accounts.settings,
        state: flags.state.clone(),
        audio,
        trust,
        ..Options::default()
    })
}

/// Whom to trust by the flags, for every account. Without any, each account's `tlspin` and `tlsroots` count, then the system.
fn trust(flags: &AccountFlags) -> Result<Trust, Failure> {
    trust_of(flags.tls_roots.as_deref(), flags.tls_pin.as_deref())
}

/// The same by the flags alone.
pub(crate) fn trust_of(roots: Option<&Path>, pin: Option<&str>) -> Result<Trust, Failure> {
    if let Some(path) = roots {
        return Ok(Trust::Authorities(path.to_owned()));
    }
    if let Some(pin) = pin {
        return Ok(Trust::Pin(pin_of(pin, "--tls-pin")?));
    }
    Ok(Trust::System)
}

/// 64 hex digits, colons between them allowed.
fn pin_of(text: &str, name: &str) -> Result<[u8; 32], Failure> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|&digit| digit != ':')
        .map_while(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    let mut pin = [0; 32];
    if digits.len() != 64 || text.chars().any(|digit| digit != ':' && !digit.is_ascii_hexdigit()) {
        let cause = format!("{name} is the SHA-256 of the server's public key: 64 hex digits");
        return Err(Failure::new(Exit::Usage, cause));
    }
    for (byte, pair) in pin.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair[0] << 4 | pair[1];
    }
    Ok(pin)
}

/// Microphone and loudspeaker as the flags have it.
pub(crate) fn audio(flags: &AudioFlags) -> AudioChoice {
    if let Some(rate) = flags.echo {
        return AudioChoice::Echo { rate };
    }
    match (flags.tone, flags.no_audio) {
        (Some(hertz), _) => AudioChoice::Tone { hertz, record: flags.record.clone() },
        (None, true) => AudioChoice::Null,
        (None, false) if flags.play.is_some() || flags.record.is_some() => {
            AudioChoice::File { play: flags.play.clone(), record: flags.record.clone() }
        }
        (None, false) => AudioChoice::System,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("wakeline-cli-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn b061_file_gives_way_to_environment_and_that_to_flags_and_those_to_the_link() {
        let folder = Folder::new("order");
        let config =
            folder.file("a.conf", "realm=file\nusername=file\nserveraddress=file\ndisplayname=file\n");
        let flags = AccountFlags {
            config: Some(config),
            link: Some("https://x.example/?wp_serveraddress=link".to_owned()),
            ..AccountFlags::default()
        };
        let environment = [
            ("WP_USERNAME", "environment"),
            ("WP_REALM", "environment"),
            ("WP_SERVERADDRESS", "environment"),
        ];
        let parameters = pairs(&[("realm", "flag"), ("serveraddress", "flag")]);
        let accounts = read(&flags, &parameters, environment).unwrap();
        let value = |name| accounts.settings[0].text(name).unwrap_or("");
        assert_eq!(
            [value("displayname"), value("username"), value("realm"), value("serveraddress")],
            ["file", "environment", "flag", "link"]
        );
        assert!(accounts.diagnoses.is_empty());
    }

    #[test]
    fn several_accounts_share_what_is_not_theirs() {
        let folder = Folder::new("several");
        let flags = AccountFlags {
            config: Some(folder.file("all.conf", "transport=2\nusername=nobody\n")),
            account: vec![
                folder.file("a.conf", "username=mia\n"),
                folder.file("b.conf", "{\"username\":\"ben\"}"),
            ],
            ..AccountFlags::default()
        };
        let accounts = read(&flags, &pairs(&[("nonsense", "1")]), Vec::<(&str, &str)>::new()).unwrap();
        let users: Vec<_> =
            accounts.settings.iter().map(|one| (one.text("username"), one.number("transport"))).collect();
        assert_eq!(users, [(Some("mia"), Some(2)), (Some("ben"), Some(2))]);
        assert_eq!(accounts.diagnoses.len(), 1, "a remark that concerns both is made once");
    }

    #[test]
    fn files_that_are_not_there_or_broken_are_named() {
        let folder = Folder::new("broken");
        let flags = AccountFlags { config: Some(folder.0.join("none.conf")), ..AccountFlags::default() };
        let none = read(&flags, &[], Vec::<(&str, &str)>::new()).unwrap_err();
        assert!(none.to_string().contains("none.conf") && none.exit() == Exit::Usage);
        let flags = AccountFlags {
            config: Some(folder.file("bad.conf", "username=mia\nnonsense canary\n")),
            ..AccountFlags::default()
        };
        let bad = read(&flags, &[], Vec::<(&str, &str)>::new()).unwrap_err().to_string();
        assert!(bad.contains("bad.conf") && bad.contains("line 2") && !bad.contains("canary"), "{bad}");
    }

    #[test]
    fn trust_is_never_anybody() {
        let pin = "ab".repeat(32);
        let flags = AccountFlags { tls_pin: Some(pin.clone()), ..AccountFlags::default() };
        assert!(matches!(trust(&flags), Ok(Trust::Pin(pin)) if pin == [0xab; 32]));
        for wrong in ["", "ab", &"zz".repeat(32), &format!("{pin}00")] {
            let flags = AccountFlags { tls_pin: Some((*wrong).to_owned()), ..AccountFlags::default() };
            assert!(trust(&flags).is_err(), "{wrong}");
        }
        // The accounts' own parameters are the engine's to read, each for itself.
        assert!(matches!(trust(&AccountFlags::default()), Ok(Trust::System)));
    }
}
