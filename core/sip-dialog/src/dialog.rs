//! One dialog (RFC 3261 §12).

use wakeline_sip_message::{Builder, Message, Method, Name, NameAddr, ParseError, Uri, check_value};

use crate::error::DialogError;
use crate::id::{DialogId, SipCallId};
use crate::route::RouteSet;

/// Whether a dialog is settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Made by a provisional response with a To tag.
    Early,
    /// Made or settled by a 2xx.
    Confirmed,
}

/// Which request made the dialog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Ours: we chose the Call-ID.
    Caller,
    /// The peer's.
    Callee,
}

/// The state that both peers hold of one dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    id: DialogId,
    role: Role,
    state: State,
    /// Our From value, tag included.
    local: String,
    /// The peer's To value, with its tag if it has one.
    remote: String,
    remote_target: String,
    routes: RouteSet,
    local_cseq: u32,
    /// Empty until the peer sent a request (§12.1.2).
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// The dialog that a response with a To tag to a request of ours makes (§12.1.2). A response without one, of an
    /// RFC 2543 peer, makes a dialog with an empty remote tag.
    pub fn from_uac(request: &Message, response: &Message) -> Result<Dialog, DialogError> {
        let local = header(request, Name::From);
        Ok(Dialog {
            id: DialogId {
                call_id: SipCallId(request.call_id().into()),
                local_tag: request.from_tag().ok_or(DialogError::NoLocalTag)?.into(),
                remote_tag: response.to()?.tag().unwrap_or("").into(),
            },
            role: Role::Caller,
            state: state_of(response),
            local,
            remote: header(response, Name::To),
            remote_target: match target_of(response)? {
                Some(target) => target,
                // An 18x need not have a Contact (§13.3.1.1 demands it only where a dialog is to be used): until one
                // comes, requests go where the INVITE went.
                None if state_of(response) == State::Early => request.request_uri_text().into(),
                None => return Err(DialogError::NoContact),
            },
            routes: RouteSet::of_response(response)?,
            local_cseq: request.cseq()?.number,
            remote_cseq: None,
        })
    }

    /// The dialog that our response with a To tag to a request of the peer makes (§12.1.1).
    pub fn from_uas(request: &Message, response: &Message) -> Result<Dialog, DialogError> {
        Ok(Dialog {
            id: DialogId {
                call_id: SipCallId(request.call_id().into()),
                local_tag: response.to_tag().ok_or(DialogError::NoLocalTag)?.into(),
                remote_tag: request.from()?.tag().unwrap_or("").into(),
            },
            role: Role::Callee,
            state: state_of(response),
            local: header(response, Name::To),
            remote: header(request, Name::From),
            remote_target: target_of(request)?.ok_or(DialogError::NoContact)?,
            routes: RouteSet::of_request(request)?,
            // §12.1.1: empty until the first request; any number below 2^31 will do (§8.1.1.5).
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
        })
    }

    /// Its name.
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// Who made it.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Early or confirmed.
    pub fn state(&self) -> State {
        self.state
    }

    /// Where the peer wants requests.
    pub fn remote_target(&self) -> &str {
        &self.remote_target
    }

    /// The way there.
    pub fn route_set(&self) -> &RouteSet {
        &self.routes
    }

    /// Our last CSeq number.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// The peer's last CSeq number.
    pub fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// Our From value in this dialog.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The peer's To value in this dialog.
    pub fn remote(&self) -> &str {
        &self.remote
    }

    /// The 2xx to the INVITE settles the dialog. A caller computes its route set anew, because proxies may have
    /// changed since the provisional response (§13.2.2.4).
    pub fn confirm(&mut self, response: &Message) -> Result<(), DialogError> {
        if self.role == Role::Caller {
            self.routes = RouteSet::of_response(response)?;
            self.remote_target = target_of(response)?.unwrap_or_else(|| self.remote_target.clone());
        }
        self.state = State::Confirmed;
        Ok(())
    }

    /// Our final 2xx has left: the dialog is settled at the callee's side.
    pub fn confirm_as_callee(&mut self) {
        self.state = State::Confirmed;
    }

    /// Whether a request from the peer is of this dialog (§12.2.2). An RFC 2543 peer has no From tag.
    pub fn owns_request(&self, request: &Message) -> bool {
        request.to_tag() == Some(self.id.local_tag.as_str())
            && request.from_tag().unwrap_or("") == self.id.remote_tag
            && request.call_id() == self.id.call_id.0
    }

    /// Whether a response is of this dialog.
    pub fn owns_response(&self, response: &Message) -> bool {
        response.from_tag() == Some(self.id.local_tag.as_str())
            && response.to_tag().unwrap_or("") == self.id.remote_tag
            && response.call_id() == self.id.call_id.0
    }

    /// Takes note of a request's CSeq, or refuses it (§12.2.2). ACK and CANCEL carry the number of their INVITE and
    /// are not counted.
    pub fn accept(&mut self, request: &Message) -> Result<(), DialogError> {
        if !self.owns_request(request) {
            return Err(DialogError::Foreign);
        }
        let cseq = request.cseq()?;
        match (cseq.method, self.remote_cseq) {
            (Method::Ack | Method::Cancel, _) => Ok(()),
            (_, Some(last)) if cseq.number <= last => Err(DialogError::OutOfOrder { last, got: cseq.number }),
            _ => {
                self.remote_cseq = Some(cseq.number);
                Ok(())
            }
        }
    }

    /// A target refresh: the Contact of an INVITE or UPDATE, or of a 2xx to one (§12.2.1.2, §12.2.2, RFC 3311 §5.1).
    /// A message without a readable Contact changes nothing.
    pub fn refresh_target(&mut self, message: &Message) {
        if let Ok(Some(target)) = target_of(message) {
            self.remote_target = target;
        }
    }

    /// The number of the next request.
    fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.local_cseq
    }

    /// A request in this dialog, prefilled: Request-URI and Route (§12.2.1.1, strict routers included), From, To,
    /// Call-ID, a new CSeq and Max-Forwards. Via belongs to the transaction.
    pub fn request(&mut self, method: Method) -> Builder {
        let cseq = self.next_cseq();
        self.prefilled(method, cseq)
    }

    /// The ACK to the 2xx of the INVITE that had the number `cseq` (§13.2.2.4).
    pub fn ack(&self, cseq: u32) -> Builder {
        self.prefilled(Method::Ack, cseq)
    }

    fn prefilled(&self, method: Method, cseq: u32) -> Builder {
        let (uri, routes) = self.routes.apply(&self.remote_target);
        let number = format!("{cseq} {method}");
        let mut builder = Builder::request(method, &uri);
        for route in &routes {
            builder = builder.header(Name::Route, route);
        }
        builder
            .header(Name::From, &self.local)
            .header(Name::To, &self.remote)
            .header(Name::CallId, &self.id.call_id.0)
            .header(Name::CSeq, &number)
            .header(Name::MaxForwards, "70")
    }

    /// Where requests of this dialog go first (§8.1.2).
    pub fn next_hop(&self) -> String {
        self.routes.next_hop(&self.remote_target)
    }
}

/// A From or To value as it stands in the message; where the peer wrote it so that we would not, its URI and tag.
fn header(message: &Message, name: Name) -> String {
    let text = message.header(name.clone()).unwrap_or("");
    if check_value(&name, text).is_ok() {
        return text.into();
    }
    let read = NameAddr::parse(text).ok();
    let tag = |address: &NameAddr<'_>| address.tag().map(|tag| format!(";tag={tag}")).unwrap_or_default();
    read.map(|address| format!("<{}>{}", address.uri().as_str(), tag(&address))).unwrap_or_default()
}

fn state_of(response: &Message) -> State {
    match response.status() {
        Some(200..=299) => State::Confirmed,
        _ => State::Early,
    }
}

/// The Contact's URI, as it may stand in a Request-URI (§19.1.1: without `method` and headers).
fn target_of(message: &Message) -> Result<Option<String>, ParseError> {
    let clean = |uri: Uri<'_>| uri.to_owned().without_param("method").without_headers().as_str().to_owned();
    Ok(message.contact()?.map(|contact| clean(contact.uri())))
}

#[cfg(test)]
mod tests;
