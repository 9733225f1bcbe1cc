//! A stream against a stream, on virtual time.

use super::*;

fn config(codec: Codec) -> StreamConfig {
    let payload_type = codec.static_payload_type().unwrap_or(111);
    StreamConfig {
        events: Some(EventTypes { send: 101, receive: 101, clock: 8000 }),
        ..StreamConfig::new(codec, payload_type, 48_000)
    }
}

fn stream(config: StreamConfig, seed: u64) -> Stream {
    Stream::new(Time::ZERO, config, Seeds::draw(&mut Entropy::from_number(seed))).unwrap()
}

fn at(millis: u64) -> Time {
    Time::from_millis(1_000 + millis)
}

fn voice(millis: u64) -> Vec<i16> {
    (millis * 48..(millis + 10) * 48)
        .map(|n| {
            let t = n as f32 / 48_000.0;
            let w = std::f32::consts::TAU;
            (6000.0
                * (0.7 + 0.3 * (w * 3.0 * t).sin())
                * ((w * 180.0 * t).sin() + 0.4 * (w * 900.0 * t).sin())) as i16
        })
        .collect()
}

/// Two streams on a path of 5 ms without loss; the left one speaks.
struct Pair {
    left: Stream,
    right: Stream,
    now: u64,
    way: VecDeque<(u64, bool, Outgoing)>,
    heard: Vec<i16>,
}

impl Pair {
    fn new(left: StreamConfig, right: StreamConfig) -> Pair {
        let (left, right) = (stream(left, 1), stream(right, 2));
        Pair { left, right, now: 0, way: VecDeque::new(), heard: Vec::new() }
    }

    fn step(&mut self, sound: &[i16]) {
        let now = at(self.now);
        self.left.capture(now, sound).unwrap();
        self.right.capture(now, &vec![0; sound.len()]).unwrap();
        for (to_right, stream) in [(true, &mut self.left), (false, &mut self.right)] {
            if stream.poll_timeout().is_some_and(|due| due <= now) {
                stream.handle_timeout(now);
            }
            while let Some(packet) = stream.poll_transmit() {
                self.way.push_back((self.now + 5, to_right, packet));
            }
        }
        while let Some((_, to_right, packet)) = self.way.pop_front_if(|(due, _, _)| *due <= self.now) {
            let stream = if to_right { &mut self.right } else { &mut self.left };
            match packet {
                Outgoing::Rtp(bytes) => stream.handle_rtp(now, &bytes).unwrap(),
                Outgoing::Rtcp(bytes) => stream.handle_rtcp(now, &bytes).unwrap(),
            }
        }
        let mut out = vec![0; sound.len()];
        self.right.playout(now, &mut out);
        self.heard.extend_from_slice(&out);
        self.left.playout(now, &mut out);
        self.now += 10;
    }

    fn run(&mut self, millis: u64) {
        for _ in 0..millis / 10 {
            self.step(&voice(self.now));
        }
    }

    fn events(&mut self) -> Vec<StreamEvent> {
        std::iter::from_fn(|| self.right.poll_event()).collect()
    }
}

/// The delay in samples at which `heard` is most like `said`, and how alike the two are there.
fn alignment(said: &[i16], heard: &[i16], most: usize) -> (usize, f32) {
    let from = heard.len() / 2;
    let window = 9_600.min(heard.len() - from);
    (0..most)
        .step_by(12)
        .map(|delay| {
            let (mut cross, mut a, mut b) = (0.0f64, 1.0f64, 1.0f64);
            for n in (from..from + window).step_by(3) {
                let (x, y) = (f64::from(said[n - delay]), f64::from(heard[n]));
                cross += x * y;
                a += x * x;
                b += y * y;
            }
            (delay, (cross / (a * b).sqrt()) as f32)
        })
        .fold((0, -1.0), |best, next| if next.1 > best.1 { next } else { best })
}

#[test]
fn a_voice_arrives_by_every_codec_with_little_delay_and_nothing_made_up() {
    for codec in Codec::ALL {
        let mut pair = Pair::new(config(codec), config(codec));
        pair.run(4_000);
        assert_eq!(pair.events(), [StreamEvent::MediaStarted { codec }]);
        let said: Vec<i16> = (0..400).flat_map(|n| voice(n * 10)).collect();
        let (delay, alike) = alignment(&said, &pair.heard, 3_000);
        let stats = pair.right.stats();
        // Opus keeps what is heard rather than the waveform.
        let least = if codec == Codec::Opus { 0.85 } else { 0.97 };
        assert!(alike > least, "{codec:?}: {alike} at {delay}");
        // 20 ms of packet, 5 of path, up to 10 until the next pull, and the filters.
        assert!(delay <= 45 * 48, "{codec:?}: {} ms", delay / 48);
        assert_eq!(
            (stats.concealed_millis, stats.accelerated_millis, stats.expanded_millis, stats.packets_late),
            (0, 0, 0, 0),
            "{codec:?}"
        );
        assert!(stats.mos > 4.2, "{codec:?}: {}", stats.mos);
        assert_eq!(stats.packets_lost, 0);
    }
}

#[test]
fn a_stream_may_move_to_another_thread() {
    fn may_move<T: Send>() {}
    may_move::<Stream>();
}

#[test]
fn start_sends_a_packet_before_the_microphone_does() {
    let mut stream = stream(config(Codec::Pcmu), 3);
    stream.start(at(0)).unwrap();
    let Some(Outgoing::Rtp(first)) = stream.poll_transmit() else { panic!("no packet") };
    stream.capture(at(20), &[0; 960]).unwrap();
    stream.capture(at(40), &[0; 960]).unwrap();
    let Some(Outgoing::Rtp(second)) = stream.poll_transmit() else { panic!("no packet") };
    let (first, second) = (RtpPacket::parse(&first).unwrap(), RtpPacket::parse(&second).unwrap());
    assert!(first.marker && !second.marker);
    assert_eq!(first.payload, [0xff; 160]);
    assert_eq!(second.sequence, first.sequence.wrapping_add(1));
    assert_eq!(second.timestamp, first.timestamp.wrapping_add(160));
}

#[test]
fn keys_are_heard_once_each_and_the_voice_goes_on() {
    let mut pair = Pair::new(config(Codec::Pcma), config(Codec::Pcma));
    pair.run(500);
    "12#".chars().for_each(|digit| pair.left.send_dtmf(digit, 100).unwrap());
    pair.run(2_000);
    let digits: String = pair
        .events()
        .iter()
        .filter_map(|event| match event {
            StreamEvent::Dtmf { digit } => Some(*digit),
            StreamEvent::MediaStarted { .. }
            | StreamEvent::SourceChanged { .. }
            | StreamEvent::CodecChanged { .. }
            | StreamEvent::Goodbye => None,
        })
        .collect();
    assert_eq!(digits, "12#");
    assert!(!pair.left.is_sending_dtmf());
    let stats = pair.right.stats();
    assert_eq!(stats.concealed_millis, 0, "a key is no loss");
    assert!(pair.heard[pair.heard.len() - 4_800..].iter().any(|sample| sample.unsigned_abs() > 2_000));
}

#[test]
fn keys_go_as_sound_where_events_were_not_negotiated() {
    let mut pair = Pair::new(StreamConfig { events: None, ..config(Codec::Pcmu) }, config(Codec::Pcmu));
    pair.left.send_dtmf('7', 200).unwrap();
    assert!(pair.left.send_dtmf('x', 200).is_err());
    for _ in 0..40 {
        pair.step(&[0; 480]);
    }
    assert!(pair.heard.iter().filter(|sample| sample.unsigned_abs() > 3_000).count() > 2_000);
    assert!(!pair.left.is_sending_dtmf());
}

#[test]
fn muted_and_held_streams_send_what_they_should() {
    for (send_when_muted, packets) in [(true, 10), (false, 0)] {
        let mut stream = stream(StreamConfig { send_when_muted, ..config(Codec::Pcmu) }, 5);
        stream.set_microphone(Microphone::Muted);
        (0..20).for_each(|n| stream.capture(at(n * 10), &[9_000; 480]).unwrap());
        let sent: Vec<Outgoing> = std::iter::from_fn(|| stream.poll_transmit()).collect();
        assert!(sent.len().abs_diff(packets) <= 1);
        for packet in sent {
            let Outgoing::Rtp(bytes) = packet else { panic!("no report is due") };
            assert!(RtpPacket::parse(&bytes).unwrap().payload.iter().all(|&byte| byte == 0xff));
        }
        stream.set_microphone(Microphone::Live);
        stream.set_direction(false, true);
        (0..20).for_each(|n| stream.capture(at(200 + n * 10), &[9_000; 480]).unwrap());
        assert_eq!(stream.poll_transmit(), None);
    }
}

#[test]
fn pauses_are_sent_as_noise_and_are_no_loss() {
    let quiet = StreamConfig { comfort_noise: Some(13), ..config(Codec::Pcmu) };
    let mut pair = Pair::new(quiet.clone(), quiet);
    pair.run(1_000);
    let hiss: Vec<i16> = (0..480).map(|n| (n * 7919 % 61 - 30) as i16).collect();
    for _ in 0..300 {
        pair.step(&hiss);
    }
    let sent = pair.left.stats().packets_sent;
    assert!(sent < 90, "{sent} packets for one second of speech and three of noise");
    pair.run(1_000);
    let stats = pair.right.stats();
    assert_eq!((stats.concealed_millis, stats.packets_lost), (0, 0));
    assert!(stats.noise_millis > 2_000, "{stats:?}");
}

#[test]
fn opus_pauses_by_itself_when_told_to() {
    let quiet =
        StreamConfig { opus: opus::Tuning { dtx: true, ..Default::default() }, ..config(Codec::Opus) };
    let mut pair = Pair::new(quiet.clone(), quiet);
    pair.run(1_000);
    for _ in 0..300 {
        pair.step(&[0; 480]);
    }
    let sent = pair.left.stats().packets_sent;
    assert!(sent < 110, "{sent} packets");
    pair.run(1_000);
    let stats = pair.right.stats();
    assert_eq!((stats.packets_lost, stats.packets_late), (0, 0));
    assert!(stats.concealed_millis < 60, "{stats:?}");
}

#[test]
fn reports_tell_round_trip_and_loss_and_the_end() {
    let mut pair = Pair::new(config(Codec::Opus), config(Codec::Opus));
    pair.run(20_000);
    let stats = pair.left.stats();
    let trip = stats.round_trip_millis.unwrap();
    assert!((5.0..25.0).contains(&trip), "{trip}");
    assert_eq!(stats.peer_loss, Some(0.0));
    pair.left.finish(at(pair.now));
    assert_eq!(pair.left.poll_timeout(), None);
    pair.run(50);
    assert!(pair.events().contains(&StreamEvent::Goodbye));
}

#[test]
fn a_new_source_takes_over_and_a_stray_packet_does_not() {
    let mut pair = Pair::new(config(Codec::Pcmu), config(Codec::Pcmu));
    pair.run(500);
    pair.events();
    let stray = RtpPacket { ssrc: 0xbad, payload_type: 0, payload: &[0x10; 160], ..RtpPacket::default() };
    pair.right.handle_rtp(at(pair.now), &stray.to_bytes().unwrap()).unwrap();
    pair.run(500);
    assert_eq!(pair.events(), []);
    pair.left = stream(config(Codec::Pcmu), 77);
    pair.run(1_000);
    assert_eq!(pair.events(), [StreamEvent::SourceChanged { ssrc: pair.left.ssrc }]);
    assert!(pair.heard[pair.heard.len() - 4_800..].iter().any(|sample| sample.unsigned_abs() > 2_000));
}

#[test]
fn the_peer_may_change_among_the_negotiated_codecs() {
    let both = StreamConfig { receive: vec![(0, Codec::Pcmu), (111, Codec::Opus)], ..config(Codec::Opus) };
    let mut pair = Pair::new(config(Codec::Opus), both);
    pair.run(500);
    pair.left = stream(config(Codec::Pcmu), 9);
    pair.run(1_000);
    assert!(pair.events().contains(&StreamEvent::CodecChanged { codec: Codec::Pcmu }));
    assert_eq!(pair.right.stats().codec, Codec::Pcmu);
    assert!(pair.heard[pair.heard.len() - 4_800..].iter().any(|sample| sample.unsigned_abs() > 2_000));
}

#[test]
fn what_cannot_be_is_refused_and_what_is_foreign_is_left() {
    let refused = |config: StreamConfig| {
        Stream::new(Time::ZERO, config, Seeds::draw(&mut Entropy::from_number(1))).is_err()
    };
    assert!(refused(StreamConfig { ptime: 30, ..config(Codec::Opus) }));
    assert!(refused(StreamConfig { ptime: 0, ..config(Codec::Pcmu) }));
    assert!(refused(StreamConfig { device_rate: 0, ..config(Codec::Pcmu) }));
    assert!(refused(StreamConfig { payload_type: 200, ..config(Codec::Pcmu) }));
    let mut stream = stream(config(Codec::Pcmu), 1);
    assert!(stream.handle_rtp(at(0), b"SIP/2.0").is_err());
    let foreign = RtpPacket { payload_type: 96, payload: &[1], ..RtpPacket::default() };
    stream.handle_rtp(at(0), &foreign.to_bytes().unwrap()).unwrap();
    assert_eq!((stream.stats().packets_foreign, stream.poll_event()), (1, None));
}

#[test]
fn s13_any_bytes_are_taken_without_harm() {
    let mut entropy = Entropy::from_number(6);
    for codec in Codec::ALL {
        let mut stream = stream(config(codec), 8);
        let payload_type = stream.config().payload_type;
        for n in 0..3_000u64 {
            let mut payload = vec![0; entropy.below(200) as usize];
            entropy.fill(&mut payload);
            let packet = RtpPacket {
                payload_type: [payload_type, payload_type, 101, 13][entropy.below(4) as usize],
                sequence: (entropy.below(40) as u16).wrapping_add(n as u16),
                timestamp: (n as u32 * 160).wrapping_add(entropy.below(1_000)),
                ssrc: 5,
                payload: &payload,
                ..RtpPacket::default()
            };
            let _ = stream.handle_rtp(at(n * 5), &packet.to_bytes().unwrap());
            let _ = stream.handle_rtcp(at(n * 5), &payload);
            stream.playout(at(n * 5), &mut [0; 240]);
        }
    }
}
