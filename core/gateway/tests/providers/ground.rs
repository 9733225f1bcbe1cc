//! What the tests of all senders stand on.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use wakeline_clock::system;
use wakeline_gateway::push::{Purpose, Push, Trust};
use wakeline_push::{Payload, PushTarget, WakeId};

pub(crate) const WAKE: &str = "Zk3vQm1xT0aB9wLr";

/// A directory that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let mut name = [0_u8; 8];
        getrandom::fill(&mut name).unwrap();
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("wakeline-providers-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Trust in these authorities.
    pub(crate) fn trust(&self, pems: &[&str]) -> Trust {
        Trust { ca_file: Some(self.write("ca.pem", &pems.concat())) }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn wake() -> WakeId {
    WAKE.parse().unwrap()
}

/// A call's push, good for 20 seconds.
pub(crate) fn call(target: PushTarget) -> Push {
    Push {
        target,
        purpose: Purpose::Call,
        payload: Payload::call(wake(), 1_789_000_000_123, 20),
        call_id: None,
        until: system::now() + Duration::from_secs(20),
    }
}

/// A refresh, good for an hour.
pub(crate) fn refresh(target: PushTarget) -> Push {
    Push {
        target,
        purpose: Purpose::Refresh,
        payload: Payload::refresh(1_789_000_000_123),
        call_id: None,
        until: system::now() + Duration::from_secs(3600),
    }
}

/// Everything that is logged, at the most talkative level.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// From now on, on this thread.
    pub(crate) fn start(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
