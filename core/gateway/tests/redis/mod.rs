//! A Redis server of a test's own.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(kind: &str) -> Folder {
        let mut name = [0_u8; 8];
        getrandom::fill(&mut name).unwrap();
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("wakeline-{kind}-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A Redis server of the test's own, on a socket in its folder.
pub struct Redis {
    process: Child,
    pub socket: PathBuf,
}

impl Redis {
    pub fn start(folder: &Path) -> Redis {
        let socket = folder.join("redis.sock");
        // One that was killed has left it.
        let _ = std::fs::remove_file(&socket);
        let process = Command::new("redis-server")
            .args(["--port", "0", "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir"])
            .arg(folder)
            .arg("--unixsocket")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("redis-server: {error}; apt-get install redis-server"));
        let redis = Redis { process, socket };
        // It takes connections before it has read what it has kept, and refuses every command until then.
        while redis.says("PING").is_none_or(|answer| !answer.starts_with("+PONG")) {
            std::thread::yield_now();
        }
        redis
    }

    pub fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Redis {
    /// The same again, from what it has kept.
    pub fn start_again(&mut self, folder: &Path) {
        *self = Redis::start(folder);
    }

    /// Everything that stands in the nodes' stream, as text.
    pub fn told(&self) -> String {
        self.says("XRANGE wakeline-told - +").unwrap()
    }

    /// Its answer to a command; `None` when nobody is there.
    fn says(&self, command: &str) -> Option<String> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::os::unix::net::UnixStream::connect(&self.socket).ok()?;
        write!(stream, "{command}\r\nQUIT\r\n").ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}
