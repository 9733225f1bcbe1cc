//! Our own gateway as the peers' registrar and proxy.

use std::process::Command;

use crate::kamailio::{DOMAIN, PASSWORD};
use crate::phone::program;
use crate::place::{Folder, Process, free_port, wait_until};

/// A running `wakeline gateway`.
pub struct Gateway {
    _process: Process,
    /// Its port for UDP and TCP.
    pub port: u16,
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

    /// Starts one with this file; `port` is where it listens.
    pub fn start_with(folder: &Folder, port: u16, file: &str) -> Gateway {
        let file = folder.write("gateway.toml", file);
        let mut command = Command::new(program());
        command.args(["gateway", "--config"]).arg(file).env("WAKELINE_LOG", "debug");
        let process = Process::start(&command, folder, "gateway.log");
        wait_until("the gateway listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Gateway { _process: process, port }
    }

    /// The webphone parameters of an account here.
    pub fn account<'a>(&self, user: &'a str, transport: &'a str) -> Vec<(&'static str, String)> {
        vec![
            ("serveraddress", DOMAIN.to_owned()),
            ("proxyaddress", format!("127.0.0.1:{}", self.port)),
            ("username", user.to_owned()),
            ("password", PASSWORD.to_owned()),
            ("transport", transport.to_owned()),
            ("localip", "127.0.0.1".to_owned()),
        ]
    }
}
