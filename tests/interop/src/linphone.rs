//! linphonec as the other phone. It listens on all addresses: only for tests that run in a network of their own.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};

use crate::kamailio::{DOMAIN, PASSWORD};
use crate::place::{Folder, Process, free_port, wait_until};

/// A running linphonec.
pub struct Linphone {
    process: Process,
    input: ChildStdin,
    log: PathBuf,
    /// What it heard, as a WAV file.
    pub heard: PathBuf,
}

impl Linphone {
    /// Starts it with files in place of a sound card, registers over UDP, and waits until it is registered.
    pub fn start(folder: &Folder, user: &str, registrar: u16, says: &Path) -> Linphone {
        Linphone::start_at(folder, user, PASSWORD, DOMAIN, registrar, says)
    }

    /// The same with a password and a domain of another registrar.
    pub fn start_at(
        folder: &Folder,
        user: &str,
        password: &str,
        domain: &str,
        registrar: u16,
        says: &Path,
    ) -> Linphone {
        Linphone::start_with(folder, user, password, domain, registrar, says, "")
    }

    /// The same with these parameters in its Contact's URI, as its builds for phones put their push tokens there.
    pub fn start_with(
        folder: &Folder,
        user: &str,
        password: &str,
        domain: &str,
        registrar: u16,
        says: &Path,
        parameters: &str,
    ) -> Linphone {
        let name = format!("linphone-{user}");
        let home = folder.path(&name);
        std::fs::create_dir_all(home.join(".local/share/linphone")).expect("a folder");
        let sip = free_port();
        let rtp = free_port();
        let configuration = folder.write(
            &format!("{name}/linphonerc"),
            &format!(
                "[sip]\nregister_only_when_network_is_up=0\ndefault_proxy=0\nsip_port={sip}\nsip_tcp_port=-1\n\
                 sip_tls_port=-1\nmedia_encryption=none\n\n[rtp]\naudio_rtp_port={rtp}\n\n[net]\nmtu=1300\n\n\
                 [video]\nenabled=0\ncapture=0\ndisplay=0\n\n\
                 [proxy_0]\nreg_proxy=<sip:127.0.0.1:{registrar};transport=udp>\nreg_route=<sip:127.0.0.1:{registrar};transport=udp;lr>\n\
                 reg_identity=sip:{user}@{domain}\nreg_expires=600\nreg_sendregister=1\npublish=0\ncontact_uri_parameters={parameters}\n\n\
                 [auth_info_0]\nusername={user}\npasswd={password}\nrealm={domain}\n"
            ),
        );
        let mut command = Command::new("linphonec");
        command.arg("-c").arg(&configuration).args(["-b", "/dev/null", "-d", "6"]).env("HOME", &home);
        let file = format!("{name}.log");
        let (process, input) = Process::start_with_input(&command, folder, &file);
        let heard = home.join("heard.wav");
        let mut linphone = Linphone { process, input, log: folder.path(&file), heard };
        linphone.command("soundcard use files");
        let play = format!("play {}", says.display());
        linphone.command(&play);
        let record = format!("record {}", linphone.heard.display());
        linphone.command(&record);
        linphone.wait_log("to [LinphoneRegistrationOk]");
        linphone
    }

    /// Types a command: `call sip:…`, `answer`, `terminate`.
    pub fn command(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("linphonec takes commands");
    }

    /// Freezes it, as a phone's system does with a program in the background, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { "STOP" } else { "CONT" };
        let sent = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {signal}");
    }

    /// Waits until its output holds this text.
    pub fn wait_log(&self, text: &str) {
        wait_until(&format!("{text:?} from linphonec"), || {
            std::fs::read(&self.log).is_ok_and(|log| String::from_utf8_lossy(&log).contains(text))
        });
    }
}
