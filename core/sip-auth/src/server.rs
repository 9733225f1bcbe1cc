//! The server side: challenges and verdicts (RFC 3261 §22, RFC 7616 §3.3 - §3.5, RFC 8760).

use core::time::Duration;
use std::borrow::Cow;

use wakeline_clock::WallTime;
use wakeline_secret::Secret;
use wakeline_sip_message::{AuthParams, Message, Name, Picked, Uri, nonce_count};

use crate::algorithm::{Algorithm, Digits};
use crate::credentials::Ha1;
use crate::digest::{Inputs, Qop, same};
use crate::nonce::{Mac, NonceUse, Nonces, ReplayMemory, Use};
use crate::side::{Side, push_quoted, quoted};

/// What a request's credentials are worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// They hold.
    Accepted {
        /// Whose they are.
        username: String,
        /// The value of an Authentication-Info for the 2xx, with the next nonce when one is due (RFC 7616 §3.5).
        info: String,
        /// Which use of which nonce this was.
        used: NonceUse,
    },
    /// There are none for this realm, or their nonce has grown old (then *stale*: the password was right).
    Challenge {
        /// For [`Authenticator::challenge`].
        stale: bool,
    },
    /// Unknown user or wrong password, which is the same to the eye and to the clock (class S16): challenge again
    /// without *stale*, or 403.
    Refused,
    /// Right, but used before (class S17): to be challenged again as stale, and worth counting.
    Replay,
    /// Not well-formed, or made for another request: 400.
    Malformed,
}

/// A realm's guard.
pub struct Authenticator {
    realm: String,
    algorithms: Vec<Algorithm>,
    /// One for each algorithm: what stands in for the HA1 of a user who does not exist.
    decoys: Vec<Ha1>,
    lifetime: u64,
    nonces: Nonces,
}

/// Uses after which a nonce is replaced by the next one.
const USES: u32 = 32;

impl Authenticator {
    /// A guard of `realm` that offers `algorithms` in this order. `key` is the secret of its nonces: with the same key
    /// and the [`ReplayMemory`] of before, nonces outlive a restart. `lifetime` must be longer than a phone sleeps.
    pub fn new(
        realm: impl Into<String>,
        algorithms: &[Algorithm],
        key: [u8; 32],
        lifetime: Duration,
        cap: usize,
        started: WallTime,
    ) -> Authenticator {
        let lifetime = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        Authenticator {
            realm: realm.into(),
            algorithms: algorithms.to_vec(),
            decoys: algorithms.iter().map(|algorithm| decoy(&key, *algorithm)).collect(),
            lifetime,
            nonces: Nonces::new(key, lifetime, cap, started),
        }
    }

    /// The realm.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Uses of nonces, for the store.
    pub fn export(&self) -> ReplayMemory {
        self.nonces.export()
    }

    /// Uses of nonces, from the store.
    pub fn import(&mut self, memory: ReplayMemory) {
        self.nonces.import(memory);
    }

    /// For one of several guards with the same key: each begins its nonces at another serial number, so that none is
    /// made twice.
    pub fn begin_nonces_at(&mut self, serial: u32) {
        self.nonces.begin_at(serial);
    }

    /// A use that another guard with the same key has accepted: it is spent here too (class S17).
    pub fn note(&mut self, now: WallTime, seen: NonceUse) {
        self.nonces.note(now, seen);
    }

    /// Nonces whose uses are remembered.
    pub fn remembered(&self) -> usize {
        self.nonces.len()
    }

    /// The header fields of a challenge, one for each algorithm, all with one nonce (RFC 8760 §2.3).
    pub fn challenge(&mut self, now: WallTime, side: Side, stale: bool) -> Vec<(Name, String)> {
        let nonce = self.nonces.make(now);
        let stale = if stale { ", stale=true" } else { "" };
        self.algorithms
            .iter()
            .map(|algorithm| {
                let realm = quoted(&self.realm);
                let text = format!(
                    "Digest realm={realm}, nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}"
                );
                (side.challenge(), text)
            })
            .collect()
    }

    /// Judges a request. `lookup` gives the HA1 of a user for an algorithm (without session binding); its answer for
    /// an unknown user takes the same way through here as that for a known one.
    pub fn verify(
        &mut self,
        now: WallTime,
        request: &Message,
        side: Side,
        lookup: impl FnOnce(&str, Algorithm) -> Option<Ha1>,
    ) -> Verdict {
        let ours = request.headers(side.answer()).find_map(|line| {
            let (answer, picked) = AuthParams::parse_picking(line, Answer::PARAMETERS).ok()?;
            let [realm, ..] = &picked;
            (answer.is_digest() && realm.as_deref() == Some(&self.realm)).then_some(picked)
        });
        let Some(picked) = ours else { return Verdict::Challenge { stale: false } };
        let Some(read) = Answer::of(picked) else { return Verdict::Malformed };
        if !self.algorithms.contains(&read.algorithm) {
            return Verdict::Challenge { stale: false };
        }
        if !is_for(request, &read.uri) {
            return Verdict::Malformed;
        }
        let known = lookup(&read.username, read.algorithm.plain());
        // Whoever does not exist takes the same way, and is never right.
        let mut decoys = self.algorithms.iter().zip(&self.decoys);
        let decoy = decoys.find(|(algorithm, _)| **algorithm == read.algorithm).map(|(_, decoy)| decoy);
        let Some(ha1) = known.as_ref().or(decoy) else { return Verdict::Challenge { stale: false } };
        let method = request.method();
        let mut inputs = Inputs {
            algorithm: read.algorithm,
            qop: read.qop,
            nonce: &read.nonce,
            cnonce: &read.cnonce,
            count: &read.count_text,
            method: method.as_str(),
            uri: &read.uri,
            body: request.body(),
        };
        let mut given = read.response;
        if given.bytes().any(|byte| byte.is_ascii_uppercase()) {
            given.to_mut().make_ascii_lowercase();
        }
        let right = same(inputs.response(ha1).as_bytes(), given.as_bytes());
        if !right || known.is_none() || ha1.algorithm != read.algorithm.plain() {
            return Verdict::Refused;
        }
        let made = match self.nonces.use_once(now, &read.nonce, read.count) {
            Use::New(made) => made,
            Use::Stale => return Verdict::Challenge { stale: true },
            Use::Again => return Verdict::Replay,
        };
        inputs.method = "";
        inputs.body = b"";
        // The server's own proof over the body of a response that is not written yet is left out.
        let mut info = String::new();
        if read.qop == Qop::Auth {
            info.reserve(128 + read.cnonce.len());
            info.push_str("qop=auth, rspauth=\"");
            info.push_str(inputs.response(ha1).as_str());
            info.push_str("\", cnonce=");
            push_quoted(&mut info, &read.cnonce);
            info.push_str(", nc=");
            info.push_str(&read.count_text);
        }
        // Without qop a nonce works once, and so the next one is due at once.
        let aged = now.0.saturating_sub(made.at) > self.lifetime / 4;
        if aged || read.count >= USES || read.qop == Qop::None {
            if !info.is_empty() {
                info.push_str(", ");
            }
            info.push_str(&format!("nextnonce=\"{}\"", self.nonces.make(now)));
        }
        let used = NonceUse::of(made, read.count);
        Verdict::Accepted { username: read.username.into_owned(), info, used }
    }
}

/// A secret that is nobody's.
fn decoy(key: &[u8; 32], algorithm: Algorithm) -> Ha1 {
    let digits = Digits::of(&Mac::new(key).of(algorithm.as_str().as_bytes()));
    let digits = digits.as_str().get(..algorithm.digits()).unwrap_or("");
    Ha1 { algorithm: algorithm.plain(), digits: Secret::from(digits) }
}

struct Answer<'a> {
    username: Cow<'a, str>,
    algorithm: Algorithm,
    qop: Qop,
    nonce: Cow<'a, str>,
    cnonce: Cow<'a, str>,
    count: u32,
    count_text: Cow<'a, str>,
    uri: Cow<'a, str>,
    response: Cow<'a, str>,
}

impl<'a> Answer<'a> {
    /// What is read of credentials, in this order.
    const PARAMETERS: [&'static str; 9] =
        ["realm", "username", "algorithm", "qop", "nonce", "cnonce", "nc", "uri", "response"];

    fn of(picked: Picked<'a, 9>) -> Option<Answer<'a>> {
        let [_, username, algorithm, qop, nonce, cnonce, count_text, uri, response] = picked;
        let qop = match qop {
            None => Qop::None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Qop::Auth,
            Some(qop) if qop.eq_ignore_ascii_case("auth-int") => Qop::AuthInt,
            Some(_) => return None,
        };
        let count = count_text.as_deref().and_then(nonce_count);
        // RFC 7616 §3.3: MD5 where none is named.
        let algorithm = Algorithm::parse(algorithm.as_deref().unwrap_or("MD5"))?;
        // RFC 7616 §3.4: with qop both must be there; a session is bound to cnonce.
        if qop != Qop::None && (count.is_none() || cnonce.is_none())
            || algorithm.is_session() && cnonce.is_none()
        {
            return None;
        }
        Some(Answer {
            username: username?,
            algorithm,
            qop,
            nonce: nonce?,
            cnonce: cnonce.unwrap_or_default(),
            count: count.unwrap_or(1),
            count_text: count_text.unwrap_or_default(),
            uri: uri?,
            response: response?,
        })
    }
}

/// Whether credentials were made for this request's URI (RFC 7616 §3.4.6).
fn is_for(request: &Message, uri: &str) -> bool {
    request.request_uri_text() == uri
        || match (request.request_uri(), Uri::parse(uri)) {
            (Ok(one), Ok(two)) => one.equivalent(&two),
            (Err(_), _) | (_, Err(_)) => false,
        }
}
