//! A datagram's way into a leg: decipher → parse → payload type → source → pace → playout, or digits. What fails on the
//! way has a name.

use std::net::SocketAddr;

use crate::dtmf::{EventPacket, Refused};
use crate::jitter::Content;
use crate::leg::source::Verdict;
use crate::leg::{Dropped, Leg};
use crate::rtp::ntp::WallClock;
use crate::rtp::packet::{Malformed, Packet, is_rtcp};
use crate::rtp::rtcp::{self, Rtcp};
use crate::srtp::{ProtectError, UnprotectError};
use crate::time::Time;

impl Leg {
    /// Takes one datagram from the RTP socket; RTCP may share it (RFC 5761).
    pub(crate) fn receive(
        &mut self,
        arrival: Time,
        from: SocketAddr,
        datagram: &mut [u8],
        wall_clock: WallClock,
    ) -> Result<(), Dropped> {
        if is_rtcp(datagram) {
            return self.receive_rtcp(arrival, from, datagram, wall_clock);
        }
        let outcome = self.hear_rtp(arrival, from, datagram);
        if let Err(reason) = outcome {
            self.remember_rejected(reason, from, datagram);
        }
        self.note(outcome)
    }

    /// Takes one datagram from the RTCP socket.
    pub(crate) fn receive_rtcp(
        &mut self,
        arrival: Time,
        from: SocketAddr,
        datagram: &mut [u8],
        wall_clock: WallClock,
    ) -> Result<(), Dropped> {
        let outcome = self.hear_rtcp(arrival, from, datagram, wall_clock);
        if let Err(reason) = outcome
            && !self.may_report(from)
        {
            self.watch.count_foreign(reason);
        }
        self.note(outcome)
    }

    /// Counts a datagram that was dropped, here or before it came here.
    pub(crate) fn note(&mut self, outcome: Result<(), Dropped>) -> Result<(), Dropped> {
        if let Err(reason) = outcome {
            self.counts.dropped[reason as usize] += 1;
        }
        outcome
    }

    fn hear_rtp(&mut self, arrival: Time, from: SocketAddr, datagram: &mut [u8]) -> Result<(), Dropped> {
        if self.media.terms().formats.is_empty() {
            return Err(Dropped::NothingAgreed);
        }
        if !self.media.terms().receives {
            return Err(Dropped::NotReceiving);
        }
        let len = match &mut self.media.ciphers {
            Some(ciphers) => ciphers.receiver.unprotect(datagram).map_err(Dropped::from)?,
            None => datagram.len(),
        };
        let datagram = &datagram[..len];
        let packet = Packet::parse(datagram).map_err(Dropped::from)?;
        let content = self
            .media
            .content_of(packet.payload_type)
            .ok_or(Dropped::UnknownPayloadType)?;
        // Before anything is learnt from it: where our own packets come from is nobody's address.
        if self.is_our_own(&packet) {
            return Err(Dropped::Looped);
        }
        if self.media.ciphers.is_some() {
            self.source.follow(from, packet.ssrc, packet.sequence);
        } else {
            match self.source.judge(arrival, from, packet.ssrc, packet.sequence) {
                Verdict::Heard => {}
                Verdict::Probation => return Err(Dropped::Probation),
                Verdict::Stranger => return Err(Dropped::UnknownSource),
            }
        }
        // Strangers are told apart before, and RTCP has a pace of its own, so that they use up nothing of it.
        if !self.pace.admits(arrival) {
            return Err(Dropped::TooFast);
        }
        if packet.ssrc == self.timeline.ssrc() {
            self.resolve_collision(arrival);
        }
        self.counts.packets_received += 1;
        self.counts.bytes_received += datagram.len() as u64;
        self.last_arrival = Some(arrival);
        // Playout counts what it does not take, now or later: `settle` fetches it.
        let _ = self.media.playout.insert(
            arrival,
            content,
            packet.ssrc,
            packet.sequence,
            packet.timestamp,
            packet.payload,
        );
        self.reception
            .note(packet.ssrc, packet.sequence, self.media.playout.ssrc());
        self.remote_report.hear_sound(arrival);
        match content {
            Content::Event { clock_hz } => self.hear_event(arrival, &packet, clock_hz),
            Content::Sound(_) | Content::ComfortNoise { .. } => Ok(()),
        }
    }

    fn hear_event(&mut self, arrival: Time, packet: &Packet, clock_hz: u32) -> Result<(), Dropped> {
        let event = EventPacket {
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: packet.payload,
        };
        self.digits
            .hear_event(arrival, &event, clock_hz)
            .map_err(|refused| match refused {
                Refused::Malformed(_) | Refused::NotADigit(_) => Dropped::BadEvent,
                Refused::Flood => Dropped::EventFlood,
            })
    }

    /// Whether RTCP from there can be the remote's.
    fn may_report(&self, from: SocketAddr) -> bool {
        let remote_rtcp = self.media.terms().remote_rtcp;
        self.source.knows_host(from.ip()) || remote_rtcp.is_some_and(|remote| remote.ip() == from.ip())
    }

    fn hear_rtcp(
        &mut self,
        arrival: Time,
        from: SocketAddr,
        datagram: &mut [u8],
        wall_clock: WallClock,
    ) -> Result<(), Dropped> {
        let len = match &mut self.media.ciphers {
            Some(ciphers) => ciphers.receiver.unprotect_rtcp(datagram).map_err(Dropped::from)?,
            None => datagram.len(),
        };
        let reports = rtcp::validate(&datagram[..len]).map_err(|_| Dropped::BadRtcp)?;
        if self.media.ciphers.is_none() && !self.may_report(from) {
            return Err(Dropped::UnknownSource);
        }
        if !self.rtcp_pace.admits(arrival) {
            return Err(Dropped::TooFast);
        }
        self.resolve_collision_of_reports(arrival, reports.clone())?;
        self.counts.rtcp_received += 1;
        for packet in reports.clone() {
            if let Rtcp::SenderReport(report) = packet {
                let last = report.sender.last_sender_report();
                self.reception.note_sender_report(arrival, report.ssrc, last);
            }
        }
        let ours = self.timeline.ssrc();
        self.remote_loss.hear(reports.clone(), ours);
        // A BYE ends nothing, whoever sends it: the control plane or silence ends a leg.
        let ntp = wall_clock.at(arrival);
        self.remote_report
            .hear(arrival, ntp, reports, ours, self.media.playout.ssrc());
        Ok(())
    }
}

impl From<Malformed> for Dropped {
    fn from(malformed: Malformed) -> Dropped {
        match malformed {
            Malformed::TooShort => Dropped::TooShort,
            Malformed::WrongVersion => Dropped::WrongVersion,
            Malformed::BadCsrc => Dropped::BadCsrc,
            Malformed::BadExtension => Dropped::BadExtension,
            Malformed::BadPadding => Dropped::BadPadding,
        }
    }
}

impl From<UnprotectError> for Dropped {
    fn from(error: UnprotectError) -> Dropped {
        match error {
            UnprotectError::Malformed => Dropped::BadSrtp,
            UnprotectError::BadTag => Dropped::BadTag,
            UnprotectError::Replayed => Dropped::Replayed,
            UnprotectError::Exhausted => Dropped::KeyExhausted,
        }
    }
}

impl From<ProtectError> for Dropped {
    fn from(error: ProtectError) -> Dropped {
        match error {
            ProtectError::Exhausted => Dropped::KeyExhausted,
            ProtectError::Malformed | ProtectError::NoRoom => Dropped::BadSrtp,
        }
    }
}
