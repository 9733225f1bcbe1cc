//! A scripted SIP peer on a trunk: it sends what it is told and keeps what it gets.

use std::net::SocketAddr;

use wakeline_clock::Time;
use wakeline_sip_message::{Builder, Message, Method, Name};

/// One peer.
pub struct Script {
    /// Everything that it got, with the time.
    pub inbox: Vec<(Time, Message)>,
    pub(crate) link: usize,
    pub(crate) local: SocketAddr,
    made: u32,
}

impl Script {
    pub(crate) fn new(link: usize, local: SocketAddr) -> Script {
        Script { inbox: Vec::new(), link, local, made: 0 }
    }

    /// A request outside of a dialog, with a Call-ID of its own.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn request(&mut self, method: Method, to: &str) -> Message {
        #[expect(clippy::expect_used, reason = "a scenario with a bad script is a bug of the scenario")]
        self.draft(method, to).build().expect("a request that can be written")
    }

    /// An INVITE with an offer.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn invite(&mut self, to: &str) -> Message {
        let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
        #[expect(clippy::expect_used, reason = "a scenario with a bad script is a bug of the scenario")]
        self.draft(Method::Invite, to).body("application/sdp", offer).build().expect("an INVITE")
    }

    fn draft(&mut self, method: Method, to: &str) -> Builder {
        self.made += 1;
        let (local, made) = (self.local, self.made);
        let name = method.as_str().to_owned();
        Builder::request(method, to)
            .header(Name::Via, format!("SIP/2.0/TCP {local};branch=z9hG4bK-script-{}-{made}", self.link))
            .header(Name::MaxForwards, 70)
            .header(Name::From, format!("\"Trunk\" <sip:trunk@{local}>;tag=script-{made}"))
            .header(Name::To, format!("<{to}>"))
            .header(Name::CallId, format!("script-{}-{made}", self.link))
            .header(Name::CSeq, format!("1 {name}"))
            .header(Name::Contact, format!("<sip:trunk@{local};transport=tcp>"))
    }

    /// The CANCEL of an INVITE of ours (RFC 3261 §9.1).
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn cancel(&self, invite: &Message) -> Message {
        let copy = |name: Name| invite.header(name).unwrap_or_default().to_owned();
        let builder = Builder::request(Method::Cancel, invite.request_uri_text())
            .header(Name::Via, copy(Name::Via))
            .header(Name::MaxForwards, 70)
            .header(Name::From, copy(Name::From))
            .header(Name::To, copy(Name::To))
            .header(Name::CallId, copy(Name::CallId))
            .header(Name::CSeq, "1 CANCEL");
        #[expect(clippy::expect_used, reason = "a scenario with a bad script is a bug of the scenario")]
        builder.build().expect("a request that can be written")
    }

    /// The ACK or BYE within the dialog that this response to our INVITE made.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn in_dialog(&mut self, method: Method, number: u32, response: &Message) -> Message {
        self.made += 1;
        let (local, made) = (self.local, self.made);
        let copy = |name: Name| response.header(name).unwrap_or_default().to_owned();
        let contact = copy(Name::Contact);
        let target = contact.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let name = method.as_str().to_owned();
        let mut builder = Builder::request(method, &target)
            .header(Name::Via, format!("SIP/2.0/TCP {local};branch=z9hG4bK-script-{}-{made}", self.link))
            .header(Name::MaxForwards, 70)
            .header(Name::From, copy(Name::From))
            .header(Name::To, copy(Name::To))
            .header(Name::CallId, copy(Name::CallId))
            .header(Name::CSeq, format!("{number} {name}"));
        let mut routes: Vec<&str> = response.headers(Name::RecordRoute).collect();
        routes.reverse();
        for route in routes {
            builder = builder.header(Name::Route, route);
        }
        #[expect(clippy::expect_used, reason = "a scenario with a bad script is a bug of the scenario")]
        builder.build().expect("a request that can be written")
    }

    /// The codes of the responses to requests of this method, in order.
    pub fn codes(&self, method: Method) -> Vec<u16> {
        self.responses(method).iter().filter_map(|response| response.status()).collect()
    }

    /// The responses to requests of this method, in order.
    pub fn responses(&self, method: Method) -> Vec<Message> {
        self.inbox
            .iter()
            .filter(|(_, message)| message.status().is_some() && message.method() == method)
            .map(|(_, message)| message.clone())
            .collect()
    }
}
