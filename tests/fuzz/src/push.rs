//! Payloads, Contact parameters of every dialect, Feature-Caps and wake states.

use wakeline_push::{
    ContactPush, ExternalId, FeatureCaps, Payload, PushMode, PushParameters, WakeId, escape_value,
    read_wake_states, strip_token_parameters, unescape_value, write_wake_states,
};

/// Every reader of the crate on one text; what they make of it survives being written and read.
pub(crate) fn push(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    payload(&text);
    parameters(&text);
    for caps in FeatureCaps::read(&text) {
        let written = caps.to_string();
        assert!(!written.contains(['\r', '\n', '\0']), "a control in a header: {written:?}");
        assert_eq!(FeatureCaps::read(&written), [caps], "{written:?}");
    }
    let states = read_wake_states(&text);
    assert_eq!(read_wake_states(&write_wake_states(&states)), states);
    if let Ok(wake) = text.parse::<WakeId>() {
        assert_eq!(wake.as_str(), text);
        let id = ExternalId::of(&wake);
        assert_eq!(id.to_string().parse::<ExternalId>().ok(), Some(id));
    }
    let escaped = escape_value(&text);
    assert!(!escaped.contains(['\r', '\n', '\0', ';', '>', ',', '"']), "{escaped:?}");
    // Controls are hidden by the escapes and refused when they come out (S8).
    let clean = !text.chars().any(|c| c.is_ascii_control());
    assert_eq!(unescape_value(&escaped).as_deref(), clean.then_some(&*text));
}

fn payload(text: &str) {
    if let Ok(payload) = Payload::from_json(text) {
        let again = Payload::from_json(&payload.to_json()).expect("what we write can be read");
        assert_eq!(again, payload);
        assert_eq!(
            Payload::from_json(&payload.to_apns_json()).map(|one| one.wake_id()),
            Ok(payload.wake_id())
        );
        let data = payload.to_data();
        let pairs = data.iter().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(Payload::from_data(pairs).map(|one| one.wake_id()), Ok(payload.wake_id()));
        let other =
            Payload { envelope: payload.envelope.as_ref().map(|_| "another".into()), ..payload.clone() };
        assert_eq!(format!("{payload:?}"), format!("{other:?}"), "S23");
    }
    let _ = Payload::from_data(text.lines().filter_map(|line| line.split_once('=')));
}

fn parameters(text: &str) {
    let pairs = || {
        text.split(';').map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (pair.trim(), None),
        })
    };
    let kept: Vec<_> = strip_token_parameters(pairs()).collect();
    assert!(kept.iter().all(|(name, _)| !name.eq_ignore_ascii_case("pn-prid")), "S23");
    let mut found = Vec::new();
    if let Ok(ContactPush::Bound(parameters)) = PushParameters::read(pairs()) {
        found.push(parameters);
    }
    found.extend(PushParameters::read_x_mpush(text));
    for parameters in found {
        // Shown is the same whatever the token: looking for its text would find what stands elsewhere by chance.
        let other = PushParameters { prid: "another".into(), ..parameters.clone() };
        assert_eq!(format!("{parameters:?}"), format!("{other:?}"), "S23");
        let _ = parameters.targets();
        for mode in [PushMode::Rfc8599, PushMode::Linphone, PushMode::Xmpush, PushMode::None] {
            let written = parameters.write(mode);
            let values = written.uri_parameters.iter().chain(&written.header_fields);
            for (_, value) in values {
                assert!(!value.expose().contains(['\r', '\n', '\0']), "S8");
            }
        }
        let written = parameters.write(PushMode::Rfc8599);
        let pairs = written.uri_parameters.iter().map(|(name, value)| (*name, Some(value.expose())));
        if let Ok(ContactPush::Bound(again)) = PushParameters::read(pairs) {
            assert_eq!(again.prid, parameters.prid);
        }
    }
}
