//! Which codecs may be used, and in which order.

use crate::store::Settings;

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
    fn named(name: &str) -> Option<&'static [Codec]> {
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
    const fn rank_parameters(self) -> &'static [&'static str] {
        match self {
            Codec::Opus => &["use_opusnb", "use_opuswb", "use_opusuwb", "use_opusswb"],
            Codec::G722 => &[],
            Codec::Pcmu => &["use_pcmu"],
            Codec::Pcma => &["use_pcma"],
        }
    }

    const fn is_low(self) -> bool {
        matches!(self, Codec::Pcmu | Codec::Pcma)
    }
}

/// What may be offered, and what is taken besides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodecPreference {
    /// To be offered, best first; never empty.
    pub offered: Vec<Codec>,
    /// Not offered, but taken when the other side wants it (`use_X` 1).
    pub tolerated: Vec<Codec>,
}

impl Settings {
    /// The codecs by `codec`, `alwaysallowlowcodec`, `use_X` and `prefcodec`.
    pub fn codecs(&self) -> CodecPreference {
        let allowed: Option<Vec<Codec>> = self.text("codec").map(|list| {
            let listed = list.split(',').filter_map(Codec::named).flatten().copied();
            let low = self.switch("alwaysallowlowcodec", true);
            let mut order: Vec<Codec> = Vec::new();
            for codec in listed.chain(Codec::ALL.into_iter().filter(|codec| low && codec.is_low())) {
                if !order.contains(&codec) {
                    order.push(codec);
                }
            }
            order
        });
        let order = allowed.filter(|list| !list.is_empty()).unwrap_or_else(|| Codec::ALL.to_vec());
        let rank = |codec: Codec| {
            codec.rank_parameters().iter().filter_map(|name| self.number(name)).max().unwrap_or(2)
        };
        // High priority first; the sort keeps the order otherwise.
        let mut offered: Vec<Codec> = order.iter().copied().filter(|codec| rank(*codec) >= 2).collect();
        offered.sort_by_key(|codec| core::cmp::Reverse(rank(*codec)));
        let tolerated = order.iter().copied().filter(|codec| rank(*codec) == 1).collect();
        if let Some(preferred) = self.text("prefcodec").and_then(Codec::named) {
            offered.sort_by_key(|codec| !preferred.contains(codec));
        }
        if offered.is_empty() {
            // A phone without codecs is none: what every phone has stays.
            offered = vec![Codec::Pcmu, Codec::Pcma];
        }
        CodecPreference { offered, tolerated }
    }
}

/// The names in a list of codecs that this phone has not.
pub(crate) fn unknown_codecs(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty() && Codec::named(name).is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use Codec::{G722, Opus, Pcma, Pcmu};

    fn codecs(pairs: &[(&str, &str)]) -> CodecPreference {
        let mut settings = Settings::new();
        for (name, value) in pairs {
            assert!(settings.set(name, value, Source::File), "{name}");
        }
        settings.codecs()
    }

    #[test]
    fn lists_ranks_and_preferences() {
        for (pairs, offered, tolerated) in [
            (&[][..], &[Opus, G722, Pcmu, Pcma][..], &[][..]),
            (&[("codec", "pcma,opus")], &[Pcma, Opus, Pcmu], &[]),
            (&[("codec", "opus"), ("alwaysallowlowcodec", "0")], &[Opus], &[]),
            (&[("codec", "g729,speex")], &[Pcmu, Pcma], &[]),
            (&[("codec", "g729"), ("alwaysallowlowcodec", "0")], &[Opus, G722, Pcmu, Pcma], &[]),
            (&[("prefcodec", "pcma")], &[Pcma, Opus, G722, Pcmu], &[]),
            (&[("prefercodec", "g.711")], &[Pcmu, Pcma, Opus, G722], &[]),
            (&[("prefcodec", "gsm")], &[Opus, G722, Pcmu, Pcma], &[]),
            (&[("use_pcma", "3"), ("use_pcmu", "1")], &[Pcma, Opus, G722], &[Pcmu]),
            (&[("use_pcma", "0"), ("use_opuswb", "0")], &[G722, Pcmu], &[]),
            (&[("use_opusnb", "0"), ("use_opuswb", "3")], &[Opus, G722, Pcmu, Pcma], &[]),
            (&[("codec", "pcmu"), ("alwaysallowlowcodec", "0"), ("use_pcmu", "0")], &[Pcmu, Pcma], &[]),
        ] {
            let found = codecs(pairs);
            assert_eq!(found.offered, offered, "{pairs:?}");
            assert_eq!(found.tolerated, tolerated, "{pairs:?}");
        }
    }

    #[test]
    fn names_of_other_codecs_are_told() {
        assert_eq!(unknown_codecs("pcmu, g729,,iLBC"), ["g729", "iLBC"]);
    }
}
