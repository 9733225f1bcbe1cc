//! The Contact of a REGISTER.

use core::fmt;
use core::net::IpAddr;

use wakeline_flow::{FlowInfo, Transport};
use wakeline_push::{PushMode, PushParameters};
use wakeline_secret::Secret;
use wakeline_sip_message::{BuildError, Name, OwnedUri, Scheme, check_value};

use crate::config::{AccountConfig, OutboundUse, PushRefresh};
use crate::instance::Instance;

/// A Contact that may carry push parameters. It can be made and written only here, into a REGISTER; the Contact of a
/// dialog is another type that refuses them (RFC 8599 §4.1).
#[derive(Clone, PartialEq, Eq)]
pub struct BindingContact {
    /// Without push parameters.
    plain: OwnedUri,
    /// `;pn-provider=…` and so on, as it is written.
    push: Secret,
    /// What stands behind the brackets, but for `expires`.
    behind: String,
}

impl BindingContact {
    pub(crate) fn new(
        config: &AccountConfig,
        flow: &FlowInfo,
        instance: &Instance,
        outbound: OutboundUse,
        push: Option<&PushParameters>,
    ) -> Result<BindingContact, BuildError> {
        let mut plain = address(config, flow)?;
        let mut behind = String::new();
        if outbound == OutboundUse::Offered {
            plain = plain.with_param("ob", None)?;
            behind.push_str(&format!(";reg-id={}", config.reg_id));
        }
        let mut written = String::new();
        if let Some(push) = push {
            for (name, value) in push.write(config.push_mode).uri_parameters {
                written.push_str(&format!(";{name}={}", value.expose()));
            }
            if config.push_mode == PushMode::Rfc8599 && config.push_refresh == PushRefresh::ByTimer {
                behind.push_str(";+sip.pnsreg");
            }
        }
        behind.push_str(&format!(";+sip.instance=\"<{instance}>\""));
        for (name, value) in &config.contact_parameters {
            behind.push(';');
            behind.push_str(name);
            if let Some(value) = value {
                behind.push('=');
                behind.push_str(value);
            }
        }
        let contact = BindingContact { plain, push: Secret::new(written), behind };
        check_value(&Name::Contact, &contact.written(None))?;
        Ok(contact)
    }

    /// The header field's value.
    pub(crate) fn written(&self, expires: Option<u32>) -> String {
        let expires = expires.map_or(String::new(), |seconds| format!(";expires={seconds}"));
        format!("<{}{}>{}{expires}", self.plain, self.push.expose(), self.behind)
    }

    /// The same without push parameters: to remove the binding (RFC 8599 §4.1.2).
    pub(crate) fn without_push(&self) -> BindingContact {
        BindingContact { push: Secret::default(), ..self.clone() }
    }

    /// The URI as others may see it.
    pub fn uri(&self) -> &OwnedUri {
        &self.plain
    }
}

impl fmt::Debug for BindingContact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{};{:?}>{}", self.plain, self.push, self.behind)
    }
}

/// Where we are on this flow.
fn address(config: &AccountConfig, flow: &FlowInfo) -> Result<OwnedUri, BuildError> {
    let user = Some(config.contact_user.as_str()).filter(|user| !user.is_empty());
    let mut uri = match flow.transport {
        // A browser does not know its address (RFC 7118 §5.1).
        Transport::Ws | Transport::Wss => {
            OwnedUri::sip(Scheme::Sip, user, &format!("ws-{:x}.invalid", flow.id.0), None)?
        }
        Transport::Udp | Transport::Tcp | Transport::Tls => {
            let host = match flow.local.ip() {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            OwnedUri::sip(Scheme::Sip, user, &host, Some(flow.local.port()))?
        }
    };
    if flow.transport != Transport::Udp {
        uri = uri.with_param("transport", Some(flow.transport.uri_parameter()))?;
    }
    for (name, value) in &config.contact_uri_parameters {
        // A person's parameters are no way around RFC 8599's.
        if !wakeline_push::is_token_parameter(name) {
            uri = uri.with_param(name, value.as_deref())?;
        }
    }
    Ok(uri)
}
