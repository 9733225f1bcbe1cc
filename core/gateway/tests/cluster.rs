//! Two gateways on one Redis server, over real sockets: each is a node of the same gateway.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a test fails by panicking")]

mod phone;
mod redis;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use phone::{PATIENCE, Phone, Sleeping, soon};
use redis::{Folder, Redis};
use wakeline_flow::Transport;
use wakeline_gateway::config::{Account, Config};
use wakeline_gateway::{Gateway, Handle};
use wakeline_push_services::{FcmOptions, FcmService};
use wakeline_sip_message::{Message, Method, Name};

const TOKEN: &str = "dK2_exampleToken:APA91bExample";

struct World {
    push: FcmService,
    redis: Redis,
    folder: Folder,
}

impl World {
    async fn new() -> World {
        let push = FcmService::start(FcmOptions::default()).await.unwrap();
        let folder = Folder::new("cluster");
        folder.write("account.json", &push.service_account_json());
        folder.write("ca.pem", push.ca_pem());
        let redis = Redis::start(&folder.0);
        World { push, redis, folder }
    }

    fn config(&self, name: &str) -> Config {
        let mut config = Config::default().on_any_port();
        for user in ["mia", "ben"] {
            config.account.push(Account {
                user: user.to_owned(),
                password: "open sesame".into(),
                ..Account::default()
            });
        }
        config.store.url = format!("redis+unix://{}", self.redis.socket.display()).into();
        config.cluster.node = name.to_owned();
        config.cluster.address = "127.0.0.1".to_owned();
        config.push.fcm.service_accounts = vec![self.folder.0.join("account.json")];
        config.push.fcm.ca_file = self.folder.0.join("ca.pem");
        config.push.fcm.endpoint = self.push.endpoint();
        config
    }

    /// The row of a node that is none.
    fn say_alive(&self, name: &str, at: std::net::SocketAddr) {
        use wakeline_gateway::store::{Change, Redis, Row, Store as _, Table};
        let wall = wakeline_clock::system::wall();
        let value = format!(r#"{{"mark":"x","host":"{}","port":{},"wall":{}}}"#, at.ip(), at.port(), wall.0);
        let until = Some(wakeline_clock::WallTime(wall.0 + 20_000));
        let row = Row { key: name.into(), value: value.into(), until };
        let url = format!("redis+unix://{}", self.redis.socket.display());
        let mut store = Redis::open(&url.as_str().into()).unwrap();
        store.write(&[(Table::Nodes, Change::Put(row))]).unwrap();
    }

    fn node(&self, name: &str) -> Handle {
        Gateway::start(self.config(name)).unwrap()
    }

    /// Two nodes that know each other.
    async fn pair(&self) -> (Handle, Handle) {
        let (one, two) = (self.node("one"), self.node("two"));
        linked(&one).await;
        linked(&two).await;
        (one, two)
    }
}

async fn linked(node: &Handle) {
    soon("a link", async {
        while node.stats().await.unwrap().linked_nodes == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn phone(node: &Handle, transport: Transport, user: &str) -> Phone {
    Phone::connect(node, transport, user, "open sesame").await
}

/// A phone that registered with a push token at a node, and is connected.
async fn mia_at(node: &Handle) -> Phone {
    let mut mia = phone(node, Transport::Tls, "mia").await;
    mia.contact_parameters = format!(";ob;pn-provider=fcm;pn-param=wakeline-demo;pn-prid={TOKEN}");
    mia.register(604_800).await;
    mia
}

/// Waits until a node knows so many bindings of mia.
async fn known(node: &Handle, count: usize) {
    soon("news of a binding", async {
        while node.bindings("mia", "localhost").await.len() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// It goes to sleep, and its node has noticed.
async fn sleeps(node: &Handle, mia: Phone) -> Sleeping {
    let sleeping = mia.sleep();
    soon("the flow's end", async {
        while node.bindings("mia", "localhost").await.iter().any(|binding| binding.flow.is_some()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    sleeping
}

/// Waits until a node has heard everything that another one has told so far: a mark behind it comes through.
async fn settled(from: &Handle, to: &Handle) {
    let mut name = [0_u8; 8];
    getrandom::fill(&mut name).unwrap();
    from.put_account(wakeline_registrar::Account {
        user: format!("mark-{:x}", u64::from_be_bytes(name)),
        domain: "localhost".to_owned(),
        credential: wakeline_registrar::Credential::Password("a mark".into()),
        upstream: None,
        voicemail: None,
    });
    let marks = from.stats().await.unwrap().gauges.accounts;
    soon("a mark", async {
        while to.stats().await.unwrap().gauges.accounts < marks {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn bye(ok: &Message, invite: &Message, ben: &mut Phone, method: &str, cseq: u32) -> String {
    let contact = ok.header(Name::Contact).unwrap();
    let target = contact.split(['<', '>']).nth(1).unwrap();
    let mut routes: Vec<&str> = ok.headers(Name::RecordRoute).collect();
    routes.reverse();
    let routes: String = routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
    format!(
        "{method} {target} SIP/2.0\r\n{}Max-Forwards: 70\r\n{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n",
        ben.via(),
        invite.header(Name::From).unwrap(),
        ok.header(Name::To).unwrap(),
        invite.call_id(),
    )
}

/// From the INVITE that reached the phone to the end of the call, hung up by the caller.
async fn talk(ben: &mut Phone, asked: &Message, mia: &mut Phone, invite: &Message) {
    let ok = mia.answer(invite, 200);
    mia.send(&ok).await;
    let ok = ben.receive_status(200).await;
    let number = asked.cseq().unwrap().number;
    let ack = bye(&ok, asked, ben, "ACK", number);
    ben.send(ack.as_bytes()).await;
    assert_eq!(mia.receive().await.method(), Method::Ack);
    let hangup = bye(&ok, asked, ben, "BYE", number + 1);
    ben.send(hangup.as_bytes()).await;
    let heard = mia.receive().await;
    assert_eq!(heard.method(), Method::Bye);
    let ok = mia.answer(&heard, 200);
    mia.send(&ok).await;
    ben.receive_status(200).await;
}

#[tokio::test]
async fn an_invite_held_at_one_node_is_released_when_the_phone_registers_at_another() {
    let world = World::new().await;
    let mut devices = world.push.subscribe();
    let (one, two) = world.pair().await;
    let mia = mia_at(&one).await;
    let sleeping = sleeps(&one, mia).await;
    known(&two, 1).await;
    let mut ben = phone(&one, Transport::Tcp, "ben").await;
    let (asked, first) = ben.invite("mia@localhost").await;
    assert_eq!(first.status(), Some(100));
    soon("a push", devices.recv()).await.unwrap();
    let mut mia = Phone::wake(&two, Transport::Tls, sleeping).await;
    let (_, rounds) = mia.register(604_800).await;
    assert_eq!(rounds, 1, "the other node's nonce is good here");
    let invite = mia.receive().await;
    assert_eq!((invite.method(), invite.is_request()), (Method::Invite, true));
    talk(&mut ben, &asked, &mut mia, &invite).await;
}

#[tokio::test]
async fn a_connected_phone_is_called_through_either_node_and_a_node_can_be_drained() {
    let world = World::new().await;
    let (one, two) = world.pair().await;
    let mut mia = mia_at(&two).await;
    known(&one, 1).await;
    settled(&two, &one).await;
    for node in [&one, &two] {
        let mut ben = phone(node, Transport::Tcp, "ben").await;
        let (asked, _) = ben.invite("mia@localhost").await;
        let invite = mia.receive().await;
        assert_eq!(invite.method(), Method::Invite);
        talk(&mut ben, &asked, &mut mia, &invite).await;
    }
    // A planned end: what the drained node had connected is woken by the one that stays, at once and not after six seconds.
    assert!(two.drain(PATIENCE * 3).await);
    let sleeping = mia.sleep();
    two.shutdown();
    let mut devices = world.push.subscribe();
    soon("the node's end", async {
        while one.stats().await.unwrap().nodes > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut ben = phone(&one, Transport::Tcp, "ben").await;
    let (asked, _) = ben.invite("mia@localhost").await;
    soon("a push", devices.recv()).await.unwrap();
    let mut mia = Phone::wake(&one, Transport::Tls, sleeping).await;
    mia.register(604_800).await;
    let invite = mia.receive().await;
    talk(&mut ben, &asked, &mut mia, &invite).await;
}

#[tokio::test]
async fn f6_a_redis_server_that_is_away_for_a_while_costs_no_call_and_what_happened_meanwhile_is_known_later()
{
    let mut world = World::new().await;
    let (one, two) = world.pair().await;
    let mut mia = mia_at(&two).await;
    known(&one, 1).await;
    settled(&two, &one).await;
    world.redis.end();
    // Both go on with what they know.
    let mut ben = phone(&one, Transport::Tcp, "ben").await;
    let (asked, _) = ben.invite("mia@localhost").await;
    let invite = mia.receive().await;
    talk(&mut ben, &asked, &mut mia, &invite).await;
    mia.register(0).await;
    assert_eq!(one.bindings("mia", "localhost").await.len(), 1, "nobody can have told");
    world.redis = Redis::start(&world.folder.0);
    known(&one, 0).await;
    assert_eq!(one.stats().await.unwrap().nodes, 1, "nobody was called dead for the server's sake");
}

#[tokio::test]
async fn nodes_are_told_of_each_other_and_the_doctor_looks_at_all_of_them() {
    use wakeline_gateway::doctor::{self, Hop, Options, State};
    let world = World::new().await;
    let (one, two) = world.pair().await;
    let _mia = mia_at(&two).await;
    known(&one, 1).await;
    soon("two's word of itself", async {
        while one.nodes().await.get(1).is_none_or(|two| two.condition.bindings != 1) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let nodes = one.nodes().await;
    let told: Vec<_> = nodes.iter().map(|node| (node.name.as_str(), node.own, node.linked)).collect();
    assert_eq!(told, [("one", true, true), ("two", false, true)]);
    assert_eq!(nodes[1].address, two.address(Transport::Tcp).unwrap().to_string());
    let found = async |hop: Hop| {
        let report = doctor::examine(&world.config("one"), Options::default()).await;
        report.findings.into_iter().filter(|finding| finding.hop == hop).collect::<Vec<_>>()
    };
    let findings = found(Hop::Node).await;
    let sound = |subject: &str| findings.iter().any(|one| one.subject == subject && one.state == State::Good);
    assert!(sound("redis") && sound("two"), "{findings:?}");
    let broken = |finding: &doctor::Finding| matches!(finding.state, State::Broken(_));
    assert!(!findings.iter().any(broken), "{findings:?}");
    // One that lives by its word, and cannot be reached.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.say_alive("three", free);
    let findings = found(Hop::Node).await;
    let three: Vec<_> = findings.iter().filter(|one| one.subject == "three" && broken(one)).collect();
    assert!(three.len() == 1 && three[0].detail.contains(&free.to_string()), "{findings:?}");
}

#[tokio::test]
async fn s17_what_was_captured_at_one_node_does_not_pass_at_another() {
    let world = World::new().await;
    let (one, two) = world.pair().await;
    let mut mia = mia_at(&one).await;
    let captured = mia.register_request(604_800);
    mia.send(&captured.to_bytes()).await;
    mia.receive_status(200).await;
    settled(&one, &two).await;
    let mut thief = phone(&two, Transport::Tcp, "mia").await;
    thief.send(&captured.to_bytes()).await;
    let answer = thief.receive_status(401).await;
    assert!(answer.header(Name::WwwAuthenticate).unwrap().contains("stale=true"));
    // Mia herself goes on with her nonce, wherever she comes.
    let mut mia = Phone::wake(&two, Transport::Tls, mia.sleep()).await;
    assert_eq!(mia.register(604_800).await.1, 1);
}

#[tokio::test]
async fn tls_sessions_of_one_node_are_resumed_at_the_other_each_once() {
    const PHONES: usize = 20;
    let world = World::new().await;
    let (one, two) = world.pair().await;
    assert_eq!(one.certificate_pem(), two.certificate_pem());
    let mut resumed = 0;
    for _ in 0..PHONES {
        let tls = phone::tls(&one);
        assert_eq!(handshake(&one, tls.clone()).await, Some(rustls::HandshakeKind::Full));
        settled(&one, &two).await;
        if handshake(&two, tls).await == Some(rustls::HandshakeKind::Resumed) {
            resumed += 1;
        }
    }
    assert_eq!(resumed, PHONES);
}

async fn handshake(
    node: &Handle,
    tls: std::sync::Arc<rustls::ClientConfig>,
) -> Option<rustls::HandshakeKind> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let stream = tokio::net::TcpStream::connect(node.address(Transport::Tls).unwrap()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await.unwrap();
    // The tickets come behind the handshake; a pong says that they are here.
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    soon("a pong", stream.read_exact(&mut pong)).await.unwrap();
    stream.get_ref().1.handshake_kind()
}

/// Not a test of its own: the process of a node that another test kills.
#[test]
#[ignore = "runs as a process of another test"]
fn node_process() {
    let Ok(file) = std::env::var("WAKELINE_TEST_NODE") else { return };
    let _node = Gateway::start(Config::from_file(Path::new(&file)).unwrap()).unwrap();
    loop {
        std::thread::park();
    }
}

/// A node in a process of its own, that ends with the value.
struct Process(Child, u16);

impl Process {
    fn start(world: &World, name: &str) -> Process {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = world.folder.0.display();
        let file = world.folder.write(
            "node.toml",
            &format!(
                "store = \"redis+unix://{}\"\n[listen]\nudp = []\ntcp = [\"127.0.0.1:{port}\"]\ntls = []\nws = []\nwss = []\n\
                 [cluster]\nnode = \"{name}\"\naddress = \"127.0.0.1\"\n\
                 [push.fcm]\nservice_accounts = [\"{folder}/account.json\"]\nca_file = \"{folder}/ca.pem\"\nendpoint = \"{}\"\n\
                 [[account]]\nuser = \"mia\"\npassword = \"open sesame\"\n[[account]]\nuser = \"ben\"\npassword = \"open sesame\"\n",
                world.redis.socket.display(),
                world.push.endpoint(),
            ),
        );
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "node_process", "--nocapture"])
            .env("WAKELINE_TEST_NODE", file)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Process(child, port)
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test]
async fn f6_a_late_waker_learns_from_the_node_that_is_left_what_became_of_a_killed_nodes_call() {
    let world = World::new().await;
    let mut devices = world.push.subscribe();
    let two = world.node("two");
    let mia = mia_at(&two).await;
    let sleeping = sleeps(&two, mia).await;
    assert!(two.flush(PATIENCE));
    let mut one = Process::start(&world, "one");
    linked(&two).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], one.1));
    let mut ben = Phone::connect_to(address, Transport::Tcp, None, "ben", "open sesame").await;
    let (asked, first) = ben.invite("mia@localhost").await;
    assert_eq!(first.status(), Some(100));
    let pushed = soon("a push", devices.recv()).await.unwrap();
    soon("news of the call", async {
        while two.stats().await.unwrap().gauges.held_elsewhere == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    one.kill();
    soon("the end of the killed node", async {
        while two.stats().await.unwrap().nodes > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut mia = Phone::wake(&two, Transport::Tls, sleeping).await;
    let (ok, rounds) = mia.register(604_800).await;
    assert_eq!(rounds, 1);
    let states = ok.header_by_name("X-Wake-State").unwrap_or_default().to_owned();
    let wake = wakeline_push::WakeId::of(asked.call_id(), asked.from_tag().unwrap());
    assert_eq!(states, format!("{wake}=failed"));
    drop((pushed, ben));
}

#[tokio::test]
async fn of_three_nodes_one_holds_one_dies_and_the_phone_that_wakes_at_the_last_learns_of_both_calls() {
    let world = World::new().await;
    let mut devices = world.push.subscribe();
    let (one, two) = world.pair().await;
    let mia = mia_at(&two).await;
    let sleeping = sleeps(&two, mia).await;
    settled(&two, &one).await;
    let mut three = Process::start(&world, "three");
    for node in [&one, &two] {
        soon("two links", async {
            while node.stats().await.unwrap().linked_nodes < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }
    let mut ben = phone(&one, Transport::Tcp, "ben").await;
    let (held, first) = ben.invite("mia@localhost").await;
    assert_eq!(first.status(), Some(100));
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], three.1));
    let mut eva = Phone::connect_to(address, Transport::Tcp, None, "ben", "open sesame").await;
    let (lost, first) = eva.invite("mia@localhost").await;
    assert_eq!(first.status(), Some(100));
    for _ in 0..2 {
        soon("a push", devices.recv()).await.unwrap();
    }
    soon("news of both calls", async {
        while two.stats().await.unwrap().gauges.held_elsewhere < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    three.kill();
    for node in [&one, &two] {
        soon("the end of the killed node", async {
            while node.stats().await.unwrap().nodes > 1 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    let mut mia = Phone::wake(&two, Transport::Tls, sleeping).await;
    let (ok, rounds) = mia.register(604_800).await;
    assert_eq!(rounds, 1);
    let told = ok.header_by_name("X-Wake-State").unwrap_or_default().to_owned();
    let wake = |call: &Message| wakeline_push::WakeId::of(call.call_id(), call.from_tag().unwrap());
    assert_eq!(told, format!("{}=failed", wake(&lost)));
    let invite = mia.receive().await;
    assert_eq!(invite.call_id(), held.call_id());
    talk(&mut ben, &held, &mut mia, &invite).await;
}
