//! A datagram's way into a leg: parse → payload type → source → playout. What fails on the way has a name.

use std::net::SocketAddr;

use crate::leg::source::Verdict;
use crate::leg::{Dropped, Leg};
use crate::rtp::packet::{Malformed, Packet, is_rtcp};
use crate::rtp::rtcp;
use crate::time::Time;

impl Leg {
    /// Takes one datagram from the RTP socket; RTCP may share it (RFC 5761).
    pub(crate) fn receive(
        &mut self,
        arrival: Time,
        from: SocketAddr,
        datagram: &mut [u8],
    ) -> Result<(), Dropped> {
        let outcome = if is_rtcp(datagram) {
            self.hear_rtcp(from, datagram)
        } else {
            self.hear_rtp(arrival, from, datagram)
        };
        self.note(outcome)
    }

    /// Takes one datagram from the RTCP socket.
    pub(crate) fn receive_rtcp(&mut self, from: SocketAddr, datagram: &mut [u8]) -> Result<(), Dropped> {
        let outcome = self.hear_rtcp(from, datagram);
        self.note(outcome)
    }

    /// Counts a datagram that was dropped, here or before it came here.
    pub(crate) fn note(&mut self, outcome: Result<(), Dropped>) -> Result<(), Dropped> {
        if let Err(reason) = outcome {
            self.counts.dropped[reason as usize] += 1;
        }
        outcome
    }

    fn hear_rtp(&mut self, arrival: Time, from: SocketAddr, datagram: &[u8]) -> Result<(), Dropped> {
        let packet = Packet::parse(datagram).map_err(Dropped::from)?;
        if self.media.terms().formats.is_empty() {
            return Err(Dropped::NothingAgreed);
        }
        if !self.media.terms().receives {
            return Err(Dropped::NotReceiving);
        }
        let format = self
            .media
            .format_of(packet.payload_type)
            .ok_or(Dropped::UnknownPayloadType)?;
        match self.source.judge(from, packet.ssrc, packet.sequence) {
            Verdict::Heard => {}
            Verdict::Probation => return Err(Dropped::Probation),
            Verdict::Stranger => return Err(Dropped::UnknownSource),
        }
        self.counts.packets_received += 1;
        self.counts.bytes_received += datagram.len() as u64;
        self.last_arrival = Some(arrival);
        // Playout counts what it does not take, now or later: `settle` fetches it.
        let _ = self.media.playout.insert(
            arrival,
            format,
            packet.ssrc,
            packet.sequence,
            packet.timestamp,
            packet.payload,
        );
        Ok(())
    }

    fn hear_rtcp(&mut self, from: SocketAddr, datagram: &[u8]) -> Result<(), Dropped> {
        if rtcp::validate(datagram).is_err() {
            return Err(Dropped::BadRtcp);
        }
        let remote_rtcp = self.media.terms().remote_rtcp;
        if !self.source.knows_host(from.ip()) && remote_rtcp.is_none_or(|remote| remote.ip() != from.ip()) {
            return Err(Dropped::UnknownSource);
        }
        // A BYE ends nothing: it is not authenticated. The control plane or silence ends a leg.
        self.counts.rtcp_received += 1;
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
