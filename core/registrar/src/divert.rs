//! A call that nobody took goes to voicemail: to a server that the operator named, as one more branch of the same call, or
//! by a redirection of the caller (RFC 3261 §16.5, §21.3.3). What happened goes along as History-Info (RFC 7044), as
//! Diversion (RFC 5806, which most servers read) and in the URI itself (RFC 4458).

use wakeline_clock::Time;
use wakeline_flow::FlowInfo;
use wakeline_sip_message::{Message, Name, NameAddr, OwnedUri};

use crate::answer::escape_user;
use crate::config::{Divert, Voicemail};
use crate::context::{Branch, Context, Course, Kind, Phase, Step};
use crate::flow::Liveness;
use crate::machine::Registrar;
use crate::number::{AorId, BindingId, ContextId, Device, UpstreamId};
use crate::trace::Leg;

/// Diversions that a call may have behind it. One more would be a circle, or might as well be (RFC 5806 §7).
const MOST_DIVERSIONS: usize = 5;

/// Why nobody took it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    /// It rang for as long as it may.
    NoAnswer,
    /// No device could be reached, or none came in time.
    Absent,
    /// All who answered were busy.
    Busy,
    /// Somebody declined it.
    Declined,
}

impl Cause {
    /// The `cause` of RFC 4458 §2.
    const fn code(self) -> u16 {
        match self {
            Cause::NoAnswer => 408,
            Cause::Absent => 503,
            Cause::Busy => 486,
            Cause::Declined => 480,
        }
    }

    /// The `reason` of RFC 5806 §4.
    const fn diversion(self) -> &'static str {
        match self {
            Cause::NoAnswer => "no-answer",
            Cause::Absent => "unavailable",
            Cause::Busy => "user-busy",
            Cause::Declined => "do-not-disturb",
        }
    }
}

/// Where a voicemail server is reached.
enum Place {
    Device(Device, BindingId, FlowInfo),
    Hop(UpstreamId, FlowInfo),
}

impl Registrar {
    /// Where the unanswered calls of an address of record go. An upstream's addresses have voicemail there, unless their
    /// account says otherwise.
    pub(crate) fn voicemail(&self, aor: AorId) -> Option<Voicemail> {
        let entry = self.accounts.get(aor)?;
        let default = self.config.voicemail.as_ref();
        match entry.voicemail.as_deref() {
            Some("") => None,
            Some(target) => {
                let rules = default.cloned().unwrap_or_default();
                Some(Voicemail { target: target.to_owned(), ..rules })
            }
            None if self.upstreams.of_domain(entry.domain()).is_some() => None,
            None => default.filter(|rules| !rules.target.is_empty()).cloned(),
        }
    }

    /// How long a call rings: shorter when voicemail waits behind it.
    pub(crate) fn ring_time(&self, kind: Kind, aor: Option<AorId>) -> core::time::Duration {
        let total = kind.total(&self.config.timers);
        match (kind, aor.and_then(|aor| self.voicemail(aor))) {
            (Kind::Call, Some(rules)) => rules.after.min(total),
            (_, _) => total,
        }
    }

    /// Whether a call to an address without any device is of use: voicemail takes it.
    pub(crate) fn is_taken_when_absent(&self, kind: Kind, aor: AorId) -> bool {
        kind == Kind::Call && self.voicemail(aor).is_some_and(|rules| rules.absent)
    }

    /// Sends a call that ends with `code` on to voicemail; `false` when it is to end.
    pub(crate) fn divert(
        &mut self,
        now: Time,
        id: ContextId,
        context: &mut Context,
        code: u16,
        decided: Option<u16>,
    ) -> bool {
        let (Kind::Call, Course::Devices, Some(aor)) = (context.kind, context.course, context.aor) else {
            return false;
        };
        let cause = match (code, decided) {
            // The caller gave up.
            (487, _) => return false,
            (480 | 408, Some(_)) => Cause::NoAnswer,
            (480 | 404 | 408 | 410 | 430 | 500..=599, None) => Cause::Absent,
            (486 | 600, _) => Cause::Busy,
            (403 | 603 | 607, _) => Cause::Declined,
            (_, _) => return false,
        };
        let Some(rules) = self.voicemail(aor) else { return false };
        let wanted = match cause {
            Cause::NoAnswer => true,
            Cause::Absent => rules.absent,
            Cause::Busy => rules.busy,
            Cause::Declined => rules.declined,
        };
        let Some(request) = context.request.as_ref().filter(|_| wanted) else { return false };
        let diversions = request.count(Name::Diversion).max(request.count(Name::HistoryInfo) / 2);
        let Some(entry) = self.accounts.get(aor).filter(|_| diversions < MOST_DIVERSIONS) else {
            return false;
        };
        let called = format!("sip:{}@{}", escape_user(entry.user()), entry.domain());
        let Some(target) = target_uri(&rules.target, &called, cause) else { return false };
        let Some(request) = diverted(request, &called, &target, cause, code) else { return false };
        match rules.how {
            Divert::Redirect => self.redirect(now, context, &request, &target),
            Divert::Forward => self.send_to_voicemail(now, id, context, aor, &rules, request),
        }
    }

    fn redirect(&mut self, now: Time, context: &mut Context, request: &Message, target: &str) -> bool {
        let (Some(key), Some(original)) = (context.server, context.request.take()) else { return false };
        let mut headers = vec![(Name::Contact, format!("<{target}>"))];
        for name in [Name::Diversion, Name::HistoryInfo] {
            headers.extend(request.headers(name.clone()).map(|value| (name.clone(), value.to_owned())));
        }
        self.answer(now, key, &original, 302, &headers);
        self.trace(now, Some(context.wake), Leg::Diverted);
        self.trace(now, Some(context.wake), Leg::FinalOut(302));
        context.course = Course::Voicemail;
        context.phase = Phase::Ended;
        true
    }

    fn send_to_voicemail(
        &mut self,
        now: Time,
        id: ContextId,
        context: &mut Context,
        aor: AorId,
        rules: &Voicemail,
        request: Message,
    ) -> bool {
        let Some(place) = self.place_of_voicemail(now, aor, &rules.target) else { return false };
        // Whoever wakes up now is late: the call is with voicemail.
        for branch in &mut context.branches {
            if let Step::Expired = branch.step {
                branch.step = Step::Ended(context.kind.absent());
            }
        }
        context.request = Some(request);
        context.course = Course::Voicemail;
        context.phase = Phase::Open;
        context.best = None;
        context.until = now + self.config.timers.ring_total;
        let (branch, flow) = match place {
            Place::Device(device, binding, flow) => (Branch::new(device, Some(binding)), flow),
            Place::Hop(upstream, flow) => {
                context.upstream = Some(upstream);
                context.line = Some(aor).filter(|aor| self.line_of(*aor) == Some(upstream));
                (Branch::new(Device(flow.id.0), None), flow)
            }
        };
        context.branches.push(branch);
        let last = context.branches.len() - 1;
        self.trace(now, Some(context.wake), Leg::Diverted);
        self.forward(now, id, context, last, flow.id);
        true
    }

    /// A voicemail server is always there: a device of ours whose connection lives, or the upstream's next hop.
    fn place_of_voicemail(&self, now: Time, called: AorId, target: &str) -> Option<Place> {
        let target = OwnedUri::parse(target).ok()?;
        let uri = target.view();
        if let Some(upstream) = self.upstreams.of_domain(uri.host_text()) {
            return self.upstreams.open(upstream, &[]).map(|flow| Place::Hop(upstream, flow));
        }
        let aor = self.accounts.find(&uri.user_unescaped()?, uri.host_text()).filter(|aor| *aor != called)?;
        let bindings = self.accounts.get(aor)?.bindings.iter().filter_map(|id| self.bindings.get(*id));
        bindings.filter(|binding| binding.expires > now).find_map(|binding| {
            match self.flows.liveness(now, binding.flow) {
                Liveness::Proven(flow) | Liveness::Unproven(flow) => {
                    let info = self.flows.get(flow)?.info;
                    Some(Place::Device(binding.device(), binding.id, info))
                }
                Liveness::Asleep => None,
            }
        })
    }
}

/// `sip:box@server;target=sip%3Amia%40home;cause=408` (RFC 4458 §2).
fn target_uri(server: &str, called: &str, cause: Cause) -> Option<String> {
    let escaped = called.replace('%', "%25").replace(':', "%3A").replace('@', "%40").replace(';', "%3B");
    let uri = OwnedUri::parse(server).ok()?.with_param("target", Some(&escaped)).ok()?;
    Some(uri.with_param("cause", Some(&cause.code().to_string())).ok()?.as_str().to_owned())
}

/// The request as it goes on: for the new target, with its history. A caller who wants its way kept private
/// (RFC 7044 §10.1) has it kept.
fn diverted(request: &Message, called: &str, target: &str, cause: Cause, code: u16) -> Option<Message> {
    let mut edit = request.edit().set_request_uri(target);
    if request
        .privacy()
        .any(|word| ["history", "header"].iter().any(|known| word.eq_ignore_ascii_case(known)))
    {
        return edit.finish().ok();
    }
    let counter = request.count(Name::Diversion) + 1;
    edit = edit.prepend(
        Name::Diversion,
        format!("<{called}>;reason={};counter={counter};privacy=off", cause.diversion()),
    );
    // The last entry is of the hop before us, or there is none and this is the first (RFC 7044 §10.3).
    let last = request.headers(Name::HistoryInfo).last().map(|value| {
        NameAddr::parse(value)
            .ok()
            .and_then(|entry| entry.param("index").map(str::to_owned))
            .unwrap_or_default()
    });
    let ours = match last {
        Some(index) if !index.is_empty() => format!("{index}.1"),
        Some(_) | None => "1".to_owned(),
    };
    edit.append(Name::HistoryInfo, format!("<{called}?Reason=SIP%3Bcause%3D{code}>;index={ours}"))
        .append(Name::HistoryInfo, format!("<{target}>;index={ours}.1;mp={ours}"))
        .finish()
        .ok()
}
