//! `wakeline gateway init`: five questions, and a file.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use wakeline_gateway::config::Config;
use wakeline_gateway::init::{Answers, Apple, DOCTOR, Drawn, file};

use crate::arguments::InitFlags;
use crate::exit::{Exit, Failure};

/// Asks what the flags leave open, and writes the file.
pub(crate) fn run(flags: &InitFlags) -> Result<Exit, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error.to_string());
    let usage = |text: String| Failure::new(Exit::Usage, text);
    if flags.output.exists() && !flags.force {
        return Err(usage(format!("{} is there already; --force writes over it", flags.output.display())));
    }
    let asking = !flags.yes && std::io::stdin().is_terminal();
    let ask = |question: &str, given: Option<String>, otherwise: &str| match given {
        Some(given) => Ok(given),
        None if asking => answer(question, otherwise),
        None => Ok(otherwise.to_owned()),
    };
    let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let domain = ask(
        "1/5  The domain of your phones' addresses, sip:mia@DOMAIN (localhost: to try it on this machine)",
        flags.domain.clone(),
        "localhost",
    )?;
    if domain.is_empty() || !domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
    {
        return Err(usage(format!("{domain:?} is no domain")));
    }
    let usual = format!("/etc/letsencrypt/live/{domain}/fullchain.pem");
    let usual = if Path::new(&usual).exists() { usual.as_str() } else { "" };
    let certificate = ask(
        "2/5  The certificate file with its whole chain, PEM (empty: self-signed, for phones that pin it)",
        shown(&flags.certificate),
        usual,
    )?;
    let firebase = ask(
        "3/5  Push to Android: the Firebase service account, a JSON file (empty: none)",
        shown(&flags.firebase),
        "",
    )?;
    let apple = ask(
        "4/5  Push to iPhones: Apple's key file, team and bundle, such as AuthKey_AB12CD34EF.p8 TEAM123456 \
         org.example.voice (empty: none)",
        flags.apple.clone(),
        "",
    )?;
    let user = ask("5/5  The first account's name", flags.account.clone(), "mia")?;
    if user.is_empty()
        || user == DOCTOR
        || !user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
    {
        return Err(usage(format!("{user:?} is no name for an account")));
    }
    let random = || crate::random::password().map_err(|error| failed(&error));
    let password = random()?;
    let answers = Answers {
        certificate: match certificate.as_str() {
            "" => None,
            path => Some(with_key(Path::new(path), flags.key.as_deref()).map_err(usage)?),
        },
        firebase: Some(firebase).filter(|path| !path.is_empty()).map(PathBuf::from),
        apple: Some(apple)
            .filter(|text| !text.is_empty())
            .map(|text| apples(&text))
            .transpose()
            .map_err(usage)?,
        account: (user.clone(), password.as_str().into()),
        store: flags.store.clone().unwrap_or_else(|| beside(&flags.output)),
        domain: domain.clone(),
    };
    let drawn = Drawn {
        admin_token: format!("{}{}", random()?, random()?).into(),
        doctor: format!("{}{}", random()?, random()?).into(),
    };
    // A machine without IPv6 cannot listen there.
    let six = std::net::TcpListener::bind("[::]:0").is_ok();
    let text = file(&answers, &drawn, if six { &["0.0.0.0", "[::]"] } else { &["0.0.0.0"] });
    let config = Config::from_toml(&text).map_err(|error| failed(&error))?;
    config.faults().map_err(|error| usage(error.to_string()))?;
    write(&flags.output, &text).map_err(|error| failed(&format!("{}: {error}", flags.output.display())))?;
    let path = flags.output.display();
    println!("{path} is written; the account is {user}, its password {password} (it stands nowhere else)");
    println!("start it:    wakeline gateway --config {path}");
    println!("examine it:  wakeline doctor --config {path}");
    Ok(Exit::Well)
}

/// One question on the terminal; an empty line is the answer that is offered.
fn answer(question: &str, otherwise: &str) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::new(Exit::Failed, error.to_string());
    let offered = if otherwise.is_empty() { String::new() } else { format!(" [{otherwise}]") };
    print!("{question}{offered}: ");
    std::io::stdout().flush().map_err(failed)?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    let line = line.trim();
    Ok(if line.is_empty() { otherwise.to_owned() } else { line.to_owned() })
}

/// The key beside a certificate, as the usual tools name it.
fn with_key(certificate: &Path, key: Option<&Path>) -> Result<(PathBuf, PathBuf), String> {
    if let Some(key) = key {
        return Ok((certificate.to_owned(), key.to_owned()));
    }
    let name = certificate.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let guesses =
        [name.replace("fullchain", "privkey"), name.replace("cert", "key"), name.replace(".crt", ".key")];
    guesses
        .iter()
        .filter(|guess| **guess != name)
        .map(|guess| certificate.with_file_name(guess))
        .find(|path| path.exists())
        .map(|key| (certificate.to_owned(), key))
        .ok_or_else(|| format!("where is the key of {}? Name it: --key FILE", certificate.display()))
}

/// `FILE TEAM BUNDLE`; Apple names the file by the key's id.
fn apples(text: &str) -> Result<Apple, String> {
    let [key_file, team_id, topic] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err(
            "Apple's key is FILE TEAM BUNDLE, such as AuthKey_AB12CD34EF.p8 TEAM123456 org.example.voice"
                .to_owned(),
        );
    };
    let stem =
        Path::new(key_file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let key_id = stem.rsplit('_').next().unwrap_or("").to_owned();
    if key_id.len() != 10 {
        return Err(format!(
            "{key_file}: its name ends in the key's id, ten characters, as Apple hands it out"
        ));
    }
    Ok(Apple { key_file: key_file.into(), key_id, team_id: team_id.to_owned(), topic: topic.to_owned() })
}

fn beside(output: &Path) -> PathBuf {
    let service = Path::new("/var/lib/wakeline");
    // Where the service's unit lets it write.
    if output.starts_with("/etc") { service.join("gateway.db") } else { output.with_extension("db") }
}

/// For its owner only: secrets stand in it.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apples_key_is_read_from_one_line() {
        let apple = apples(" /etc/AuthKey_AB12CD34EF.p8  TEAM123456 org.example.voice ").unwrap();
        assert_eq!((apple.key_id.as_str(), apple.topic.as_str()), ("AB12CD34EF", "org.example.voice"));
        assert!(apples("AuthKey.p8 TEAM123456 org.example").unwrap_err().contains("key's id"));
        assert!(apples("AuthKey_AB12CD34EF.p8").unwrap_err().contains("FILE TEAM BUNDLE"));
    }

    #[test]
    fn the_store_stands_beside_the_file_or_where_the_service_may_write() {
        assert_eq!(beside(Path::new("gateway.toml")), PathBuf::from("gateway.db"));
        assert_eq!(
            beside(Path::new("/etc/wakeline/gateway.toml")),
            PathBuf::from("/var/lib/wakeline/gateway.db")
        );
    }
}
