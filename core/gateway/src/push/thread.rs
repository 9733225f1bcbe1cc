//! The thread that pushes are made on: HTTP/2, TLS and JSON beside the event loop and not in its turns, so that a
//! crowd of pushes delays no call and a crowd of calls no push.

use std::future::Future;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// How long a lookup that the system still works at is waited for when all is over.
const LAST_LOOKUP: Duration = Duration::from_secs(1);

/// The thread; it ends with this value, and what is on its way ends with it.
#[derive(Debug)]
pub(crate) struct PushThread {
    handle: Handle,
    over: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PushThread {
    /// Starts it.
    ///
    /// # Errors
    /// When the system gives no thread or no event queue.
    pub(crate) fn start() -> std::io::Result<PushThread> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (over, told) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("push".to_owned()).spawn(move || {
            // Told, or left alone: over either way.
            let _ = runtime.block_on(told);
            runtime.shutdown_timeout(LAST_LOOKUP);
        })?;
        Ok(PushThread { handle, over: Some(over), thread: Some(thread) })
    }

    /// Runs this there.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(work).abort_handle()
    }
}

impl Drop for PushThread {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
