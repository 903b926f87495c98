//! RTP and RTCP on the wire: what each datagram costs before and after its sound.

mod thread_time;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mixminus::rtp::packet::{HEADER_BYTES, Header, Packet};
use mixminus::rtp::rtcp;

use thread_time::ThreadTime;

const HEADER: Header = Header {
    marker: false,
    payload_type: 96,
    sequence: 7,
    timestamp: 160,
    ssrc: 0xDEAD_BEEF,
};

fn rtp(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("rtp");
    let mut plain = [0; HEADER_BYTES + 160];
    HEADER.write(plain.first_chunk_mut().expect("172 bytes begin with 12"));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| Packet::parse(black_box(&plain)))
    });

    // What a browser sends: the level of the voice and a transport-wide sequence number.
    let mut extended = plain[..HEADER_BYTES].to_vec();
    extended[0] |= 0x10;
    extended.extend_from_slice(&[0xBE, 0xDE, 0, 2, 0x10, 0x55, 0x21, 1, 2, 0, 0, 0]);
    extended.extend_from_slice(&[0; 80]);
    group.bench_function("parse_with_elements", |bencher| {
        bencher.iter(|| {
            let packet = Packet::parse(black_box(&extended)).ok()?;
            Some(
                packet
                    .extension?
                    .elements()
                    .map(|(id, value)| usize::from(id) + value.len())
                    .sum::<usize>(),
            )
        });
    });

    let mut out = [0; HEADER_BYTES];
    group.bench_function("write", |bencher| {
        bencher.iter(|| {
            black_box(HEADER).write(&mut out);
            black_box(out)
        });
    });
    group.finish();
}

fn rtcp(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("rtcp");
    let sender = rtcp::SenderInfo {
        ntp: 1 << 40,
        timestamp: 160,
        packets: 50,
        octets: 8_000,
    };
    let blocks = [rtcp::ReportBlock::default()];
    let mut out = [0; rtcp::DATAGRAM_BYTES_MAX];
    group.bench_function("write_sender_report", |bencher| {
        bencher
            .iter(|| rtcp::write_sender_report(&mut out, 1, black_box(&sender), &blocks, b"7f3a@mixminus"));
    });
    let bytes = rtcp::write_sender_report(&mut out, 1, &sender, &blocks, b"7f3a@mixminus")
        .expect("a report of one block fits");
    group.bench_function("validate", |bencher| {
        bencher.iter(|| rtcp::validate(black_box(&out[..bytes])))
    });
    group.finish();
}

criterion_group!(name = benches; config = thread_time::criterion(); targets = rtp, rtcp);
criterion_main!(benches);
