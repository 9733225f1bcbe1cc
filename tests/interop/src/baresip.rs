//! baresip as the other phone: files as its microphone and loudspeaker, JSON over TCP as its buttons.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kamailio::{DOMAIN, PASSWORD};
use crate::place::{Folder, Process, free_port, wait_until};

/// A running baresip.
pub struct Baresip {
    process: Process,
    control: TcpStream,
    heard: PathBuf,
    log: PathBuf,
    waiting: Vec<u8>,
}

/// What this baresip is to do.
pub struct Wishes<'a> {
    /// Its user name at the registrar.
    pub user: &'a str,
    /// The registrar's port.
    pub registrar: u16,
    /// `udp`, `tcp`.
    pub transport: &'a str,
    /// The codecs it offers, in its own words: `pcmu`, `opus/48000/2`, `g722`.
    pub codecs: &'a str,
    /// Further account parameters, e.g. `;mediaenc=srtp-mand`.
    pub more: &'a str,
    /// `auto`, `manual` or `early`: what it does with a call that comes in.
    pub answer: &'a str,
    /// What its microphone hears: a WAV file at the codec's rate.
    pub says: &'a Path,
}

impl Baresip {
    /// Starts it, registers, and waits until it is registered.
    pub fn start(folder: &Folder, wishes: &Wishes<'_>) -> Baresip {
        let (sip, control_port) = (free_port(), free_port());
        let name = format!("baresip-{}", wishes.user);
        let home = folder.path(&name);
        let heard = home.join("heard");
        std::fs::create_dir_all(&heard).expect("a folder");
        let modules =
            ["g711", "g722", "opus", "aufile", "sndfile", "srtp", "uuid", "account", "menu", "ctrl_tcp"];
        let load: String = modules
            .iter()
            .map(|name| {
                let kind =
                    if ["account", "menu", "ctrl_tcp"].contains(name) { "module_app" } else { "module" };
                format!("{kind} {name}.so\n")
            })
            .collect();
        // A proxy may come to it on a connection of its own, and then it must show a certificate.
        let certificate = if wishes.transport == "tls" {
            let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).expect("a certificate");
            let text = format!("{}{}", signed.cert.pem(), signed.signing_key.serialize_pem());
            format!("sip_certificate {}\n", folder.write(&format!("{name}/tls.pem"), &text).display())
        } else {
            String::new()
        };
        let configuration = format!(
            "module_path /usr/lib/baresip/modules\nsip_listen 127.0.0.1:{sip}\nnet_interface 127.0.0.1\n\
             audio_source aufile,{}\naudio_player aufile,{}\naudio_alert aufile,/dev/null\n\
             ctrl_tcp_listen 127.0.0.1:{control_port}\nsnd_path {}\nrtp_ports 20000-29998\n{certificate}{load}",
            wishes.says.display(),
            home.join("player.wav").display(),
            heard.display(),
        );
        folder.write(&format!("{name}/config"), &configuration);
        let Wishes { user, registrar, transport, codecs, more, answer, .. } = wishes;
        folder.write(
            &format!("{name}/accounts"),
            &format!(
                "<sip:{user}@{DOMAIN};transport={transport}>;auth_user={user};auth_pass={PASSWORD};\
                 outbound=\"sip:127.0.0.1:{registrar};transport={transport}\";regint=60;answermode={answer};audio_codecs={codecs}{more}\n"
            ),
        );
        let mut command = Command::new("baresip");
        command.arg("-f").arg(&home).arg("-p").arg(&home);
        let process = Process::start(&command, folder, &format!("{name}.log"));
        let mut control = None;
        wait_until("baresip's control port", || {
            control = TcpStream::connect(("127.0.0.1", control_port)).ok();
            control.is_some()
        });
        let control = control.expect("a control connection");
        control.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
        // Its REGISTER may have been answered before the control connection stood: the log tells.
        wait_until("baresip registers", || {
            std::fs::read_to_string(folder.path(&format!("{name}.log")))
                .is_ok_and(|log| log.contains("} 200 "))
        });
        Baresip { process, control, heard, log: folder.path(&format!("{name}.log")), waiting: Vec::new() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Presses a button: a command of baresip's menu, e.g. `dial`, `hangup`.
    pub fn command(&mut self, command: &str, parameters: &str) {
        let text = json!({ "command": command, "params": parameters, "token": "t" }).to_string();
        write!(self.control, "{}:{text},", text.len()).expect("baresip takes commands");
    }

    /// Presses one key of the dial pad in the call, and lets it go.
    pub fn press_key(&mut self, key: &str) {
        self.command("sndcode", key);
    }

    /// Waits for an event of this type.
    pub fn wait_event(&mut self, kind: &str) -> Value {
        let mut found = None;
        wait_until(&format!("baresip's event {kind}"), || {
            while let Some(message) = self.message() {
                if message["event"] == true && message["type"] == kind {
                    found = Some(message);
                    return true;
                }
            }
            false
        });
        found.expect("an event")
    }

    /// The next netstring on the control connection.
    fn message(&mut self) -> Option<Value> {
        let mut piece = [0; 4096];
        if let Ok(length) = self.control.read(&mut piece) {
            self.waiting.extend_from_slice(&piece[..length]);
        }
        let colon = self.waiting.iter().position(|&byte| byte == b':')?;
        let length: usize = std::str::from_utf8(&self.waiting[..colon]).ok()?.parse().ok()?;
        let end = colon + 1 + length;
        if self.waiting.len() <= end {
            return None;
        }
        let value = serde_json::from_slice(&self.waiting[colon + 1..end]).ok();
        self.waiting.drain(..=end);
        value
    }

    /// The bits a second that came in lately, by its own count.
    pub fn incoming_rate(&self) -> u32 {
        let log = std::fs::read(&self.log).expect("baresip's log");
        let log = String::from_utf8_lossy(&log).into_owned();
        // `audio=OUT/IN (bit/s)`, again and again in one line.
        let last = log.rsplit("audio=").next().and_then(|text| text.split_once(" (bit/s)"));
        let rate = last.and_then(|(rates, _)| rates.split_once('/')?.1.parse().ok());
        rate.expect("baresip shows its rates")
    }

    /// The recordings of what it heard (its decoder's output), oldest first. baresip 1.0 takes its recorder out of the
    /// decoder's chain with the first direction that is not `sendrecv`, and does not put it in again.
    pub fn heard(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.heard).expect("baresip's recordings");
        let mut files: Vec<(std::time::SystemTime, PathBuf)> = entries
            .map(|entry| entry.expect("a recording"))
            .filter(|entry| entry.file_name().to_string_lossy().ends_with("-dec.wav"))
            .map(|entry| {
                let written = entry.metadata().and_then(|data| data.modified());
                (written.expect("a time of writing"), entry.path())
            })
            .collect();
        files.sort();
        assert!(!files.is_empty(), "baresip recorded what it heard");
        files.into_iter().map(|(_, path)| path).collect()
    }
}
