//! What was good, as text: a phone that is started by a push while the DNS is down still finds its server (fault F5).

use wakeline_flow::{Hop, Transport};

use crate::target::Target;

/// Lines that are read at most.
const MOST_LINES: usize = 64;
/// Hops that are read of one line.
const MOST_HOPS: usize = 16;

/// One target with its transports and its hops, in one line: `host port transport secure allowed hop…`, a dash for what
/// is not there.
pub(crate) fn write(target: &Target, allowed: &[Transport], hops: &[Hop]) -> String {
    let port = target.port.map_or("-".to_owned(), |port| port.to_string());
    let transport = target.transport.map_or("-", Transport::via_token);
    let allowed: Vec<&str> = allowed.iter().map(|transport| transport.via_token()).collect();
    let allowed = allowed.join(",");
    let mut line = format!("{} {port} {transport} {} {allowed}", target.host, u8::from(target.secure));
    for hop in hops {
        line.push_str(&format!(" {}/{}", hop.transport.via_token(), hop.remote));
    }
    line.push('\n');
    line
}

/// Reads lines back; what is not understood, or would leave TLS where TLS is a must (class S18), is passed over.
pub(crate) fn read(text: &str) -> impl Iterator<Item = (Target, Vec<Transport>, Vec<Hop>)> {
    text.lines().take(MOST_LINES).filter_map(line)
}

fn line(text: &str) -> Option<(Target, Vec<Transport>, Vec<Hop>)> {
    let mut words = text.split(' ');
    let host = words.next().filter(|host| !host.is_empty())?.to_owned();
    let port = match words.next()? {
        "-" => None,
        digits => Some(digits.parse().ok()?),
    };
    let written = match words.next()? {
        "-" => None,
        token => Some(Transport::from_token(token)?),
    };
    let secure = match words.next()? {
        "0" => false,
        "1" => true,
        _ => return None,
    };
    let allowed: Option<Vec<Transport>> = words.next()?.split(',').map(Transport::from_token).collect();
    let allowed = allowed?;
    let hop = |word: &str| {
        let (transport, remote) = word.split_once('/')?;
        let transport = Transport::from_token(transport)?;
        // A transport that the URI named stands beside those of the account.
        let named = written == Some(transport) || allowed.contains(&transport);
        let fits = named && (!secure || transport.is_secure());
        let server_name = Some(host.clone());
        fits.then_some(Hop { transport, remote: remote.parse().ok()?, server_name })
    };
    let hops: Vec<Hop> = words.take(MOST_HOPS).filter_map(hop).collect();
    (!hops.is_empty()).then_some((Target { host, port, transport: written, secure }, allowed, hops))
}
