//! The codecs of this phone, by their names in settings.

/// A codec of this phone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Codec {
    /// RFC 6716.
    Opus,
    /// G.722.
    G722,
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Codec {
    /// Every codec, in the built-in order: wide band first.
    pub const ALL: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

    /// The name in a session description.
    pub const fn sdp_name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::G722 => "G722",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }

    /// The codecs that a name in the settings stands for; `None` for one that this phone has not.
    pub(crate) fn named(name: &str) -> Option<&'static [Codec]> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "pcmu" | "ulaw" | "g.711u" => &[Codec::Pcmu],
            "pcma" | "alaw" | "g.711a" => &[Codec::Pcma],
            "g.711" | "g711" => &[Codec::Pcmu, Codec::Pcma],
            "g.722" | "g722" => &[Codec::G722],
            "opus" | "opusnb" | "opuswb" | "opusuwb" | "opusswb" => &[Codec::Opus],
            _ => return None,
        })
    }

    /// The parameters that rank it; Opus has one for each band.
    pub(crate) const fn rank_parameters(self) -> &'static [&'static str] {
        match self {
            Codec::Opus => &["use_opusnb", "use_opuswb", "use_opusuwb", "use_opusswb"],
            Codec::G722 => &[],
            Codec::Pcmu => &["use_pcmu"],
            Codec::Pcma => &["use_pcma"],
        }
    }

    pub(crate) const fn is_low(self) -> bool {
        matches!(self, Codec::Pcmu | Codec::Pcma)
    }
}

/// The names in a list of codecs that this phone has not.
pub(crate) fn unknown_codecs(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty() && Codec::named(name).is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_codecs_are_told() {
        assert_eq!(unknown_codecs("pcmu, g729,,iLBC"), ["g729", "iLBC"]);
    }
}
