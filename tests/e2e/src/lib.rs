//! Chromium without a screen, driven over its DevTools protocol: open a page, run a script in it, see what it complained of.
//!
//! In: addresses on loopback, scripts. Out: values, and every exception and violation of the page's policy.
//! Never: a browser profile that is used twice, a connection to anything but loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test support fails by panicking, with what was seen"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Debian's browser.
const PROGRAM: &str = "/usr/bin/chromium";
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a page is looked at while something is waited for.
const GLANCE: Duration = Duration::from_millis(50);

/// A browser with one page; it ends with this value.
pub struct Browser {
    _child: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    profile: PathBuf,
    session: String,
    last: u64,
    complaints: Vec<String>,
}

impl core::fmt::Debug for Browser {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Browser").field("complaints", &self.complaints).finish_non_exhaustive()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

impl Browser {
    /// Starts a browser as small as a phone (390 by 844 points); `profile` is a folder that does not exist yet.
    pub async fn start(profile: &Path) -> Browser {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} is missing: cargo xtask setup");
        let folder = format!("--user-data-dir={}", profile.display());
        let mut child = Command::new(PROGRAM)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-default-apps",
                "--remote-debugging-port=0",
                folder.as_str(),
                "about:blank",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the browser starts");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let listening = async {
            let mut said = String::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(address) = line.strip_prefix("DevTools listening on ") {
                    return address.to_owned();
                }
                said.push_str(&line);
            }
            panic!("the browser ended: {said}")
        };
        let address = tokio::time::timeout(PATIENCE, listening).await.expect("the browser is up in time");
        // What it says later is read away, or it would wait for room in the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let (socket, _) = tokio_tungstenite::connect_async(address).await.expect("the browser listens");
        let mut browser = Browser {
            _child: child,
            socket,
            profile: profile.to_owned(),
            session: String::new(),
            last: 0,
            complaints: Vec::new(),
        };
        let target = browser.order("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.order("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.order(domain, json!({})).await;
        }
        let phone = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
        browser.order("Emulation.setDeviceMetricsOverride", phone).await;
        browser
    }

    /// Goes to an address.
    pub async fn open(&mut self, address: &str) {
        let gone = self.order("Page.navigate", json!({ "url": address })).await;
        assert_eq!(gone.get("errorText"), None, "{address}: {gone}");
        self.until("document.readyState === 'complete'").await;
    }

    /// Runs a script in the page and gives its value; a promise is waited for.
    pub async fn run(&mut self, script: &str) -> Value {
        let wanted = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let answer = self.order("Runtime.evaluate", wanted).await;
        assert_eq!(answer.get("exceptionDetails"), None, "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until a script gives true.
    pub async fn until(&mut self, script: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.run(script).await != Value::Bool(true) {
            if tokio::time::Instant::now() > deadline {
                let page = self.run("document.body ? document.body.innerText : ''").await;
                panic!("{script} does not come true; the page: {page}; complaints: {:?}", self.complaints);
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Every exception, every error in the console and every violation of the page's policy so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    async fn order(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let number = self.last;
        let mut order = json!({ "id": number, "method": method, "params": parameters });
        if !self.session.is_empty() {
            order["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(order.to_string())).await.expect("the browser listens");
        let answer = async {
            loop {
                let message =
                    self.socket.next().await.expect("the browser lives").expect("the browser speaks");
                let Message::Text(text) = message else { continue };
                let value: Value = serde_json::from_str(&text).expect("JSON");
                if value["id"] == number {
                    assert_eq!(value.get("error"), None, "{method}: {value}");
                    return value["result"].clone();
                }
                match value["method"].as_str().unwrap_or("") {
                    "Runtime.exceptionThrown" => self.complaints.push(value["params"].to_string()),
                    "Log.entryAdded" if value["params"]["entry"]["level"] == "error" => {
                        self.complaints.push(value["params"]["entry"]["text"].to_string());
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("the browser answers in time")
    }
}
