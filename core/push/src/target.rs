//! Whom a push goes to: the reading of `pn-param` and `pn-prid` by provider and dialect.

use wakeline_secret::Secret;

use crate::dialect::Dialect;
use crate::error::PushError;
use crate::parameters::PushParameters;
use crate::provider::Provider;

/// Tokens of one binding that are read at most.
const MAX_TARGETS: usize = 4;

/// The kind of an Apple push.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Service {
    /// A call: push type `voip`, topic with `.voip`.
    Voip,
    /// A notification: push type `alert` or `background`, topic is the bundle.
    Remote,
}

/// One token with what the push service needs to know about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushTarget {
    /// Apple's service.
    Apns {
        /// The topic header.
        topic: String,
        /// The kind of push.
        service: Service,
        /// Whether the token belongs to the host for development builds.
        sandbox: bool,
        /// The device token.
        token: Secret,
    },
    /// Google's service.
    Fcm {
        /// Firebase project id, or its number; with `X-MPUSH`, the package.
        project: String,
        /// The registration token.
        token: Secret,
    },
    /// RFC 8030.
    WebPush {
        /// The subscription's address, without a fragment.
        address: Secret,
        /// What a payload is sealed with (RFC 8291); without it a push carries nothing.
        keys: Option<WebPushKeys>,
    },
    /// A service that only an operator's own program knows.
    Other {
        /// `pn-provider`, in lower case.
        provider: String,
        /// `pn-param`.
        param: String,
        /// `pn-prid`.
        token: Secret,
    },
}

/// The keys of a Web Push subscription, as a browser hands them out (RFC 8291 §3.1).
///
/// RFC 8599 §12 has a place for the address only. A phone that wants a payload writes the keys behind it, as a fragment:
/// `https://push.example.net/w/gAB#p256dh=BL...&auth=dG...`. A fragment is never sent to the push service, and a
/// network that knows nothing of this form pushes without a payload, as the RFC has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebPushKeys {
    /// The subscription's public key, base64url: 65 bytes.
    pub p256dh: Secret,
    /// Its authentication secret, base64url: 16 bytes.
    pub auth: Secret,
}

impl WebPushKeys {
    /// Reads a fragment; other names in it are passed over.
    fn read(fragment: &str) -> Option<WebPushKeys> {
        let field = |name: &str, length: usize| {
            let value =
                fragment.split('&').find_map(|pair| pair.split_once('=').filter(|(n, _)| *n == name))?.1;
            let value = value.trim_end_matches('=');
            let base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (value.len() == length && value.bytes().all(base64url)).then(|| Secret::from(value))
        };
        // 65 and 16 bytes in base64url without padding.
        Some(WebPushKeys { p256dh: field("p256dh", 87)?, auth: field("auth", 22)? })
    }
}

impl PushTarget {
    /// The token or address.
    pub fn token(&self) -> &Secret {
        match self {
            PushTarget::Apns { token, .. }
            | PushTarget::Fcm { token, .. }
            | PushTarget::Other { token, .. } => token,
            PushTarget::WebPush { address, .. } => address,
        }
    }
}

impl PushParameters {
    /// Whom a push goes to: one target per token (the dialects of Linphone know several).
    pub fn targets(&self) -> Result<Vec<PushTarget>, PushError> {
        let token = || self.prid.clone();
        match &self.provider {
            Provider::Fcm => Ok(vec![PushTarget::Fcm { project: self.param.clone(), token: token() }]),
            Provider::WebPush => Ok(vec![web(self.prid.expose())?]),
            Provider::Apns => apns(self, false),
            Provider::ApnsSandbox => apns(self, true),
            Provider::Other(provider) => Ok(vec![PushTarget::Other {
                provider: provider.clone(),
                param: self.param.clone(),
                token: token(),
            }]),
        }
    }
}

fn web(prid: &str) -> Result<PushTarget, PushError> {
    let (address, keys) = match prid.split_once('#') {
        None => (prid, None),
        Some((address, fragment)) => {
            (address, Some(WebPushKeys::read(fragment).ok_or(PushError::Malformed("pn-prid"))?))
        }
    };
    Ok(PushTarget::WebPush { address: Secret::from(address), keys })
}

fn apns(parameters: &PushParameters, sandbox: bool) -> Result<Vec<PushTarget>, PushError> {
    let one = |topic: String, service, token: &str| PushTarget::Apns {
        topic,
        service,
        sandbox,
        token: Secret::new(token),
    };
    let topic_of = |bundle: &str, service| match service {
        Service::Voip => format!("{bundle}.voip"),
        Service::Remote => bundle.to_owned(),
    };
    match parameters.dialect {
        Dialect::Legacy => {
            let service = if parameters.param.ends_with(".voip") { Service::Voip } else { Service::Remote };
            Ok(vec![one(parameters.param.clone(), service, parameters.prid.expose())])
        }
        Dialect::Xmpush => {
            Ok(vec![one(topic_of(&parameters.param, Service::Voip), Service::Voip, parameters.prid.expose())])
        }
        Dialect::Rfc8599 | Dialect::Linphone => {
            let malformed = || PushError::Malformed("pn-param");
            let bundle = bundle_of(&parameters.param, parameters.dialect).ok_or_else(malformed)?;
            let mut services = services_of(&parameters.param)?;
            let tokens: Vec<_> = parameters.prid.expose().split('&').map(token_and_service).collect();
            if tokens.len() > MAX_TARGETS || tokens.iter().any(|(token, _)| token.is_empty()) {
                return Err(PushError::Malformed("pn-prid"));
            }
            // One token may leave its service out: then it is the only one that the param names.
            if let [(token, service)] = tokens[..] {
                let service = service.or(services.pop()).unwrap_or(Service::Remote);
                return Ok(vec![one(topic_of(bundle, service), service, token)]);
            }
            if tokens.len() != services.len() {
                return Err(PushError::Malformed("pn-prid"));
            }
            tokens
                .into_iter()
                .map(|(token, service)| {
                    let service = service.ok_or(PushError::Malformed("pn-prid"))?;
                    Ok(one(topic_of(bundle, service), service, token))
                })
                .collect()
        }
    }
}

/// A token and the service behind its last colon.
pub(crate) fn token_and_service(text: &str) -> (&str, Option<Service>) {
    if let Some(token) = text.strip_suffix(":voip") {
        (token, Some(Service::Voip))
    } else if let Some(token) = text.strip_suffix(":remote") {
        (token, Some(Service::Remote))
    } else {
        (text, None)
    }
}

/// The bundle in `team.bundle.services`: the first dot ends the team (a placeholder with some clients, so it is not
/// looked at), the last dot starts the services if they are services.
pub(crate) fn bundle_of(param: &str, dialect: Dialect) -> Option<&str> {
    let rest = match dialect {
        Dialect::Rfc8599 | Dialect::Linphone => param.split_once('.')?.1,
        Dialect::Legacy | Dialect::Xmpush => param,
    };
    let bundle = match rest.rsplit_once('.') {
        Some((bundle, services)) if services.split('&').all(|one| service_named(one).is_some()) => bundle,
        Some(_) | None => rest,
    };
    (!bundle.is_empty()).then_some(bundle)
}

/// The services of `team.bundle.services`; a param without one means notifications.
fn services_of(param: &str) -> Result<Vec<Service>, PushError> {
    let last = param.rsplit_once('.').map_or("", |(_, last)| last);
    let services: Vec<_> = last.split('&').map_while(service_named).take(MAX_TARGETS).collect();
    if services.is_empty() {
        return if last.contains('&') {
            Err(PushError::Malformed("pn-param"))
        } else {
            Ok(vec![Service::Remote])
        };
    }
    Ok(services)
}

fn service_named(name: &str) -> Option<Service> {
    match name {
        "voip" => Some(Service::Voip),
        "remote" => Some(Service::Remote),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::ContactPush;

    fn read(parameters: &[(&str, &str)]) -> PushParameters {
        match PushParameters::read(parameters.iter().map(|(name, value)| (*name, Some(*value)))).unwrap() {
            ContactPush::Bound(read) => read,
            other @ (ContactPush::Absent | ContactPush::Query(_)) => panic!("{other:?}"),
        }
    }

    fn apns(topic: &str, service: Service, sandbox: bool, token: &str) -> PushTarget {
        PushTarget::Apns { topic: topic.to_owned(), service, sandbox, token: token.into() }
    }

    #[test]
    fn apple_topics_of_every_dialect() {
        for (provider, param, prid, expected) in [
            (
                "apns",
                "AB12CD34EF.org.example.voice.voip",
                "6F9A",
                vec![apns("org.example.voice.voip", Service::Voip, false, "6F9A")],
            ),
            (
                "apns",
                "ABCD1234.org.example.voice.voip&remote",
                "6F9A:voip&7701:remote",
                vec![
                    apns("org.example.voice.voip", Service::Voip, false, "6F9A"),
                    apns("org.example.voice", Service::Remote, false, "7701"),
                ],
            ),
            (
                "apns.dev",
                "ABCD1234.org.example.voice.voip",
                "6F9A:voip",
                vec![apns("org.example.voice.voip", Service::Voip, true, "6F9A")],
            ),
            (
                "apns",
                "ABCD1234.org.example.voice",
                "6F9A",
                vec![apns("org.example.voice", Service::Remote, false, "6F9A")],
            ),
        ] {
            let read = read(&[("pn-provider", provider), ("pn-param", param), ("pn-prid", prid)]);
            assert_eq!(read.targets(), Ok(expected));
        }
        let legacy =
            read(&[("app-id", "org.example.voice.voip.dev"), ("pn-type", "apple"), ("pn-tok", "6F")]);
        assert_eq!(legacy.targets(), Ok(vec![apns("org.example.voice.voip", Service::Voip, true, "6F")]));
        let x = PushParameters::read_x_mpush("i:org.example.voice:6F").unwrap();
        assert_eq!(x.targets(), Ok(vec![apns("org.example.voice.voip", Service::Voip, false, "6F")]));
    }

    #[test]
    fn google_and_web_targets() {
        let fcm = read(&[("pn-provider", "fcm"), ("pn-param", "481516234200"), ("pn-prid", "d:A")]);
        assert_eq!(
            fcm.targets(),
            Ok(vec![PushTarget::Fcm { project: "481516234200".to_owned(), token: "d:A".into() }])
        );
        let web = read(&[("pn-provider", "webpush"), ("pn-prid", "https://x/%3Fa")]);
        assert_eq!(
            web.targets(),
            Ok(vec![PushTarget::WebPush { address: "https://x/?a".into(), keys: None }])
        );
        let other = read(&[("pn-provider", "HMS"), ("pn-param", "7"), ("pn-prid", "t")]);
        assert_eq!(
            other.targets(),
            Ok(vec![PushTarget::Other { provider: "hms".into(), param: "7".into(), token: "t".into() }])
        );
    }

    #[test]
    fn a_web_push_address_may_bring_its_keys_as_a_fragment() {
        let (public, auth) = ("B".repeat(87), "a".repeat(22));
        let prid = |fragment: &str| format!("https://x/a?b%23{fragment}");
        let read = |fragment: &str| {
            let prid = prid(fragment);
            read(&[("pn-provider", "webpush"), ("pn-prid", &prid)]).targets()
        };
        let keys = WebPushKeys { p256dh: public.as_str().into(), auth: auth.as_str().into() };
        let with_keys = PushTarget::WebPush { address: "https://x/a?b".into(), keys: Some(keys) };
        assert_eq!(read(&format!("p256dh%3D{public}&auth%3D{auth}")), Ok(vec![with_keys.clone()]));
        assert_eq!(read(&format!("x%3D1&auth%3D{auth}%3D%3D&p256dh%3D{public}%3D")), Ok(vec![with_keys]));
        for bad in [
            String::new(),
            format!("p256dh%3D{public}"),
            format!("p256dh%3D{public}&auth%3Dshort"),
            format!("p256dh%3D{public}&auth%3D{}", "a+".repeat(11)),
        ] {
            assert_eq!(read(&bad), Err(PushError::Malformed("pn-prid")), "{bad}");
        }
    }

    #[test]
    fn tokens_and_services_must_go_together() {
        for (param, prid) in [
            ("T.b.voip", "1:voip&2:remote"),
            ("T.b.voip&remote", "1&2"),
            ("T.b.voip&remote", "1:voip&"),
            ("noteam", "1"),
            ("T.b.voip&remote", "1:voip&2:remote&3:voip&4:voip&5:voip"),
        ] {
            let read = read(&[("pn-provider", "apns"), ("pn-param", param), ("pn-prid", prid)]);
            assert!(read.targets().is_err(), "{param} {prid}");
        }
    }
}
