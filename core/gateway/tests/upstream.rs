//! Connections that the gateway opens itself: whom it believes over TLS, and that it comes back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod phone;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use phone::soon;
use rcgen::{KeyPair, PublicKeyData as _};
use ring::digest::{SHA256, digest};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use wakeline_gateway::config::{Config, Upstream};
use wakeline_gateway::{Gateway, Handle};

/// A TLS server that tells of every handshake that succeeded, and closes each connection when it is told to.
struct Pbx {
    address: SocketAddr,
    pin: String,
    pem: String,
    accepted: mpsc::UnboundedReceiver<()>,
    hang_up: mpsc::UnboundedSender<()>,
}

impl Pbx {
    async fn start(name: &str) -> Pbx {
        let key = KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        let pin = digest(&SHA256, &key.subject_public_key_info());
        let pin: String = pin.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, accepted) = mpsc::unbounded_channel();
        let (hang_up, mut told) = mpsc::unbounded_channel::<()>();
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                let Ok(mut io) = acceptor.accept(io).await else { continue };
                // A client that does not believe us says so in its first flight after ours.
                let mut byte = [0];
                tokio::select! {
                    read = io.read(&mut byte) => if read.is_err() { continue },
                    () = tokio::time::sleep(Duration::from_millis(200)) => {}
                }
                let _ = tell.send(());
                let _ = told.recv().await;
                let _ = io.shutdown().await;
            }
        });
        Pbx { address, pin, pem: certificate.pem(), accepted, hang_up }
    }

    fn gateway(&self, upstream: Upstream) -> Handle {
        let mut config = Config::default().on_any_port();
        config.upstream.push(Upstream {
            domains: vec!["pbx.test".to_owned()],
            next_hops: vec![format!("sip:{};transport=tls", self.address)],
            ..upstream
        });
        Gateway::start(config).unwrap()
    }
}

async fn hops_up(handle: &Handle) -> usize {
    handle.stats().await.unwrap().gauges.hops_up
}

async fn comes_up(handle: &Handle) {
    soon("the next hop", async {
        while hops_up(handle).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_pinned_next_hop_is_connected_to_and_again_when_it_hangs_up() {
    // The name in the certificate does not matter to a pin.
    let mut pbx = Pbx::start("somebody.else.test").await;
    let handle = pbx.gateway(Upstream { pin: pbx.pin.clone(), ..Upstream::default() });
    comes_up(&handle).await;
    soon("a connection", pbx.accepted.recv()).await.unwrap();
    pbx.hang_up.send(()).unwrap();
    soon("another connection", pbx.accepted.recv()).await.unwrap();
    comes_up(&handle).await;
}

#[tokio::test]
async fn s18_a_next_hop_whose_certificate_does_not_hold_is_not_spoken_to() {
    let folder = std::env::temp_dir().join(format!("wakeline-upstream-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut pbx = Pbx::start("pbx.test").await;
    let other = Pbx::start("127.0.0.1").await;
    let file = folder.join("ca.pem");
    // Another key; the system's authorities, which know nothing of it; its own certificate for another name.
    std::fs::write(&file, &pbx.pem).unwrap();
    for upstream in [
        Upstream { pin: other.pin.clone(), ..Upstream::default() },
        Upstream::default(),
        Upstream { ca_file: file.clone(), ..Upstream::default() },
    ] {
        let handle = pbx.gateway(upstream);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(hops_up(&handle).await, 0);
    }
    assert!(pbx.accepted.try_recv().is_err());
    // The right certificate for the right name.
    std::fs::write(&file, &other.pem).unwrap();
    let handle = other.gateway(Upstream { ca_file: file, ..Upstream::default() });
    comes_up(&handle).await;
    std::fs::remove_dir_all(&folder).unwrap();
}
