//! What was found, hop by hop, with a cure for what is broken.

use core::fmt;

use serde::Serialize;
use serde_json::Value;

/// Where a call can break, in the order of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hop {
    /// The operator's file.
    Configuration,
    /// What outlives the process.
    Store,
    /// The nodes of one gateway, and what they have in common.
    Node,
    /// Names to addresses.
    Dns,
    /// Listeners.
    Port,
    /// Certificates.
    Tls,
    /// The push services' opinion of our keys.
    Credentials,
    /// What the running gateway says of itself.
    Gateway,
    /// The PBX behind the edge.
    Upstream,
    /// The fake phone's REGISTER.
    Register,
    /// From the INVITE to the push.
    Push,
    /// From the push to the answered call.
    Call,
}

/// How a hop is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "cure")]
pub enum State {
    /// It works.
    Good,
    /// It was not tried.
    Skipped,
    /// It works, and will not for ever or for everybody; what to do.
    Doubtful(String),
    /// It does not work; what to do.
    Broken(String),
}

/// One hop's finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which hop.
    pub hop: Hop,
    /// Of what: a name, an address, a push service.
    pub subject: String,
    /// What was seen.
    pub detail: String,
    /// How it is.
    #[serde(flatten)]
    pub state: State,
}

/// The whole examination.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// In the order of the hops.
    pub findings: Vec<Finding>,
    /// The test call's wake, leg by leg, as the gateway's own view tells it.
    pub trace: Option<Value>,
}

impl Report {
    pub(super) fn add(&mut self, hop: Hop, subject: &str, detail: impl Into<String>, state: State) {
        self.findings.push(Finding { hop, subject: subject.to_owned(), detail: detail.into(), state });
    }

    pub(super) fn good(&mut self, hop: Hop, subject: &str, detail: impl Into<String>) {
        self.add(hop, subject, detail, State::Good);
    }

    pub(super) fn broken(&mut self, hop: Hop, subject: &str, detail: impl Into<String>, cure: &str) {
        self.add(hop, subject, detail, State::Broken(cure.to_owned()));
    }

    pub(super) fn doubtful(&mut self, hop: Hop, subject: &str, detail: impl Into<String>, cure: &str) {
        self.add(hop, subject, detail, State::Doubtful(cure.to_owned()));
    }

    pub(super) fn skipped(&mut self, hop: Hop, subject: &str, detail: impl Into<String>) {
        self.add(hop, subject, detail, State::Skipped);
    }

    /// Whether nothing is broken.
    pub fn is_sound(&self) -> bool {
        self.broken_hops().next().is_none()
    }

    /// What is broken.
    pub fn broken_hops(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| matches!(finding.state, State::Broken(_)))
    }

    /// Puts the findings into the order of the hops.
    pub(super) fn sort(&mut self) {
        self.findings.sort_by_key(|finding| finding.hop);
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Hop::Configuration => "file",
            Hop::Store => "store",
            Hop::Node => "node",
            Hop::Dns => "dns",
            Hop::Port => "port",
            Hop::Tls => "tls",
            Hop::Credentials => "credentials",
            Hop::Gateway => "gateway",
            Hop::Upstream => "pbx",
            Hop::Register => "register",
            Hop::Push => "push",
            Hop::Call => "call",
        })
    }
}

impl fmt::Display for Report {
    /// For people: a line a finding, the cure below it, the trace last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { hop, subject, detail, state } in &self.findings {
            let (word, cure) = match state {
                State::Good => ("ok", None),
                State::Skipped => ("-", None),
                State::Doubtful(cure) => ("doubt", Some(cure)),
                State::Broken(cure) => ("BROKEN", Some(cure)),
            };
            writeln!(f, "{word:<7} {hop:<12} {subject}: {detail}")?;
            if let Some(cure) = cure {
                writeln!(f, "{:<20} cure: {cure}", "")?;
            }
        }
        let Some(trace) = &self.trace else { return Ok(()) };
        writeln!(f, "\nwake {}", trace["wake"].as_str().unwrap_or(""))?;
        for leg in trace["legs"].as_array().into_iter().flatten() {
            let at = leg["at_ms"].as_f64().unwrap_or(0.0);
            write!(f, "{at:>10.1} ms  {}", leg["what"].as_str().unwrap_or(""))?;
            for (name, of) in [("number", ""), ("device", "device ")] {
                if let Some(number) = leg.get(name).filter(|number| !number.is_null()) {
                    write!(f, " {of}{number}")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cure_stands_below_what_is_broken_and_in_the_json() {
        let mut report = Report::default();
        report.good(Hop::Call, "mia", "answered");
        report.broken(Hop::Dns, "sip.example.org", "no address", "make an A record");
        report.sort();
        assert!(!report.is_sound());
        let text = report.to_string();
        assert!(text.starts_with("BROKEN  dns          sip.example.org: no address\n"), "{text}");
        assert!(text.contains("cure: make an A record\nok      call         mia: answered\n"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["findings"][0]["state"], "broken");
        assert_eq!(json["findings"][0]["cure"], "make an A record");
        assert_eq!(json["findings"][1]["state"], "good");
    }
}
