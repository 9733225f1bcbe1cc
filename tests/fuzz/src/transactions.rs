//! The table of transactions, both sides at once, with a far end and a user above it that do what the script says.

use core::time::Duration;
use std::collections::BTreeSet;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_sip_message::{Builder, Message, Method};
use wakeline_sip_transaction::{ClientKey, Config, Event, Gauges, Key, SentBy, ServerKey, Transactions};

use crate::bend::{METHODS, Request, request, response, straight};
use crate::script::{Bound, Script};

pub(crate) fn flow(id: u64) -> FlowInfo {
    let transport = if id == 1 { Transport::Udp } else { Transport::Tcp };
    FlowInfo {
        id: FlowId(id),
        transport,
        local: "10.0.0.1:5060".parse().unwrap(),
        remote: "192.0.2.9:5070".parse().unwrap(),
    }
}

/// Transactions of each side that the table may hold for its user.
const MOST: usize = 24;

struct Bench {
    table: Transactions,
    sent: Vec<Message>,
    clients: Vec<ClientKey>,
    servers: Vec<(ServerKey, Message)>,
    /// The user's transactions that have begun and not ended.
    alive: BTreeSet<Key>,
    /// INVITEs of ours that were cancelled: each has a CANCEL of the table's own beside it.
    cancelled: BTreeSet<ClientKey>,
    /// CANCELs that came in: they are answered even when there is no room, because they make some.
    cancels: usize,
}

impl Bench {
    fn drain(&mut self) {
        let mut bound = Bound::new(500, "what the table sends and tells");
        while let Some(transmit) = self.table.poll_transmit() {
            bound.count();
            let message = Message::parse(transmit.bytes).expect("what leaves can be read");
            self.sent.push(message);
            if self.sent.len() > 12 {
                self.sent.remove(0);
            }
        }
        while let Some(event) = self.table.poll_event() {
            bound.count();
            match event {
                Event::Request { key, request, .. } => {
                    assert!(self.alive.insert(Key::Server(key)), "a handle used twice: {key:?}");
                    self.servers.push((key, request));
                }
                Event::Terminated { key } => assert!(self.alive.remove(&key), "{key:?} ends twice"),
                _ => {}
            }
        }
    }

    /// The limits hold after every step (class S14).
    fn hold_limits(&self) {
        let gauges = self.table.gauges();
        let of_user = |wanted: fn(&Key) -> bool| self.alive.iter().filter(|key| wanted(key)).count();
        let clients = of_user(|key| matches!(key, Key::Client(_)));
        let servers = of_user(|key| matches!(key, Key::Server(_)));
        assert!(clients <= MOST && servers <= MOST, "{clients} and {servers} of the user's");
        assert!(gauges.client >= clients && gauges.client - clients <= self.cancelled.len(), "{gauges:?}");
        assert!(gauges.server >= servers && gauges.server <= MOST + self.cancels, "{gauges:?}");
        assert!(gauges.timers <= 3 * (gauges.client + gauges.server), "{gauges:?}");
    }
}

fn incoming(script: &mut Script<'_>) -> Option<Message> {
    let method = METHODS[script.below(METHODS.len())].clone();
    let branch = ["z9hG4bKa", "z9hG4bKb", "z9hG4bKc", "old-style", ""][script.below(5)];
    let call_id = ["c1", "c2"][script.below(2)];
    let to = ["<sip:us@10.0.0.1>", "<sip:us@10.0.0.1>;tag=u1"][script.below(2)];
    let cseq = u32::from(script.byte() % 4);
    let names = Request {
        method,
        uri: "sip:us@10.0.0.1",
        call_id,
        from: "<sip:far@192.0.2.9>;tag=f1",
        to,
        cseq,
        branch,
        via: "SIP/2.0/UDP 192.0.2.9:5070;rport",
    };
    request(script, &names)
}

/// Whatever comes, and with a clock that jumps: the table empties in the end.
pub(crate) fn transactions(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut config = if script.flag() { Config::server() } else { Config::default() };
    config.max_clients = MOST;
    config.max_servers = MOST;
    let table = Transactions::new(config, Entropy::from_number(11));
    let mut bench = Bench {
        table,
        sent: Vec::new(),
        clients: Vec::new(),
        servers: Vec::new(),
        alive: BTreeSet::new(),
        cancelled: BTreeSet::new(),
        cancels: 0,
    };
    let mut now = Time::from_millis(1);
    let mut cseq = 0;
    script.play(|script| {
        let on = flow(1 + script.below(3) as u64);
        // The last values of a byte stand apart, so that older seeds mean what they meant.
        let step = match script.byte() {
            byte @ 252.. => byte,
            byte => byte % 12,
        };
        match step {
            0 | 1 => {
                cseq += 1;
                let names = Request {
                    method: METHODS[script.below(METHODS.len())].clone(),
                    uri: "sip:far@192.0.2.9",
                    call_id: "ours",
                    from: "<sip:us@10.0.0.1>;tag=u1",
                    to: "<sip:far@192.0.2.9>",
                    cseq,
                    branch: "z9hG4bKbelow",
                    via: "SIP/2.0/UDP 10.9.9.9",
                };
                if let Some(message) = straight(script.flag(), &names)
                    && let Ok(key) = bench.table.send(now, message, &on, &SentBy::address(on.local))
                {
                    bench.clients.push(key);
                    bench.alive.insert(Key::Client(key));
                }
            }
            2 => {
                if let Some(key) = script.pick(&bench.clients)
                    && bench.table.cancel(now, key, &[]).is_ok()
                {
                    bench.cancelled.insert(key);
                }
            }
            3 | 4 => {
                if let Some(message) = script.pick(&bench.sent)
                    && message.is_request()
                    && let Some(message) = response(script, &message)
                {
                    bench.table.handle_received(now, &on, message);
                }
            }
            5..=7 => {
                if let Some(message) = incoming(script) {
                    bench.cancels += usize::from(message.method() == Method::Cancel);
                    bench.table.handle_received(now, &on, message);
                }
            }
            8 => {
                if let Some((key, request)) = script.pick(&bench.servers) {
                    let code = [100, 180, 200, 302, 487, 500][script.below(6)];
                    if let Ok(answer) = Builder::response(&request, code, "").to_tag("u1").build() {
                        let _ = bench.table.respond(now, key, answer);
                    }
                }
            }
            9 => bench.table.handle_flow_failed(now, on.id),
            252 | 253 => bench.table.handle_flow_closed(on.id),
            254 | 255 => bench.table.leave_flow(on.id),
            10 => {
                if let Some((key, _)) = script.pick(&bench.servers) {
                    let _ = bench.table.move_to(key, &on);
                }
            }
            _ => {
                // Asleep, or a clock set forward: whatever is due is done in one go (F10, S26).
                now += script.span();
                bench.table.handle_timeout(now);
                assert!(bench.table.poll_timeout().is_none_or(|due| due > now), "a timer that is always due");
            }
        }
        bench.drain();
        bench.hold_limits();
    });
    // The user above answers what it was asked, gives up what it asked, and then it is only a matter of time.
    for (key, request) in core::mem::take(&mut bench.servers) {
        let left = match Builder::response(&request, 500, "").to_tag("u1").build() {
            Ok(answer) => bench.table.respond(now, key, answer).is_err(),
            Err(_) => true,
        };
        if left && request.method() != Method::Ack {
            bench.table.abandon(Key::Server(key));
            bench.alive.remove(&Key::Server(key));
        }
    }
    for key in core::mem::take(&mut bench.clients) {
        let _ = bench.table.cancel(now, key, &[]);
    }
    bench.drain();
    let mut bound = Bound::new(4_000, "timers of transactions");
    while let Some(due) = bench.table.poll_timeout() {
        bound.count();
        now = now.max(due);
        bench.table.handle_timeout(now);
        bench.drain();
    }
    now += Duration::from_secs(1);
    bench.table.handle_timeout(now);
    bench.drain();
    assert_eq!(bench.table.gauges(), Gauges::default(), "left behind");
    assert!(bench.alive.is_empty(), "no last word of {:?}", bench.alive);
    assert!((0..5).all(|id| !bench.table.is_flow_used(FlowId(id))));
}
