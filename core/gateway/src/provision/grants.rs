//! What was granted to whom: one set of settings for one phone, from the link to the last fetch.
//!
//! Settings hold a password, so they are kept only while somebody is to fetch them: until the code lapses, or for a few
//! minutes after the phone had them, because an answer may be lost on its way.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wakeline_clock::WallTime;
use wakeline_secret::Secret;

use super::code::{Code, Mark};
use crate::store::Row;

/// For this long a phone that got no answer may ask again.
const AGAIN: Duration = Duration::from_secs(600);
/// For this long a withdrawn grant is remembered, so that its phone hears of it.
const MEMORY: Duration = Duration::from_secs(30 * 86_400);

/// A moment later.
pub(crate) fn after(time: WallTime, span: Duration) -> WallTime {
    WallTime(time.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

/// Parameters by name.
pub(crate) type Parameters = BTreeMap<String, Secret>;

/// One phone's grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// Its name; no secret.
    pub(crate) id: String,
    /// What the operator calls it.
    pub(crate) label: String,
    /// The address of record whose REGISTERs are told of changes: user and domain.
    pub(crate) aor: (String, String),
    /// Counts the changes of the parameters, from 1.
    pub(crate) serial: u32,
    pub(crate) stage: Stage,
    kept: Kept,
}

/// How far it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// A link is out. Who holds the phone that had an earlier link keeps it until the new one is used.
    Offered { offer: Offer, holder: Option<Holder> },
    /// A phone has it.
    Taken { holder: Holder },
    /// It was withdrawn.
    Revoked { holder: Option<Holder>, at: WallTime },
}

/// A link that is out.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Offer {
    code: Mark,
    pub(crate) until: WallTime,
}

/// The phone that has it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Holder {
    device: Mark,
    code: Mark,
    since: WallTime,
    /// The newest change that it has fetched.
    pub(crate) has: u32,
}

/// Whether the parameters are still here.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Kept {
    Yes(Parameters),
    Until(Parameters, WallTime),
    No,
}

/// Settings that go out now.
#[derive(Debug)]
pub(crate) struct Issue {
    pub(crate) id: String,
    pub(crate) serial: u32,
    pub(crate) parameters: Parameters,
}

/// There is no such code, or it lapsed, was used or withdrawn; which of them, nobody is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

/// What a phone that comes back for settings is told.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// These.
    New(Issue),
    /// It has the newest.
    Same,
    /// It is no longer to use what it has.
    Revoked,
}

/// Why no further link is made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoLink {
    Unknown,
    Revoked,
    /// The parameters are gone; they must be given anew first.
    Emptied,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    by_id: BTreeMap<String, Grant>,
    /// Codes that are out, and those of the last few minutes.
    by_code: BTreeMap<Mark, String>,
}

impl Grant {
    fn codes(&self) -> impl Iterator<Item = Mark> {
        let (offer, holder) = match &self.stage {
            Stage::Offered { offer, holder } => (Some(offer.code), holder.as_ref()),
            Stage::Taken { holder } => (None, Some(holder)),
            Stage::Revoked { .. } => (None, None),
        };
        offer.into_iter().chain(holder.map(|holder| holder.code))
    }

    fn holder(&self) -> Option<&Holder> {
        match &self.stage {
            Stage::Offered { holder, .. } | Stage::Revoked { holder, .. } => holder.as_ref(),
            Stage::Taken { holder } => Some(holder),
        }
    }

    fn issue(&self) -> Option<Issue> {
        match &self.kept {
            Kept::Yes(parameters) | Kept::Until(parameters, _) => {
                Some(Issue { id: self.id.clone(), serial: self.serial, parameters: parameters.clone() })
            }
            Kept::No => None,
        }
    }

    /// From now on the parameters are on their way out.
    fn is_had(&mut self, now: WallTime) {
        let had = |parameters| Kept::Until(parameters, after(now, AGAIN));
        self.kept = match core::mem::replace(&mut self.kept, Kept::No) {
            Kept::Yes(parameters) => had(parameters),
            kept @ (Kept::Until(..) | Kept::No) => kept,
        };
    }

    /// Whether time has changed something about it.
    pub(crate) fn is_due(&self, now: WallTime) -> bool {
        self.is_over(now) || matches!(&self.kept, Kept::Until(_, until) if *until <= now)
    }

    /// Whether its link, or the memory of its withdrawal, is over.
    fn is_over(&self, now: WallTime) -> bool {
        match &self.stage {
            Stage::Offered { offer, .. } => offer.until <= now,
            Stage::Taken { .. } => false,
            Stage::Revoked { at, .. } => after(*at, MEMORY) <= now,
        }
    }

    /// What its phone is to be told at its next REGISTER.
    fn news(&self) -> Option<String> {
        let holder = self.holder()?;
        match self.stage {
            Stage::Revoked { .. } => Some(format!("{}=revoked", self.id)),
            Stage::Offered { .. } | Stage::Taken { .. } => {
                (holder.has < self.serial).then(|| format!("{}={}", self.id, self.serial))
            }
        }
    }

    /// The row that holds it.
    pub(crate) fn row(&self) -> Row {
        let until = match &self.stage {
            Stage::Offered { offer, holder: None } => Some(offer.until),
            Stage::Offered { holder: Some(_), .. } | Stage::Taken { .. } => None,
            Stage::Revoked { at, .. } => Some(after(*at, MEMORY)),
        };
        Row { key: self.id.clone().into_bytes(), value: serde_json::to_vec(self).unwrap_or_default(), until }
    }
}

impl Grants {
    /// What the store held.
    pub(crate) fn load(rows: &[Row]) -> Grants {
        let mut grants = Grants::default();
        for row in rows {
            grants.put(&String::from_utf8_lossy(&row.key), Some(row));
        }
        grants
    }

    /// What stands in the store under this name takes the place of what is known; `None`: nothing does.
    pub(crate) fn put(&mut self, id: &str, row: Option<&Row>) {
        let read = row.map(|row| serde_json::from_slice::<Grant>(&row.value)).transpose();
        let read = read.unwrap_or_else(|error| {
            tracing::error!(%error, "a stored grant cannot be read; it is left alone");
            None
        });
        let former: Vec<Mark> = self.by_id.get(id).into_iter().flat_map(Grant::codes).collect();
        former.iter().for_each(|code| drop(self.by_code.remove(code)));
        match read {
            Some(grant) => {
                self.by_code.extend(grant.codes().map(|code| (code, id.to_owned())));
                self.by_id.insert(id.to_owned(), grant);
            }
            None => drop(self.by_id.remove(id)),
        }
    }

    /// Whose link a code is.
    pub(crate) fn of_code(&self, code: &Code) -> Option<String> {
        self.by_code.get(&code.mark()).cloned()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// In the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.by_id.values()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Grant> {
        self.by_id.get(id)
    }

    /// A new grant with its first link.
    pub(crate) fn offer(
        &mut self,
        id: String,
        code: &Code,
        until: WallTime,
        label: String,
        aor: (String, String),
        parameters: Parameters,
    ) -> &Grant {
        let offer = Offer { code: code.mark(), until };
        self.by_code.insert(offer.code, id.clone());
        let stage = Stage::Offered { offer, holder: None };
        let grant = Grant { id: id.clone(), label, aor, serial: 1, stage, kept: Kept::Yes(parameters) };
        self.by_id.entry(id).insert_entry(grant).into_mut()
    }

    /// What a code would set; it stays good.
    pub(crate) fn preview(&self, now: WallTime, code: &Code) -> Result<Issue, Unknown> {
        let code = code.mark();
        let grant = self.by_code.get(&code).and_then(|id| self.by_id.get(id)).ok_or(Unknown)?;
        match &grant.stage {
            Stage::Offered { offer, .. } if offer.code == code && now < offer.until => {
                grant.issue().ok_or(Unknown)
            }
            Stage::Offered { .. } | Stage::Taken { .. } | Stage::Revoked { .. } => Err(Unknown),
        }
    }

    /// A phone shows a code and the key that it made for itself. The first one has the settings; the same phone may ask
    /// again for a few minutes.
    pub(crate) fn exchange(&mut self, now: WallTime, code: &Code, device: Mark) -> Result<Issue, Unknown> {
        let code = code.mark();
        let grant = self.by_code.get(&code).and_then(|id| self.by_id.get_mut(id)).ok_or(Unknown)?;
        match &grant.stage {
            Stage::Offered { offer, .. } if offer.code == code && now < offer.until => {}
            Stage::Taken { holder }
                if holder.code == code && holder.device == device && now < after(holder.since, AGAIN) =>
            {
                return grant.issue().ok_or(Unknown);
            }
            Stage::Offered { .. } | Stage::Taken { .. } | Stage::Revoked { .. } => return Err(Unknown),
        }
        let issue = grant.issue().ok_or(Unknown)?;
        let former = grant.holder().map(|holder| holder.code);
        grant.stage = Stage::Taken { holder: Holder { device, code, since: now, has: grant.serial } };
        grant.is_had(now);
        if let Some(former) = former {
            self.by_code.remove(&former);
        }
        Ok(issue)
    }

    /// A phone comes back with its key and the serial that it has.
    pub(crate) fn fetch(
        &mut self,
        now: WallTime,
        id: &str,
        device: Mark,
        has: u32,
    ) -> Result<Fetched, Unknown> {
        let grant = self.by_id.get_mut(id).ok_or(Unknown)?;
        if grant.holder().is_none_or(|holder| holder.device != device) {
            return Err(Unknown);
        }
        let serial = grant.serial;
        let issue = grant.issue();
        let (Stage::Offered { holder: Some(holder), .. } | Stage::Taken { holder }) = &mut grant.stage else {
            return Ok(Fetched::Revoked);
        };
        holder.has = serial;
        match issue.filter(|_| has < serial) {
            Some(issue) => {
                grant.is_had(now);
                Ok(Fetched::New(issue))
            }
            None => Ok(Fetched::Same),
        }
    }

    /// Other parameters; the phone is told at its next REGISTER.
    pub(crate) fn rotate(&mut self, id: &str, parameters: Parameters) -> Result<&Grant, Unknown> {
        let grant = self.by_id.get_mut(id).ok_or(Unknown)?;
        if let Stage::Revoked { .. } = grant.stage {
            return Err(Unknown);
        }
        grant.serial += 1;
        grant.kept = Kept::Yes(parameters);
        Ok(grant)
    }

    /// A further link for another phone in place of the one that has it.
    pub(crate) fn link(&mut self, id: &str, code: &Code, until: WallTime) -> Result<&Grant, NoLink> {
        let grant = self.by_id.get_mut(id).ok_or(NoLink::Unknown)?;
        let holder = match &grant.stage {
            Stage::Offered { offer, holder } => {
                self.by_code.remove(&offer.code);
                *holder
            }
            Stage::Taken { holder } => Some(*holder),
            Stage::Revoked { .. } => return Err(NoLink::Revoked),
        };
        let parameters = match core::mem::replace(&mut grant.kept, Kept::No) {
            Kept::Yes(parameters) | Kept::Until(parameters, _) => parameters,
            Kept::No => return Err(NoLink::Emptied),
        };
        grant.kept = Kept::Yes(parameters);
        let offer = Offer { code: code.mark(), until };
        self.by_code.insert(offer.code, id.to_owned());
        grant.stage = Stage::Offered { offer, holder };
        Ok(grant)
    }

    /// Withdraws a grant; its link leads nowhere and its phone is told.
    pub(crate) fn revoke(&mut self, now: WallTime, id: &str) -> Result<&Grant, Unknown> {
        let grant = self.by_id.get_mut(id).ok_or(Unknown)?;
        for code in grant.codes() {
            self.by_code.remove(&code);
        }
        grant.kept = Kept::No;
        if !matches!(grant.stage, Stage::Revoked { .. }) {
            grant.stage = Stage::Revoked { holder: grant.holder().copied(), at: now };
        }
        Ok(grant)
    }

    /// What the 200s to this address of record's REGISTERs say; `None`: nothing.
    pub(crate) fn news(&self, aor: &(String, String)) -> Option<String> {
        let news: Vec<String> =
            self.by_id.values().filter(|grant| grant.aor == *aor).filter_map(Grant::news).collect();
        Some(news.join(", ")).filter(|text| !text.is_empty())
    }

    /// Those that time has changed something about.
    pub(crate) fn due(&self, now: WallTime) -> Vec<String> {
        self.by_id.values().filter(|grant| grant.is_due(now)).map(|grant| grant.id.clone()).collect()
    }

    /// Forgets of one grant what is past its time.
    pub(crate) fn age(&mut self, now: WallTime, id: &str) {
        let Some(grant) = self.by_id.get_mut(id) else { return };
        let before: Vec<Mark> = grant.codes().collect();
        let keep = match (&grant.stage, grant.is_over(now)) {
            (_, false) => true,
            // Nobody took the new link: the phone that has the settings goes on.
            (Stage::Offered { holder: Some(holder), .. }, true) => {
                grant.stage = Stage::Taken { holder: *holder };
                grant.is_had(now);
                true
            }
            (Stage::Offered { .. } | Stage::Taken { .. } | Stage::Revoked { .. }, true) => false,
        };
        if matches!(&grant.kept, Kept::Until(_, until) if *until <= now) {
            grant.kept = Kept::No;
        }
        let mut left: Vec<Mark> = if keep { grant.codes().collect() } else { Vec::new() };
        if let Stage::Taken { holder } = &grant.stage
            && after(holder.since, AGAIN) <= now
        {
            left.clear();
        }
        for code in before.iter().filter(|code| !left.contains(code)) {
            self.by_code.remove(code);
        }
        if !keep {
            self.by_id.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000);

    fn device(name: &str) -> Mark {
        Mark::of_device(&format!("{name}{}", "0".repeat(30)).into()).unwrap()
    }

    fn parameters(password: &str) -> Parameters {
        BTreeMap::from([("password".to_owned(), password.into())])
    }

    fn aor() -> (String, String) {
        ("mia".to_owned(), "example.org".to_owned())
    }

    /// Ages all of them; how many have changed.
    fn sweep(grants: &mut Grants, now: WallTime) -> usize {
        let due = grants.due(now);
        due.iter().for_each(|id| grants.age(now, id));
        due.len()
    }

    fn offered() -> (Grants, Code) {
        let (mut grants, code) = (Grants::default(), Code::draw().unwrap());
        let until = after(NOW, Duration::from_secs(3600));
        grants.offer("g".to_owned(), &code, until, "Mia".to_owned(), aor(), parameters("first"));
        (grants, code)
    }

    #[test]
    fn s19_a_code_is_exchanged_once_and_its_phone_may_ask_again_for_ten_minutes() {
        let (mut grants, code) = offered();
        let issue = grants.exchange(NOW, &code, device("a")).unwrap();
        assert_eq!((issue.serial, issue.parameters["password"].expose()), (1, "first"));
        assert_eq!(grants.exchange(NOW, &code, device("b")).unwrap_err(), Unknown);
        assert!(grants.exchange(after(NOW, Duration::from_secs(599)), &code, device("a")).is_ok());
        assert_eq!(grants.exchange(after(NOW, AGAIN), &code, device("a")).unwrap_err(), Unknown);
        // The password is not kept longer than that.
        assert!(String::from_utf8(grants.get("g").unwrap().row().value).unwrap().contains("first"));
        assert_eq!(sweep(&mut grants, after(NOW, AGAIN)), 1);
        assert!(!String::from_utf8(grants.get("g").unwrap().row().value).unwrap().contains("first"));
        assert!(grants.by_code.is_empty());
    }

    #[test]
    fn s19_a_code_lapses_and_is_forgotten() {
        let (mut grants, code) = offered();
        let late = after(NOW, Duration::from_secs(3600));
        assert_eq!(grants.exchange(late, &code, device("a")).unwrap_err(), Unknown);
        assert_eq!(sweep(&mut grants, late), 1);
        assert_eq!((grants.len(), grants.by_code.len()), (0, 0));
    }

    #[test]
    fn a_change_is_told_until_it_is_fetched_and_a_withdrawal_for_good() {
        let (mut grants, code) = offered();
        grants.exchange(NOW, &code, device("a")).unwrap();
        assert_eq!(grants.news(&aor()), None);
        assert!(matches!(grants.fetch(NOW, "g", device("a"), 1), Ok(Fetched::Same)));
        grants.rotate("g", parameters("second")).unwrap();
        assert_eq!(grants.news(&aor()).as_deref(), Some("g=2"));
        assert!(grants.fetch(NOW, "g", device("b"), 1).is_err());
        let Ok(Fetched::New(issue)) = grants.fetch(NOW, "g", device("a"), 1) else { panic!() };
        assert_eq!((issue.serial, issue.parameters["password"].expose()), (2, "second"));
        assert_eq!(grants.news(&aor()), None);
        grants.revoke(NOW, "g").unwrap();
        assert_eq!(grants.news(&aor()).as_deref(), Some("g=revoked"));
        assert!(matches!(grants.fetch(NOW, "g", device("a"), 2), Ok(Fetched::Revoked)));
        assert!(grants.fetch(NOW, "g", device("b"), 2).is_err());
        assert_eq!(grants.rotate("g", parameters("x")).unwrap_err(), Unknown);
        sweep(&mut grants, after(NOW, MEMORY));
        assert_eq!(grants.news(&aor()), None);
    }

    #[test]
    fn another_phone_takes_over_when_it_uses_its_link_and_not_before() {
        let (mut grants, code) = offered();
        grants.exchange(NOW, &code, device("old")).unwrap();
        let second = Code::draw().unwrap();
        let until = after(NOW, Duration::from_secs(60));
        grants.link("g", &second, until).unwrap();
        assert!(grants.fetch(NOW, "g", device("old"), 1).is_ok());
        grants.exchange(NOW, &second, device("new")).unwrap();
        assert!(grants.fetch(NOW, "g", device("old"), 1).is_err());
        assert!(grants.fetch(NOW, "g", device("new"), 1).is_ok());
        assert!(grants.exchange(NOW, &code, device("old")).is_err());

        // A link that nobody uses changes nothing; and once the settings are gone there is nothing to link to.
        let third = Code::draw().unwrap();
        grants.link("g", &third, until).unwrap();
        sweep(&mut grants, until);
        assert!(grants.exchange(until, &third, device("x")).is_err());
        assert!(grants.fetch(until, "g", device("new"), 1).is_ok());
        sweep(&mut grants, after(until, AGAIN));
        let again = grants.link("g", &Code::draw().unwrap(), after(until, AGAIN));
        assert_eq!(again.map(|_| ()).unwrap_err(), NoLink::Emptied);
    }

    #[test]
    fn grants_outlive_the_process_without_their_codes() {
        let (mut grants, code) = offered();
        let row = grants.get("g").unwrap().row();
        assert!(!String::from_utf8(row.value.clone()).unwrap().contains(code.text()));
        let mut again = Grants::load(&[row]);
        assert!(again.exchange(NOW, &code, device("a")).is_ok());
        grants.revoke(NOW, "g").unwrap();
        let mut again = Grants::load(&[grants.get("g").unwrap().row()]);
        assert!(again.exchange(NOW, &code, device("a")).is_err());
    }
}
