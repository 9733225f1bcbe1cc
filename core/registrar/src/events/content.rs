//! The bodies of NOTIFYs: always the whole state (RFC 3680 §5, RFC 3863, RFC 4235 §4, RFC 3842 §5). Nothing in them tells
//! how a device is woken (RFC 8599 §13).

use core::fmt::Write as _;

use bytes::Bytes;
use wakeline_clock::Time;

use super::Package;
use crate::answer::escape_user;
use crate::forward::as_request_uri;
use crate::machine::Registrar;
use crate::number::AorId;

impl Registrar {
    /// Stands for a state as a watcher sees it: equal states have equal marks, whenever they are told.
    pub(super) fn state_mark(&self, now: Time, aor: AorId, package: Package) -> u64 {
        match package {
            // Seconds left are no change.
            Package::Reg => self.keyed.digest(self.reginfo(now, aor, 0, Left::Hidden).as_bytes()),
            Package::Presence | Package::Dialog | Package::MessageSummary => {
                self.keyed.digest(&self.content(now, aor, package, 0))
            }
        }
    }

    pub(super) fn content(&self, now: Time, aor: AorId, package: Package, version: u32) -> Bytes {
        // Of several devices that speak of themselves the last one counts.
        let said = self.events.publications.get(&(aor, package)).and_then(|all| all.last());
        if let Some(said) = said {
            return said.body.clone();
        }
        match package {
            Package::Reg => self.reginfo(now, aor, version, Left::Shown).into(),
            Package::Presence => self.presence(aor).into(),
            Package::Dialog => self.dialog_info(aor, version).into(),
            Package::MessageSummary => self.events.summaries.get(&aor).cloned().unwrap_or_else(|| {
                format!("Messages-Waiting: no\r\nMessage-Account: {}\r\n", self.entity(aor)).into()
            }),
        }
    }

    fn entity(&self, aor: AorId) -> String {
        self.accounts
            .get(aor)
            .map_or(String::new(), |entry| format!("sip:{}@{}", escape_user(entry.user()), entry.domain()))
    }

    fn reginfo(&self, now: Time, aor: AorId, version: u32, left: Left) -> String {
        let bindings: Vec<_> = self
            .accounts
            .get(aor)
            .into_iter()
            .flat_map(|entry| &entry.bindings)
            .filter_map(|id| self.bindings.get(*id))
            .collect();
        let state = if bindings.is_empty() { "init" } else { "active" };
        let mut text = String::with_capacity(256 + bindings.len() * 256);
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "<?xml version=\"1.0\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"{version}\" state=\"full\">\
             \n<registration aor=\"{}\" id=\"a{}\" state=\"{state}\">\n",
            escaped(&self.entity(aor)),
            aor.0
        );
        for binding in bindings {
            let _ = write!(text, "<contact id=\"b{}\" state=\"active\" event=\"registered\"", binding.id.0);
            match left {
                Left::Shown => {
                    let _ = write!(text, " expires=\"{}\"", binding.seconds_left(now));
                }
                Left::Hidden => {}
            }
            let _ = writeln!(text, "><uri>{}</uri></contact>", escaped(&as_request_uri(binding.uri())));
        }
        text.push_str("</registration>\n</reginfo>\n");
        text
    }

    /// Without a word of its own an address is open while a device is registered, asleep or not: it can be called.
    fn presence(&self, aor: AorId) -> String {
        let open = self.accounts.get(aor).is_some_and(|entry| !entry.bindings.is_empty());
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"{}\">\
             \n<tuple id=\"a{}\"><status><basic>{}</basic></status></tuple>\n</presence>\n",
            escaped(&self.entity(aor)),
            aor.0,
            if open { "open" } else { "closed" }
        )
    }

    fn dialog_info(&self, aor: AorId, version: u32) -> String {
        let mut text = format!(
            "<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" \
             state=\"full\" entity=\"{}\">\n",
            escaped(&self.entity(aor))
        );
        for call in self.events.calls.of(aor) {
            let _ = writeln!(
                text,
                "<dialog id=\"{}\" direction=\"{}\"><state>{}</state></dialog>",
                call.name,
                call.direction.word(),
                call.state.word()
            );
        }
        text.push_str("</dialog-info>\n");
        text
    }
}

/// Whether the seconds that are left are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Shown,
    Hidden,
}

/// Text as XML writes it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            character if character.is_control() => {}
            character => out.push(character),
        }
    }
    out
}
