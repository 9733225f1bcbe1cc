//! Reading what a REGISTER says of push, in every dialect (RFC 8599 §4.1, §14.1).

use std::borrow::Cow;

use wakeline_secret::Secret;

use crate::dialect::Dialect;
use crate::error::PushError;
use crate::escape::unescape_value;
use crate::parameters::{ContactPush, MAX_PARAM, MAX_PRID, PushParameters};
use crate::provider::Provider;
use crate::target::token_and_service;

/// The values found on a walk over the parameters; each may stand once.
#[derive(Default)]
struct Found<'a> {
    provider: Option<&'a str>,
    param: Option<&'a str>,
    prid: Option<&'a str>,
    legacy_type: Option<&'a str>,
    legacy_token: Option<&'a str>,
    app_id: Option<&'a str>,
}

impl PushParameters {
    /// Reads the parameters of a Contact: names and raw values of its URI's parameters, and behind them, for an old
    /// dialect, those of its header field.
    pub fn read<'a>(
        parameters: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<ContactPush, PushError> {
        let mut found = Found::default();
        for (name, value) in parameters {
            let known = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            let (slot, name) = if known("pn-provider") {
                (&mut found.provider, "pn-provider")
            } else if known("pn-param") {
                (&mut found.param, "pn-param")
            } else if known("pn-prid") {
                (&mut found.prid, "pn-prid")
            } else if known("pn-type") {
                (&mut found.legacy_type, "pn-type")
            } else if known("pn-tok") {
                (&mut found.legacy_token, "pn-tok")
            } else if known("app-id") {
                (&mut found.app_id, "app-id")
            } else {
                continue;
            };
            if slot.replace(value.unwrap_or("")).is_some() {
                return Err(PushError::Duplicate(name));
            }
        }
        found.conclude()
    }

    /// Reads the value of an `X-MPUSH` header field, `i:bundle:token` or `a:package:token`. It is split at the first
    /// two colons, because tokens contain colons.
    pub fn read_x_mpush(value: &str) -> Result<PushParameters, PushError> {
        const NAME: &str = "X-MPUSH";
        let mut parts = value.trim().splitn(3, ':');
        let provider = match parts.next().map(str::trim) {
            Some("i" | "I") => Provider::Apns,
            Some("a" | "A") => Provider::Fcm,
            Some(_) | None => return Err(PushError::Malformed(NAME)),
        };
        let (Some(app), Some(token)) = (parts.next(), parts.next()) else {
            return Err(PushError::Malformed(NAME));
        };
        if app.is_empty() || token.is_empty() {
            return Err(PushError::Missing(NAME));
        }
        let read = PushParameters::new(provider, app, token.into())?;
        Ok(PushParameters { dialect: Dialect::Xmpush, ..read })
    }

    /// What a REGISTER says of push in any dialect: its Contact's parameters, else its `X-MPUSH` header field.
    pub fn read_register<'a>(
        contact: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
        x_mpush: Option<&str>,
    ) -> Result<ContactPush, PushError> {
        match (PushParameters::read(contact)?, x_mpush) {
            (ContactPush::Absent, Some(value)) => Self::read_x_mpush(value).map(ContactPush::Bound),
            (found, _) => Ok(found),
        }
    }
}

impl Found<'_> {
    fn conclude(self) -> Result<ContactPush, PushError> {
        if let Some(prid) = self.prid {
            let Some(provider) = self.provider.filter(|name| !name.is_empty()) else {
                return Err(PushError::Missing("pn-provider"));
            };
            let provider = Provider::parse(&value(provider, "pn-provider", MAX_PARAM)?);
            let param = value(self.param.unwrap_or(""), "pn-param", MAX_PARAM)?.into_owned();
            let prid = value(prid, "pn-prid", MAX_PRID)?.into_owned();
            let dialect = dialect_of(&provider, &param, &prid);
            return bound(PushParameters { provider, param, prid: Secret::new(prid), dialect });
        }
        if let Some(provider) = self.provider {
            // RFC 8599 §4.1.1: no token means a question, not a wish to be woken; `pn-param` is of no account then.
            let name = value(provider, "pn-provider", MAX_PARAM)?;
            return Ok(ContactPush::Query((!name.is_empty()).then(|| Provider::parse(&name))));
        }
        let Some(token) = self.legacy_token.filter(|token| !token.is_empty()) else {
            return Ok(ContactPush::Absent);
        };
        let provider = Provider::parse(&value(self.legacy_type.unwrap_or(""), "pn-type", MAX_PARAM)?);
        let app = value(self.app_id.unwrap_or(""), "app-id", MAX_PARAM)?;
        let (provider, app) = match provider {
            // The build is told by the end of the topic.
            Provider::Apns => match app.strip_suffix(".dev") {
                Some(topic) => (Provider::ApnsSandbox, topic.to_owned()),
                None => (Provider::Apns, app.strip_suffix(".prod").unwrap_or(&app).to_owned()),
            },
            other @ (Provider::ApnsSandbox | Provider::Fcm | Provider::WebPush | Provider::Other(_)) => {
                (other, app.into_owned())
            }
        };
        let prid = Secret::new(value(token, "pn-tok", MAX_PRID)?);
        bound(PushParameters { provider, param: app, prid, dialect: Dialect::Legacy })
    }
}

fn bound(parameters: PushParameters) -> Result<ContactPush, PushError> {
    parameters.check()?;
    Ok(ContactPush::Bound(parameters))
}

/// A raw value, bounded, unquoted and unescaped.
fn value<'a>(raw: &'a str, name: &'static str, most: usize) -> Result<Cow<'a, str>, PushError> {
    if raw.len() > most * 3 {
        return Err(PushError::TooLong(name));
    }
    // As a header parameter (dialect L3) the value may be a quoted string.
    let raw = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
    unescape_value(raw).ok_or(PushError::Malformed(name))
}

/// The dialect of parameters with RFC 8599 names.
fn dialect_of(provider: &Provider, param: &str, prid: &str) -> Dialect {
    let linphone = match provider {
        Provider::ApnsSandbox => true,
        Provider::Apns => param.contains('&') || prid.contains('&') || token_and_service(prid).1.is_some(),
        Provider::Fcm => !param.is_empty() && param.bytes().all(|byte| byte.is_ascii_digit()),
        Provider::WebPush | Provider::Other(_) => false,
    };
    if linphone { Dialect::Linphone } else { Dialect::Rfc8599 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<ContactPush, PushError> {
        PushParameters::read(
            parameters.iter().map(|(name, value)| (*name, (!value.is_empty()).then_some(*value))),
        )
    }

    fn bound(parameters: &[(&str, &str)]) -> PushParameters {
        match read(parameters).unwrap() {
            ContactPush::Bound(found) => found,
            other @ (ContactPush::Absent | ContactPush::Query(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn rfc8599_parameters_are_read_among_others_in_any_case() {
        let found = bound(&[
            ("transport", "tls"),
            ("ob", ""),
            ("PN-Provider", "FCM"),
            ("pn-param", "acme-voice-prod"),
            ("pn-prid", "dK2_exampleToken:APA91bExample"),
        ]);
        assert_eq!(found.provider, Provider::Fcm);
        assert_eq!(found.param, "acme-voice-prod");
        assert_eq!(found.prid.expose(), "dK2_exampleToken:APA91bExample");
        assert_eq!(found.dialect, Dialect::Rfc8599);
    }

    #[test]
    fn web_push_needs_no_param_and_is_unescaped() {
        let found =
            bound(&[("pn-provider", "webpush"), ("pn-prid", "https://push.example.net/w/v2/gAB%3Fk%3D1")]);
        assert_eq!(found.prid.expose(), "https://push.example.net/w/v2/gAB?k=1");
        assert!(found.param.is_empty());
    }

    #[test]
    fn without_a_token_it_is_a_question() {
        assert_eq!(read(&[("pn-provider", "")]).unwrap(), ContactPush::Query(None));
        assert_eq!(read(&[("pn-provider", "apns")]).unwrap(), ContactPush::Query(Some(Provider::Apns)));
        assert_eq!(
            read(&[("pn-provider", "apns"), ("pn-param", "T.b.voip")]).unwrap(),
            ContactPush::Query(Some(Provider::Apns))
        );
        assert_eq!(read(&[("ob", ""), ("pn-purr", "x")]).unwrap(), ContactPush::Absent);
    }

    #[test]
    fn legacy_dialects_l1_l2_and_l3_are_read() {
        let l1 =
            bound(&[("app-id", "org.example.voice.voip.prod"), ("pn-type", "apple"), ("pn-tok", "6F9A")]);
        assert_eq!((l1.provider, l1.param.as_str()), (Provider::Apns, "org.example.voice.voip"));
        let sandbox =
            bound(&[("app-id", "org.example.voice.voip.dev"), ("pn-type", "apple"), ("pn-tok", "6F9A")]);
        assert_eq!(sandbox.provider, Provider::ApnsSandbox);
        for kind in ["android", "firebase", "google"] {
            let l2 = bound(&[("app-id", "481516234200"), ("pn-type", kind), ("pn-tok", "dK2_ex:APA91b")]);
            assert_eq!((l2.provider, l2.param.as_str()), (Provider::Fcm, "481516234200"));
            assert_eq!(l2.dialect, Dialect::Legacy);
        }
        // L3: the same behind the address, where a value may be quoted.
        let l3 = bound(&[
            ("reg-id", "1"),
            ("app-id", "org.example.app"),
            ("pn-type", "apple"),
            ("pn-tok", "\"6F9A\""),
        ]);
        assert_eq!(l3.prid.expose(), "6F9A");
    }

    #[test]
    fn the_new_spelling_wins_over_the_old() {
        let found = bound(&[
            ("app-id", "old"),
            ("pn-type", "google"),
            ("pn-tok", "old"),
            ("pn-provider", "fcm"),
            ("pn-param", "new"),
            ("pn-prid", "new"),
        ]);
        assert_eq!(found.prid.expose(), "new");
    }

    #[test]
    fn broken_parameters_are_refused_by_name() {
        for (parameters, error) in [
            (&[("pn-prid", "x")][..], PushError::Missing("pn-provider")),
            (&[("pn-provider", "fcm"), ("pn-prid", "x")], PushError::Missing("pn-param")),
            (&[("pn-provider", "fcm"), ("pn-param", "p"), ("pn-prid", "")], PushError::Missing("pn-prid")),
            (
                &[("pn-provider", "webpush"), ("pn-prid", "x"), ("PN-PRID", "y")],
                PushError::Duplicate("pn-prid"),
            ),
            (&[("pn-provider", "webpush"), ("pn-prid", "x%2")], PushError::Malformed("pn-prid")),
        ] {
            assert_eq!(read(parameters), Err(error));
        }
        let long = "x".repeat(MAX_PRID + 1);
        assert_eq!(
            read(&[("pn-provider", "webpush"), ("pn-prid", &long)]),
            Err(PushError::TooLong("pn-prid"))
        );
        let longer = "x".repeat(MAX_PRID * 3 + 1);
        assert_eq!(
            read(&[("pn-provider", "webpush"), ("pn-prid", &longer)]),
            Err(PushError::TooLong("pn-prid"))
        );
    }

    #[test]
    fn s8_line_ends_in_a_token_never_pass() {
        assert_eq!(
            read(&[("pn-provider", "webpush"), ("pn-prid", "https://x/%0d%0aRoute:y")]),
            Err(PushError::Malformed("pn-prid"))
        );
        for bad in ["a\r\nb", "a\nb", "a\0b"] {
            assert_eq!(
                PushParameters::new(Provider::Fcm, "p", bad.into()),
                Err(PushError::Control("pn-prid"))
            );
            assert_eq!(
                PushParameters::new(Provider::Fcm, bad, "t".into()),
                Err(PushError::Control("pn-param"))
            );
        }
    }

    #[test]
    fn x_mpush_is_split_at_the_first_two_colons() {
        let read = PushParameters::read_x_mpush(" a:org.example.voice:dK2_x:APA91b ").unwrap();
        assert_eq!((read.provider, read.param.as_str()), (Provider::Fcm, "org.example.voice"));
        assert_eq!(read.prid.expose(), "dK2_x:APA91b");
        for bad in ["", "x:b:t", "i:b", "i::t", "i:b:", "::", "i:b:t\r\nRoute: y"] {
            assert!(PushParameters::read_x_mpush(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_contact_with_parameters_beats_the_header_field() {
        let contact = [("pn-provider", Some("webpush")), ("pn-prid", Some("https://x/"))];
        let ContactPush::Bound(read) = PushParameters::read_register(contact, Some("i:b:t")).unwrap() else {
            panic!("not bound");
        };
        assert_eq!(read.provider, Provider::WebPush);
        let ContactPush::Bound(read) = PushParameters::read_register([], Some("i:b:t")).unwrap() else {
            panic!("not bound");
        };
        assert_eq!(read.dialect, Dialect::Xmpush);
    }
}
