//! Our gateway and Kamailio as they are measured: the same accounts, transports and certificate; no log of requests.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use wakeline_interop::kamailio::{DOMAIN, PASSWORD};
use wakeline_interop::phone::program;
use wakeline_interop::place::{Folder, Process, free_port, wait_until};
use wakeline_push_services::{FcmOptions, FcmService};

use crate::processes;

/// Whose server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Make {
    /// `wakeline gateway`.
    Ours,
    /// Debian's Kamailio.
    Kamailio,
}

/// A running server.
pub struct Server {
    process: Option<Process>,
    /// Its UDP and TCP port.
    pub port: u16,
    /// Its TLS port.
    pub tls_port: u16,
    /// Its port for WebSockets under TLS; zero where it has none.
    pub wss_port: u16,
    /// Its certificate, PEM: it is its own authority.
    pub certificate: PathBuf,
}

impl Server {
    /// Its processes.
    pub fn ids(&self) -> Vec<u32> {
        self.process.as_ref().map(|process| processes::family(process.id())).unwrap_or_default()
    }

    /// Tells it to end, and waits for that.
    pub fn end(&mut self) {
        self.process = None;
    }

    /// Memory of all its processes, what they share counted once, in bytes.
    pub fn memory(&self) -> f64 {
        processes::memory(&self.ids(), "Pss") * 1024.0
    }
}

/// A push service on loopback, for our gateway.
pub struct Push {
    /// Runs the service; it must outlive it.
    pub runtime: tokio::runtime::Runtime,
    /// The service.
    pub service: FcmService,
}

impl Push {
    /// Starts it.
    pub fn start() -> Push {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let options = FcmOptions { project: PROJECT.to_owned(), ..FcmOptions::default() };
        let service = runtime.block_on(FcmService::start(options)).expect("a push service");
        Push { runtime, service }
    }
}

/// The project of every token.
pub const PROJECT: &str = "acme-voice-prod";

/// The registration token of a user.
pub fn token(user: &str) -> String {
    format!(
        "dK2_example-{user}:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ-hQMRKRrZuJAEcl7B338qju59zJMjw2DELjzEvxwYv7hH5Ynpc1ODQ0aT4U4OFEeco8ohsN5PjL1iC2dNtk2BAokeMCg2ZXKqpc8FXKmhX94kIxQ"
    )
}

/// Starts a server that knows users u0 to u(`users` - 1).
pub fn start(make: Make, folder: &Folder, users: usize, push: Option<&Push>) -> Server {
    match make {
        Make::Ours => ours(folder, users, push, ""),
        Make::Kamailio => kamailio(folder),
    }
}

/// Starts our gateway with a store in the folder.
pub fn with_store(folder: &Folder, users: usize, push: &Push) -> Server {
    let store = format!("[store]\npath = \"{}\"\n", folder.path("gateway.db").display());
    ours(folder, users, Some(push), &store)
}

/// Starts our gateway again as it was in this folder; it answers on its ports when this returns.
pub fn again(folder: &Folder, former: Server) -> Server {
    let Server { port, tls_port, wss_port, certificate, .. } = former;
    let process = Some(run(folder));
    while TcpStream::connect(("127.0.0.1", tls_port)).is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    Server { process, port, tls_port, wss_port, certificate }
}

fn run(folder: &Folder) -> Process {
    let mut command = Command::new(program());
    command.args(["gateway", "--config"]).arg(folder.path("gateway.toml"));
    Process::start(&command, folder, "gateway.log")
}

fn certificate(folder: &Folder) -> (PathBuf, PathBuf) {
    let signed =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), DOMAIN.into()]).expect("a certificate");
    let certificate = folder.write("server.crt", &signed.cert.pem());
    (certificate, folder.write("server.key", &signed.signing_key.serialize_pem()))
}

fn ours(folder: &Folder, users: usize, push: Option<&Push>, more: &str) -> Server {
    let (port, tls_port, wss_port) = (free_port(), free_port(), free_port());
    let (certificate, key) = certificate(folder);
    let mut text = format!(
        "domains = [\"{DOMAIN}\", \"127.0.0.1\"]\n[listen]\nudp = [\"127.0.0.1:{port}\"]\ntcp = [\"127.0.0.1:{port}\"]\n\
         tls = [\"127.0.0.1:{tls_port}\"]\nws = []\nwss = [\"127.0.0.1:{wss_port}\"]\n[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n\
         [trust]\nnetworks = [\"127.0.0.1\"]\n[timers]\nproven = 1\nwake = 600\nring_total = 900\n\
         [limits]\nrefusals = 0\nwakes_per_minute = 65535\nwakes_per_hour = 65535\nrequests_per_aor = 1000\n",
        certificate.display(),
        key.display()
    );
    if let Some(push) = push {
        let account = folder.write("push-account.json", &push.service.service_account_json());
        let authority = folder.write("push-authority.pem", push.service.ca_pem());
        text.push_str(&format!(
            "[push.fcm]\nservice_accounts = [\"{}\"]\nca_file = \"{}\"\nendpoint = \"{}\"\n",
            account.display(),
            authority.display(),
            push.service.endpoint()
        ));
    }
    for number in 0..users {
        text.push_str(&format!("[[account]]\nuser = \"u{number}\"\npassword = \"{PASSWORD}\"\n"));
    }
    text.push_str(more);
    folder.write("gateway.toml", &text);
    let process = Some(run(folder));
    wait_until("our gateway listens", || TcpStream::connect(("127.0.0.1", tls_port)).is_ok());
    Server { process, port, tls_port, wss_port, certificate }
}

fn kamailio(folder: &Folder) -> Server {
    let (port, tls_port) = (free_port(), free_port());
    let (certificate, key) = certificate(folder);
    let tls = folder.write(
        "tls.cfg",
        &format!(
            "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n\
             private_key = {}\ncertificate = {}\n",
            key.display(),
            certificate.display()
        ),
    );
    let load: String = [
        "tm",
        "tmx",
        "sl",
        "rr",
        "pv",
        "maxfwd",
        "textops",
        "siputils",
        "usrloc",
        "registrar",
        "auth",
        "tls",
    ]
    .iter()
    .map(|name| format!("loadmodule \"{name}.so\"\n"))
    .collect();
    // Held calls are marked by their user's name, so that the same server forwards others.
    let text = format!(
        r#"debug=0
log_stderror=yes
children=2
tcp_children=2
enable_tls=yes
tcp_max_connections=8192
tls_max_connections=8192
tcp_connection_lifetime=3605
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
listen=tls:127.0.0.1:{tls_port}
alias="{DOMAIN}"
tcp_accept_no_cl=yes
{load}
modparam("tls", "config", "{tls}")
modparam("usrloc", "db_mode", 0)
modparam("usrloc", "hash_size", 14)
modparam("registrar", "max_expires", 7200)
modparam("auth", "nonce_expire", 3600)
modparam("tm", "fr_timer", 900000)
modparam("tm", "fr_inv_timer", 900000)
modparam("tm", "max_inv_lifetime", 900000)
modparam("tm", "max_noninv_lifetime", 900000)

request_route {{
  if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (has_totag()) {{
    if (loose_route()) {{ t_relay(); exit; }}
    if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
    sl_send_reply("404", "Not Here"); exit;
  }}
  if (is_method("REGISTER")) {{
    if (!pv_auth_check("{DOMAIN}", "{PASSWORD}", "0", "0")) {{ auth_challenge("{DOMAIN}", "1"); exit; }}
    save("location");
    exit;
  }}
  if (is_method("INVITE") && $hdr(Subject) == "hold") {{ t_newtran(); t_suspend(); exit; }}
  if (is_method("INVITE")) record_route();
  if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
  t_relay();
}}
"#,
        tls = tls.display()
    );
    let configuration = folder.write("kamailio.cfg", &text);
    let run = folder.path("run");
    std::fs::create_dir_all(&run).expect("a folder");
    let mut command = Command::new("kamailio");
    command.arg("-f").arg(&configuration).args(["-DD", "-E", "-m", "1024", "-M", "16", "-Y"]).arg(&run);
    command.arg("-P").arg(folder.path("kamailio.pid")).current_dir(folder.as_path());
    let process = Process::start(&command, folder, "kamailio.log");
    wait_until("kamailio listens", || TcpStream::connect(("127.0.0.1", tls_port)).is_ok());
    Server { process: Some(process), port, tls_port, wss_port: 0, certificate }
}
