//! A new installation's file, from the answers to five questions.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use wakeline_secret::Secret;
use wakeline_sip_auth::{Algorithm, Ha1};

/// What only the operator knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// The domain of the phones' addresses. `localhost`: this machine only.
    pub domain: String,
    /// PEM files of the certificate with its chain, and of its key; `None`: self-signed.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The Firebase service account; `None`: no push to Android.
    pub firebase: Option<PathBuf>,
    /// Apple's key; `None`: no push to iPhones.
    pub apple: Option<Apple>,
    /// The first account's user and password.
    pub account: (String, Secret),
    /// Where the store goes.
    pub store: PathBuf,
}

/// Apple's key and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apple {
    /// The .p8 file.
    pub key_file: PathBuf,
    /// Its id.
    pub key_id: String,
    /// The team's.
    pub team_id: String,
    /// The app's bundle identifier.
    pub topic: String,
}

/// Secrets that a file needs and nobody has to think of.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The administrator's token.
    pub admin_token: Secret,
    /// The password of the doctor's account.
    pub doctor: Secret,
}

/// The doctor's own account, whose phones ring nobody.
pub const DOCTOR: &str = "doctor";

/// Whether a domain is this machine for itself only.
fn is_local(domain: &str) -> bool {
    domain == "localhost" || domain.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn path(path: &std::path::Path) -> String {
    quoted(&path.display().to_string())
}

/// The file. The first account's password stands in it as digest secrets only.
///
/// `wide`: the addresses to listen on beyond this machine, such as `0.0.0.0` and `[::]`.
pub fn file(answers: &Answers, drawn: &Drawn, wide: &[&str]) -> String {
    let domain = answers.domain.as_str();
    let local = is_local(domain);
    let hosts = if local { &["127.0.0.1"][..] } else { wide };
    let listen = |port: u16| {
        let all: Vec<String> = hosts.iter().map(|host| quoted(&format!("{host}:{port}"))).collect();
        format!("[{}]", all.join(", "))
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "# Written by `wakeline gateway init`. `wakeline gateway --example` shows every further key with its default.\n\n\
         domains = [{}]\n\n[listen]\nudp = {}\ntcp = {}\ntls = {}\nws = {}\nwss = {}\n\n",
        quoted(domain),
        listen(5060),
        listen(5060),
        listen(5061),
        listen(5066),
        listen(5067),
    );
    if !local {
        let name = quoted(domain);
        let _ =
            write!(text, "[public]\nudp = {name}\ntcp = {name}\ntls = {name}\nws = {name}\nwss = {name}\n\n");
    }
    if let Some((certificate, key)) = &answers.certificate {
        let _ = write!(text, "[tls]\ncertificate = {}\nkey = {}\n\n", path(certificate), path(key));
    }
    let _ = write!(text, "[store]\npath = {}\n\n", path(&answers.store));
    if let Some(firebase) = &answers.firebase {
        let _ = write!(text, "[push.fcm]\nservice_accounts = [{}]\n\n", path(firebase));
    }
    if let Some(apple) = &answers.apple {
        let _ = write!(
            text,
            "[push.apns]\nteam_id = {}\nkey_id = {}\nkey_file = {}\ntopic = {}\n\n",
            quoted(&apple.team_id),
            quoted(&apple.key_id),
            path(&apple.key_file),
            quoted(&apple.topic)
        );
    }
    let (user, password) = &answers.account;
    let ha1 = |algorithm| quoted(Ha1::of(algorithm, user, domain, password).digits.expose());
    let _ = write!(
        text,
        "# Digest secrets instead of the password; they are bound to the realm, which is the first domain.\n\
         [[account]]\nuser = {}\nmd5 = {}\nsha256 = {}\n\n\
         # `wakeline doctor` calls itself with this one.\n[[account]]\nuser = {}\npassword = {}\n\n\
         # Calls that nobody took may go to voicemail: an account of the server's own, and here its address.\n\
         # [voicemail]\n# target = {}\n\n\
         # The page that tells why a call did not ring; from elsewhere: ssh -L 5080:127.0.0.1:5080 {}\n\
         [admin]\nlisten = [\"127.0.0.1:5080\"]\ntoken = {}\n",
        quoted(user),
        ha1(Algorithm::Md5),
        ha1(Algorithm::Sha256),
        quoted(DOCTOR),
        quoted(drawn.doctor.expose()),
        quoted(&format!("sip:voicemail@{domain}")),
        if local { "GATEWAY" } else { domain },
        quoted(drawn.admin_token.expose()),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn drawn() -> Drawn {
        Drawn { admin_token: "0123456789abcdef".into(), doctor: "doctors-secret".into() }
    }

    #[test]
    fn every_answer_gives_a_file_that_can_be_used() {
        let apple = Apple {
            key_file: "AuthKey_AB12CD34EF.p8".into(),
            key_id: "AB12CD34EF".to_owned(),
            team_id: "TEAM123456".to_owned(),
            topic: "org.example.voice".to_owned(),
        };
        let full = Answers {
            domain: "voice.example.org".to_owned(),
            certificate: Some(("/etc/a \"b\"\\c.pem".into(), "/etc/key.pem".into())),
            firebase: Some("/etc/firebase.json".into()),
            apple: Some(apple),
            account: ("mia".to_owned(), "open sesame".into()),
            store: "/var/lib/wakeline/gateway.db".into(),
        };
        let text = file(&full, &drawn(), &["0.0.0.0", "[::]"]);
        let config = Config::from_toml(&text).unwrap();
        config.faults().unwrap();
        assert_eq!(config.tls.certificate, PathBuf::from("/etc/a \"b\"\\c.pem"));
        assert_eq!((config.listen.tls.len(), config.public.tls.as_str()), (2, "voice.example.org"));
        assert!(config.push.apns.is_on() && config.push.fcm.is_on());
        assert!(!text.contains("open sesame"), "{text}");
        assert_eq!(config.account[0].md5.expose().len(), 32);

        let least = Answers {
            domain: "localhost".to_owned(),
            account: ("mia".to_owned(), "p".into()),
            store: "gateway.db".into(),
            ..Answers::default()
        };
        let config = Config::from_toml(&file(&least, &drawn(), &["0.0.0.0"])).unwrap();
        config.faults().unwrap();
        assert!(config.listen.tcp.iter().all(|address| address.ip().is_loopback()));
        assert!(config.tls.certificate.as_os_str().is_empty());
    }
}
