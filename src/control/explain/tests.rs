//! Every link broken once, and what is said of the others then.

use std::time::UNIX_EPOCH;

use super::*;
use crate::codec::Codec;
use crate::leg::{Dropped, Rejected};

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// A leg that speaks, hears, and has nothing wrong with it.
fn sound(call: &str) -> LegFacts {
    let lately = Lately {
        millis: 1_900,
        packets_received: 95,
        packets_sent: 95,
        level_dbfs_max: -20.0,
        said_something: true,
        contributed: true,
        since_arrival: Some(Duration::from_millis(20)),
        since_played: Some(Duration::ZERO),
        latched: Some(address(4_000)),
        ..Lately::default()
    };
    LegFacts {
        call: call.to_owned(),
        conference: "r".to_owned(),
        waiting: false,
        talkers_max: None,
        has_joined: true,
        local: SocketAddr::from(([127, 0, 0, 1], 10_000)),
        terms: Some(Terms {
            receives: true,
            sends: true,
            remote: Some(address(4_000)),
            suite: None,
            payload_types: vec![
                (0, "PCMU/8000".to_owned()),
                (101, "telephone-event/8000".to_owned()),
            ],
        }),
        muted: None,
        deaf: None,
        held: None,
        hold_music: None,
        gain_db: 0.0,
        report: LegReport {
            codec_received: Some(Codec::Pcmu),
            codec_sent: Some(Codec::Pcmu),
            remote: Some(address(4_000)),
            contributing: true,
            lately,
            ..LegReport::default()
        },
    }
}

fn deed() -> Option<Deed> {
    Some(Deed {
        key: Some("switch".to_owned()),
        via: "PATCH /v1/legs/{callId}",
        at: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    })
}

fn terms(leg: &mut LegFacts) -> &mut Terms {
    leg.terms.as_mut().unwrap()
}

/// Nothing is taken in any more; so many packets from this port were refused lately.
fn refuse(leg: &mut LegFacts, reason: Dropped, port: u16, count: u32) {
    let lately = &mut leg.report.lately;
    lately.packets_received = 0;
    lately.since_arrival = Some(Duration::from_secs(5));
    lately.since_played = Some(Duration::from_secs(5));
    lately.said_something = false;
    lately.rejected = Some(Rejected {
        reason,
        from: address(port),
        payload_type: Some(18),
    });
    lately.since_rejected = Some(Duration::from_millis(20));
    lately.dropped[reason as usize] = count;
    leg.report.contributing = false;
    lately.contributed = false;
}

/// Says nothing for longer than is looked back.
fn fall_silent(leg: &mut LegFacts) {
    leg.report.contributing = false;
    let lately = &mut leg.report.lately;
    (lately.said_something, lately.contributed) = (false, false);
    lately.level_dbfs_max = -62.0;
}

/// The remote has stopped; a stranger has not.
fn refuse_strangers(leg: &mut LegFacts) {
    refuse(leg, Dropped::UnknownSource, 0, 0);
    let lately = &mut leg.report.lately;
    lately.strangers = 80;
    lately.stranger = lately.rejected.take().map(|rejected| Rejected {
        from: SocketAddr::from(([198, 51, 100, 9], 666)),
        ..rejected
    });
    lately.since_stranger = lately.since_rejected.take();
}

fn ok(explanation: &Explanation, name: &str) -> Option<bool> {
    let link = explanation.links.iter().find(|link| link.link == name);
    link.unwrap_or_else(|| panic!("no link {name}")).ok
}

#[test]
fn a_chain_without_a_broken_link_is_heard() {
    let explanation = Explanation::of(&sound("a"), &sound("b"));
    assert_eq!(explanation.heard, Some(true), "{explanation:#?}");
    assert_eq!(explanation.broken, None);
    assert!(explanation.links.iter().all(|link| link.ok != Some(false)));
    let order: Vec<&str> = explanation.links.iter().map(|link| link.link).collect();
    assert_eq!(
        order,
        [
            "agreed",
            "arriving",
            "source",
            "authenticated",
            "payload_type",
            "decoded",
            "delay",
            "level",
            "muted",
            "held",
            "digits",
            "route",
            "talker",
            "listening",
            "encoded",
            "sent",
            "received"
        ]
    );
    let not_said: Vec<&str> = explanation
        .links
        .iter()
        .filter(|link| link.ok.is_none())
        .map(|link| link.link)
        .collect();
    assert_eq!(not_said, ["authenticated", "received"]);
}

type Break = fn(&mut LegFacts, &mut LegFacts);

#[test]
fn every_broken_link_is_named_first_with_its_figures() {
    let cases: [(&str, &str, Break); 55] = [
        ("agreed", "has not been answered", |a, _| a.terms = None),
        ("agreed", "sends nothing now", |a, _| terms(a).receives = false),
        (
            "arriving",
            "Nothing has come from 192.0.2.1:4000 to 127.0.0.1:10000 for 3.2 s",
            |a, _| {
                a.report.lately.since_arrival = Some(Duration::from_millis(3_200));
            },
        ),
        ("arriving", "signalled 192.0.2.1:4000", |a, _| {
            a.report.lately.since_arrival = None;
            a.report.lately.latched = None;
        }),
        (
            "arriving",
            "9.0 s ago from 192.0.2.1:5000, was refused as `probation`",
            |a, _| {
                refuse(a, Dropped::Probation, 5_000, 0);
                a.report.lately.since_arrival = None;
                a.report.lately.since_rejected = Some(Duration::from_secs(9));
            },
        ),
        ("arriving", "refused as `wrong_version`: 80 packets", |a, _| {
            refuse(a, Dropped::WrongVersion, 4_000, 80);
        }),
        ("arriving", "no RTP of version 2", |a, _| {
            refuse(a, Dropped::WrongVersion, 4_000, 80);
        }),
        ("arriving", "no well-formed RTP", |a, _| {
            refuse(a, Dropped::BadPadding, 4_000, 80);
        }),
        ("arriving", "what we send ourselves", |a, _| {
            refuse(a, Dropped::Looped, 4_000, 80);
        }),
        ("arriving", "more than any sound makes", |a, _| {
            refuse(a, Dropped::TooFast, 4_000, 80);
        }),
        (
            "source",
            "80 packets in the last 1.9 s came from 192.0.2.1:5000, a stranger",
            |a, _| {
                refuse(a, Dropped::UnknownSource, 5_000, 80);
            },
        ),
        ("source", "in sequence", |a, _| {
            refuse(a, Dropped::Probation, 5_000, 80)
        }),
        ("authenticated", "another key", |a, _| {
            terms(a).suite = Some("AES_CM_128_HMAC_SHA1_80");
            refuse(a, Dropped::BadTag, 4_000, 80);
        }),
        ("authenticated", "plain RTP", |a, _| {
            terms(a).suite = Some("AES_CM_128_HMAC_SHA1_80");
            refuse(a, Dropped::BadSrtp, 4_000, 80);
        }),
        ("authenticated", "`replayed`", |a, _| {
            terms(a).suite = Some("AES_CM_128_HMAC_SHA1_80");
            refuse(a, Dropped::Replayed, 4_000, 80);
        }),
        ("payload_type", "the last 18; agreed is 0 (PCMU/8000)", |a, _| {
            refuse(a, Dropped::UnknownPayloadType, 4_000, 80);
        }),
        // It had announced a pause, and now speaks under another number.
        ("payload_type", "80 packets", |a, _| {
            refuse(a, Dropped::UnknownPayloadType, 4_000, 80);
            a.report.lately.is_paused = true;
        }),
        (
            "decoded",
            "none was played for 4.0 s: 90 packets in the last 1.9 s as `undecodable`",
            |a, _| {
                a.report.lately.since_played = Some(Duration::from_secs(4));
                a.report.lately.dropped[Dropped::Undecodable as usize] = 90;
            },
        ),
        ("decoded", "none of them is played", |a, _| {
            a.report.lately.since_played = None
        }),
        ("delay", "More is lost than heard: 60 packets", |a, _| {
            a.report.lately.packets_received = 35;
            a.report.lately.packets_lost = 60;
        }),
        ("level", "most likely its microphone is muted", |a, _| {
            a.report.lately.said_something = false;
            a.report.lately.level_dbfs_max = -127.0;
        }),
        ("level", "loudest in the last 1.9 s was -66.2 dBFS", |a, _| {
            a.report.lately.said_something = false;
            a.report.lately.level_dbfs_max = -66.2;
        }),
        ("level", "announced a pause", |a, _| {
            a.report.lately.is_paused = true;
            a.report.lately.said_something = false;
            a.report.lately.since_arrival = Some(Duration::from_secs(60));
        }),
        ("level", "turned down", |a, _| a.gain_db = -60.0),
        (
            "muted",
            "by the key `switch` (PATCH /v1/legs/{callId}) at 2023-11-14T22:13:20.000Z",
            |a, _| {
                a.muted = deed();
            },
        ),
        ("muted", "without a key", |a, _| {
            a.muted = deed().map(|deed| Deed { key: None, ..deed });
        }),
        ("held", "put on hold by the key `switch`", |a, _| a.held = deed()),
        ("digits", "out of the mix", |a, _| {
            a.report.lately.is_collecting = true
        }),
        ("route", "The conference `r` has not begun", |a, b| {
            (a.waiting, b.waiting) = (true, true);
            a.report.contributing = false;
        }),
        ("route", "in the conference `r`, `b` in `other`", |_, b| {
            b.conference = "other".to_owned();
        }),
        ("talker", "not in the mix", |a, _| {
            a.report.contributing = false;
            a.report.lately.contributed = false;
        }),
        ("talker", "and `maxTalkers` is 2", |a, _| {
            a.report.contributing = false;
            a.report.crowded_out = true;
            a.talkers_max = Some(2);
        }),
        ("received", "Nothing of what is sent reaches `b`", |_, b| {
            b.report.remote_loss_percent = Some(0.0);
            b.report.lately.since_rtcp = Some(Duration::from_secs(2));
            b.report.lately.one_way_out = Some("not_received");
        }),
        ("received", "loses 80 % of what is sent", |_, b| {
            b.report.remote_loss_percent = Some(80.0);
            b.report.round_trip_ms = Some(40.0);
            b.report.lately.since_rtcp = Some(Duration::from_secs(2));
            b.report.lately.since_reported = Some(Duration::from_secs(2));
        }),
        // The listener's phone has lost its power, or has said that it leaves.
        (
            "received",
            "Nothing has come from `b` for 3 min, neither RTP nor RTCP",
            |_, b| {
                b.report.lately.since_arrival = Some(Duration::from_secs(180));
                b.report.lately.silent_for = Duration::from_secs(180);
                b.report.lately.is_overdue = true;
            },
        ),
        ("received", "`b` has left (BYE)", |_, b| {
            b.report.bye_received = true
        }),
        ("listening", "made deaf by the key `switch`", |_, b| {
            b.deaf = deed()
        }),
        ("listening", "hears music1, because it was put on hold", |_, b| {
            (b.held, b.hold_music) = (deed(), Some("music1"));
        }),
        ("encoded", "has not been answered", |_, b| b.terms = None),
        ("sent", "takes nothing now", |_, b| terms(b).sends = false),
        ("sent", "has no address", |_, b| terms(b).remote = None),
        (
            "sent",
            "no address to send to: signalled is 192.0.2.1:4000",
            |_, b| b.report.remote = None,
        ),
        (
            "sent",
            "refused 90 of 95 packets in the last 1.9 s to 192.0.2.1:4000",
            |_, b| {
                b.report.lately.send_errors = 90;
            },
        ),
        ("sent", "Nothing was sent", |_, b| {
            b.report.lately.packets_sent = 0
        }),
        ("sent", "has protected all the packets it may", |_, b| {
            terms(b).suite = Some("AES_CM_128_HMAC_SHA1_80");
            b.report.lately.packets_sent = 0;
            b.report.lately.dropped[Dropped::KeyExhausted as usize] = 95;
        }),
        // The first of two counts, and what comes before the others counts first.
        ("muted", "was muted", |a, b| {
            a.muted = deed();
            a.report.contributing = false;
            b.deaf = deed();
        }),
        // Who happens to say nothing is muted all the same, and the other is deaf.
        ("muted", "was muted", |a, _| {
            fall_silent(a);
            a.muted = deed();
        }),
        ("route", "in the conference `r`", |a, b| {
            fall_silent(a);
            b.conference = "other".to_owned();
        }),
        ("listening", "made deaf", |a, b| {
            fall_silent(a);
            b.deaf = deed();
        }),
        ("received", "has left", |a, b| {
            fall_silent(a);
            b.report.bye_received = true;
        }),
        ("level", "nothing that stands out", |a, _| fall_silent(a)),
        ("source", "a stranger", |a, _| {
            refuse(a, Dropped::UnknownSource, 5_000, 80);
            a.muted = deed();
        }),
        ("level", "announced a pause", |a, _| {
            refuse_strangers(a);
            a.report.lately.is_paused = true;
        }),
        // Strangers do not speak for the remote.
        (
            "arriving",
            "from 192.0.2.1:4000 to 127.0.0.1:10000 for 5.0 s. `a` has stopped, or the network between has. Besides, 80 \
             packets of strangers were refused in the last 1.9 s, of late from 198.51.100.9:666",
            |a, _| refuse_strangers(a),
        ),
        ("arriving", "Nothing of `a` has ever come", |a, _| {
            refuse_strangers(a);
            a.report.lately.since_arrival = None;
            a.report.lately.latched = None;
        }),
    ];
    for (link, says, break_it) in cases {
        let (mut a, mut b) = (sound("a"), sound("b"));
        break_it(&mut a, &mut b);
        let explanation = Explanation::of(&a, &b);
        assert_eq!(explanation.heard, Some(false), "{link}: {says}");
        assert_eq!(explanation.broken, Some(link), "{explanation:#?}");
        let marked: Vec<&Link> = explanation
            .links
            .iter()
            .filter(|link| link.first_broken)
            .collect();
        assert_eq!(marked.len(), 1);
        assert_eq!((marked[0].link, marked[0].ok), (link, Some(false)));
        let first = explanation.links.iter().find(|link| link.ok == Some(false));
        assert_eq!(first, Some(marked[0]));
        assert!(marked[0].fact.contains(says), "{}", marked[0].fact);
        assert!(explanation.summary.ends_with(&marked[0].fact));
        assert!(explanation.links.iter().all(|link| link.fact.ends_with('.')));
    }
}

#[test]
fn nobody_is_said_to_hear_who_may_as_well_hear_nothing() {
    let heard = |change: fn(&mut LegFacts)| {
        let (a, mut b) = (sound("a"), sound("b"));
        change(&mut b);
        let explanation = Explanation::of(&a, &b);
        assert_eq!(explanation.broken, None, "{explanation:#?}");
        let received = &explanation.links[16];
        if explanation.heard.is_none() {
            assert_eq!(received.ok, None);
            assert!(explanation.summary.ends_with(&received.fact));
            assert!(
                explanation
                    .summary
                    .starts_with("No link is known to be broken as far as the wire of `b`"),
                "{}",
                explanation.summary
            );
        }
        explanation.heard
    };
    // It speaks, and reports nothing at all.
    assert_eq!(heard(|_| {}), Some(true));
    // It says that it receives.
    let reports = |b: &mut LegFacts| {
        b.report.remote_loss_percent = Some(0.0);
        b.report.lately.since_rtcp = Some(Duration::from_secs(2));
        b.report.lately.since_reported = Some(Duration::from_secs(2));
    };
    assert_eq!(heard(reports), Some(true));
    // Behind a firewall: it reports, but nothing of what it is sent.
    assert_eq!(
        heard(|b| b.report.lately.since_rtcp = Some(Duration::from_secs(2))),
        None
    );
    // Since its new address it reports nothing of us any more.
    assert_eq!(
        heard(|b| {
            b.report.remote_loss_percent = Some(0.0);
            b.report.lately.since_rtcp = Some(Duration::from_secs(2));
            b.report.lately.since_reported = Some(Duration::from_secs(60));
        }),
        None
    );
    // It stopped a moment ago, or never began.
    assert_eq!(
        heard(|b| {
            b.report.lately.since_arrival = Some(Duration::from_secs(4));
            b.report.lately.silent_for = Duration::from_secs(4);
        }),
        None
    );
    assert_eq!(heard(|b| b.report.lately.since_arrival = None), None);
    // It suppresses its silence, or has gone: six seconds after a report nobody can tell.
    assert_eq!(
        heard(|b| {
            b.report.remote_loss_percent = Some(0.0);
            b.report.lately.silent_for = Duration::from_secs(6);
            b.report.lately.since_rtcp = Some(Duration::from_secs(6));
            b.report.lately.since_reported = Some(Duration::from_secs(6));
        }),
        None
    );
    // It announced a pause long ago; whether it is there shows only if it reports.
    let pauses = |b: &mut LegFacts| {
        b.report.lately.is_paused = true;
        b.report.lately.since_arrival = Some(Duration::from_secs(20));
        b.report.lately.silent_for = Duration::from_secs(20);
    };
    assert_eq!(heard(pauses), None);
    // It is only to listen.
    assert_eq!(
        heard(|b| {
            terms(b).receives = false;
            b.report.lately.since_arrival = None;
        }),
        Some(true)
    );
    assert_eq!(
        heard(|b| {
            terms(b).receives = false;
            b.report.remote_loss_percent = Some(0.0);
            b.report.lately.since_rtcp = Some(Duration::from_secs(60));
            b.report.lately.since_reported = Some(Duration::from_secs(60));
        }),
        None
    );
    // What it sends is refused, so it is there.
    assert_eq!(
        heard(|b| refuse(b, Dropped::UnknownPayloadType, 4_000, 80)),
        Some(true)
    );
}

#[test]
fn what_is_not_known_yet_is_not_heard_yet() {
    let (a, mut b) = (sound("a"), sound("b"));
    b.has_joined = false;
    let explanation = Explanation::of(&a, &b);
    assert_eq!((explanation.heard, explanation.broken), (None, None));
    assert!(
        explanation.summary.contains("not been mixed with both yet"),
        "{}",
        explanation.summary
    );
}

#[test]
fn what_cannot_be_known_behind_a_broken_link_is_not_said() {
    let (mut a, b) = (sound("a"), sound("b"));
    refuse(&mut a, Dropped::UnknownPayloadType, 4_000, 80);
    let explanation = Explanation::of(&a, &b);
    assert_eq!(ok(&explanation, "arriving"), Some(true));
    for name in ["source", "decoded", "delay", "level"] {
        assert_eq!(ok(&explanation, name), None, "{name}");
    }
    assert_eq!(ok(&explanation, "sent"), Some(true));
}

#[test]
fn what_was_wrong_before_is_not_wrong_now() {
    let (mut a, b) = (sound("a"), sound("b"));
    a.report.dropped = [1_000; Dropped::COUNT];
    a.report.lately.dropped[Dropped::UnknownSource as usize] = 9;
    a.report.lately.rejected = Some(Rejected {
        reason: Dropped::UnknownSource,
        from: address(666),
        payload_type: None,
    });
    a.report.lately.since_rejected = Some(Duration::from_millis(40));
    let explanation = Explanation::of(&a, &b);
    assert_eq!(explanation.heard, Some(true), "{explanation:#?}");
    let source = &explanation.links[2].fact;
    assert!(
        source.contains("9 packets of another address were refused") && source.contains(":666"),
        "{source}"
    );
    // Who has just fallen silent is not broken.
    a.report.contributing = false;
    assert_eq!(Explanation::of(&a, &b).heard, Some(true));
    // Unless he was muted meanwhile.
    a.muted = deed();
    assert_eq!(ok(&Explanation::of(&a, &b), "talker"), Some(false));
}

#[test]
fn spans_are_read_at_a_glance() {
    for (millis, text) in [
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (119_900, "119.9 s"),
        (300_000, "5 min"),
    ] {
        assert_eq!(span(Duration::from_millis(millis)), text);
    }
}
