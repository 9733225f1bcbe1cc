//! One account: who we are, where our edge is, and how calls are to be made.

use std::time::Duration;

use wakeline_call::{Config, InfoDigits};
use wakeline_call_route::is_listed;
use wakeline_flow::{FlowInfo, Transport};
use wakeline_push::is_token_parameter;
use wakeline_settings::{
    AutoAnswer, Credential, DtmfMode, HostPort, IncomingPolicy, PushChoice, PushDialect, Settings,
    TransportChoice,
};
use wakeline_sip_dialog::{DialogContact, DialogError};
use wakeline_sip_message::{BuildError, Message, Name, OwnedNameAddr, OwnedUri, Scheme, Uri};
use wakeline_sip_resolve::Target;

use crate::snapshot::AccountId;

/// Everything of an account that its settings say; read once, and again when they change.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) id: AccountId,
    /// As it was configured.
    pub(crate) settings: Settings,
    /// The address of record, `sip:user@domain`.
    pub(crate) address: String,
    /// The From value, without tag.
    pub(crate) from: String,
    /// The user part of our Contact: what a Request-URI for us carries.
    pub(crate) contact_user: String,
}

/// Why a description of an account cannot work.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccountError {
    /// A value cannot stand in a SIP message.
    #[error(
        "account {0}: '{1}' cannot stand in a SIP address: check username, displayname, realm and serveraddress"
    )]
    Address(u32, String),
}

impl Identity {
    /// Reads the settings. An account without server or user is fine: it dials whole URIs.
    pub(crate) fn new(id: AccountId, settings: Settings) -> Result<Identity, AccountError> {
        let account = settings.account();
        let user = if account.username.is_empty() { "anonymous" } else { &account.username };
        let domain = if account.domain.is_empty() { "anonymous.invalid" } else { &account.domain };
        let broken = |_: BuildError| AccountError::Address(id.0, format!("{user}@{domain}"));
        let uri = OwnedUri::sip(Scheme::Sip, Some(user), domain, None).map_err(broken)?;
        let mut from = OwnedNameAddr::new(uri.clone());
        if let Some(name) = &account.display_name {
            from = from.with_display_name(name).map_err(broken)?;
        }
        Ok(Identity {
            id,
            address: uri.to_string(),
            from: from.to_string(),
            contact_user: user.to_owned(),
            settings,
        })
    }

    /// The place that every request of this account goes through: the outbound proxy, or the server. `None` without either.
    pub(crate) fn edge(&self) -> Option<Target> {
        let account = self.settings.account();
        let network = self.settings.network();
        if let Some(target) = network.websockets.iter().find_map(|address| websocket(address)) {
            return Some(target);
        }
        let HostPort { host, port } = account.proxy.or(account.server)?;
        Some(Target { host: host.to_ascii_lowercase(), port, transport: None, secure: false })
    }

    /// The edge as a URI, for a Route or a first hop.
    pub(crate) fn edge_uri(&self) -> String {
        let Some(Target { host, port, transport, .. }) = self.edge() else { return self.address.clone() };
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let transport = transport.map(|t| format!(";transport={}", t.uri_parameter())).unwrap_or_default();
        format!("sip:{host}{port}{transport}")
    }

    /// The transports that may be used, best first.
    pub(crate) fn transports(&self) -> Vec<Transport> {
        let network = self.settings.network();
        if let Some(target) = network.websockets.iter().find_map(|address| websocket(address)) {
            return target.transport.into_iter().collect();
        }
        match network.transport {
            // RFC 3263 §4.1 lets the domain's records choose; without any, UDP is what every server speaks.
            TransportChoice::Automatic => vec![Transport::Udp, Transport::Tcp, Transport::Tls],
            TransportChoice::Udp => vec![Transport::Udp],
            TransportChoice::Tcp => vec![Transport::Tcp],
            TransportChoice::Tls => vec![Transport::Tls],
        }
    }

    /// Whether a Request-URI is ours: its user part is, with or without the parameters that we registered
    /// (RFC 8599 §4.1.3 allows a proxy to strip them).
    pub(crate) fn answers_to(&self, uri: &Uri<'_>) -> bool {
        uri.user_unescaped().is_some_and(|user| user.eq_ignore_ascii_case(&self.contact_user))
    }

    /// Our Contact in a dialog on this flow. The person's own parameters are kept, push parameters never are: the type
    /// refuses them.
    pub(crate) fn contact(&self, flow: &FlowInfo, gruu: Option<&str>) -> Result<DialogContact, DialogError> {
        let uri = match gruu.map(OwnedUri::parse) {
            Some(Ok(gruu)) => gruu,
            Some(Err(_)) | None => self.contact_uri(flow)?,
        };
        let network = self.settings.network();
        // B-086: the person's own parameters stand here as well, but a token in them belongs into REGISTER only.
        let mut uri = uri;
        for (name, value) in
            network.contact_uri_parameters.iter().filter(|(name, _)| !is_token_parameter(name))
        {
            uri = uri.with_param(name, value.as_deref())?;
        }
        let behind: String = network
            .contact_parameters
            .iter()
            .filter(|(name, _)| !is_token_parameter(name))
            .map(|(name, value)| {
                value.as_ref().map_or(format!(";{name}"), |value| format!(";{name}={value}"))
            })
            .collect();
        let contact = DialogContact::new(&uri)?;
        if behind.is_empty() { Ok(contact) } else { contact.with_params(&behind) }
    }

    /// `sip:user@address;transport=…` for this flow; behind WebSocket a name that cannot be dialled (RFC 7118 §5).
    pub(crate) fn contact_uri(&self, flow: &FlowInfo) -> Result<OwnedUri, BuildError> {
        let user = Some(self.contact_user.as_str());
        let uri = match flow.transport {
            Transport::Ws | Transport::Wss => {
                let host = format!("ws-{:x}.invalid", flow.id.0);
                OwnedUri::sip(Scheme::Sip, user, &host, None)?
            }
            Transport::Udp | Transport::Tcp | Transport::Tls => {
                let host = match flow.local.ip() {
                    core::net::IpAddr::V4(address) => address.to_string(),
                    core::net::IpAddr::V6(address) => format!("[{address}]"),
                };
                OwnedUri::sip(Scheme::Sip, user, &host, Some(flow.local.port()))?
            }
        };
        match flow.transport {
            Transport::Udp => Ok(uri),
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                uri.with_param("transport", Some(flow.transport.uri_parameter()))
            }
        }
    }

    /// How a call of this account behaves.
    pub(crate) fn call_config(&self, incoming: bool) -> Config {
        let call = self.settings.call();
        let ring = if incoming { call.ring_limit_in } else { call.ring_limit_out };
        let limit = |span: Duration| (!span.is_zero()).then_some(span);
        Config {
            ring_timeout: limit(ring),
            call_timeout: limit(call.call_limit),
            redirects: if call.follow_redirects { 5 } else { 0 },
            info_digits: InfoDigits::Relay,
            user_agent: Some(self.user_agent()),
            headers: self.header_fields(),
            ..Config::default()
        }
    }

    /// What we call ourselves.
    pub(crate) fn user_agent(&self) -> String {
        self.settings.network().user_agent.unwrap_or_else(|| crate::USER_AGENT.to_owned())
    }

    /// Whether this account asks to be pushed when there is a token.
    pub(crate) fn wants_push(&self) -> bool {
        let push = self.settings.push();
        push.choice != PushChoice::Off && push.dialect != PushDialect::None
    }

    /// The header lines that a person wants on every message (`customsipheader`).
    pub(crate) fn header_fields(&self) -> Vec<(Name, String)> {
        let fields = self.settings.network().header_fields;
        fields.into_iter().filter_map(|(name, value)| Some((Name::parse(&name)?, value))).collect()
    }

    /// What an incoming INVITE meets before a person is told of it.
    pub(crate) fn screen(&self, invite: &Message, busy: bool, answer_after: bool) -> Screening {
        let call = self.settings.call();
        let unwanted = invite.from().is_ok_and(|from| {
            let user = from.uri().user_unescaped().unwrap_or_default();
            is_listed(&call.blacklist, &user, from.uri().host_text())
        });
        if unwanted {
            return Screening::Refuse { code: 603 };
        }
        if let Some(to) = call.forward_always {
            return Screening::Forward { to };
        }
        match call.incoming {
            IncomingPolicy::Ring => {}
            IncomingPolicy::Ignore => return Screening::Silent,
            IncomingPolicy::Reject => return Screening::Refuse { code: 603 },
        }
        if busy {
            if let Some(to) = call.forward_on_busy {
                return Screening::Forward { to };
            }
            if call.reject_on_busy {
                return Screening::Refuse { code: 486 };
            }
        }
        let by_itself = match &call.auto_answer {
            AutoAnswer::Never => false,
            AutoAnswer::Always => true,
            AutoAnswer::OnHeader(text) => carries(invite, text),
            AutoAnswer::OnAnyHeader(text) => {
                answer_after || text.as_ref().is_some_and(|text| carries(invite, text))
            }
        };
        if by_itself { Screening::Answer } else { Screening::Ring }
    }

    /// How digits are sent: by the media, by INFO, or both. `events`: whether both sides know telephone events, once that
    /// is settled (RFC 4733 §2.4.1: they are sent to who has listed them only).
    pub(crate) fn digit_ways(&self, events: Option<bool>) -> (bool, bool) {
        match self.settings.media().dtmf {
            DtmfMode::Off => (false, false),
            DtmfMode::Info => (false, true),
            DtmfMode::Automatic => (events != Some(false), events == Some(false)),
            // Tones in the audio are made by the same sender as events, which falls back to them.
            DtmfMode::Event | DtmfMode::InBand => (true, false),
            DtmfMode::InfoAndEvent | DtmfMode::InfoAndInBand => (true, true),
        }
    }

    /// Which spelling of push the server is told.
    pub(crate) fn push_mode(&self) -> wakeline_push::PushMode {
        match self.settings.push().dialect {
            PushDialect::Rfc8599 => wakeline_push::PushMode::Rfc8599,
            PushDialect::Linphone => wakeline_push::PushMode::Linphone,
            PushDialect::Xmpush => wakeline_push::PushMode::Xmpush,
            PushDialect::None => wakeline_push::PushMode::None,
        }
    }

    /// What to authenticate with; `None` when there is no secret.
    pub(crate) fn credentials(&self) -> Option<wakeline_sip_auth::Credentials> {
        let account = self.settings.account();
        let proof = match account.credential {
            Credential::None => return None,
            Credential::Password(password) => wakeline_sip_auth::Proof::Password(password),
            Credential::Ha1(ha1) => wakeline_sip_auth::Proof::Ha1(ha1),
        };
        Some(wakeline_sip_auth::Credentials { username: account.auth_username, proof, realm: account.realm })
    }
}

/// What an incoming call meets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Screening {
    /// It rings.
    Ring,
    /// It is answered at once.
    Answer,
    /// The caller hears it ring, nothing happens here (`autoignore` 1).
    Silent,
    /// It is refused.
    Refuse {
        /// With this code.
        code: u16,
    },
    /// The caller is sent elsewhere (302).
    Forward {
        /// A number or URI.
        to: String,
    },
}

fn carries(invite: &Message, text: &str) -> bool {
    invite.lines().any(|line| line.value().contains(text))
}

/// `wss://host:port/path`; a path is asked for by the I/O, which has the whole address.
fn websocket(address: &str) -> Option<Target> {
    let (transport, rest) = if let Some(rest) = address.strip_prefix("wss://") {
        (Transport::Wss, rest)
    } else {
        (Transport::Ws, address.strip_prefix("ws://")?)
    };
    let HostPort { host, port } = HostPort::parse(rest.split('/').next()?)?;
    Some(Target { host: host.to_ascii_lowercase(), port, transport: Some(transport), secure: false })
}
