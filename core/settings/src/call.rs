//! What happens to calls.

use core::time::Duration;

use crate::store::Settings;

/// The call group, as the phone obeys it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallSettings {
    /// `ringtimeoutin`, or `ringtimeout` (B-146).
    pub ring_limit_in: Duration,
    /// `ringtimeoutout`, or `ringtimeout`.
    pub ring_limit_out: Duration,
    /// `calltimeout`.
    pub call_limit: Duration,
    /// `mediatimeout`; half of it counts until the first media (B-147).
    pub media_limit: Option<Duration>,
    /// `autoaccept`, `enableautoaccept` and `autoacceptheader`.
    pub auto_answer: AutoAnswer,
    /// `autoignore`.
    pub incoming: IncomingPolicy,
    /// `rejectonbusy`.
    pub reject_on_busy: bool,
    /// `blacklist`: users that are refused (B-139).
    pub blacklist: Vec<String>,
    /// `callforwardalways` (B-136).
    pub forward_always: Option<String>,
    /// `callforwardonbusy`.
    pub forward_on_busy: Option<String>,
    /// `callforwardonnoanswer` with its time.
    pub forward_on_no_answer: Option<ForwardOnNoAnswer>,
    /// `allowcallredirect`: follow 301 and 302 (B-145).
    pub follow_redirects: bool,
    /// `disablesamecall`: refuse a second call with the same number (B-134).
    pub refuse_same_number: bool,
    /// `holdtype`.
    pub hold: Hold,
    /// `normalizenumber`.
    pub normalize: Normalize,
    /// `techprefix`; empty for none.
    pub tech_prefix: String,
    /// `numpxrewrite`, as it is written; read by the crate for call routes.
    pub rewrite_rules: String,
}

/// Forwarding a call that nobody answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardOnNoAnswer {
    /// Where to.
    pub to: String,
    /// After which time of ringing.
    pub after: Duration,
}

/// When a call is answered by itself (B-140, B-141).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AutoAnswer {
    /// Never.
    Never,
    /// When this text stands in a header field of the INVITE.
    OnHeader(String),
    /// That, and also for the header fields that ask for it: Call-Info, Alert-Info, Answer-Mode and their like.
    OnAnyHeader(Option<String>),
    /// Always.
    Always,
}

/// `autoignore` (B-138).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IncomingPolicy {
    /// 0: calls ring.
    Ring,
    /// 1: the caller hears it ring; nothing happens here.
    Ignore,
    /// 2: refused.
    Reject,
}

/// `holdtype` (B-152).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// -2: wishes to hold are ignored.
    Ignored,
    /// 0 and 1: there is no hold.
    Off,
    /// -1 and 2.
    SendOnly,
    /// 3.
    RecvOnly,
    /// 4.
    Inactive,
}

impl Hold {
    /// The SDP attribute of a held stream; `None` where there is no hold.
    pub const fn direction(self) -> Option<&'static str> {
        match self {
            Hold::Ignored | Hold::Off => None,
            Hold::SendOnly => Some("sendonly"),
            Hold::RecvOnly => Some("recvonly"),
            Hold::Inactive => Some("inactive"),
        }
    }
}

/// `normalizenumber`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Normalize {
    /// -1: unless the own user name has special characters.
    Automatic,
    /// 0.
    Off,
    /// 1.
    On,
}

impl Settings {
    /// The call group.
    pub fn call(&self) -> CallSettings {
        const RING: Duration = Duration::from_secs(90);
        const CALL: Duration = Duration::from_secs(3 * 3600);
        let ring = self.span("ringtimeout").unwrap_or(RING);
        let target = |name| self.text(name).map(str::trim).filter(|to| !to.is_empty()).map(str::to_owned);
        CallSettings {
            ring_limit_in: self.span("ringtimeoutin").unwrap_or(ring),
            ring_limit_out: self.span("ringtimeoutout").unwrap_or(ring),
            call_limit: self.span("calltimeout").unwrap_or(CALL),
            media_limit: self
                .number("mediatimeout")
                .and_then(|seconds| u64::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs),
            auto_answer: self.auto_answer(),
            incoming: match self.number("autoignore") {
                Some(1) => IncomingPolicy::Ignore,
                Some(2) => IncomingPolicy::Reject,
                Some(_) | None => IncomingPolicy::Ring,
            },
            reject_on_busy: self.switch("rejectonbusy", false),
            blacklist: self
                .text("blacklist")
                .unwrap_or("")
                .split(',')
                .map(str::trim)
                .filter(|user| !user.is_empty())
                .map(str::to_owned)
                .collect(),
            forward_always: target("callforwardalways"),
            forward_on_busy: target("callforwardonbusy"),
            forward_on_no_answer: target("callforwardonnoanswer").map(|to| ForwardOnNoAnswer {
                to,
                after: self
                    .number("callforwardonnoanswertimeout")
                    .and_then(|seconds| u64::try_from(seconds).ok())
                    .map_or(Duration::from_secs(15), Duration::from_secs),
            }),
            follow_redirects: self.switch("allowcallredirect", true),
            refuse_same_number: self.switch("disablesamecall", true),
            hold: match self.number("holdtype") {
                Some(-2) => Hold::Ignored,
                Some(0 | 1) => Hold::Off,
                Some(3) => Hold::RecvOnly,
                Some(4) => Hold::Inactive,
                Some(_) | None => Hold::SendOnly,
            },
            normalize: match self.number("normalizenumber") {
                Some(0) => Normalize::Off,
                Some(1) => Normalize::On,
                Some(_) | None => Normalize::Automatic,
            },
            tech_prefix: self.text("techprefix").unwrap_or("").trim().to_owned(),
            rewrite_rules: self.text("numpxrewrite").unwrap_or("").to_owned(),
        }
    }

    fn auto_answer(&self) -> AutoAnswer {
        let header = self.text("autoacceptheader").map(str::to_owned);
        if self.switch("autoaccept", false) {
            return AutoAnswer::Always;
        }
        match (self.number("enableautoaccept"), header) {
            (Some(0), _) => AutoAnswer::Never,
            (Some(3), _) => AutoAnswer::Always,
            (Some(2), header) => AutoAnswer::OnAnyHeader(header),
            (Some(_) | None, Some(header)) => AutoAnswer::OnHeader(header),
            (Some(_) | None, None) => AutoAnswer::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn call(pairs: &[(&str, &str)]) -> CallSettings {
        let mut settings = Settings::new();
        for (name, value) in pairs {
            assert!(settings.set(name, value, Source::File), "{name}");
        }
        settings.call()
    }

    #[test]
    fn b146_ringing_and_calls_end() {
        let by_default = call(&[]);
        assert_eq!(by_default.ring_limit_in, Duration::from_secs(90));
        assert_eq!(by_default.ring_limit_out, Duration::from_secs(90));
        assert_eq!(by_default.call_limit, Duration::from_secs(10_800));
        let set = call(&[("ringtimeout", "30000"), ("ringtimeoutin", "20000"), ("calltimeout", "60000")]);
        assert_eq!(set.ring_limit_in, Duration::from_secs(20));
        assert_eq!(set.ring_limit_out, Duration::from_secs(30));
        assert_eq!(set.call_limit, Duration::from_secs(60));
        assert_eq!(call(&[("ringtimeoutout", "5000")]).ring_limit_out, Duration::from_secs(5));
    }

    #[test]
    fn b147_silence_ends_a_call_unless_switched_off() {
        assert_eq!(call(&[]).media_limit, Some(Duration::from_secs(300)));
        assert_eq!(call(&[("mediatimeout", "0")]).media_limit, None);
    }

    #[test]
    fn b140_automatic_answer_follows_its_table() {
        let header = || "X-Answer: now".to_owned();
        for (pairs, expected) in [
            (&[][..], AutoAnswer::Never),
            (&[("autoaccept", "true")], AutoAnswer::Always),
            (&[("autoacceptheader", "X-Answer: now")], AutoAnswer::OnHeader(header())),
            (&[("enableautoaccept", "0"), ("autoacceptheader", "X-Answer: now")], AutoAnswer::Never),
            (&[("enableautoaccept", "2")], AutoAnswer::OnAnyHeader(None)),
            (
                &[("enableautoaccept", "2"), ("autoacceptheader", "X-Answer: now")],
                AutoAnswer::OnAnyHeader(Some(header())),
            ),
            (&[("enableautoaccept", "3")], AutoAnswer::Always),
        ] {
            assert_eq!(call(pairs).auto_answer, expected, "{pairs:?}");
        }
    }

    #[test]
    fn b135_b138_b139_who_is_refused() {
        let set = call(&[("rejectonbusy", "true"), ("autoignore", "2"), ("blacklist", " eve, mallory ,,")]);
        assert!(set.reject_on_busy);
        assert_eq!(set.incoming, IncomingPolicy::Reject);
        assert_eq!(set.blacklist, ["eve", "mallory"]);
        assert_eq!(call(&[("autoignore", "1")]).incoming, IncomingPolicy::Ignore);
        assert_eq!(call(&[]).incoming, IncomingPolicy::Ring);
    }

    #[test]
    fn b136_forwarding() {
        let set = call(&[
            ("callforwardalways", "100"),
            ("callforwardonbusy", "101"),
            ("callforwardonnoanswer", "102"),
        ]);
        assert_eq!(set.forward_always.as_deref(), Some("100"));
        assert_eq!(set.forward_on_busy.as_deref(), Some("101"));
        assert_eq!(
            set.forward_on_no_answer,
            Some(ForwardOnNoAnswer { to: "102".to_owned(), after: Duration::from_secs(15) })
        );
        let timed = call(&[("callforwardonnoanswer", "102"), ("callforwardonnoanswertimeout", "7")]);
        assert_eq!(timed.forward_on_no_answer.map(|forward| forward.after), Some(Duration::from_secs(7)));
        assert_eq!(call(&[]).forward_always, None);
    }

    #[test]
    fn b134_b145_same_number_and_redirects() {
        let by_default = call(&[]);
        assert!(by_default.refuse_same_number && by_default.follow_redirects);
        let set = call(&[("disablesamecall", "0"), ("allowcallredirect", "0")]);
        assert!(!set.refuse_same_number && !set.follow_redirects);
    }

    #[test]
    fn b152_hold_follows_its_table() {
        for (value, hold, direction) in [
            ("-2", Hold::Ignored, None),
            ("-1", Hold::SendOnly, Some("sendonly")),
            ("0", Hold::Off, None),
            ("2", Hold::SendOnly, Some("sendonly")),
            ("3", Hold::RecvOnly, Some("recvonly")),
            ("4", Hold::Inactive, Some("inactive")),
        ] {
            let set = call(&[("holdtype", value)]);
            assert_eq!((set.hold, set.hold.direction()), (hold, direction));
        }
    }

    #[test]
    fn b130_numbers_are_rewritten_by_their_settings() {
        let set = call(&[("normalizenumber", "0"), ("techprefix", "99"), ("numrewriterules", "0,36,5,20")]);
        assert_eq!((set.normalize, set.tech_prefix.as_str()), (Normalize::Off, "99"));
        assert_eq!(set.rewrite_rules, "0,36,5,20");
        assert_eq!(call(&[]).normalize, Normalize::Automatic);
        assert_eq!(call(&[("normalizenumber", "1")]).normalize, Normalize::On);
    }
}
