//! The office that makes and redeems grants: what is kept, what is stored, and what the registrar is told.
//!
//! Where several nodes share a store, what stands there is the truth: a grant is read, changed and written back only if it
//! still is what was read (so a code works once in all), and the others are told which grant to read again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wakeline_clock::{WallTime, system};
use wakeline_secret::Secret;
use wakeline_settings::{Settings, Source, parameter};

use super::attempts::Attempts;
use super::code::{Code, Mark, draw_name};
use super::grants::{Fetched, Grant, Grants, Issue, NoLink, Parameters, Stage, Unknown, after};
use super::ledger::{Away, Book, Ledger};
use super::page;
use super::signer::Signer;
use crate::config::Provision;
use crate::server::Command;
use crate::store::Row;

/// How long a signed object may be applied: it is meant for now.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// What an operator hands in.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) label: String,
    /// `user@domain`, when it cannot be taken from the parameters.
    pub(super) aor: Option<String>,
    pub(super) hours: Option<u32>,
    /// A JSON object of parameters.
    pub(super) parameters: Value,
}

/// A wish that can be granted.
struct Wanted {
    parameters: Parameters,
    aor: (String, String),
    remarks: Vec<String>,
}

/// Why a wish is not granted.
#[derive(Debug)]
pub(super) enum Denied {
    /// These parameters cannot work.
    Parameters(Vec<String>),
    /// There are too many grants.
    Full,
    /// There is no such grant.
    Unknown,
    /// It cannot be linked to.
    NoLink(NoLink),
    /// The system gives no randomness.
    NoEntropy,
    /// The store does not answer.
    Away,
}

impl From<Unknown> for Denied {
    fn from(_: Unknown) -> Denied {
        Denied::Unknown
    }
}

impl From<NoLink> for Denied {
    fn from(why: NoLink) -> Denied {
        Denied::NoLink(why)
    }
}

impl From<Away> for Denied {
    fn from(_: Away) -> Denied {
        Denied::Away
    }
}

/// A link that was made.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    id: String,
    code: String,
    link: String,
    /// The page that shows it as a QR code.
    qr: String,
    svg: String,
    valid_until_ms: u64,
    /// What was set and does nothing, or not what was wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
}

/// What an address is told that may not try now.
#[derive(Debug)]
pub(super) struct TooOften;

/// What all of it stands on.
#[derive(Debug)]
pub(crate) struct Office {
    pub(super) settings: Provision,
    domains: Vec<String>,
    state: Mutex<Book>,
    attempts: Mutex<Attempts>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Office {
    pub(crate) fn new(
        settings: Provision,
        domains: Vec<String>,
        rows: &[Row],
        signer: Signer,
        ledger: Ledger,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Office {
        let attempts = Mutex::new(Attempts::new(settings.attempts_per_minute));
        let state = Mutex::new(Book::new(Grants::load(rows), signer, ledger));
        let office = Office { settings, domains, state, attempts, commands };
        let mut state = office.locked();
        state.sweep(system::wall());
        let aors: Vec<_> = state.grants.iter().map(|grant| grant.aor.clone()).collect();
        for aor in aors {
            office.tell(&state.grants, &aor);
        }
        drop(state);
        office
    }

    fn locked(&self) -> MutexGuard<'_, Book> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time do its work: what nobody is to fetch any more goes, with its password, whether somebody asks or not.
    pub(crate) fn tidy(&self) {
        self.locked().sweep(system::wall());
    }

    /// Another node has changed a grant.
    pub(crate) fn heard(&self, id: &str, row: Option<&Row>) {
        let mut state = self.locked();
        let before = state.grants.get(id).map(|grant| grant.aor.clone());
        state.grants.put(id, row);
        let after = state.grants.get(id).map(|grant| grant.aor.clone());
        for aor in before.iter().chain(after.iter()) {
            self.tell(&state.grants, aor);
        }
    }

    /// All that stands in the store, after news may have been missed.
    pub(crate) fn heard_all(&self, rows: &[Row]) {
        let mut state = self.locked();
        let mut aors: BTreeSet<_> = state.grants.iter().map(|grant| grant.aor.clone()).collect();
        state.grants = Grants::load(rows);
        aors.extend(state.grants.iter().map(|grant| grant.aor.clone()));
        for aor in &aors {
            self.tell(&state.grants, aor);
        }
    }

    /// Tells the registrar what the next 200s to an address of record's REGISTERs say.
    fn tell(&self, grants: &Grants, aor: &(String, String)) {
        let (user, domain) = aor.clone();
        let _ = self.commands.send(Command::SettingsNews { user, domain, news: grants.news(aor) });
    }

    /// The same for the address of record of a grant.
    fn tell_of(&self, state: &Book, id: &str) {
        if let Some(grant) = state.grants.get(id) {
            self.tell(&state.grants, &grant.aor);
        }
    }

    /// Whether this address may try.
    pub(super) fn may_try(&self, address: IpAddr) -> Result<(), TooOften> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.may_try(system::now(), address) { Ok(()) } else { Err(TooOften) }
    }

    /// It tried and was wrong.
    pub(super) fn wrong(&self, address: IpAddr) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).wrong(system::now(), address);
    }

    /// Checks parameters; gives them as they are in force, the address of record they register, and remarks.
    fn read(&self, wish: &Wish) -> Result<Wanted, Denied> {
        let mut settings = Settings::new();
        let read = settings.read_json(&wish.parameters.to_string(), Source::Server);
        let mut errors: Vec<String> = read.err().iter().map(ToString::to_string).collect();
        let (wrong, remarks): (Vec<_>, Vec<_>) =
            settings.take_diagnoses().into_iter().partition(wakeline_settings::Diagnosis::is_error);
        errors.extend(wrong.iter().map(ToString::to_string));
        let account = settings.account();
        if account.server.is_none() {
            errors.push("serveraddress: it is missing; a phone needs the server it registers at".to_owned());
        }
        let aor = match wish.aor.as_deref().map(|aor| aor.rsplit_once('@')) {
            Some(Some((user, domain))) => (user.to_owned(), domain.to_ascii_lowercase()),
            Some(None) => {
                errors.push("aor: it is user@domain".to_owned());
                Default::default()
            }
            None => {
                let domain = account.domain.to_ascii_lowercase();
                let ours = self.domains.iter().any(|ours| ours.eq_ignore_ascii_case(&domain));
                let first = self.domains.first().cloned().unwrap_or_default();
                (account.username, if ours { domain } else { first })
            }
        };
        if !errors.is_empty() {
            return Err(Denied::Parameters(errors));
        }
        let parameters = settings.iter().map(|(name, _, value)| (name.to_owned(), value)).collect();
        Ok(Wanted { parameters, aor, remarks: remarks.iter().map(ToString::to_string).collect() })
    }

    fn until(&self, hours: Option<u32>, now: WallTime) -> WallTime {
        let hours = hours.unwrap_or(self.settings.link_hours).min(self.settings.link_hours.max(24 * 30));
        after(now, Duration::from_secs(u64::from(hours) * 3600))
    }

    fn link_of(&self, id: &str, code: &Code, until: WallTime, remarks: Vec<String>) -> Link {
        let link = page::link(&self.settings, code);
        Link {
            id: id.to_owned(),
            code: code.text().to_owned(),
            qr: format!("{link}/qr"),
            svg: page::picture(&link),
            link,
            valid_until_ms: until.0,
            remarks,
        }
    }

    /// Makes a grant and its link.
    pub(super) fn grant(&self, wish: &Wish) -> Result<Link, Denied> {
        let Wanted { parameters, aor, remarks } = self.read(wish)?;
        let now = system::wall();
        let until = self.until(wish.hours, now);
        let code = Code::draw().map_err(|_| Denied::NoEntropy)?;
        let id = draw_name().map_err(|_| Denied::NoEntropy)?;
        let mut state = self.locked();
        state.sweep(now);
        if state.grants.len() >= self.settings.grants {
            return Err(Denied::Full);
        }
        state.change(&id, |grants| {
            grants.offer(id.clone(), &code, until, wish.label.clone(), aor.clone(), parameters.clone());
            Ok::<(), Denied>(())
        })?;
        tracing::info!(grant = id, "a phone's settings are granted; the link is out");
        Ok(self.link_of(&id, &code, until, remarks))
    }

    /// Makes a further link for a grant.
    pub(super) fn link(&self, id: &str, hours: Option<u32>) -> Result<Link, Denied> {
        let now = system::wall();
        let until = self.until(hours, now);
        let code = Code::draw().map_err(|_| Denied::NoEntropy)?;
        let mut state = self.locked();
        state.sweep(now);
        state.change(id, |grants| grants.link(id, &code, until).map(drop).map_err(Denied::from))?;
        Ok(self.link_of(id, &code, until, Vec::new()))
    }

    /// Gives a grant other parameters.
    pub(super) fn rotate(&self, id: &str, wish: &Wish) -> Result<Value, Denied> {
        let Wanted { parameters, remarks, .. } = self.read(wish)?;
        let mut state = self.locked();
        state.sweep(system::wall());
        let (serial, aor) = state.change(id, |grants| {
            let grant = grants.rotate(id, parameters.clone())?;
            Ok::<_, Denied>((grant.serial, grant.aor.clone()))
        })?;
        self.tell(&state.grants, &aor);
        tracing::info!(
            grant = id,
            serial,
            "a phone's settings have changed; it is told at its next REGISTER"
        );
        Ok(json!({ "id": id, "serial": serial, "remarks": remarks }))
    }

    /// Withdraws a grant.
    pub(super) fn revoke(&self, id: &str) -> Result<(), Denied> {
        let mut state = self.locked();
        let now = system::wall();
        let aor = state.change(id, |grants| Ok::<_, Denied>(grants.revoke(now, id)?.aor.clone()))?;
        self.tell(&state.grants, &aor);
        tracing::info!(grant = id, "a phone's settings are withdrawn");
        Ok(())
    }

    /// Every grant, without parameters.
    pub(super) fn list(&self) -> Value {
        let mut state = self.locked();
        state.sweep(system::wall());
        Value::Array(state.grants.iter().map(view).collect())
    }

    /// One grant, without parameters.
    pub(super) fn one(&self, id: &str) -> Option<Value> {
        let mut state = self.locked();
        state.sweep(system::wall());
        // When the store is away, what was known last is told.
        let _ = state.refresh(id);
        state.grants.get(id).map(view)
    }

    /// A new signing key; the former stays published.
    pub(super) fn new_key(&self) -> Result<Value, Denied> {
        let mut state = self.locked();
        let former = state.signer()?;
        let signer = Signer::make(system::wall(), Some(former)).ok_or(Denied::NoEntropy)?;
        state.change_key(signer)?;
        Ok(state.signer.key_set())
    }

    /// The public keys.
    pub(super) fn key_set(&self) -> Value {
        let mut state = self.locked();
        // When the store is away, the one that was known last is.
        let _ = state.signer();
        state.signer.key_set()
    }

    /// What a code would set, for the person who is to agree: no secrets.
    pub(super) fn preview(&self, code: Option<&Code>) -> Result<Value, Denied> {
        let code = code.ok_or(Denied::Unknown)?;
        let mut state = self.locked();
        let id = state.grants.of_code(code).ok_or(Denied::Unknown)?;
        state.refresh(&id)?;
        let issue = state.grants.preview(system::wall(), code)?;
        drop(state);
        let shown = |name: &str, value: &Secret| {
            let secret = parameter(name).is_none_or(|known| known.is_secret());
            if secret { Value::Null } else { value.expose().into() }
        };
        let parameters: serde_json::Map<String, Value> =
            issue.parameters.iter().map(|(name, value)| (name.clone(), shown(name, value))).collect();
        Ok(json!({ "name": self.settings.name, "parameters": parameters }))
    }

    /// A code for signed settings.
    pub(super) fn exchange(&self, code: Option<&Code>, device: &Secret) -> Result<String, Denied> {
        let now = system::wall();
        let (code, device) = (code.ok_or(Denied::Unknown)?, Mark::of_device(device).ok_or(Denied::Unknown)?);
        let mut state = self.locked();
        let id = state.grants.of_code(code).ok_or(Denied::Unknown)?;
        // Before the code is used up.
        state.signer()?;
        let issue = state.change(&id, |grants| grants.exchange(now, code, device).map_err(Denied::from))?;
        self.tell_of(&state, &id);
        tracing::info!(grant = issue.id, "a phone has its settings");
        Ok(state.signer.sign(&self.payload(&issue, now)))
    }

    /// The newest settings for a phone that has some; unknown when it is not the one that has them.
    pub(super) fn fetch(&self, id: &str, device: &Secret, has: u32) -> Result<Answer, Denied> {
        let now = system::wall();
        let device = Mark::of_device(device).ok_or(Denied::Unknown)?;
        let mut state = self.locked();
        state.signer()?;
        let fetched = state.change(id, |grants| grants.fetch(now, id, device, has).map_err(Denied::from))?;
        self.tell_of(&state, id);
        Ok(match fetched {
            Fetched::New(issue) => Answer::Settings(state.signer.sign(&self.payload(&issue, now))),
            Fetched::Same => Answer::Same,
            Fetched::Revoked => Answer::Revoked,
        })
    }

    /// What is signed; `settings.schema.json` describes it.
    fn payload(&self, issue: &Issue, now: WallTime) -> Value {
        let base = self.settings.base();
        let parameters: serde_json::Map<String, Value> =
            issue.parameters.iter().map(|(name, value)| (name.clone(), value.expose().into())).collect();
        let mut payload = json!({
            "iss": base,
            "sub": issue.id,
            "iat": now.as_secs(),
            "exp": after(now, GOOD_FOR).as_secs(),
            "serial": issue.serial,
            "parameters": parameters,
            "fetch": format!("{base}/provision/settings"),
            "keys": format!("{base}/.well-known/jwks.json"),
        });
        if !self.settings.name.is_empty() {
            payload["name"] = self.settings.name.clone().into();
        }
        payload
    }
}

/// What a phone that comes back is told.
#[derive(Debug)]
pub(super) enum Answer {
    /// Signed settings.
    Settings(String),
    /// Nothing is new.
    Same,
    /// It is over.
    Revoked,
}

/// A grant as the operator sees it.
fn view(grant: &Grant) -> Value {
    let (stage, has) = match &grant.stage {
        Stage::Offered { holder, .. } => ("offered", holder.as_ref().map(|holder| holder.has)),
        Stage::Taken { holder } => ("taken", Some(holder.has)),
        Stage::Revoked { .. } => ("revoked", None),
    };
    let until = match &grant.stage {
        Stage::Offered { offer, .. } => Some(offer.until.0),
        Stage::Taken { .. } | Stage::Revoked { .. } => None,
    };
    json!({
        "id": grant.id,
        "label": grant.label,
        "aor": format!("{}@{}", grant.aor.0, grant.aor.1),
        "serial": grant.serial,
        "stage": stage,
        "phone_has": has,
        "link_valid_until_ms": until,
    })
}
