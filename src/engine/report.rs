//! The last step of a room's tick: RTCP, of those legs that have something to tell.

use std::net::SocketAddr;

use crate::engine::EngineStats;
use crate::engine::outbox::Outbox;
use crate::id::LegId;
use crate::leg::{Leg, Port};
use crate::room::{Progress, Room};
use crate::rtp::ntp::WallClock;
use crate::rtp::rtcp;
use crate::time::Time;

/// Puts the reports that are due into the outbox, behind the tick's packets.
pub(super) fn report_all(
    room: &Room,
    legs: &mut [Option<Box<Leg>>],
    now: Time,
    wall_clock: WallClock,
    stats: &mut EngineStats,
    out: &mut Outbox,
) {
    for seat in room.seats.iter().filter(|seat| !seat.early) {
        let Some(leg) = legs[seat.leg.0 as usize].as_deref_mut() else {
            continue;
        };
        if leg.reports.is_due(now) && !leg.media.terms().formats.is_empty() {
            let leaves = leg.reports.leaves() && seat.progress == Progress::Leaving;
            tell(seat.leg, leg, leaves, now, wall_clock, stats, out);
        }
    }
}

fn tell(
    id: LegId,
    leg: &mut Leg,
    leaves: bool,
    now: Time,
    wall_clock: WallClock,
    stats: &mut EngineStats,
    out: &mut Outbox,
) {
    let is_due = leg.reports.take_report(now);
    let former_ssrc = leg.reports.take_former_ssrc();
    let Some(destination) = leg.rtcp_destination() else {
        return;
    };
    let ours = leg.timeline.ssrc();
    let byes = [former_ssrc, leaves.then_some(ours)];
    for ssrc in byes.into_iter().flatten() {
        send(id, leg, destination, stats, out, |datagram, leg| {
            rtcp::write_bye(datagram, ssrc, leg.reports.cname())
        });
    }
    if !is_due || leaves {
        return;
    }
    let ntp = wall_clock.at(now);
    let sender = match leg.timestamp_at(now) {
        Some(timestamp) => leg.reports.sender(ntp, timestamp),
        None => None,
    };
    let block = leg.reception_report(now);
    let blocks = block.as_slice();
    send(id, leg, destination, stats, out, |datagram, leg| match &sender {
        Some(sender) => rtcp::write_sender_report(datagram, ours, sender, blocks, leg.reports.cname()),
        None => rtcp::write_receiver_report(datagram, ours, blocks, leg.reports.cname()),
    });
    if sender.is_some() {
        leg.remote_report.may_quote(ntp);
    }
}

fn send(
    id: LegId,
    leg: &mut Leg,
    destination: (Port, SocketAddr),
    stats: &mut EngineStats,
    out: &mut Outbox,
    write: impl FnOnce(&mut [u8], &Leg) -> Option<usize>,
) {
    let mut ciphers = leg.media.ciphers.take();
    let cipher = ciphers.as_mut().map(|ciphers| &mut ciphers.sender);
    let sent = out.send_rtcp(id, destination, cipher, |datagram| write(datagram, leg));
    leg.media.ciphers = ciphers;
    match sent {
        Ok(_) => {
            leg.counts.rtcp_sent += 1;
            stats.rtcp_sent += 1;
            stats.packets_sent += 1;
        }
        Err(reason) => {
            let outcome = leg.note(Err(reason));
            stats.note(outcome);
        }
    }
}
