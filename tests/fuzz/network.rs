//! The promises of what comes from the network before it is sound: packets, reports, and their arrival.

use std::time::Duration;

use mixminus::codec::{Codec, Decoder, PAYLOAD_MS_MAX};
use mixminus::frame::{FRAME_SAMPLES_MAX, Rate};
use mixminus::jitter::{Content, DELAY_MAX, DELAY_MIN, PlayedKind, Playout, PlayoutConfig};
use mixminus::rtp::packet::{Extension, HEADER_BYTES, Header, Packet};
use mixminus::rtp::rtcp::{self, Blocks, ReportBlock, Rtcp};
use mixminus::time::{TICK, Time};

/// A datagram as RTP.
pub fn rtp(datagram: &[u8]) {
    if let Ok(packet) = Packet::parse(datagram) {
        check_packet(&packet, datagram);
    }
}

/// The data of a header extension (RFC 8285) whose profile the first two bytes choose, in a packet that is otherwise
/// sound; the third byte says by how many words its length lies.
pub fn header_extension(bytes: &[u8]) {
    let [p1, p0, lie, ref data @ ..] = *bytes else {
        return;
    };
    let profile = match p1 % 4 {
        0 | 1 => 0xBEDE,
        2 => 0x1000 | u16::from(p0 & 0x0F),
        _ => u16::from_be_bytes([p1, p0]),
    };
    let data = &data[..data.len().min(4 * 300)];
    let words = data.len() / 4;
    let said = match lie % 8 {
        0 => words.saturating_add(usize::from(lie / 8)),
        1 => words.saturating_sub(usize::from(lie / 8)),
        _ => words,
    };
    let mut datagram = vec![0x90, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    datagram.extend(profile.to_be_bytes());
    datagram.extend((said as u16).to_be_bytes());
    datagram.extend(data);
    match Packet::parse(&datagram) {
        Ok(packet) => {
            check_packet(&packet, &datagram);
            let extension = packet.extension.expect("it has one");
            assert_eq!((extension.profile, extension.data.len()), (profile, 4 * said));
        }
        Err(_) => assert!(4 * said > data.len(), "only a length beyond the end is refused"),
    }
}

/// Every byte belongs to one part of the packet, and the header says what we would write.
fn check_packet(packet: &Packet, datagram: &[u8]) {
    let extension_bytes = packet.extension.map_or(0, |extension| 4 + extension.data.len());
    let has_padding = datagram[0] & 0x20 != 0;
    let padding = if has_padding {
        usize::from(*datagram.last().expect("a packet is not empty"))
    } else {
        0
    };
    let before_payload = HEADER_BYTES + 4 * usize::from(packet.csrc_count) + extension_bytes;
    assert_eq!(before_payload + packet.payload.len() + padding, datagram.len());
    assert_eq!(
        packet.payload,
        &datagram[before_payload..datagram.len() - padding]
    );

    let header = Header {
        marker: packet.marker,
        payload_type: packet.payload_type,
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        ssrc: packet.ssrc,
    };
    let mut written = [0; HEADER_BYTES];
    header.write(&mut written);
    assert_eq!(written[1..], datagram[1..HEADER_BYTES]);
    if let Some(extension) = packet.extension {
        check_extension(&extension);
    }
}

fn check_extension(extension: &Extension) {
    let one_byte = extension.profile == 0xBEDE;
    let mut bytes = 0;
    for (id, value) in extension.elements() {
        assert!(id != 0, "padding is no element");
        assert!(
            !one_byte || (id <= 14 && (1..=16).contains(&value.len())),
            "RFC 8285, 4.2"
        );
        bytes += value.len() + if one_byte { 1 } else { 2 };
    }
    assert!(bytes <= extension.data.len(), "elements do not overlap");
}

/// A datagram as RTCP.
pub fn rtcp(datagram: &[u8]) {
    if let Ok(compound) = rtcp::validate(datagram) {
        let packets: Vec<Rtcp> = compound.collect();
        assert!(matches!(
            packets.first(),
            Some(Rtcp::SenderReport(_) | Rtcp::ReceiverReport(_))
        ));
        // Four bytes are the least a packet has.
        assert!(packets.len() <= datagram.len() / 4);
        packets
            .iter()
            .for_each(|packet| check_rtcp(packet, datagram.len()));
    }
}

fn check_rtcp(packet: &Rtcp, datagram_bytes: usize) {
    match packet {
        Rtcp::SenderReport(report) => check_blocks(report.blocks.clone(), report.ssrc),
        Rtcp::ReceiverReport(report) => check_blocks(report.blocks.clone(), report.ssrc),
        Rtcp::SourceDescription(items) => {
            let bytes: usize = items.clone().map(|item| 2 + item.text.len()).sum();
            assert!(bytes <= datagram_bytes, "items do not overlap");
            assert!(
                items.clone().all(|item| item.kind != 0),
                "the end of a list is no item"
            );
        }
        Rtcp::Bye(bye) => assert!(bye.sources().count() <= 31 && bye.reason.len() <= 255),
        Rtcp::Other { body, .. } => assert!(body.len() <= datagram_bytes),
    }
}

/// What was read from a report is read again from the same report written by us.
fn check_blocks(blocks: Blocks, ssrc: u32) {
    let blocks: Vec<ReportBlock> = blocks.collect();
    let mut datagram = [0; rtcp::DATAGRAM_BYTES_MAX];
    let written =
        rtcp::write_receiver_report(&mut datagram, ssrc, &blocks, b"party").expect("at most 31 blocks");
    let mut again = rtcp::validate(&datagram[..written]).expect("our own reports are valid");
    let Some(Rtcp::ReceiverReport(report)) = again.next() else {
        panic!("a report comes first")
    };
    assert_eq!(report.ssrc, ssrc);
    assert_eq!(report.blocks.collect::<Vec<_>>(), blocks);
}

/// Packets into a playout, and ticks out of it: a byte that chooses the codecs and one that chooses the greatest delay,
/// then for each packet how many milliseconds pass before it, which SSRC, how far sequence and timestamp go on, what it is
/// and how long.
pub fn playout(bytes: &[u8]) {
    let [codecs, max_delay, ref rest @ ..] = *bytes else {
        return;
    };
    const OFFERS: [&[Codec]; 4] = [
        &[Codec::Pcmu],
        &[Codec::Pcma, Codec::L16(Rate::Hz16000)],
        &[Codec::G722, Codec::Pcmu, Codec::L16(Rate::Hz48000)],
        &[Codec::Opus(Rate::Hz48000), Codec::Pcmu],
    ];
    let codecs = OFFERS[usize::from(codecs) % OFFERS.len()];
    let max_delay = Duration::from_millis(4 * u64::from(max_delay));
    let bound = max_delay.clamp(DELAY_MIN, DELAY_MAX);
    let mut decoders: Vec<Decoder> = codecs
        .iter()
        .map(|codec| Decoder::new(*codec).expect("the codec is one of ours"))
        .collect();
    let mut playout = Playout::new(PlayoutConfig {
        max_delay,
        ..PlayoutConfig::new(codecs)
    });
    let (mut now_us, mut due_us) = (0_u64, 20_000);
    let (mut sequence, mut timestamp) = (0_u16, 0_u32);
    let mut pull = |playout: &mut Playout, now_us| {
        let mut pcm = [f32::NAN; FRAME_SAMPLES_MAX];
        let played = playout.pull(Time::from_nanos(now_us * 1_000), &mut decoders, &mut pcm);
        let sound = &pcm[..played.rate.samples_per_tick()];
        assert!(
            sound
                .iter()
                .all(|sample| sample.is_finite() && sample.abs() <= 4.0)
        );
        let stats = playout.stats();
        assert!(stats.delay_ms.is_finite() && stats.jitter_ms.is_finite());
        assert!(stats.target_delay_ms <= bound.as_secs_f32() * 1_000.0);
        played.kind
    };
    let mut packets = 0;
    for op in rest.chunks_exact(8).take(1_000) {
        let [wait, source, s, t1, t0, kind, len, fill] = op.try_into().expect("chunks of eight");
        // Up to 256 ms, and now and then half a minute.
        now_us += match wait {
            255 => 30_000_000,
            _ => u64::from(wait) * 1_000,
        };
        for _ in 0..1_600 {
            if due_us > now_us {
                break;
            }
            pull(&mut playout, due_us);
            due_us += TICK.as_micros() as u64;
        }
        due_us = due_us.max(now_us);
        sequence = match s {
            200.. => sequence.wrapping_add(u16::from(s) << 8 | u16::from(fill)),
            _ => sequence.wrapping_add(u16::from(s)).wrapping_sub(16),
        };
        timestamp = match t1 {
            192.. => timestamp.wrapping_add(u32::from_be_bytes([t1, t0, fill, len])),
            _ => timestamp.wrapping_add(u32::from(t1) << 8 | u32::from(t0)),
        };
        let content = match kind % 16 {
            0..12 => Content::Sound(kind / 16 % 4),
            12 | 13 => Content::ComfortNoise { clock_hz: 8_000 },
            _ => Content::Event {
                clock_hz: [8_000, 48_000][usize::from(kind / 16) % 2],
            },
        };
        let payload = vec![fill; usize::from(len) * 8];
        let arrival = Time::from_nanos(now_us * 1_000);
        let ssrc = u32::from(source % 4);
        let _ = playout.insert(arrival, content, ssrc, sequence, timestamp, &payload);
        packets += 1;
    }
    // What is in hand is heard within the greatest delay and the longest packet, then fades; what is left is noise at most.
    let heard_out = bound + Duration::from_millis(PAYLOAD_MS_MAX as u64 + 300);
    for left in (0..heard_out.as_millis() / TICK.as_millis()).rev() {
        let kind = pull(&mut playout, due_us);
        assert!(
            left > 0 || kind != PlayedKind::Voice,
            "nobody has spoken for {heard_out:?}"
        );
        due_us += TICK.as_micros() as u64;
    }
    playout.flush();
    let stats = playout.stats();
    let ended = stats.played_packets
        + stats.late
        + stats.duplicate
        + stats.overflow
        + stats.too_large
        + stats.unknown_format
        + stats.undecodable
        + stats.abandoned;
    assert_eq!(
        (stats.received_packets, ended),
        (packets, packets),
        "every packet has its end"
    );
}
