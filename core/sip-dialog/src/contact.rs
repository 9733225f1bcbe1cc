//! The Contact of a dialog, which cannot hold the push token.

use wakeline_sip_message::{OwnedUri, Uri};

use crate::error::DialogError;

/// Our Contact in dialogs: an address without push parameters.
///
/// RFC 8599 §4.1 forbids `pn-prid` and its kin outside REGISTER, because whoever reads the token can wake the phone.
/// The Contact of a REGISTER is another type, so the compiler keeps the secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialogContact {
    uri: String,
    params: String,
}

/// The names under which push tokens of the known dialects travel (RFC 8599 §4.1 and what came before it).
const PUSH_NAMES: [&str; 8] =
    ["pn-provider", "pn-param", "pn-prid", "pn-purr", "pn-tok", "pn-type", "pn-msg-str", "pn-call-str"];

fn is_push(name: &str) -> bool {
    PUSH_NAMES.iter().any(|push| push.eq_ignore_ascii_case(name))
        || name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("pn-"))
}

impl DialogContact {
    /// A Contact with this URI; refused if it carries any push parameter but `pn-purr`.
    pub fn new(uri: &OwnedUri) -> Result<DialogContact, DialogError> {
        // pn-purr is no secret but a handle that the network gave us for dialogs (RFC 8599 §6.1.2).
        let secret = |(name, _): (&str, Option<&str>)| is_push(name) && !name.eq_ignore_ascii_case("pn-purr");
        if uri.view().params().iter().any(secret) {
            return Err(DialogError::CarriesPush);
        }
        Ok(DialogContact { uri: uri.as_str().into(), params: String::new() })
    }

    /// With header parameters, such as `;+sip.instance="<urn:uuid:…>";ob`; written behind the brackets as they are.
    pub fn with_params(mut self, params: &str) -> Result<DialogContact, DialogError> {
        let read = wakeline_sip_message::Params::parse(params)?;
        if read.iter().any(|(name, _)| is_push(name)) {
            return Err(DialogError::CarriesPush);
        }
        self.params = params.into();
        Ok(self)
    }

    /// The URI.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The user part of the URI, as it was written.
    pub fn user(&self) -> Option<&str> {
        Uri::parse(&self.uri).ok().and_then(|uri| uri.user())
    }

    /// The header value.
    pub fn value(&self) -> String {
        format!("<{}>{}", self.uri, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_a_dialog_contact_cannot_hold_a_push_token() {
        let bare = OwnedUri::parse("sip:bob@192.0.2.4:5060;transport=tcp").unwrap();
        assert!(DialogContact::new(&bare).is_ok());
        for name in ["pn-prid=abc", "pn-provider=fcm", "PN-PARAM=x", "pn-tok=1"] {
            let uri = OwnedUri::parse(&format!("sip:bob@192.0.2.4;{name}")).unwrap();
            assert!(matches!(DialogContact::new(&uri), Err(DialogError::CarriesPush)), "{name}");
        }
        let purr = OwnedUri::parse("sip:bob@192.0.2.4;pn-purr=xyz").unwrap();
        assert!(DialogContact::new(&purr).is_ok());
        assert!(DialogContact::new(&bare).unwrap().with_params(";pn-prid=abc").is_err());
        assert_eq!(
            DialogContact::new(&bare).unwrap().with_params(";ob").unwrap().value(),
            "<sip:bob@192.0.2.4:5060;transport=tcp>;ob"
        );
    }
}
