//! The stand-in for a push service, for tests that have no other use for a runtime.

use std::sync::Arc;

use wakeline_push_services::{FcmOptions, FcmService};

/// The stand-in for the push service, on a thread of its own until the test ends.
pub(crate) fn service() -> Arc<FcmService> {
    let (sender, started) = std::sync::mpsc::channel();
    std::thread::Builder::new()
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let service = FcmService::start(FcmOptions::default()).await.expect("a push service");
                let _ = sender.send(Arc::new(service));
                std::future::pending::<()>().await;
            });
        })
        .expect("a thread");
    started.recv().expect("a push service")
}
