//! What may come as sound: decoders, files, and a whole stream with its jitter buffer.

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_media::{
    Codec, Decoder, EventTypes, Microphone, Seeds, Stream, StreamConfig, comfort_noise, opus, wav,
};
use wakeline_rtp::{RtpPacket, TelephoneEvent};

use crate::script::{Bound, Script};

const CODECS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

/// Any payload meets any decoder; none gives more than the longest packet holds.
pub(crate) fn decoders(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let codec = CODECS[script.below(4)];
    let mut decoder = Decoder::new(codec, 48_000).expect("a decoder");
    let mut plain = opus::Decoder::new(48_000).expect("a decoder");
    let mut out = Vec::new();
    script.play(|script| {
        let payload = script.bytes(120);
        out.clear();
        let told = decoder.duration(payload);
        if let Ok(count) = decoder.decode(payload, &mut out) {
            assert_eq!(out.len(), count);
            assert!(count <= 48_000 * 120 / 1000 || codec != Codec::Opus, "more than 120 ms in a packet");
            assert!(told.is_some() || count == 0, "sound without a length");
        }
        let _ = (opus::carries_redundancy(payload), opus::is_silence(payload));
        out.clear();
        let _ = plain.recover(payload, 960, &mut out);
        out.clear();
        let _ = plain.conceal(960, &mut out);
        assert!(out.len() <= 5760);
        let noise = comfort_noise::ComfortNoise::parse(payload);
        let mut generator = comfort_noise::Generator::new(1);
        generator.set(&noise);
        out.clear();
        generator.play(160, &mut out);
        assert_eq!(out.len(), 160);
    });
}

/// A sound file in pieces.
pub(crate) fn wav(bytes: &[u8]) {
    let (mut whole, mut pieces) = (wav::Reader::default(), wav::Reader::default());
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let first = whole.push(bytes, &mut one);
    let step = bytes.first().map_or(1, |first| usize::from(*first) % 9 + 1);
    let second = bytes.chunks(step).try_for_each(|piece| pieces.push(piece, &mut other));
    assert!(one.len() <= bytes.len() && other.len() <= bytes.len());
    assert_eq!(first.is_ok(), second.is_ok(), "a file depends on how its bytes came");
    if first.is_ok() {
        assert_eq!(one, other, "a file depends on how its bytes came");
        assert_eq!(whole.format(), pieces.format());
    }
}

/// A call's stream: packets with any numbers and times, raw datagrams, a device that pulls, keys, mute, reports.
pub(crate) fn stream(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let codec = CODECS[script.below(4)];
    let rate = [48_000, 16_000, 8_000, 44_100][script.below(4)];
    let mut config = StreamConfig::new(codec, 96, rate);
    config.receive.extend([(0, Codec::Pcmu), (8, Codec::Pcma), (9, Codec::G722), (111, Codec::Opus)]);
    config.comfort_noise = Some(13);
    config.events = Some(EventTypes { send: 101, receive: 101, clock: codec.rtp_clock() });
    let mut now = Time::from_millis(1);
    let seeds = Seeds::draw(&mut Entropy::from_number(1));
    let Ok(mut stream) = Stream::new(now, config, seeds) else { return };
    let block = rate as usize / 100;
    let mut played = vec![0_i16; block];
    let (mut sequence, mut timestamp) = (0_u16, 0_u32);
    script.play(|script| {
        match script.below(12) {
            0..=4 => {
                sequence = match script.below(4) {
                    0 => script.u16(),
                    1 => sequence,
                    _ => sequence.wrapping_add(1),
                };
                timestamp = match script.below(4) {
                    0 => u32::from(script.u16()) << 16,
                    _ => timestamp.wrapping_add(160 * u32::from(script.byte() % 8)),
                };
                let payload_type = [96, 96, 96, 0, 8, 9, 111, 13, 101, 127][script.below(10)];
                let event = TelephoneEvent {
                    event: script.byte(),
                    end: script.flag(),
                    volume: 10,
                    duration: script.u16(),
                };
                let raw = script.bytes(100);
                let payload = if payload_type == 101 && raw.is_empty() { &event.to_bytes()[..] } else { raw };
                let packet = RtpPacket {
                    ssrc: u32::from(script.byte() & 3),
                    sequence,
                    timestamp,
                    payload_type,
                    marker: script.flag(),
                    payload,
                    ..Default::default()
                };
                let _ = stream.handle_rtp(now, &packet.to_bytes().expect("a good packet"));
            }
            5 => drop(stream.handle_rtp(now, script.bytes(60))),
            6 => drop(stream.handle_rtcp(now, script.bytes(90))),
            7 => now += script.span().min(Duration::from_secs(4000)),
            8 => drop(stream.capture(now, &vec![script.u16() as i16; script.below(3) * block])),
            9 => drop(stream.send_dtmf(char::from(script.byte()), u32::from(script.byte()))),
            10 => {
                let microphone = match script.byte() % 3 {
                    0 => Microphone::Live,
                    1 => Microphone::Muted,
                    _ => Microphone::Silent,
                };
                stream.set_microphone(microphone);
                stream.set_direction(script.flag(), script.flag());
            }
            _ => {
                for _ in 0..script.below(6) {
                    now += Duration::from_millis(10);
                    stream.playout(now, &mut played);
                }
            }
        }
        if stream.poll_timeout().is_some_and(|due| due <= now) {
            stream.handle_timeout(now);
            assert!(stream.poll_timeout().is_none_or(|due| due > now), "a timer that is always due");
        }
        let mut bound = Bound::new(2_000, "a stream's packets");
        while stream.poll_transmit().is_some() {
            bound.count();
        }
        while stream.poll_event().is_some() {
            bound.count();
        }
    });
    let _ = stream.stats();
    stream.finish(now);
}
