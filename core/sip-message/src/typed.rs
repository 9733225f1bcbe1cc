//! The header fields of RFC 3261 that nearly every message carries, read when asked for.

use crate::error::{Flaw, ParseError, Place};
use crate::grammar::{Commas, number, split_at_space, trim};
use crate::message::Message;
use crate::method::Method;
use crate::name::Name;
use crate::name_addr::{NameAddr, seconds};
use crate::via::Via;

/// CSeq (RFC 3261 §20.16).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CSeq {
    /// Below 2^31 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// The request's method.
    pub method: Method,
}

impl CSeq {
    /// Reads `number method`.
    pub fn parse(text: &str) -> Result<CSeq, ParseError> {
        let (digits, method) = split_at_space(trim(text)).ok_or_else(|| ParseError::value(Flaw::Syntax))?;
        let number = number::<u32>(digits).filter(|number| *number < 1 << 31);
        Ok(CSeq {
            number: number.ok_or_else(|| ParseError::value(Flaw::Number))?,
            method: Method::parse(trim(method)).ok_or_else(|| ParseError::value(Flaw::Syntax))?,
        })
    }
}

/// The Contact header fields of a message.
#[derive(Clone, Debug)]
pub enum Contacts<'a> {
    /// `*`: every binding (RFC 3261 §10.2.2).
    Star,
    /// Addresses, perhaps none.
    List(Vec<NameAddr<'a>>),
}

impl<'a> Contacts<'a> {
    /// The addresses; none for `*`.
    pub fn list(&self) -> &[NameAddr<'a>] {
        match self {
            Contacts::Star => &[],
            Contacts::List(list) => list,
        }
    }

    /// The first address.
    pub fn first(&self) -> Option<NameAddr<'a>> {
        self.list().first().copied()
    }
}

impl Message {
    pub(crate) fn required(&self, name: Name) -> Result<&str, ParseError> {
        match self.header_ref(&name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(ParseError::new(Place::Header(name), Flaw::Missing)),
        }
    }

    /// A header field that may be absent, read by `read`.
    pub(crate) fn optional<'a, T>(
        &'a self,
        name: Name,
        read: impl FnOnce(&'a str) -> Result<T, ParseError>,
    ) -> Result<Option<T>, ParseError> {
        self.header_ref(&name).map(read).transpose().map_err(|error| error.at(name))
    }

    /// Every value of a header field, read by `read`; the first that cannot be read ends it.
    pub(crate) fn every<'a, T>(
        &'a self,
        name: Name,
        read: impl Fn(&'a str) -> Result<T, ParseError> + Clone,
    ) -> impl Iterator<Item = Result<T, ParseError>> + Clone {
        self.headers(name.clone())
            .filter(|value| !value.is_empty())
            .map(move |value| read(value).map_err(|error| error.at(name.clone())))
    }

    pub(crate) fn seconds_of(&self, name: Name) -> Result<Option<u32>, ParseError> {
        self.optional(name, |text| seconds(text).ok_or_else(|| ParseError::value(Flaw::Number)))
    }

    /// The topmost Via (RFC 3261 §20.42).
    pub fn via(&self) -> Result<Via<'_>, ParseError> {
        let first = self.header_ref(&Name::Via).and_then(|line| Commas::of(line).next());
        let first = first.ok_or_else(|| ParseError::new(Place::Header(Name::Via), Flaw::Missing))?;
        Via::parse(first).map_err(|error| error.at(Name::Via))
    }

    /// Every Via, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, ParseError>> + Clone {
        self.every(Name::Via, Via::parse)
    }

    /// From (RFC 3261 §20.20).
    pub fn from(&self) -> Result<NameAddr<'_>, ParseError> {
        NameAddr::parse(self.required(Name::From)?).map_err(|error| error.at(Name::From))
    }

    /// To (RFC 3261 §20.39).
    pub fn to(&self) -> Result<NameAddr<'_>, ParseError> {
        NameAddr::parse(self.required(Name::To)?).map_err(|error| error.at(Name::To))
    }

    /// From's tag.
    pub fn from_tag(&self) -> Option<&str> {
        self.from().ok()?.tag()
    }

    /// To's tag.
    pub fn to_tag(&self) -> Option<&str> {
        self.to().ok()?.tag()
    }

    /// Call-ID (RFC 3261 §20.8); empty if absent.
    pub fn call_id(&self) -> &str {
        self.header_ref(&Name::CallId).unwrap_or("")
    }

    /// CSeq (RFC 3261 §20.16).
    pub fn cseq(&self) -> Result<CSeq, ParseError> {
        CSeq::parse(self.required(Name::CSeq)?).map_err(|error| error.at(Name::CSeq))
    }

    /// Contact (RFC 3261 §20.10).
    pub fn contacts(&self) -> Result<Contacts<'_>, ParseError> {
        let mut list = Vec::new();
        let mut star = false;
        for value in self.headers(Name::Contact).filter(|value| !value.is_empty()) {
            match value {
                "*" => star = true,
                value => list.push(NameAddr::parse(value).map_err(|error| error.at(Name::Contact))?),
            }
        }
        match (star, list.is_empty()) {
            (true, true) => Ok(Contacts::Star),
            // RFC 3261 §10.2.2: `*` stands alone.
            (true, false) => Err(ParseError::new(Place::Header(Name::Contact), Flaw::Syntax)),
            (false, _) => Ok(Contacts::List(list)),
        }
    }

    /// The first Contact, where exactly one is expected (RFC 3261 §8.1.1.8, §12.1).
    pub fn contact(&self) -> Result<Option<NameAddr<'_>>, ParseError> {
        let line = self.header_ref(&Name::Contact).and_then(|line| Commas::of(line).next());
        let first = match line {
            // An empty value before the address is passed over, on whichever line it stands.
            Some("") => self.headers(Name::Contact).find(|value| !value.is_empty()),
            first => first,
        };
        first.map(NameAddr::parse).transpose().map_err(|error| error.at(Name::Contact))
    }

    /// Route, topmost first (RFC 3261 §20.34).
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, ParseError>> + Clone {
        self.every(Name::Route, NameAddr::parse)
    }

    /// Record-Route, topmost first (RFC 3261 §20.30).
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, ParseError>> + Clone {
        self.every(Name::RecordRoute, NameAddr::parse)
    }

    /// Path (RFC 3327).
    pub fn paths(&self) -> impl Iterator<Item = Result<NameAddr<'_>, ParseError>> + Clone {
        self.every(Name::Path, NameAddr::parse)
    }

    /// Service-Route (RFC 3608).
    pub fn service_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, ParseError>> + Clone {
        self.every(Name::ServiceRoute, NameAddr::parse)
    }

    /// Max-Forwards (RFC 3261 §20.22).
    pub fn max_forwards(&self) -> Result<Option<u8>, ParseError> {
        self.optional(Name::MaxForwards, |text| number(text).ok_or_else(|| ParseError::value(Flaw::Number)))
    }

    /// Expires in seconds (RFC 3261 §20.19).
    pub fn expires(&self) -> Result<Option<u32>, ParseError> {
        self.seconds_of(Name::Expires)
    }

    /// Min-Expires in seconds (RFC 3261 §20.23).
    pub fn min_expires(&self) -> Result<Option<u32>, ParseError> {
        self.seconds_of(Name::MinExpires)
    }

    /// Content-Length (RFC 3261 §20.14).
    pub fn content_length(&self) -> Result<Option<usize>, ParseError> {
        self.optional(Name::ContentLength, |text| number(text).ok_or_else(|| ParseError::value(Flaw::Number)))
    }

    /// Content-Type as it was written (RFC 3261 §20.15).
    pub fn content_type_text(&self) -> Option<&str> {
        self.header_ref(&Name::ContentType)
    }

    /// Option tags and methods of a list header: Require, Supported, Proxy-Require, Unsupported, Allow, ….
    pub fn tokens(&self, name: Name) -> impl Iterator<Item = &str> + Clone {
        self.headers(name).filter(|token| !token.is_empty())
    }

    /// Require (RFC 3261 §20.32).
    pub fn require(&self) -> impl Iterator<Item = &str> + Clone {
        self.tokens(Name::Require)
    }

    /// Proxy-Require (RFC 3261 §20.29).
    pub fn proxy_require(&self) -> impl Iterator<Item = &str> + Clone {
        self.tokens(Name::ProxyRequire)
    }

    /// Supported (RFC 3261 §20.37).
    pub fn supported(&self) -> impl Iterator<Item = &str> + Clone {
        self.tokens(Name::Supported)
    }

    /// Unsupported (RFC 3261 §20.40).
    pub fn unsupported(&self) -> impl Iterator<Item = &str> + Clone {
        self.tokens(Name::Unsupported)
    }

    /// Allow (RFC 3261 §20.5).
    pub fn allow(&self) -> impl Iterator<Item = &str> + Clone {
        self.tokens(Name::Allow)
    }

    /// Whether Supported or Require lists this option tag.
    pub fn supports(&self, tag: &str) -> bool {
        self.supported().chain(self.require()).any(|found| found.eq_ignore_ascii_case(tag))
    }
}
