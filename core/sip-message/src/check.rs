//! The grading of what came in: go on, refuse with a code, or drop (RFC 3261 §8.2, §16.3, §18.1.2, §21).

use core::net::IpAddr;

use crate::builder::Builder;
use crate::error::{BuildError, Flaw, ParseError, Place};
use crate::host::Host;
use crate::limits;
use crate::message::{Kind, Message};
use crate::method::Method;
use crate::multipart;
use crate::name::Name;
use crate::name_addr::NameAddr;
use crate::typed::Contacts;
use crate::uri::{Scheme, Uri};
use crate::via::Via;

/// A message that is not to be acted on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Answer the request with this code.
    Answer {
        /// The status code.
        code: u16,
        /// The reason phrase.
        reason: &'static str,
        /// What is at fault.
        place: Place,
        /// Header lines that the code asks for: Unsupported with 420, Allow with 405, Accept with 415.
        headers: Vec<(Name, String)>,
    },
    /// Do not answer: it is a response, an ACK, or nobody can be answered.
    Drop {
        /// What is at fault.
        place: Place,
        /// What is wrong with it.
        flaw: Flaw,
    },
}

impl Refusal {
    pub(crate) fn of(code: u16, place: Place) -> Refusal {
        Refusal::Answer { code, reason: crate::reason::usual(code), place, headers: Vec::new() }
    }

    /// The status code; nothing where no answer is due.
    pub fn code(&self) -> Option<u16> {
        match self {
            Refusal::Answer { code, .. } => Some(*code),
            Refusal::Drop { .. } => None,
        }
    }

    /// What is at fault.
    pub fn place(&self) -> &Place {
        match self {
            Refusal::Answer { place, .. } | Refusal::Drop { place, .. } => place,
        }
    }

    /// The answer, with this tag in its To; nothing where none is due.
    pub fn answer(&self, request: &Message, to_tag: &str) -> Option<Result<Message, BuildError>> {
        match self {
            Refusal::Answer { code, reason, headers, .. } => {
                let answer = Builder::response(request, *code, reason).to_tag(to_tag);
                Some(answer.headers(headers.iter().map(|(name, value)| (name.clone(), value))).build())
            }
            Refusal::Drop { .. } => None,
        }
    }
}

/// Which duties a receiver has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The request ends here: Require counts (RFC 3261 §8.2.2.3), Max-Forwards 0 does not matter.
    Endpoint,
    /// The request goes on: Proxy-Require counts, Max-Forwards 0 ends it (RFC 3261 §16.3).
    Proxy,
}

/// What a receiver understands.
#[derive(Clone, Copy, Debug)]
pub struct Understands<'a> {
    /// Endpoint or proxy.
    pub role: Role,
    /// Methods; an empty list stands for any.
    pub methods: &'a [Method],
    /// Option tags.
    pub options: &'a [&'a str],
    /// Body types as `type/subtype`, besides multipart; an empty list stands for any.
    pub bodies: &'a [&'a str],
}

/// A request that may be acted on, as the check has read it: nothing of this need be read again.
#[derive(Clone, Debug)]
pub struct Checked<'a> {
    /// All of it.
    pub message: &'a Message,
    /// The request URI.
    pub uri: Uri<'a>,
    /// From.
    pub from: NameAddr<'a>,
    /// To.
    pub to: NameAddr<'a>,
    /// The number of its CSeq.
    pub cseq: u32,
    /// Contact, of a request whose Contact means something (INVITE, REGISTER, SUBSCRIBE, REFER, UPDATE).
    pub contacts: Option<Contacts<'a>>,
}

impl Message {
    /// Grades what came in by what every receiver must demand of it: version, URI, the required header fields,
    /// framing, bodies within their limits. Needs no knowledge of what the receiver understands; see
    /// [`Message::check_against`] for that.
    pub fn check(&self) -> Result<(), Refusal> {
        match self.kind() {
            Kind::Request => answerable(self, well_formed(self)).map(drop),
            Kind::Response => response(self),
        }
    }

    /// As [`Message::check`], and then what this receiver does not understand: 405, 501, 420, 415, 483.
    pub fn check_against(&self, mine: &Understands<'_>) -> Result<(), Refusal> {
        match self.kind() {
            Kind::Request => self.checked(mine).map(drop),
            Kind::Response => response(self),
        }
    }

    /// As [`Message::check_against`] for a request, and hands out what was read on the way. A response is to be dropped.
    pub fn checked(&self, mine: &Understands<'_>) -> Result<Checked<'_>, Refusal> {
        match self.kind() {
            Kind::Request => {
                answerable(self, well_formed(self).and_then(|read| understood(self, mine).map(|()| read)))
            }
            Kind::Response => Err(Refusal::Drop { place: Place::StartLine, flaw: Flaw::Syntax }),
        }
    }
}

/// A refusal that can be sent: an ACK is never answered (RFC 3261 §17), nor is a request without a readable Via.
fn answerable<T>(message: &Message, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
    let Err(Refusal::Answer { code, place, .. }) = &outcome else { return outcome };
    if message.method() == Method::Ack {
        let flaw = if *code == 505 { Flaw::Version } else { Flaw::Syntax };
        return Err(Refusal::Drop { place: place.clone(), flaw });
    }
    match message.via() {
        Ok(via) if !goes_nowhere(via.host()) => outcome,
        Ok(_) => Err(Refusal::Drop { place: Place::Header(Name::Via), flaw: Flaw::Syntax }),
        Err(error) => Err(Refusal::Drop { place: error.place, flaw: error.kind }),
    }
}

/// Nobody in particular stands behind such an address: an answer would reach everybody or no one.
fn goes_nowhere(host: Host<'_>) -> bool {
    match host.address() {
        Some(IpAddr::V4(address)) => address.is_broadcast() || address.is_multicast(),
        Some(IpAddr::V6(address)) => address.is_multicast(),
        None => false,
    }
}

fn bad_request(error: ParseError) -> Refusal {
    Refusal::of(400, error.place)
}

fn well_formed(message: &Message) -> Result<Checked<'_>, Refusal> {
    let flaw = message.flaw();
    // The version is looked at before anything else: another version may mean anything by the rest (§21.5.6).
    if let Some((place @ Place::StartLine, Flaw::Version)) = flaw {
        return Err(Refusal::of(505, place.clone()));
    }
    match flaw {
        Some((place, Flaw::TooLarge | Flaw::TooManyHeaders)) => return Err(Refusal::of(513, place.clone())),
        Some((place, _)) => return Err(Refusal::of(400, place.clone())),
        None => {}
    }
    if message.request_uri_text().len() > limits::REQUEST_URI {
        return Err(Refusal::of(414, Place::RequestUri));
    }
    let uri = message.request_uri().map_err(bad_request)?;
    if uri.scheme() == Scheme::Other {
        return Err(Refusal::of(416, Place::RequestUri));
    }
    // RFC 3261 §19.1.1, table 1: no header part in a request URI. Whoever put it there wants it obeyed (class S8).
    if uri.headers().next().is_some() {
        return Err(Refusal::of(400, Place::RequestUri));
    }
    for name in [Name::From, Name::To, Name::CallId, Name::CSeq, Name::MaxForwards] {
        if message.count(name.clone()) > 1 {
            return Err(Refusal::of(400, Place::Header(name)));
        }
    }
    let mut version = None;
    for via in message.headers(Name::Via) {
        let via = Via::parse(via).map_err(|error| bad_request(error.at(Name::Via)))?;
        version.get_or_insert(via.version());
    }
    match version {
        Some("2.0") => {}
        Some(_) => return Err(Refusal::of(505, Place::Header(Name::Via))),
        None => return Err(Refusal::of(400, Place::Header(Name::Via))),
    }
    let from = message.from().map_err(bad_request)?;
    let to = message.to().map_err(bad_request)?;
    message.required(Name::CallId).map_err(bad_request)?;
    if message.call_id().contains([' ', '\t']) {
        return Err(Refusal::of(400, Place::Header(Name::CallId)));
    }
    let cseq = message.cseq().map_err(bad_request)?;
    if cseq.method != message.method() {
        return Err(Refusal::of(400, Place::Header(Name::CSeq)));
    }
    message.max_forwards().map_err(bad_request)?;
    for route in message.routes() {
        route.map_err(bad_request)?;
    }
    let has_contact = matches!(
        cseq.method,
        Method::Invite | Method::Register | Method::Subscribe | Method::Refer | Method::Update
    );
    let contacts = has_contact.then(|| message.contacts().map_err(bad_request)).transpose()?;
    // What a body is encoded with must be undone before it means anything, and we undo nothing (class S11).
    let encoded = message.content_encoding().any(|coding| !coding.eq_ignore_ascii_case("identity"));
    if encoded && !message.body().is_empty() {
        let mut refusal = Refusal::of(415, Place::Header(Name::ContentEncoding));
        if let Refusal::Answer { headers, .. } = &mut refusal {
            headers.push((Name::AcceptEncoding, "identity".into()));
        }
        return Err(refusal);
    }
    multipart::survey(message)
        .map_err(|error| Refusal::of(if error.kind == Flaw::TooDeep { 413 } else { 400 }, error.place))?;
    Ok(Checked { message, uri, from, to, cseq: cseq.number, contacts })
}

fn understood(message: &Message, mine: &Understands<'_>) -> Result<(), Refusal> {
    let with =
        |code, place, headers| Refusal::Answer { code, reason: crate::reason::usual(code), place, headers };
    let method = message.method();
    if mine.role == Role::Proxy && message.max_forwards() == Ok(Some(0)) {
        return Err(Refusal::of(483, Place::Header(Name::MaxForwards)));
    }
    if mine.role == Role::Endpoint && !mine.methods.is_empty() && !mine.methods.contains(&method) {
        let allow = mine.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let code = if matches!(method, Method::Other(_)) { 501 } else { 405 };
        return Err(with(code, Place::StartLine, vec![(Name::Allow, allow)]));
    }
    let name = match mine.role {
        Role::Endpoint => Name::Require,
        Role::Proxy => Name::ProxyRequire,
    };
    // RFC 3261 §8.2.2.3: CANCEL is exempt, so that a call can always be taken back.
    if method != Method::Cancel {
        let known = |tag: &str| mine.options.iter().any(|known| known.eq_ignore_ascii_case(tag));
        let strange: Vec<_> = message
            .tokens(name.clone())
            .filter(|tag| !known(tag) && crate::grammar::is_token(tag))
            .take(16)
            .collect();
        if !strange.is_empty() {
            return Err(with(420, Place::Header(name), vec![(Name::Unsupported, strange.join(", "))]));
        }
    }
    if mine.role == Role::Endpoint && !mine.bodies.is_empty() && !message.body().is_empty() {
        let media = message.content_type().map_err(bad_request)?;
        let known = media.is_none_or(|media| {
            media.kind().eq_ignore_ascii_case("multipart")
                || mine
                    .bodies
                    .iter()
                    .any(|body| body.split_once('/').is_some_and(|(kind, subtype)| media.is(kind, subtype)))
        });
        // RFC 3261 §20.11: a body that may be left unread is no ground for refusal.
        let optional = message.content_disposition().ok().flatten().is_some_and(|item| {
            item.param("handling").is_some_and(|how| how.eq_ignore_ascii_case("optional"))
        });
        if !known && !optional {
            let accept = mine.bodies.join(", ");
            return Err(with(415, Place::Header(Name::ContentType), vec![(Name::Accept, accept)]));
        }
    }
    Ok(())
}

/// A response is never answered; it is good or dropped (RFC 3261 §18.1.2).
fn response(message: &Message) -> Result<(), Refusal> {
    let drop = |error: ParseError| Refusal::Drop { place: error.place, flaw: error.kind };
    if let Some((place, flaw)) = message.flaw() {
        return Err(Refusal::Drop { place: place.clone(), flaw: *flaw });
    }
    message.via().map_err(drop)?;
    // RFC 4475 §3.3.10: nor is it passed on to such a place.
    if message.vias().any(|via| via.is_ok_and(|via| goes_nowhere(via.host()))) {
        return Err(Refusal::Drop { place: Place::Header(Name::Via), flaw: Flaw::Syntax });
    }
    message.from().map_err(drop)?;
    message.to().map_err(drop)?;
    message.required(Name::CallId).map_err(drop)?;
    message.cseq().map_err(drop)?;
    Ok(())
}
