//! SRTP: what encryption adds to a datagram of 20 ms of G.711, beside the crate `rtc-srtp` in the same minute.

mod thread_time;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use mixminus::srtp::{MasterKey, OVERHEAD_MAX, Receiver, Sender, Suite};
use rtc_srtp::context::Context;
use rtc_srtp::crypto;
use rtc_srtp::option::srtp_replay_protection;
use rtc_srtp::protection_profile::ProtectionProfile;

use thread_time::ThreadTime;

const PACKET_BYTES: usize = HEADER_BYTES + 160;
const ROOM_BYTES: usize = PACKET_BYTES + OVERHEAD_MAX;

/// So many packets are made before they are taken in turn: they fit into the first cache, where the socket puts them.
const AT_ONCE: BatchSize = BatchSize::NumIterations(100);

/// The packets of a stream, one after the other.
struct Stream {
    header: Header,
}

impl Stream {
    fn new() -> Stream {
        Stream {
            header: Header {
                marker: false,
                payload_type: 0,
                sequence: 0,
                timestamp: 0,
                ssrc: 0xDEAD_BEEF,
            },
        }
    }

    fn next(&mut self) -> [u8; ROOM_BYTES] {
        let mut packet = [0xD5; ROOM_BYTES];
        self.header
            .write(packet.first_chunk_mut().expect("188 bytes begin with 12"));
        self.header.sequence = self.header.sequence.wrapping_add(1);
        packet
    }
}

fn key(suite: Suite) -> MasterKey {
    let bytes: Vec<u8> = (0..suite.master_bytes() as u8).collect();
    MasterKey::new(suite, &bytes).expect("as long as it must be")
}

fn context(suite: Suite) -> Context {
    let profile = match suite {
        Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AesCm256HmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let key = key(suite);
    let (key, salt) = key.as_bytes().split_at(suite.key_bytes());
    let provider = crypto::default_provider().expect("built with ring");
    let replay = Some(srtp_replay_protection(128));
    Context::new(key, salt, profile, replay, None, provider.crypto()).expect("a profile it knows")
}

fn protect(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("protect");
    for suite in Suite::ALL {
        let mut sender = Sender::new(&key(suite));
        let mut stream = Stream::new();
        group.bench_function(suite.name(), |bencher| {
            bencher.iter_batched_ref(
                || stream.next(),
                |packet| sender.protect(black_box(packet), PACKET_BYTES),
                AT_ONCE,
            );
        });
        let mut context = context(suite);
        let mut stream = Stream::new();
        group.bench_function(format!("{}_rtc_srtp", suite.name()), |bencher| {
            bencher.iter_batched_ref(
                || stream.next(),
                |packet| context.encrypt_rtp(black_box(&packet[..PACKET_BYTES])),
                AT_ONCE,
            );
        });
    }
    group.finish();
}

fn unprotect(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("unprotect");
    for suite in Suite::ALL {
        let protected = || {
            let mut sender = Sender::new(&key(suite));
            let mut stream = Stream::new();
            move || {
                let mut packet = stream.next();
                let bytes = sender.protect(&mut packet, PACKET_BYTES).expect("in sequence");
                (packet, bytes)
            }
        };
        let mut receiver = Receiver::new(&key(suite), 0);
        group.bench_function(suite.name(), |bencher| {
            bencher.iter_batched_ref(
                protected(),
                |(packet, bytes)| receiver.unprotect(black_box(&mut packet[..*bytes])),
                AT_ONCE,
            );
        });
        let mut context = context(suite);
        group.bench_function(format!("{}_rtc_srtp", suite.name()), |bencher| {
            bencher.iter_batched_ref(
                protected(),
                |(packet, bytes)| context.decrypt_rtp(black_box(&packet[..*bytes])),
                AT_ONCE,
            );
        });
    }
    group.finish();
}

/// What a stranger can make us spend on one datagram.
fn refuse(criterion: &mut Criterion<ThreadTime>) {
    let mut group = criterion.benchmark_group("refuse");
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AeadAes128Gcm] {
        let mut stream = Stream::new();
        let mut sender = Sender::new(&key(suite));
        let mut good = stream.next();
        let bytes = sender.protect(&mut good, PACKET_BYTES).expect("in sequence");
        let mut forged = stream.next();

        let mut receiver = Receiver::new(&key(suite), 0);
        let mut heard = good;
        receiver.unprotect(&mut heard[..bytes]).expect("authentic");
        group.bench_function(format!("replayed/{}", suite.name()), |bencher| {
            bencher.iter(|| receiver.unprotect(black_box(&mut good[..bytes])));
        });
        group.bench_function(format!("forged/{}", suite.name()), |bencher| {
            bencher.iter(|| receiver.unprotect(black_box(&mut forged[..bytes])));
        });
        forged[11] ^= 1;
        group.bench_function(format!("forged_unknown_source/{}", suite.name()), |bencher| {
            bencher.iter(|| receiver.unprotect(black_box(&mut forged[..bytes])));
        });
        let other = vec![9; suite.master_bytes()];
        receiver.rekey(&MasterKey::new(suite, &other).expect("as long"), 0);
        group.bench_function(format!("forged_while_rekeying/{}", suite.name()), |bencher| {
            bencher.iter(|| receiver.unprotect(black_box(&mut forged[..bytes])));
        });
    }
    group.finish();

    let suite = Suite::AesCm128HmacSha1_80;
    let [one, other] = [1, 2].map(|byte| MasterKey::new(suite, &[byte; 30]).expect("as long"));
    let mut receiver = Receiver::new(&one, 0);
    criterion.bench_function("rekey", |bencher| {
        bencher.iter(|| {
            receiver.rekey(black_box(&other), 0);
            receiver.rekey(black_box(&one), 0);
        });
    });
}

criterion_group!(name = benches; config = thread_time::criterion(); targets = protect, unprotect, refuse);
criterion_main!(benches);
