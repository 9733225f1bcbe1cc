//! Our own gateway as the peers' registrar and proxy.

use std::process::Command;

use crate::kamailio::{DOMAIN, PASSWORD};
use crate::phone::program;
use crate::place::{Folder, Process, free_port, wait_until};

/// A running `wakeline gateway`.
pub struct Gateway {
    process: Process,
    /// Its port for UDP and TCP.
    pub port: u16,
    /// Its port for TLS, where it has one, and the certificate that it shows there.
    pub tls: Option<(u16, std::path::PathBuf)>,
}

impl Gateway {
    /// Starts it with an account for each of these users. baresip 1.0 gives up when SHA-256 is offered to it at all.
    pub fn start(folder: &Folder, users: &[&str]) -> Gateway {
        let port = free_port();
        let accounts: String = users
            .iter()
            .map(|user| format!("[[account]]\nuser = \"{user}\"\npassword = \"{PASSWORD}\"\n"))
            .collect();
        let listen = format!("[\"127.0.0.1:{port}\"]");
        Gateway::start_with(
            folder,
            port,
            &format!(
                "domains = [\"{DOMAIN}\", \"127.0.0.1\"]\ndigest = [\"MD5\"]\n[listen]\nudp = {listen}\ntcp = {listen}\ntls = []\nws = []\nwss = []\n{accounts}"
            ),
        )
    }

    /// The same with TLS beside it.
    pub fn start_with_tls(folder: &Folder, users: &[&str]) -> Gateway {
        let (port, tls_port) = (free_port(), free_port());
        let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), DOMAIN.into()])
            .expect("a certificate");
        let certificate = folder.write("gateway.crt", &signed.cert.pem());
        let key = folder.write("gateway.key", &signed.signing_key.serialize_pem());
        let accounts: String = users
            .iter()
            .map(|user| format!("[[account]]\nuser = \"{user}\"\npassword = \"{PASSWORD}\"\n"))
            .collect();
        let (clear, secure) = (format!("[\"127.0.0.1:{port}\"]"), format!("[\"127.0.0.1:{tls_port}\"]"));
        let mut gateway = Gateway::start_with(
            folder,
            port,
            &format!(
                "domains = [\"{DOMAIN}\", \"127.0.0.1\"]\n[listen]\nudp = {clear}\ntcp = {clear}\ntls = {secure}\nws = []\nwss = []\n\
                 [tls]\ncertificate = \"{}\"\nkey = \"{}\"\n{accounts}",
                certificate.display(),
                key.display()
            ),
        );
        gateway.tls = Some((tls_port, certificate));
        gateway
    }

    /// Starts one with this file; `port` is where it listens.
    pub fn start_with(folder: &Folder, port: u16, file: &str) -> Gateway {
        let file = folder.write("gateway.toml", file);
        let mut command = Command::new(program());
        command.args(["gateway", "--config"]).arg(file).env("WAKELINE_LOG", "debug");
        let process = Process::start(&command, folder, "gateway.log");
        wait_until("the gateway listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Gateway { process, port, tls: None }
    }

    /// Freezes it, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "STOP" } else { "CONT" };
        let sent = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {signal}");
    }

    /// The memory that it holds now, in MiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024
    }

    /// The webphone parameters of an account here.
    pub fn account<'a>(&self, user: &'a str, transport: &'a str) -> Vec<(&'static str, String)> {
        let secure = self.tls.as_ref().filter(|_| transport == "2");
        let mut account = vec![
            ("serveraddress", DOMAIN.to_owned()),
            ("proxyaddress", format!("127.0.0.1:{}", secure.map_or(self.port, |(port, _)| *port))),
            ("username", user.to_owned()),
            ("password", PASSWORD.to_owned()),
            ("transport", transport.to_owned()),
            ("localip", "127.0.0.1".to_owned()),
        ];
        if let Some((_, certificate)) = secure {
            account.push(("tlsroots", certificate.display().to_string()));
        }
        account
    }
}
