//! Notices one-way audio and dead media by itself, tick by tick.
//!
//! Time is counted in ticks that the leg was given: while the machine stands still, or the leg is on its way between
//! two rooms, nobody was silent. What is noticed has begun or has ended, never both within a moment.

use std::net::SocketAddr;
use std::time::Duration;

use crate::leg::lately::{Lately, Rejected, Window};
use crate::leg::{Counts, Dropped, Leg};
use crate::rtp::rtcp::ReportBlock;
use crate::time::TICK;

/// So long nothing is heard before that is told: with the sound in hand it is told within two seconds.
const NOTICE_TICKS: u32 = 80;

/// A shorter gap is none: Opus sends a packet each 400 ms while it pauses.
const GAP_TICKS: u32 = 25;

/// So long there must be no gap before one-way audio has ended.
const RECOVERY_TICKS: u32 = 50;

/// A sender of RTCP that has announced a pause is believed to be there for so long after its last at least: its reports
/// come each 5 s or so (RFC 3550 §6.2), of some phones each 30 s.
const RTCP_TICKS: u32 = 500;

/// The same, while it is not known how often they come, and at most where media does not time out.
const RTCP_TICKS_MAX: u32 = 1_500;

/// So many of what was dropped lately make the reason: no fewer than a sender of the longest packets sends meanwhile.
const REASON_MIN: u32 = 8;

/// Of so many packets between two reports at least one comes through, where any do.
const UNHEARD_MIN: u64 = 50;

/// So many reports in a row leave our stream out before it counts as not received.
const REPORTS_MIN: u8 = 2;

/// A media timeout unless it is set.
pub const DEFAULT_MEDIA_TIMEOUT: Duration = Duration::from_secs(30);

/// Seen from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We do not hear the party.
    In,
    /// The party does not hear us.
    Out,
}

impl Direction {
    pub const ALL: [Direction; 2] = [Direction::In, Direction::Out];

    pub const fn name(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// One-way audio that has begun or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OneWay {
    pub direction: Direction,
    pub on: bool,
    /// A name of ours: of what most were dropped for lately, or `nothing_arrives`, `stopped`, `not_played`, `not_sent`,
    /// `not_received`.
    pub reason: &'static str,
}

/// What a tick has shown beside the counters.
#[derive(Debug, Clone, Copy)]
struct Sight {
    /// By what is agreed, the remote sends.
    receives: bool,
    /// By what is agreed, the remote takes what we send.
    sends: bool,
    has_destination: bool,
    /// Packets were believed to be the remote's.
    is_latched: bool,
    /// What the remote reported last of our stream, and how often it has.
    reported: Option<(u32, ReportBlock)>,
    /// Packets that were played so far.
    played: u64,
    is_paused: bool,
    timeout: Option<Duration>,
    level_dbfs: f32,
    says_something: bool,
    contributes: bool,
}

/// What was noticed in a tick.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub one_way: [Option<OneWay>; 2],
    pub media_timeout: bool,
}

/// How many ticks ago something happened last.
#[derive(Debug, Clone, Copy, Default)]
struct Ago(Option<u32>);

impl Ago {
    fn step(&mut self, happens: bool) {
        self.0 = match (happens, self.0) {
            (true, _) => Some(0),
            (false, ticks) => ticks.map(|ticks| ticks.saturating_add(1)),
        };
    }

    fn is_within(self, ticks: u32) -> bool {
        self.0.is_some_and(|ago| ago <= ticks)
    }

    fn duration(self) -> Option<Duration> {
        self.0.map(|ticks| TICK * ticks)
    }
}

/// One direction of the sound, and whether it was told to be missing.
#[derive(Debug, Clone, Copy, Default)]
struct Alarm {
    missing_ticks: u32,
    flowing_ticks: u32,
    told: Option<&'static str>,
}

impl Alarm {
    fn is_due(&self) -> bool {
        self.told.is_none() && self.missing_ticks + 1 >= NOTICE_TICKS
    }

    /// `flows` is `None` where nothing is to be expected.
    fn step(
        &mut self,
        flows: Option<bool>,
        reason: impl FnOnce() -> &'static str,
    ) -> Option<(bool, &'static str)> {
        self.missing_ticks = match flows {
            Some(false) => self.missing_ticks.saturating_add(1),
            Some(true) | None => 0,
        };
        self.flowing_ticks = match self.missing_ticks < GAP_TICKS {
            true => self.flowing_ticks.saturating_add(1),
            false => 0,
        };
        match self.told {
            None if self.missing_ticks >= NOTICE_TICKS => {
                let reason = reason();
                self.told = Some(reason);
                Some((true, reason))
            }
            Some(reason) if flows.is_none() || self.flowing_ticks >= RECOVERY_TICKS => {
                self.told = None;
                Some((false, reason))
            }
            _ => None,
        }
    }
}

/// What the remote's reports let conclude of what it hears.
#[derive(Debug, Clone, Copy, Default)]
struct Echo {
    /// How far the last block about our stream had come; `None`: there was none since the terms are as they are.
    highest: Option<u32>,
    /// Packets that we had sent when a report counted last.
    sent: u64,
    /// Reports without such a block since.
    misses: u8,
    /// None of what we sent between its reports has come.
    is_unheard: bool,
}

impl Echo {
    /// RTCP came in this tick; `block`: what it says of our stream.
    fn step(&mut self, block: Option<ReportBlock>, sent: u64) {
        // A second report within a moment says nothing new, nor does one while nothing is sent.
        let is_due = sent.saturating_sub(self.sent) >= UNHEARD_MIN;
        match (block, self.highest) {
            (Some(block), before) => {
                // Some write nothing but zeros into their blocks, which proves nothing.
                let stands = before == Some(block.highest_sequence) && block.highest_sequence > 0;
                if !stands || is_due {
                    self.is_unheard = stands;
                    self.sent = sent;
                }
                self.highest = Some(block.highest_sequence);
                self.misses = 0;
            }
            // RFC 3550 §6.4: a source of which nothing came between two reports has no block.
            (None, Some(_)) if is_due => {
                self.sent = sent;
                self.misses = self.misses.saturating_add(1);
                self.is_unheard |= self.misses >= REPORTS_MIN;
            }
            // Who never heard us does not report us, nor does who never reports anybody.
            (None, _) => {}
        }
    }
}

/// A leg's watch over itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    window: Window,
    /// The counters as of the last tick: RTP and RTCP received, packets played, sent, not taken by the socket.
    received: u64,
    rtcp: u64,
    played: u64,
    sent: u64,
    send_errors: u64,
    /// How many report blocks about our stream had come.
    blocks: u32,
    since_arrival: Ago,
    since_played: Ago,
    since_rtcp: Ago,
    since_reported: Ago,
    /// The longest time between two RTCP packets.
    rtcp_ticks_longest: Option<u32>,
    /// What was refused last of the remote's own host, and of others.
    rejected: Option<Rejected>,
    stranger: Option<Rejected>,
    since_rejected: Ago,
    since_stranger: Ago,
    /// How many in a row were refused of that other host.
    stranger_run: u32,
    /// Since the last tick.
    rejects: bool,
    rejects_stranger: bool,
    /// The socket has taken nothing since it refused a packet.
    send_fails: bool,
    echo: Echo,
    inbound: Alarm,
    outbound: Alarm,
    /// Ticks without RTP and RTCP while there should be some.
    dead_ticks: u32,
    is_timed_out: bool,
}

impl Watch {
    /// An RTP datagram of the remote's own host was refused.
    pub fn reject(&mut self, rejected: Rejected) {
        self.rejected = Some(rejected);
        self.rejects = true;
    }

    /// An RTP datagram of another host was refused.
    pub fn reject_stranger(&mut self, rejected: Rejected) {
        self.count_foreign(rejected.reason);
        let host = rejected.from.ip();
        let is_same = self.stranger.is_some_and(|before| before.from.ip() == host);
        self.stranger_run = if is_same {
            self.stranger_run.saturating_add(1)
        } else {
            1
        };
        self.stranger = Some(rejected);
        self.rejects_stranger = true;
    }

    /// A datagram of another host was refused, RTP or RTCP.
    pub fn count_foreign(&mut self, reason: Dropped) {
        self.window.count_foreign(reason);
    }

    /// The remote is expected from elsewhere: what was refused until now tells nothing of it.
    pub fn restart_source(&mut self) {
        (self.rejected, self.stranger) = (None, None);
        (self.since_rejected, self.since_stranger) = (Ago::default(), Ago::default());
        (self.rejects, self.rejects_stranger) = (false, false);
        self.stranger_run = 0;
    }

    /// Nothing at all has come from where the remote is expected, and all that comes is of one other host: a NAT, or an
    /// address in its SDP that is wrong. Whatever else strangers send says nothing of the remote.
    fn takes_strangers(&self, is_latched: bool) -> bool {
        !is_latched && self.rejected.is_none() && self.stranger_run >= REASON_MIN
    }

    /// Another bound of the time without media: what is over it already is told anew.
    pub fn restart_timeout(&mut self) {
        self.is_timed_out = false;
    }

    /// What the remote takes, where, or what it is sent, is another from now on: what it reported before that proves
    /// nothing any more.
    pub fn restart_echo(&mut self) {
        self.echo = Echo::default();
    }

    /// Whether the next tick goes by counters that must be up to date.
    pub fn needs_counters(&self) -> bool {
        self.window.ends_part() || self.inbound.is_due()
    }

    fn step(&mut self, counts: &Counts, sight: Sight) -> Noticed {
        self.window
            .step(counts, sight.level_dbfs, sight.says_something, sight.contributes);
        let arrives = changes(&mut self.received, counts.packets_received);
        let plays = changes(&mut self.played, sight.played);
        let reports = changes(&mut self.rtcp, counts.rtcp_received);
        self.since_arrival.step(arrives);
        self.since_played.step(plays);
        if reports && let Some(ago) = self.since_rtcp.0 {
            self.rtcp_ticks_longest = self.rtcp_ticks_longest.max(Some(ago.saturating_add(1)));
        }
        self.since_rtcp.step(reports);
        self.since_rejected.step(std::mem::take(&mut self.rejects));
        self.since_stranger
            .step(std::mem::take(&mut self.rejects_stranger));

        let hears = sight.receives.then_some(plays || self.is_pause_believed(sight));
        let mut inbound = self.inbound;
        let inbound_noticed = inbound.step(hears, || self.reason_inbound(counts, sight.is_latched));
        self.inbound = inbound;

        let refused = changes(&mut self.send_errors, counts.send_errors);
        let sends = changes(&mut self.sent, counts.packets_sent);
        self.send_fails = refused || self.send_fails && !sends;
        let blocks = sight.reported.map_or(0, |(blocks, _)| blocks);
        let is_reported = std::mem::replace(&mut self.blocks, blocks) != blocks;
        self.since_reported.step(is_reported);
        if reports {
            let block = sight.reported.filter(|_| is_reported).map(|(_, block)| block);
            self.echo.step(block, counts.packets_sent);
        }
        let is_sent = sight.has_destination && !self.send_fails;
        let is_heard = sight.sends.then_some(is_sent && !self.echo.is_unheard);
        let outbound_noticed = self.outbound.step(is_heard, || match is_sent {
            true => "not_received",
            false => "not_sent",
        });

        let told = |direction, noticed: Option<(bool, &'static str)>| {
            noticed.map(|(on, reason)| OneWay {
                direction,
                on,
                reason,
            })
        };
        Noticed {
            one_way: [
                told(Direction::In, inbound_noticed),
                told(Direction::Out, outbound_noticed),
            ],
            media_timeout: self.times_out(sight, arrives || reports),
        }
    }

    /// A sender that has announced a pause may send nothing for minutes. It is believed as long as its RTCP comes, if
    /// any ever came, and as nothing else of it is refused.
    fn is_pause_believed(&self, sight: Sight) -> bool {
        let is_alive =
            self.since_rtcp.0.is_none() || self.since_rtcp.is_within(self.rtcp_ticks(sight.timeout));
        sight.is_paused && is_alive && !self.since_rejected.is_within(GAP_TICKS)
    }

    /// How long the remote's RTCP may fail to come: a report may be lost, so twice the longest that it took so far.
    fn rtcp_ticks(&self, timeout: Option<Duration>) -> u32 {
        let ticks_of = |timeout: Duration| {
            (timeout.as_nanos() / TICK.as_nanos())
                .try_into()
                .unwrap_or(u32::MAX)
        };
        let max = timeout.map_or(RTCP_TICKS_MAX, ticks_of).max(RTCP_TICKS);
        match self.rtcp_ticks_longest {
            Some(longest) => longest.saturating_mul(2).clamp(RTCP_TICKS, max),
            None => RTCP_TICKS_MAX.min(max),
        }
    }

    /// The remote has been silent for longer than its RTCP may fail to come, if any ever came.
    fn is_overdue(&self, timeout: Option<Duration>) -> bool {
        let patience = match self.since_rtcp.0 {
            Some(_) => self.rtcp_ticks(timeout),
            None => 0,
        };
        self.dead_ticks > patience
    }

    fn reason_inbound(&self, counts: &Counts, is_latched: bool) -> &'static str {
        let mut lately = Lately::default();
        self.window
            .write(counts, self.takes_strangers(is_latched), &mut lately);
        match lately.most_dropped() {
            Some((reason, count)) if count >= REASON_MIN => reason.name(),
            _ if self.since_arrival.is_within(GAP_TICKS) => "not_played",
            _ if self.since_played.0.is_some() => "stopped",
            _ => "nothing_arrives",
        }
    }

    fn times_out(&mut self, sight: Sight, is_alive: bool) -> bool {
        if is_alive || !sight.receives {
            self.dead_ticks = 0;
            self.is_timed_out = false;
            return false;
        }
        self.dead_ticks = self.dead_ticks.saturating_add(1);
        let is_over = sight
            .timeout
            .is_some_and(|timeout| TICK * self.dead_ticks >= timeout);
        is_over && !std::mem::replace(&mut self.is_timed_out, true)
    }

    /// What was told to have begun ends with the leg's time in its room; if it goes on, the next room is told.
    pub fn end(&mut self) -> impl Iterator<Item = OneWay> {
        let told = [
            (Direction::In, self.inbound.told.take()),
            (Direction::Out, self.outbound.told.take()),
        ];
        told.into_iter().filter_map(|(direction, told)| {
            told.map(|reason| OneWay {
                direction,
                on: false,
                reason,
            })
        })
    }

    pub fn lately(&self, counts: &Counts, latched: Option<SocketAddr>) -> Lately {
        let own = (self.rejected, self.since_rejected.duration());
        let strangers = (self.stranger, self.since_stranger.duration());
        let takes_strangers = self.takes_strangers(latched.is_some());
        let ((rejected, since_rejected), (stranger, since_stranger)) = match takes_strangers {
            true => (strangers, (None, None)),
            false => (own, strangers),
        };
        let mut lately = Lately {
            since_arrival: self.since_arrival.duration(),
            since_played: self.since_played.duration(),
            since_rtcp: self.since_rtcp.duration(),
            since_reported: self.since_reported.duration(),
            silent_for: TICK * self.dead_ticks,
            rejected,
            since_rejected,
            stranger,
            since_stranger,
            latched,
            one_way_in: self.inbound.told,
            one_way_out: self.outbound.told,
            ..Lately::default()
        };
        self.window.write(counts, takes_strangers, &mut lately);
        lately
    }
}

/// Takes the counter's new value; whether it is another.
fn changes(before: &mut u64, now: u64) -> bool {
    std::mem::replace(before, now) != now
}

impl Leg {
    /// A tick of the watch, after the leg was heard and fed. `mixes_everybody`: its room does not ask who speaks.
    pub(crate) fn notice(&mut self, mixes_everybody: bool) -> Noticed {
        let terms = self.media.terms();
        let is_agreed = !terms.formats.is_empty();
        let level_dbfs = self.activity.level_dbfs();
        let sight = Sight {
            receives: is_agreed && terms.receives,
            sends: is_agreed && terms.sends && terms.remote.is_some(),
            has_destination: self.source.destination().is_some(),
            is_latched: self.source.latched().is_some(),
            reported: self.remote_report.last_block(),
            played: self.media.playout.stats().played_packets,
            is_paused: self.media.playout.is_paused(),
            timeout: self.settings.media_timeout,
            level_dbfs,
            says_something: self.activity.contributes() || mixes_everybody && level_dbfs > -127.0,
            contributes: self.contributing,
        };
        self.watch.step(&self.counts, sight)
    }

    /// The leg's last two seconds.
    pub(super) fn lately(&self) -> Lately {
        let mut lately = self.watch.lately(&self.counts, self.source.latched());
        lately.is_overdue = self.watch.is_overdue(self.settings.media_timeout);
        lately.is_paused = self.media.playout.is_paused();
        lately.is_collecting = self.digits.is_collecting();
        lately
    }

    /// Remembers an RTP datagram that was refused. It is as it came, or deciphered.
    pub(super) fn remember_rejected(&mut self, reason: Dropped, from: SocketAddr, datagram: &[u8]) {
        let rejected = Rejected {
            reason,
            from,
            payload_type: (datagram.len() >= 2).then(|| datagram[1] & 0x7f),
        };
        match self.source.knows_host(from.ip()) {
            true => self.watch.reject(rejected),
            false => self.watch.reject_stranger(rejected),
        }
    }
}
