//! Which codecs may be used, and in which order.

use crate::codec::Codec;
use crate::store::Settings;

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
}
