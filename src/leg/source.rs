//! Whose packets a leg hears, and where it sends.
//!
//! The signalled address comes first. Another address is latched only after a short probation: packets in a row
//! that look like one stream. Once latched, only the signalled address can take over, and that after probation too:
//! a single packet proves nothing, its source is easily forged. Everything else is a stranger until the switch signals
//! again. An encrypted leg follows its authentic packets wherever they come from.

use std::net::{IpAddr, SocketAddr};

/// Packets in sequence, of one SSRC, that a new address must show before it is believed.
const PROBATION_PACKETS: u8 = 5;

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
    candidate: Option<Candidate>,
    /// Of the newest authentic packet of an encrypted leg.
    newest: Option<(u32, u16)>,
    /// The switch has signalled again: another address may be latched in place of the one that is.
    reopened: bool,
    /// Send to where packets come from.
    symmetric: bool,
}

#[derive(Debug, Clone)]
struct Candidate {
    address: SocketAddr,
    ssrc: u32,
    sequence: u16,
    packets: u8,
}

impl Source {
    pub fn new(signalled: Option<SocketAddr>, symmetric: bool) -> Source {
        Source {
            signalled,
            latched: None,
            candidate: None,
            newest: None,
            reopened: false,
            symmetric,
        }
    }

    /// The switch has signalled the same address again: what is latched stays, until another address passes probation.
    pub fn reopen(&mut self) {
        self.reopened = self.latched != self.signalled;
    }

    /// Where packets are heard from, once some were believed.
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
    pub fn judge(&mut self, from: SocketAddr, ssrc: u32, sequence: u16) -> Verdict {
        if self.latched == Some(from) {
            return Verdict::Heard;
        }
        let is_signalled = self.signalled == Some(from);
        if is_signalled && self.latched.is_none() {
            self.latched = Some(from);
            self.candidate = None;
            return Verdict::Heard;
        }
        if self.latched.is_some() && !self.reopened && !is_signalled {
            return Verdict::Stranger;
        }
        let packets = match &self.candidate {
            Some(candidate)
                if candidate.address == from
                    && candidate.ssrc == ssrc
                    && candidate.sequence.wrapping_add(1) == sequence =>
            {
                candidate.packets + 1
            }
            _ => 1,
        };
        if packets >= PROBATION_PACKETS {
            self.latched = Some(from);
            self.reopened = false;
            self.candidate = None;
            return Verdict::Heard;
        }
        self.candidate = Some(Candidate {
            address: from,
            ssrc,
            sequence,
            packets,
        });
        Verdict::Probation
    }

    /// Takes note of where an authentic packet came from: the remote is where its newest one is.
    pub fn follow(&mut self, from: SocketAddr, ssrc: u32, sequence: u16) {
        let is_newest = self.newest.is_none_or(|(newest_ssrc, newest)| {
            newest_ssrc != ssrc || sequence.wrapping_sub(newest) as i16 > 0
        });
        if is_newest {
            self.newest = Some((ssrc, sequence));
            self.latched = Some(from);
            self.candidate = None;
            self.reopened = false;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::from(([192, 0, 2, 1], port)))
    }

    #[test]
    fn the_signalled_address_is_heard_at_once_and_keeps_strangers_out() {
        let mut source = Source::new(address(4000), true);
        assert_eq!(source.judge(address(4000).unwrap(), 1, 7), Verdict::Heard);
        for sequence in 0..50 {
            assert_eq!(
                source.judge(address(5000).unwrap(), 2, sequence),
                Verdict::Stranger
            );
        }
        assert_eq!(source.destination(), address(4000));
    }

    #[test]
    fn another_address_is_latched_after_probation_and_gets_our_packets() {
        let mut source = Source::new(address(4000), true);
        for sequence in 0..4 {
            assert_eq!(
                source.judge(address(5000).unwrap(), 2, sequence),
                Verdict::Probation
            );
            assert_eq!(source.destination(), address(4000));
        }
        assert_eq!(source.judge(address(5000).unwrap(), 2, 4), Verdict::Heard);
        assert_eq!(source.destination(), address(5000));
    }

    #[test]
    fn an_asymmetric_leg_hears_the_latched_address_and_sends_to_the_signalled_one() {
        let mut source = Source::new(address(4000), false);
        for sequence in 0..5 {
            source.judge(address(5000).unwrap(), 2, sequence);
        }
        assert_eq!(source.judge(address(5000).unwrap(), 2, 5), Verdict::Heard);
        assert_eq!(source.destination(), address(4000));
    }

    #[test]
    fn a_spray_of_random_packets_never_passes_probation() {
        let mut source = Source::new(address(4000), true);
        for packet in 0..1000_u32 {
            let verdict = source.judge(address(5000).unwrap(), packet, (packet * 17) as u16);
            assert_eq!(verdict, Verdict::Probation);
        }
    }

    #[test]
    fn the_signalled_address_takes_over_from_a_latched_one_and_not_the_other_way_round() {
        let mut source = Source::new(address(4000), true);
        for sequence in 0..5 {
            source.judge(address(5000).unwrap(), 2, sequence);
        }
        for sequence in 900..904 {
            assert_eq!(
                source.judge(address(4000).unwrap(), 9, sequence),
                Verdict::Probation
            );
            assert_eq!(source.destination(), address(5000), "one packet may be forged");
        }
        assert_eq!(source.judge(address(4000).unwrap(), 9, 904), Verdict::Heard);
        assert_eq!(source.judge(address(5000).unwrap(), 2, 5), Verdict::Stranger);
        assert_eq!(source.destination(), address(4000));
    }

    #[test]
    fn signalling_again_lets_a_moved_remote_pass_probation_and_keeps_the_latch_until_then() {
        let mut source = Source::new(address(4000), true);
        for sequence in 0..5 {
            source.judge(address(5000).unwrap(), 2, sequence);
        }
        assert_eq!(source.judge(address(6000).unwrap(), 2, 5), Verdict::Stranger);
        source.reopen();
        assert_eq!(source.judge(address(5000).unwrap(), 2, 6), Verdict::Heard);
        for sequence in 7..11 {
            assert_eq!(
                source.judge(address(6000).unwrap(), 2, sequence),
                Verdict::Probation
            );
        }
        assert_eq!(source.judge(address(6000).unwrap(), 2, 11), Verdict::Heard);
        assert_eq!(source.destination(), address(6000));
        assert_eq!(source.judge(address(5000).unwrap(), 2, 12), Verdict::Stranger);
    }

    #[test]
    fn an_authentic_packet_moves_the_leg_and_a_straggler_does_not_move_it_back() {
        let mut source = Source::new(address(4000), true);
        source.follow(address(4000).unwrap(), 7, 65_535);
        assert_eq!(source.destination(), address(4000));
        source.follow(address(5000).unwrap(), 7, 1);
        assert_eq!(source.destination(), address(5000));
        source.follow(address(4000).unwrap(), 7, 0);
        assert_eq!(source.destination(), address(5000));
        source.follow(address(6000).unwrap(), 8, 0);
        assert_eq!(source.destination(), address(6000));
    }

    #[test]
    fn a_held_address_is_sent_nothing() {
        let mut source = Source::new(None, true);
        for sequence in 0..20 {
            source.judge(address(5000).unwrap(), 2, sequence);
        }
        assert_eq!(source.destination(), None);
    }
}
