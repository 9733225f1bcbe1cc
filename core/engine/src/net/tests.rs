//! Flows against scripted servers on loopback.

use std::path::PathBuf;

use futures_util::{SinkExt, StreamExt};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use ring::digest::{SHA256, digest};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::*;

const NAME: &str = "sip.example.test";
const REQUEST: &str = "OPTIONS sip:a@example.test SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: 4\r\n\r\nbody";

/// A network and the facts that it tells.
struct Bench {
    network: Network,
    facts: mpsc::Receiver<Input>,
}

impl Bench {
    fn new(trust: Trust, doors: &[&str]) -> Bench {
        let (tell, facts) = mpsc::channel(64);
        let doors = doors.iter().map(|&door| door.to_owned()).collect();
        let places = vec![Place { binding: Binding::default(), trust }];
        Bench { network: Network::new(places, doors, tell), facts }
    }

    async fn open(&mut self, id: u64, transport: Transport, remote: SocketAddr) -> Input {
        self.open_for(AccountId(0), id, transport, remote).await
    }

    async fn open_for(
        &mut self,
        account: AccountId,
        id: u64,
        transport: Transport,
        remote: SocketAddr,
    ) -> Input {
        let hop = Hop { transport, remote, server_name: Some(NAME.into()) };
        match self.network.open(FlowId(id), hop, account) {
            Some(input) => input,
            None => self.fact().await,
        }
    }

    async fn fact(&mut self) -> Input {
        self.facts.recv().await.unwrap()
    }

    async fn message(&mut self) -> Bytes {
        match self.fact().await {
            Input::Received(received) => received.bytes,
            other @ (Input::Opened(_)
            | Input::Closed { .. }
            | Input::Resolved(_)
            | Input::Described { .. }
            | Input::Media { .. }
            | Input::Provision { .. }) => panic!("{other:?}"),
        }
    }

    async fn send(&mut self, id: u64, text: &str) -> Option<Input> {
        self.network.send(Transmit { flow: FlowId(id), bytes: Bytes::copy_from_slice(text.as_bytes()) }).await
    }
}

fn closed(id: u64, failure: FlowFailure) -> Input {
    Input::Closed { flow: FlowId(id), failure }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn tcp_carries_messages_both_ways_and_frames_what_comes_in_pieces() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = vec![0; REQUEST.len()];
        stream.read_exact(&mut got).await.unwrap();
        let (first, second) = REQUEST.split_at(70);
        stream.write_all(first.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        stream.write_all(format!("{second}{REQUEST}\r\n\r\n").as_bytes()).await.unwrap();
        got
    });
    let mut bench = Bench::new(Trust::System, &[]);
    let opened = bench.open(1, Transport::Tcp, address).await;
    assert!(
        matches!(opened, Input::Opened(info) if info.remote == address && info.id == FlowId(1)),
        "{opened:?}"
    );
    assert_eq!(bench.send(1, REQUEST).await, None);
    assert_eq!(bench.message().await, REQUEST);
    assert_eq!(bench.message().await, REQUEST);
    let mut line_ends = bench.message().await.to_vec();
    // A ping whose halves come apart is told as a pong and a ping.
    while line_ends.len() < 4 {
        line_ends.extend(bench.message().await);
    }
    assert_eq!(server.await.unwrap(), REQUEST.as_bytes());
    assert_eq!(bench.fact().await, closed(1, FlowFailure::ClosedByPeer));
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_noise_is_garbled() {
    let (listener, address) = listen().await;
    drop(listener);
    let mut bench = Bench::new(Trust::System, &[]);
    assert_eq!(bench.open(1, Transport::Tcp, address).await, closed(1, FlowFailure::Unreachable));
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"\x16\x03\x01 no SIP at all\r\n\r\n").await.unwrap();
        stream
    });
    assert!(matches!(bench.open(2, Transport::Tcp, address).await, Input::Opened(_)));
    assert_eq!(bench.fact().await, closed(2, FlowFailure::Garbled));
    drop(server);
}

#[tokio::test]
async fn closing_sends_what_waits_and_says_so() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        got
    });
    let mut bench = Bench::new(Trust::System, &[]);
    bench.open(1, Transport::Tcp, address).await;
    bench.send(1, REQUEST).await;
    bench.network.close(FlowId(1));
    assert_eq!(server.await.unwrap(), REQUEST.as_bytes());
    assert_eq!(bench.network.count(), 0);
}

#[tokio::test]
async fn f12_a_peer_that_does_not_read_costs_its_flow_and_no_memory() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move { listener.accept().await.unwrap() });
    let mut bench = Bench::new(Trust::System, &[]);
    bench.open(1, Transport::Tcp, address).await;
    let held = server.await.unwrap();
    let long = "x".repeat(60_000);
    let mut sent = 0;
    let end = loop {
        if let Some(end) = bench.send(1, &long).await {
            break end;
        }
        sent += 1;
        tokio::task::yield_now().await;
        assert!(sent < 10_000, "the queue has no bound");
    };
    assert_eq!(end, closed(1, FlowFailure::TimedOut));
    drop(held);
}

#[tokio::test]
async fn udp_flows_are_remote_addresses_and_strangers_get_names() {
    let (server, stranger) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let mut bench = Bench::new(Trust::System, &[]);
    let Input::Opened(info) = bench.open(1, Transport::Udp, server.local_addr().unwrap()).await else {
        panic!("not opened")
    };
    assert!(info.local.ip().is_loopback() && info.local.port() != 0);
    bench.send(1, REQUEST).await;
    let mut buffer = [0; 2000];
    let (length, from) = server.recv_from(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..length], from), (REQUEST.as_bytes(), info.local));
    stranger.send_to(b"hello", info.local).await.unwrap();
    let Input::Received(received) = bench.fact().await else { panic!("nothing received") };
    assert_ne!(received.flow.id, FlowId(1));
    assert_eq!(received.flow.remote, stranger.local_addr().unwrap());
    // The answer to a stranger finds its way.
    bench.network.adopt(&received.flow);
    bench.network.send(Transmit { flow: received.flow.id, bytes: Bytes::from_static(b"who?") }).await;
    let (length, _) = stranger.recv_from(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..length], b"who?");
    server.send_to(b"200", info.local).await.unwrap();
    let Input::Received(received) = bench.fact().await else { panic!("nothing received") };
    assert_eq!(received.flow.id, FlowId(1));
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[tokio::test]
async fn a_udp_server_that_is_not_there_is_told_at_once_and_one_that_has_spoken_is_not_given_up() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (there, gone) = (server.local_addr().unwrap(), nobody.local_addr().unwrap());
    drop(nobody);
    let mut bench = Bench::new(Trust::System, &[]);
    let Input::Opened(info) = bench.open(1, Transport::Udp, there).await else { panic!("not opened") };
    bench.open(2, Transport::Udp, gone).await;
    server.send_to(b"200", info.local).await.unwrap();
    assert!(matches!(bench.fact().await, Input::Received(_)));
    bench.send(2, REQUEST).await;
    assert_eq!(bench.fact().await, closed(2, FlowFailure::Unreachable));
    // The one that has spoken goes away: only the timers say so.
    drop(server);
    bench.send(1, REQUEST).await;
    bench.open(3, Transport::Udp, gone).await;
    bench.send(3, REQUEST).await;
    assert_eq!(bench.fact().await, closed(3, FlowFailure::Unreachable));
    // The socket itself goes on.
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    bench.open(4, Transport::Udp, other.local_addr().unwrap()).await;
    bench.send(4, REQUEST).await;
    let mut buffer = [0; 2000];
    assert_eq!(other.recv_from(&mut buffer).await.unwrap().0, REQUEST.len());
}

// ---- TLS -------------------------------------------------------------------------------------------------------

/// An authority for tests, and the file that names it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let file = std::env::temp_dir().join(format!("wakeline-net-{name}-{}.pem", std::process::id()));
        std::fs::write(&file, pem).unwrap();
        Authority { issuer: Issuer::new(params, key), file }
    }

    fn trust(&self) -> Trust {
        Trust::Authorities(self.file.clone())
    }

    /// A server's identity that this authority has signed.
    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::new(certificate.der().to_vec(), &key)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

fn good() -> CertificateParams {
    let mut params = CertificateParams::new(vec![NAME.into()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// A server's certificate and key, and the pin of that key.
struct Identity {
    server: Arc<rustls::ServerConfig>,
    pin: [u8; 32],
}

impl Identity {
    fn new(certificate: Vec<u8>, key: &KeyPair) -> Identity {
        use rcgen::PublicKeyData;
        let pin = digest(&SHA256, &key.subject_public_key_info()).as_ref().try_into().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.into()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        Identity { server: Arc::new(server), pin }
    }

    /// Serves one connection: echoes what comes until the client ends.
    async fn serve_one(&self) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
        let (listener, address) = listen().await;
        let acceptor = TlsAcceptor::from(Arc::clone(&self.server));
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { return Vec::new() };
            let (mut all, mut piece) = (Vec::new(), [0; 4096]);
            while let Ok(length @ 1..) = stream.read(&mut piece).await {
                all.extend_from_slice(&piece[..length]);
                stream.write_all(&piece[..length]).await.unwrap();
                stream.flush().await.unwrap();
            }
            all
        });
        (address, task)
    }
}

#[tokio::test]
async fn tls_by_an_authority_of_ones_own_or_by_a_pinned_key() {
    let authority = Authority::new("good");
    let identity = authority.sign(good());
    for trust in [authority.trust(), Trust::Pin(identity.pin)] {
        let (address, server) = identity.serve_one().await;
        let mut bench = Bench::new(trust, &[]);
        assert!(matches!(bench.open(1, Transport::Tls, address).await, Input::Opened(_)));
        bench.send(1, REQUEST).await;
        assert_eq!(bench.message().await, REQUEST);
        bench.network.close(FlowId(1));
        assert_eq!(server.await.unwrap(), REQUEST.as_bytes());
    }
}

#[tokio::test]
async fn s18_certificates_that_are_not_the_servers_are_refused_and_nothing_is_said_to_them() {
    let (authority, stranger) = (Authority::new("s18"), Authority::new("s18-stranger"));
    let mut expired = good();
    (expired.not_before, expired.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    let mut early = good();
    (early.not_before, early.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
    let mut client_only = good();
    client_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let mut name_in_subject_only = CertificateParams::new(Vec::new()).unwrap();
    name_in_subject_only.distinguished_name.push(DnType::CommonName, NAME);
    let named = |name: &str| CertificateParams::new(vec![name.into()]).unwrap();
    let own = KeyPair::generate().unwrap();
    let self_signed = good().self_signed(&own).unwrap();
    for (class, identity) in [
        ("expired", authority.sign(expired)),
        ("not valid yet", authority.sign(early)),
        ("for clients only", authority.sign(client_only)),
        ("another name", authority.sign(named("other.example.test"))),
        ("a name below", authority.sign(named("a.sip.example.test"))),
        ("a wildcard one level too high", authority.sign(named("*.test"))),
        ("an address in place of the name", authority.sign(named("127.0.0.1"))),
        ("the name in the subject only", authority.sign(name_in_subject_only)),
        ("unknown issuer", stranger.sign(good())),
        ("self-signed", Identity::new(self_signed.der().to_vec(), &own)),
    ] {
        let (address, server) = identity.serve_one().await;
        let mut bench = Bench::new(authority.trust(), &[]);
        let outcome = bench.open(1, Transport::Tls, address).await;
        assert_eq!(outcome, closed(1, FlowFailure::CertificateRefused), "{class}");
        assert_eq!(server.await.unwrap(), b"", "{class}");
    }
    let (address, server) = authority.sign(good()).serve_one().await;
    let mut bench = Bench::new(Trust::Pin([7; 32]), &[]);
    assert_eq!(
        bench.open(1, Transport::Tls, address).await,
        closed(1, FlowFailure::CertificateRefused),
        "pin"
    );
    assert_eq!(server.await.unwrap(), b"");
}

#[tokio::test]
async fn each_account_judges_by_its_own_trust_and_comes_from_its_own_address() {
    let (authority, other) = (Authority::new("own"), Authority::new("other"));
    let mut bench = Bench::new(authority.trust(), &[]);
    let second = Binding { address: Some([127, 0, 0, 2].into()), port: 0 };
    bench.network.places.push(Place { binding: second, trust: other.trust() });
    // Servers by authority and account: who is let in.
    let mut id = 0;
    for (server, letting) in [(&authority, [true, false]), (&other, [false, true])] {
        let identity = server.sign(good());
        for (account, is_let) in [(AccountId(0), letting[0]), (AccountId(1), letting[1])] {
            let (address, _server) = identity.serve_one().await;
            id += 1;
            let outcome = bench.open_for(account, id, Transport::Tls, address).await;
            if is_let {
                let Input::Opened(info) = outcome else { panic!("{account:?}: {outcome:?}") };
                assert_eq!(info.local.ip() == second.address.unwrap(), account == AccountId(1));
                bench.network.close(FlowId(id));
                bench.fact().await;
            } else {
                assert_eq!(outcome, closed(id, FlowFailure::CertificateRefused), "{account:?}");
            }
        }
    }
    // Datagrams leave, and their answers come, by each account's own socket.
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buffer = [0; 2000];
    for (id, account) in [(11, AccountId(0)), (12, AccountId(1))] {
        let opened = bench.open_for(account, id, Transport::Udp, server.local_addr().unwrap()).await;
        assert!(matches!(opened, Input::Opened(_)));
        bench.send(id, REQUEST).await;
        let (_, from) = server.recv_from(&mut buffer).await.unwrap();
        assert_eq!(from.ip() == second.address.unwrap(), account == AccountId(1), "{from}");
        server.send_to(b"200", from).await.unwrap();
        let Input::Received(received) = bench.fact().await else { panic!("nothing received") };
        assert_eq!(received.flow.id, FlowId(id));
    }
}

#[tokio::test]
async fn f13_a_rotated_certificate_leaves_what_runs_and_is_judged_anew() {
    let (authority, stranger) = (Authority::new("f13"), Authority::new("f13-stranger"));
    let mut bench = Bench::new(authority.trust(), &[]);
    let (first, _server) = authority.sign(good()).serve_one().await;
    assert!(matches!(bench.open(1, Transport::Tls, first).await, Input::Opened(_)));
    let (bad, _server) = stranger.sign(good()).serve_one().await;
    assert_eq!(bench.open(2, Transport::Tls, bad).await, closed(2, FlowFailure::CertificateRefused));
    let (renewed, _server) = authority.sign(good()).serve_one().await;
    assert!(matches!(bench.open(3, Transport::Tls, renewed).await, Input::Opened(_)));
    bench.send(1, REQUEST).await;
    assert_eq!(bench.message().await, REQUEST, "the old connection lives");
}

#[tokio::test]
async fn a_server_without_tls_fails_the_handshake() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(REQUEST.as_bytes()).await.unwrap();
        stream
    });
    let mut bench = Bench::new(Trust::Pin([7; 32]), &[]);
    assert_eq!(bench.open(1, Transport::Tls, address).await, closed(1, FlowFailure::HandshakeFailed));
    drop(server);
}

// ---- WebSocket -------------------------------------------------------------------------------------------------

#[expect(clippy::result_large_err, reason = "the library's signature")]
fn choose_sip(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    assert_eq!(request.uri().path(), "/phone");
    assert_eq!(request.headers()[SEC_WEBSOCKET_PROTOCOL], "sip");
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
    Ok(response)
}

#[tokio::test]
async fn websocket_frames_are_messages_and_the_path_is_the_accounts() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, choose_sip).await.unwrap();
        let text = socket.next().await.unwrap().unwrap();
        socket.send(text.clone()).await.unwrap();
        socket.send(Message::binary(REQUEST)).await.unwrap();
        let binary = socket.next().await.unwrap().unwrap();
        (text.is_text(), binary.is_binary())
    });
    let door = format!("ws://{NAME}:{}/phone", address.port());
    let mut bench = Bench::new(Trust::System, &[&door]);
    assert!(matches!(bench.open(1, Transport::Ws, address).await, Input::Opened(_)));
    bench.send(1, REQUEST).await;
    assert_eq!(bench.message().await, REQUEST);
    assert_eq!(bench.message().await, REQUEST);
    let bytes = Bytes::from_static(b"\xff\xfe");
    bench.network.send(Transmit { flow: FlowId(1), bytes }).await;
    assert_eq!(server.await.unwrap(), (true, true));
    assert_eq!(bench.fact().await, closed(1, FlowFailure::ClosedByPeer));
}

#[tokio::test]
async fn a_websocket_server_that_does_not_speak_sip_is_left() {
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move {
        let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
        tokio_tungstenite::accept_async(stream).await
    });
    let mut bench = Bench::new(Trust::System, &[]);
    assert_eq!(bench.open(1, Transport::Ws, address).await, closed(1, FlowFailure::HandshakeFailed));
    drop(server);
}
