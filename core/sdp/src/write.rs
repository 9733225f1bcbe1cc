//! Writing a description: CRLF, the order of RFC 8866 §9, and no character that could begin another line (class S8).

use core::fmt;

use crate::line::{Attribute, Connection, Line};
use crate::session::SessionDescription;

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("v=0\r\n")?;
        let origin = &self.origin;
        let mut words = [&origin.username, &origin.session_id, &origin.version].map(|word| clean(word));
        for word in &mut words {
            word.retain(|character| !character.is_whitespace());
        }
        let [username, session_id, version] = words;
        let family = family(&origin.address);
        write!(f, "o={username} {session_id} {version} IN {family} {}\r\n", clean(&origin.address))?;
        let name = clean(&self.name);
        write!(f, "s={}\r\n", if name.is_empty() { "-" } else { &name })?;
        body(f, &self.lines, self.connection.as_ref(), &self.attributes, true)?;
        for media in &self.media {
            write!(f, "m={} {}", clean(&media.kind), media.port)?;
            if media.ports > 1 {
                write!(f, "/{}", media.ports)?;
            }
            write!(f, " {}", clean(media.protocol.as_str()))?;
            for format in &media.formats {
                write!(f, " {}", clean(format))?;
            }
            f.write_str("\r\n")?;
            body(f, &media.lines, media.connection.as_ref(), &media.attributes, false)?;
        }
        Ok(())
    }
}

fn body(
    f: &mut fmt::Formatter<'_>,
    lines: &[Line],
    connection: Option<&Connection>,
    attributes: &[Attribute],
    is_session: bool,
) -> fmt::Result {
    // i u e p | c | b | t r z k and unknown ones | a
    let some = |f: &mut fmt::Formatter<'_>, kinds: &str| -> fmt::Result {
        for line in lines.iter().filter(|line| kinds.contains(line.kind)) {
            write!(f, "{}={}\r\n", line.kind, clean(&line.value))?;
        }
        Ok(())
    };
    for kind in ["i", "u", "e", "p"] {
        some(f, kind)?;
    }
    if let Some(connection) = connection {
        write!(f, "c=IN {} {}\r\n", family(&connection.address), clean(&connection.address))?;
    }
    some(f, "b")?;
    if is_session && !lines.iter().any(|line| line.kind == 't') {
        f.write_str("t=0 0\r\n")?;
    }
    // Repetitions follow their times, so these keep their order among each other.
    some(f, "trzk")?;
    for line in lines.iter().filter(|line| !"iuepbtrzk".contains(line.kind)) {
        if line.kind.is_ascii_alphabetic() && !"vosmac".contains(line.kind) {
            write!(f, "{}={}\r\n", line.kind, clean(&line.value))?;
        }
    }
    for attribute in attributes {
        match &attribute.value {
            None => write!(f, "a={}\r\n", clean(&attribute.name))?,
            Some(value) => write!(f, "a={}:{}\r\n", clean(&attribute.name), clean(value))?,
        }
    }
    Ok(())
}

fn family(address: &str) -> &'static str {
    if address.contains(':') { "IP6" } else { "IP4" }
}

/// The text without the characters that RFC 8866 forbids in every value.
fn clean(text: &str) -> String {
    text.chars().filter(|character| !matches!(character, '\0' | '\r' | '\n')).collect()
}
