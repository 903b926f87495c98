//! What a room's tick makes: datagrams, frames for the recorder, events. The driver empties it after each room.
//!
//! All memory is there from the start; what does not fit is dropped and counted.

use std::net::SocketAddr;
use std::ops::Range;

use crate::capture::Recording;
use crate::engine::event::Event;
use crate::engine::tick::OWED_MAX;
use crate::frame::{FRAME_SAMPLES_MAX, Rate};
use crate::id::{LegId, RecordingSlot, TrackNumber};
use crate::leg::{Dropped, Port};
use crate::rtp::packet::{HEADER_BYTES, Header};
use crate::srtp;
use crate::time::Tick;

/// Bytes set aside for each leg: two packets of the largest payload that fits an Ethernet frame. Long L16 packets
/// borrow from the others.
const BYTES_PER_LEG: usize = 3_072;

/// Events that one room's tick or one command can cause, for each leg.
const EVENTS_PER_LEG: usize = 10;

/// Datagrams that one room's tick can cause, for each leg: two packets of sound or a digit's, and a report.
const DATAGRAMS_PER_LEG: usize = 4;

/// Frames for recordings that one room's tick can cause, for each leg: of what it says, with the rest of that when it
/// leaves, and of what it is sent, with what it was owed.
const TAPPED_PER_LEG: usize = 3 + OWED_MAX as usize;

/// Room for one of our reports, as its writer sees it: one block and a short name.
const REPORT_BYTES_MAX: usize = 128;

/// Where a datagram goes and which of the outbox's bytes it is.
pub struct Outgoing {
    pub leg: LegId,
    /// The one of its sockets that the datagram leaves by.
    pub by: Port,
    pub to: SocketAddr,
    bytes: Range<usize>,
}

/// A tick of one track for the recorder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tapped<'a> {
    pub recording: RecordingSlot,
    pub track: TrackNumber,
    pub tick: Tick,
    pub rate: Rate,
    pub content: Content<'a>,
}

/// What a tick of a track is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Content<'a> {
    /// One tick at the track's rate.
    Sound(&'a [f32]),
    Quiet,
    Paused,
}

/// The same, as the outbox keeps it.
struct Kept {
    recording: Recording,
    track: TrackNumber,
    tick: Tick,
    content: KeptContent,
}

enum KeptContent {
    /// Where its samples begin.
    Sound(usize),
    Quiet,
    Paused,
}

pub struct Outbox {
    bytes: Box<[u8]>,
    used: usize,
    outgoing: Vec<Outgoing>,
    outgoing_max: usize,
    tapped: Vec<Kept>,
    /// One stretch of memory, of which no more is ever touched than there was sound at once.
    tapped_samples: Box<[f32]>,
    tapped_used: usize,
    pub(crate) events: Vec<Event>,
}

impl Outbox {
    /// Room for the tick of a room of `legs` legs.
    pub fn new(legs: usize) -> Outbox {
        let legs = legs.max(1);
        Outbox {
            bytes: vec![0; legs * BYTES_PER_LEG].into_boxed_slice(),
            used: 0,
            outgoing: Vec::with_capacity(legs * DATAGRAMS_PER_LEG),
            outgoing_max: legs * DATAGRAMS_PER_LEG,
            tapped: Vec::with_capacity(legs * TAPPED_PER_LEG + 1),
            tapped_samples: vec![0.0; (legs * TAPPED_PER_LEG + 1) * FRAME_SAMPLES_MAX].into_boxed_slice(),
            tapped_used: 0,
            events: Vec::with_capacity(legs * EVENTS_PER_LEG + 8),
        }
    }

    /// Adds an RTP packet, protected where there is a cipher. Returns the bytes it takes.
    pub(crate) fn send(
        &mut self,
        leg: LegId,
        to: SocketAddr,
        header: &Header,
        payload: &[u8],
        cipher: Option<&mut srtp::Sender>,
    ) -> Result<usize, Dropped> {
        let len = HEADER_BYTES + payload.len();
        let overhead = if cipher.is_some() { srtp::OVERHEAD_MAX } else { 0 };
        let bytes = self.bytes.get_mut(self.used..self.used + len + overhead);
        let Some(datagram) = bytes.filter(|_| self.outgoing.len() < self.outgoing_max) else {
            return Err(Dropped::OutboxFull);
        };
        let (head, body) = datagram.split_at_mut(HEADER_BYTES);
        header.write(head.try_into().expect("split at the header's length"));
        body[..payload.len()].copy_from_slice(payload);
        let len = match cipher {
            Some(cipher) => cipher.protect(datagram, len).map_err(Dropped::from)?,
            None => len,
        };
        self.push(leg, Port::Rtp, to, len);
        Ok(len)
    }

    /// Adds an RTCP datagram as `write` makes it, protected where there is a cipher. Returns the bytes it takes.
    pub(crate) fn send_rtcp(
        &mut self,
        leg: LegId,
        (by, to): (Port, SocketAddr),
        cipher: Option<&mut srtp::Sender>,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<usize, Dropped> {
        let bytes = self
            .bytes
            .get_mut(self.used..self.used + REPORT_BYTES_MAX + srtp::RTCP_OVERHEAD_MAX);
        let Some(datagram) = bytes.filter(|_| self.outgoing.len() < self.outgoing_max) else {
            return Err(Dropped::OutboxFull);
        };
        let len = write(&mut datagram[..REPORT_BYTES_MAX]).ok_or(Dropped::OutboxFull)?;
        let len = match cipher {
            Some(cipher) => cipher.protect_rtcp(datagram, len).map_err(Dropped::from)?,
            None => len,
        };
        self.push(leg, by, to, len);
        Ok(len)
    }

    fn push(&mut self, leg: LegId, by: Port, to: SocketAddr, len: usize) {
        let end = self.used + len;
        self.outgoing.push(Outgoing {
            leg,
            by,
            to,
            bytes: self.used..end,
        });
        self.used = end;
    }

    pub fn datagrams(&self) -> impl Iterator<Item = (&Outgoing, &[u8])> {
        self.outgoing
            .iter()
            .map(|outgoing| (outgoing, &self.bytes[outgoing.bytes.clone()]))
    }

    /// What recordings are to get, in order.
    pub fn tapped(&self) -> impl Iterator<Item = Tapped<'_>> {
        self.tapped.iter().map(|kept| {
            let Recording { slot, rate, .. } = kept.recording;
            Tapped {
                recording: slot,
                track: kept.track,
                tick: kept.tick,
                rate,
                content: match kept.content {
                    KeptContent::Sound(at) => {
                        Content::Sound(&self.tapped_samples[at..at + rate.samples_per_tick()])
                    }
                    KeptContent::Quiet => Content::Quiet,
                    KeptContent::Paused => Content::Paused,
                },
            }
        })
    }

    /// Adds a tick of a track: `fill` is given room for its samples, and returns false where it is silence.
    pub(crate) fn tap(
        &mut self,
        recording: Recording,
        track: TrackNumber,
        tick: Tick,
        fill: impl FnOnce(&mut [f32]) -> bool,
    ) {
        let at = self.tapped_used;
        let samples = &mut self.tapped_samples[at..at + recording.rate.samples_per_tick()];
        let content = match fill(samples) {
            true => {
                self.tapped_used += samples.len();
                KeptContent::Sound(at)
            }
            false => KeptContent::Quiet,
        };
        self.tapped.push(Kept {
            recording,
            track,
            tick,
            content,
        });
    }

    /// Adds a tick in which the recording is paused.
    pub(crate) fn tap_pause(&mut self, recording: Recording, tick: Tick) {
        self.tapped.push(Kept {
            recording,
            track: TrackNumber::MAIN,
            tick,
            content: KeptContent::Paused,
        });
    }

    /// Takes the events out, in order.
    pub fn events(&mut self) -> impl Iterator<Item = Event> + '_ {
        self.events.drain(..)
    }

    /// Forgets datagrams and recorded frames, once they are delivered.
    pub fn clear(&mut self) {
        self.used = 0;
        self.outgoing.clear();
        self.tapped.clear();
        self.tapped_used = 0;
    }
}
