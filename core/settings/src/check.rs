//! Values that have the right kind and still do not serve.

use core::net::IpAddr;

use crate::codec::unknown_codecs;
use crate::diagnosis::{Finding, one_line};
use crate::host::HostPort;
use crate::params_list;

/// What is to be said of the value of an honoured parameter; a [`Finding::BadValue`] keeps it from being used. Causes
/// show no value of a secret parameter (B-059).
pub(crate) fn check(name: &str, value: &str) -> Option<Finding> {
    let bad = |cause: String, cure: &str| Some(Finding::BadValue { cause, cure: cure.to_owned() });
    let advice = |cause: String| Some(Finding::Advice { cause });
    match name {
        "serveraddress" | "proxyaddress" if HostPort::parse(value).is_none() => bad(
            format!("{} is not the address of a server", one_line(value)),
            "write a name or an address, with :port if need be",
        ),
        "webrtcserveraddress" if !value.split(',').all(|address| is_websocket(address.trim())) => bad(
            format!("{} is not a list of WebSocket addresses", one_line(value)),
            "write addresses that start with wss:// or ws://, separated by commas",
        ),
        "localip" if value.trim().parse::<IpAddr>().is_err() => {
            bad(format!("{} is not an IP address", one_line(value)), "write one of this host's addresses")
        }
        "signalingport" | "rtpport" if value.parse::<u16>().is_err() => {
            bad(format!("{} is not a port", one_line(value)), "use 0 to 65535")
        }
        "md5" if !is_ha1(value) => bad(
            "the value is not an MD5 digest".to_owned(),
            "give MD5(username:realm:password) as 32 hex digits",
        ),
        "contact_uri_parameters" | "contact_parameters" if params_list::parameters(value).is_none() => bad(
            "the value is not a list of parameters".to_owned(),
            "write name=value, separated by semicolons",
        ),
        "customsipheader" if params_list::header_fields(value).is_none() => bad(
            "the value has what is no header field, or one that the phone writes itself".to_owned(),
            "write X-Name: value, separated by semicolons",
        ),
        "transport" if matches!(value, "3" | "4" | "5") => {
            advice("tunnels are not there; the transport is chosen automatically".to_owned())
        }
        "keepaliveival"
        | "registerinterval"
        | "ringtimeout"
        | "ringtimeoutin"
        | "ringtimeoutout"
        | "calltimeout"
        | "mediatimeout"
        | "callforwardonnoanswertimeout"
            if value.starts_with('-') =>
        {
            bad(format!("{value} is below zero"), "use a positive number")
        }
        "registerinterval" if value.parse().is_ok_and(|seconds: i64| !(30..=3600).contains(&seconds)) => {
            advice("30 to 3600 seconds are advised".to_owned())
        }
        "codec" | "prefcodec" => {
            // G.711 as one name is known too.
            let missing = unknown_codecs(value);
            if missing.is_empty() {
                return None;
            }
            advice(format!("this phone has no codec {}", one_line(&missing.join(", "))))
        }
        _ => None,
    }
}

/// 32 hex digits.
pub(crate) fn is_ha1(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// An address of a WebSocket.
pub(crate) fn is_websocket(address: &str) -> bool {
    let scheme = |name: &str| address.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    (scheme("ws://") || scheme("wss://")) && address.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use crate::{Finding, Settings, Source};

    #[test]
    fn values_that_do_not_serve_are_refused_by_name() {
        for (name, value) in [
            ("serveraddress", "sip example"),
            ("proxyaddress", "a:b:c"),
            ("webrtcserveraddress", "https://a"),
            ("localip", "eth0"),
            ("signalingport", "70000"),
            ("rtpport", "-1"),
            ("md5", "secret"),
            ("contact_uri_parameters", "a=b>c"),
            ("contact_parameters", "a b"),
            ("customsipheader", "Route: <sip:evil>"),
            ("keepaliveival", "-5"),
            ("calltimeout", "-5"),
        ] {
            let mut settings = Settings::new();
            assert!(!settings.set(name, value, Source::File), "{name}");
            assert!(!settings.is_set(name));
            let [one] = settings.diagnoses() else { panic!("{name}: {:?}", settings.diagnoses()) };
            assert!(
                matches!(&one.finding, Finding::BadValue { cause, cure } if !cause.is_empty() && !cure.is_empty())
            );
        }
    }

    #[test]
    fn values_that_may_not_do_are_used_with_a_remark() {
        for (name, value) in [
            ("transport", "4"),
            ("registerinterval", "10"),
            ("registerinterval", "604800"),
            ("codec", "pcmu,g729"),
            ("loglevel", "9"),
        ] {
            let mut settings = Settings::new();
            assert!(settings.set(name, value, Source::File), "{name}");
            assert!(matches!(settings.diagnoses(), [one] if !one.is_error()), "{name}");
        }
    }

    #[test]
    fn b059_causes_show_no_secret() {
        let mut settings = Settings::new();
        for name in ["md5", "contact_uri_parameters", "contact_parameters", "customsipheader"] {
            settings.set(name, "canary <secret>", Source::File);
        }
        assert_eq!(settings.diagnoses().len(), 4);
        assert!(!format!("{:?}", settings.diagnoses()).contains("canary"));
    }
}
