//! What an account's settings make of losses (`forcereregister`, B-071) and of the address seen (`use_rport`, B-088).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test program")]

use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_registration::*;
use wakeline_sip_auth::Credentials;
use wakeline_sip_message::{Builder, Message, Name, OwnedUri};

const NOW: Time = Time::from_millis(1_000_000);

fn phone(
    reregister: Reregister,
    seen_address: SeenAddress,
    transport: Transport,
) -> (Registration, FlowInfo) {
    let uri = |text| OwnedUri::parse(text).unwrap();
    let credentials = Credentials::password("mia", "secret");
    let config = AccountConfig {
        reregister,
        seen_address,
        ..AccountConfig::new(uri("sip:example.org"), uri("sip:mia@example.org"), credentials)
    };
    let mut machine = Registration::new(config, None, Entropy::from_number(7));
    machine.start(NOW);
    let flow = FlowInfo {
        id: FlowId(1),
        transport,
        local: "10.20.0.5:5060".parse().unwrap(),
        remote: "192.0.2.1:5060".parse().unwrap(),
    };
    machine.flow_opened(NOW, flow, OtherHops::None);
    (machine, flow)
}

fn sent(machine: &mut Registration) -> Vec<Message> {
    std::iter::from_fn(|| machine.poll_output())
        .filter_map(|output| match output {
            Output::Send { request, .. } => Some(request),
            Output::OpenFlow { .. } | Output::CloseFlow { .. } | Output::Remember(_) => None,
        })
        .collect()
}

/// The registrar's answer, with the Via as it came back to us.
fn answer(machine: &mut Registration, request: &Message, code: u16, via: &str, more: &[(Name, &str)]) {
    let request = request
        .edit()
        .prepend(Name::Via, format!("SIP/2.0/UDP 10.20.0.5:5060;branch=z9hG4bK1{via}"))
        .finish();
    let fields = more.iter().map(|(name, value)| (name.clone(), *value));
    let response = Builder::response(&request.unwrap(), code, "").headers(fields).build().unwrap();
    machine.responded(NOW, WallTime(1_789_000_000_000), &response);
}

fn retries(machine: &Registration) -> bool {
    machine.poll_timeout().is_some()
}

#[test]
fn b071_who_is_refused_lost_or_unanswered_comes_back_as_the_table_says() {
    use Reregister::{AfterSuccess, Always, Never};
    // What comes back: before any success, wrong credentials, and after a success.
    for (choice, at_first, wrong_password, later) in
        [(Never, false, false, false), (AfterSuccess, false, false, true), (Always, true, true, true)]
    {
        let fresh = || phone(choice, SeenAddress::Kept, Transport::Tcp);
        let bound = || {
            let (mut machine, flow) = fresh();
            let request = sent(&mut machine).remove(0);
            answer(&mut machine, &request, 200, "", &[]);
            assert_eq!(machine.phase(), Phase::Registered);
            (machine, flow)
        };
        for code in [403, 404, 500, 503, 480, 600] {
            let (mut machine, _) = fresh();
            let request = sent(&mut machine).remove(0);
            answer(&mut machine, &request, code, "", &[]);
            assert_eq!(retries(&machine), at_first, "{choice:?}: {code} before any success");
            let (mut machine, _) = bound();
            machine.start(NOW);
            let request = sent(&mut machine).remove(0);
            answer(&mut machine, &request, code, "", &[]);
            assert_eq!(retries(&machine), later, "{choice:?}: {code} to a refresh");
        }
        let (mut machine, _) = fresh();
        machine.timed_out(NOW);
        assert_eq!(retries(&machine), at_first, "{choice:?}: no answer before any success");
        let (mut machine, _) = bound();
        machine.start(NOW);
        machine.timed_out(NOW);
        assert_eq!(retries(&machine), later, "{choice:?}: no answer to a refresh");

        let (mut machine, _) = fresh();
        let challenge = (Name::WwwAuthenticate, "Digest realm=\"example.org\", nonce=\"n1\", qop=\"auth\"");
        for _ in 0..2 {
            let request = sent(&mut machine).pop().unwrap();
            answer(&mut machine, &request, 401, "", std::slice::from_ref(&challenge));
        }
        assert!(sent(&mut machine).is_empty());
        assert_eq!(machine.phase(), Phase::Failed);
        assert_eq!(retries(&machine), wrong_password, "{choice:?}: wrong credentials");

        let (mut machine, flow) = bound();
        machine.flow_lost(NOW, flow.id);
        assert_eq!(retries(&machine), later, "{choice:?}: a flow that broke");
    }
}

#[test]
fn b071_an_earlier_success_counts_for_the_next_process_too() {
    let (mut machine, _) = phone(Reregister::AfterSuccess, SeenAddress::Kept, Transport::Tcp);
    let request = sent(&mut machine).remove(0);
    answer(&mut machine, &request, 200, "", &[]);
    // Unregistered at its end, as most phones do.
    machine.unregister(NOW);
    let request = sent(&mut machine).remove(0);
    answer(&mut machine, &request, 200, "", &[]);
    let kept = serde_json::to_string(&machine.remembered()).unwrap();
    assert_eq!(machine.remembered().history, History::BoundBefore);

    let uri = |text| OwnedUri::parse(text).unwrap();
    let credentials = Credentials::password("mia", "secret");
    let config = AccountConfig::new(uri("sip:example.org"), uri("sip:mia@example.org"), credentials);
    let memory = serde_json::from_str(&kept).unwrap();
    let mut next = Registration::new(config, Some(memory), Entropy::from_number(8));
    next.start(NOW);
    next.flow_not_opened(NOW);
    assert!(retries(&next), "the server is down when the phone starts");
}

#[test]
fn b071_another_network_is_another_occasion_for_what_nobody_answered() {
    for (refusal, again) in [(None, true), (Some(503), true), (Some(403), false)] {
        let (mut machine, _) = phone(Reregister::AfterSuccess, SeenAddress::Kept, Transport::Tcp);
        let request = sent(&mut machine).remove(0);
        match refusal {
            None => machine.timed_out(NOW),
            Some(code) => answer(&mut machine, &request, code, "", &[]),
        }
        assert_eq!((machine.phase(), retries(&machine)), (Phase::Failed, false));
        machine.network_changed(NOW);
        let opens = std::iter::from_fn(|| machine.poll_output())
            .any(|output| matches!(output, Output::OpenFlow { hop: HopChoice::Best }));
        assert_eq!(opens, again, "{refusal:?}");
    }
}

#[test]
fn b071_a_call_that_waits_is_registered_for_whatever_the_choice() {
    let (mut machine, _) = phone(Reregister::Never, SeenAddress::Kept, Transport::Tcp);
    machine.wake(NOW, Some("Zk3vQm1xT0aB9wLr".parse().unwrap()));
    machine.timed_out(NOW);
    assert!(retries(&machine));
}

#[test]
fn b088_the_address_seen_stands_in_the_contact_as_the_table_says() {
    use SeenAddress::{Always, Kept, Used, WhenCertain};
    const PUBLIC: &str = ";received=198.51.100.7;rport=31000";
    const LAN: &str = ";received=192.168.7.7;rport=31000";
    for (choice, via, used) in [
        (Kept, PUBLIC, None),
        (WhenCertain, PUBLIC, Some("198.51.100.7:31000")),
        (WhenCertain, LAN, None),
        (WhenCertain, ";rport=31000", None),
        (Used, LAN, Some("192.168.7.7:31000")),
        (Used, ";rport=31000", Some("10.20.0.5:31000")),
        (Always, PUBLIC, Some("198.51.100.7:31000")),
        (Always, ";received=10.20.0.5;rport=5060", None),
    ] {
        let (mut machine, flow) = phone(Reregister::AfterSuccess, choice, Transport::Udp);
        let request = sent(&mut machine).remove(0);
        answer(&mut machine, &request, 200, via, &[]);
        let again = sent(&mut machine);
        assert_eq!(again.len(), usize::from(used.is_some()), "{choice:?} {via}");
        assert_eq!(machine.as_seen(&flow).local, used.unwrap_or("10.20.0.5:5060").parse().unwrap());
        let Some(used) = used else { continue };
        let contacts: Vec<&str> = again[0].headers(Name::Contact).collect();
        assert!(contacts[0].contains(used), "{contacts:?}");
        assert!(
            contacts[1].contains("10.20.0.5:5060") && contacts[1].ends_with(";expires=0"),
            "{contacts:?}"
        );
        // Once: a NAT that shows another port each time is not followed.
        answer(&mut machine, &again[0], 200, ";received=198.51.100.7;rport=32000", &[]);
        assert!(sent(&mut machine).is_empty());
        assert_eq!(machine.phase(), Phase::Registered);
    }
}

#[test]
fn b088_with_outbound_or_on_a_connection_the_own_address_stays() {
    let via = ";received=198.51.100.7;rport=31000";
    for (transport, fields) in [
        (Transport::Udp, vec![(Name::Require, "outbound")]),
        (Transport::Tcp, vec![]),
        (Transport::Tls, vec![]),
    ] {
        let (mut machine, flow) = phone(Reregister::AfterSuccess, SeenAddress::Always, transport);
        let request = sent(&mut machine).remove(0);
        answer(&mut machine, &request, 200, via, &fields);
        assert!(sent(&mut machine).is_empty(), "{transport:?}");
        assert_eq!(machine.as_seen(&flow), flow);
    }
}
