//! Kamailio as registrar and proxy.

use std::process::Command;

use crate::place::{Folder, Process, free_port, wait_until};

/// The one password that this registrar knows.
pub const PASSWORD: &str = "s3cret-of-the-test";

/// The domain that it serves.
pub const DOMAIN: &str = "sip.test";

/// A running Kamailio.
pub struct Kamailio {
    _process: Process,
    log: std::path::PathBuf,
    /// Its port for UDP and TCP.
    pub port: u16,
    /// Its port for TLS.
    pub tls_port: u16,
    /// The authority that signed its certificate, as PEM.
    pub authority: std::path::PathBuf,
}

impl Kamailio {
    /// Starts a registrar that challenges every REGISTER, and a proxy that records its route.
    pub fn start(folder: &Folder) -> Kamailio {
        Kamailio::start_with(folder, "")
    }

    /// The same, and every call of its own users is challenged too.
    pub fn start_challenging_calls(folder: &Folder) -> Kamailio {
        let calls = format!(
            r#"if (is_method("INVITE") && from_uri == myself) {{
    if (!pv_auth_check("{DOMAIN}", "{PASSWORD}", "0", "0")) {{ auth_challenge("{DOMAIN}", "1"); exit; }}
    consume_credentials();
  }}"#
        );
        Kamailio::start_with(folder, &calls)
    }

    fn start_with(folder: &Folder, calls: &str) -> Kamailio {
        let (port, tls_port) = (free_port(), free_port());
        let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into(), DOMAIN.into()])
            .expect("a certificate");
        let authority = folder.write("kamailio.crt", &signed.cert.pem());
        let key = folder.write("kamailio.key", &signed.signing_key.serialize_pem());
        let tls = folder.write(
            "tls.cfg",
            &format!(
                "[server:default]\nmethod = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\n\
                 private_key = {}\ncertificate = {}\n",
                key.display(),
                authority.display()
            ),
        );
        let configuration =
            folder.write("kamailio.cfg", &configuration(port, tls_port, &tls.display().to_string(), calls));
        let run = folder.path("run");
        std::fs::create_dir_all(&run).expect("a folder");
        let mut command = Command::new("kamailio");
        command.arg("-f").arg(&configuration).args(["-DD", "-E", "-m", "64", "-M", "8", "-Y"]).arg(&run);
        command.arg("-P").arg(folder.path("kamailio.pid")).current_dir(folder.as_path());
        let process = Process::start(&command, folder, "kamailio.log");
        wait_until("kamailio listens", || std::net::TcpStream::connect(("127.0.0.1", tls_port)).is_ok());
        let log = folder.path("kamailio.log");
        Kamailio { _process: process, log, port, tls_port, authority }
    }

    /// The webphone parameters of an account here.
    pub fn account<'a>(&self, user: &'a str, transport: &'a str) -> Vec<(&'static str, String)> {
        let port = if transport == "2" { self.tls_port } else { self.port };
        let mut account = vec![
            ("serveraddress", DOMAIN.to_owned()),
            ("proxyaddress", format!("127.0.0.1:{port}")),
            ("username", user.to_owned()),
            ("password", PASSWORD.to_owned()),
            ("transport", transport.to_owned()),
            ("localip", "127.0.0.1".to_owned()),
        ];
        if transport == "2" {
            account.push(("tlsroots", self.authority.display().to_string()));
        }
        account
    }

    /// How many requests of this method have come in, retransmissions and challenged ones included.
    pub fn requests(&self, method: &str) -> usize {
        let log = std::fs::read(&self.log).expect("kamailio's log");
        String::from_utf8_lossy(&log).matches(&format!("interop-request {method} ")).count()
    }

    /// The Contact URIs that are bound to a user now.
    pub fn contacts_of(&self, user: &str) -> Vec<String> {
        let log = std::fs::read(&self.log).expect("kamailio's log");
        let log = String::from_utf8_lossy(&log).into_owned();
        let marker = format!("interop-bound {user} ");
        let Some(last) = log.lines().rev().find_map(|line| line.split_once(marker.as_str())) else {
            return Vec::new();
        };
        last.1.split_whitespace().filter(|uri| uri.starts_with("sip")).map(str::to_owned).collect()
    }
}

fn configuration(port: u16, tls_port: u16, tls: &str, calls: &str) -> String {
    let modules = [
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
        "xlog",
        "path",
        "tls",
    ];
    let load: String = modules.iter().map(|name| format!("loadmodule \"{name}.so\"\n")).collect();
    format!(
        r#"debug=2
log_stderror=yes
children=2
tcp_children=2
enable_tls=yes
listen=udp:127.0.0.1:{port}
listen=tcp:127.0.0.1:{port}
listen=tls:127.0.0.1:{tls_port}
alias="{DOMAIN}"
tcp_accept_no_cl=yes
{load}
modparam("tls", "config", "{tls}")
modparam("usrloc", "db_mode", 0)
modparam("registrar", "use_path", 1)
modparam("rr", "append_fromtag", 0)

request_route {{
  xlog("L_NOTICE", "interop-request $rm $ru\n");
  if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) t_relay(); exit; }}
  if (has_totag()) {{
    if (loose_route()) {{
      # A Contact that is a GRUU leads to us first (RFC 5627).
      if (uri == myself && is_gruu()) lookup("location");
      t_relay(); exit;
    }}
    if (is_method("ACK")) {{ if (t_check_trans()) t_relay(); exit; }}
    sl_send_reply("404", "Not Here"); exit;
  }}
  t_check_trans();
  if (is_method("REGISTER")) {{
    if (!pv_auth_check("{DOMAIN}", "{PASSWORD}", "0", "0")) {{ auth_challenge("{DOMAIN}", "1"); exit; }}
    save("location");
    if (reg_fetch_contacts("location", "sip:$tU@{DOMAIN}", "bound")) {{
      xlog("L_NOTICE", "interop-bound $tU $(ulc(bound=>addr)[*])\n");
    }} else {{
      xlog("L_NOTICE", "interop-bound $tU nothing\n");
    }}
    exit;
  }}
  {calls}
  if (is_method("INVITE|SUBSCRIBE")) record_route();
  if (!lookup("location")) {{ sl_send_reply("404", "Not Found"); exit; }}
  t_relay();
}}
"#
    )
}
