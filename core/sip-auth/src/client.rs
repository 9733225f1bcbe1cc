//! The client side: from a challenge to an answer, and the nonces that are kept (RFC 3261 §22.1 - §22.3, RFC 7616 §3.4).

use serde::{Deserialize, Serialize};
use wakeline_entropy::Entropy;
use wakeline_secret::Secret;
use wakeline_sip_message::{AuthParams, Message, Method, Name};

use crate::algorithm::{Algorithm, Digits};
use crate::credentials::Credentials;
use crate::digest::{Inputs, Qop, same};
use crate::error::AuthError;
use crate::side::{Side, answers, quoted};

/// Realms that are kept.
const MAX_REALMS: usize = 8;
/// Longest nonce, realm or opaque that is answered; a phone does not carry 64 kB of somebody's realm.
const MAX_TEXT: usize = 4096;
/// Times in a row that a server may call its own fresh nonce stale.
const MAX_STALE: u8 = 3;

/// Who asks for our credentials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asker {
    /// The registrar or outbound proxy that the account names, reached as the account says.
    Configured,
    /// Anyone else: the far end of a call, for example. Is never answered (class S1).
    Other,
}

/// The challenges of one account's servers and how often their nonces were used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Session {
    realms: Vec<Realm>,
}

/// A session outside of the process. It holds nonces, no passwords.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SessionMemory {
    realms: Vec<Realm>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Trust {
    /// No request with this nonce has been accepted; the number counts how often it was called stale.
    Fresh(u8),
    /// A request was accepted.
    Proven,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Realm {
    side: Side,
    /// Whether a REGISTER learned it: an origin's challenge to one is not for the far end of a call.
    learned_by: Learned,
    realm: String,
    nonce: Secret,
    opaque: Option<String>,
    algorithm: Algorithm,
    qop: Qop,
    cnonce: Secret,
    count: u32,
    trust: Trust,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Learned {
    Register,
    Other,
}

impl Learned {
    fn by(method: &Method) -> Learned {
        if *method == Method::Register { Learned::Register } else { Learned::Other }
    }
}

impl Session {
    /// No nonce yet.
    pub fn new() -> Session {
        Session::default()
    }

    /// What a cold start needs to answer without being asked.
    pub fn export(&self) -> SessionMemory {
        SessionMemory { realms: self.realms.clone() }
    }

    /// Goes on where a former process stopped.
    pub fn import(memory: SessionMemory) -> Session {
        let mut realms = memory.realms;
        realms.truncate(MAX_REALMS);
        for realm in &mut realms {
            // Whether its last use was accepted was not seen; a refusal now says that the nonce is old, not that the
            // password is wrong.
            realm.trust = Trust::Proven;
        }
        Session { realms }
    }

    /// Forgets everything: the password changed.
    pub fn clear(&mut self) {
        self.realms.clear();
    }

    /// Whether a request can be sent with credentials at once.
    pub fn is_ready(&self) -> bool {
        !self.realms.is_empty()
    }

    /// Takes the challenges of a 401 or 407, of each realm the strongest that can be answered (RFC 8760 §2.4).
    /// `request` is the one that was challenged: whether it carried credentials makes the difference between a nonce
    /// that has grown old and a password that is wrong. On success the request is to be sent again, with a new CSeq and
    /// what [`Session::authorize`] gives.
    pub fn on_challenge(
        &mut self,
        request: &Message,
        response: &Message,
        credentials: &Credentials,
        asker: Asker,
    ) -> Result<(), AuthError> {
        if asker == Asker::Other {
            return Err(AuthError::Untrusted);
        }
        let mut best: Vec<(Realm, bool)> = Vec::new();
        let mut outcome = AuthError::Missing;
        for side in [Side::Origin, Side::Proxy] {
            for challenge in response.challenges(side.challenge()) {
                let read = challenge
                    .map_err(|_| AuthError::Unsupported)
                    .and_then(|challenge| read(&challenge, side, &request.method(), credentials));
                match read {
                    Err(error) => outcome = error,
                    Ok(found) if best.len() < MAX_REALMS => {
                        let known = best
                            .iter_mut()
                            .find(|(other, _)| other.side == side && other.realm == found.0.realm);
                        match known {
                            Some(other) if other.0.algorithm < found.0.algorithm => *other = found,
                            Some(_) => {}
                            None => best.push(found),
                        }
                    }
                    Ok(_) => {}
                }
            }
        }
        if best.is_empty() {
            return Err(outcome);
        }
        for (found, stale) in best {
            self.take(found, stale, request)?;
        }
        Ok(())
    }

    fn take(&mut self, mut found: Realm, stale: bool, request: &Message) -> Result<(), AuthError> {
        let known =
            self.realms.iter_mut().find(|known| known.side == found.side && known.realm == found.realm);
        let Some(known) = known else {
            if self.realms.len() >= MAX_REALMS {
                self.realms.remove(0);
            }
            self.realms.push(found);
            return Ok(());
        };
        match nonce_used(request, found.side, &found.realm) {
            // It carried no credentials of this realm: an ordinary first challenge.
            None => {}
            Some(nonce) => match known.trust {
                Trust::Fresh(rounds) if stale => {
                    if rounds >= MAX_STALE {
                        return Err(AuthError::Loop);
                    }
                    found.trust = Trust::Fresh(rounds + 1);
                }
                // Nothing has ever been accepted, and this nonce was made for us: the secret is wrong. A nonce that
                // was replaced meanwhile tells nothing.
                Trust::Fresh(_) if same(known.nonce.expose().as_bytes(), nonce.as_bytes()) => {
                    known.trust = Trust::Fresh(0);
                    known.count = 0;
                    return Err(AuthError::Rejected);
                }
                Trust::Fresh(_) | Trust::Proven => {}
            },
        }
        *known = found;
        Ok(())
    }

    /// The header fields that authorise a request: one for each realm, with the nonce that is kept and its next count.
    /// `uri` is the request URI as it is written. Only for requests that go to the account's own servers.
    pub fn authorize(
        &mut self,
        method: &Method,
        uri: &str,
        body: &[u8],
        credentials: &Credentials,
        entropy: &mut Entropy,
    ) -> Vec<(Name, String)> {
        let learned = Learned::by(method);
        self.realms
            .iter_mut()
            .filter(|realm| realm.side == Side::Proxy || realm.learned_by == learned)
            .filter(|realm| credentials.realm.as_ref().is_none_or(|wanted| *wanted == realm.realm))
            .filter(|realm| credentials.fits(realm.algorithm))
            .map(|realm| (realm.side.answer(), realm.answer(method, uri, body, credentials, entropy)))
            .collect()
    }

    /// Takes a response that accepted the request's credentials: reads the next nonce, and the server's own proof if it
    /// gives one (RFC 7616 §3.5).
    pub fn on_success(
        &mut self,
        request: &Message,
        response: &Message,
        credentials: &Credentials,
    ) -> Result<(), AuthError> {
        for realm in &mut self.realms {
            let line = match realm.side {
                Side::Origin => response.header(Name::AuthenticationInfo),
                Side::Proxy => response.header_by_name("Proxy-Authentication-Info"),
            };
            let Some(nonce) = nonce_used(request, realm.side, &realm.realm) else { continue };
            if realm.nonce.expose() == nonce {
                realm.trust = Trust::Proven;
            }
            let Some(Ok(info)) = line.map(AuthParams::bare) else { continue };
            if let Some(proof) = info.get("rspauth") {
                let ours = server_proof(realm, request, response, credentials);
                if ours.is_some_and(|ours| !same(ours.as_bytes(), proof.as_bytes())) {
                    return Err(AuthError::NotMutual);
                }
            }
            if let Some(next) = info.next_nonce().filter(|next| !next.is_empty() && is_writable(next)) {
                realm.nonce = Secret::new(next.into_owned());
                realm.cnonce = Secret::default();
                realm.count = 0;
                // It comes from whoever has just accepted us: if it does not hold, it was lost, and we are asked anew.
                realm.trust = Trust::Proven;
            }
        }
        Ok(())
    }
}

impl Realm {
    fn answer(
        &mut self,
        method: &Method,
        uri: &str,
        body: &[u8],
        credentials: &Credentials,
        entropy: &mut Entropy,
    ) -> String {
        if self.cnonce.is_empty() {
            self.cnonce = Secret::new(entropy.token(16));
        }
        self.count = self.count.saturating_add(1);
        let count = format!("{:08x}", self.count);
        let inputs = Inputs {
            algorithm: self.algorithm,
            qop: self.qop,
            nonce: self.nonce.expose(),
            cnonce: self.cnonce.expose(),
            count: &count,
            method: method.as_str(),
            uri,
            body,
        };
        let response = inputs.response(&credentials.ha1(self.algorithm, &self.realm));
        let mut text = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\", algorithm={}",
            quoted(&credentials.username),
            quoted(&self.realm),
            quoted(self.nonce.expose()),
            quoted(uri),
            self.algorithm
        );
        let qop = match self.qop {
            Qop::None => None,
            Qop::Auth => Some("auth"),
            Qop::AuthInt => Some("auth-int"),
        };
        if qop.is_some() || self.algorithm.is_session() {
            text.push_str(&format!(", cnonce={}", quoted(self.cnonce.expose())));
        }
        if let Some(qop) = qop {
            text.push_str(&format!(", qop={qop}, nc={count}"));
        }
        if let Some(opaque) = &self.opaque {
            text.push_str(&format!(", opaque={}", quoted(opaque)));
        }
        text
    }
}

/// One challenge, and whether it calls our nonce stale.
fn read(
    challenge: &AuthParams<'_>,
    side: Side,
    method: &Method,
    credentials: &Credentials,
) -> Result<(Realm, bool), AuthError> {
    let unsupported = AuthError::Unsupported;
    if !challenge.is_digest() {
        return Err(unsupported);
    }
    let algorithm = Algorithm::parse(&challenge.algorithm())
        .filter(|algorithm| credentials.fits(*algorithm))
        .ok_or(AuthError::Unsupported)?;
    let realm = challenge.realm().filter(|text| is_writable(text)).ok_or(AuthError::Unsupported)?;
    let nonce = challenge.nonce().filter(|text| is_writable(text)).ok_or(AuthError::Unsupported)?;
    let opaque = challenge.opaque();
    if opaque.as_ref().is_some_and(|text| !is_writable(text)) {
        return Err(unsupported);
    }
    if credentials.realm.as_ref().is_some_and(|wanted| *wanted != *realm) {
        return Err(AuthError::ForeignRealm);
    }
    // `auth` before `auth-int`: some peers change bodies on the way, and the flow is protected by TLS.
    let qop = if challenge.raw("qop").is_none() {
        Qop::None
    } else if challenge.has_qop("auth") {
        Qop::Auth
    } else if challenge.has_qop("auth-int") {
        Qop::AuthInt
    } else {
        return Err(unsupported);
    };
    let realm = Realm {
        side,
        learned_by: Learned::by(method),
        realm: realm.into_owned(),
        nonce: Secret::new(nonce.into_owned()),
        opaque: opaque.map(|text| text.into_owned()),
        algorithm,
        qop,
        cnonce: Secret::default(),
        count: 0,
        trust: Trust::Fresh(0),
    };
    Ok((realm, challenge.is_stale()))
}

/// The nonce that a request used toward a realm.
fn nonce_used(request: &Message, side: Side, realm: &str) -> Option<String> {
    answers(request, side)
        .find(|answer| answer.realm().is_some_and(|found| found == realm))
        .and_then(|answer| answer.nonce().map(|nonce| nonce.into_owned()))
}

/// What the server must have computed (RFC 7616 §3.5).
fn server_proof(
    realm: &Realm,
    request: &Message,
    response: &Message,
    credentials: &Credentials,
) -> Option<Digits> {
    let answer =
        answers(request, realm.side).find(|answer| answer.realm().is_some_and(|r| r == realm.realm))?;
    let qop = if answer.has_qop("auth-int") {
        Qop::AuthInt
    } else if answer.has_qop("auth") {
        Qop::Auth
    } else {
        Qop::None
    };
    let inputs = Inputs {
        algorithm: Algorithm::parse(&answer.algorithm())?,
        qop,
        nonce: &answer.nonce()?,
        cnonce: &answer.cnonce().unwrap_or_default(),
        count: answer.raw("nc").unwrap_or(""),
        method: "",
        uri: &answer.uri()?,
        body: response.body(),
    };
    Some(inputs.response(&credentials.ha1(inputs.algorithm, &realm.realm)))
}

fn is_writable(text: &str) -> bool {
    text.len() <= MAX_TEXT && !text.chars().any(char::is_control)
}
