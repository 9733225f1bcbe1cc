//! Provisioning step by step: one link, or one question for newer settings, to its end.

use std::collections::VecDeque;

use serde_json::json;
use wakeline_clock::WallTime;
use wakeline_secret::Secret;

use super::address::HttpsAddress;
use super::consent::Consent;
use super::error::{FetchFailure, ProvisionError};
use super::grant::{Grant, TrustedKey};
use super::link::Link;
use super::signed::{Claims, SignatureCheck, SignedObject, Verdict, key_set};

/// Where a provider publishes its keys: a place that needs no trust in what is to be checked with them.
const KEYS: &str = "/.well-known/jwks.json";
/// How often an exchange is asked for whose answer got lost; the provider takes it for the same one for ten minutes.
const EXCHANGES: u8 = 3;

/// A request to a provider; an answer is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Where to.
    pub address: HttpsAddress,
    /// What is sent.
    pub body: Body,
}

/// The kind of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// GET.
    None,
    /// POST of `application/json`. It holds a code or a key.
    Json(Secret),
}

/// What a provider answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as text. It may hold a password.
    pub body: Secret,
}

/// What is to be done for the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Ask the provider; answered by [`Provisioning::handle_answer`].
    Fetch(Request),
    /// Check a signature; answered by [`Provisioning::handle_verdict`].
    Check(SignatureCheck),
}

/// What a person answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// Yes.
    Given,
    /// No.
    Refused,
}

/// What the machine tells.
#[derive(Clone, PartialEq, Debug)]
pub enum Told {
    /// A person must agree; answered by [`Provisioning::handle_agreement`]. A second time when the signed settings are
    /// not those that were shown.
    Ask(Consent),
    /// These settings are to be used.
    Granted(Box<Grant>),
    /// What is in use is the newest.
    Same,
    /// The settings are to be used no longer: the provider said so itself, over TLS.
    Withdrawn,
    /// It failed; what is in use stays.
    Failed(ProvisionError),
}

/// What a signed object is for.
#[derive(Clone, PartialEq, Debug)]
enum Purpose {
    /// A person has agreed to this.
    First { link: Link, shown: Consent },
    /// In place of these settings.
    Newer { grant: Box<Grant> },
}

#[derive(Clone, PartialEq, Debug)]
enum Stage {
    /// Asked what the code would set.
    Previewing { link: Link },
    /// The person is asked.
    Asking { link: Link, shown: Consent },
    /// The code is being exchanged.
    Exchanging { link: Link, shown: Consent, left: u8 },
    /// Newer settings are asked for.
    Fetching { grant: Box<Grant> },
    /// The keys are asked for.
    LoadingKeys { purpose: Purpose, object: SignedObject },
    /// A signature is being checked.
    Checking { purpose: Purpose, object: SignedObject, key: TrustedKey },
    /// The person is asked again: it is something else than was shown.
    AskingAgain { grant: Box<Grant> },
    /// It is over.
    Over,
}

/// One run of provisioning. It is over after any [`Told`] but [`Told::Ask`].
#[derive(Debug)]
pub struct Provisioning {
    stage: Stage,
    device_key: Secret,
    wishes: VecDeque<Wish>,
    told: VecDeque<Told>,
}

impl Provisioning {
    /// Follows a link. `device_key` is what this phone will be known by: at least 128 unguessable bits, in 22 to 128
    /// printable characters.
    pub fn open(link: Link, device_key: Secret) -> Provisioning {
        let body = json!({ "code": link.code.expose() });
        let wish = post(link.provider.at("/provision/preview"), &body);
        Provisioning {
            stage: Stage::Previewing { link },
            device_key,
            wishes: VecDeque::from([wish]),
            told: VecDeque::new(),
        }
    }

    /// Asks for newer settings than these.
    pub fn renew(grant: Grant) -> Provisioning {
        let body = json!({ "id": grant.id, "device_key": grant.device_key.expose(), "serial": grant.serial });
        let mut run = Provisioning {
            device_key: grant.device_key.clone(),
            wishes: VecDeque::new(),
            told: VecDeque::new(),
            stage: Stage::Over,
        };
        match HttpsAddress::parse(&grant.fetch) {
            Some(address) => {
                run.wishes.push_back(post(address, &body));
                run.stage = Stage::Fetching { grant: Box::new(grant) };
            }
            None => run.told.push_back(Told::Failed(ProvisionError::BadAddress)),
        }
        run
    }

    /// The next thing that is to be done.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// The next thing that there is to tell.
    pub fn poll_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// Whether nothing comes any more.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over && self.told.is_empty() && self.wishes.is_empty()
    }

    /// The answer to a [`Wish::Fetch`], or why there is none.
    pub fn handle_answer(&mut self, answer: Result<Answer, FetchFailure>) {
        let stage = core::mem::replace(&mut self.stage, Stage::Over);
        if let (Stage::Exchanging { link, shown, left: left @ 1.. }, Err(failure)) = (&stage, &answer) {
            let may_pass = match failure {
                FetchFailure::Unreachable | FetchFailure::TimedOut | FetchFailure::Broken => true,
                FetchFailure::NoSuchServer | FetchFailure::CertificateRefused | FetchFailure::TooLong => {
                    false
                }
            };
            if may_pass {
                return self.exchange(link.clone(), shown.clone(), left - 1);
            }
        }
        let next = answer.map_err(ProvisionError::NoAnswer).and_then(|answer| self.answered(stage, &answer));
        self.go(next);
    }

    /// What came of a [`Wish::Check`].
    pub fn handle_verdict(&mut self, now: WallTime, verdict: Verdict) {
        let stage = core::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Checking { purpose, object, key } = stage else {
            self.stage = stage;
            return;
        };
        let next = match verdict {
            Verdict::Good => self.checked(now, purpose, &object, key),
            Verdict::Bad => Err(ProvisionError::BadSignature),
        };
        self.go(next);
    }

    /// What the person answered. Ignored when nobody was asked.
    pub fn handle_agreement(&mut self, agreement: Agreement) {
        let stage = core::mem::replace(&mut self.stage, Stage::Over);
        match (stage, agreement) {
            (Stage::Asking { link, shown }, Agreement::Given) => self.exchange(link, shown, EXCHANGES - 1),
            (Stage::AskingAgain { grant }, Agreement::Given) => self.told.push_back(Told::Granted(grant)),
            (Stage::Asking { .. } | Stage::AskingAgain { .. }, Agreement::Refused) => {
                self.told.push_back(Told::Failed(ProvisionError::Declined));
            }
            (
                stage @ (Stage::Previewing { .. }
                | Stage::Exchanging { .. }
                | Stage::Fetching { .. }
                | Stage::LoadingKeys { .. }
                | Stage::Checking { .. }
                | Stage::Over),
                Agreement::Given | Agreement::Refused,
            ) => self.stage = stage,
        }
    }

    fn go(&mut self, next: Result<Stage, ProvisionError>) {
        match next {
            Ok(stage) => self.stage = stage,
            Err(error) => self.told.push_back(Told::Failed(error)),
        }
    }

    fn exchange(&mut self, link: Link, shown: Consent, left: u8) {
        let body = json!({
            "code": link.code.expose(),
            "device_key": self.device_key.expose(),
            "consent": true,
        });
        self.wishes.push_back(post(link.provider.at("/provision/exchange"), &body));
        self.stage = Stage::Exchanging { link, shown, left };
    }

    fn answered(&mut self, stage: Stage, answer: &Answer) -> Result<Stage, ProvisionError> {
        let body = answer.body.expose();
        match stage {
            Stage::Previewing { link } => {
                accepted(answer.status, ProvisionError::UnknownCode)?;
                let shown = Consent::of_preview(link.host(), body)?;
                self.told.push_back(Told::Ask(shown.clone()));
                Ok(Stage::Asking { link, shown })
            }
            Stage::Exchanging { link, shown, .. } => {
                accepted(answer.status, ProvisionError::UnknownCode)?;
                let object = SignedObject::read(body)?;
                Ok(self.load_keys(link.provider.clone(), Purpose::First { link, shown }, object))
            }
            Stage::Fetching { grant } => match answer.status {
                204 => {
                    self.told.push_back(Told::Same);
                    Ok(Stage::Over)
                }
                410 => {
                    self.told.push_back(Told::Withdrawn);
                    Ok(Stage::Over)
                }
                status => {
                    accepted(status, ProvisionError::Forgotten)?;
                    let object = SignedObject::read(body)?;
                    let provider = HttpsAddress::parse(&grant.issuer).ok_or(ProvisionError::BadAddress)?;
                    let (key, purpose) = (grant.key.clone(), Purpose::Newer { grant });
                    if key.kid == object.kid {
                        return self.check(purpose, object, key);
                    }
                    Ok(self.load_keys(provider, purpose, object))
                }
            },
            Stage::LoadingKeys { purpose, object } => {
                accepted(answer.status, ProvisionError::NoKeys)?;
                let keys = key_set(body)?;
                if let Purpose::Newer { grant } = &purpose
                    && !keys.contains(&grant.key)
                {
                    // A provider that changes its key goes on publishing the former.
                    return Err(ProvisionError::StrangeKey);
                }
                let key = keys.into_iter().find(|key| key.kid == object.kid);
                self.check(purpose, object, key.ok_or(ProvisionError::UnknownKey)?)
            }
            // Nothing was asked.
            stage @ (Stage::Asking { .. }
            | Stage::Checking { .. }
            | Stage::AskingAgain { .. }
            | Stage::Over) => Ok(stage),
        }
    }

    fn load_keys(&mut self, provider: HttpsAddress, purpose: Purpose, object: SignedObject) -> Stage {
        self.wishes.push_back(Wish::Fetch(Request { address: provider.at(KEYS), body: Body::None }));
        Stage::LoadingKeys { purpose, object }
    }

    fn check(
        &mut self,
        purpose: Purpose,
        object: SignedObject,
        key: TrustedKey,
    ) -> Result<Stage, ProvisionError> {
        self.wishes.push_back(Wish::Check(object.check(&key)?));
        Ok(Stage::Checking { purpose, object, key })
    }

    /// The signature is good: is it also for us, of now, and what was agreed to?
    fn checked(
        &mut self,
        now: WallTime,
        purpose: Purpose,
        object: &SignedObject,
        key: TrustedKey,
    ) -> Result<Stage, ProvisionError> {
        let claims = object.claims()?;
        match purpose {
            Purpose::First { link, shown } => {
                claims.hold(&link.provider, now)?;
                let grant = self.granted(claims, key);
                let truly = grant.consent();
                if truly == shown {
                    self.told.push_back(Told::Granted(Box::new(grant)));
                    return Ok(Stage::Over);
                }
                self.told.push_back(Told::Ask(truly));
                Ok(Stage::AskingAgain { grant: Box::new(grant) })
            }
            Purpose::Newer { grant } => {
                let provider = HttpsAddress::parse(&grant.issuer).ok_or(ProvisionError::BadAddress)?;
                claims.hold(&provider, now)?;
                if claims.id != grant.id {
                    return Err(ProvisionError::OtherGrant);
                }
                if claims.serial < grant.serial {
                    return Err(ProvisionError::Outdated);
                }
                let grant = self.granted(claims, key);
                self.told.push_back(Told::Granted(Box::new(grant)));
                Ok(Stage::Over)
            }
        }
    }

    fn granted(&self, claims: Claims, key: TrustedKey) -> Grant {
        Grant {
            issuer: claims.issuer.to_string(),
            id: claims.id,
            name: claims.name.filter(|name| !name.is_empty()).map(|name| crate::diagnosis::one_line(&name)),
            serial: claims.serial,
            device_key: self.device_key.clone(),
            key,
            fetch: claims.fetch.to_string(),
            parameters: claims.parameters,
        }
    }
}

fn post(address: HttpsAddress, body: &serde_json::Value) -> Wish {
    Wish::Fetch(Request { address, body: Body::Json(Secret::new(body.to_string())) })
}

/// 200, or why not; `unknown` is what a 404 means here.
fn accepted(status: u16, unknown: ProvisionError) -> Result<(), ProvisionError> {
    match status {
        200 => Ok(()),
        404 => Err(unknown),
        429 => Err(ProvisionError::TooOften),
        300..=399 => Err(ProvisionError::Redirected(status)),
        _ => Err(ProvisionError::Refused(status)),
    }
}

#[cfg(test)]
mod tests;
