//! Header fields of INVITE sessions beyond RFC 3261: 100rel (3262), session timers (4028), Replaces (3891), Join (3911),
//! Target-Dialog (4538), REFER (3515, 3892, 4488).

use std::borrow::Cow;

use crate::error::{Flaw, ParseError};
use crate::grammar::{number, trim};
use crate::media_type::Item;
use crate::message::Message;
use crate::method::Method;
use crate::name::Name;
use crate::name_addr::{NameAddr, seconds};
use crate::params::Params;

fn bad() -> ParseError {
    ParseError::value(Flaw::Syntax)
}

/// RAck (RFC 3262 §7.2): which provisional response a PRACK acknowledges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RAck {
    /// The response's RSeq.
    pub response: u32,
    /// The response's CSeq number.
    pub number: u32,
    /// The response's CSeq method.
    pub method: Method,
}

impl RAck {
    /// Reads `776656 1 INVITE`.
    pub fn parse(text: &str) -> Result<RAck, ParseError> {
        let mut words = text.split_ascii_whitespace();
        let mut word = || words.next().ok_or_else(bad);
        let (response, request, method) = (word()?, word()?, word()?);
        let number = |text: &str| number::<u32>(text).ok_or_else(|| ParseError::value(Flaw::Number));
        let read = RAck {
            response: number(response)?,
            number: number(request)?,
            method: Method::parse(method).ok_or_else(bad)?,
        };
        if words.next().is_some() { Err(bad()) } else { Ok(read) }
    }
}

/// Who refreshes a session (RFC 4028 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refresher {
    /// The side that sent the request.
    Uac,
    /// The side that answered it.
    Uas,
}

impl Refresher {
    /// The parameter's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        }
    }
}

/// Session-Expires (RFC 4028 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionExpires {
    /// The interval in seconds.
    pub seconds: u32,
    /// Who refreshes, if that is settled.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads `1800;refresher=uac`.
    pub fn parse(text: &str) -> Result<SessionExpires, ParseError> {
        let item = Item::parse(text)?;
        let refresher = match item.param("refresher") {
            None => None,
            Some(side) if side.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(side) if side.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) => return Err(bad()),
        };
        let seconds = seconds(item.value()).ok_or_else(|| ParseError::value(Flaw::Number))?;
        Ok(SessionExpires { seconds, refresher })
    }
}

impl core::fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.seconds)?;
        self.refresher.map_or(Ok(()), |side| write!(f, ";refresher={}", side.as_str()))
    }
}

/// A dialog named by another message: Replaces (RFC 3891), Join (RFC 3911), Target-Dialog (RFC 4538).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DialogRef<'a> {
    /// Its Call-ID.
    pub call_id: Cow<'a, str>,
    /// To-tag: the tag of the side that receives this (for Target-Dialog `local-tag`).
    pub to_tag: Cow<'a, str>,
    /// From-tag: the tag of the other side (for Target-Dialog `remote-tag`).
    pub from_tag: Cow<'a, str>,
    /// Replaces only: the dialog must still be early (RFC 3891 §3).
    pub early_only: bool,
}

impl<'a> DialogRef<'a> {
    fn read(text: &'a str, to: &str, from: &str) -> Result<Self, ParseError> {
        let (call_id, params) = text.split_at(memchr::memchr(b';', text.as_bytes()).unwrap_or(text.len()));
        let call_id = trim(call_id);
        let params = Params::parse(params)?;
        let tag = |name: &str| params.get(name).filter(|tag| !tag.is_empty()).ok_or_else(bad);
        // RFC 3891 §6.1: both tags once; a second one would name another dialog to another reader.
        let once =
            |name: &str| params.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).count() == 1;
        if call_id.is_empty() || call_id.contains([' ', '\t']) || !once(to) || !once(from) {
            return Err(bad());
        }
        Ok(DialogRef {
            call_id: Cow::Borrowed(call_id),
            to_tag: Cow::Borrowed(tag(to)?),
            from_tag: Cow::Borrowed(tag(from)?),
            early_only: params.has("early-only"),
        })
    }

    /// Reads the value of Replaces or Join: `call-id;to-tag=…;from-tag=…`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        DialogRef::read(text, "to-tag", "from-tag")
    }

    /// A copy that borrows nothing.
    pub fn into_owned(self) -> DialogRef<'static> {
        DialogRef {
            call_id: Cow::Owned(self.call_id.into_owned()),
            to_tag: Cow::Owned(self.to_tag.into_owned()),
            from_tag: Cow::Owned(self.from_tag.into_owned()),
            early_only: self.early_only,
        }
    }
}

impl core::fmt::Display for DialogRef<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{};to-tag={};from-tag={}", self.call_id, self.to_tag, self.from_tag)?;
        if self.early_only { f.write_str(";early-only") } else { Ok(()) }
    }
}

impl Message {
    /// RSeq of a reliable provisional response (RFC 3262 §7.1); never 0.
    pub fn rseq(&self) -> Result<Option<u32>, ParseError> {
        let read =
            |text: &str| number(text).filter(|n| *n > 0).ok_or_else(|| ParseError::value(Flaw::Number));
        self.optional(Name::RSeq, read)
    }

    /// RAck of a PRACK (RFC 3262 §7.2).
    pub fn rack(&self) -> Result<Option<RAck>, ParseError> {
        self.optional(Name::RAck, RAck::parse)
    }

    /// Session-Expires (RFC 4028 §4).
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, ParseError> {
        self.optional(Name::SessionExpires, SessionExpires::parse)
    }

    /// Min-SE in seconds (RFC 4028 §5).
    pub fn min_se(&self) -> Result<Option<u32>, ParseError> {
        let read = |text| seconds(Item::parse(text)?.value()).ok_or_else(|| ParseError::value(Flaw::Number));
        self.optional(Name::MinSe, read)
    }

    /// Replaces (RFC 3891 §6.1).
    pub fn replaces(&self) -> Result<Option<DialogRef<'_>>, ParseError> {
        self.optional(Name::Replaces, DialogRef::parse)
    }

    /// Join (RFC 3911 §7.1).
    pub fn join(&self) -> Result<Option<DialogRef<'_>>, ParseError> {
        self.optional(Name::Join, DialogRef::parse)
    }

    /// Target-Dialog (RFC 4538 §7).
    pub fn target_dialog(&self) -> Result<Option<DialogRef<'_>>, ParseError> {
        self.optional(Name::TargetDialog, |text| DialogRef::read(text, "local-tag", "remote-tag"))
    }

    /// Refer-To (RFC 3515 §2.1).
    pub fn refer_to(&self) -> Result<Option<NameAddr<'_>>, ParseError> {
        self.optional(Name::ReferTo, NameAddr::parse)
    }

    /// Referred-By (RFC 3892 §3).
    pub fn referred_by(&self) -> Result<Option<NameAddr<'_>>, ParseError> {
        self.optional(Name::ReferredBy, NameAddr::parse)
    }

    /// Refer-Sub: whether the REFER wants a subscription; true if it does not say (RFC 4488 §4).
    pub fn refer_sub(&self) -> Result<bool, ParseError> {
        let read = |text: &str| match Item::parse(text)?.value() {
            value if value.eq_ignore_ascii_case("true") => Ok(true),
            value if value.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(bad()),
        };
        self.optional(Name::ReferSub, read).map(|value| value.unwrap_or(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rack() {
        let read = RAck::parse("776656 1 INVITE").unwrap();
        assert_eq!((read.response, read.number, read.method), (776_656, 1, Method::Invite));
        for bad in ["", "1 2", "1 2 INVITE x", "-1 2 INVITE", "1 2 IN,VITE"] {
            assert!(RAck::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn session_timers_read_and_write() {
        for text in ["1800", "90;refresher=uas", "4000;refresher=uac"] {
            assert_eq!(SessionExpires::parse(text).unwrap().to_string(), text);
        }
        assert!(SessionExpires::parse("90;refresher=me").is_err() && SessionExpires::parse("x").is_err());
    }

    #[test]
    fn dialogs_of_replaces() {
        let text = "98732@sip.example.com;to-tag=ff87;from-tag=r33th4x0r;early-only";
        let read = DialogRef::parse(text).unwrap();
        assert_eq!((&*read.call_id, &*read.to_tag, read.early_only), ("98732@sip.example.com", "ff87", true));
        assert_eq!(read.to_string(), text);
        for bad in [
            "",
            ";to-tag=1;from-tag=2",
            "a;to-tag=1",
            "a;to-tag=1;to-tag=2;from-tag=3",
            "a b;to-tag=1;from-tag=2",
        ] {
            assert!(DialogRef::parse(bad).is_err(), "{bad}");
        }
    }
}
