//! Sound that goes one way only, and media that has died, are noticed by the leg itself; time is made up.

mod line;

use std::net::SocketAddr;
use std::time::Duration;

use mixminus::codec::Codec;
use mixminus::codec::ilbc::Mode;
use mixminus::engine::{Command, Event};
use mixminus::frame::Rate;
use mixminus::id::RoomId;
use mixminus::leg::{Direction, LegChange, MediaTerms};
use mixminus::load::network::{Conditions, Jitter, Spells};
use mixminus::room::RoomSettings;
use mixminus::srtp::{self, MasterKey, Suite};
use mixminus::time::{Tick, Time};

use self::line::{IN_TIME, LEG, Line, SECOND, Told, remote};
use crate::support::voice::Voice;
use crate::support::world::{COMFORT_NOISE, PAYLOAD_TYPE, World, encoding};

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
fn strangers_do_not_tell_why_the_party_is_not_heard() {
    let stranger = |host: u8| SocketAddr::from(([198, 51, 100, host], 4_000));
    let disturb = |line: &mut Line, ticks: u64, hosts: u64| {
        for at in 0..ticks {
            line.packet_from(stranger((at % hosts) as u8), 18, &[0; 20]);
        }
    };
    let mut line = Line::pcmu();
    line.talk(SECOND);
    disturb(&mut line, IN_TIME + 20, 1);
    assert_eq!(line.told(), [Told::Begins(Direction::In, "stopped")]);
    let lately = line.report().lately;
    assert_eq!((lately.rejected, lately.most_dropped()), (None, None));
    assert!(lately.strangers > 70, "{}", lately.strangers);
    assert_eq!(lately.stranger.map(|stranger| stranger.from), Some(stranger(0)));

    // Nor do several while nothing has come at all.
    let mut line = Line::pcmu();
    disturb(&mut line, IN_TIME, 2);
    assert_eq!(line.told(), [Told::Begins(Direction::In, "nothing_arrives")]);

    // One from which everything comes that ever came is taken for the party behind a NAT.
    let mut line = Line::pcmu();
    disturb(&mut line, IN_TIME, 1);
    assert_eq!(line.told(), [Told::Begins(Direction::In, "unknown_payload_type")]);
    let lately = line.report().lately;
    assert_eq!((lately.strangers, lately.stranger), (0, None));
    assert_eq!(lately.rejected.map(|rejected| rejected.from), Some(stranger(0)));
    // Not any more, since something came from where the party is.
    line.packet(4_000, 18, &[0; 20]);
    assert_eq!(
        line.report().lately.rejected.map(|rejected| rejected.from),
        Some(remote(4_000))
    );
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
            jitter: Jitter::Exponential(Duration::from_millis(30)),
            stalls: Some(Spells::once(Duration::from_secs(12), Duration::from_secs(1))),
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

    // One that reports each 25 seconds is no less there.
    let mut line = Line::pcmu();
    line.talk(SECOND);
    line.packet(4_000, COMFORT_NOISE, &[60]);
    for _ in 0..10 {
        line.rtcp(remote(4_001));
        line.silent(25 * SECOND);
    }
    assert_eq!(line.told(), [], "reports each 25 seconds");
    let lately = line.report().lately;
    assert!(lately.silent_for > Duration::from_secs(24) && !lately.is_overdue);
    line.silent(10 * SECOND);
    assert_eq!(
        line.told(),
        [Told::TimedOut, Told::Begins(Direction::In, "stopped")],
        "no longer than media takes to time out"
    );
    assert!(line.report().lately.is_overdue);

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
fn a_party_that_reports_that_nothing_of_ours_comes_is_told_of() {
    let mut line = Line::pcmu();
    // Who says nothing of us may hear us all the same.
    for _ in 0..5 {
        line.reports(None);
    }
    for highest in [1_000, 1_250, 1_500] {
        line.reports(Some(highest));
    }
    assert_eq!(line.told(), []);
    line.reports(Some(1_500));
    assert_eq!(line.told(), [Told::Begins(Direction::Out, "not_received")]);
    line.reports(Some(1_750));
    assert_eq!(line.told(), [Told::Ends(Direction::Out, "not_received")]);
    line.reports(None);
    assert_eq!(line.told(), []);
    line.reports(None);
    assert_eq!(line.told(), [Told::Begins(Direction::Out, "not_received")]);
    // Blocks of nothing but zeros prove nothing.
    let mut line = Line::pcmu();
    for _ in 0..5 {
        line.reports(Some(0));
    }
    assert_eq!(line.told(), []);
    // Nothing was sent between two reports: nothing could come.
    let mut line = Line::pcmu();
    line.agree(|terms| MediaTerms {
        sends: false,
        ..terms
    });
    for _ in 0..3 {
        line.reports(Some(1_000));
    }
    assert_eq!(line.told(), []);
}

#[test]
fn reports_from_before_and_during_a_hold_say_nothing_of_what_is_sent_after_it() {
    let mut line = Line::pcmu();
    for highest in [1_000, 1_250] {
        line.reports(Some(highest));
    }
    line.agree(|terms| MediaTerms {
        sends: false,
        ..terms
    });
    for _ in 0..3 {
        line.reports(None);
    }
    line.agree(|terms| terms);
    line.talk(3 * SECOND);
    assert_eq!(line.told(), []);
    // It may report nobody from now on.
    for _ in 0..10 {
        line.reports(None);
    }
    assert_eq!(line.told(), []);
    // Once it has begun anew it is believed that it has stopped.
    line.reports(Some(3_000));
    line.reports(None);
    assert_eq!(line.told(), []);
    line.reports(None);
    assert_eq!(line.told(), [Told::Begins(Direction::Out, "not_received")]);
    // Reports that follow each other within a moment are of no sound.
    let mut line = Line::pcmu();
    line.reports(Some(1_000));
    for _ in 0..10 {
        line.rtcp(remote(4_001));
    }
    line.talk(10 * SECOND);
    assert_eq!(line.told(), []);
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
