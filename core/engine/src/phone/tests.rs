//! Whole phones, as a program starts them, against scripted servers on loopback.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test waits for one event and skips the others")]

mod servers;

use std::net::Ipv4Addr;

use wakeline_settings::Source;
use wakeline_user_agent::RegistrationPhase;

use super::*;
use servers::{Authority, Elsewhere, Registrar, Zone, free_port, name_server};

/// The loop runs on a thread and a clock of its own; a machine that is busy may keep it waiting for so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// An account with these parameters.
fn account(pairs: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::new();
    for (name, value) in [("username", "mia"), ("password", "secret"), ("register", "1")].iter().chain(pairs)
    {
        assert!(settings.set(name, value, Source::File), "{name}");
    }
    settings
}

/// Starts a phone that is told to register.
fn start(options: Options) -> Phone {
    let phone = Phone::start(Options { audio: AudioChoice::Null, ..options }).unwrap();
    phone.command(Command::Start);
    phone
}

/// Waits for an event; everything before it is skipped.
async fn wait<T>(phone: &mut Phone, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let found = async {
        loop {
            let event = phone.event().await.expect("the phone stopped").event;
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the event never came")
}

/// Stops a phone while the servers, on this thread, go on answering.
async fn stop(phone: Phone) {
    tokio::task::spawn_blocking(|| phone.stop()).await.unwrap();
}

async fn registered(phone: &mut Phone) {
    wait(phone, |event| match event {
        Event::RegistrationChanged(view) => (view.phase == RegistrationPhase::Registered).then_some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn memory_is_given_back_once_the_registration_is_answered_and_not_when_its_timers_end() {
    let registrar = Registrar::udp().await;
    let port = registrar.address.port().to_string();
    let own = free_port();
    let settings = account(&[
        ("serveraddress", &format!("127.0.0.1:{port}")),
        ("transport", "0"),
        ("localip", "127.0.0.1"),
        ("signalingport", &own.to_string()),
    ]);
    let mut phone = start(Options { accounts: vec![settings], ..Options::default() });
    registered(&mut phone).await;
    let since = system::now();
    while phone.stats().await.unwrap().given_back == 0 {
        // Timer K would end 5 s after the answer.
        assert!(system::now().since(since) < Duration::from_millis(4500), "nothing was given back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(system::now().since(since) >= Duration::from_millis(900), "the phone had no time to rest");
    // Once, however often the loop turns.
    assert_eq!(phone.stats().await.unwrap().given_back, 1);
    let heard = registrar.heard();
    assert!(heard[0].from.port() == own, "signalingport: {:?}", heard[0].from);
    stop(phone).await;
}

#[test]
fn every_account_has_its_own_trust_and_binding_unless_the_program_decides() {
    let pin = "ab".repeat(32);
    let pinned = account(&[("tlspin", &pin), ("localip", "192.0.2.1"), ("signalingport", "5070")]);
    let rooted = account(&[("tlsroots", "ca.pem")]);
    let own = |account| place(account, &Trust::System).unwrap();
    assert_eq!(own(&pinned).trust, Trust::Pin([0xab; 32]));
    assert_eq!(own(&pinned).binding, Binding { address: "192.0.2.1".parse().ok(), port: 5070 });
    assert_eq!(own(&rooted).trust, Trust::Authorities("ca.pem".into()));
    assert_eq!(own(&rooted).binding, Binding::default());
    assert_eq!(own(&account(&[])).trust, Trust::System);
    assert_eq!(place(&rooted, &Trust::Pin([7; 32])).unwrap().trust, Trust::Pin([7; 32]));
    // Of several accounts the second is judged as well.
    let bad = account(&[("tlspin", "nonsense")]);
    let refused = Phone::start(Options { accounts: vec![account(&[]), bad], ..Options::default() });
    assert!(matches!(refused, Err(StartError::Settings(why)) if why.contains("tlspin")));
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[tokio::test]
async fn a_udp_server_that_is_not_there_costs_no_timer() {
    let port = free_port().to_string();
    let server = format!("127.0.0.1:{port}");
    let settings = account(&[("serveraddress", &server), ("transport", "0"), ("localip", "127.0.0.1")]);
    let since = system::now();
    let mut phone = start(Options { accounts: vec![settings], ..Options::default() });
    wait(&mut phone, |event| match event {
        Event::RegistrationChanged(view) => (view.phase == RegistrationPhase::Failed).then_some(()),
        _ => None,
    })
    .await;
    // Without ICMP it would be 3.5 s for a silent hop, or 32 s.
    assert!(system::now().since(since) < Duration::from_secs(3), "{:?}", system::now().since(since));
    stop(phone).await;
}

// ---- next hop (RFC 3263) -------------------------------------------------------------------------------------------

const DOMAIN: &str = "voice.example.test";
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A phone of the domain that asks this name server.
fn start_at(server: SocketAddr, transport: &str) -> Phone {
    let settings = account(&[("serveraddress", DOMAIN), ("transport", transport), ("localip", "127.0.0.1")]);
    start(Options { accounts: vec![settings], name_servers: vec![server], ..Options::default() })
}

async fn problem(phone: &mut Phone) -> String {
    wait(phone, |event| match event {
        Event::Problem(problem) => Some(format!("{}; {}", problem.cause, problem.cure)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn srv_records_are_tried_in_their_order_and_the_next_when_one_is_dead() {
    let (first, second) = (Registrar::tcp().await, Registrar::tcp().await);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let service = "_sip._tcp.voice.example.test";
    // Both live: the first in order is taken, though the zone names it last.
    let zone = Zone::default()
        .srv(service, 20, second.address.port(), "two.example.test")
        .srv(service, 10, first.address.port(), "one.example.test")
        .a("one.example.test", HERE)
        .a("two.example.test", HERE);
    let mut phone = start_at(name_server(zone, Elsewhere::NameError).await, "1");
    registered(&mut phone).await;
    assert!(first.heard()[0].request.starts_with("REGISTER sip:voice.example.test"));
    assert!(second.heard().is_empty());
    stop(phone).await;
    // The first is dead: the second is reached, and nobody waits for a time-out.
    let zone = Zone::default()
        .srv(service, 20, second.address.port(), "two.example.test")
        .srv(service, 10, dead, "one.example.test")
        .a("one.example.test", HERE)
        .a("two.example.test", HERE);
    let mut phone = start_at(name_server(zone, Elsewhere::NameError).await, "1");
    registered(&mut phone).await;
    assert_eq!(second.heard().len(), 1);
    stop(phone).await;
}

#[tokio::test]
async fn naptr_records_choose_the_transport() {
    let (datagrams, stream) = (Registrar::udp().await, Registrar::tcp().await);
    let zone = Zone::default()
        .naptr(DOMAIN, 20, "SIP+D2U", "_sip._udp.edge.example.test")
        .naptr(DOMAIN, 10, "SIP+D2T", "_sip._tcp.edge.example.test")
        .srv("_sip._udp.edge.example.test", 1, datagrams.address.port(), "one.example.test")
        .srv("_sip._tcp.edge.example.test", 1, stream.address.port(), "one.example.test")
        .a("one.example.test", HERE);
    let mut phone = start_at(name_server(zone, Elsewhere::NameError).await, "-1");
    registered(&mut phone).await;
    assert!(stream.heard()[0].request.contains("Via: SIP/2.0/TCP"));
    assert!(datagrams.heard().is_empty());
    stop(phone).await;
}

#[tokio::test]
async fn a_name_that_is_not_there_and_a_name_server_that_fails_are_told_apart() {
    for (elsewhere, wanted) in
        [(Elsewhere::NameError, "check serveraddress"), (Elsewhere::ServerFailure, "check the network")]
    {
        let mut phone = start_at(name_server(Zone::default(), elsewhere).await, "1");
        let told = problem(&mut phone).await;
        assert!(told.contains(wanted), "{elsewhere:?}: {told}");
        stop(phone).await;
    }
}

// ---- WebSocket over TLS (RFC 7118) ---------------------------------------------------------------------------------

#[tokio::test]
async fn a_phone_registers_over_wss_at_a_server_of_its_own_authority() {
    let (registrar, authority) = Registrar::wss(DOMAIN).await;
    let server = name_server(Zone::default().a(DOMAIN, HERE), Elsewhere::NameError).await;
    let settings = |roots: &std::path::Path| {
        account(&[
            ("serveraddress", DOMAIN),
            ("webrtcserveraddress", &format!("wss://{DOMAIN}:{}/phone", registrar.address.port())),
            ("tlsroots", roots.to_str().unwrap()),
        ])
    };
    let phone_of = |settings| {
        start(Options { accounts: vec![settings], name_servers: vec![server], ..Options::default() })
    };
    let mut phone = phone_of(settings(&authority.file));
    registered(&mut phone).await;
    let first = registrar.heard().remove(0);
    let heard = &first.request;
    assert!(heard.contains("Via: SIP/2.0/WSS ") && heard.contains(".invalid"), "{heard}");
    stop(phone).await;
    // Under another authority it is refused, and nothing is said to it.
    let stranger = Authority::new("stranger");
    let mut phone = phone_of(settings(&stranger.file));
    wait(&mut phone, |event| match event {
        Event::RegistrationChanged(view) => (view.phase == RegistrationPhase::Failed).then_some(()),
        _ => None,
    })
    .await;
    assert!(registrar.heard().iter().all(|heard| heard.from == first.from));
    stop(phone).await;
}
