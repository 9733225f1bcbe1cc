//! `wakeline doctor`: examines an installation, or, with `--self-test`, one that it starts on loopback for the purpose.

use std::path::PathBuf;

use tokio::sync::mpsc;
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::doctor::{self, Options, Provider, PushParameters, Report, WakeSignal};
use wakeline_gateway::{Gateway, Handle};
use wakeline_push_services::{FcmOptions, FcmService};

use crate::arguments::DoctorFlags;
use crate::exit::{Exit, Failure};

const PROJECT: &str = "wakeline-self-test";

/// Examines, prints, and tells by the exit code whether anything is broken.
pub(crate) fn run(flags: &DoctorFlags) -> Result<Exit, Failure> {
    crate::log::start(None, std::io::stderr());
    let report = crate::block_on(async {
        match flags.self_test {
            true => self_test().await,
            false => installation(flags).await,
        }
    })??;
    if flags.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        println!("{text}");
    } else {
        print!("{report}");
        match report.broken_hops().count() {
            0 => println!("\nnothing is broken"),
            broken => println!("\n{broken} broken"),
        }
    }
    Ok(if report.is_sound() { Exit::Well } else { Exit::Failed })
}

async fn installation(flags: &DoctorFlags) -> Result<Report, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error.to_string());
    let Some(path) = &flags.config else {
        return Err(usage(&"--config FILE: which installation? Or --self-test for one on loopback"));
    };
    let config = Config::from_file(path).map_err(|error| usage(&error))?;
    let account = flags.user.clone().zip(flags.password.clone().map(Into::into));
    let push = match &flags.push_token {
        None => None,
        Some(text) => {
            let mut parts = text.splitn(3, ':');
            let (Some(provider), Some(param), Some(prid)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(usage(&"--push-token is PROVIDER:PARAM:PRID"));
            };
            let token = PushParameters::new(Provider::parse(provider), param, prid.into());
            Some(token.map_err(|error| usage(&error))?)
        }
    };
    let options = Options { account, push, ca_file: flags.ca.clone(), ..Options::default() };
    Ok(doctor::examine(&config, options).await)
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    fn write(&self, name: &str, text: &str) -> Result<PathBuf, Failure> {
        let path = self.0.join(name);
        std::fs::write(&path, text)
            .map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
        Ok(path)
    }
}

/// Starts a push service's stand-in and a gateway on loopback, and examines them with the same doctor.
async fn self_test() -> Result<Report, Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error.to_string());
    let folder = Folder(std::env::temp_dir().join(format!("wakeline-doctor-{}", std::process::id())));
    std::fs::DirBuilder::new().mode(0o700).create(&folder.0).map_err(|error| failed(&error))?;
    let push = FcmService::start(FcmOptions { project: PROJECT.to_owned(), ..FcmOptions::default() })
        .await
        .map_err(|error| failed(&error))?;
    let mut config = prepared(&folder, &push)?;
    let gateway = Gateway::start(config.clone()).map_err(|error| failed(&error))?;
    set_ports(&mut config, &gateway);
    let pem = gateway.certificate_pem().unwrap_or("");
    let ca_file: PathBuf = folder.write("ca.pem", pem)?;
    let token = crate::random::password().map_err(|error| failed(&error))?;
    let token = PushParameters::new(Provider::Fcm, PROJECT, format!("{token}:APA91b{token}").into());
    let (sender, delivered) = mpsc::unbounded_channel();
    let mut deliveries = push.subscribe();
    tokio::spawn(async move {
        while let Some(delivery) = deliveries.recv().await {
            if delivery.data.get("t").is_some_and(|kind| kind == "call") && sender.send(()).is_err() {
                return;
            }
        }
    });
    let options = Options {
        push: Some(token.map_err(|error| failed(&error))?),
        signal: WakeSignal::Delivered(delivered),
        ca_file: Some(ca_file),
        ..Options::default()
    };
    let report = doctor::examine(&config, options).await;
    // It waits for its threads; nothing else is to be done here meanwhile.
    gateway.shutdown();
    Ok(report)
}

fn prepared(folder: &Folder, push: &FcmService) -> Result<Config, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Failed, error.to_string());
    let mut config = Config::default().on_any_port();
    config.store.path = folder.0.join("gateway.db");
    config.admin.listen.push(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    config.push.fcm.service_accounts = vec![folder.write("push-account.json", &push.service_account_json())?];
    config.push.fcm.ca_file = folder.write("push-ca.pem", push.ca_pem())?;
    config.push.fcm.endpoint = push.endpoint();
    let password = crate::random::password().map_err(|error| failed(&error))?;
    config.account.push(Account { user: "test".to_owned(), password: password.into(), ..Account::default() });
    Ok(config)
}

/// Writes the ports that the system chose where the doctor looks for them.
fn set_ports(config: &mut Config, gateway: &Handle) {
    let listen = &mut config.listen;
    for (transport, address) in gateway.bound() {
        let place = match transport {
            Transport::Udp => &mut listen.udp,
            Transport::Tcp => &mut listen.tcp,
            Transport::Tls => &mut listen.tls,
            Transport::Ws => &mut listen.ws,
            Transport::Wss => &mut listen.wss,
        };
        *place = vec![*address];
    }
    config.admin.listen = gateway.admin().to_vec();
}
