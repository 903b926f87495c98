//! From telephone-event packets to digits: exactly one for each press, whatever of it is lost, repeated or
//! overlapping (RFC 4733 §2.5.2).
//!
//! A press is reported by its first packet to arrive, be it a start, an update or an end. What makes this exact is to
//! know which packets belong to a press already reported, for which the last few are remembered.

use std::time::Duration;

use thiserror::Error;

use super::Digit;
use super::events::{BadEvent, EventPayload};
use crate::time::Time;

/// A packet of the payload type that was agreed for telephone-event.
#[derive(Debug, Clone, Copy)]
pub struct EventPacket<'a> {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: &'a [u8],
}

/// Why a packet says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refused {
    #[error(transparent)]
    Malformed(#[from] BadEvent),
    #[error("event {0} is no digit")]
    NotADigit(u8),
    #[error("more digits than a hand can press")]
    Flood,
}

/// The telephone-event side of one party's stream.
#[derive(Debug)]
pub struct EventReceiver {
    /// The presses seen last, in a ring.
    presses: [Option<Press>; PRESSES],
    next: usize,
    /// The one in `presses` that is or was under way.
    current: Option<usize>,
    /// Until then a key counts as down.
    pressed_until: Time,
    /// When as many digits as came would have come at the highest rate allowed.
    paid_until: Time,
}

/// Late packets are recognised for this many presses back.
const PRESSES: usize = 8;

/// A press of which nothing arrived for so long is over, its ends being lost.
const TIMEOUT: Duration = Duration::from_millis(200);

/// The sound goes on being silent for so long after a press: senders notice tones late and let go of them late.
const TAIL: Duration = Duration::from_millis(40);

/// A press is forgotten when nothing of it came for so long: a timestamp may come again.
const MEMORY: Duration = Duration::from_secs(10);

/// Digits in a row count until there were more than 20 in the last second, and more than one each 50 ms before.
const DIGIT_INTERVAL: Duration = Duration::from_millis(50);
const BURST: Duration = Duration::from_secs(1);

impl EventReceiver {
    pub fn new() -> EventReceiver {
        EventReceiver {
            presses: [None; PRESSES],
            next: 0,
            current: None,
            pressed_until: Time::ZERO,
            paid_until: Time::ZERO,
        }
    }

    /// A packet with the RTP clock of its payload type. Answers with the digit when it is the first of a press.
    pub fn receive(
        &mut self,
        now: Time,
        packet: &EventPacket,
        clock_hz: u32,
    ) -> Result<Option<Digit>, Refused> {
        let event = EventPayload::parse(packet.payload)?;
        let digit = Digit::from_event(event.event).ok_or(Refused::NotADigit(event.event))?;
        let report = Report {
            now,
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            digit,
            end: event.end,
            duration: u32::from(event.duration),
            clock_hz,
        };

        let known = |press: &Option<Press>| press.as_ref().is_some_and(|press| press.has(&report));
        if let Some(index) = self.presses.iter().position(known) {
            if let Some(press) = &mut self.presses[index] {
                let was_over = press.end.is_some();
                press.update(&report);
                if self.current == Some(index) && !was_over {
                    self.hold(&report);
                }
            }
            return Ok(None);
        }
        let goes_on = |press: &Option<Press>| press.as_ref().is_some_and(|press| press.goes_on_as(&report));
        let goes_on = self.presses.iter().any(goes_on);
        self.begin(&report);
        if goes_on {
            return Ok(None);
        }
        self.pay(now)?;
        Ok(Some(digit))
    }

    /// Whether what is heard now falls into a press, or into the moment after it. `playout_delay` is how long ago the
    /// sound that is heard now was received: packets of events do not wait for their turn as those of sound do.
    pub fn is_pressed(&self, now: Time, playout_delay: Duration) -> bool {
        now < self.pressed_until + playout_delay
    }

    fn begin(&mut self, report: &Report) {
        let index = self.next;
        self.next = (index + 1) % PRESSES;
        self.presses[index] = Some(Press::new(report));
        let current = self.current.filter(|current| *current != index);
        let current = current.and_then(|current| self.presses[current].as_mut());
        match current {
            // A straggler of an earlier press does not end the one that is under way.
            Some(current) if current.is_later_than(report) => return,
            Some(current) => current.next = Some(report.timestamp),
            None => {}
        }
        self.current = Some(index);
        self.hold(report);
    }

    fn hold(&mut self, report: &Report) {
        self.pressed_until = report.now + if report.end { TAIL } else { TIMEOUT };
    }

    fn pay(&mut self, now: Time) -> Result<(), Refused> {
        if self.paid_until.since(now) >= BURST {
            return Err(Refused::Flood);
        }
        self.paid_until = self.paid_until.max(now) + DIGIT_INTERVAL;
        Ok(())
    }
}

impl Default for EventReceiver {
    fn default() -> EventReceiver {
        EventReceiver::new()
    }
}

/// What one packet says.
struct Report {
    now: Time,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    digit: Digit,
    end: bool,
    duration: u32,
    clock_hz: u32,
}

impl Report {
    /// Milliseconds in units of the packet's clock.
    fn units(&self, ms: u32) -> u32 {
        u32::try_from(u64::from(self.clock_hz) * u64::from(ms) / 1_000).unwrap_or(u32::MAX)
    }

    /// How much later than a report of this duration one of the same press may begin.
    fn reach(&self, duration: u32) -> u32 {
        duration
            .saturating_add(self.units(SEAM_MS))
            .max(self.units(CLOSE_MS))
    }
}

/// A press, known by the timestamps it was reported under: one, as it should be; one for each 65,535 units of a
/// long one (RFC 4733 §2.5.1.3); or, from senders that mistake it for the time of the packet, one for each packet.
#[derive(Debug, Clone, Copy)]
struct Press {
    ssrc: u32,
    digit: Digit,
    first: u32,
    latest: u32,
    /// As reported under the latest timestamp.
    duration: u32,
    /// The latest sequence number under the latest timestamp.
    sequence: u16,
    /// The timestamp moves with each packet.
    moves: bool,
    /// Where the press after it began.
    next: Option<u32>,
    end: Option<End>,
    last_at: Time,
}

#[derive(Debug, Clone, Copy)]
struct End {
    timestamp: u32,
    duration: u32,
}

/// No two presses are as close, and no two packets of one event are farther apart: a report that begins so soon
/// after the last one ends goes on with it.
const SEAM_MS: u32 = 30;

/// No two presses of a key begin so close, the shortest tone and the shortest gap being 40 ms each: further
/// timestamps of one press, of its three ends for example, from senders whose timestamp moves.
const CLOSE_MS: u32 = 60;

/// The same where the timestamp is known to move: some packets of the press may be lost.
const MOVING_MS: u32 = 120;

/// A segment of a long press is as long as the field can say, or a few packets less.
const SEGMENT: u32 = 0xFFFF;
const SEGMENT_SLACK_MS: u32 = 60;

/// The reports before the seam of two segments may be lost for so long.
const SEGMENT_UNSEEN_MS: u32 = 300;

impl Press {
    fn new(report: &Report) -> Press {
        Press {
            ssrc: report.ssrc,
            digit: report.digit,
            first: report.timestamp,
            latest: report.timestamp,
            duration: report.duration,
            sequence: report.sequence,
            moves: false,
            next: None,
            end: report.end.then_some(End {
                timestamp: report.timestamp,
                duration: report.duration,
            }),
            last_at: report.now,
        }
    }

    /// Whether the report is one of this press.
    fn has(&self, report: &Report) -> bool {
        if self.ssrc != report.ssrc || self.digit != report.digit || self.age(report) > MEMORY {
            return false;
        }
        let after_first = ahead(report.timestamp, self.first);
        let after_latest = ahead(report.timestamp, self.latest);
        match (after_first, after_latest) {
            (Some(_), None | Some(0)) => true,
            (Some(_), Some(advance)) => match self.end {
                Some(end) => self.has_end(report, end),
                None => self.has_more(report, advance),
            },
            (None, _) => {
                let before = self.first.wrapping_sub(report.timestamp);
                before <= report.reach(report.duration) || is_segment(report, before)
            }
        }
    }

    /// A further end.
    fn has_end(&self, report: &Report, end: End) -> bool {
        let advance = report.timestamp.wrapping_sub(end.timestamp);
        report.end && advance <= report.units(CLOSE_MS)
    }

    /// The press goes on under a timestamp later by `advance`.
    fn has_more(&self, report: &Report, advance: u32) -> bool {
        let is_next_packet = report.sequence == self.sequence.wrapping_add(1) && !report.marker;
        let goes_on = advance <= report.reach(self.duration)
            || (self.moves && advance <= report.units(MOVING_MS))
            || is_next_packet;
        let is_next_segment = is_segment(report, advance)
            && advance.saturating_sub(self.duration) <= report.units(SEGMENT_UNSEEN_MS)
            && !report.marker;
        let is_before_next = self
            .next
            .is_none_or(|next| ahead(report.timestamp, next).is_none());
        is_before_next && ((goes_on && self.age(report) <= TIMEOUT) || is_next_segment)
    }

    /// Whether this press goes on in a report under another SSRC: the stream behind the party was changed, and the
    /// duration goes on from where it was.
    fn goes_on_as(&self, report: &Report) -> bool {
        let fits = match self.end {
            Some(end) => report.end && report.duration == end.duration,
            None => report.duration >= self.duration,
        };
        self.ssrc != report.ssrc
            && self.digit == report.digit
            && !report.marker
            && self.age(report) <= TIMEOUT
            && fits
    }

    fn update(&mut self, report: &Report) {
        self.last_at = report.now;
        match ahead(report.timestamp, self.latest) {
            Some(0) => self.duration = self.duration.max(report.duration),
            Some(advance) => {
                self.moves |= advance <= report.units(MOVING_MS);
                self.latest = report.timestamp;
                self.duration = report.duration;
                self.sequence = report.sequence;
            }
            None if ahead(report.timestamp, self.first).is_none() => {
                let before = self.first.wrapping_sub(report.timestamp);
                self.moves |= before <= report.units(MOVING_MS);
                self.first = report.timestamp;
            }
            None => {}
        }
        let is_newer = report.sequence.wrapping_sub(self.sequence) < 1 << 15;
        if is_newer && report.timestamp == self.latest {
            self.sequence = report.sequence;
        }
        if report.end {
            self.end.get_or_insert(End {
                timestamp: report.timestamp,
                duration: report.duration,
            });
        }
    }

    /// Whether the report is of something that began before this press, which still goes on.
    fn is_later_than(&self, report: &Report) -> bool {
        self.ssrc == report.ssrc
            && self.end.is_none()
            && self.age(report) <= TIMEOUT
            && ahead(report.timestamp, self.first).is_none()
    }

    fn age(&self, report: &Report) -> Duration {
        report.now.since(self.last_at)
    }
}

/// How far a timestamp is ahead of another; `None` when it is behind.
fn ahead(timestamp: u32, of: u32) -> Option<u32> {
    let distance = timestamp.wrapping_sub(of);
    (distance < 1 << 31).then_some(distance)
}

/// Whether two timestamps so far apart are those of neighbouring segments.
fn is_segment(report: &Report, distance: u32) -> bool {
    (SEGMENT.saturating_sub(report.units(SEGMENT_SLACK_MS))..=SEGMENT).contains(&distance)
}

#[cfg(test)]
mod tests;
