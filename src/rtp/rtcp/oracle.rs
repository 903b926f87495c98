//! `rtc-rtcp` reads what we write, and we what it writes.

use rtc_rtcp::goodbye::Goodbye;
use rtc_rtcp::receiver_report::ReceiverReport as TheirReceiverReport;
use rtc_rtcp::reception_report::ReceptionReport;
use rtc_rtcp::sender_report::SenderReport as TheirSenderReport;
use rtc_rtcp::source_description::{
    SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem,
};
use rtc_shared::marshal::Marshal;

use super::*;

fn block(random: &mut fastrand::Rng) -> (ReportBlock, ReceptionReport) {
    // Negative losses are none to them.
    let lost = random.i32(0..1 << 23);
    let ours = ReportBlock {
        ssrc: random.u32(..),
        fraction_lost: random.u8(..),
        cumulative_lost: lost,
        highest_sequence: random.u32(..),
        jitter: random.u32(..),
        last_sender_report: random.u32(..),
        delay_since_last_sender_report: random.u32(..),
    };
    let theirs = ReceptionReport {
        ssrc: ours.ssrc,
        fraction_lost: ours.fraction_lost,
        total_lost: lost as u32,
        last_sequence_number: ours.highest_sequence,
        jitter: ours.jitter,
        last_sender_report: ours.last_sender_report,
        delay: ours.delay_since_last_sender_report,
    };
    (ours, theirs)
}

fn named(ssrc: u32, cname: &[u8]) -> SourceDescription {
    SourceDescription {
        chunks: vec![SourceDescriptionChunk {
            source: ssrc,
            items: vec![SourceDescriptionItem {
                sdes_type: SdesType::SdesCname,
                text: cname.to_vec().into(),
            }],
        }],
    }
}

fn bytes(packet: &impl Marshal) -> Vec<u8> {
    packet.marshal().expect("a packet of theirs").to_vec()
}

#[test]
fn our_datagrams_are_those_that_the_oracle_writes_and_theirs_are_read() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let ssrc = random.u32(..);
        let cname: Vec<u8> = (0..random.usize(1..40)).map(|_| random.u8(b'a'..=b'z')).collect();
        let (blocks, reports): (Vec<_>, Vec<_>) =
            (0..random.usize(0..32)).map(|_| block(&mut random)).unzip();
        let sender = SenderInfo {
            ntp: random.u64(..),
            timestamp: random.u32(..),
            packets: random.u32(..),
            octets: random.u32(..),
        };
        let sender_report = TheirSenderReport {
            ssrc,
            ntp_time: sender.ntp,
            rtp_time: sender.timestamp,
            packet_count: sender.packets,
            octet_count: sender.octets,
            reports: reports.clone(),
            ..TheirSenderReport::default()
        };
        let receiver_report = TheirReceiverReport {
            ssrc,
            reports,
            ..TheirReceiverReport::default()
        };
        let empty = TheirReceiverReport {
            ssrc,
            ..TheirReceiverReport::default()
        };
        let goodbye = Goodbye {
            sources: vec![ssrc],
            ..Goodbye::default()
        };
        let name = bytes(&named(ssrc, &cname));
        let mut out = [0; DATAGRAM_BYTES_MAX];

        let len = write_sender_report(&mut out, ssrc, &sender, &blocks, &cname).unwrap();
        assert_eq!(
            out[..len],
            [bytes(&sender_report), name.clone()].concat(),
            "seed {seed}"
        );
        let len = write_receiver_report(&mut out, ssrc, &blocks, &cname).unwrap();
        assert_eq!(
            out[..len],
            [bytes(&receiver_report), name.clone()].concat(),
            "seed {seed}"
        );
        let len = write_bye(&mut out, ssrc, &cname).unwrap();
        let theirs = [bytes(&empty), name, bytes(&goodbye)].concat();
        assert_eq!(out[..len], theirs, "seed {seed}");

        let theirs = bytes(&sender_report);
        let Some(Rtcp::SenderReport(read)) = validate(&theirs).unwrap().next() else {
            panic!("seed {seed}");
        };
        assert_eq!((read.ssrc, read.sender), (ssrc, sender), "seed {seed}");
        assert_eq!(read.blocks.collect::<Vec<_>>(), blocks, "seed {seed}");
    }
}
