//! A running gateway as its owner sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};
use wakeline_flow::Transport;
use wakeline_registrar::{Account, BindingView, Trace};

use super::bind::Bound;
use crate::cluster::NodeReport;
use crate::server::Command;
use crate::stats::Stats;
use crate::store::Keeper;

/// How long the end of the store's thread is waited for.
const LAST_WRITE: Duration = Duration::from_secs(10);

/// A running gateway. It ends with this value; [`Handle::shutdown`] ends it and waits.
#[derive(Debug)]
pub struct Handle {
    pub(super) bound: Bound,
    pub(super) certificate: Option<String>,
    pub(super) commands: mpsc::UnboundedSender<Command>,
    pub(super) traces: broadcast::Sender<Trace>,
    pub(super) keeper: Option<Keeper>,
    pub(super) threads: Vec<JoinHandle<()>>,
    /// Tells the thread that listens to other nodes that it is over.
    pub(super) ended: Arc<AtomicBool>,
}

impl Handle {
    /// Every address that is listened on.
    pub fn bound(&self) -> &[(Transport, SocketAddr)] {
        &self.bound.sip
    }

    /// The first address of a transport.
    pub fn address(&self, transport: Transport) -> Option<SocketAddr> {
        self.bound.sip.iter().find(|(bound, _)| *bound == transport).map(|(_, address)| *address)
    }

    /// Where the administrator's view is.
    pub fn admin(&self) -> &[SocketAddr] {
        &self.bound.admin
    }

    /// Where phones get their settings.
    pub fn provision(&self) -> &[SocketAddr] {
        &self.bound.provision
    }

    /// The self-signed certificate, PEM, that a phone on the same machine may pin; `None` when the operator named one.
    pub fn certificate_pem(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Every trace value from now on. A subscriber that falls behind loses the oldest.
    pub fn traces(&self) -> broadcast::Receiver<Trace> {
        self.traces.subscribe()
    }

    /// A snapshot; `None` once the gateway has ended.
    pub async fn stats(&self) -> Option<Stats> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Stats(reply)).ok()?;
        answer.await.ok()
    }

    /// The bindings of one address of record.
    pub async fn bindings(&self, user: &str, domain: &str) -> Vec<BindingView> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Bindings { user: user.to_owned(), domain: domain.to_owned(), reply };
        if self.commands.send(command).is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// Adds an account, or replaces the credential of one; it is stored, unless the gateway is to register it at an
    /// upstream itself: that lasts until the gateway ends.
    pub fn put_account(&self, account: Account) {
        let _ = self.commands.send(Command::PutAccount(account));
    }

    /// Takes an account away, with its bindings.
    pub fn remove_account(&self, user: &str, domain: &str) {
        let command = Command::RemoveAccount { user: user.to_owned(), domain: domain.to_owned() };
        let _ = self.commands.send(command);
    }

    /// Reads the certificate's files again now, if they changed.
    pub fn reload_certificate(&self) {
        let _ = self.commands.send(Command::ReloadCertificate);
    }

    /// Takes on nothing new (503 with Retry-After) and waits until nothing is in progress; `false` when that took
    /// longer than `limit`. A planned restart drains, then shuts down.
    pub async fn drain(&self, limit: Duration) -> bool {
        let (done, drained) = oneshot::channel();
        if self.commands.send(Command::Drain { limit, done }).is_err() {
            return true;
        }
        drained.await.unwrap_or(true)
    }

    /// Takes on new requests again, after a [`Handle::drain`] that no restart followed.
    pub async fn resume(&self) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::SetDraining { on: false, reply }).is_ok() {
            let _ = answer.await;
        }
    }

    /// Every node of this gateway that lives, this one first; none once the gateway has ended.
    pub async fn nodes(&self) -> Vec<NodeReport> {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Nodes(reply)).is_err() {
            return Vec::new();
        }
        answer.await.unwrap_or_default()
    }

    /// Waits until everything that changed so far is in the store; `false` when it was not within `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        self.keeper.as_ref().is_none_or(|keeper| keeper.flush(limit))
    }

    /// Ends the gateway: streams are closed, the store is written. Blocks for that; up to some seconds.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.commands.send(Command::Shutdown);
        if self.threads.is_empty() {
            return;
        }
        let gateway = self.threads.remove(0);
        let _ = gateway.join();
        if let Some(keeper) = &self.keeper {
            keeper.flush(LAST_WRITE);
            keeper.end();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}
