//! What a 2xx to a REGISTER says.

use wakeline_push::{FeatureCaps, PushMode, PushParameters, WAKE_STATE_HEADER, WakeId, WakeState};
use wakeline_sip_message::{Message, Name, NameAddr};

use crate::contact::BindingContact;
use crate::event::PushStatus;

/// Addresses that lead to this very instance (RFC 5627 §4.2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gruus {
    /// Tells the address of record.
    pub public: Option<String>,
    /// Tells nothing.
    pub temporary: Option<String>,
}

/// What a network offers to a phone that it wakes (RFC 8599 §4.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// `+sip.pnspurr`: goes into the Contact of our dialogs as `pn-purr`.
    pub purr: Option<String>,
    /// `+sip.pnsreg`: seconds before the end at which to refresh.
    pub refresh_before: Option<u32>,
    /// `+sip.vapid`.
    pub vapid: Option<String>,
}

pub(crate) struct Answer {
    pub(crate) expires: u32,
    pub(crate) push: PushStatus,
    pub(crate) offer: Offer,
    pub(crate) gruus: Gruus,
    pub(crate) service_route: Vec<String>,
    pub(crate) flow_timer: Option<u32>,
    pub(crate) outbound: bool,
    pub(crate) wakes: Vec<(WakeId, WakeState)>,
}

/// What was asked, to read the answer by.
pub(crate) struct Asked<'a> {
    pub(crate) expires: u32,
    pub(crate) instance: &'a str,
    pub(crate) reg_id: u32,
    pub(crate) contact: &'a BindingContact,
    pub(crate) push: Option<&'a PushParameters>,
    pub(crate) mode: PushMode,
}

/// Reads leniently: what a registrar leaves out is taken as asked (RFC 3261 §10.2.4).
pub(crate) fn read(response: &Message, asked: &Asked<'_>) -> Answer {
    let mut expires = response.expires().ok().flatten().unwrap_or(asked.expires);
    let mut gruus = Gruus::default();
    // One Contact that cannot be read, perhaps another device's, does not hide ours.
    let ours = response
        .headers(Name::Contact)
        .filter_map(|value| NameAddr::parse(value).ok())
        .filter_map(|found| rank(&found, asked).map(|rank| (rank, found)))
        .max_by_key(|(rank, _)| *rank);
    if let Some((_, ours)) = ours {
        expires = ours.expires().unwrap_or(expires);
        gruus.public = ours.pub_gruu().map(|text| text.into_owned());
        gruus.temporary = ours.temp_gruu().map(|text| text.into_owned());
    }
    let caps = response.headers(Name::FeatureCaps).flat_map(FeatureCaps::read);
    let ours =
        asked.push.and_then(|push| caps.clone().find(|caps| push.provider.is_served_by(&caps.provider)));
    let push = match (asked.push, asked.mode) {
        (None, _) | (_, PushMode::None) => PushStatus::NotAsked,
        (Some(_), mode) if !mode.needs_feature_caps() || ours.is_some() => PushStatus::Confirmed,
        (Some(_), _) => PushStatus::NotOffered,
    };
    let offer = ours.map_or_else(Offer::default, |caps| Offer {
        purr: caps.purr,
        refresh_before: caps.refresh_before,
        vapid: caps.vapid,
    });
    Answer {
        expires,
        push,
        offer,
        gruus,
        service_route: response.headers(Name::ServiceRoute).map(str::to_owned).collect(),
        flow_timer: response.flow_timer().ok().flatten().filter(|seconds| *seconds > 0),
        outbound: response.require().any(|tag| tag.eq_ignore_ascii_case("outbound")),
        wakes: response
            .header_by_name(WAKE_STATE_HEADER)
            .map(wakeline_push::read_wake_states)
            .unwrap_or_default(),
    }
}

/// How surely a Contact is ours: by instance and reg-id, by instance, or by address.
fn rank(found: &NameAddr<'_>, asked: &Asked<'_>) -> Option<u8> {
    let instance = found
        .instance()
        .is_some_and(|text| text.trim_matches(['<', '>']).eq_ignore_ascii_case(asked.instance));
    let address = {
        let (one, two) = (found.uri(), asked.contact.uri().view());
        one.user() == two.user() && one.host() == two.host() && one.port() == two.port()
    };
    match (instance, address) {
        (true, true) => Some(4),
        (true, false) if found.reg_id() == Some(asked.reg_id) => Some(3),
        (true, false) => Some(1),
        (false, true) if found.instance().is_none() => Some(2),
        (false, true | false) => None,
    }
}
