//! The media of one call: its sockets, its path and its stream.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_media::tone::{Generator, Tone};
use wakeline_media::{MediaError, Microphone, Outgoing, Seeds, Stream, StreamConfig, StreamEvent};
use wakeline_media_path::{Component, Incoming, Learning, MediaPath, PathOptions, SrtpError};
use wakeline_sdp::{Origin, Refusal, SdesKeys, SdpError, SessionDescription};
use wakeline_settings::Settings;
use wakeline_user_agent::{Encryption, MediaEvent, MuteDirection, Way};

use super::agreement::Agreement;
use super::conference::Seat;
use super::digits::Digits;
use super::policy::{self, Turn};
use super::ports::{Arrivals, Ports};
use super::quality::Quality;

/// How long a digit is pressed, in milliseconds; as long as INFO says.
const DIGIT: u32 = 160;

/// Why a description cannot be made or taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It does not agree with ours.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// It cannot be read.
    #[error("the session description cannot be read: {0}")]
    Unreadable(#[from] SdpError),
    /// Its keys cannot be used.
    #[error("the keys cannot be used: {0}")]
    Keys(#[from] SrtpError),
    /// No ports for media.
    #[error("no ports for media: {0}")]
    Ports(#[from] io::Error),
}

impl Failure {
    /// The status code that says so.
    pub(super) fn code(&self) -> u16 {
        match self {
            Failure::Refused(refusal) => refusal.code(),
            Failure::Unreadable(_) | Failure::Keys(_) => 488,
            Failure::Ports(_) => 500,
        }
    }
}

/// Whether media runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Run {
    /// Not negotiated, or audio is not granted.
    Still,
    /// Packets come and go.
    Running,
}

/// What has been heard of the far end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hearing {
    /// No audio yet; the last sign of life, or the begin.
    Waiting(Time),
    /// Audio came; the last sign of life.
    Flowing(Time),
    /// Silence lasted too long, and this has been told.
    TimedOut,
}

/// What the person has silenced.
#[derive(Clone, Copy, Default, Debug)]
struct Muted {
    microphone: bool,
    speaker: bool,
}

/// Whether we hold the far end. Our microphone is silent then, whatever direction the hold has: who is held must not
/// overhear what is said meanwhile.
#[derive(Clone, Copy, Default, Debug)]
struct Holding {
    /// As the descriptions in force say.
    agreed: bool,
    /// As our offer on its way says.
    offered: Option<bool>,
}

impl Holding {
    /// A hold counts from the wish on, its end from the agreement on.
    fn is_on(self) -> bool {
        self.agreed || self.offered == Some(true)
    }
}

/// What was told of an agreement: codec, protection, whether they hold us, telephone events.
type Told = (String, Encryption, bool, bool);

/// One call's media.
pub(super) struct Session {
    settings: Arc<Settings>,
    /// What the settings say of silence; asked at every turn, and a look into the settings is no small thing.
    media_limit: Option<Duration>,
    agreement: Agreement,
    ports: Option<Ports>,
    path: Option<MediaPath>,
    stream: Option<Stream>,
    run: Run,
    hearing: Hearing,
    ringback: Option<Generator>,
    muted: Muted,
    holding: Holding,
    /// Its place in the conference, if it is in it.
    seat: Option<Seat>,
    digits: Digits,
    told: Option<Told>,
    /// Packets sent and received by streams that an earlier agreement had, and sent by this one's.
    earlier: (u64, u64),
    sent: u64,
    began: Time,
}

impl Session {
    /// A call without media yet.
    pub(super) fn new(now: Time, settings: Arc<Settings>, entropy: &mut Entropy) -> Session {
        let origin = Origin::new(entropy.u64(), std::net::Ipv4Addr::UNSPECIFIED.into());
        Session {
            media_limit: settings.call().media_limit,
            settings,
            agreement: Agreement::new(SdesKeys::generate(entropy), origin),
            ports: None,
            path: None,
            stream: None,
            run: Run::Still,
            hearing: Hearing::Waiting(now),
            ringback: None,
            muted: Muted::default(),
            holding: Holding::default(),
            seat: None,
            digits: Digits::default(),
            told: None,
            earlier: (0, 0),
            sent: 0,
            began: now,
        }
    }

    // ---- descriptions ----------------------------------------------------------------------------------------

    /// Whether nothing has been described yet: the account may still be another than was thought.
    pub(super) fn is_blank(&self) -> bool {
        self.ports.is_none()
    }

    /// Takes the account's settings.
    pub(super) fn set_settings(&mut self, settings: Arc<Settings>) {
        self.media_limit = settings.call().media_limit;
        self.settings = settings;
    }

    /// Our offer.
    pub(super) fn offer(
        &mut self,
        now: Time,
        hold: bool,
        is_fresh: bool,
        way: &Way,
        entropy: &mut Entropy,
    ) -> Result<SessionDescription, Failure> {
        let place = self.place(now, is_fresh, way, entropy)?;
        let capabilities = policy::capabilities(&self.settings, Turn::Offering, hold, way, place);
        let offer = self.agreement.offer(capabilities)?;
        self.holding.offered = Some(hold);
        self.take_muting();
        Ok(offer)
    }

    /// Our answer to their offer.
    pub(super) fn answer(
        &mut self,
        now: Time,
        offer: &[u8],
        hold: bool,
        way: &Way,
        entropy: &mut Entropy,
    ) -> Result<SessionDescription, Failure> {
        let offer = SessionDescription::parse(offer)?;
        let place = self.place(now, false, way, entropy)?;
        let capabilities = policy::capabilities(&self.settings, Turn::Answering, hold, way, place);
        let described = self.agreement.answer(&offer, &capabilities)?;
        self.holding = Holding { agreed: hold, offered: None };
        self.take_muting();
        self.take_path(now, entropy)?;
        Ok(described)
    }

    /// Their answer to our offer.
    pub(super) fn conclude(
        &mut self,
        now: Time,
        answer: &[u8],
        entropy: &mut Entropy,
    ) -> Result<(), Failure> {
        let answer = SessionDescription::parse(answer)?;
        self.agreement.conclude(&answer)?;
        self.holding = Holding { agreed: self.holding.offered.unwrap_or(self.holding.agreed), offered: None };
        self.take_muting();
        self.take_path(now, entropy)
    }

    /// Our offer is void.
    pub(super) fn roll_back(&mut self, now: Time, entropy: &mut Entropy) {
        self.agreement.roll_back();
        self.holding.offered = None;
        self.take_muting();
        if let Err(error) = self.take_path(now, entropy) {
            tracing::error!(%error, "the former agreement cannot be restored");
        }
    }

    /// Where media comes in: at the address that the account or the signalling has. Sockets move when that has changed
    /// (fault F1), and stay on every other occasion, for the far end knows them.
    fn place(
        &mut self,
        now: Time,
        is_fresh: bool,
        way: &Way,
        entropy: &mut Entropy,
    ) -> Result<(IpAddr, u16), Failure> {
        let own = self.settings.network().local_ip.filter(|own| own.is_ipv6() == way.local.is_ipv6());
        let wanted = own.unwrap_or(way.local);
        if let Some(ports) = &self.ports {
            let (address, port) = ports.address();
            if is_fresh && address != wanted {
                self.ports = Some(Ports::open(wanted, Some(port), entropy)?);
            }
            if is_fresh && let Some(path) = &mut self.path {
                path.network_changed(now);
            }
        } else {
            self.ports = Some(Ports::open(wanted, policy::first_port(&self.settings), entropy)?);
            self.agreement.set_address(wanted);
        }
        Ok(self.ports.as_ref().map_or((wanted, 0), Ports::address))
    }

    /// Brings the path in line with the agreement. When that fails nothing flows: better silent than open (S3).
    fn take_path(&mut self, now: Time, entropy: &mut Entropy) -> Result<(), Failure> {
        let outcome = match (self.agreement.negotiated(), &mut self.path) {
            (None, path) => {
                *path = None;
                Ok(())
            }
            (Some(negotiated), Some(path)) => path.renegotiate(now, negotiated),
            (Some(negotiated), path @ None) => {
                let opening_packets = policy::opening_packets(&self.settings);
                let options = PathOptions { opening_packets, learning: Learning::SignalledAddress };
                MediaPath::new(now, negotiated, options, entropy.fork()).map(|fresh| *path = Some(fresh))
            }
        };
        outcome.map_err(|error| {
            self.path = None;
            Failure::Keys(error)
        })
    }

    /// What was agreed, when it is new. The protection told is the path's own: what packets really get (S3).
    pub(super) fn news(&mut self) -> Option<MediaEvent> {
        let (negotiated, path) = (self.agreement.negotiated()?, self.path.as_ref()?);
        let encryption = if path.is_encrypted() { Encryption::Srtp } else { Encryption::None };
        let told = (
            negotiated.codec.name().to_owned(),
            encryption,
            negotiated.held_by_peer(),
            negotiated.dtmf.is_some(),
        );
        if self.told.as_ref() == Some(&told) {
            return None;
        }
        self.told = Some(told.clone());
        let (codec, encryption, held_by_peer, telephone_events) = told;
        Some(MediaEvent::Agreed { codec, encryption, held_by_peer, telephone_events })
    }

    // ---- running ---------------------------------------------------------------------------------------------

    /// Media may run from now on. What came while it did not is thrown away.
    pub(super) fn start(&mut self, now: Time) {
        if self.run == Run::Still {
            self.run = Run::Running;
            self.discard();
            self.renew_patience(now);
            if let (Some(stream), Some(negotiated)) = (&mut self.stream, self.agreement.negotiated()) {
                // The old sound in the jitter buffer goes with it.
                stream.set_direction(negotiated.direction.sends(), false);
            }
        }
    }

    /// Media may not run any more.
    pub(super) fn pause(&mut self) {
        self.run = Run::Still;
    }

    /// Whether packets come and go.
    pub(super) fn is_running(&self) -> bool {
        self.run == Run::Running
    }

    /// Whether this call needs a sound device.
    pub(super) fn needs_sound(&self) -> bool {
        self.is_running() || self.ringback.is_some()
    }

    /// Plays the ring-back tone, or stops it.
    pub(super) fn set_ringback(&mut self, is_on: bool, rate: u32) {
        self.ringback = is_on.then(|| Generator::new(Tone::Ringback, rate));
    }

    /// Mutes or unmutes.
    pub(super) fn mute(&mut self, direction: MuteDirection, is_on: bool) {
        match direction {
            MuteDirection::Both => self.muted = Muted { microphone: is_on, speaker: is_on },
            MuteDirection::Microphone => self.muted.microphone = is_on,
            MuteDirection::Speaker => self.muted.speaker = is_on,
        }
        self.take_muting();
    }

    fn take_muting(&mut self) {
        if let Some(stream) = &mut self.stream {
            // In a conference we are muted before the others are added, and their voices pass our loudspeaker by.
            let is_alone = self.seat.is_none();
            stream.set_microphone(match (self.holding.is_on(), self.muted.microphone && is_alone) {
                (true, _) => Microphone::Silent,
                (false, true) => Microphone::Muted,
                (false, false) => Microphone::Live,
            });
            stream.set_speaker_gain(if self.muted.speaker && is_alone { 0.0 } else { 1.0 });
        }
    }

    /// Takes a place in the conference, or leaves it.
    pub(super) fn seat(&mut self, is_in: bool) {
        self.seat = is_in.then(|| self.seat.take().unwrap_or_default());
        self.take_muting();
    }

    /// Its place in the conference.
    pub(super) fn seated(&mut self) -> Option<&mut Seat> {
        self.seat.as_mut()
    }

    /// Queues digits.
    pub(super) fn press(&mut self, digits: &str) {
        self.digits.push(digits);
    }

    /// Brings the stream in line with the agreement and the device. A stream that can carry what was agreed goes on;
    /// another codec takes a new one, with a source of its own.
    pub(super) fn fit(
        &mut self,
        now: Time,
        device_rate: u32,
        entropy: &mut Entropy,
    ) -> Result<(), MediaError> {
        if self.ringback.is_some() {
            self.set_ringback(true, device_rate);
        }
        if self.run == Run::Still {
            return Ok(());
        }
        let Some(negotiated) = self.agreement.negotiated() else {
            self.retire(now);
            return Ok(());
        };
        let config = policy::stream_config(negotiated, &self.settings, device_rate);
        let (sends, receives) = (negotiated.direction.sends(), negotiated.direction.receives());
        let fits = self.stream.as_ref().is_some_and(|stream| carries(stream.config(), &config));
        if !fits {
            self.retire(now);
            self.stream = Some(Stream::new(now, config, Seeds::draw(entropy))?);
        }
        if let Some(stream) = &mut self.stream {
            stream.set_direction(sends, receives);
        }
        self.take_muting();
        Ok(())
    }

    /// Ends the stream, with RTCP's farewell.
    pub(super) fn retire(&mut self, now: Time) {
        let Some(mut stream) = self.stream.take() else { return };
        stream.finish(now);
        self.send(now, &mut stream);
        self.earlier = (self.earlier.0 + self.sent, self.earlier.1 + stream.stats().packets_received);
        self.sent = 0;
    }

    /// Takes what came for us since the last turn.
    pub(super) fn receive(&mut self, now: Time, arrivals: Arrivals) {
        let (Run::Running, Some(ports), Some(path), Some(stream)) =
            (self.run, &self.ports, &mut self.path, &mut self.stream)
        else {
            return;
        };
        let is_muxed = self.agreement.negotiated().is_some_and(|negotiated| negotiated.rtcp_mux);
        let mut is_alive = false;
        ports.receive(now, arrivals, is_muxed, |component, source, came, datagram| {
            let taken = match path.receive(now, component, source, datagram) {
                Ok(Incoming::Rtp(packet)) => stream.handle_rtp(came, &packet),
                Ok(Incoming::Rtcp(packet)) => stream.handle_rtcp(came, &packet),
                // Counted by the path.
                Err(_) => return,
            };
            is_alive = true;
            if let Err(error) = taken {
                tracing::debug!(%source, %error, "media packet");
            }
        });
        if is_alive {
            self.renew_patience(now);
        }
    }

    /// Throws away what came while nobody listened: after a pause or a stalled loop it would only be delay.
    pub(super) fn discard(&mut self) {
        if let Some(ports) = &self.ports {
            ports.receive(Time::ZERO, Arrivals::AsRead, false, |_, _, _, _| {});
        }
    }

    /// The far end's silence is counted from now.
    pub(super) fn renew_patience(&mut self, now: Time) {
        self.hearing = match self.hearing {
            Hearing::Waiting(_) | Hearing::TimedOut => Hearing::Waiting(now),
            Hearing::Flowing(_) => Hearing::Flowing(now),
        };
    }

    /// Takes the microphone's sound in and sends what is due.
    pub(super) fn capture(&mut self, now: Time, sound: &[i16], told: &mut Vec<MediaEvent>) {
        let Some(mut stream) = self.running_stream() else { return };
        if !stream.is_sending_dtmf()
            && let Some(digit) = self.digits.next(now)
            && let Err(error) = stream.send_dtmf(digit, DIGIT)
        {
            tracing::warn!(%error, "digit not sent");
        }
        let sound = match &mut self.seat {
            Some(seat) => seat.hear(sound, self.muted.microphone),
            None => sound,
        };
        if let Err(error) = stream.capture(now, sound) {
            told.push(MediaEvent::Failed(error.to_string()));
        }
        if stream.poll_timeout().is_some_and(|due| now >= due) {
            stream.handle_timeout(now);
        }
        self.send(now, &mut stream);
        self.stream = Some(stream);
        self.open_the_way(now);
    }

    /// The first packet must not wait for a frame to fill: silence goes ahead of the sound.
    pub(super) fn hurry(&mut self, now: Time) {
        if self.sent > 0 {
            return;
        }
        let Some(mut stream) = self.running_stream() else { return };
        if let Err(error) = stream.start(now) {
            tracing::warn!(%error, "first packet");
        }
        self.send(now, &mut stream);
        self.stream = Some(stream);
    }

    fn running_stream(&mut self) -> Option<Stream> {
        match self.run {
            Run::Still => None,
            Run::Running => self.stream.take(),
        }
    }

    fn send(&mut self, now: Time, stream: &mut Stream) {
        let (Some(path), Some(ports)) = (&mut self.path, &self.ports) else { return };
        while let Some(packet) = stream.poll_transmit() {
            let (component, sent) = match packet {
                Outgoing::Rtp(packet) => (Component::Rtp, path.send_rtp(now, &packet)),
                Outgoing::Rtcp(packet) => (Component::Rtcp, path.send_rtcp(&packet)),
            };
            // What the path keeps back it counts.
            if let Ok((destination, datagram)) = sent {
                self.sent += u64::from(component == Component::Rtp);
                ports.send(component_on_wire(component, &self.agreement), destination, &datagram);
            }
        }
    }

    /// Opening and keep-alive packets toward NATs.
    fn open_the_way(&mut self, now: Time) {
        let (Some(path), Some(ports)) = (&mut self.path, &self.ports) else { return };
        if now >= path.poll_timeout() {
            for (component, destination, datagram) in path.handle_timeout(now) {
                ports.send(component, destination, &datagram);
            }
        }
    }

    /// Fills `block` with what this call lets the person hear.
    pub(super) fn playout(&mut self, now: Time, block: &mut [i16]) {
        if let Some(ringback) = &mut self.ringback {
            ringback.play(block);
        } else if self.run == Run::Running
            && let Some(stream) = &mut self.stream
        {
            stream.playout(now, block);
            if let Some(seat) = &mut self.seat {
                seat.say(block);
                if self.muted.speaker {
                    block.fill(0);
                }
            }
        } else {
            block.fill(0);
        }
    }

    /// What the stream has to say, and the far end's silence.
    pub(super) fn observe(&mut self, now: Time, told: &mut Vec<MediaEvent>) {
        while let Some(event) = self.stream.as_mut().and_then(Stream::poll_event) {
            match event {
                StreamEvent::MediaStarted { .. } => {
                    if matches!(self.hearing, Hearing::Waiting(_)) {
                        (self.hearing, self.began) = (Hearing::Flowing(now), now);
                        told.push(MediaEvent::Flowing);
                    }
                }
                // A hook flash is `R` in the vocabulary above.
                StreamEvent::Dtmf { digit: '!' } => told.push(MediaEvent::Digit('R')),
                StreamEvent::Dtmf { digit } => told.push(MediaEvent::Digit(digit)),
                StreamEvent::SourceChanged { ssrc } => tracing::debug!(ssrc, "the far end's source changed"),
                StreamEvent::CodecChanged { codec } => {
                    tracing::debug!(codec = codec.name(), "the far end's codec changed")
                }
                // SIP ends calls.
                StreamEvent::Goodbye => {}
            }
        }
        if self.run == Run::Still {
            return;
        }
        if !self.agreement.negotiated().is_some_and(|negotiated| negotiated.direction.receives()) {
            // On hold nothing is to be heard.
            return self.renew_patience(now);
        }
        let (since, is_flowing) = match self.hearing {
            Hearing::Waiting(since) => (since, false),
            Hearing::Flowing(since) => (since, true),
            Hearing::TimedOut => return,
        };
        let has_lasted = |limit: Duration| now.since(since) >= limit;
        if policy::silence_limit(self.media_limit, is_flowing).is_some_and(has_lasted) {
            self.hearing = Hearing::TimedOut;
            told.push(MediaEvent::TimedOut);
        }
    }

    // ---- figures ---------------------------------------------------------------------------------------------

    /// How the call sounds, once it does.
    pub(super) fn quality(&self, now: Time) -> Option<Quality> {
        let stats = self.stream.as_ref()?.stats();
        let lost = stats.packets_lost.max(0) as f32;
        let percent =
            |part: f32, whole: f32| if whole > 0.0 { (100.0 * part / whole).min(100.0) } else { 0.0 };
        Some(Quality {
            call: None,
            loss_percent: percent(lost, lost + stats.packets_received as f32),
            jitter_ms: stats.jitter_millis,
            round_trip_ms: stats.round_trip_millis,
            delay_ms: stats.playout_delay_millis,
            concealed_percent: percent(
                stats.concealed_millis as f32,
                now.since(self.began).as_millis() as f32,
            ),
            mos: stats.mos,
            packets: (self.earlier.0 + self.sent, self.earlier.1 + stats.packets_received),
        })
    }

    /// Open sockets.
    pub(super) fn sockets(&self) -> usize {
        if self.ports.is_some() { 2 } else { 0 }
    }
}

/// RTCP leaves by RTP's socket when both share it, or the far end would see a port that nobody named.
fn component_on_wire(component: Component, agreement: &Agreement) -> Component {
    match component {
        Component::Rtcp if agreement.negotiated().is_some_and(|negotiated| negotiated.rtcp_mux) => {
            Component::Rtp
        }
        Component::Rtp | Component::Rtcp => component,
    }
}

/// Whether a stream that was made for `old` also carries `new`: what may come may become less, all else must stay.
fn carries(old: &StreamConfig, new: &StreamConfig) -> bool {
    new.receive.iter().all(|entry| old.receive.contains(entry))
        && StreamConfig { receive: old.receive.clone(), ..new.clone() } == *old
}
