//! Whose packets a leg hears, and where it sends.
//!
//! The signalled address comes first: it is heard from its first packet on. Any other must pass a probation before it is
//! heard: packets in a row that look like one stream, for as long as no single burst lasts. Whoever has shown as much is
//! latched for good. Only the signalled address can take over from there, and that after probation too: a single packet
//! proves nothing, its source is easily forged. Everything else is a stranger until the switch signals again, and that
//! opens the leg only until who was heard is heard on. An encrypted leg follows its authentic packets wherever they come
//! from.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::time::Time;

/// Packets in sequence, of one SSRC, that a new address must show before it is believed, and in no less than this time.
const PROBATION_PACKETS: u8 = 5;
const PROBATION_TIME: Duration = Duration::from_millis(60);

/// Addresses that can be on probation at once, so that no other keeps the remote's own from passing.
const CANDIDATES: usize = 4;

/// After the switch has signalled again: so many packets from where the remote was, a second of most, and it has not moved.
const STAYED_PACKETS: u8 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Heard,
    Probation,
    Stranger,
}

#[derive(Debug, Clone)]
pub struct Source {
    signalled: Option<SocketAddr>,
    latched: Option<SocketAddr>,
    /// Packets from there, up to as many as lock the leg to it.
    shown: u8,
    candidates: [Option<Candidate>; CANDIDATES],
    /// Of the newest authentic packet of an encrypted leg.
    newest: Option<(u32, u16)>,
    /// The switch has signalled again, and so many packets more will close the leg to other addresses.
    open_for: u8,
    /// Send to where packets come from.
    symmetric: bool,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
    packets: u8,
    first: Time,
    last: Time,
}

impl Source {
    pub fn new(signalled: Option<SocketAddr>, symmetric: bool) -> Source {
        Source {
            signalled,
            latched: None,
            shown: 0,
            candidates: [None; CANDIDATES],
            newest: None,
            open_for: 0,
            symmetric,
        }
    }

    /// The switch has signalled the same address again: another may be latched, unless who is latched goes on sending.
    pub fn reopen(&mut self) {
        if self.latched.is_some() && self.latched != self.signalled {
            self.open_for = STAYED_PACKETS;
        }
    }

    /// Where the remote was found to be.
    pub fn latched(&self) -> Option<SocketAddr> {
        self.latched
    }

    /// Whether packets of this host can be the remote's own.
    pub fn knows_host(&self, host: IpAddr) -> bool {
        [self.signalled, self.latched]
            .iter()
            .flatten()
            .any(|address| address.ip() == host)
    }

    /// Judges a packet whose payload type is one of ours.
    pub fn judge(&mut self, arrival: Time, from: SocketAddr, ssrc: u32, sequence: u16) -> Verdict {
        let is_signalled = self.signalled == Some(from);
        if self.latched == Some(from) || is_signalled && self.latched.is_none() {
            self.hear(from);
            return Verdict::Heard;
        }
        if self.is_locked() && self.open_for == 0 && !is_signalled {
            return Verdict::Stranger;
        }
        let candidate = Candidate::go_on(self.slot_of(from), arrival, from, ssrc, sequence);
        if candidate.packets >= PROBATION_PACKETS && arrival.since(candidate.first) >= PROBATION_TIME {
            self.latch(from);
            return Verdict::Heard;
        }
        Verdict::Probation
    }

    fn is_locked(&self) -> bool {
        self.shown >= PROBATION_PACKETS
    }

    fn hear(&mut self, from: SocketAddr) {
        self.latched = Some(from);
        if !self.is_locked() || self.open_for > 0 {
            // Whoever wants its place must pass between two of its packets: so only when there are no more.
            self.candidates = [None; CANDIDATES];
        }
        self.shown = self.shown.saturating_add(1);
        self.open_for = self.open_for.saturating_sub(1);
    }

    fn latch(&mut self, from: SocketAddr) {
        self.latched = Some(from);
        self.shown = PROBATION_PACKETS;
        self.candidates = [None; CANDIDATES];
        self.open_for = 0;
    }

    /// Where an address is on probation: its own place, a free one, or that of who has been silent longest.
    fn slot_of(&mut self, from: SocketAddr) -> &mut Option<Candidate> {
        let own = |slot: &Option<Candidate>| slot.is_some_and(|candidate| candidate.address == from);
        let index = self.candidates.iter().position(own).unwrap_or_else(|| {
            let age = |index: &usize| self.candidates[*index].map(|candidate| candidate.last);
            (0..CANDIDATES).min_by_key(age).unwrap_or(0)
        });
        &mut self.candidates[index]
    }

    /// Takes note of where an authentic packet came from: the remote is where its newest one is.
    pub fn follow(&mut self, from: SocketAddr, ssrc: u32, sequence: u16) {
        let is_newest = self.newest.is_none_or(|(newest_ssrc, newest)| {
            newest_ssrc != ssrc || sequence.wrapping_sub(newest) as i16 > 0
        });
        if is_newest {
            self.newest = Some((ssrc, sequence));
            self.latch(from);
        }
    }

    /// Where RTP goes: the signalled address, or the latched one where the leg is symmetric (RFC 4961).
    pub fn destination(&self) -> Option<SocketAddr> {
        match self.latched {
            // Nothing signalled means "do not send" (RFC 3264 §8.4), whoever may be sending to us.
            Some(latched) if self.symmetric && self.signalled.is_some() => Some(latched),
            _ => self.signalled,
        }
    }
}

impl Candidate {
    /// Enters a packet of the address into its slot.
    fn go_on(
        slot: &mut Option<Candidate>,
        arrival: Time,
        address: SocketAddr,
        ssrc: u32,
        sequence: u16,
    ) -> Candidate {
        let goes_on = slot.filter(|before| {
            before.address == address && before.ssrc == ssrc && before.sequence.wrapping_add(1) == sequence
        });
        let candidate = Candidate {
            address,
            ssrc,
            sequence,
            packets: goes_on.map_or(0, |before| before.packets).saturating_add(1),
            first: goes_on.map_or(arrival, |before| before.first),
            last: arrival,
        };
        *slot = Some(candidate);
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALLED: u16 = 4_000;
    const ELSEWHERE: u16 = 5_000;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    /// A source, and the time that goes by between its packets.
    struct Line {
        source: Source,
        now: Time,
    }

    impl Line {
        fn new() -> Line {
            Line {
                source: Source::new(Some(address(SIGNALLED)), true),
                now: Time::from_millis(1_000),
            }
        }

        fn judge(&mut self, port: u16, ssrc: u32, sequence: u16) -> Verdict {
            self.source.judge(self.now, address(port), ssrc, sequence)
        }

        /// One packet after 20 ms.
        fn packet(&mut self, port: u16, sequence: u16) -> Verdict {
            self.now = self.now + Duration::from_millis(20);
            self.judge(port, u32::from(port), sequence)
        }

        /// So many packets in a row; the verdict on the last.
        fn packets(&mut self, port: u16, count: u16) -> Verdict {
            let mut verdict = Verdict::Stranger;
            for sequence in 0..count {
                verdict = self.packet(port, 65_534_u16.wrapping_add(sequence));
            }
            verdict
        }

        fn latched_elsewhere() -> Line {
            let mut line = Line::new();
            assert_eq!(line.packets(ELSEWHERE, 5), Verdict::Heard);
            line
        }

        fn destination(&self) -> u16 {
            self.source.destination().map_or(0, |address| address.port())
        }
    }

    #[test]
    fn the_signalled_address_is_heard_at_once_and_keeps_strangers_out() {
        let mut line = Line::new();
        assert_eq!(line.packets(SIGNALLED, 1), Verdict::Heard);
        assert_eq!(line.packets(SIGNALLED, 4), Verdict::Heard);
        for sequence in 0..50 {
            assert_eq!(line.packet(ELSEWHERE, sequence), Verdict::Stranger);
        }
        assert_eq!(line.destination(), SIGNALLED);
    }

    #[test]
    fn one_packet_in_the_name_of_the_signalled_address_does_not_lock_out_the_true_one() {
        let mut line = Line::new();
        assert_eq!(line.packets(SIGNALLED, 1), Verdict::Heard);
        assert_eq!(line.packets(ELSEWHERE, 4), Verdict::Probation);
        assert_eq!(line.packet(ELSEWHERE, 2), Verdict::Heard);
        assert_eq!(line.destination(), ELSEWHERE);
    }

    #[test]
    fn nobody_takes_the_place_of_a_signalled_address_that_goes_on_sending() {
        let mut line = Line::new();
        for sequence in 0..4 {
            assert_eq!(line.packet(SIGNALLED, sequence), Verdict::Heard);
            for other in 0..20 {
                assert_eq!(
                    line.judge(ELSEWHERE, 2, sequence * 20 + other),
                    Verdict::Probation
                );
            }
        }
        assert_eq!(line.destination(), SIGNALLED);
    }

    #[test]
    fn another_address_is_latched_after_probation_and_gets_our_packets() {
        let mut line = Line::new();
        for sequence in 0..4 {
            assert_eq!(line.packet(ELSEWHERE, sequence), Verdict::Probation);
            assert_eq!(line.destination(), SIGNALLED);
        }
        assert_eq!(line.packet(ELSEWHERE, 4), Verdict::Heard);
        assert_eq!(line.destination(), ELSEWHERE);
    }

    #[test]
    fn a_burst_is_no_probation() {
        let mut line = Line::new();
        for sequence in 0..30 {
            assert_eq!(line.judge(ELSEWHERE, 2, sequence), Verdict::Probation);
        }
        assert_eq!(line.packet(ELSEWHERE, 0), Verdict::Probation);
    }

    #[test]
    fn an_asymmetric_leg_hears_the_latched_address_and_sends_to_the_signalled_one() {
        let mut line = Line::new();
        line.source = Source::new(Some(address(SIGNALLED)), false);
        assert_eq!(line.packets(ELSEWHERE, 6), Verdict::Heard);
        assert_eq!(line.destination(), SIGNALLED);
    }

    #[test]
    fn a_spray_of_random_packets_never_passes_probation_and_keeps_nobody_from_it() {
        let mut line = Line::new();
        for packet in 0..1_000_u32 {
            line.now = line.now + Duration::from_millis(20);
            let verdict = line.judge(ELSEWHERE, packet, (packet * 17) as u16);
            assert_eq!(verdict, Verdict::Probation);
        }
        for sequence in 0..5 {
            for stranger in 0..3 {
                line.judge(6_000 + stranger, 9, sequence * 31);
            }
            let expected = if sequence < 4 {
                Verdict::Probation
            } else {
                Verdict::Heard
            };
            assert_eq!(line.packet(7_000, sequence), expected);
        }
    }

    #[test]
    fn the_signalled_address_takes_over_from_a_latched_one_and_not_the_other_way_round() {
        let mut line = Line::latched_elsewhere();
        for sequence in 900..904 {
            assert_eq!(line.packet(SIGNALLED, sequence), Verdict::Probation);
            // Who was latched first may have been an attacker: it does not get in the way.
            assert_eq!(line.judge(ELSEWHERE, 2, sequence), Verdict::Heard);
            assert_eq!(line.destination(), ELSEWHERE, "one packet may be forged");
        }
        assert_eq!(line.packet(SIGNALLED, 904), Verdict::Heard);
        assert_eq!(line.packets(ELSEWHERE, 20), Verdict::Stranger);
        assert_eq!(line.destination(), SIGNALLED);
    }

    #[test]
    fn signalling_again_lets_a_moved_remote_pass_probation_and_keeps_the_latch_until_then() {
        let mut line = Line::latched_elsewhere();
        assert_eq!(line.packets(6_000, 9), Verdict::Stranger);
        line.source.reopen();
        assert_eq!(line.packet(ELSEWHERE, 6), Verdict::Heard);
        assert_eq!(line.packets(6_000, 4), Verdict::Probation);
        assert_eq!(line.packet(6_000, 2), Verdict::Heard);
        assert_eq!(line.destination(), 6_000);
        assert_eq!(line.packets(ELSEWHERE, 9), Verdict::Stranger);
    }

    #[test]
    fn signalling_again_opens_nothing_for_long_to_whoever_is_not_the_remote() {
        // Before anybody was heard there is nothing to open.
        let mut line = Line::new();
        line.source.reopen();
        assert_eq!(line.packets(SIGNALLED, 5), Verdict::Heard);
        assert_eq!(line.packets(ELSEWHERE, 9), Verdict::Stranger);
        // A remote that has not moved goes on sending, and the leg closes.
        let mut line = Line::latched_elsewhere();
        line.source.reopen();
        for sequence in 0..u16::from(STAYED_PACKETS) {
            assert_eq!(line.packet(ELSEWHERE, sequence), Verdict::Heard);
            assert_ne!(line.judge(6_000, 3, sequence), Verdict::Heard);
        }
        assert_eq!(line.packets(6_000, 20), Verdict::Stranger);
        assert_eq!(line.destination(), ELSEWHERE);
    }

    #[test]
    fn an_authentic_packet_moves_the_leg_and_a_straggler_does_not_move_it_back() {
        let mut source = Line::new().source;
        let mut follow = |port: u16, ssrc: u32, sequence: u16| {
            source.follow(address(port), ssrc, sequence);
            source.destination()
        };
        assert_eq!(follow(4_000, 7, 65_535), Some(address(4_000)));
        assert_eq!(follow(5_000, 7, 1), Some(address(5_000)));
        assert_eq!(follow(4_000, 7, 0), Some(address(5_000)));
        assert_eq!(follow(6_000, 8, 0), Some(address(6_000)));
    }

    #[test]
    fn a_held_address_is_sent_nothing() {
        let mut line = Line::new();
        line.source = Source::new(None, true);
        line.packets(ELSEWHERE, 20);
        assert_eq!(line.destination(), 0);
    }
}
