//! A session description as a value.

use core::net::IpAddr;
use core::str::FromStr;

use crate::line::{Attribute, Connection, Line, find};
use crate::media::{Direction, Media};

/// A whole description (RFC 8866 §5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionDescription {
    /// `o=`.
    pub origin: Origin,
    /// `s=`; a dash when there is none.
    pub name: String,
    /// `c=` of the session.
    pub connection: Option<Connection>,
    /// Lines of other kinds (`i`, `b`, `t`, unknown ones), in order.
    pub lines: Vec<Line>,
    /// `a=` of the session, in order.
    pub attributes: Vec<Attribute>,
    /// The media, in order; at most [`crate::MAX_MEDIA`] are read.
    pub media: Vec<Media>,
}

impl SessionDescription {
    /// The value of a session-level attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name).map(|attribute| attribute.value.as_deref().unwrap_or(""))
    }

    /// The direction of a medium, inherited from the session (RFC 8866 §6.7), and with the hold of RFC 2543: to an
    /// address of zeros nothing is sent (RFC 3264 §8.4).
    pub fn direction(&self, media: &Media) -> Direction {
        let written = media
            .own_direction()
            .or_else(|| Direction::of(&self.attributes))
            .unwrap_or(Direction::SendReceive);
        match self.connection(media).and_then(|connection| connection.ip()) {
            Some(address) if address.is_unspecified() => written.and(Direction::SendOnly),
            Some(_) | None => written,
        }
    }

    /// The connection line that holds for a medium.
    pub fn connection<'a>(&'a self, media: &'a Media) -> Option<&'a Connection> {
        media.connection.as_ref().or(self.connection.as_ref())
    }

    /// Gives this description the version that follows `previous`: the same when nothing else changed, else one more
    /// (RFC 3264 §8).
    #[must_use]
    pub fn revised_from(mut self, previous: &SessionDescription) -> SessionDescription {
        self.origin = previous.origin.clone();
        if self != *previous {
            self.origin = previous.origin.next_version();
        }
        self
    }
}

/// `o=`: who describes, and which version (RFC 8866 §5.2). Numbers are kept as written; some exceed 64 bits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// A dash as a rule.
    pub username: String,
    /// Digits that name the session.
    pub session_id: String,
    /// Digits that grow with each change.
    pub version: String,
    /// An address or a name.
    pub address: String,
}

impl Origin {
    /// An origin of ours; `session_id` from the entropy at hand, below 2⁶² as RFC 3264 §5 wants.
    pub fn new(session_id: u64, address: IpAddr) -> Origin {
        let session_id = session_id >> 2;
        Origin {
            username: "-".into(),
            session_id: session_id.to_string(),
            version: "1".into(),
            address: address.to_string(),
        }
    }

    /// The same with the version one higher.
    #[must_use]
    pub fn next_version(&self) -> Origin {
        let version = u64::from_str(&self.version).unwrap_or(0).wrapping_add(1);
        Origin { version: version.to_string(), ..self.clone() }
    }
}
