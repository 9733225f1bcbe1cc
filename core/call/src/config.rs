//! What an account wants of its calls.

use core::time::Duration;

use wakeline_sip_message::Name;

/// The rules of a call; fixed when it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// RFC 3261 §17.1.1.1: the round-trip time that is assumed. Paces repeated 2xx and reliable provisionals.
    pub t1: Duration,
    /// The longest pause between repetitions.
    pub t2: Duration,
    /// How long it may ring, both ways (`ringtimeout`); for ever if nothing.
    pub ring_timeout: Option<Duration>,
    /// How long a call may last from its answer (`calltimeout`).
    pub call_timeout: Option<Duration>,
    /// Reliable provisional responses (RFC 3262).
    pub reliable: Reliable,
    /// Session timers (RFC 4028); off if nothing.
    pub session_timer: Option<SessionTimers>,
    /// How many 3xx answers are followed in one call; 0 follows none.
    pub redirects: u8,
    /// What to answer to REFER.
    pub transfer: TransferPolicy,
    /// Whether an incoming call's media is opened before it is answered (183 with our answer).
    pub early_media: bool,
    /// Answers by itself after this time (`autoaccept`).
    pub auto_answer: Option<Duration>,
    /// How digits go by INFO.
    pub info_digits: InfoDigits,
    /// User-Agent and Server.
    pub user_agent: Option<String>,
    /// Header lines for every request that starts a call or ends one (`customsipheader`).
    pub headers: Vec<(Name, String)>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            ring_timeout: Some(Duration::from_secs(90)),
            call_timeout: None,
            reliable: Reliable::Supported,
            session_timer: Some(SessionTimers::default()),
            redirects: 5,
            transfer: TransferPolicy::Decline,
            early_media: false,
            auto_answer: None,
            info_digits: InfoDigits::Relay,
            user_agent: None,
            headers: Vec::new(),
        }
    }
}

impl Config {
    /// 64 × T1: how long an answer, an ACK or a PRACK is waited for (RFC 3261 §13.3.1.4, RFC 3262 §3).
    pub(crate) fn patience(&self) -> Duration {
        self.t1 * 64
    }

    /// Our Allow value: what is refused on principle is not in it.
    pub(crate) fn allow(&self) -> &'static str {
        match self.transfer {
            TransferPolicy::Accept => "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER",
            TransferPolicy::Decline => "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO",
        }
    }

    /// Our Supported value.
    pub(crate) fn supported(&self) -> String {
        let mut tags = vec!["replaces", "join"];
        if self.transfer == TransferPolicy::Accept {
            tags.push("norefersub");
        }
        if self.reliable != Reliable::Off {
            tags.push("100rel");
        }
        if self.session_timer.is_some() {
            tags.push("timer");
        }
        tags.join(", ")
    }

    /// Whether we understand an option tag that a peer requires (RFC 3261 §8.2.2.3).
    pub(crate) fn understands(&self, tag: &str) -> bool {
        let known = |name: &str| tag.eq_ignore_ascii_case(name);
        ["replaces", "join", "timer", "outbound", "gruu", "path"].into_iter().any(known)
            || known("norefersub") && self.transfer == TransferPolicy::Accept
            || known("100rel") && self.reliable != Reliable::Off
    }
}

/// The use of reliable provisional responses (RFC 3262).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reliable {
    /// Not offered and not understood.
    Off,
    /// Offered, and used when the far end requires it.
    Supported,
    /// Used whenever the far end supports it.
    Preferred,
    /// Required of the far end.
    Required,
}

/// Session timers (RFC 4028).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionTimers {
    /// The interval that we ask for.
    pub interval: Duration,
    /// The shortest that we accept; RFC 4028 §5 demands at least 90 s.
    pub min_se: Duration,
}

impl Default for SessionTimers {
    fn default() -> Self {
        SessionTimers { interval: Duration::from_secs(1800), min_se: Duration::from_secs(90) }
    }
}

/// The answer to REFER.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransferPolicy {
    /// 603.
    Decline,
    /// 202, and the event.
    Accept,
}

/// The body of an INFO that carries a digit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InfoDigits {
    /// `application/dtmf-relay`: `Signal=5`, `Duration=160`.
    Relay,
    /// `application/dtmf`: the bare digit.
    Plain,
}
