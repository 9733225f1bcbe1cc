//! What audio is made of.

use crate::codec_preference::CodecPreference;
use crate::network::TransportChoice;
use crate::store::Settings;

/// The media group, as the phone obeys it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaSettings {
    /// The codecs.
    pub codecs: CodecPreference,
    /// `mediaencryption`.
    pub encryption: MediaEncryption,
    /// `dtmfmode`.
    pub dtmf: DtmfMode,
}

/// `mediaencryption` (B-099).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MediaEncryption {
    /// 0: none.
    Off,
    /// 1: when the other side asks for it.
    WhenAsked,
    /// 2: SRTP, or no call. Said in so many words, so keys may also travel without TLS.
    Required,
}

/// `dtmfmode` (B-157).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DtmfMode {
    /// 0.
    Off,
    /// 1: SIP INFO.
    Info,
    /// 2: telephone-event when the peer has it, else INFO.
    Automatic,
    /// 3.
    InfoAndEvent,
    /// 4: RFC 4733.
    Event,
    /// 5: tones in the audio.
    InBand,
    /// 6.
    InfoAndInBand,
}

impl Settings {
    /// The media group.
    pub fn media(&self) -> MediaSettings {
        MediaSettings {
            codecs: self.codecs(),
            encryption: match self.number("mediaencryption") {
                Some(0) => MediaEncryption::Off,
                Some(1) => MediaEncryption::WhenAsked,
                Some(2) => MediaEncryption::Required,
                // Automatic: keys are safe under TLS only.
                Some(_) | None => match self.network().transport {
                    TransportChoice::Tls => MediaEncryption::WhenAsked,
                    TransportChoice::Automatic | TransportChoice::Udp | TransportChoice::Tcp => {
                        MediaEncryption::Off
                    }
                },
            },
            dtmf: match self.number("dtmfmode") {
                Some(0) => DtmfMode::Off,
                Some(1) => DtmfMode::Info,
                Some(3) => DtmfMode::InfoAndEvent,
                Some(4) => DtmfMode::Event,
                Some(5) => DtmfMode::InBand,
                Some(6) => DtmfMode::InfoAndInBand,
                Some(_) | None => DtmfMode::Automatic,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn media(pairs: &[(&str, &str)]) -> MediaSettings {
        let mut settings = Settings::new();
        for (name, value) in pairs {
            assert!(settings.set(name, value, Source::File), "{name}");
        }
        settings.media()
    }

    #[test]
    fn b099_encryption_follows_its_table_and_automatic_the_transport() {
        for (pairs, expected) in [
            (&[][..], MediaEncryption::Off),
            (&[("transport", "2")], MediaEncryption::WhenAsked),
            (&[("transport", "2"), ("mediaencryption", "0")], MediaEncryption::Off),
            (&[("mediaencryption", "1")], MediaEncryption::WhenAsked),
            (&[("mediaencryption", "2")], MediaEncryption::Required),
        ] {
            assert_eq!(media(pairs).encryption, expected);
        }
    }

    #[test]
    fn b157_dtmf_follows_its_table() {
        let modes = [
            DtmfMode::Off,
            DtmfMode::Info,
            DtmfMode::Automatic,
            DtmfMode::InfoAndEvent,
            DtmfMode::Event,
            DtmfMode::InBand,
            DtmfMode::InfoAndInBand,
        ];
        for (number, mode) in modes.into_iter().enumerate() {
            assert_eq!(media(&[("dtmfmode", &number.to_string())]).dtmf, mode);
        }
        assert_eq!(media(&[]).dtmf, DtmfMode::Automatic);
    }
}
