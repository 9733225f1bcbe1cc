//! G.711: PCMU and PCMA by ITU-T G.711, payload types 0 and 8 of RFC 3551 §4.5.14.
//!
//! Both laws are logarithmic floating-point formats of one byte: a sign, three bits of exponent (the chord) and four
//! bits of mantissa (the step), sent with bits inverted. Decoding goes by two tables that are computed at build time;
//! encoding finds the chord from the position of the highest set bit.

/// The µ-law bias: every magnitude is raised by it so that all chords have the same shape.
const ULAW_BIAS: i32 = 0x84;
/// The largest magnitude of the µ-law coder before the bias.
const ULAW_CLIP: i32 = 32_635;
/// Even bits of an A-law byte are sent inverted.
const ALAW_MASK: u8 = 0x55;

static ULAW: [i16; 256] = table(true);
static ALAW: [i16; 256] = table(false);

const fn table(ulaw: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if ulaw { expand_ulaw(byte as u8) } else { expand_alaw(byte as u8) };
        byte += 1;
    }
    table
}

const fn expand_ulaw(byte: u8) -> i16 {
    let code = !byte;
    let chord = (code >> 4) & 7;
    let step = (code & 15) as i32;
    let magnitude = (((step << 3) + ULAW_BIAS) << chord) - ULAW_BIAS;
    if code & 0x80 != 0 { -magnitude as i16 } else { magnitude as i16 }
}

const fn expand_alaw(byte: u8) -> i16 {
    let code = byte ^ ALAW_MASK;
    let chord = (code >> 4) & 7;
    let step = ((code & 15) as i32) << 4;
    let magnitude = if chord == 0 { step + 8 } else { (step + 0x108) << (chord - 1) };
    if code & 0x80 != 0 { magnitude as i16 } else { -magnitude as i16 }
}

/// One linear sample as µ-law.
pub fn encode_ulaw(sample: i16) -> u8 {
    let sample = i32::from(sample);
    let (sign, magnitude) = if sample < 0 { (0x80, -sample) } else { (0, sample) };
    let biased = magnitude.min(ULAW_CLIP) + ULAW_BIAS;
    let chord = (31 - biased.leading_zeros() as i32) - 7;
    let step = (biased >> (chord + 3)) & 15;
    !(sign | (chord << 4) as u8 | step as u8)
}

/// One linear sample as A-law.
pub fn encode_alaw(sample: i16) -> u8 {
    let sample = i32::from(sample);
    // A negative sample is complemented rather than negated, so that -1 lies in the first negative step.
    let (sign, magnitude) = if sample < 0 { (0, !sample) } else { (0x80, sample) };
    let top = 31 - (magnitude | 1).leading_zeros() as i32;
    let chord = (top - 7).max(0);
    let step = (magnitude >> (chord + 3).max(4)) & 15;
    (sign | (chord << 4) as u8 | step as u8) ^ ALAW_MASK
}

/// The linear value of a µ-law byte.
pub fn decode_ulaw(byte: u8) -> i16 {
    ULAW[usize::from(byte)]
}

/// The linear value of an A-law byte.
pub fn decode_alaw(byte: u8) -> i16 {
    ALAW[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_both_laws() {
        assert_eq!((encode_ulaw(0), encode_ulaw(i16::MAX), encode_ulaw(i16::MIN)), (0xff, 0x80, 0x00));
        assert_eq!((decode_ulaw(0x80), decode_ulaw(0x00), decode_ulaw(0xff)), (32124, -32124, 0));
        assert_eq!((encode_alaw(0), encode_alaw(i16::MAX), encode_alaw(i16::MIN)), (0xd5, 0xaa, 0x2a));
        assert_eq!((decode_alaw(0xd5), decode_alaw(0x55), decode_alaw(0xaa)), (8, -8, 32256));
    }

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for byte in 0..=255u8 {
            // 0x7f is minus zero, which encodes as plus zero.
            if byte != 0x7f {
                assert_eq!(encode_ulaw(decode_ulaw(byte)), byte);
            }
            assert_eq!(encode_alaw(decode_alaw(byte)), byte);
        }
    }

    #[test]
    fn the_error_stays_within_half_a_step() {
        for sample in (-32_600..32_600).step_by(7) {
            let allowed = 8 + (i32::from(sample).abs() >> 5);
            let ulaw = i32::from(decode_ulaw(encode_ulaw(sample)));
            let alaw = i32::from(decode_alaw(encode_alaw(sample)));
            assert!((ulaw - i32::from(sample)).abs() <= allowed, "µ-law {sample} became {ulaw}");
            assert!((alaw - i32::from(sample)).abs() <= allowed, "A-law {sample} became {alaw}");
        }
    }
}
