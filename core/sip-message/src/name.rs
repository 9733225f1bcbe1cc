//! Names of header fields.

use core::fmt;
use core::hash::{Hash, Hasher};

use crate::grammar::is_token;

/// How the values of a header field stand on its lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// One value a line, commas belong to it.
    One,
    /// Values separated by commas (RFC 3261 §7.3.1).
    List,
}

/// A header name that [`Name`] does not know, compared without regard to case.
#[derive(Clone, Debug)]
pub struct OtherName(Box<str>);

impl PartialEq for OtherName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for OtherName {}

impl Hash for OtherName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.0.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl OtherName {
    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! names {
    ($($variant:ident $text:literal $shape:ident $($compact:literal)?;)*) => {
        /// The name of a header field. Compact forms (RFC 3261 §7.3.3) read as their long name.
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other name.
            Other(OtherName),
        }

        /// The codes of known names in a message's index: place in this list plus one; 0 is any other name.
        #[derive(Clone, Copy)]
        #[repr(u8)]
        enum Place { Other, $($variant,)* }

        const TEXTS: &[&str] = &["", $($text,)*];
        const SHAPES: &[Shape] = &[Shape::One, $(Shape::$shape,)*];
        const COMPACT: [u8; 26] = {
            let mut table = [0; 26];
            $($(table[($compact - b'a') as usize] = Place::$variant as u8;)?)*
            table
        };

        impl Name {
            /// Every name with a variant of its own.
            pub const KNOWN: &[Name] = &[$(Name::$variant,)*];

            pub(crate) const fn code(&self) -> u8 {
                match self {
                    $(Name::$variant => Place::$variant as u8,)*
                    Name::Other(_) => Place::Other as u8,
                }
            }

            /// The long name, in its usual case.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Name::$variant => $text,)*
                    Name::Other(name) => name.as_str(),
                }
            }

            /// The compact form, where there is one.
            pub const fn compact(&self) -> Option<char> {
                let code = self.code();
                let mut letter = 0;
                while letter < 26 {
                    if code != 0 && COMPACT[letter as usize] == code {
                        return Some((b'a' + letter) as char);
                    }
                    letter += 1;
                }
                None
            }
        }
    };
}

names! {
    Accept "Accept" List;
    AcceptContact "Accept-Contact" List b'a';
    AcceptEncoding "Accept-Encoding" List;
    AcceptLanguage "Accept-Language" List;
    AcceptResourcePriority "Accept-Resource-Priority" List;
    AlertInfo "Alert-Info" List;
    Allow "Allow" List;
    AllowEvents "Allow-Events" List b'u';
    AnswerMode "Answer-Mode" One;
    AuthenticationInfo "Authentication-Info" One;
    Authorization "Authorization" One;
    CallId "Call-ID" One b'i';
    CallInfo "Call-Info" List;
    Contact "Contact" List b'm';
    ContentDisposition "Content-Disposition" One;
    ContentEncoding "Content-Encoding" List b'e';
    ContentId "Content-ID" One;
    ContentLanguage "Content-Language" List;
    ContentLength "Content-Length" One b'l';
    ContentTransferEncoding "Content-Transfer-Encoding" One;
    ContentType "Content-Type" One b'c';
    CSeq "CSeq" One;
    Date "Date" One;
    Diversion "Diversion" List;
    ErrorInfo "Error-Info" List;
    Event "Event" One b'o';
    Expires "Expires" One;
    FeatureCaps "Feature-Caps" List;
    FlowTimer "Flow-Timer" One;
    From "From" One b'f';
    Geolocation "Geolocation" List;
    HistoryInfo "History-Info" List;
    Identity "Identity" One b'y';
    InfoPackage "Info-Package" One;
    InReplyTo "In-Reply-To" List;
    Join "Join" One;
    MaxBreadth "Max-Breadth" One;
    MaxForwards "Max-Forwards" One;
    MimeVersion "MIME-Version" One;
    MinExpires "Min-Expires" One;
    MinSe "Min-SE" One;
    Organization "Organization" One;
    PAccessNetworkInfo "P-Access-Network-Info" List;
    PAssertedIdentity "P-Asserted-Identity" List;
    PAssociatedUri "P-Associated-URI" List;
    PCalledPartyId "P-Called-Party-ID" One;
    PChargingVector "P-Charging-Vector" One;
    PEarlyMedia "P-Early-Media" List;
    PPreferredIdentity "P-Preferred-Identity" List;
    PVisitedNetworkId "P-Visited-Network-ID" List;
    Path "Path" List;
    Priority "Priority" One;
    Privacy "Privacy" One;
    PrivAnswerMode "Priv-Answer-Mode" One;
    ProxyAuthenticate "Proxy-Authenticate" One;
    ProxyAuthorization "Proxy-Authorization" One;
    ProxyRequire "Proxy-Require" List;
    RAck "RAck" One;
    Reason "Reason" List;
    RecordRoute "Record-Route" List;
    RecvInfo "Recv-Info" List;
    ReferSub "Refer-Sub" One;
    ReferTo "Refer-To" One b'r';
    ReferredBy "Referred-By" One b'b';
    RejectContact "Reject-Contact" List b'j';
    RemotePartyId "Remote-Party-ID" List;
    Replaces "Replaces" One;
    ReplyTo "Reply-To" One;
    RequestDisposition "Request-Disposition" List b'd';
    Require "Require" List;
    ResourcePriority "Resource-Priority" List;
    RetryAfter "Retry-After" One;
    Route "Route" List;
    RSeq "RSeq" One;
    SecurityClient "Security-Client" List;
    SecurityServer "Security-Server" List;
    SecurityVerify "Security-Verify" List;
    Server "Server" One;
    ServiceRoute "Service-Route" List;
    SessionExpires "Session-Expires" One b'x';
    SessionId "Session-ID" One;
    SipEtag "SIP-ETag" One;
    SipIfMatch "SIP-If-Match" One;
    Subject "Subject" One b's';
    SubscriptionState "Subscription-State" One;
    Supported "Supported" List b'k';
    SuppressIfMatch "Suppress-If-Match" One;
    TargetDialog "Target-Dialog" One;
    Timestamp "Timestamp" One;
    To "To" One b't';
    Unsupported "Unsupported" List;
    UserAgent "User-Agent" One;
    UserToUser "User-to-User" List;
    Via "Via" List b'v';
    Warning "Warning" List;
    WwwAuthenticate "WWW-Authenticate" One;
    XWakeState "X-Wake-State" List;
}

/// The first and the last eight bytes of a name; a shorter one is filled with zeros. Two words hold every known name of
/// up to 16 letters whole, which is nearly all.
const fn words_of(name: &[u8]) -> (u64, u64) {
    const fn gather(name: &[u8], from: usize, to: usize) -> u64 {
        let mut word = 0;
        let mut at = to;
        while at > from {
            at -= 1;
            word = word << 8 | name[at] as u64;
        }
        word
    }
    if let (Some(head), Some(tail)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
    } else {
        (gather(name, 0, name.len()), 0)
    }
}

/// Spreads the known names, in any case, well enough that most lookups compare one name.
const fn slot_of(words: (u64, u64), len: usize) -> usize {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let mixed = (words.0 | CASE) ^ (words.1 | CASE).rotate_left(23) ^ len as u64;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize
}

/// A known name as a lookup compares it.
#[derive(Clone, Copy)]
struct Known {
    words: (u64, u64),
    len: usize,
    code: u8,
}

static SLOTS: [Known; 512] = {
    let mut slots = [Known { words: (0, 0), len: 0, code: 0 }; 512];
    let mut code = 1;
    while code < TEXTS.len() {
        let name = TEXTS[code].as_bytes();
        let words = words_of(name);
        let mut slot = slot_of(words, name.len());
        while slots[slot].code != 0 {
            slot = (slot + 1) & 511;
        }
        slots[slot] = Known { words, len: name.len(), code: code as u8 };
        code += 1;
    }
    slots
};

/// The code of a header name as it stands in a message; 0 when no variant of [`Name`] has it.
#[inline]
pub(crate) fn code_of(name: &[u8]) -> u8 {
    if let &[letter] = name {
        let place = (letter | 0x20).wrapping_sub(b'a');
        return if letter.is_ascii_alphabetic() { COMPACT[usize::from(place) % 26] } else { 0 };
    }
    let words = words_of(name);
    let known = &SLOTS[slot_of(words, name.len())];
    // Nearly every peer writes the usual case, and two equal words are told quicker than equal letters.
    if known.words.0 == words.0 && known.words.1 == words.1 && known.len == name.len() && name.len() <= 16 {
        return known.code;
    }
    code_in_any_case(name, words)
}

fn code_in_any_case(name: &[u8], words: (u64, u64)) -> u8 {
    let mut slot = slot_of(words, name.len());
    // The table has empty slots, so this ends; runs of filled ones are short by the choice of the hash.
    loop {
        let known = &SLOTS[slot];
        if known.code == 0 {
            return 0;
        }
        if known.len == name.len() && TEXTS[usize::from(known.code)].as_bytes().eq_ignore_ascii_case(name) {
            return known.code;
        }
        slot = (slot + 1) & 511;
    }
}

pub(crate) fn shape_of(code: u8) -> Shape {
    SHAPES.get(usize::from(code)).copied().unwrap_or(Shape::One)
}

impl Name {
    /// Reads a header name, long or compact, in any case; nothing if the text is no token.
    pub fn parse(text: &str) -> Option<Name> {
        match code_of(text.as_bytes()) {
            0 => is_token(text).then(|| Name::Other(OtherName(text.into()))),
            code => Name::KNOWN.get(usize::from(code) - 1).cloned(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_in_any_case() {
        for name in Name::KNOWN {
            assert_eq!(Name::parse(name.as_str()).as_ref(), Some(name));
            assert_eq!(Name::parse(&name.as_str().to_uppercase()).as_ref(), Some(name));
            if let Some(letter) = name.compact() {
                assert_eq!(Name::parse(&letter.to_string()).as_ref(), Some(name));
                assert_eq!(Name::parse(&letter.to_uppercase().to_string()).as_ref(), Some(name));
            }
        }
    }

    #[test]
    fn unknown_names_compare_without_case() {
        assert_eq!(Name::parse("X-Foo"), Name::parse("x-foo"));
        assert_ne!(Name::parse("X-Foo"), Name::parse("X-Fop"));
        assert_eq!(Name::parse("X Foo"), None);
        assert_eq!(Name::parse(""), None);
    }

    #[test]
    fn lookups_meet_few_strangers() {
        let probes = |name: &str| {
            let mut slot = slot_of(words_of(name.as_bytes()), name.len());
            let mut count = 1;
            while TEXTS[usize::from(SLOTS[slot].code)] != name {
                slot = (slot + 1) & 511;
                count += 1;
            }
            count
        };
        let worst = Name::KNOWN.iter().map(|name| probes(name.as_str())).max();
        assert!(worst <= Some(4), "{worst:?}");
    }
}
