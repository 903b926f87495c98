//! One remote party: who it is on the wire, what it said, what it is to hear.
//!
//! A leg knows packets, never rooms. It carries everything it needs from room to room and from engine to engine:
//! moving it is moving one box.

mod change;
mod collision;
mod digits;
mod dropped;
mod lately;
mod media;
mod pace;
mod receive;
mod reception;
mod remote_loss;
mod remote_report;
mod report;
mod reports;
mod source;
mod timeline;
mod watch;

use std::time::Duration;

pub use change::{DigitSettings, Hold, InBand, LegChange};
pub(crate) use digits::{LegDigits, Told};
pub use dropped::Dropped;
pub use lately::{Lately, Rejected};
pub use media::{Companion, Format, LegMedia, MediaTerms};
pub use report::LegReport;
pub use source::Source;
pub use timeline::{Identity, Timeline};
pub(crate) use watch::Noticed;
pub use watch::{DEFAULT_MEDIA_TIMEOUT, Direction, OneWay};

use crate::capture::{Line, Tap};
use crate::codec::{Codec, Encoding};
use crate::dsp::{Activity, Limiter, Music, Resampler};
use crate::frame::Rate;
use crate::id::TrackNumber;
use crate::jitter::{Operation, PlayoutStats};
use crate::time::{Tick, Time};
use collision::Collisions;
use pace::Pace;
use reception::Reception;
use remote_loss::RemoteLoss;
use remote_report::RemoteReport;
use reports::Reports;
use watch::Watch;

/// Hard bound of a leg's playout delay unless it is set.
pub const DEFAULT_MAX_DELAY: Duration = Duration::from_millis(300);

/// What the control plane decides about a leg.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LegSettings {
    pub muted: bool,
    pub deaf: bool,
    pub hold: Option<Hold>,
    /// Factor on its voice before the mix.
    pub gain: f32,
    pub music_while_alone: Option<Music>,
    pub max_delay: Duration,
    pub digits: DigitSettings,
    /// So long there may be neither RTP nor RTCP where there should be; `None`: for ever.
    pub media_timeout: Option<Duration>,
    /// Any room begins with it; otherwise it waits until one that does has come.
    pub starts_room: bool,
}

impl Default for LegSettings {
    fn default() -> LegSettings {
        LegSettings {
            muted: false,
            deaf: false,
            hold: None,
            gain: 1.0,
            music_while_alone: None,
            max_delay: DEFAULT_MAX_DELAY,
            digits: DigitSettings::default(),
            media_timeout: Some(DEFAULT_MEDIA_TIMEOUT),
            starts_room: true,
        }
    }
}

/// Which of a leg's two sockets a datagram leaves by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Rtp,
    Rtcp,
}

pub struct Leg {
    pub(crate) settings: LegSettings,
    pub(crate) media: Box<LegMedia>,
    pub(crate) source: Source,
    /// Of what is heard: RTP, and RTCP, which on a plain leg anybody on the remote's host can send.
    pace: Pace,
    rtcp_pace: Pace,
    pub(crate) timeline: Timeline,
    pub(crate) counts: Counts,
    /// How much of the playout's counters is in `counts` already.
    settled: PlayoutStats,
    /// The voice on its way into the mix: from the codec's rate to the room's.
    pub(crate) inbound: Resampler,
    /// The last sample of that voice.
    pub(crate) inbound_last: f32,
    pub(crate) activity: Activity,
    pub(crate) digits: LegDigits,
    /// What the remote party loses of what we send.
    pub(crate) remote_loss: RemoteLoss,
    /// What it reports of our stream and of itself.
    pub(crate) remote_report: RemoteReport,
    /// What we report of its stream, and of our own.
    pub(crate) reception: Reception,
    pub(crate) reports: Reports,
    collisions: Collisions,
    pub(crate) watch: Watch,
    /// The limiter of the leg's own signal.
    pub(crate) limiter: Limiter,
    /// The codec of the sound played last.
    pub(crate) codec_received: Option<Codec>,
    pub(crate) last_arrival: Option<Time>,
    pub(crate) contributing: bool,
    /// It would contribute, but the room hears others, who are louder.
    pub(crate) crowded_out: bool,
    /// The tick that the leg's outbound sound goes on with; `None` before it was ever sent any.
    pub(crate) next_tick: Option<Tick>,
    /// What it adds to the mix, on its way to the track of this number.
    pub(crate) track: TrackNumber,
    pub(crate) track_line: Line,
    /// The recording of what it is sent.
    pub(crate) tap: Option<Tap>,
}

/// Counters of a leg, written by the media thread alone.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    /// Packets that the socket did not take.
    pub send_errors: u64,
    pub rtcp_received: u64,
    pub rtcp_sent: u64,
    pub packets_lost: u64,
    pub samples_concealed: u64,
    pub samples_accelerated: u64,
    pub samples_expanded: u64,
    pub samples_late: u64,
    pub samples_discarded: u64,
    /// How often sound was shortened or lengthened.
    pub stretches: u64,
    pub resyncs: u64,
    pub reclocked: u64,
    /// Ticks, by what was decided for them.
    pub operations: [u64; Operation::COUNT],
    pub delay_ms_max: f32,
    pub dropped: [u64; Dropped::COUNT],
}

/// A leg's delay: now, what its arrivals ask for, and the highest there was until the leg was last settled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LegDelay {
    pub now_ms: f32,
    pub target_ms: f32,
    pub max_ms: f32,
}

impl Leg {
    /// `track`: of what it says, in recordings of the rooms it comes to; of all legs there are, its alone.
    pub fn new(
        identity: Identity,
        track: TrackNumber,
        settings: LegSettings,
        media: Box<LegMedia>,
    ) -> Box<Leg> {
        let mut leg = Box::new(Leg {
            settings,
            source: Source::new(media.terms().remote, media.terms().symmetric),
            pace: Pace::of_rtp(),
            rtcp_pace: Pace::of_rtcp(),
            timeline: Timeline::new(identity),
            counts: Counts::default(),
            settled: PlayoutStats::default(),
            inbound: Resampler::new(Rate::Hz8000, Rate::Hz8000),
            inbound_last: 0.0,
            activity: Activity::new(),
            digits: LegDigits::new(settings.digits, media.hears_events()),
            remote_loss: RemoteLoss::default(),
            remote_report: RemoteReport::default(),
            reception: Reception::default(),
            reports: Reports::new(identity),
            collisions: Collisions::default(),
            watch: Watch::default(),
            limiter: Limiter::new(),
            codec_received: None,
            last_arrival: None,
            contributing: false,
            crowded_out: false,
            next_tick: None,
            track,
            track_line: Line::new(),
            tap: None,
            media,
        });
        leg.media.playout.set_max_delay(settings.max_delay);
        leg
    }

    pub(crate) fn change(&mut self, change: LegChange) {
        match change {
            LegChange::Muted(muted) => self.settings.muted = muted,
            LegChange::Deaf(deaf) => self.settings.deaf = deaf,
            LegChange::Hold(hold) => self.settings.hold = hold,
            LegChange::Gain(gain) => self.settings.gain = gain,
            LegChange::MusicWhileAlone(music) => self.settings.music_while_alone = music,
            LegChange::MaxDelayMs(millis) => {
                self.settings.max_delay = Duration::from_millis(u64::from(millis));
                self.media.playout.set_max_delay(self.settings.max_delay);
            }
            LegChange::Digits(digits) => {
                self.settings.digits = digits;
                self.digits.set(digits, self.media.hears_events());
            }
            LegChange::MediaTimeout(timeout) => {
                self.settings.media_timeout = timeout;
                self.watch.restart_timeout();
            }
        }
    }

    /// Puts new media in force; `media` then holds what was before. Returns whether the outbound stream goes on.
    /// The leg must be settled.
    pub(crate) fn renegotiate(&mut self, media: &mut Box<LegMedia>) -> bool {
        let sent_before = self.media.sent_format().map(|format| format.encoding);
        let stream_continues = media.continue_from(&mut self.media);
        if !stream_continues
            && let (Some(before), Some(tick), Some(stream)) =
                (sent_before, self.next_tick, media.stream.as_deref_mut())
        {
            let clock = stream.follow(before, tick);
            if clock > 0 {
                self.timeline.pass(clock);
            }
        }
        let (before, after) = (self.media.terms(), media.terms());
        if !stream_continues || (before.sends, before.remote) != (after.sends, after.remote) {
            self.watch.restart_echo();
        }
        if media.terms().remote == self.media.terms().remote {
            self.source.reopen();
        } else {
            self.source = Source::new(media.terms().remote, media.terms().symmetric);
            self.watch.restart_source();
        }
        // What is no longer agreed on is no longer in use.
        self.codec_received = self.codec_received.filter(|codec| {
            media
                .terms()
                .formats
                .iter()
                .any(|format| format.encoding.codec == *codec)
        });
        std::mem::swap(&mut self.media, media);
        self.digits.set(self.settings.digits, self.media.hears_events());
        self.media.playout.set_max_delay(self.settings.max_delay);
        stream_continues
    }

    /// Fetches what the playout has counted since the last time; returns only that.
    pub(crate) fn settle(&mut self) -> Counts {
        let (now, before) = (*self.media.playout.stats(), self.settled);
        self.settled = now;
        let mut since = Counts {
            packets_lost: now.lost_packets - before.lost_packets,
            samples_concealed: now.concealed_samples - before.concealed_samples,
            samples_accelerated: now.accelerated_samples - before.accelerated_samples,
            samples_expanded: now.expanded_samples - before.expanded_samples,
            samples_late: now.late_samples - before.late_samples,
            samples_discarded: now.discarded_samples - before.discarded_samples,
            stretches: now.stretches - before.stretches,
            resyncs: now.resyncs - before.resyncs,
            reclocked: now.reclocked - before.reclocked,
            operations: std::array::from_fn(|n| now.operations[n] - before.operations[n]),
            delay_ms_max: now.delay_ms_max,
            ..Counts::default()
        };
        for (reason, packets) in [
            (
                Dropped::UnknownPayloadType,
                now.unknown_format - before.unknown_format,
            ),
            (Dropped::Duplicate, now.duplicate - before.duplicate),
            (Dropped::Late, now.late - before.late),
            (Dropped::Overflow, now.overflow - before.overflow),
            (Dropped::PayloadTooLarge, now.too_large - before.too_large),
            (Dropped::Undecodable, now.undecodable - before.undecodable),
            (Dropped::Abandoned, now.abandoned - before.abandoned),
        ] {
            since.dropped[reason as usize] = packets;
            self.counts.dropped[reason as usize] += packets;
        }
        self.counts.packets_lost += since.packets_lost;
        self.counts.samples_concealed += since.samples_concealed;
        self.counts.samples_accelerated += since.samples_accelerated;
        self.counts.samples_expanded += since.samples_expanded;
        self.counts.samples_late += since.samples_late;
        self.counts.samples_discarded += since.samples_discarded;
        self.counts.stretches += since.stretches;
        self.counts.resyncs += since.resyncs;
        self.counts.reclocked += since.reclocked;
        for (total, ticks) in self.counts.operations.iter_mut().zip(since.operations) {
            *total += ticks;
        }
        self.counts.delay_ms_max = self.counts.delay_ms_max.max(since.delay_ms_max);
        since
    }

    /// Whether the leg is to be sent digits now, and knows them only as tones.
    pub(crate) fn is_sent_tones(&self) -> bool {
        let clock_hz = self
            .media
            .sent_format()
            .map(|format| format.encoding.codec.clock_hz());
        !self.digits.sender.is_idle()
            && clock_hz.is_some_and(|clock_hz| self.media.events_sent_as(clock_hz).is_none())
    }

    /// What we send, as the remote party needs it now.
    pub(crate) fn sent_encoding(&self) -> Option<Encoding> {
        let format = self.media.sent_format()?;
        Some(match format.fec_bitrate_max {
            Some(bitrate_max) => format
                .encoding
                .against_loss(self.remote_loss.percent(), bitrate_max),
            None => format.encoding,
        })
    }

    /// The highest rate a codec in use on this leg needs: what it sends us now, and what we send it.
    pub(crate) fn rate_in_use(&self) -> Rate {
        let sent = self
            .media
            .sent_format()
            .map(|format| format.encoding.codec.rate());
        let received = self.codec_received.map(Codec::rate);
        sent.max(received).unwrap_or(Rate::Hz8000)
    }

    /// Whether the leg has both streams that its media came with: so it must be whenever it sits in no room.
    pub fn has_its_streams(&self) -> bool {
        let needed = self.media.sent_format().is_some();
        self.media.stream.is_some() == needed && self.media.seat.is_some() == needed
    }

    /// From the arrival of the fastest packets to when they are heard.
    pub(crate) fn delay(&self) -> LegDelay {
        let playout = self.media.playout.stats();
        LegDelay {
            now_ms: playout.delay_ms + self.digits.delay_ms() as f32,
            target_ms: playout.target_delay_ms,
            max_ms: self.counts.delay_ms_max,
        }
    }

    /// The leg's figures as of the last time they were asked for, or it left a room.
    pub fn report(&self) -> LegReport {
        let playout = self.media.playout.stats();
        let sent = self.media.sent_format();
        let clock_hz = sent.map(|format| format.encoding.codec.clock_hz());
        let delay = self.delay();
        LegReport {
            codec_received: self.codec_received,
            codec_sent: sent.map(|format| format.encoding.codec),
            remote: self.source.destination(),
            contributing: self.contributing,
            crowded_out: self.crowded_out,
            level_dbfs: self.activity.level_dbfs(),
            noise_floor_dbfs: self.activity.noise_floor_dbfs(),
            packets_received: self.counts.packets_received,
            bytes_received: self.counts.bytes_received,
            packets_sent: self.counts.packets_sent,
            bytes_sent: self.counts.bytes_sent,
            rtcp_received: self.counts.rtcp_received,
            rtcp_sent: self.counts.rtcp_sent,
            ssrc_received: self.media.playout.ssrc(),
            ssrc_sent: self.timeline.ssrc(),
            round_trip_ms: self.remote_report.round_trip_ms(),
            remote_loss_percent: self.remote_report.loss_percent(),
            remote_packets_lost: self.remote_report.packets_lost(),
            remote_jitter_ms: clock_hz.and_then(|clock_hz| self.remote_report.jitter_ms(clock_hz)),
            bye_received: self.remote_report.has_left(),
            packets_lost: self.counts.packets_lost,
            samples_concealed: self.counts.samples_concealed,
            samples_accelerated: self.counts.samples_accelerated,
            samples_expanded: self.counts.samples_expanded,
            samples_late: self.counts.samples_late,
            samples_discarded: self.counts.samples_discarded,
            resyncs: self.counts.resyncs,
            reclocked: self.counts.reclocked,
            delay_ms: delay.now_ms,
            delay_target_ms: delay.target_ms,
            delay_ms_max: delay.max_ms,
            jitter_ms: playout.jitter_ms,
            dropped: self.counts.dropped,
            last_arrival_nanos: self.last_arrival.map_or(0, Time::as_nanos),
            send_errors: self.counts.send_errors,
            lately: self.lately(),
        }
    }
}
