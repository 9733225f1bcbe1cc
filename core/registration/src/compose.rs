//! The REGISTER requests (RFC 3261 §10.2).

use wakeline_push::{PushParameters, WAKE_ID_HEADER, WakeId};
use wakeline_sip_message::{BuildError, Builder, Message, Method, Name, OwnedNameAddr};

use crate::config::{AccountConfig, OutboundUse};

/// Everything of a REGISTER that differs from one to the next.
pub(crate) struct Draft<'a> {
    pub(crate) config: &'a AccountConfig,
    pub(crate) call_id: &'a str,
    pub(crate) from_tag: &'a str,
    pub(crate) cseq: u32,
    /// The Contact header field's value.
    pub(crate) contact: &'a str,
    /// Expires, where the Contact does not tell its own.
    pub(crate) expires: Option<u32>,
    pub(crate) outbound: OutboundUse,
    /// For dialects that stand in a header field.
    pub(crate) push: Option<&'a PushParameters>,
    pub(crate) wakes: &'a [WakeId],
    pub(crate) authorization: Vec<(Name, String)>,
}

pub(crate) fn register(draft: Draft<'_>) -> Result<Message, BuildError> {
    let config = draft.config;
    let to = OwnedNameAddr::new(config.address.clone());
    let mut from = to.clone();
    if let Some(name) = &config.display_name {
        from = from.with_display_name(name)?;
    }
    let supported = match draft.outbound {
        OutboundUse::Offered => "path, outbound, gruu",
        OutboundUse::Off => "path, gruu",
    };
    let mut builder = Builder::request(Method::Register, &config.registrar);
    for route in &config.routes {
        builder = builder.header(Name::Route, route);
    }
    builder = builder
        .header(Name::From, from.with_tag(draft.from_tag)?)
        .header(Name::To, to)
        .header(Name::CallId, draft.call_id)
        .header(Name::CSeq, format!("{} REGISTER", draft.cseq))
        .header(Name::Contact, draft.contact)
        .header(Name::Supported, supported);
    if let Some(expires) = draft.expires {
        builder = builder.header(Name::Expires, expires);
    }
    if let Some(push) = draft.push {
        for (name, value) in push.write(config.push_mode).header_fields {
            builder = builder.header_text(name, value.expose());
        }
    }
    if !draft.wakes.is_empty() {
        let ids: Vec<&str> = draft.wakes.iter().map(WakeId::as_str).collect();
        builder = builder.header_text(WAKE_ID_HEADER, ids.join(", "));
    }
    builder.headers(draft.authorization).headers(config.headers.iter().cloned()).build()
}
