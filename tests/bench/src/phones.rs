//! Our phone and baresip, as they are measured: registered at an [`Exchange`], no recording, no log beyond the default.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use wakeline_interop::kamailio::PASSWORD;
use wakeline_interop::phone::program;
use wakeline_interop::place::{Folder, Process, free_port};

use crate::exchange::{Callee, Exchange};
use crate::speech::Codec;

/// Whose phone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Make {
    /// `wakeline phone --headless`.
    Ours,
    /// Debian's baresip.
    Baresip,
}

/// What a phone hears and says.
#[derive(Clone, Copy)]
pub enum Sound<'a> {
    /// It says what stands in this file, again and again or once, and drops what it hears.
    File(&'a Path),
    /// It says what it hears; ours through a sound device of this rate, baresip's bridge runs at the codec's.
    Echo(u32),
    /// Neither.
    None,
}

/// A running phone.
pub struct Running {
    process: Process,
    /// Held open: a headless phone ends with its input.
    _input: std::process::ChildStdin,
    /// Where it is registered.
    pub callee: Callee,
    /// When it was started.
    pub started: Instant,
}

impl Running {
    /// Its process.
    pub fn ids(&self) -> Vec<u32> {
        vec![self.process.id()]
    }
}

/// Starts a phone that answers every call, and waits until it has registered.
pub fn start(make: Make, folder: &Folder, exchange: &Exchange, codec: Codec, sound: Sound<'_>) -> Running {
    let command = match make {
        Make::Ours => ours(exchange.port, codec, sound),
        Make::Baresip => baresip(folder, exchange.port, codec, sound),
    };
    let started = Instant::now();
    let log = format!("{make:?}-{}.log", exchange.port);
    let (process, input) = Process::start_with_input(&command, folder, &log);
    let callee = exchange.registered();
    Running { process, _input: input, callee, started }
}

fn ours(port: u16, codec: Codec, sound: Sound<'_>) -> Command {
    let mut command = Command::new(program());
    command.args(["phone", "--headless", "--serveraddress", "exchange.test", "--username", "mia"]);
    command.args([
        "--proxyaddress",
        &format!("127.0.0.1:{port}"),
        "--password",
        PASSWORD,
        "--transport",
        "0",
    ]);
    command.args(["--localip", "127.0.0.1", "--autoaccept", "true", "--alwaysallowlowcodec", "0", "--codec"]);
    command.arg(match codec {
        Codec::Pcmu => "pcmu",
        Codec::Opus => "opus",
    });
    match sound {
        Sound::File(path) => command.arg("--play").arg(path),
        Sound::Echo(rate) => command.arg("--echo").arg(rate.to_string()),
        Sound::None => command.arg("--no-audio"),
    };
    command
}

fn baresip(folder: &Folder, port: u16, codec: Codec, sound: Sound<'_>) -> Command {
    let sip = free_port();
    let name = format!("baresip-{port}");
    let (codecs, module) = match codec {
        Codec::Pcmu => ("pcmu", "g711"),
        Codec::Opus => ("opus/48000/2", "opus"),
    };
    let devices = match sound {
        Sound::File(path) => format!(
            "module aufile.so\naudio_source aufile,{}\naudio_player aufile,/dev/null\naudio_alert aufile,/dev/null\n",
            path.display()
        ),
        Sound::Echo(_) | Sound::None => {
            "module aubridge.so\naudio_source aubridge,x\naudio_player aubridge,x\n".to_owned()
        }
    };
    folder.write(
        &format!("{name}/config"),
        &format!(
            "module_path /usr/lib/baresip/modules\nsip_listen 127.0.0.1:{sip}\nnet_interface 127.0.0.1\n{devices}\
             module {module}.so\nmodule uuid.so\nmodule_app account.so\nmodule_app menu.so\nrtp_ports 20000-29998\n\
             opus_bitrate 24000\n"
        ),
    );
    folder.write(
        &format!("{name}/accounts"),
        &format!(
            "<sip:mia@exchange.test;transport=udp>;auth_user=mia;auth_pass={PASSWORD};\
             outbound=\"sip:127.0.0.1:{port};transport=udp\";regint=600;answermode=auto;audio_codecs={codecs}\n"
        ),
    );
    let mut command = Command::new("baresip");
    command.arg("-f").arg(folder.path(&name)).arg("-p").arg(folder.path(&name));
    command
}
