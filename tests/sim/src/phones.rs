//! What happens to phones, and what they do.

use std::time::Duration;

use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_user_agent::{CallPhase, Command, Direction, Event, FlowFailure, Input, Output};

use crate::gateway::Standing;
use crate::network::{End, Link, LinkState};
use crate::phone::{Life, Pace, Reach, media};
use crate::watch::Path;
use crate::world::{Happening, MOST_STEPS, Whim, World, seed_of};

impl World {
    /// Starts a phone's process and hands it its token, as a shell does.
    pub(crate) fn start(&mut self, phone: usize) {
        let (now, wall, seed) = (self.now, self.wall(), seed_of(&mut self.entropy));
        self.phones[phone].start(seed, now, wall);
        if self.phones[phone].reach == Reach::Offline {
            self.command(phone, Command::NetworkLost);
        }
        self.hand_token(phone);
    }

    pub(crate) fn hand_token(&mut self, phone: usize) {
        if let Some(token) = self.phones[phone].token.clone() {
            let (provider, param) = ("fcm".into(), "sim-project".into());
            self.command(phone, Command::SetPushToken { provider, param, prid: token.into() });
        }
    }

    pub(crate) fn command(&mut self, phone: usize, command: Command) {
        if self.is_stubborn(phone, &command) {
            return;
        }
        if matches!(command, Command::Suspend) {
            self.watch.summonses.put_to_sleep(phone);
        }
        // Whoever wants something of a frozen app brings it to the front.
        self.thaw(phone);
        let now = self.now;
        if let Some(agent) = self.phones[phone].agent() {
            agent.handle_command(now, command);
            self.settle_phone(phone);
        }
    }

    pub(crate) fn have_whim(&mut self, phone: usize, whim: Whim) {
        let alerts = |phase| matches!(phase, CallPhase::Ringing | CallPhase::Announced);
        let call = match whim {
            Whim::Answer | Whim::Decline => self.phones[phone].latest_call(alerts),
            Whim::Busy | Whim::Ignore => self.phones[phone].call_in(CallPhase::Ringing),
            Whim::Hold(_) => self.phones[phone].call_in(CallPhase::Established),
            Whim::Hangup => self.phones[phone].latest_call(|_| true),
        };
        let Some(call) = call else { return };
        let command = match whim {
            Whim::Answer => Command::Answer { call },
            Whim::Decline => Command::Decline { call },
            Whim::Busy => Command::Reject { call, code: 486 },
            Whim::Ignore => Command::Ignore { call },
            Whim::Hold(on) => Command::Hold { call, on },
            Whim::Hangup => Command::Hangup { call },
        };
        self.note(|| format!("  {command:?}"));
        self.command(phone, command);
    }

    /// Kills a phone's process; its connections are reset, or just fall silent.
    pub fn kill(&mut self, phone: usize, told: bool) {
        for link in self.links_of(phone) {
            if told && self.links[link].transport.is_reliable() {
                self.lose(link, LinkState::Closed, true);
            } else {
                self.links[link].state = LinkState::Silent;
            }
        }
        self.watch.answers.disturbed(self.now, Some(phone));
        self.phones[phone].life = Life::Killed;
        self.phones[phone].pace = Pace::Runs;
        self.waiting.remove(&phone);
        self.watch.killed(phone);
    }

    /// The flows of a phone fall silent: nobody is told.
    pub fn silence(&mut self, phone: usize) {
        self.watch.answers.disturbed(self.now, Some(phone));
        for link in self.links_of(phone) {
            self.links[link].state = LinkState::Silent;
        }
    }

    /// The NAT forgets a phone: datagrams come from another port from now on, streams fall silent.
    pub fn rebind(&mut self, phone: usize) {
        self.watch.answers.disturbed(self.now, Some(phone));
        for link in self.links_of(phone) {
            if self.links[link].transport.is_reliable() {
                self.links[link].state = LinkState::Silent;
            } else {
                let gateway_flow = self.new_gateway_flow(link);
                let port = self.links[link].seen_as.port();
                self.links[link].seen_as.set_port(port ^ 0x4000);
                self.links[link].gateway_flow = gateway_flow;
            }
        }
    }

    pub(crate) fn go_offline(&mut self, phone: usize) {
        self.silence(phone);
        self.phones[phone].reach = Reach::Offline;
        self.watch.summonses.excused(phone);
        self.command(phone, Command::NetworkLost);
    }

    pub(crate) fn move_network(&mut self, phone: usize) {
        self.silence(phone);
        self.phones[phone].reach = Reach::Online;
        self.phones[phone].network = self.phones[phone].network.wrapping_add(1);
        if self.phones[phone].pace == Pace::Runs {
            self.watch.summonses.expected(self.now, phone);
        }
        self.command(phone, Command::NetworkChanged);
    }

    pub(crate) fn thaw(&mut self, phone: usize) {
        if self.phones[phone].pace == Pace::Runs {
            return;
        }
        self.phones[phone].pace = Pace::Runs;
        self.watch.thawed(self.now, phone);
        self.watch.answers.disturbed(self.now, Some(phone));
        if self.phones[phone].reach == Reach::Online {
            self.watch.summonses.expected(self.now, phone);
        }
        self.check_soon();
        for happening in self.waiting.remove(&phone).unwrap_or_default() {
            self.reach_phone(happening);
        }
    }

    fn links_of(&self, phone: usize) -> Vec<usize> {
        let end = End::Phone(phone, self.phones[phone].lives);
        (0..self.links.len())
            .rev()
            .take(64)
            .filter(|link| self.links[*link].end == end && self.links[*link].state == LinkState::Up)
            .collect()
    }

    // ---- pushes ----------------------------------------------------------------------------------------------

    pub(crate) fn push_delivered(&mut self, token: &str, payload: String) {
        let Some(phone) = self.phones.iter().position(|phone| phone.token.as_deref() == Some(token)) else {
            return;
        };
        let start =
            if self.phones[phone].is_running() { Duration::ZERO } else { self.delivery.process_start };
        self.after(start, Happening::PushTaken(phone, payload));
    }

    pub(crate) fn push_taken(&mut self, phone: usize, payload: String) {
        if !self.phones[phone].is_running() {
            self.start(phone);
        }
        self.thaw(phone);
        self.watch.summonses.taken(self.now, phone);
        if self.phones[phone].reach == Reach::Offline || self.unreachable {
            self.watch.summonses.excused(phone);
        }
        self.command(phone, Command::PushReceived { payload });
    }

    // ---- what reaches a phone --------------------------------------------------------------------------------

    #[expect(clippy::wildcard_enum_match_arm, reason = "four of many happenings reach a phone")]
    pub(crate) fn reach_phone(&mut self, happening: Happening) {
        let link = match &happening {
            Happening::ToPhone(link, _)
            | Happening::Opened(link)
            | Happening::Refused(link)
            | Happening::LostByPhone(link) => *link,
            _ => return,
        };
        let Link { end, phone_flow, transport, local, remote, state, .. } = self.links[link];
        let phone = match end {
            End::Phone(phone, life) if self.phones[phone].lives == life => phone,
            End::Phone(..) => return,
            End::Script(script) => {
                if let Happening::ToPhone(_, bytes) = happening
                    && let Ok(message) = wakeline_sip_message::Message::parse(bytes)
                {
                    self.scripts[script].inbox.push((self.now, message));
                }
                return;
            }
        };
        if self.phones[phone].pace == Pace::Frozen {
            if transport.is_reliable() {
                self.waiting.entry(phone).or_default().push(happening);
            }
            return;
        }
        let info = FlowInfo { id: phone_flow, transport, local, remote };
        let input = match happening {
            Happening::ToPhone(_, bytes) if state.reaches_phone() => {
                if self.is_deaf(phone, link, &bytes) {
                    return;
                }
                if self.watch.reached_phone(self.now, phone, link, &bytes) {
                    self.check_soon();
                }
                Input::Received(Received { flow: info, bytes })
            }
            Happening::Opened(_) if state.reaches_phone() => Input::Opened(info),
            // A connection that is never answered times out, as the I/O has it.
            Happening::Opened(_) if state == LinkState::Silent => {
                self.after(Duration::from_secs(4), Happening::Refused(link));
                return;
            }
            Happening::Refused(_) => {
                self.links[link].state = LinkState::Closed;
                Input::Closed { flow: phone_flow, failure: FlowFailure::Unreachable }
            }
            Happening::LostByPhone(_) if state != LinkState::ClosedByPhone => {
                Input::Closed { flow: phone_flow, failure: FlowFailure::ClosedByPeer }
            }
            _ => return,
        };
        let now = self.now;
        if let Some(agent) = self.phones[phone].agent() {
            agent.handle_input(now, input);
            self.settle_phone(phone);
        }
    }

    // ---- what a phone does -----------------------------------------------------------------------------------

    pub(crate) fn settle_phone(&mut self, phone: usize) {
        for _ in 0..MOST_STEPS {
            let Some(agent) = self.phones[phone].agent() else { return };
            if let Some(output) = agent.poll_output() {
                self.phone_output(phone, output);
            } else if let Some(event) = agent.poll_event() {
                self.phone_event(phone, event);
            } else {
                return;
            }
        }
        self.watch.violated(self.now, format!("phone {phone} never comes to rest"));
    }

    fn phone_event(&mut self, phone: usize, event: Event) {
        let now = self.now;
        if self.timeline.is_some() {
            let text = match &event {
                Event::Rings(call) => format!("phone {phone} RINGS {:?} {:?}", call.call, call.wake_id),
                Event::CallChanged(call) => format!("phone {phone} {:?} {:?}", call.call, call.phase),
                Event::CallEnded(end) => {
                    format!("phone {phone} {:?} ENDED {} {:?}", end.last.call, end.reason, end.code)
                }
                Event::RegistrationChanged(account) => {
                    format!("phone {phone} account {} {:?}", account.account.0, account.phase)
                }
                Event::Woken { leg, .. } => format!("phone {phone} wake {leg:?}"),
                Event::Provisioning { .. }
                | Event::DtmfReceived { .. }
                | Event::OptionsAnswered { .. }
                | Event::Problem(_) => {
                    format!("phone {phone} {event:?}")
                }
            };
            self.note(|| text);
        }
        // Lost datagrams come again by timer; on streams only the way itself takes time.
        let slack = self.news * 4
            + self.weather.longest()
            + Duration::from_millis(60)
            + if self.weather.loss > 0 { Duration::from_secs(40) } else { Duration::ZERO };
        let rings = if let Event::Rings(call) = &event { call.wake_id } else { None };
        let path = rings.map_or(Path::Doubtful, |wake| self.path_of(phone, wake));
        let life = self.phones[phone].lives;
        for event in self.break_told(phone, &event) {
            if self.watch.told(now, phone, life, &event, (path, slack)) {
                self.check_soon();
            }
        }
        if let Event::CallChanged(call) = &event
            && let (CallPhase::Established, Direction::Incoming, Some(wake)) =
                (call.phase, call.direction, call.wake_id)
            && self.weather.loss == 0
        {
            self.watch.answers.answered(now, phone, wake, self.weather.longest());
        }
        if let (Event::Rings(snapshot), Some(after)) = (&event, self.phones[phone].answers_after) {
            let command = Command::Answer { call: snapshot.call };
            self.after(after, Happening::Wish(phone, command));
        }
        if self.recording {
            self.phones[phone].told.push((now, event));
        }
    }

    fn phone_output(&mut self, phone: usize, output: Output) {
        let now = self.now;
        let life = self.phones[phone].lives;
        match output {
            Output::Open { flow, hop, .. } => {
                let number = self.links.len();
                let port = 10_000 + u16::try_from(number % 20_000).unwrap_or(0);
                let place = u8::try_from(phone).unwrap_or(255);
                let local = ([10, self.phones[phone].network, place, 2], port).into();
                let seen_as = if self.phones[phone].behind_nat {
                    ([198, 51, 100, place], port + 20_000).into()
                } else {
                    local
                };
                let node = self.draw_node();
                self.links.push(Link {
                    end: End::Phone(phone, life),
                    phone_flow: flow,
                    gateway_flow: FlowId(0),
                    transport: hop.transport,
                    local,
                    remote: hop.remote,
                    seen_as,
                    state: LinkState::Up,
                    node,
                });
                self.links[number].gateway_flow = self.new_gateway_flow(number);
                self.by_phone_flow.insert((phone, life, flow), number);
                // A datagram flow is open at once; a stream costs a round trip, TLS one more.
                let trips = match hop.transport {
                    Transport::Udp => 0,
                    Transport::Tcp | Transport::Ws => 2,
                    Transport::Tls | Transport::Wss => 4,
                };
                let offline = self.phones[phone].reach == Reach::Offline;
                if offline || self.unreachable || self.gateways[node].standing == Standing::Down {
                    self.after(self.weather.delay * trips, Happening::Refused(number));
                } else {
                    self.after(self.weather.delay * trips, Happening::Opened(number));
                }
            }
            Output::Send(transmit) => {
                if let Some(link) = self.by_phone_flow.get(&(phone, life, transmit.flow)).copied()
                    && let Some(bytes) = self.break_said(phone, link, transmit.bytes)
                {
                    self.carry(link, true, bytes);
                }
            }
            Output::Close(flow) => {
                if let Some(link) = self.by_phone_flow.get(&(phone, life, flow)).copied() {
                    self.lose(link, LinkState::ClosedByPhone, true);
                }
            }
            // No phone of the simulation has a provider.
            Output::Provision { .. } | Output::Configure(_) => {}
            Output::Resolve(question) => {
                let outcome = Err(wakeline_sip_resolve::LookupFailure::NotFound);
                let answer = wakeline_sip_resolve::Answer { question, outcome };
                if let Some(agent) = self.phones[phone].agent() {
                    agent.handle_input(now, Input::Resolved(answer));
                }
            }
            Output::Media { call, request } => {
                for input in media(call, &request) {
                    if let Some(agent) = self.phones[phone].agent() {
                        agent.handle_input(now, input);
                    }
                }
            }
            Output::Remember { key, record } => {
                if record.is_empty() {
                    self.phones[phone].memory.remove(&key);
                } else {
                    self.phones[phone].memory.insert(key, record);
                }
            }
        }
    }
}
