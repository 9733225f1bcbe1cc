//! One Contact of a REGISTER, read and judged before anything is changed (RFC 3261 §10.3 steps 6 and 7: all or none).

use smallvec::SmallVec;
use wakeline_push::{
    ContactPush, FeatureCaps, Provider, PushParameters, PushTarget, Service, escape_value, is_token_parameter,
};
use wakeline_sip_message::{Message, Name, NameAddr, Params, Uri};

use crate::binding::{Binding, Wakeable};
use crate::config::PushServices;
use crate::machine::Registrar;
use crate::number::{AorId, BindingId, Device};
use crate::refused::Refused;

/// What one Contact asks for.
pub(crate) struct Wanted<'a> {
    pub(crate) address: NameAddr<'a>,
    /// The binding that it refreshes, replaces or removes.
    pub(crate) existing: Option<BindingId>,
    /// The number that a new binding is to have, where it was named before it is made.
    pub(crate) drawn: Option<BindingId>,
    /// Seconds granted; zero removes.
    pub(crate) lifetime: u32,
    pub(crate) instance: u64,
    /// Zero if outbound is not in use.
    pub(crate) reg_id: u32,
    pub(crate) token: u64,
    pub(crate) wakeable: Wakeable,
    /// What it says of push.
    pub(crate) push: ContactPush,
    /// The header parameters that are kept and shown.
    pub(crate) params: String,
}

/// A Contact whose wish was granted.
pub(crate) struct Granted {
    pub(crate) binding: BindingId,
    pub(crate) device: Device,
    /// Whether it is to be woken by us.
    pub(crate) push: bool,
    /// What it asked of push: nothing, any service, or one.
    pub(crate) query: Option<Option<Provider>>,
}

/// Whether outbound is in use for a REGISTER (RFC 5626 §6).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outbound {
    /// The client supports it, and its first hop too.
    InUse,
    /// Its first hop does not: 439 if a Contact asks for it.
    FirstHopLacks,
    /// The client does not.
    Absent,
}

impl Outbound {
    pub(crate) fn of(request: &Message) -> Outbound {
        if !request.supports("outbound") {
            return Outbound::Absent;
        }
        // One Via: the client is our neighbour, we are its first hop. Else the first proxy says `ob` in its Path.
        let direct = request.headers(Name::Via).nth(1).is_none();
        let first_hop = request.paths().last().and_then(Result::ok);
        if direct || first_hop.is_some_and(|path| path.uri().param("ob").is_some()) {
            Outbound::InUse
        } else {
            Outbound::FirstHopLacks
        }
    }
}

/// Whether a provider is one that we push through.
pub(crate) fn serves(services: &PushServices, provider: &Provider) -> bool {
    match provider {
        Provider::Fcm => services.fcm,
        Provider::Apns | Provider::ApnsSandbox => services.apns,
        Provider::WebPush => services.webpush,
        Provider::Other(name) => services.others.contains(name),
    }
}

/// `urn:uuid:…` of a binding's instance, without brackets.
pub(crate) fn instance_urn(binding: &Binding) -> String {
    let params = Params::parse(binding.params()).unwrap_or_default();
    let text = params.get_unquoted("+sip.instance").unwrap_or_default();
    text.trim_start_matches('<').trim_end_matches('>').to_owned()
}

/// Whether a proxy between the phone and us pushes through this service: then we neither push nor say that we would
/// (RFC 8599 §5.6.1.1). What stands in a request that comes from the phone itself is no proxy's word.
pub(crate) fn is_served_nearer(request: &Message, provider: &Provider) -> bool {
    request.headers(Name::Via).nth(1).is_some()
        && request
            .headers(Name::FeatureCaps)
            .any(|value| FeatureCaps::read(value).iter().any(|caps| provider.is_served_by(&caps.provider)))
}

/// How a device with these parameters is woken.
pub(crate) fn wakeable_by(parameters: &PushParameters) -> Wakeable {
    match &parameters.provider {
        Provider::Fcm => Wakeable::Fcm,
        Provider::Apns | Provider::ApnsSandbox => {
            let targets = parameters.targets().unwrap_or_default();
            let quiet =
                |target: &PushTarget| matches!(target, PushTarget::Apns { service: Service::Remote, .. });
            if targets.iter().any(quiet) { Wakeable::ApnsRemote } else { Wakeable::Apns }
        }
        Provider::WebPush => Wakeable::Webpush,
        Provider::Other(_) => Wakeable::Hook,
    }
}

/// The parameters under which a binding's device is pushed, read from its text.
pub(crate) fn push_parameters(binding: &Binding) -> Option<PushParameters> {
    let uri = Uri::parse(binding.uri()).ok()?;
    let header = wakeline_sip_message::Params::parse(binding.params()).ok()?;
    match PushParameters::read(uri.params().iter().chain(header.iter())).ok()? {
        ContactPush::Bound(parameters) => Some(parameters),
        ContactPush::Absent | ContactPush::Query(_) => None,
    }
}

/// Which push services a Contact asks for.
pub(crate) fn asked(push: &ContactPush) -> Option<Option<Provider>> {
    match push {
        ContactPush::Absent => None,
        ContactPush::Query(provider) => Some(provider.clone()),
        ContactPush::Bound(parameters) => Some(Some(parameters.provider.clone())),
    }
}

impl Registrar {
    /// Judges every Contact of a REGISTER. Nothing is changed.
    pub(crate) fn judge_contacts<'a>(
        &self,
        aor: AorId,
        request: &'a Message,
        list: &[NameAddr<'a>],
        cseq: u32,
    ) -> Result<SmallVec<[Wanted<'a>; 1]>, Refused> {
        let outbound = Outbound::of(request);
        let expires = request.expires().map_err(|_| Refused::code(400))?;
        let mut wanted: SmallVec<[Wanted<'a>; 1]> = SmallVec::new();
        for address in list {
            let one = self.judge(aor, request, *address, outbound, expires)?;
            if let Some(existing) = one.existing.and_then(|id| self.bindings.get(id)) {
                // §10.3 step 7: within one Call-ID the order of CSeq counts.
                if existing.call_id() == request.call_id() && cseq <= existing.cseq {
                    return Err(Refused::code(500));
                }
            }
            wanted.push(one);
        }
        Ok(wanted)
    }

    /// What a Contact was granted by the REGISTER that this one is a copy of; `None` when that is no more.
    pub(crate) fn granted_before(
        &self,
        aor: AorId,
        request: &Message,
        address: NameAddr<'_>,
    ) -> Option<Granted> {
        let expires = request.expires().ok()?;
        let one = self.judge(aor, request, address, Outbound::of(request), expires).ok()?;
        let binding = one.existing.and_then(|id| self.bindings.get(id)).filter(|_| one.lifetime > 0)?;
        let push = matches!(one.push, ContactPush::Bound(_));
        Some(Granted { binding: binding.id, device: binding.device(), push, query: asked(&one.push) })
    }

    fn judge<'a>(
        &self,
        aor: AorId,
        request: &'a Message,
        address: NameAddr<'a>,
        outbound: Outbound,
        expires: Option<u32>,
    ) -> Result<Wanted<'a>, Refused> {
        let uri = address.uri();
        if !uri.is_sip() {
            return Err(Refused::code(400));
        }
        if uri.as_str().len() + address.params().as_str().len() > self.config.limits.contact_bytes {
            return Err(Refused::code(413));
        }
        let instance_text = address.instance().filter(|text| !text.is_empty());
        let instance = instance_text.as_ref().map_or(0, |text| self.keyed.digest(text.as_bytes()) | 1);
        let reg_id = match (outbound, address.reg_id(), instance) {
            (Outbound::InUse, Some(id), 1..) => id,
            // RFC 5626 §6: the client counts on a flow that the first proxy will not keep.
            (Outbound::FirstHopLacks, Some(_), 1..) => return Err(Refused::code(439)),
            (Outbound::InUse | Outbound::FirstHopLacks | Outbound::Absent, _, _) => 0,
        };
        let mpush = request.header_by_name(wakeline_push::X_MPUSH_HEADER);
        let all = uri.params().iter().chain(address.params().iter());
        let push = PushParameters::read_register(all, mpush).map_err(|_| Refused::code(400))?;
        let (wakeable, token) = self.judge_push(aor, request, &push, instance)?;
        let mut wanted = Wanted {
            address,
            existing: None,
            drawn: None,
            lifetime: 0,
            instance,
            reg_id,
            token,
            wakeable,
            params: kept_params(&address, &push, mpush.is_some()),
            push,
        };
        wanted.existing = self.existing(aor, &wanted);
        let rules = if wakeable.has_token() { self.config.push_expiry } else { self.config.plain_expiry };
        wanted.lifetime = match address.expires().or(expires) {
            Some(0) => 0,
            Some(asked) if asked < rules.min => return Err(Refused::brief(rules.min)),
            Some(asked) => asked.min(rules.max),
            None => rules.default,
        };
        Ok(wanted)
    }

    /// RFC 8599 §5.6.1.1: whether we push for this Contact, and whether the token may be this device's.
    fn judge_push(
        &self,
        aor: AorId,
        request: &Message,
        push: &ContactPush,
        instance: u64,
    ) -> Result<(Wakeable, u64), Refused> {
        let parameters = match push {
            ContactPush::Absent | ContactPush::Query(None) => return Ok((Wakeable::Never, 0)),
            ContactPush::Query(Some(provider)) if serves(&self.config.push, provider) => {
                return Ok((Wakeable::Never, 0));
            }
            ContactPush::Bound(parameters) if serves(&self.config.push, &parameters.provider) => parameters,
            // We are the registrar: nobody behind us could do it.
            ContactPush::Query(Some(_)) | ContactPush::Bound(_) => return Err(Refused::code(555)),
        };
        if is_served_nearer(request, &parameters.provider) {
            return Ok((Wakeable::Elsewhere, 0));
        }
        if parameters.targets().is_err() {
            return Err(Refused::code(400));
        }
        let token = self.keyed.digest(parameters.prid.expose().as_bytes()) | 1;
        // A token belongs to one device. Two accounts of one device share it; another device's token in another
        // account would be a way to make a stranger's phone ring (RFC 8599 §13).
        let stolen = self.bindings.with_token(token).any(|other| {
            other.aor != aor && other.wakeable.by_push() && (instance == 0 || other.instance != instance)
        });
        if stolen {
            return Err(Refused::code(403));
        }
        Ok((wakeable_by(parameters), token))
    }

    /// The binding that a Contact means: by instance and reg-id (RFC 5626 §6), else by URI (RFC 3261 §10.3), else by
    /// token: the same program at another address.
    fn existing(&self, aor: AorId, wanted: &Wanted<'_>) -> Option<BindingId> {
        let entry = self.accounts.get(aor)?;
        let bindings = || entry.bindings.iter().filter_map(|id| self.bindings.get(*id));
        if wanted.instance != 0 {
            let same = |found: &&Binding| found.instance == wanted.instance && found.reg_id == wanted.reg_id;
            return bindings().find(same).map(|found| found.id);
        }
        let uri = wanted.address.uri();
        let same_uri = |found: &&Binding| {
            found.uri() == uri.as_str() || Uri::parse(found.uri()).is_ok_and(|other| other.equivalent(&uri))
        };
        bindings()
            .find(same_uri)
            .or_else(|| bindings().find(|found| wanted.token != 0 && found.token == wanted.token))
            .map(|found| found.id)
    }
}

/// The header parameters that a binding keeps: not those that only we may give. A token that came as `X-MPUSH` is
/// written in the spelling that a Contact has for it, so that the binding is whole.
fn kept_params(address: &NameAddr<'_>, push: &ContactPush, mpush: bool) -> String {
    let mut kept = String::with_capacity(address.params().as_str().len());
    for (name, value) in address.params() {
        let ours = ["expires", "pub-gruu", "temp-gruu", "temp-gruu-cookie"];
        if ours.iter().any(|known| name.eq_ignore_ascii_case(known)) || mpush && is_token_parameter(name) {
            continue;
        }
        kept.push(';');
        kept.push_str(name);
        if let Some(value) = value {
            kept.push('=');
            kept.push_str(value);
        }
    }
    if mpush && let ContactPush::Bound(parameters) = push {
        let (kind, topic) = match parameters.provider {
            Provider::Apns | Provider::ApnsSandbox => ("apple", ".voip"),
            Provider::Fcm | Provider::WebPush | Provider::Other(_) => ("firebase", ""),
        };
        kept.push_str(&format!(
            ";app-id={}{topic};pn-type={kind};pn-tok={}",
            escape_value(&parameters.param),
            escape_value(parameters.prid.expose())
        ));
    }
    kept
}
