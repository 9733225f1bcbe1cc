//! One binding: who may be woken, where, until when (RFC 3261 §10.3, RFC 5626 §6, RFC 8599 §5.6).
//!
//! A hundred thousand of these must be small: one text, cut by offsets, and numbers. What is in the text is read again
//! when it is needed.

use wakeline_clock::{Time, WallTime};
use wakeline_flow::FlowId;

use crate::number::{AorId, BindingId, Device};

/// How a sleeping device can be woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wakeable {
    /// Not at all: it registered no token.
    Never,
    /// By FCM, within seconds.
    Fcm,
    /// By APNs, within seconds; the push rings, so only for calls.
    Apns,
    /// By APNs, with a token for notifications (too): calls, and quiet refreshes in the background.
    ApnsRemote,
    /// By an operator's own program, for a service of another name.
    Hook,
    /// By web push, when a person taps.
    Webpush,
    /// Not by us: a proxy nearer to it does, and said so (RFC 8599 §5.6.1.1).
    Elsewhere,
    /// It could, but the service has told that the token is dead.
    TokenDead,
}

impl Wakeable {
    /// Whether there is a living token.
    pub(crate) const fn by_push(self) -> bool {
        match self {
            Wakeable::Fcm | Wakeable::Apns | Wakeable::ApnsRemote | Wakeable::Hook | Wakeable::Webpush => {
                true
            }
            Wakeable::Never | Wakeable::Elsewhere | Wakeable::TokenDead => false,
        }
    }

    /// Whether the binding follows the expiry rules of push bindings.
    pub(crate) const fn has_token(self) -> bool {
        !matches!(self, Wakeable::Never)
    }
}

/// Whether the device reads `X-Wake-State`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Client {
    /// It has sent `X-Wake-Id`, or says that it is of this project.
    Ours,
    /// Nothing says so.
    Foreign,
}

/// The strings of a binding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BindingText<'a> {
    /// The Contact's URI as it was registered, with the push token.
    pub(crate) uri: &'a str,
    /// The Contact's header parameters without `expires`; empty, or from the first semicolon.
    pub(crate) params: &'a str,
    /// The REGISTER's Call-ID.
    pub(crate) call_id: &'a str,
    /// Path values, comma separated; empty if the device is our neighbour.
    pub(crate) path: &'a str,
}

/// One binding.
pub(crate) struct Binding {
    pub(crate) id: BindingId,
    text: Box<str>,
    uri_end: u16,
    params_end: u16,
    call_id_end: u16,
    pub(crate) q: u16,
    pub(crate) aor: AorId,
    pub(crate) cseq: u32,
    pub(crate) reg_id: u32,
    pub(crate) lifetime: u32,
    /// Keyed digest of `+sip.instance`; zero if there is none.
    pub(crate) instance: u64,
    /// Keyed digest of provider and token; zero if there is none.
    pub(crate) token: u64,
    pub(crate) expires: Time,
    /// The expiry that the store knows.
    pub(crate) stored: Time,
    pub(crate) registered: WallTime,
    /// The connection of its last REGISTER, if it still lives.
    pub(crate) flow: Option<FlowId>,
    /// When its timer stands; the timer looks here and goes back to sleep if the binding was refreshed.
    pub(crate) armed: Time,
    pub(crate) wakeable: Wakeable,
    pub(crate) client: Client,
    /// How many refresh pushes of this lifetime have been sent.
    pub(crate) refresh_pushes: u8,
}

impl Binding {
    pub(crate) fn new(id: BindingId, aor: AorId, text: BindingText<'_>) -> Binding {
        let mut binding = Binding {
            id,
            text: Box::default(),
            uri_end: 0,
            params_end: 0,
            call_id_end: 0,
            q: 1000,
            aor,
            cseq: 0,
            reg_id: 0,
            lifetime: 0,
            instance: 0,
            token: 0,
            expires: Time::ZERO,
            stored: Time::ZERO,
            registered: WallTime(0),
            flow: None,
            armed: Time::NEVER,
            wakeable: Wakeable::Never,
            client: Client::Foreign,
            refresh_pushes: 0,
        };
        binding.set_text(text);
        binding
    }

    /// Replaces the strings. Whoever calls has checked that they are shorter than 64 kB together.
    pub(crate) fn set_text(&mut self, text: BindingText<'_>) {
        let mut joined =
            String::with_capacity(text.uri.len() + text.params.len() + text.call_id.len() + text.path.len());
        let end = |joined: &String| u16::try_from(joined.len()).unwrap_or(u16::MAX);
        joined.push_str(text.uri);
        self.uri_end = end(&joined);
        joined.push_str(text.params);
        self.params_end = end(&joined);
        joined.push_str(text.call_id);
        self.call_id_end = end(&joined);
        joined.push_str(text.path);
        self.text = joined.into_boxed_str();
    }

    fn slice(&self, from: u16, to: u16) -> &str {
        self.text.get(usize::from(from)..usize::from(to)).unwrap_or("")
    }

    pub(crate) fn text(&self) -> BindingText<'_> {
        BindingText { uri: self.uri(), params: self.params(), call_id: self.call_id(), path: self.path() }
    }

    pub(crate) fn uri(&self) -> &str {
        self.slice(0, self.uri_end)
    }

    pub(crate) fn params(&self) -> &str {
        self.slice(self.uri_end, self.params_end)
    }

    pub(crate) fn call_id(&self) -> &str {
        self.slice(self.params_end, self.call_id_end)
    }

    pub(crate) fn path(&self) -> &str {
        self.text.get(usize::from(self.call_id_end)..).unwrap_or("")
    }

    /// Which device this is.
    pub(crate) fn device(&self) -> Device {
        match (self.instance, self.token) {
            (0, 0) => Device(self.id.0),
            (0, token) => Device(token),
            (instance, _) => Device(instance),
        }
    }

    /// Whole seconds until it lapses, rounded up so that a fresh binding shows what was granted.
    pub(crate) fn seconds_left(&self, now: Time) -> u32 {
        let left = self.expires.since(now);
        u32::try_from(left.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

impl core::fmt::Debug for Binding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Binding").field("id", &self.id).field("flow", &self.flow).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: BindingText<'static> = BindingText {
        uri: "sip:u7Qx@10.20.0.5:41822;transport=tls;ob;pn-provider=fcm;pn-param=acme;pn-prid=dK2:APA91b",
        params: ";reg-id=1;+sip.instance=\"<urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a77>\"",
        call_id: "5d0c8b1e@dev7",
        path: "",
    };

    #[test]
    fn the_strings_come_back_as_they_went_in() {
        let mut binding = Binding::new(BindingId(1), AorId(0), TEXT);
        assert!(binding.text() == TEXT);
        let other = BindingText { path: "<sip:edge;lr>,<sip:edge2;lr>", params: "", ..TEXT };
        binding.set_text(other);
        assert!(binding.text() == other);
    }

    #[test]
    fn a_device_is_its_instance_before_its_token_before_itself() {
        let mut binding = Binding::new(BindingId(7), AorId(0), TEXT);
        assert_eq!(binding.device(), Device(7));
        binding.token = 20;
        assert_eq!(binding.device(), Device(20));
        binding.instance = 30;
        assert_eq!(binding.device(), Device(30));
    }

    #[test]
    fn a_fresh_binding_shows_what_was_granted() {
        let mut binding = Binding::new(BindingId(7), AorId(0), TEXT);
        binding.expires = Time::from_millis(60_000);
        assert_eq!(binding.seconds_left(Time::ZERO), 60);
        assert_eq!(binding.seconds_left(Time::from_millis(1)), 60);
        assert_eq!(binding.seconds_left(Time::from_millis(59_500)), 1);
        assert_eq!(binding.seconds_left(Time::from_millis(60_000)), 0);
    }

    #[test]
    fn s23_debug_shows_no_token() {
        let shown = format!("{:?}", Binding::new(BindingId(7), AorId(0), TEXT));
        assert!(!shown.contains("APA91b") && !shown.contains("u7Qx"));
    }

    #[test]
    fn a_binding_without_its_text_is_small() {
        assert!(size_of::<Binding>() <= 136, "{}", size_of::<Binding>());
    }
}
