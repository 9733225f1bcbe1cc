//! What stands around the two phones: a folder, a push service, a gateway.

use std::path::{Path, PathBuf};
use std::time::Duration;

use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::{Gateway, Handle};
use wakeline_push_services::{FcmOptions, FcmService};

use super::sound::{self, Voice};
use crate::exit::{Exit, Failure};

/// Who is called.
pub(crate) const CALLEE: &str = "mia";
/// Who calls.
pub(crate) const CALLER: &str = "ben";
const DOMAIN: &str = "localhost";
const PROJECT: &str = "wakeline-demo";
/// How long the gateway may take to see that a process is gone.
const NOTICE: Duration = Duration::from_secs(5);

const SAID_BY_CALLER: &str = "Hello Mia, this is Ben. Your phone was fast asleep when I called, its program was not even \
    running. A small push message has started it, and here we are, talking. The quick brown fox jumps over the lazy dog.";
const SAID_BY_CALLEE: &str = "Good morning Ben. I was not here a second ago. The gateway kept your call on hold, woke me \
    up, and I registered in a single round trip. Five wine experts jokingly quizzed a sample of Chablis.";

/// Everything that the rounds of a demo share.
pub(crate) struct Stage {
    folder: PathBuf,
    keep: bool,
    /// The stand-in for the push service.
    pub(crate) push: FcmService,
    /// The gateway, in this process.
    pub(crate) gateway: Handle,
    /// The callee's token at the push service.
    pub(crate) token: String,
    /// Where the speech comes from.
    pub(crate) voice: Voice,
}

impl Stage {
    /// Builds it all: speech for `seconds`, a push service and a gateway on loopback, two accounts.
    pub(crate) async fn build(seconds: f64, keep: bool) -> Result<Stage, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error.to_string());
        let folder = std::env::temp_dir().join(format!("wakeline-demo-{}", std::process::id()));
        make_private(&folder).map_err(|error| failed(&error))?;
        let voice = sound::speak(&folder.join("caller-says.wav"), SAID_BY_CALLER, 35, seconds)?;
        sound::speak(&folder.join("callee-says.wav"), SAID_BY_CALLEE, 65, seconds)?;
        let push = FcmService::start(FcmOptions { project: PROJECT.to_owned(), ..FcmOptions::default() })
            .await
            .map_err(|error| failed(&error))?;
        let mut config = Config::default().on_any_port();
        for user in [CALLEE, CALLER] {
            let password = crate::random::password().map_err(|error| failed(&error))?;
            write(&folder.join(format!("{user}.password")), &password)?;
            config.account.push(Account {
                user: user.to_owned(),
                password: password.into(),
                ..Account::default()
            });
        }
        write(&folder.join("push-account.json"), &push.service_account_json())?;
        write(&folder.join("push-ca.pem"), push.ca_pem())?;
        config.push.fcm.service_accounts = vec![folder.join("push-account.json")];
        config.push.fcm.ca_file = folder.join("push-ca.pem");
        config.push.fcm.endpoint = push.endpoint();
        let gateway = Gateway::start(config).map_err(|error| failed(&error))?;
        let token = crate::random::password().map_err(|error| failed(&error))?;
        let token = format!("{token}:APA91b{token}");
        let stage = Stage { folder, keep, push, gateway, token, voice };
        stage.describe_phones()?;
        Ok(stage)
    }

    /// Writes the settings of both accounts.
    fn describe_phones(&self) -> Result<(), Failure> {
        let nowhere = || Failure::new(Exit::Failed, "the gateway has no TLS address");
        let address = self.gateway.address(Transport::Tls).ok_or_else(nowhere)?;
        write(&self.folder.join("ca.pem"), self.gateway.certificate_pem().ok_or_else(nowhere)?)?;
        for user in [CALLEE, CALLER] {
            let secret = self.folder.join(format!("{user}.password"));
            let password = std::fs::read_to_string(&secret)
                .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", secret.display())))?;
            // Not unregistered when it ends: a phone that sleeps is one that is still registered.
            let text = format!(
                "serveraddress={address}\nrealm={DOMAIN}\nusername={user}\npassword={password}\ntransport=2\n\
                 mediaencryption=2\nprefcodec=opus\nneedunregister=false\n"
            );
            write(&self.folder.join(format!("{user}.conf")), &text)?;
        }
        Ok(())
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The project that the callee's token belongs to.
    pub(crate) fn project(&self) -> &'static str {
        PROJECT
    }

    /// A file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The flags of one of the phones.
    pub(crate) fn flags(&self, user: &str, role: &str) -> Vec<std::ffi::OsString> {
        let pairs = [
            ("--config", self.path(&format!("{user}.conf"))),
            ("--tls-roots", self.path("ca.pem")),
            ("--state", self.path(&format!("{user}.state"))),
            ("--play", self.path(&format!("{role}-says.wav"))),
            ("--record", self.path(&format!("{role}-heard.wav"))),
        ];
        pairs.into_iter().flat_map(|(flag, path)| [flag.into(), path.into_os_string()]).collect()
    }

    /// Whom the caller dials.
    pub(crate) fn callee(&self) -> String {
        format!("sip:{CALLEE}@{DOMAIN}")
    }

    /// Waits until the gateway has no connection to the callee any more, and can only wake it.
    pub(crate) async fn callee_is_gone(&self) -> Result<(), Failure> {
        let gone = async {
            loop {
                let bindings = self.gateway.bindings(CALLEE, DOMAIN).await;
                if !bindings.is_empty()
                    && bindings.iter().all(|binding| binding.flow.is_none() && binding.wakeable)
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(NOTICE, gone).await.map_err(|_| {
            Failure::new(Exit::Failed, "the gateway does not see that the phone's process has ended")
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("wakeline: recordings and logs are in {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// A folder for this user only; one that is there already may be somebody else's.
fn make_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(folder)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))
}
