//! The headless phone: newline-separated JSON on stdin and stdout, or on a Unix socket.
//!
//! In: one [`Command`] a line, or one of `{"command":"snapshot"}`, `{"command":"stats"}`, `{"command":"quit"}`.
//! Out: `{"reply":"ready","at_us":…}` first, then one [`TimedEvent`](wakeline_engine::TimedEvent) a line, and `{"reply":"stats",…}`,
//! `{"reply":"snapshot",…}` or `{"reply":"error",…}`. A line that cannot be read is answered by an error that says why;
//! nothing else happens.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use wakeline_clock::Time;
use wakeline_engine::{Phone, Stats};
use wakeline_user_agent::{Command, Snapshot};

/// A line longer than this is no command.
const LONGEST_LINE: u64 = 1 << 20;

/// What only the control mode knows.
#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
enum Query {
    Snapshot,
    Stats,
    Quit,
}

/// What is answered to a query.
#[derive(Serialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
enum Reply<'a> {
    /// The program is up.
    Ready {
        /// When its process began, in microseconds on the clock of the events.
        at_us: u64,
        version: &'static str,
    },
    Snapshot(&'a Snapshot),
    Stats(&'a Stats),
    Error {
        cause: String,
        line: &'a str,
    },
}

/// Why a client is served no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// `quit`, or the phone has stopped.
    Phone,
    /// The client's input has ended; another may come.
    Client,
}

/// Serves stdin and stdout until `quit`, the end of the input or the phone's.
pub(crate) async fn serve_stdio(phone: &mut Phone, started: Time) -> io::Result<()> {
    serve(phone, started, tokio::io::stdin(), tokio::io::stdout()).await.map(drop)
}

/// Serves one client after the other on a Unix socket that only this user can open.
pub(crate) async fn serve_socket(phone: &mut Phone, started: Time, path: &Path) -> io::Result<()> {
    // A socket file left by a process that was killed would block the bind.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = tokio::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (reader, writer) = stream.into_split();
        match serve(phone, started, reader, writer).await {
            Ok(End::Phone) => return Ok(()),
            Ok(End::Client) => tracing::debug!("control client gone"),
            Err(error) => tracing::debug!(%error, "control client lost"),
        }
    }
}

async fn serve(
    phone: &mut Phone,
    started: Time,
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
) -> io::Result<End> {
    let ready = Reply::Ready { at_us: started.as_nanos() / 1000, version: env!("CARGO_PKG_VERSION") };
    write(&mut writer, &ready).await?;
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        tokio::select! {
            // What has happened is told before the next line is read, or the input's end would cut it off.
            biased;
            event = phone.event() => match event {
                Some(event) => write(&mut writer, &event).await?,
                None => return Ok(End::Phone),
            },
            // `read_until` keeps what it has read in `line` when the other branch wins.
            read = read_line(&mut reader, &mut line) => {
                if !read? {
                    return Ok(End::Client);
                }
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                line.clear();
                if !text.is_empty() && !obey(phone, &text, &mut writer).await? {
                    return Ok(End::Phone);
                }
            }
        }
    }
}

/// Reads to the end of a line; false at the end of the input.
async fn read_line(reader: &mut (impl AsyncBufReadExt + Unpin), line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let piece = reader.fill_buf().await?;
        if piece.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = piece.iter().position(|&byte| byte == b'\n');
        let length = end.map_or(piece.len(), |end| end + 1);
        line.extend_from_slice(&piece[..length]);
        reader.consume(length);
        if end.is_some() {
            return Ok(true);
        }
        if line.len() as u64 > LONGEST_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of more than 1 MiB"));
        }
    }
}

/// Does what a line asks; false when it asks for the end.
async fn obey(phone: &Phone, line: &str, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
    match serde_json::from_str(line) {
        Ok(Query::Quit) => return Ok(false),
        Ok(Query::Stats) => {
            let stats = phone.stats().await.unwrap_or_default();
            write(writer, &Reply::Stats(&stats)).await?;
        }
        Ok(Query::Snapshot) => {
            let stats = phone.stats().await.unwrap_or_default();
            write(writer, &Reply::Snapshot(&stats.snapshot)).await?;
        }
        Err(_) => match serde_json::from_str::<Command>(line) {
            Ok(command) => phone.command(command),
            Err(error) => write(writer, &Reply::Error { cause: error.to_string(), line }).await?,
        },
    }
    Ok(true)
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use wakeline_engine::{AudioChoice, Options};

    /// What a phone without accounts answers to these lines.
    async fn answers(lines: &[u8]) -> Vec<Value> {
        let options = Options { audio: AudioChoice::Null, ..Options::default() };
        let mut phone = Phone::start(options).unwrap();
        let mut out = Vec::new();
        let served = serve(&mut phone, Time::from_millis(5), lines, &mut out).await;
        assert!(served.is_ok(), "{served:?}");
        phone.stop();
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[tokio::test]
    async fn queries_are_answered_in_order_until_quit() {
        let said =
            answers(b"{\"command\":\"snapshot\"}\n\n{\"command\":\"stats\"}\n{\"command\":\"quit\"}\n{")
                .await;
        assert_eq!((&said[0]["reply"], &said[0]["at_us"]), (&"ready".into(), &5000.into()));
        assert_eq!(said[1]["reply"], "snapshot");
        assert_eq!(said[1]["calls"], Value::Array(Vec::new()));
        assert_eq!((&said[2]["reply"], said[2]["rss_kib"].is_u64()), (&"stats".into(), true));
        assert_eq!(said.len(), 3, "{said:?}");
    }

    #[tokio::test]
    async fn the_phone_stays_when_a_client_of_its_socket_goes() {
        let path = std::env::temp_dir().join(format!("wakeline-control-{}.sock", std::process::id()));
        let options = Options { audio: AudioChoice::Null, ..Options::default() };
        let mut phone = Phone::start(options).unwrap();
        let clients = async {
            for line in ["{\"command\":\"snapshot\"}\n", "{\"command\":\"quit\"}\n"] {
                let mut stream = loop {
                    // The socket is there as soon as the other side has bound it.
                    match tokio::net::UnixStream::connect(&path).await {
                        Ok(stream) => break stream,
                        Err(_) => tokio::task::yield_now().await,
                    }
                };
                let mut first = String::new();
                BufReader::new(&mut stream).read_line(&mut first).await.unwrap();
                assert!(first.contains("ready"), "{first}");
                stream.write_all(line.as_bytes()).await.unwrap();
            }
        };
        let (served, ()) = tokio::join!(serve_socket(&mut phone, Time::ZERO, &path), clients);
        assert!(served.is_ok(), "{served:?}");
        phone.stop();
        std::fs::remove_file(path).unwrap();
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_read_is_answered_by_an_error() {
        let said = answers(b"nonsense\n{\"command\":\"fly\"}\n{\"command\":\"dial\"}\n\xff\n").await;
        assert!(said[1..].iter().all(|answer| answer["reply"] == "error"), "{said:?}");
        assert_eq!(said.len(), 5);
        assert!(said[2]["cause"].as_str().unwrap().contains("fly"), "{said:?}");
        assert!(said[3]["cause"].as_str().unwrap().contains("`to`"), "{said:?}");
        assert_eq!(said[1]["line"], "nonsense");
    }

    #[tokio::test]
    async fn a_wish_that_cannot_be_granted_is_a_problem() {
        let said = answers(
            b"{\"command\":\"hangup\",\"call\":7}\n{\"command\":\"stats\"}\n{\"command\":\"stats\"}\n",
        )
        .await;
        assert!(said.iter().any(|answer| answer["event"] == "problem"), "{said:?}");
    }

    #[tokio::test]
    async fn s14_a_line_without_end_is_not_kept() {
        let options = Options { audio: AudioChoice::Null, ..Options::default() };
        let mut phone = Phone::start(options).unwrap();
        let served = serve(&mut phone, Time::ZERO, tokio::io::repeat(b'x'), &mut Vec::new()).await;
        assert!(served.is_err());
        phone.stop();
    }
}
