//! The promises of RTCP to a leg: whatever is reported, it goes on, and says of it what can be.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mixminus::codec::{Codec, Encoding};
use mixminus::engine::{Command, Engine, EngineLimits, Event, Outbox};
use mixminus::id::{LegId, RoomId, TrackNumber};
use mixminus::leg::{Format, Identity, Leg, LegMedia, LegSettings, MediaTerms};
use mixminus::room::{Room, RoomSettings};
use mixminus::rtp::is_rtcp;
use mixminus::rtp::packet::Packet;
use mixminus::rtp::rtcp;
use mixminus::time::Tick;

/// Where the remote party of the leg under attack is.
const REMOTE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4_000);

/// So short that a fuzzer writes it itself.
const OUR_SSRC: u32 = 7;

/// What arrives at a leg, step by step: a byte that says what, then for a datagram its length and its bytes. The first byte
/// says how long the engine has been up, up to ten years.
pub fn reports(bytes: &[u8]) {
    let Some((&uptime, mut rest)) = bytes.split_first() else {
        return;
    };
    let mut engine = Engine::new(EngineLimits { legs: 1, rooms: 1 });
    let mut out = Outbox::new(1);
    let (leg, room) = (LegId(0), RoomId(0));
    let state = Room::new(RoomSettings::default());
    engine.apply(Command::Open { room, state }, &mut out);
    engine.apply(
        Command::Join {
            leg,
            state: leg_under_attack(),
            room,
        },
        &mut out,
    );
    let mut tick = Tick(u64::from(uptime) << 26);
    let mut ticks_left = 500_u16;
    while let Some((&step, after)) = rest.split_first() {
        rest = after;
        let now = tick.due(0);
        if step % 3 == 0 {
            let ticks = u16::from(step / 3).min(ticks_left);
            ticks_left -= ticks;
            for _ in 0..=ticks {
                engine.tick_room(room, tick, tick.due(0), &mut out);
                check_sent(&out);
                out.clear();
                tick = tick.next();
            }
            continue;
        }
        let Some((&len, after)) = rest.split_first() else {
            break;
        };
        let (datagram, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        let mut datagram = datagram.to_vec();
        match step % 3 {
            1 => engine.receive_rtcp(now, leg, REMOTE, &mut datagram),
            _ => engine.receive(now, leg, REMOTE, &mut datagram),
        }
    }
    assert_eq!(engine.stats().panics, 0);
    let report = Box::default();
    engine.apply(
        Command::ReportLeg {
            leg,
            request: 0,
            report,
        },
        &mut out,
    );
    let Some(Event::LegReported { report, .. }) = out.events().last() else {
        panic!("a report is answered at once");
    };
    let within = |value: Option<f32>, max: f32| value.is_none_or(|value| (0.0..=max).contains(&value));
    assert!(within(report.round_trip_ms, 60_000.0), "{report:?}");
    assert!(within(report.remote_loss_percent, 100.0), "{report:?}");
    assert!(within(report.remote_jitter_ms, 1.0e9), "{report:?}");
}

fn leg_under_attack() -> Box<Leg> {
    let format = Format {
        receive_as: 0,
        send_as: 0,
        encoding: Encoding {
            codec: Codec::Pcmu,
            ptime_ms: 20,
            bitrate: 0,
            complexity: 0,
            dtx: false,
            loss_percent: 0,
        },
        fec_bitrate_max: None,
    };
    let media = LegMedia::new(MediaTerms {
        remote: Some(REMOTE),
        sends: true,
        receives: true,
        formats: vec![format],
        ..MediaTerms::nothing()
    })
    .expect("G.711 needs nothing");
    let identity = Identity {
        ssrc: OUR_SSRC,
        sequence: 0,
        timestamp: 0,
    };
    Leg::new(identity, TrackNumber(1), LegSettings::default(), media)
}

/// Whatever came, what we send is well formed and goes to the remote.
fn check_sent(out: &Outbox) {
    for (outgoing, datagram) in out.datagrams() {
        assert_eq!(outgoing.to, REMOTE);
        if is_rtcp(datagram) {
            assert!(rtcp::validate(datagram).is_ok(), "{datagram:?}");
        } else {
            assert!(Packet::parse(datagram).is_ok(), "{datagram:?}");
        }
    }
}
