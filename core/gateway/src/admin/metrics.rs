//! The numbers as Prometheus reads them (text exposition format 0.0.4).

use core::fmt::Write as _;

use crate::stats::{Durations, Stats};

/// The content type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All numbers as text.
pub(crate) fn text(stats: &Stats) -> String {
    let mut page = Page(String::with_capacity(4096));
    page.gauge("wakeline_up_seconds", "Seconds since the start.", stats.up_ms as f64 / 1000.0);
    let gauges = &stats.gauges;
    for (name, help, value) in [
        ("accounts", "Accounts.", gauges.accounts),
        ("bindings", "Registered devices.", gauges.bindings),
        ("flows", "Open flows of every transport.", gauges.flows),
        ("streams", "Open TCP, TLS and WebSocket connections.", stats.streams),
        ("unregistered_streams", "Connections that have not registered.", stats.unregistered_streams),
        ("refused_senders", "Senders that were refused of late.", stats.refused_senders),
        ("requests_in_progress", "Requests in progress.", gauges.contexts),
        ("held", "Requests held for a sleeping device.", gauges.held),
        ("pushes_on_their_way", "Pushes without an answer yet.", stats.pushes_on_their_way),
        ("outcomes", "Ended calls that are remembered for late wakers.", gauges.outcomes),
        ("subscriptions", "Subscriptions to states of our own addresses.", gauges.subscriptions),
        ("publications", "What phones have published.", gauges.publications),
        ("mail", "Requests kept for sleeping devices.", gauges.mail),
        ("mail_bytes", "Bytes of requests kept for sleeping devices.", gauges.mail_bytes),
        ("client_transactions", "SIP client transactions.", gauges.client_transactions),
        ("server_transactions", "SIP server transactions.", gauges.server_transactions),
        ("timers", "Armed timers.", gauges.timers),
        ("quota_names", "Names in the quota and back-off tables.", gauges.quota_names),
        ("registers_on_their_way", "REGISTERs that wait for an upstream's answer.", gauges.registering),
        ("upstream_accounts", "Accounts that the gateway registers at upstreams itself.", gauges.lines),
        ("next_hops", "Next hops of upstreams.", gauges.hops),
        ("next_hops_up", "Next hops of upstreams that can be sent to.", gauges.hops_up),
        ("nodes", "Other nodes of this gateway that live.", stats.nodes),
        ("linked_nodes", "Other nodes that calls can be handed to.", stats.linked_nodes),
        ("store_waiting", "Changes that wait for the store.", stats.store_waiting),
        ("store_troubled", "1 when the store takes nothing.", usize::from(stats.store_trouble.is_some())),
    ] {
        page.gauge(&format!("wakeline_{name}"), help, value as f64);
    }
    let counters = &stats.counters;
    for (name, help, value) in [
        ("messages_sent", "SIP messages sent.", counters.sent),
        ("registers_accepted", "REGISTERs accepted.", counters.registered),
        ("registers_refused", "REGISTERs refused.", counters.register_refused),
        ("requests", "Requests let in.", counters.requests),
        ("requests_refused", "Requests refused.", counters.requests_refused),
        ("pushes", "Pushes asked for.", counters.pushes),
        ("pushes_failed", "Pushes that the service did not take.", counters.pushes_failed),
        ("held_requests", "Requests held for a sleeping device.", counters.held),
        ("wakes_expired", "Devices that did not come in time.", counters.wakes_expired),
        ("over_quota", "Wakes refused for their number.", counters.over_quota),
        ("subscribed", "Subscriptions taken in.", counters.subscribed),
        ("published", "Publications taken in.", counters.published),
        ("notified", "NOTIFYs of the gateway itself.", counters.notified),
        ("diverted", "Calls that went to voicemail.", counters.diverted),
        ("mail_kept", "Requests kept for sleeping devices.", counters.mail_kept),
        ("mail_delivered", "Kept requests that a device took.", counters.mail_delivered),
        ("mail_refused", "Kept requests that a device would not take.", counters.mail_refused),
        ("mail_expired", "Kept requests whose time was over.", counters.mail_expired),
        ("mail_full", "Requests that there was no room to keep.", counters.mail_full),
        ("upstream_down", "Requests that found no next hop of their upstream up.", counters.upstream_down),
        (
            "next_hops_lost",
            "Times that a next hop did not answer or could not be reached.",
            counters.hops_lost,
        ),
        ("garbage", "Datagrams and messages that were no SIP.", counters.garbage),
        ("evicted", "Connections closed to make room for newer ones.", counters.evicted),
        (
            "turned_away",
            "Requests not looked at, because their sender was refused too often.",
            counters.turned_away,
        ),
        ("given_up", "Connections closed because they did not read.", counters.given_up),
        ("udp_dropped", "Datagrams that could not be sent.", stats.udp_dropped),
    ] {
        page.head(&format!("wakeline_{name}_total"), help, "counter");
        let _ = writeln!(page.0, "wakeline_{name}_total {value}");
    }
    if !stats.canaries.is_empty() {
        page.head("wakeline_canary_ok", "1 when the service took the last canary push.", "gauge");
    }
    for (number, canary) in stats.canaries.iter().enumerate() {
        // The name stands in the operator's file; nothing in it may end the label.
        let name: String =
            canary.provider.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
        let ok = u8::from(canary.last == "accepted");
        let _ = writeln!(page.0, "wakeline_canary_ok{{canary=\"{number}\",provider=\"{name}\"}} {ok}");
    }
    page.durations("wakeline_wake_seconds", "From the push to the device's REGISTER.", &stats.wake);
    page.durations("wakeline_ring_seconds", "From the INVITE to the first ringing.", &stats.ring);
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn durations(&mut self, name: &str, help: &str, durations: &Durations) {
        self.head(name, help, "histogram");
        for (limit, count) in durations.up_to() {
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{limit}\"}} {count}");
        }
        let (sum, count) = durations.total();
        let _ =
            write!(self.0, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}\n");
    }
}
