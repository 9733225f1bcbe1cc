//! PUBLISH: what a phone says of itself, until it takes it back or its time is over (RFC 3903).

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_sip_message::{MediaType, Message, Name};
use wakeline_sip_transaction::ServerKey;

use super::subscribe::lifetime;
use super::{Package, Publication};
use crate::deadline::Due;
use crate::machine::Registrar;
use crate::number::AorId;
use crate::refused::Refused;
use crate::trace::Leg;

/// Publications of one address and package: as many devices speak of themselves.
const MOST: usize = 10;

impl Registrar {
    /// One PUBLISH of a sender that is known (§6).
    pub(super) fn publish(
        &mut self,
        now: Time,
        key: ServerKey,
        request: &Message,
        aor: AorId,
        publisher: AorId,
        package: Package,
    ) -> Result<(), Refused> {
        // Everybody speaks for himself.
        if publisher != aor {
            return Err(Refused::code(403));
        }
        match package {
            Package::Presence | Package::Dialog => {}
            Package::Reg | Package::MessageSummary => return Err(Refused::code(489)),
        }
        let lifetime = lifetime(request)?;
        let place = (aor, package);
        let known = match request.sip_if_match() {
            None => None,
            Some(tag) => {
                let all = self.events.publications.get(&place);
                let found = all.and_then(|all| all.iter().position(|one| one.tag == tag));
                Some(found.ok_or(Refused::code(412))?)
            }
        };
        let body = request.body_bytes();
        if !body.is_empty() {
            let (kind, subtype) = package.body();
            let fits = request.content_type_text().and_then(|text| MediaType::parse(text).ok());
            if !fits.is_some_and(|found| found.is(kind, subtype)) {
                let headers = vec![(Name::Accept, format!("{kind}/{subtype}"))];
                return Err(Refused { code: 415, headers });
            }
            if body.len() > self.config.limits.mail_each {
                return Err(Refused::code(413));
            }
        } else if known.is_none() {
            // The first one says something (§6 step 6).
            return Err(Refused::code(400));
        }
        let tag = self.entropy.token(12);
        match (known, lifetime) {
            (Some(found), 0) => self.take_back(place, found),
            (Some(found), _) => {
                let all = self.events.publications.get_mut(&place);
                if let Some(one) = all.and_then(|all| all.get_mut(found)) {
                    one.tag.clone_from(&tag);
                    if !body.is_empty() {
                        one.body = body;
                    }
                    one.expires = now + Duration::from_secs(u64::from(lifetime));
                }
                // The newest stands last.
                if let Some(all) = self.events.publications.get_mut(&place) {
                    let one = all.remove(found);
                    all.push(one);
                }
                self.arm_publications(place);
            }
            (None, 0) => {}
            (None, _) => {
                let count = self.events.publications.get(&place).map_or(0, Vec::len);
                if count >= MOST || self.events.published >= self.config.limits.publications {
                    return Err(Refused::busy());
                }
                let number = self.events.next_number();
                self.events.published += 1;
                let expires = now + Duration::from_secs(u64::from(lifetime));
                let one = Publication { number, tag: tag.clone(), body, expires, armed: Time::NEVER };
                self.events.publications.entry(place).or_default().push(one);
                self.arm_publications(place);
            }
        }
        let headers = [(Name::SipEtag, tag), (Name::Expires, lifetime.to_string())];
        self.answer(now, key, request, 200, &headers);
        self.trace(now, None, Leg::Published);
        self.changed(now, aor, package);
        Ok(())
    }

    fn arm_publications(&mut self, place: (AorId, Package)) {
        let Some(all) = self.events.publications.get_mut(&place) else { return };
        for one in all {
            let due = Due::Publication(place.0, place.1, one.number);
            self.deadlines.rearm(&mut one.armed, one.expires, due);
        }
    }

    fn take_back(&mut self, place: (AorId, Package), found: usize) {
        let Some(all) = self.events.publications.get_mut(&place) else { return };
        let mut gone = all.remove(found);
        if all.is_empty() {
            self.events.publications.remove(&place);
        }
        self.events.published = self.events.published.saturating_sub(1);
        let due = Due::Publication(place.0, place.1, gone.number);
        self.deadlines.rearm(&mut gone.armed, Time::NEVER, due);
    }

    pub(crate) fn on_publication_due(&mut self, now: Time, aor: AorId, package: Package, number: u64) {
        let place = (aor, package);
        let all = self.events.publications.get_mut(&place);
        let Some(found) = all.and_then(|all| {
            let found = all.iter().position(|one| one.number == number)?;
            all[found].armed = Time::NEVER;
            Some(found)
        }) else {
            return;
        };
        self.take_back(place, found);
        self.changed(now, aor, package);
    }

    pub(super) fn drop_publications(&mut self, aor: AorId, package: Package) {
        while self.events.publications.contains_key(&(aor, package)) {
            self.take_back((aor, package), 0);
        }
    }
}
