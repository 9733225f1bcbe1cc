//! Registrations of our own at an upstream: for accounts whose credential the gateway keeps.
//!
//! A PBX that insists on short expiries sees one device that refreshes in time, for as long as any of the account's phones
//! is bound here; the phones sleep, and prove themselves to us (RFC 3261 §10.2; digest by RFC 7616). Calls come in under
//! the sealed name of the address of record and go to all of its devices. What goes out is authorised with the same
//! credential, and with the nonces that this registration has learned.

use core::time::Duration;

use sha2::{Digest, Sha256};
use wakeline_clock::Time;
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_sip_transaction::{ClientKey, Key};

use super::PATIENCE;
use crate::account::UpstreamCredential;
use crate::context::Lost;
use crate::deadline::Due;
use crate::machine::Registrar;
use crate::number::{AorId, UpstreamId};
use crate::seal::Purpose;
use crate::trace::Leg;
use crate::uplink::{Line, LineStanding, Outage, Wish};

/// The longest wait after failures; the first is five seconds.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// An upstream that refuses the credential is asked again this seldom: somebody has to mend it.
const REFUSED_WAIT: Duration = Duration::from_secs(1800);
/// Challenges in a row that are answered for one registration.
const MOST_CHALLENGES: u8 = 3;
/// Starting together, lines are spread: this long for each that is there.
const SPREAD_MILLIS: u64 = 5;

/// What a line's Contact stands for, the same after a restart.
pub(crate) fn line_name(aor: &str) -> u64 {
    let digest = Sha256::digest(aor.as_bytes());
    let mut word = [0; 8];
    word.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(word)
}

impl Registrar {
    /// Gives an address of an upstream a line, or new credentials to the one it has.
    pub(crate) fn put_line(&mut self, now: Time, aor: AorId, credential: UpstreamCredential) {
        let Some(name) = self.accounts.get(aor).map(|entry| entry.name().to_owned()) else { return };
        let Some(upstream) = self.upstreams.of_aor(&name) else { return };
        let expires = self.upstreams.get(upstream).map_or(600, |one| one.line_expires);
        let credentials = Credentials::password(credential.username, credential.password);
        match self.upstreams.lines.get_mut(&aor) {
            Some(line) if line.credentials == credentials => return,
            Some(line) => {
                line.credentials = credentials;
                line.session.clear();
                line.failures = 0;
            }
            None => {
                let line = Line {
                    upstream,
                    credentials,
                    session: Session::new(),
                    call_id: self.entropy.token(24),
                    tag: self.entropy.token(10),
                    cseq: 0,
                    expires,
                    standing: LineStanding::Idle,
                    failures: 0,
                    armed: Time::NEVER,
                };
                self.upstreams.lines.insert(aor, Box::new(line));
                self.upstreams.by_line.insert(line_name(&name), aor);
            }
        }
        self.line_due(now, aor);
    }

    /// Whether an address has a line, and where.
    pub(crate) fn line_of(&self, aor: AorId) -> Option<UpstreamId> {
        self.upstreams.lines.get(&aor).map(|line| line.upstream)
    }

    /// Who is meant by the name in our Contact.
    pub(crate) fn aor_by_line(&self, user: &str) -> Option<AorId> {
        let name = self.seal.open(Purpose::UpstreamLine, user)?;
        self.upstreams.by_line.get(&name).copied()
    }

    /// The account is gone. The upstream forgets us when the expiry is over.
    pub(crate) fn remove_line(&mut self, aor: AorId) {
        let Some(mut line) = self.upstreams.lines.remove(&aor) else { return };
        self.deadlines.rearm(&mut line.armed, Time::NEVER, Due::Line(aor));
        if let LineStanding::Asking { client, .. } = line.standing {
            self.upstreams.asking.remove(&client);
            self.transactions.abandon(Key::Client(client));
        }
        self.upstreams.by_line.retain(|_, known| *known != aor);
    }

    /// Every line of an upstream, whose next hop can be sent to now: spread, so that they do not all speak at once. After
    /// an outage the upstream may have forgotten those that were bound.
    pub(crate) fn lines_wake(&mut self, now: Time, upstream: UpstreamId, outage: Outage) {
        let count = u64::try_from(self.upstreams.lines.len()).unwrap_or(u64::MAX);
        let span = Duration::from_millis(count.saturating_mul(SPREAD_MILLIS).min(30_000));
        for (aor, line) in &mut self.upstreams.lines {
            if line.upstream != upstream {
                continue;
            }
            let soon = now + self.entropy.between(Duration::ZERO, span);
            line.standing = match (line.standing, outage) {
                (LineStanding::Idle | LineStanding::Waiting { .. }, _) => {
                    LineStanding::Waiting { until: soon }
                }
                (LineStanding::Bound { refresh }, Outage::Over) => {
                    LineStanding::Bound { refresh: refresh.min(soon) }
                }
                (LineStanding::Asking { .. } | LineStanding::Bound { .. }, _) => continue,
            };
            self.deadlines.rearm(&mut line.armed, soon, Due::Line(*aor));
        }
    }

    fn line_wish(&self, aor: AorId) -> Wish {
        let bound = self.accounts.get(aor).is_some_and(|entry| !entry.bindings.is_empty());
        if bound { Wish::Bound } else { Wish::Gone }
    }

    /// A phone of this address was bound, or the last one left; or the line's own time has come.
    pub(crate) fn line_due(&mut self, now: Time, aor: AorId) {
        let wish = self.line_wish(aor);
        let Some(line) = self.upstreams.lines.get_mut(&aor) else { return };
        let act = match (line.standing, wish) {
            (LineStanding::Idle, Wish::Bound) | (LineStanding::Bound { .. }, Wish::Gone) => true,
            (LineStanding::Idle, Wish::Gone) => false,
            (LineStanding::Bound { refresh }, Wish::Bound) => refresh <= now,
            (LineStanding::Waiting { .. }, Wish::Gone) => {
                line.standing = LineStanding::Idle;
                false
            }
            (LineStanding::Waiting { until }, Wish::Bound) => until <= now,
            (LineStanding::Asking { silent_at, client, .. }, _) => {
                if silent_at <= now {
                    self.transactions.abandon(Key::Client(client));
                    self.line_lost(now, client, Lost::Silence);
                    return;
                }
                false
            }
        };
        if act {
            self.ask_for_line(now, aor, wish, 0);
        } else {
            self.arm_line(aor);
        }
    }

    fn arm_line(&mut self, aor: AorId) {
        let Some(line) = self.upstreams.lines.get_mut(&aor) else { return };
        let next = match line.standing {
            LineStanding::Idle => Time::NEVER,
            LineStanding::Asking { silent_at, .. } => silent_at,
            LineStanding::Bound { refresh } => refresh,
            LineStanding::Waiting { until } => until,
        };
        self.deadlines.rearm(&mut line.armed, next, Due::Line(aor));
    }

    /// Sends one REGISTER of a line.
    fn ask_for_line(&mut self, now: Time, aor: AorId, wish: Wish, challenges: u8) {
        let Some((user, domain)) = self
            .accounts
            .get(aor)
            .map(|entry| (crate::answer::escape_user(entry.user()), entry.domain().to_owned()))
        else {
            return;
        };
        let name = self.accounts.get(aor).map_or(0, |entry| line_name(entry.name()));
        let Some(upstream) = self.line_of(aor) else { return };
        let Some(hop) = self.upstreams.open(upstream, &[]) else {
            return self.line_waits(now, aor, wish, None);
        };
        let contact = self.contact_under(&self.seal.fixed(Purpose::UpstreamLine, name), &hop);
        let Some(line) = self.upstreams.lines.get_mut(&aor) else { return };
        line.cseq += 1;
        let expires = match wish {
            Wish::Bound => line.expires,
            Wish::Gone => 0,
        };
        let uri = format!("sip:{domain}");
        let lines =
            line.session.authorize(&Method::Register, &uri, b"", &line.credentials, &mut self.entropy);
        let request = Builder::request(Method::Register, &uri)
            .header(Name::From, format!("<sip:{user}@{domain}>;tag={}", line.tag))
            .header(Name::To, format!("<sip:{user}@{domain}>"))
            .header(Name::CallId, &line.call_id)
            .header(Name::CSeq, format!("{} REGISTER", line.cseq))
            .header(Name::Contact, format!("{contact};expires={expires}"))
            .header(Name::Expires, expires)
            .headers(lines)
            .build();
        let sent_by = self.sent_by(&hop);
        let sent = request
            .ok()
            .and_then(|request| self.transactions.send_of_any_size(now, request, &hop, &sent_by).ok());
        let Some(client) = sent else { return self.line_waits(now, aor, wish, None) };
        self.upstreams.asking.insert(client, aor);
        if let Some(line) = self.upstreams.lines.get_mut(&aor) {
            let silent_at = now + PATIENCE;
            line.standing = LineStanding::Asking { client, hop: hop.id, wish, challenges, silent_at };
        }
        self.arm_line(aor);
    }

    /// It did not work: again after a while, a little longer each time. A line that wants to go is not worth that.
    fn line_waits(&mut self, now: Time, aor: AorId, wish: Wish, wait: Option<Duration>) {
        let Some(line) = self.upstreams.lines.get_mut(&aor) else { return };
        let after = FIRST_WAIT * (1 << u32::from(line.failures.min(6)));
        line.failures = line.failures.saturating_add(1);
        line.standing = match wish {
            Wish::Bound => LineStanding::Waiting { until: now + wait.unwrap_or(after.min(LONGEST_WAIT)) },
            Wish::Gone => LineStanding::Idle,
        };
        self.arm_line(aor);
    }

    /// A response to one of our own REGISTERs; `false` if it is none.
    pub(crate) fn on_line_response(&mut self, now: Time, client: ClientKey, response: &Message) -> bool {
        let Some(aor) = self.upstreams.asking.get(&client).copied() else { return false };
        let status = response.status().unwrap_or(0);
        let Some(line) = self.upstreams.lines.get_mut(&aor) else { return true };
        let LineStanding::Asking { wish, hop, challenges, client: asked, silent_at: _ } = line.standing
        else {
            return true;
        };
        if asked != client {
            return true;
        }
        if status < 200 {
            // It is there and works on it; the transaction's own timer ends the wait.
            line.standing = LineStanding::Asking { client, hop, wish, challenges, silent_at: Time::NEVER };
            self.arm_line(aor);
            return true;
        }
        self.hop_answered(hop);
        self.upstreams.asking.remove(&client);
        match status {
            200..=299 => self.line_granted(now, aor, wish, response),
            401 | 407 if challenges < MOST_CHALLENGES && self.learn(aor, &Method::Register, response) => {
                self.ask_for_line(now, aor, wish, challenges + 1);
            }
            423 if challenges < MOST_CHALLENGES && wish == Wish::Bound => {
                let least = response.min_expires().ok().flatten();
                if let (Some(least), Some(line)) = (least, self.upstreams.lines.get_mut(&aor)) {
                    line.expires = line.expires.max(least);
                }
                self.ask_for_line(now, aor, wish, challenges + 1);
            }
            401 | 403 | 404 | 407 => {
                self.trace(now, None, Leg::LineRefused(status));
                self.line_waits(now, aor, wish, Some(REFUSED_WAIT));
            }
            _ => self.line_waits(now, aor, wish, None),
        }
        true
    }

    /// Takes a challenge to a request that we authorise for this address; whether it can be answered.
    pub(crate) fn learn(&mut self, aor: AorId, method: &Method, response: &Message) -> bool {
        let Some(line) = self.upstreams.lines.get_mut(&aor) else { return false };
        // Whoever sends again counts its attempts; so every challenge is taken for a first one.
        let Ok(unproved) = Builder::request(method.clone(), "sip:upstream.invalid")
            .copy(response, Name::From)
            .copy(response, Name::To)
            .copy(response, Name::CallId)
            .copy(response, Name::CSeq)
            .build()
        else {
            return false;
        };
        line.session.on_challenge(&unproved, response, &line.credentials, Asker::Configured).is_ok()
    }

    /// What authorises a request of this address at its upstream, with the nonces that are known.
    pub(crate) fn authorised_by_line(&mut self, aor: AorId, request: &Message) -> Vec<(Name, String)> {
        let Some(line) = self.upstreams.lines.get_mut(&aor) else { return Vec::new() };
        let method = request.method();
        line.session.authorize(
            &method,
            request.request_uri_text(),
            request.body(),
            &line.credentials,
            &mut self.entropy,
        )
    }

    fn line_granted(&mut self, now: Time, aor: AorId, wish: Wish, response: &Message) {
        let name = self.accounts.get(aor).map_or(0, |entry| line_name(entry.name()));
        let Some(asked) = self.upstreams.lines.get(&aor).map(|line| line.expires) else { return };
        let granted = self.lifetime_from(response, Purpose::UpstreamLine, name, asked);
        let Some(line) = self.upstreams.lines.get_mut(&aor) else { return };
        line.failures = 0;
        line.standing = match wish {
            Wish::Gone => LineStanding::Idle,
            // Four fifths of it, and not less than ten seconds: an upstream that grants nothing is not asked in a circle.
            Wish::Bound => {
                let lifetime = Duration::from_secs(u64::from(granted));
                LineStanding::Bound { refresh: now + (lifetime * 4 / 5).max(Duration::from_secs(10)) }
            }
        };
        match wish {
            Wish::Bound => self.trace(now, None, Leg::LineBound),
            Wish::Gone => {}
        }
        // The wish may have changed while the REGISTER was on its way.
        self.line_due(now, aor);
    }

    /// No answer to one of our own REGISTERs; `false` if it is none.
    pub(crate) fn line_lost(&mut self, now: Time, client: ClientKey, lost: Lost) -> bool {
        let Some(aor) = self.upstreams.asking.remove(&client) else { return false };
        let Some(line) = self.upstreams.lines.get(&aor) else { return true };
        let LineStanding::Asking { wish, hop, client: asked, .. } = line.standing else { return true };
        if asked != client {
            return true;
        }
        match lost {
            Lost::Silence => self.hop_silent(now, hop),
            Lost::Flow => {}
        }
        // Another next hop at once, if one is up.
        let other = self.upstreams.lines.get(&aor).and_then(|line| self.upstreams.open(line.upstream, &[]));
        match other {
            Some(_) => self.ask_for_line(now, aor, wish, 0),
            None => self.line_waits(now, aor, wish, None),
        }
        true
    }
}
