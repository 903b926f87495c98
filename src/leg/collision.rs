//! The remote uses our own SSRC (RFC 3550 §8.2): either it sends us back what we sent, or chance gave both of us the
//! same number, and then we take another.

use std::time::Duration;

use crate::leg::{Dropped, Leg};
use crate::rtp::packet::Packet;
use crate::rtp::rtcp::{CNAME, Compound, Rtcp};
use crate::time::Time;

/// Of what we sent, so much is known again.
const REMEMBERED_PACKETS: u64 = 1_500;
const REMEMBERED_SECONDS: u32 = 30;

/// Whoever has our new SSRC within so short a time after a change has it from us.
const CHANGE_AGAIN: Duration = Duration::from_secs(60);

/// An SRTP key serves four sources (`srtp::SOURCES_MAX`); that chance strikes as often does not happen.
const CHANGES_MAX: u8 = 3;

/// What a leg remembers of collisions.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Collisions {
    changes: u8,
    last: Option<Time>,
}

impl Leg {
    /// Whether a packet is one of our own: at a place of our timeline where we were not long ago.
    pub(super) fn is_our_own(&self, packet: &Packet) -> bool {
        if packet.ssrc != self.timeline.ssrc() {
            return false;
        }
        let clock_hz = self
            .media
            .sent_format()
            .map_or(0, |format| format.encoding.codec.clock_hz());
        let packets_ago = self.timeline.sequence().wrapping_sub(packet.sequence);
        let units_ago = self.timeline.timestamp().wrapping_sub(packet.timestamp);
        packets_ago > 0
            && u64::from(packets_ago) <= self.counts.packets_sent.min(REMEMBERED_PACKETS)
            && units_ago <= clock_hz * REMEMBERED_SECONDS
    }

    /// The remote, whose packet it is beyond doubt, uses our SSRC: we leave it to them. Whoever takes the next one as well
    /// does so on purpose, and shares it with us: what we send we know again, so both can go on.
    pub(super) fn resolve_collision(&mut self, now: Time) {
        let is_again = self
            .collisions
            .last
            .is_some_and(|last| now.since(last) < CHANGE_AGAIN);
        if is_again || self.collisions.changes == CHANGES_MAX {
            return;
        }
        self.collisions.last = Some(now);
        self.collisions.changes += 1;
        let ssrc = self
            .reports
            .change_ssrc(self.timeline.ssrc(), self.reception.ssrc());
        self.timeline.change_ssrc(ssrc);
    }

    /// The same for reports, where it is the name that tells who sent them.
    pub(super) fn resolve_collision_of_reports(
        &mut self,
        now: Time,
        reports: Compound<'_>,
    ) -> Result<(), Dropped> {
        let ours = self.timeline.ssrc();
        let mut is_ours = false;
        let mut is_named_otherwise = false;
        for packet in reports {
            match packet {
                Rtcp::SenderReport(report) => is_ours |= report.ssrc == ours,
                Rtcp::ReceiverReport(report) => is_ours |= report.ssrc == ours,
                Rtcp::SourceDescription(items) => {
                    let mut names = items.filter(|item| item.ssrc == ours && item.kind == CNAME);
                    is_named_otherwise |= names.any(|name| name.text != self.reports.cname());
                }
                Rtcp::Bye(_) | Rtcp::Other { .. } => {}
            }
        }
        match (is_ours, is_named_otherwise) {
            (false, _) => {}
            (true, true) => self.resolve_collision(now),
            // Without a name there is nothing that speaks for another's.
            (true, false) => return Err(Dropped::Looped),
        }
        Ok(())
    }
}
