//! A registered user of a load: the REGISTERs of one phone, with the digest of what the server last handed out.

use bytes::Bytes;
use wakeline_entropy::Entropy;
use wakeline_interop::kamailio::{DOMAIN, PASSWORD};
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Message, Method};

use crate::servers::{PROJECT, token};

/// One user.
pub struct User {
    /// The user part, `u` and a number.
    pub name: String,
    session: Session,
    credentials: Credentials,
    request: Option<Message>,
    cseq: u32,
}

/// What became of a REGISTER.
pub enum Outcome {
    /// 401; the next request answers the challenge.
    Challenged,
    /// 200.
    Registered,
}

impl User {
    /// The user of this number.
    pub fn new(number: usize) -> User {
        let name = format!("u{number}");
        let credentials = Credentials::password(name.clone(), PASSWORD);
        User { name, session: Session::new(), credentials, request: None, cseq: 0 }
    }

    /// Whose message this is: the number that stands in its Call-ID.
    pub fn number_in(call_id: &str) -> Option<usize> {
        call_id.strip_prefix('u')?.split('@').next()?.parse().ok()
    }

    /// Forgets what the server handed out, so that the next request is challenged.
    pub fn forget(&mut self) {
        self.session = Session::new();
    }

    /// The next REGISTER, from this port over this transport (`UDP`, `TLS`); a phone that can be pushed says how.
    pub fn register(&mut self, entropy: &mut Entropy, transport: &str, port: u16, push: bool) -> Bytes {
        self.cseq += 1;
        let (user, cseq) = (&self.name, self.cseq);
        let uri = format!("sip:{DOMAIN}");
        let lines = self.session.authorize(&Method::Register, &uri, b"", &self.credentials, entropy);
        let lines: String =
            lines.into_iter().map(|(name, value)| format!("{}: {value}\r\n", name.as_str())).collect();
        let branch = entropy.token(12);
        let mut contact = format!("sip:{user}@127.0.0.1:{port}");
        if transport != "UDP" {
            contact.push_str(&format!(";transport={}", transport.to_ascii_lowercase()));
        }
        if push {
            contact.push_str(&format!(";pn-provider=fcm;pn-param={PROJECT};pn-prid={}", token(user)));
        }
        let bytes = Bytes::from(format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} 127.0.0.1:{port};branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag=a{user}\r\nTo: <sip:{user}@{DOMAIN}>\r\n\
             Call-ID: {user}@load\r\nCSeq: {cseq} REGISTER\r\nContact: <{contact}>\r\nExpires: 7200\r\n\
             {lines}Content-Length: 0\r\n\r\n"
        ));
        self.request = Message::parse(bytes.clone()).ok();
        bytes
    }

    /// Reads the answer to the last REGISTER.
    pub fn on_answer(&mut self, answer: &Message) -> Outcome {
        let request = self.request.as_ref().expect("what was asked");
        match answer.status() {
            Some(401) => {
                let outcome =
                    self.session.on_challenge(request, answer, &self.credentials, Asker::Configured);
                assert!(outcome.is_ok(), "a challenge that cannot be answered");
                Outcome::Challenged
            }
            Some(200) => {
                let _ = self.session.on_success(request, answer, &self.credentials);
                Outcome::Registered
            }
            _ => panic!("a REGISTER is answered by {}", answer.start_line()),
        }
    }
}
