//! Sound that goes one way only, and media that has died, are noticed by the leg itself; time is made up.

use std::net::SocketAddr;
use std::time::Duration;

use mixminus::codec::Codec;
use mixminus::codec::ilbc::Mode;
use mixminus::engine::outbox::Outbox;
use mixminus::engine::{Command, Engine, EngineLimits, Event};
use mixminus::frame::Rate;
use mixminus::id::{LegId, RoomId};
use mixminus::leg::{
    Direction, Identity, Leg, LegChange, LegMedia, LegReport, LegSettings, MediaTerms, OneWay,
};
use mixminus::load::network::Conditions;
use mixminus::room::{Room, RoomSettings};
use mixminus::rtp::packet::{HEADER_BYTES, Header};
use mixminus::srtp::{self, MasterKey, Suite};
use mixminus::time::{Tick, Time};

use crate::support::voice::Voice;
use crate::support::world::{COMFORT_NOISE, PAYLOAD_TYPE, World, encoding, terms};

const LEG: LegId = LegId(0);

/// Two seconds, within which one-way audio is noticed.
const IN_TIME: u64 = 100;

const SECOND: u64 = 50;

/// What was told, and in which tick.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Begins(Direction, &'static str),
    Ends(Direction, &'static str),
    TimedOut,
}

/// One leg in a room, and whoever sends to it.
struct Line {
    engine: Engine,
    outbox: Outbox,
    tick: Tick,
    next: Header,
    told: Vec<(u64, Told)>,
}

fn remote(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

impl Line {
    fn new(codec: Codec, agree: impl FnOnce(MediaTerms) -> MediaTerms) -> Line {
        let mut engine = Engine::new(EngineLimits { legs: 2, rooms: 2 });
        let mut outbox = Outbox::new(2);
        for room in 0..2 {
            engine.apply(
                Command::Open {
                    room: RoomId(room),
                    state: Room::new(RoomSettings::default()),
                },
                &mut outbox,
            );
        }
        let media = LegMedia::new(agree(terms(remote(4_000), encoding(codec)))).unwrap();
        let identity = Identity {
            ssrc: 1,
            sequence: 0,
            timestamp: 0,
        };
        engine.apply(
            Command::Join {
                leg: LEG,
                state: Leg::new(identity, LegSettings::default(), media),
                room: RoomId(0),
            },
            &mut outbox,
        );
        Line {
            engine,
            outbox,
            tick: Tick(1_000),
            next: Header {
                marker: false,
                payload_type: PAYLOAD_TYPE,
                sequence: 7,
                timestamp: 0,
                ssrc: 2,
            },
            told: Vec::new(),
        }
    }

    fn pcmu() -> Line {
        Line::new(Codec::Pcmu, |terms| terms)
    }

    fn apply(&mut self, command: Command) {
        self.engine.apply(command, &mut self.outbox);
    }

    /// A tick in which nothing comes.
    fn idle(&mut self) {
        let now = self.tick.due(0);
        for room in 0..2 {
            self.engine
                .tick_room(RoomId(room), self.tick, now, &mut self.outbox);
            self.outbox.clear();
        }
        let tick = self.tick.0;
        for event in self.outbox.events() {
            let told = match event {
                Event::OneWay { one_way, .. } => {
                    let OneWay {
                        direction,
                        on,
                        reason,
                    } = one_way;
                    match on {
                        true => Told::Begins(direction, reason),
                        false => Told::Ends(direction, reason),
                    }
                }
                Event::MediaTimeout { .. } => Told::TimedOut,
                _ => continue,
            };
            self.told.push((tick, told));
        }
        self.tick = self.tick.next();
    }

    /// A tick in which a packet comes from this port.
    fn packet(&mut self, port: u16, payload_type: u8, payload: &[u8]) {
        let mut datagram = vec![0; HEADER_BYTES + payload.len()];
        let header = Header {
            payload_type,
            ..self.next
        };
        header.write((&mut datagram[..HEADER_BYTES]).try_into().unwrap());
        datagram[HEADER_BYTES..].copy_from_slice(payload);
        self.engine
            .receive(self.tick.due(0), LEG, remote(port), &mut datagram);
        self.next.sequence = self.next.sequence.wrapping_add(1);
        self.pass();
    }

    /// A tick of the sender's time goes by.
    fn pass(&mut self) {
        self.next.timestamp = self.next.timestamp.wrapping_add(160);
        self.idle();
    }

    fn talk(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.packet(4_000, PAYLOAD_TYPE, &[0x55; 160]);
        }
    }

    fn silent(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.pass();
        }
    }

    /// An empty receiver report (RFC 3550 §6.4.2).
    fn rtcp(&mut self, from: SocketAddr) {
        let mut datagram = [0x80, 201, 0, 1, 0, 0, 0, 2];
        let now = self.tick.due(0);
        self.engine.receive_rtcp(now, LEG, from, &mut datagram);
    }

    fn agree(&mut self, agree: impl FnOnce(MediaTerms) -> MediaTerms) {
        let terms = agree(terms(remote(4_000), encoding(Codec::Pcmu)));
        let media = LegMedia::new(terms).unwrap();
        self.apply(Command::Renegotiate { leg: LEG, media });
    }

    fn told(&mut self) -> Vec<Told> {
        self.told.drain(..).map(|(_, told)| told).collect()
    }

    /// The one thing that was told, at most so many ticks ago.
    #[track_caller]
    fn told_within(&mut self, ticks: u64) -> Told {
        let tick = self.tick.0;
        assert_eq!(self.told.len(), 1, "{:?}", self.told);
        let (at, told) = self.told.remove(0);
        assert!(at + ticks > tick, "{told:?} was told {} ticks ago", tick - at);
        told
    }

    fn report(&mut self) -> Box<LegReport> {
        self.apply(Command::ReportLeg {
            leg: LEG,
            request: 0,
            report: Box::default(),
        });
        let reported = self.outbox.events().find_map(|event| match event {
            Event::LegReported { report, .. } => Some(report),
            _ => None,
        });
        reported.unwrap()
    }
}

#[test]
fn a_party_of_whom_nothing_ever_comes_is_noticed_within_two_seconds_and_told_of_once() {
    let mut line = Line::pcmu();
    line.silent(IN_TIME - 2);
    assert_eq!(
        line.told_within(IN_TIME),
        Told::Begins(Direction::In, "nothing_arrives")
    );
    assert_eq!(line.engine.stats().one_way, [1, 0]);
    let lately = line.report().lately;
    assert_eq!(
        (lately.one_way_in, lately.since_arrival),
        (Some("nothing_arrives"), None)
    );
    line.silent(20 * SECOND);
    assert_eq!(line.told(), []);
}

#[test]
fn a_party_that_falls_silent_is_noticed_within_two_seconds_and_so_is_its_return() {
    let mut line = Line::pcmu();
    for _ in 0..3 {
        line.talk(3 * SECOND);
        line.silent(IN_TIME - 2);
        assert_eq!(line.told_within(30), Told::Begins(Direction::In, "stopped"));
        line.silent(3 * SECOND);
        line.talk(IN_TIME - 2);
        assert_eq!(line.told_within(IN_TIME), Told::Ends(Direction::In, "stopped"));
        assert_eq!(line.report().lately.one_way_in, None);
    }
    // A hole that is merely long is none of this.
    for gap in [1, 10, 50, 70] {
        line.talk(SECOND);
        line.silent(gap);
    }
    assert_eq!(line.told(), []);
}

#[test]
fn what_comes_and_is_not_heard_is_told_with_its_reason() {
    type Send = fn(&mut Line);
    let plain: [(&str, Codec, Send); 5] = [
        ("unknown_source", Codec::Pcmu, |line| {
            line.packet(5_000, PAYLOAD_TYPE, &[0; 160]);
        }),
        ("unknown_payload_type", Codec::Pcmu, |line| {
            line.packet(4_000, 18, &[0; 20])
        }),
        ("undecodable", Codec::Ilbc(Mode::Ms20), |line| {
            line.packet(4_000, PAYLOAD_TYPE, &[0; 37]);
        }),
        ("payload_too_large", Codec::Pcmu, |line| {
            line.packet(4_000, PAYLOAD_TYPE, &[0; 5_000])
        }),
        ("wrong_version", Codec::Pcmu, |line| {
            let now = line.tick.due(0);
            line.engine.receive(now, LEG, remote(4_000), &mut [0; 172]);
            line.pass();
        }),
    ];
    for (reason, codec, send) in plain {
        let mut line = Line::new(codec, |terms| terms);
        if reason == "unknown_source" {
            line.talk(SECOND);
        }
        for _ in 0..IN_TIME + 20 {
            send(&mut line);
        }
        assert_eq!(line.told(), [Told::Begins(Direction::In, reason)], "{reason}");
    }
    let key = |byte| MasterKey::new(Suite::AesCm128HmacSha1_80, &[byte; 30]).unwrap();
    let srtp = srtp::Terms {
        ours: key(1),
        theirs: key(2),
        their_mki_bytes: 0,
    };
    let mut line = Line::new(Codec::Pcmu, |terms| MediaTerms {
        srtp: Some(srtp),
        ..terms
    });
    line.talk(IN_TIME - 2);
    assert_eq!(line.told(), [Told::Begins(Direction::In, "bad_tag")]);
}

#[test]
fn a_line_that_is_hardly_there_is_told_of_once() {
    let mut line = Line::pcmu();
    // One packet every third second, then ten seconds of half a second each way.
    for _ in 0..20 {
        line.talk(1);
        line.silent(3 * SECOND);
    }
    for _ in 0..10 {
        line.talk(SECOND / 2);
        line.silent(SECOND / 2 + 5);
    }
    assert_eq!(line.told(), [Told::Begins(Direction::In, "stopped")]);
}

#[test]
fn what_the_network_loses_or_delays_is_not_one_way() {
    for seed in 1..=3 {
        let conditions = Conditions {
            loss: 0.3,
            loss_burst: 3.0,
            ..Conditions::PERFECT
        };
        let mut world = World::seeded(seed).network(conditions);
        world.open(0, 0, RoomSettings::default());
        for _ in 0..2 {
            world.join(0, 0, encoding(Codec::Pcmu), Voice::steady(500.0, -20.0));
        }
        world.run(30 * SECOND);
        assert!(
            !world
                .events
                .iter()
                .any(|event| matches!(event, Event::OneWay { .. })),
            "seed {seed}"
        );
    }
}

#[test]
fn whoever_is_on_hold_by_its_sdp_is_not_missed_until_it_is_back() {
    let mut line = Line::pcmu();
    line.talk(SECOND);
    line.silent(IN_TIME);
    assert_eq!(line.told(), [Told::Begins(Direction::In, "stopped")]);
    line.agree(|terms| MediaTerms {
        receives: false,
        ..terms
    });
    line.silent(1);
    assert_eq!(line.told(), [Told::Ends(Direction::In, "stopped")]);
    line.silent(60 * SECOND);
    assert_eq!(line.told(), []);
    line.agree(|terms| terms);
    line.silent(SECOND);
    assert_eq!(line.told(), []);
    line.silent(IN_TIME - SECOND);
    assert_eq!(line.told(), [Told::Begins(Direction::In, "stopped")]);
}

#[test]
fn a_leg_of_which_nothing_is_agreed_waits_for_nothing() {
    let mut line = Line::new(Codec::Pcmu, |_| MediaTerms::nothing());
    line.silent(60 * SECOND);
    assert_eq!(line.told(), []);
}

#[test]
fn a_pause_that_was_announced_is_no_one_way_audio_as_long_as_the_sender_is_there() {
    let mut line = Line::pcmu();
    line.talk(SECOND);
    line.packet(4_000, COMFORT_NOISE, &[60]);
    for _ in 0..120 {
        line.rtcp(remote(4_001));
        line.silent(5 * SECOND);
    }
    assert_eq!(line.told(), [], "ten minutes of silence with reports");
    line.silent(12 * SECOND);
    assert_eq!(line.told(), [Told::Begins(Direction::In, "stopped")]);
    line.silent(20 * SECOND);
    assert_eq!(line.told(), [Told::TimedOut]);

    // Who never reported may be there all the same, until the media times out.
    let mut line = Line::pcmu();
    line.talk(SECOND);
    line.packet(4_000, COMFORT_NOISE, &[60]);
    line.silent(29 * SECOND);
    assert_eq!(line.told(), []);
    line.silent(2 * SECOND);
    assert_eq!(line.told(), [Told::TimedOut]);

    // It speaks on, under a number that was not agreed.
    let mut line = Line::pcmu();
    line.talk(SECOND);
    line.packet(4_000, COMFORT_NOISE, &[60]);
    for _ in 0..IN_TIME - 2 {
        line.packet(4_000, 18, &[0; 20]);
    }
    assert_eq!(line.told(), [Told::Begins(Direction::In, "unknown_payload_type")]);
}

#[test]
fn a_pause_of_opus_is_no_one_way_audio() {
    let mut world = World::seeded(1);
    world.open(0, 0, RoomSettings::default());
    let mut opus = encoding(Codec::Opus(Rate::Hz16000));
    opus.dtx = true;
    for _ in 0..2 {
        world.join(0, 0, opus, Voice::silent());
    }
    world.run(60 * SECOND);
    assert!(
        !world
            .events
            .iter()
            .any(|event| matches!(event, Event::OneWay { .. } | Event::MediaTimeout { .. }))
    );
}

#[test]
fn media_times_out_once_after_thirty_seconds_and_again_only_after_it_was_back() {
    let mut line = Line::pcmu();
    line.talk(SECOND);
    let last = line.tick.0;
    line.silent(29 * SECOND);
    assert_eq!(line.told(), [Told::Begins(Direction::In, "stopped")]);
    line.silent(2 * SECOND);
    let (at, told) = line.told.remove(0);
    assert_eq!(told, Told::TimedOut);
    assert!(
        (29 * SECOND..=30 * SECOND).contains(&(at - last)),
        "{}",
        at - last
    );
    line.silent(100 * SECOND);
    assert_eq!(line.told(), []);
    line.rtcp(remote(4_001));
    line.silent(29 * SECOND);
    assert_eq!(line.told(), []);
    line.silent(2 * SECOND);
    assert_eq!(line.told(), [Told::TimedOut]);
    assert_eq!(line.engine.stats().media_timeouts, 2);
}

#[test]
fn only_what_is_believed_to_be_the_remotes_keeps_media_alive() {
    let mut line = Line::pcmu();
    line.talk(SECOND);
    for _ in 0..31 * SECOND {
        line.packet(5_000, PAYLOAD_TYPE, &[0; 160]);
        line.rtcp(SocketAddr::from(([192, 0, 2, 99], 4_001)));
    }
    assert_eq!(
        line.told(),
        [Told::Begins(Direction::In, "unknown_source"), Told::TimedOut]
    );
    // Its own reports do, for as long as they come, whatever becomes of its sound.
    let mut line = Line::pcmu();
    for _ in 0..20 {
        line.rtcp(remote(4_001));
        line.silent(5 * SECOND);
    }
    assert_eq!(line.told(), [Told::Begins(Direction::In, "nothing_arrives")]);
}

#[test]
fn a_leg_has_the_media_timeout_that_it_is_given() {
    let mut line = Line::pcmu();
    let timeout = |seconds| LegChange::MediaTimeout(Some(Duration::from_secs(seconds)));
    for (change, ticks, expected) in [
        (timeout(1), SECOND + 1, vec![Told::TimedOut]),
        (LegChange::MediaTimeout(None), 100 * SECOND, vec![]),
        (timeout(3), 1, vec![Told::TimedOut]),
    ] {
        line.apply(Command::Change { leg: LEG, change });
        line.silent(ticks);
        let told = line.told();
        assert_eq!(
            told.into_iter()
                .filter(|told| *told == Told::TimedOut)
                .collect::<Vec<_>>(),
            expected
        );
    }
}

#[test]
fn time_in_which_the_machine_stood_still_counts_for_nobody() {
    let mut line = Line::pcmu();
    line.talk(SECOND);
    for _ in 0..10 {
        // An hour without a tick, then a second of sound.
        line.tick = Tick(line.tick.0 + 3_600 * SECOND);
        line.silent(5);
        line.talk(SECOND);
    }
    assert_eq!(line.told(), []);
}

#[test]
fn packets_that_the_socket_does_not_take_are_one_way_audio_the_other_way() {
    let mut line = Line::pcmu();
    line.talk(SECOND);
    for _ in 0..IN_TIME {
        line.talk(1);
        line.engine.unsent(LEG);
    }
    assert_eq!(line.told(), [Told::Begins(Direction::Out, "not_sent")]);
    let report = line.report();
    assert_eq!(report.lately.one_way_out, Some("not_sent"));
    assert!(report.lately.send_errors > 70 && report.send_errors == IN_TIME);
    line.talk(2 * SECOND);
    assert_eq!(line.told(), [Told::Ends(Direction::Out, "not_sent")]);
    // Some that are refused now and then are not.
    for at in 0..10 * SECOND {
        line.talk(1);
        if at % 3 == 0 {
            line.engine.unsent(LEG);
        }
    }
    assert_eq!(line.told(), []);
    assert_eq!(line.engine.stats().one_way, [0, 1]);
}

#[test]
fn a_leg_that_moves_takes_leave_of_its_room_and_tells_the_next_one() {
    let mut line = Line::pcmu();
    line.silent(IN_TIME);
    line.apply(Command::Leave {
        leg: LEG,
        for_good: false,
    });
    let now: Time = line.tick.due(0);
    line.engine.tick_room(RoomId(0), line.tick, now, &mut line.outbox);
    let mut state = None;
    let mut kinds = Vec::new();
    for event in line.outbox.events() {
        match event {
            Event::OneWay { one_way, .. } => kinds.push(if one_way.on { "on" } else { "off" }),
            Event::Left { state: left, .. } => {
                kinds.push("left");
                state = Some(left);
            }
            _ => {}
        }
    }
    assert_eq!(kinds, ["off", "left"]);
    line.told.clear();
    line.apply(Command::Join {
        leg: LEG,
        state: state.unwrap(),
        room: RoomId(1),
    });
    line.silent(2);
    assert_eq!(line.told(), [Told::Begins(Direction::In, "nothing_arrives")]);
}
