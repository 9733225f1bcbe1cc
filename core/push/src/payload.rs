//! What a push carries. It comes from a service that anybody may reach with a stolen token: every field is a hint.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use wakeline_secret::Secret;

use crate::error::PushError;
use crate::wake::WakeId;

/// Largest payload that is read; Apple's service takes 5120 bytes at most.
pub const MAX_PAYLOAD: usize = 8192;
/// Longest Call-ID that is taken from a foreign server's push.
const MAX_CALL_ID: usize = 256;
/// Longest envelope that is taken.
const MAX_ENVELOPE: usize = 4096;
/// The span that a push may claim to be good for, in seconds.
const MAX_TTL: u32 = 3600;

/// A push's data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// `v`: the format; 1 now. A newer one is read as far as it is known.
    pub version: u32,
    /// `t` and `wid`: what for.
    pub kind: PayloadKind,
    /// `acc`: which account of the phone is meant, as the phone numbers them.
    pub account: Option<u32>,
    /// `ts`: when it was sent, in milliseconds since 1970 by the gateway's clock. Clocks differ: never a reason to
    /// drop a call.
    pub sent_at: Option<u64>,
    /// `ttl`: for how many seconds the call may wait.
    pub ttl: Option<u32>,
    /// `e`: the caller's number and name, sealed for this device; base64url, opaque here.
    pub envelope: Option<Secret>,
}

/// What a push is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PayloadKind {
    /// `t=call`, or no `t`: a call waits.
    Call(WakeId),
    /// `t=refresh`: the binding is to be refreshed; nothing rings.
    Refresh,
    /// A call that a foreign server announces by its Call-ID; the From-tag, and so the wake id, is not known yet.
    ForeignCall {
        /// The INVITE's Call-ID.
        call_id: String,
    },
    /// `t=sealed`: what a relay passes on as it is (RFC 8291); opened with the subscription's keys it is a payload.
    Sealed {
        /// The body, base64url.
        body: Secret,
    },
    /// `t=proof`: a relay asks whether this token's app wants a push address; nothing rings.
    Proof {
        /// What the app shows to the relay.
        code: Secret,
    },
    /// Something else; the phone registers, and nothing rings.
    Unknown,
}

impl Payload {
    /// A call's payload.
    pub fn call(wake: WakeId, sent_at: u64, ttl: u32) -> Payload {
        Payload {
            version: 1,
            kind: PayloadKind::Call(wake),
            account: None,
            sent_at: Some(sent_at),
            ttl: Some(ttl),
            envelope: None,
        }
    }

    /// A payload that only asks for a refresh of the binding.
    pub fn refresh(sent_at: u64) -> Payload {
        Payload {
            version: 1,
            kind: PayloadKind::Refresh,
            account: None,
            sent_at: Some(sent_at),
            ttl: None,
            envelope: None,
        }
    }

    /// The wake id, if it is a call of ours.
    pub fn wake_id(&self) -> Option<WakeId> {
        match &self.kind {
            PayloadKind::Call(wake) => Some(*wake),
            PayloadKind::Refresh
            | PayloadKind::ForeignCall { .. }
            | PayloadKind::Sealed { .. }
            | PayloadKind::Proof { .. }
            | PayloadKind::Unknown => None,
        }
    }

    /// Reads the JSON that a shell hands down: our own fields as numbers or texts, at the top, or in an object `data`
    /// (FCM) or `aps` (a foreign server's Call-ID). Unknown fields are ignored.
    ///
    /// # Errors
    /// Not JSON, not an object, too long, or a call whose wake id is malformed.
    pub fn from_json(text: &str) -> Result<Payload, PushError> {
        if text.len() > MAX_PAYLOAD {
            return Err(PushError::TooLong("payload"));
        }
        // The parser's depth is bounded, and the size has been.
        let Ok(Value::Object(top)) = serde_json::from_str(text) else {
            return Err(PushError::Payload("object"));
        };
        let inner = |name: &str| top.get(name).and_then(Value::as_object);
        Fields { top: &top, data: inner("data"), aps: inner("aps") }.read()
    }

    /// Reads a data map, all of whose values are texts, as FCM delivers it.
    pub fn from_data<'a>(data: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Payload, PushError> {
        let mut top = Map::new();
        let mut size = 0_usize;
        for (name, value) in data {
            size = size.saturating_add(name.len()).saturating_add(value.len());
            if size > MAX_PAYLOAD {
                return Err(PushError::TooLong("payload"));
            }
            top.insert(name.to_owned(), Value::from(value));
        }
        Fields { top: &top, data: None, aps: None }.read()
    }

    /// The data map for FCM: every value is a text.
    pub fn to_data(&self) -> BTreeMap<&'static str, String> {
        let mut data = BTreeMap::from([("v", self.version.to_string())]);
        match &self.kind {
            PayloadKind::Call(wake) => {
                data.insert("t", "call".to_owned());
                data.insert("wid", wake.as_str().to_owned());
            }
            PayloadKind::Refresh => {
                data.insert("t", "refresh".to_owned());
            }
            PayloadKind::ForeignCall { call_id } => {
                data.insert("call-id", call_id.clone());
            }
            PayloadKind::Sealed { body } => {
                data.insert("t", "sealed".to_owned());
                data.insert("b", body.expose().to_owned());
            }
            PayloadKind::Proof { code } => {
                data.insert("t", "proof".to_owned());
                data.insert("b", code.expose().to_owned());
            }
            PayloadKind::Unknown => {}
        }
        let numbers =
            [("acc", self.account.map(u64::from)), ("ts", self.sent_at), ("ttl", self.ttl.map(u64::from))];
        data.extend(numbers.into_iter().filter_map(|(name, number)| Some((name, number?.to_string()))));
        data.extend(self.envelope.as_ref().map(|sealed| ("e", sealed.expose().to_owned())));
        data
    }

    /// The JSON object of our own fields: numbers are numbers.
    pub fn to_json(&self) -> String {
        Value::Object(self.object()).to_string()
    }

    /// The JSON for Apple's service: our fields beside an empty `aps`, as a call is shown by the app.
    pub fn to_apns_json(&self) -> String {
        let mut object = self.object();
        object.insert("aps".to_owned(), Value::Object(Map::new()));
        Value::Object(object).to_string()
    }

    fn object(&self) -> Map<String, Value> {
        let numeric = ["v", "acc", "ts", "ttl"];
        self.to_data()
            .into_iter()
            .map(|(name, text)| {
                let number = numeric.contains(&name).then(|| text.parse::<u64>().ok()).flatten();
                (name.to_owned(), number.map_or(Value::from(text), Value::from))
            })
            .collect()
    }
}

/// The places where a field may stand.
struct Fields<'a> {
    top: &'a Map<String, Value>,
    data: Option<&'a Map<String, Value>>,
    aps: Option<&'a Map<String, Value>>,
}

impl<'a> Fields<'a> {
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.top.get(name).or_else(|| self.data?.get(name))
    }

    fn text(&self, name: &str, most: usize) -> Option<&'a str> {
        self.value(name)?.as_str().filter(|text| text.len() <= most)
    }

    fn number(&self, name: &str) -> Option<u64> {
        let value = self.value(name)?;
        value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
    }

    fn small(&self, name: &str) -> Option<u32> {
        u32::try_from(self.number(name)?).ok()
    }

    fn read(&self) -> Result<Payload, PushError> {
        Ok(Payload {
            version: self.small("v").unwrap_or(0),
            kind: self.kind()?,
            account: self.small("acc"),
            sent_at: self.number("ts"),
            ttl: self.small("ttl").map(|seconds| seconds.min(MAX_TTL)),
            envelope: self
                .text("e", MAX_ENVELOPE)
                .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()))
                .map(Secret::from),
        })
    }

    fn kind(&self) -> Result<PayloadKind, PushError> {
        let kind = self.value("t").and_then(Value::as_str);
        match (kind, self.value("wid")) {
            (Some("refresh"), _) => Ok(PayloadKind::Refresh),
            (Some("sealed"), _) => self.opaque().map(|body| PayloadKind::Sealed { body }),
            (Some("proof"), _) => self.opaque().map(|code| PayloadKind::Proof { code }),
            (Some("call") | None, Some(wake)) => {
                let wake = wake.as_str().and_then(|text| text.parse().ok());
                wake.map(PayloadKind::Call).ok_or(PushError::Payload("wid"))
            }
            (Some("call"), None) => Err(PushError::Payload("wid")),
            (None, None) => Ok(self.foreign().unwrap_or(PayloadKind::Unknown)),
            (Some(_), _) => Ok(PayloadKind::Unknown),
        }
    }

    /// `b`: base64url that somebody else reads.
    fn opaque(&self) -> Result<Secret, PushError> {
        let text = self.text("b", MAX_PAYLOAD).filter(|text| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        });
        text.map(Secret::from).ok_or(PushError::Payload("b"))
    }

    /// `aps.call-id`, or a data key of this name: how servers for Linphone's clients name the call.
    fn foreign(&self) -> Option<PayloadKind> {
        let value = self.aps.and_then(|aps| aps.get("call-id")).or_else(|| self.value("call-id"))?;
        let call_id = value.as_str()?;
        let fits = !call_id.is_empty()
            && call_id.len() <= MAX_CALL_ID
            && call_id.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| PayloadKind::ForeignCall { call_id: call_id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wake() -> WakeId {
        "Zk3vQm1xT0aB9wLr".parse().unwrap()
    }

    fn full() -> Payload {
        Payload {
            account: Some(3),
            envelope: Some("c2VhbGVk".into()),
            ..Payload::call(wake(), 1_789_000_000_123, 20)
        }
    }

    #[test]
    fn what_a_relay_passes_on_is_read_and_what_it_cannot_be_is_refused() {
        for kind in
            [PayloadKind::Sealed { body: "c2VhbGVk".into() }, PayloadKind::Proof { code: "abc_-9".into() }]
        {
            let payload = Payload { kind, ..Payload::refresh(1) };
            assert_eq!(Payload::from_json(&payload.to_json()), Ok(payload.clone()));
            assert!(payload.wake_id().is_none() && !format!("{payload:?}").contains("c2Vh"));
        }
        for wrong in [
            r#"{"t":"sealed"}"#,
            r#"{"t":"sealed","b":""}"#,
            r#"{"t":"proof","b":"a b"}"#,
            r#"{"t":"sealed","b":7}"#,
        ] {
            assert_eq!(Payload::from_json(wrong), Err(PushError::Payload("b")), "{wrong}");
        }
    }

    #[test]
    fn the_data_map_holds_texts_only() {
        let data = full().to_data();
        let expected = [
            ("acc", "3"),
            ("e", "c2VhbGVk"),
            ("t", "call"),
            ("ts", "1789000000123"),
            ("ttl", "20"),
            ("v", "1"),
            ("wid", "Zk3vQm1xT0aB9wLr"),
        ];
        assert!(data.iter().map(|(name, value)| (*name, value.as_str())).eq(expected));
        assert_eq!(Payload::from_data(data.iter().map(|(name, value)| (*name, value.as_str()))), Ok(full()));
    }

    #[test]
    fn json_reads_back_with_and_without_aps() {
        for payload in [full(), Payload::refresh(5), Payload::call(wake(), 0, 1)] {
            assert_eq!(Payload::from_json(&payload.to_json()), Ok(payload.clone()));
            assert_eq!(Payload::from_json(&payload.to_apns_json()), Ok(payload));
        }
        assert!(full().to_json().contains("\"ts\":1789000000123"));
    }

    #[test]
    fn fields_may_stand_in_a_data_object_and_t_may_be_missing() {
        let read = Payload::from_json(
            r#"{"data":{"v":"1","wid":"Zk3vQm1xT0aB9wLr","acc":"3","ttl":"20"},"from":"1234","x":[{}]}"#,
        )
        .unwrap();
        assert_eq!(read.wake_id(), Some(wake()));
        assert_eq!((read.account, read.ttl), (Some(3), Some(20)));
    }

    #[test]
    fn a_foreign_servers_call_id_is_found() {
        let foreign = Ok(PayloadKind::ForeignCall { call_id: "a84b4c76e66710".to_owned() });
        let kind = |text| Payload::from_json(text).map(|payload| payload.kind);
        assert_eq!(kind(r#"{"aps":{"sound":"","call-id":"a84b4c76e66710"},"from-uri":"sip:x"}"#), foreign);
        assert_eq!(kind(r#"{"call-id":"a84b4c76e66710","loc-key":"IC_MSG"}"#), foreign);
        assert_eq!(kind(r#"{"call-id":"a b"}"#), Ok(PayloadKind::Unknown));
    }

    #[test]
    fn s25_a_stale_time_stamp_is_no_reason_to_refuse() {
        assert!(Payload::from_json(&Payload::call(wake(), 0, 20).to_json()).is_ok());
        let far = Payload::from_json(
            r#"{"t":"call","wid":"Zk3vQm1xT0aB9wLr","ts":18446744073709551615,"ttl":4294967295}"#,
        );
        assert_eq!(far.map(|payload| payload.ttl), Ok(Some(MAX_TTL)));
    }

    #[test]
    fn s8_a_hostile_payload_is_refused_or_harmless() {
        for bad in [
            "",
            "null",
            "[]",
            "\"x\"",
            "{",
            r#"{"t":"call"}"#,
            r#"{"wid":"x"}"#,
            r#"{"wid":"Zk3vQm1xT0aB9wL\r\n"}"#,
            r#"{"wid":["Zk3vQm1xT0aB9wLr"]}"#,
        ] {
            assert!(Payload::from_json(bad).is_err(), "{bad}");
        }
        let odd = Payload::from_json(
            r#"{"t":"call","wid":"Zk3vQm1xT0aB9wLr","v":-1,"acc":1e99,"ts":"soon","ttl":[],"e":"a\r\nb"}"#,
        )
        .unwrap();
        assert_eq!(odd.kind, PayloadKind::Call(wake()));
        assert_eq!((odd.account, odd.sent_at, odd.ttl, odd.envelope), (None, None, None, None));
        assert_eq!(Payload::from_json(r#"{"t":"format-disk"}"#).unwrap().kind, PayloadKind::Unknown);
        assert_eq!(Payload::from_json("{}").unwrap().kind, PayloadKind::Unknown);
    }

    #[test]
    fn s13_size_and_depth_are_bounded() {
        assert!(Payload::from_json(&format!("{{\"x\":{}1{}}}", "[".repeat(3000), "]".repeat(3000))).is_err());
        let long = "x".repeat(MAX_PAYLOAD);
        assert_eq!(Payload::from_json(&format!("{{\"x\":\"{long}\"}}")), Err(PushError::TooLong("payload")));
        assert_eq!(Payload::from_data([("x", long.as_str())]), Err(PushError::TooLong("payload")));
    }

    #[test]
    fn s23_the_envelope_does_not_show_itself() {
        assert!(!format!("{:?}", full()).contains("c2VhbGVk"));
    }
}
