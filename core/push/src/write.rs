//! Writing the push parameters of a REGISTER as its server spells them.

use wakeline_secret::Secret;

use crate::dialect::PushMode;
use crate::escape::escape_value;
use crate::parameters::PushParameters;
use crate::provider::Provider;
use crate::target;

/// What a REGISTER is to carry. Values are escaped; they hold the token and belong on the wire only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// Parameters of the Contact URI, in this order.
    pub uri_parameters: Vec<(&'static str, Secret)>,
    /// Header fields of the request.
    pub header_fields: Vec<(&'static str, Secret)>,
}

impl PushParameters {
    /// Writes the parameters as `mode` asks for. They are the same, byte by byte, for the same parameters, as every
    /// REGISTER of a binding must carry the same ones (RFC 8599 §4.1).
    pub fn write(&self, mode: PushMode) -> Written {
        match mode {
            PushMode::None => Written::default(),
            PushMode::Rfc8599 => Written { uri_parameters: self.rfc8599(), ..Written::default() },
            PushMode::Linphone => Written { uri_parameters: self.linphone(), ..Written::default() },
            PushMode::Xmpush => Written {
                header_fields: self.xmpush().map(|text| ("X-MPUSH", text)).into_iter().collect(),
                ..Written::default()
            },
        }
    }

    /// The parameter that asks what the network can do: for this provider, or, with `None`, for every one. Neither
    /// `pn-param` nor `pn-prid` goes with it (RFC 8599 §4.1.1; some servers take the former for a wish to be woken).
    pub fn write_query(provider: Option<&Provider>) -> (&'static str, Option<String>) {
        ("pn-provider", provider.map(|provider| escape_value(provider.as_str()).into_owned()))
    }

    fn rfc8599(&self) -> Vec<(&'static str, Secret)> {
        let mut written = vec![("pn-provider", escaped(self.provider.as_str()))];
        // RFC 8599 §14.2: must not be used with webpush.
        if !self.param.is_empty() && self.provider != Provider::WebPush {
            written.push(("pn-param", escaped(&self.param)));
        }
        written.push(("pn-prid", escaped(self.prid.expose())));
        written
    }

    fn linphone(&self) -> Vec<(&'static str, Secret)> {
        let mut written = self.rfc8599();
        let voip = matches!(self.provider, Provider::Apns | Provider::ApnsSandbox)
            && target::token_and_service(self.prid.expose()).1.is_none()
            && self.param.ends_with(".voip");
        if voip && let Some((_, prid)) = written.iter_mut().find(|(name, _)| *name == "pn-prid") {
            *prid = escaped(&format!("{}:voip", self.prid.expose()));
        }
        // A call is shown by the app, not by the service, and at once.
        written.push(("pn-silent", "1".into()));
        written.push(("pn-timeout", "0".into()));
        written
    }

    fn xmpush(&self) -> Option<Secret> {
        let (letter, app) = match self.provider {
            Provider::Apns | Provider::ApnsSandbox => {
                ('i', target::bundle_of(&self.param, self.dialect).unwrap_or(&self.param))
            }
            Provider::Fcm => ('a', self.param.as_str()),
            Provider::WebPush | Provider::Other(_) => return None,
        };
        Some(Secret::new(format!("{letter}:{app}:{}", self.prid.expose())))
    }
}

fn escaped(text: &str) -> Secret {
    Secret::new(escape_value(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Dialect;
    use crate::parameters::ContactPush;

    fn written(parameters: &PushParameters, mode: PushMode) -> String {
        let written = parameters.write(mode);
        let uri = written.uri_parameters.iter().map(|(name, value)| format!(";{name}={}", value.expose()));
        let fields = written.header_fields.iter().map(|(name, value)| format!("{name}: {}", value.expose()));
        uri.chain(fields).collect()
    }

    fn parameters(provider: Provider, param: &str, prid: &str) -> PushParameters {
        PushParameters::new(provider, param, prid.into()).unwrap()
    }

    fn read_uri(text: &str) -> PushParameters {
        let pairs = text.split(';').filter(|one| !one.is_empty()).map(|one| match one.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (one, None),
        });
        match PushParameters::read(pairs).unwrap() {
            ContactPush::Bound(read) => read,
            other @ (ContactPush::Absent | ContactPush::Query(_)) => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_mode_writes_its_own_spelling() {
        let fcm = parameters(Provider::Fcm, "acme-voice-prod", "dK2_x:APA91b");
        let apns = parameters(Provider::Apns, "AB12CD34EF.org.example.voice.voip", "6F9A");
        let web = parameters(Provider::WebPush, "", "https://push.example.net/gAB?k=1");
        for (parameters, mode, expected) in [
            (&fcm, PushMode::Rfc8599, ";pn-provider=fcm;pn-param=acme-voice-prod;pn-prid=dK2_x:APA91b"),
            (
                &apns,
                PushMode::Rfc8599,
                ";pn-provider=apns;pn-param=AB12CD34EF.org.example.voice.voip;pn-prid=6F9A",
            ),
            (&web, PushMode::Rfc8599, ";pn-provider=webpush;pn-prid=https://push.example.net/gAB%3Fk%3D1"),
            (
                &apns,
                PushMode::Linphone,
                ";pn-provider=apns;pn-param=AB12CD34EF.org.example.voice.voip;pn-prid=6F9A:voip;pn-silent=1;pn-timeout=0",
            ),
            (&apns, PushMode::Xmpush, "X-MPUSH: i:org.example.voice:6F9A"),
            (&fcm, PushMode::Xmpush, "X-MPUSH: a:acme-voice-prod:dK2_x:APA91b"),
            (&web, PushMode::Xmpush, ""),
            (&fcm, PushMode::None, ""),
        ] {
            assert_eq!(written(parameters, mode), expected);
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        for original in [
            parameters(Provider::Fcm, "acme-voice-prod", "dK2_x:APA91b"),
            parameters(Provider::Apns, "AB12CD34EF.org.example.voice.voip", "6F9A"),
            parameters(Provider::WebPush, "", "https://push.example.net/gAB?k=1;x=2"),
            parameters(Provider::Other("hms".to_owned()), "app 7", "t@k=n"),
        ] {
            assert_eq!(read_uri(&written(&original, PushMode::Rfc8599)), original);
        }
    }

    #[test]
    fn dialects_n1_n2_and_n3_are_told_apart() {
        for (text, dialect) in [
            (";pn-provider=apns;pn-param=T.b.voip&remote;pn-prid=6F:voip&77:remote", Dialect::Linphone),
            (";pn-provider=apns;pn-param=T.b.voip;pn-prid=6F:voip", Dialect::Linphone),
            (";pn-provider=apns.dev;pn-param=T.b.voip;pn-prid=6F", Dialect::Linphone),
            (";pn-provider=fcm;pn-param=481516234200;pn-prid=d:A", Dialect::Linphone),
            (";pn-provider=apns;pn-param=T.b.voip;pn-prid=6F", Dialect::Rfc8599),
            (";pn-provider=fcm;pn-param=acme-1;pn-prid=d:A", Dialect::Rfc8599),
        ] {
            assert_eq!(read_uri(text).dialect, dialect, "{text}");
        }
    }

    #[test]
    fn a_query_carries_the_provider_only() {
        assert_eq!(PushParameters::write_query(None), ("pn-provider", None));
        assert_eq!(
            PushParameters::write_query(Some(&Provider::Apns)),
            ("pn-provider", Some("apns".to_owned()))
        );
    }

    #[test]
    fn s23_what_is_written_does_not_show_itself() {
        let parameters = parameters(Provider::Fcm, "p", "canary-token");
        for mode in [PushMode::Rfc8599, PushMode::Linphone, PushMode::Xmpush] {
            assert!(!format!("{:?}", parameters.write(mode)).contains("canary"));
        }
    }
}
