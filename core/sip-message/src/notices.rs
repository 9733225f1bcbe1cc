//! Header fields that tell or subscribe to something: Reason (RFC 3326), Warning, Alert-Info and its kin (RFC 3261),
//! Event and Subscription-State (RFC 6665), identity (RFC 3325, RFC 3323), capabilities (RFC 6809), flows (RFC 5626).

use std::borrow::Cow;

use crate::error::{Flaw, ParseError};
use crate::grammar::{is_token, number, quoted_end, trim, unquote};
use crate::media_type::{Item, MediaType};
use crate::message::Message;
use crate::name::Name;
use crate::name_addr::{NameAddr, seconds};
use crate::params::Params;

fn bad() -> ParseError {
    ParseError::value(Flaw::Syntax)
}

/// One Reason value (RFC 3326 §2): why a request is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reason<'a>(Item<'a>);

impl<'a> Reason<'a> {
    /// Reads `SIP;cause=200;text="Call completed elsewhere"`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        Item::parse_token(text).map(Reason)
    }

    /// `SIP`, `Q.850`, …
    pub fn protocol(&self) -> &'a str {
        self.0.value()
    }

    /// Whether the cause is a SIP status code.
    pub fn is_sip(&self) -> bool {
        self.0.is("SIP")
    }

    /// The cause.
    pub fn cause(&self) -> Option<u16> {
        self.0.param("cause").and_then(number)
    }

    /// The text, without its quotes.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        self.0.params().get_unquoted("text")
    }
}

/// One Warning value (RFC 3261 §20.43).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning<'a> {
    /// Three digits.
    pub code: u16,
    /// Who warns.
    pub agent: &'a str,
    /// What for, without its quotes.
    pub text: Cow<'a, str>,
}

impl<'a> Warning<'a> {
    /// Reads `307 isi.edu "Session parameter 'foo' not understood"`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let (code, rest) = trim(text).split_once(' ').ok_or_else(bad)?;
        let (agent, quoted) = trim(rest).split_once([' ', '\t']).ok_or_else(bad)?;
        let quoted = trim(quoted);
        let code_read = number::<u16>(code).filter(|_| code.len() == 3);
        let code = code_read.ok_or_else(|| ParseError::value(Flaw::Number))?;
        if quoted_end(quoted.as_bytes()) != Some(quoted.len()) {
            return Err(bad());
        }
        Ok(Warning { code, agent, text: unquote(quoted) })
    }
}

/// One value of Alert-Info, Call-Info or Error-Info: a URI of any scheme in brackets, and parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InfoUri<'a> {
    /// The URI as it was written; it may be of any scheme, and only a hint.
    pub uri: &'a str,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> InfoUri<'a> {
    /// Reads `<uri>;params`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let rest = trim(text).strip_prefix('<').ok_or_else(bad)?;
        let (uri, params) = rest.split_once('>').ok_or_else(bad)?;
        if uri.is_empty() || uri.contains(['<', '"', ' ', '\t']) {
            return Err(bad());
        }
        Ok(InfoUri { uri, params: Params::parse(params)? })
    }
}

/// What has become of a subscription (RFC 6665 §4.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SubscriptionPhase {
    /// Accepted.
    Active,
    /// Not decided yet.
    Pending,
    /// Over.
    Terminated,
    /// A state of an extension.
    Other,
}

/// Subscription-State (RFC 6665 §8.2.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscriptionState<'a>(Item<'a>);

impl<'a> SubscriptionState<'a> {
    /// Reads `terminated;reason=noresource`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        Item::parse_token(text).map(SubscriptionState)
    }

    /// The state.
    pub fn phase(&self) -> SubscriptionPhase {
        match self.0 {
            item if item.is("active") => SubscriptionPhase::Active,
            item if item.is("pending") => SubscriptionPhase::Pending,
            item if item.is("terminated") => SubscriptionPhase::Terminated,
            _ => SubscriptionPhase::Other,
        }
    }

    /// Why it is over.
    pub fn reason(&self) -> Option<&'a str> {
        self.0.param("reason")
    }

    /// Seconds it still lasts.
    pub fn expires(&self) -> Option<u32> {
        self.0.param("expires").and_then(seconds)
    }

    /// Seconds until a new subscription may be tried.
    pub fn retry_after(&self) -> Option<u32> {
        self.0.param("retry-after").and_then(seconds)
    }
}

type Each<T> = Result<T, ParseError>;

impl Message {
    /// Reason (RFC 3326); a message may carry one per protocol.
    pub fn reason_header(&self) -> impl Iterator<Item = Each<Reason<'_>>> + Clone {
        self.every(Name::Reason, Reason::parse)
    }

    /// Warning (RFC 3261 §20.43).
    pub fn warning(&self) -> impl Iterator<Item = Each<Warning<'_>>> + Clone {
        self.every(Name::Warning, Warning::parse)
    }

    /// Alert-Info (RFC 3261 §20.4).
    pub fn alert_info(&self) -> impl Iterator<Item = Each<InfoUri<'_>>> + Clone {
        self.every(Name::AlertInfo, InfoUri::parse)
    }

    /// Call-Info (RFC 3261 §20.9).
    pub fn call_info(&self) -> impl Iterator<Item = Each<InfoUri<'_>>> + Clone {
        self.every(Name::CallInfo, InfoUri::parse)
    }

    /// Error-Info (RFC 3261 §20.18).
    pub fn error_info(&self) -> impl Iterator<Item = Each<InfoUri<'_>>> + Clone {
        self.every(Name::ErrorInfo, InfoUri::parse)
    }

    /// Event: package and, as parameter, `id` (RFC 6665 §8.2.1).
    pub fn event(&self) -> Each<Option<Item<'_>>> {
        self.optional(Name::Event, Item::parse_token)
    }

    /// Allow-Events (RFC 6665 §8.2.2).
    pub fn allow_events(&self) -> impl Iterator<Item = &str> + Clone {
        self.tokens(Name::AllowEvents)
    }

    /// Subscription-State (RFC 6665 §8.2.3).
    pub fn subscription_state(&self) -> Each<Option<SubscriptionState<'_>>> {
        self.optional(Name::SubscriptionState, SubscriptionState::parse)
    }

    /// P-Asserted-Identity: who a trusted network says is calling (RFC 3325 §9.1).
    pub fn p_asserted_identity(&self) -> impl Iterator<Item = Each<NameAddr<'_>>> + Clone {
        self.every(Name::PAssertedIdentity, NameAddr::parse)
    }

    /// P-Preferred-Identity (RFC 3325 §9.2).
    pub fn p_preferred_identity(&self) -> impl Iterator<Item = Each<NameAddr<'_>>> + Clone {
        self.every(Name::PPreferredIdentity, NameAddr::parse)
    }

    /// P-Associated-URI of a REGISTER's 200 (RFC 7315 §4.1).
    pub fn p_associated_uri(&self) -> impl Iterator<Item = Each<NameAddr<'_>>> + Clone {
        self.every(Name::PAssociatedUri, NameAddr::parse)
    }

    /// Remote-Party-ID, older than RFC 3325 and still met.
    pub fn remote_party_id(&self) -> impl Iterator<Item = Each<NameAddr<'_>>> + Clone {
        self.every(Name::RemotePartyId, NameAddr::parse)
    }

    /// Diversion (RFC 5806 §6).
    pub fn diversion(&self) -> impl Iterator<Item = Each<NameAddr<'_>>> + Clone {
        self.every(Name::Diversion, NameAddr::parse)
    }

    /// History-Info (RFC 7044 §5.1).
    pub fn history_info(&self) -> impl Iterator<Item = Each<NameAddr<'_>>> + Clone {
        self.every(Name::HistoryInfo, NameAddr::parse)
    }

    /// Privacy: `none`, `id`, `user`, … (RFC 3323 §4.2). Written with semicolons, by some with commas.
    pub fn privacy(&self) -> impl Iterator<Item = &str> + Clone {
        self.headers(Name::Privacy)
            .flat_map(|line| line.split([';', ',']))
            .map(trim)
            .filter(|one| is_token(one))
    }

    /// Feature-Caps (RFC 6809 §6.1): each value's capabilities, such as `+sip.pns` (RFC 8599 §4.2).
    pub fn feature_caps(&self) -> impl Iterator<Item = Each<Params<'_>>> + Clone {
        self.every(Name::FeatureCaps, |text| {
            Item::parse(text).and_then(|item| if item.is("*") { Ok(item.params()) } else { Err(bad()) })
        })
    }

    /// The value of one capability in any Feature-Caps, without its quotes; empty for a flag.
    pub fn feature_cap(&self, name: &str) -> Option<Cow<'_, str>> {
        self.feature_caps().flatten().find_map(|caps| caps.get_unquoted(name))
    }

    /// Flow-Timer in seconds (RFC 5626 §10).
    pub fn flow_timer(&self) -> Each<Option<u32>> {
        self.seconds_of(Name::FlowTimer)
    }

    /// Reply-To (RFC 3261 §20.31).
    pub fn reply_to(&self) -> Each<Option<NameAddr<'_>>> {
        self.optional(Name::ReplyTo, NameAddr::parse)
    }

    /// Accept (RFC 3261 §20.1).
    pub fn accept(&self) -> impl Iterator<Item = Each<MediaType<'_>>> + Clone {
        self.every(Name::Accept, MediaType::parse)
    }

    /// Content-Disposition (RFC 3261 §20.11).
    pub fn content_disposition(&self) -> Each<Option<Item<'_>>> {
        self.optional(Name::ContentDisposition, Item::parse_token)
    }

    /// Content-Encoding (RFC 3261 §20.12), in the order of application.
    pub fn content_encoding(&self) -> impl Iterator<Item = &str> + Clone {
        self.tokens(Name::ContentEncoding)
    }

    /// Content-Language (RFC 3261 §20.13).
    pub fn content_language(&self) -> impl Iterator<Item = &str> + Clone {
        self.tokens(Name::ContentLanguage)
    }

    /// In-Reply-To (RFC 3261 §20.21): Call-IDs.
    pub fn in_reply_to(&self) -> impl Iterator<Item = &str> + Clone {
        self.tokens(Name::InReplyTo)
    }

    /// The values of a header field of the form `value;params`: Accept-Encoding, Accept-Language (RFC 3261),
    /// Accept-Contact, Reject-Contact, Request-Disposition (RFC 3841), Security-Client, -Server, -Verify (RFC 3329),
    /// Answer-Mode (RFC 5373), Info-Package, Recv-Info (RFC 6086), Session-ID (RFC 7989), User-to-User (RFC 7433), ….
    pub fn items(&self, name: Name) -> impl Iterator<Item = Each<Item<'_>>> + Clone {
        self.every(name, Item::parse)
    }

    /// Subject (RFC 3261 §20.36).
    pub fn subject(&self) -> Option<&str> {
        self.header_ref(&Name::Subject)
    }

    /// User-Agent (RFC 3261 §20.41) of a request, Server (§20.35) of a response.
    pub fn agent(&self) -> Option<&str> {
        self.header_ref(&Name::UserAgent).or_else(|| self.header_ref(&Name::Server))
    }

    /// Priority (RFC 3261 §20.26).
    pub fn priority(&self) -> Option<&str> {
        self.header_ref(&Name::Priority)
    }

    /// Organization (RFC 3261 §20.25).
    pub fn organization(&self) -> Option<&str> {
        self.header_ref(&Name::Organization)
    }

    /// MIME-Version (RFC 3261 §20.24).
    pub fn mime_version(&self) -> Option<&str> {
        self.header_ref(&Name::MimeVersion)
    }

    /// SIP-ETag (RFC 3903 §11.3.1).
    pub fn sip_etag(&self) -> Option<&str> {
        self.header_ref(&Name::SipEtag)
    }

    /// SIP-If-Match (RFC 3903 §11.3.2).
    pub fn sip_if_match(&self) -> Option<&str> {
        self.header_ref(&Name::SipIfMatch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        let read = Reason::parse(r#"SIP ;cause=200 ;text="Call completed elsewhere""#).unwrap();
        assert_eq!((read.is_sip(), read.cause()), (true, Some(200)));
        assert_eq!(read.text().as_deref(), Some("Call completed elsewhere"));
        assert_eq!(
            Reason::parse("Q.850;cause=16").map(|read| (read.protocol(), read.is_sip())),
            Ok(("Q.850", false))
        );
    }

    #[test]
    fn warnings() {
        let read = Warning::parse(r#"301 isi.edu "Incompatible \"E.164\" address""#).unwrap();
        assert_eq!((read.code, read.agent, &*read.text), (301, "isi.edu", r#"Incompatible "E.164" address"#));
        for bad in ["", "1812 overture \"x\"", "301 a", "301 a b", "301 a \"b"] {
            assert!(Warning::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn info_uris() {
        let read = InfoUri::parse("<http://www.example.com/a.png> ;purpose=icon").unwrap();
        assert_eq!((read.uri, read.params.get("purpose")), ("http://www.example.com/a.png", Some("icon")));
        for bad in ["", "http://x", "<>", "<a b>", "<a"] {
            assert!(InfoUri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn subscription_states() {
        let read = SubscriptionState::parse("Terminated;reason=timeout;retry-after=30").unwrap();
        assert_eq!(read.phase(), SubscriptionPhase::Terminated);
        assert_eq!((read.reason(), read.retry_after(), read.expires()), (Some("timeout"), Some(30), None));
    }
}
