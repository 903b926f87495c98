//! What a leg tells its remote over RTCP: when a report is due, and what it says of our own stream.
//!
//! Reports come at random moments (RFC 3550 §6.2, §6.3.1), so those of many legs do not meet in one tick. Two parties
//! are all there ever are, so the interval is always the shortest that is allowed.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use crate::leg::{Identity, Leg, Port};
use crate::rtp::rtcp::{ReportBlock, SenderInfo};
use crate::time::Time;

/// Between two reports: half of five seconds to one and a half times as much.
const INTERVAL: Range<Duration> = Duration::from_millis(2_500)..Duration::from_millis(7_500);

/// Until the first.
const FIRST: Range<Duration> = Duration::from_millis(1_000)..Duration::from_millis(2_500);

/// 96 bits in base64 (RFC 7022 §4.2).
const CNAME_BYTES: usize = 16;

/// What we have sent as one source.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    packets: u32,
    /// Of payload.
    octets: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Reports {
    cname: [u8; CNAME_BYTES],
    chance: Chance,
    /// Nothing is to be told before; always past while something is that cannot wait.
    due: Time,
    /// When the next report is due; `None` before anything is agreed.
    next: Option<Time>,
    sent: Sent,
    /// Packets sent by the last report, and by the one before it.
    packets_told: [u32; 2],
    /// The source that we no longer are, which is to be told.
    former_ssrc: Option<u32>,
    leaves: bool,
    /// Whether the remote has ever heard of us: whoever was never there need not leave (§6.3.7).
    was_there: bool,
}

impl Reports {
    pub fn new(identity: Identity) -> Reports {
        let mut chance = Chance {
            state: u64::from(identity.ssrc) << 32 | u64::from(identity.timestamp),
        };
        chance.state = chance.draw() ^ u64::from(identity.sequence);
        Reports {
            cname: cname(&mut chance),
            chance,
            due: Time::ZERO,
            next: None,
            sent: Sent::default(),
            packets_told: [0; 2],
            former_ssrc: None,
            leaves: false,
            was_there: false,
        }
    }

    /// The one name for all that this leg ever sends (RFC 3550 §6.5.1).
    pub fn cname(&self) -> &[u8] {
        &self.cname
    }

    /// A packet of ours was sent.
    pub fn count(&mut self, payload_bytes: usize) {
        self.sent.packets = self.sent.packets.wrapping_add(1);
        self.sent.octets = self.sent.octets.wrapping_add(payload_bytes as u32);
        self.was_there = true;
    }

    /// Whether there is anything to tell.
    pub fn is_due(&self, now: Time) -> bool {
        now >= self.due
    }

    /// Whether it is time for a report, where media is agreed; then the next is some seconds away.
    pub fn take_report(&mut self, now: Time) -> bool {
        let next = match self.next {
            Some(next) => next,
            None => now + self.chance.within(FIRST),
        };
        let is_due = now >= next;
        let next = if is_due {
            now + self.chance.within(INTERVAL)
        } else {
            next
        };
        self.next = Some(next);
        if !self.leaves {
            self.due = next;
        }
        is_due
    }

    /// What a sender report says; `None` where nothing was sent in the last two intervals (RFC 3550 §6.4).
    pub fn sender(&mut self, ntp: u64, timestamp: u32) -> Option<SenderInfo> {
        let Sent { packets, octets } = self.sent;
        let is_sender = packets != self.packets_told[1];
        self.packets_told = [packets, self.packets_told[0]];
        self.was_there = true;
        is_sender.then_some(SenderInfo {
            ntp,
            timestamp,
            packets,
            octets,
        })
    }

    /// Another SSRC takes the place of `former`, which is to be told; neither that nor `heard`.
    pub fn change_ssrc(&mut self, former: u32, heard: Option<u32>) -> u32 {
        let ssrc = loop {
            let ssrc = self.chance.draw() as u32;
            if ssrc != former && Some(ssrc) != heard {
                break ssrc;
            }
        };
        if self.was_there {
            self.former_ssrc = Some(former);
            self.due = Time::ZERO;
        }
        self.sent = Sent::default();
        self.packets_told = [0; 2];
        ssrc
    }

    /// The source whose end is to be told now, once.
    pub fn take_former_ssrc(&mut self) -> Option<u32> {
        self.former_ssrc.take()
    }

    /// The leg ends with its next tick, and that is to be told.
    pub fn leave(&mut self) {
        if self.was_there {
            self.leaves = true;
            self.due = Time::ZERO;
        }
    }

    pub fn leaves(&self) -> bool {
        self.leaves
    }
}

impl Leg {
    /// The place of our timeline at `now`, where there is one: each tick's sound begins when the tick is due.
    pub(crate) fn timestamp_at(&self, now: Time) -> Option<u32> {
        let (tick, stream) = (self.next_tick?, self.media.stream.as_deref()?);
        let clock_hz = i64::from(stream.encoding().codec.clock_hz());
        let begun = i64::from(stream.begun_ms(tick)) * clock_hz / 1_000;
        let nanos = now.as_nanos() as i64 - tick.due(0).as_nanos() as i64;
        // Near the tick as `now` is, this holds for any clock.
        let since = nanos.saturating_mul(clock_hz).div_euclid(1_000_000_000);
        Some(self.timeline.timestamp().wrapping_add((begun + since) as u32))
    }

    /// By which socket RTCP leaves, and where to. Nothing goes to an address that is neither signalled nor latched, or
    /// beside one.
    pub(crate) fn rtcp_destination(&self) -> Option<(Port, SocketAddr)> {
        let terms = self.media.terms();
        let destination = self.source.destination()?;
        if terms.rtcp_mux {
            return Some((Port::Rtp, destination));
        }
        match terms.remote_rtcp {
            Some(signalled) if terms.remote == Some(destination) => Some((Port::Rtcp, signalled)),
            // Where RTP was found to come from elsewhere than was signalled, so does RTCP (RFC 3550 §11).
            _ => {
                let port = destination.port().checked_add(1)?;
                Some((Port::Rtcp, SocketAddr::new(destination.ip(), port)))
            }
        }
    }

    /// How the remote's stream is heard; `None` where nothing has come since the last report.
    pub(crate) fn reception_report(&mut self, now: Time) -> Option<ReportBlock> {
        let playout = &self.media.playout;
        let clock_khz = self.codec_received.map_or(0, |codec| codec.clock_hz() / 1_000);
        let jitter = playout.stats().jitter_ms * clock_khz as f32;
        self.reception.report(now, playout.ssrc(), jitter as u32)
    }
}

/// Numbers that nobody can tell from chance, of a leg's own: what is drawn is the same on every run with its identity.
#[derive(Debug, Clone)]
struct Chance {
    state: u64,
}

impl Chance {
    /// Splitmix64 (Steele, Lea and Flood, 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn within(&mut self, range: Range<Duration>) -> Duration {
        let width = (range.end - range.start).as_nanos() as u64;
        range.start + Duration::from_nanos(self.draw() % width)
    }
}

fn cname(chance: &mut Chance) -> [u8; CNAME_BYTES] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = u128::from(chance.draw()) << 64 | u128::from(chance.draw());
    std::array::from_fn(|_| {
        let digit = DIGITS[(bits & 63) as usize];
        bits >>= 6;
        digit
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn reports(seed: u32) -> Reports {
        Reports::new(Identity {
            ssrc: seed,
            sequence: 7,
            timestamp: 9,
        })
    }

    #[test]
    fn reports_are_five_seconds_apart_on_average_and_the_first_comes_early() {
        let mut sum = 0;
        for seed in 0..200 {
            let mut reports = reports(seed);
            let begun = Time::from_millis(77_000);
            let mut last = begun;
            for number in 0..50 {
                let mut now = last;
                while !reports.is_due(now) || !reports.take_report(now) {
                    now = now + Duration::from_millis(20);
                }
                let after = now.since(last).as_millis();
                match number {
                    0 => assert!((1_000..=2_520).contains(&after), "seed {seed}: {after}"),
                    _ => {
                        assert!((2_500..=7_520).contains(&after), "seed {seed}: {after}");
                        sum += after;
                    }
                }
                last = now;
            }
        }
        let mean = sum / (200 * 49);
        assert!((4_950..5_070).contains(&mean), "{mean} ms");
    }

    #[test]
    fn the_reports_of_a_thousand_legs_are_spread_over_the_seconds() {
        let mut in_tick = vec![0_u32; 2_000];
        for seed in 0..1_000 {
            let mut reports = reports(seed * 2);
            for (number, count) in in_tick.iter_mut().enumerate() {
                let now = Time::from_millis(20 * number as u64);
                *count += u32::from(reports.is_due(now) && reports.take_report(now));
            }
        }
        let most = in_tick.iter().max().copied().unwrap_or(0);
        assert!(most <= 30, "{most} reports in one tick");
    }

    #[test]
    fn no_two_legs_have_one_name_and_a_leg_keeps_its_own() {
        let names: HashSet<Vec<u8>> = (0..10_000).map(|seed| reports(seed).cname().to_vec()).collect();
        assert_eq!(names.len(), 10_000);
        let mut changed = reports(3);
        changed.count(160);
        assert_ne!(changed.change_ssrc(3, None), 3);
        assert_eq!(changed.cname(), reports(3).cname());
        assert_eq!(changed.take_former_ssrc(), Some(3));
        assert_eq!(changed.take_former_ssrc(), None);
    }

    #[test]
    fn whoever_has_sent_nothing_for_two_intervals_is_no_sender() {
        let mut reports = reports(1);
        assert!(reports.sender(0, 0).is_none());
        reports.count(160);
        reports.count(38);
        let sender = reports.sender(5, 6).unwrap();
        assert_eq!((sender.packets, sender.octets), (2, 198));
        assert!(reports.sender(0, 0).is_some(), "one interval without a packet");
        assert!(reports.sender(0, 0).is_none());
        reports.count(160);
        assert!(reports.sender(0, 0).is_some());
    }

    #[test]
    fn counts_wrap_and_go_on() {
        let mut reports = reports(1);
        reports.sent = Sent {
            packets: u32::MAX,
            octets: u32::MAX - 59,
        };
        reports.packets_told = [u32::MAX; 2];
        reports.count(160);
        let sender = reports.sender(0, 0).unwrap();
        assert_eq!((sender.packets, sender.octets), (0, 100));
    }
}
