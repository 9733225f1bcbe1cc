//! Row 16: reading a 1 kB INVITE, seven header fields typed.
//!
//! Every library reads the same bytes in a program of its own: ours and rsip in an example of `sip-message` that is built
//! as the phone ships, those in C in a small program that the C compiler builds here with `-O2`. Time is taken in turns;
//! instructions are counted by valgrind, which gives the same number on every machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use wakeline_interop::place::Folder;

use crate::row::{Goal, Row, median};

const MAIN: &str = include_str!("parse/main.c");

/// A library in C: its name, Debian's package, pkg-config's name, and how a message is read with it.
const IN_C: [(&str, &str, &str, &str); 3] = [
    ("sofia-sip", "libsofia-sip-ua-dev", "sofia-sip-ua", include_str!("parse/sofia.c")),
    ("osip2", "libosip2-dev", "libosip2", include_str!("parse/osip.c")),
    ("libre", "libre-dev", "libre", include_str!("parse/re.c")),
];

fn invite() -> String {
    let body = "v=0\r\no=- 3890211512 3890211512 IN IP4 192.0.2.17\r\ns=-\r\nc=IN IP4 192.0.2.17\r\nt=0 0\r\n\
                m=audio 40008 RTP/AVP 96 9 8 0 101\r\na=rtcp:40009\r\na=rtpmap:96 opus/48000/2\r\n\
                a=fmtp:96 useinbandfec=1\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
                a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ssrc:1920303 cname:5a7c2e9161b0\r\na=sendrecv\r\n";
    format!(
        "INVITE sip:bob@example.net;transport=tls SIP/2.0\r\n\
         Via: SIP/2.0/TLS 192.0.2.17:50614;branch=z9hG4bKPj5f1e3c7e-0d4b-4b7b-9b4c;rport;alias\r\n\
         Max-Forwards: 70\r\nFrom: \"Alice Liddell\" <sip:alice@example.org>;tag=0b7c1e4fd2a34d5b\r\n\
         To: <sip:bob@example.net>\r\nContact: <sip:alice@192.0.2.17:50614;transport=tls;ob>;expires=600\r\n\
         Call-ID: 5a7c2e91-61b0-4f0c-a3a1-2f3c1f5d7b9e\r\nCSeq: 21053 INVITE\r\n\
         Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, REFER, NOTIFY, OPTIONS\r\n\
         Supported: replaces, 100rel, timer, norefersub, outbound\r\nSession-Expires: 1800\r\nMin-SE: 90\r\n\
         User-Agent: phone/1.0\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A program that reads a file's message again and again and prints nanoseconds for one time.
struct Reader {
    program: PathBuf,
    words: Vec<String>,
}

impl Reader {
    /// Builds the program of a library in C.
    fn in_c(
        folder: &Folder,
        message: &Path,
        (name, package, library, source): (&str, &str, &str, &str),
    ) -> Reader {
        let flags = Command::new("pkg-config").args(["--cflags", "--libs", library]).output();
        let flags = flags.ok().filter(|output| output.status.success());
        let flags = flags.unwrap_or_else(|| panic!("{name} is not installed: apt-get install {package}"));
        let flags = String::from_utf8_lossy(&flags.stdout).into_owned();
        let (source, program) =
            (folder.write(&format!("{name}.c"), &format!("{source}\n{MAIN}")), folder.path(name));
        let mut command = Command::new("cc");
        command
            .args(["-O2", "-DHAVE_INTTYPES_H", "-DHAVE_STDBOOL_H", "-DHAVE_INET6", "-o"])
            .arg(&program)
            .arg(&source);
        let built =
            command.args(flags.split_whitespace()).output().unwrap_or_else(|error| panic!("cc: {error}"));
        assert!(
            built.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&built.stderr).lines().next().unwrap_or("cc failed")
        );
        Reader { program, words: vec![message.display().to_string()] }
    }

    /// The example of `sip-message` with one of its libraries.
    fn in_rust(library: &str, message: &Path) -> Reader {
        let program = std::env::var_os("WAKELINE_BENCH_READ").map(PathBuf::from);
        let program = program.expect("the reader was not built: run `cargo xtask bench`");
        Reader { program, words: vec![library.to_owned(), message.display().to_string()] }
    }

    fn run(&self, mut command: Command, turns: u32) -> std::process::Output {
        command.args(&self.words).arg(turns.to_string());
        let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{}: {}",
            self.program.display(),
            errors.lines().last().unwrap_or_default()
        );
        output
    }

    /// Nanoseconds of one reading.
    fn time(&self, turns: u32) -> f64 {
        let output = self.run(Command::new(&self.program), turns);
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("nanoseconds")
    }

    /// Instructions of one reading: of many less those of few, so that the start does not count.
    fn instructions(&self) -> f64 {
        let all = |turns| {
            let mut command = Command::new("valgrind");
            command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(&self.program);
            let output = self.run(command, turns);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = text
                .lines()
                .find_map(|line| line.split_once("Collected :"))
                .map(|(_, count)| count.trim().to_owned());
            line.and_then(|count| count.parse::<f64>().ok()).expect("valgrind's count of instructions")
        };
        (all(1200) - all(200)) / 1000.0
    }
}

/// Measures in this many turns.
pub fn rows(turns: usize) -> Vec<Row> {
    let folder = Folder::new("bench-parse");
    let message = folder.write("invite.sip", &invite());
    let ours = Reader::in_rust("ours", &message);
    let mut rows = Vec::new();
    let (mut alone, own) = (Vec::new(), ours.instructions());
    let mut against = |name, goal: Goal, reader: &Reader, remark| {
        let pairs: Vec<(f64, f64)> = (0..turns).map(|_| (ours.time(20_000), reader.time(10_000))).collect();
        alone.extend(pairs.iter().map(|pair| pair.0));
        rows.push(
            Row::of_pairs("16", "parse of a 1 kB INVITE, seven typed: time", "ns", name, goal, &pairs)
                .remark(remark),
        );
        let counts = [(own, reader.instructions())];
        rows.push(Row::of_pairs("16", "the same: instructions", "", name, goal, &counts).remark(remark));
    };
    against("rsip", Goal::OfPeer(0.35), &Reader::in_rust("rsip", &message), "");
    for library in IN_C {
        // The scoreboard has a goal for one of them; the others were slower than it when it was made.
        let (goal, remark) =
            if library.0 == "sofia-sip" { (Goal::OfPeer(0.3), "") } else { (Goal::OfPeer(0.3), "*") };
        against(library.0, goal, &Reader::in_c(&folder, &message, library), remark);
    }
    rows.push(Row::alone(
        "16",
        "parse of a 1 kB INVITE, on its own",
        "ns",
        Goal::AtMost(900.0),
        vec![median(alone)],
    ));
    rows.push(Row::absent("16", "parse against pjsip", "Debian 12 has no package of it"));
    rows
}
