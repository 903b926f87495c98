//! The links on the speaker's side: from its wire into the mix.

use super::{Finding, LegFacts, broken, holds, is_fresh, packets, span, unknown, whose, window};
use crate::control::negotiation::registered_name;
use crate::leg::{Dropped, Lately, Rejected};

/// Where sound of the leg is lost now, if it is, or why there is none to judge.
enum Flow {
    /// Packets come that are taken, or a pause of the sender's is known.
    Accepted,
    /// Only such of the remote's come that are refused.
    Refused(Rejected),
    Nothing,
}

fn flow(leg: &LegFacts) -> Flow {
    let lately = &leg.report.lately;
    if is_fresh(lately.since_arrival) {
        return Flow::Accepted;
    }
    match lately.rejected {
        _ if pauses(leg) => Flow::Accepted,
        Some(rejected) if is_fresh(lately.since_rejected) => Flow::Refused(rejected),
        _ => Flow::Nothing,
    }
}

/// A pause that the sender has announced, and that the leg itself still believes: nothing else of its is refused.
pub fn pauses(leg: &LegFacts) -> bool {
    let lately = &leg.report.lately;
    lately.is_paused && lately.one_way_in.is_none() && !is_fresh(lately.since_rejected)
}

/// What others sent meanwhile, which says nothing of the remote.
fn strangers(lately: &Lately) -> String {
    match lately.stranger.filter(|_| lately.strangers > 0) {
        Some(last) => format!(
            " Besides, {} of strangers {} refused {}, of late from {}.",
            packets(lately.strangers),
            if lately.strangers == 1 { "was" } else { "were" },
            window(lately),
            last.from
        ),
        None => String::new(),
    }
}

/// What hinders a datagram before it is known to be the remote's RTP.
fn link_of(reason: Dropped) -> &'static str {
    match reason {
        Dropped::NothingAgreed | Dropped::NotReceiving => "agreed",
        Dropped::UnknownSource | Dropped::Probation => "source",
        Dropped::BadTag | Dropped::BadSrtp | Dropped::Replayed | Dropped::KeyExhausted => "authenticated",
        Dropped::UnknownPayloadType => "payload_type",
        _ => "arriving",
    }
}

pub fn agreed(leg: &LegFacts) -> Finding {
    let call = &leg.call;
    match &leg.terms {
        None => broken(format!(
            "Nothing is agreed with `{call}`: our offer has not been answered. Give the answer by PATCH /v1/legs/{call}."
        )),
        Some(terms) if !terms.receives => broken(format!(
            "By its SDP `{call}` sends nothing now: it has us on hold, or waits for another offer."
        )),
        Some(terms) => holds(format!("`{call}` may send {}.", listed(&terms.payload_types))),
    }
}

pub fn arriving(leg: &LegFacts) -> Finding {
    let (local, lately) = (leg.local, &leg.report.lately);
    let lasted = |since: Option<std::time::Duration>| span(since.unwrap_or_default());
    match flow(leg) {
        Flow::Accepted if is_fresh(lately.since_arrival) => holds(format!(
            "{} {} at {local}, the last {} ago.",
            packets(lately.packets_received),
            window(lately),
            lasted(lately.since_arrival)
        )),
        Flow::Accepted => holds(format!(
            "Nothing for {} at {local}, but the sender has announced a pause{}.",
            lasted(lately.since_arrival),
            match lately.since_rtcp {
                Some(since) => format!(", and its last RTCP came {} ago", span(since)),
                None => String::new(),
            }
        )),
        Flow::Refused(Rejected { reason, from, .. }) if link_of(reason) == "arriving" => broken(format!(
            "What comes from {from} to {local} is refused as `{}`: {} {}.{}",
            reason.name(),
            packets(lately.dropped_for(reason)),
            window(lately),
            meaning(reason)
        )),
        Flow::Refused(Rejected { from, .. }) => holds(format!(
            "Packets come from {from} to {local}, the last {} ago, and are refused (see below).",
            lasted(lately.since_rejected)
        )),
        Flow::Nothing if leg.terms.is_none() => {
            unknown(format!("Nothing comes to {local} yet.{}", strangers(lately)))
        }
        Flow::Nothing => broken(nothing(leg) + &strangers(lately)),
    }
}

/// What it means that datagrams are refused before anything is known of them, and what to do about it.
fn meaning(reason: Dropped) -> &'static str {
    match reason {
        Dropped::WrongVersion => {
            " It is no RTP of version 2, but STUN, DTLS or something else: see that the remote is set to plain RTP or SDES."
        }
        Dropped::TooShort
        | Dropped::TooLong
        | Dropped::BadCsrc
        | Dropped::BadExtension
        | Dropped::BadPadding => {
            " It is no well-formed RTP: see what sends it, and what the way there changes."
        }
        Dropped::Looped => {
            " It is what we send ourselves, come back: see that the remote does not send it back, as an echo test does."
        }
        Dropped::TooFast => {
            " It is more than any sound makes: see that the remote sends one stream only, and nobody repeats it."
        }
        _ => "",
    }
}

fn nothing(leg: &LegFacts) -> String {
    let (call, local, lately) = (&leg.call, leg.local, &leg.report.lately);
    match (lately.since_arrival, lately.rejected) {
        (Some(since), _) => format!(
            "Nothing has come from {} to {local} for {}. `{call}` has stopped, or the network between has.",
            lately
                .latched
                .map_or_else(|| signalled(leg), |latched| latched.to_string()),
            span(since)
        ),
        (None, Some(Rejected { reason, from, .. })) => format!(
            "Nothing comes to {local}; what came last, {} ago from {from}, was refused as `{}`.",
            span(lately.since_rejected.unwrap_or_default()),
            reason.name()
        ),
        (None, None) => format!(
            "Nothing of `{call}` has ever come to {local}. It signalled {}: see that it can reach us there (routes, \
             firewalls, `rtp.advertise`).",
            signalled(leg)
        ),
    }
}

pub fn source(leg: &LegFacts) -> Finding {
    let (call, lately) = (&leg.call, &leg.report.lately);
    let signalled = signalled(leg);
    let refused = lately.dropped_for(Dropped::UnknownSource) + lately.dropped_for(Dropped::Probation);
    match (flow(leg), lately.latched) {
        (Flow::Nothing, _) => unknown("Unknown: nothing comes."),
        (Flow::Accepted, Some(latched)) => {
            let how = match leg.terms.as_ref().and_then(|terms| terms.remote) {
                Some(remote) if remote == latched => "the signalled address".to_owned(),
                _ => format!("latched; signalled was {signalled}"),
            };
            let others = match (refused, lately.rejected) {
                (0, _) | (_, None) => String::new(),
                (count, Some(last)) => format!(
                    " {} of another address {} refused {}, of late from {}.",
                    packets(count),
                    if count == 1 { "was" } else { "were" },
                    window(lately),
                    last.from
                ),
            };
            holds(format!(
                "Packets come from {latched} ({how}).{others}{}",
                strangers(lately)
            ))
        }
        (Flow::Accepted, None) => unknown("Unknown: no packets were believed yet."),
        (Flow::Refused(Rejected { reason, from, .. }), latched) => match reason {
            Dropped::UnknownSource => broken(format!(
                "{} {} came from {from}, a stranger: signalled is {signalled}, {}. If the remote has moved, signal its \
                 SDP again by PATCH /v1/legs/{call}.",
                packets(refused),
                window(lately),
                match latched {
                    Some(latched) => format!("latched is {latched}"),
                    None => "nothing is latched".to_owned(),
                }
            )),
            Dropped::Probation => broken(format!(
                "{} {} came from {from}, which is not the signalled {signalled} and has not shown enough packets in \
                 sequence yet to be believed.",
                packets(refused),
                window(lately)
            )),
            _ => unknown(format!("Packets come from {from}; signalled is {signalled}.")),
        },
    }
}

pub fn authenticated(leg: &LegFacts) -> Finding {
    let Some(suite) = leg.terms.as_ref().and_then(|terms| terms.suite) else {
        return unknown("Not encrypted: there is nothing to authenticate.");
    };
    let (report, lately) = (&leg.report, &leg.report.lately);
    match flow(leg) {
        Flow::Nothing => unknown(format!("{suite}; nothing comes.")),
        Flow::Refused(Rejected { reason, .. }) if link_of(reason) == "authenticated" => {
            let why = match reason {
                Dropped::BadTag => "The remote uses another key than its SDP says.",
                Dropped::BadSrtp => "The remote sends plain RTP, or another suite.",
                Dropped::Replayed => "The remote sends packets again, or began its counter anew.",
                _ => "The key has served its time: a new offer brings another.",
            };
            broken(format!(
                "{suite}: {} {} refused as `{}`. {why}",
                packets(lately.dropped_for(reason)),
                window(lately),
                reason.name()
            ))
        }
        Flow::Refused(_) if !is_fresh(lately.since_arrival) => {
            unknown(format!("{suite}; packets are refused before or after."))
        }
        Flow::Accepted | Flow::Refused(_) => holds(format!(
            "{suite}; since the beginning {} bad tags and {} replays were refused.",
            report.dropped[Dropped::BadTag as usize],
            report.dropped[Dropped::Replayed as usize]
        )),
    }
}

pub fn payload_type(leg: &LegFacts) -> Finding {
    let lately = &leg.report.lately;
    let known = leg
        .terms
        .as_ref()
        .map_or_else(String::new, |terms| listed(&terms.payload_types));
    match flow(leg) {
        Flow::Refused(Rejected {
            reason: Dropped::UnknownPayloadType,
            payload_type,
            ..
        }) => broken(format!(
            "{} {} had a payload type that was not agreed{}; agreed is {known}.",
            packets(lately.dropped_for(Dropped::UnknownPayloadType)),
            window(lately),
            match payload_type {
                Some(number) => format!(", the last {number}"),
                None => String::new(),
            }
        )),
        Flow::Accepted => match lately.dropped_for(Dropped::UnknownPayloadType) {
            0 => holds(format!("All have an agreed one: {known}.")),
            count => holds(format!(
                "An agreed one ({known}); {} {} had another.",
                packets(count),
                window(lately)
            )),
        },
        Flow::Refused(_) | Flow::Nothing => unknown("Unknown: nothing is taken in."),
    }
}

pub fn decoded(leg: &LegFacts) -> Finding {
    let (report, lately) = (&leg.report, &leg.report.lately);
    let codec = report.codec_received.map_or("sound".to_owned(), registered_name);
    let is_new = lately.since_played.is_none() && lately.packets_received < 10;
    match flow(leg) {
        Flow::Accepted if is_fresh(lately.since_played) => {
            holds(match lately.dropped_for(Dropped::Undecodable) {
                0 => format!("{codec} is decoded."),
                count => format!(
                    "{codec} is decoded, but for {} {}.",
                    packets(count),
                    window(lately)
                ),
            })
        }
        Flow::Accepted if pauses(leg) => holds(format!("{codec} was decoded until the pause.")),
        Flow::Accepted if is_new => unknown("The first packets have just come."),
        Flow::Accepted => broken(match lately.most_dropped() {
            Some((reason, count)) => format!(
                "Packets come, but none was played for {}: {} {} as `{}`.",
                lately
                    .since_played
                    .map_or("as long as the leg lives".to_owned(), span),
                packets(count),
                window(lately),
                reason.name()
            ),
            None => "Packets come, but none of them is played.".to_owned(),
        }),
        Flow::Refused(_) | Flow::Nothing => unknown("Unknown: nothing is taken in."),
    }
}

pub fn delay(leg: &LegFacts) -> Finding {
    let (report, lately) = (&leg.report, &leg.report.lately);
    if !is_fresh(lately.since_played) {
        return unknown("Unknown: nothing is played.");
    }
    let (lost, received) = (lately.packets_lost, lately.packets_received);
    let figures = format!(
        "{} lost and {received} received {}; delay {:.0} ms, the network asks for {:.0} ms, jitter {:.1} ms.",
        packets(lost),
        window(lately),
        report.delay_ms,
        report.delay_target_ms,
        report.jitter_ms
    );
    match lost > received {
        true => broken(format!("More is lost than heard: {figures}")),
        false => holds(figures),
    }
}

pub fn level(leg: &LegFacts) -> Finding {
    let (report, lately) = (&leg.report, &leg.report.lately);
    if !is_fresh(lately.since_played) && !pauses(leg) {
        return unknown("Unknown: nothing is played.");
    }
    let loudest = lately.level_dbfs_max;
    let gain = match leg.gain_db {
        0.0 => String::new(),
        gain => format!(", before its gain of {gain} dB"),
    };
    let figures = format!(
        "its loudest {} was {loudest:.1} dBFS{gain}, its noise floor is {:.1} dBFS",
        window(lately),
        report.noise_floor_dbfs
    );
    // No one hears what lies below it.
    const INAUDIBLE_DBFS: f64 = -75.0;
    let call = &leg.call;
    if lately.said_something && f64::from(loudest) + leg.gain_db < INAUDIBLE_DBFS {
        return broken(format!(
            "`{call}` is turned down until nobody can hear it: {figures}."
        ));
    }
    if lately.said_something {
        return holds(format!("`{call}` says something: {figures}."));
    }
    broken(match loudest <= -126.0 {
        _ if pauses(leg) => format!("`{call}` says nothing: its sender has announced a pause."),
        true => format!(
            "What `{call}` sends is digital silence {}: most likely its microphone is muted or not connected.",
            window(lately)
        ),
        false => format!("`{call}` says nothing that stands out from its noise: {figures}."),
    })
}

/// It would be heard, but for its saying nothing.
pub fn says_nothing(leg: &LegFacts) -> bool {
    let lately = &leg.report.lately;
    (is_fresh(lately.since_played) || pauses(leg)) && !lately.said_something
}

pub fn muted(leg: &LegFacts) -> Finding {
    match &leg.muted {
        Some(deed) => broken(format!("`{}` was muted {}.", leg.call, whose(deed))),
        None => holds(format!("`{}` is not muted.", leg.call)),
    }
}

pub fn held(leg: &LegFacts) -> Finding {
    match &leg.held {
        Some(deed) => broken(format!("`{}` was put on hold {}.", leg.call, whose(deed))),
        None => holds(format!("`{}` is not on hold.", leg.call)),
    }
}

pub fn digits(leg: &LegFacts) -> Finding {
    match leg.report.lately.is_collecting {
        true => broken(format!(
            "`{}` is pressing digits that are collected: it is out of the mix until they are complete.",
            leg.call
        )),
        false => holds("No digits are being collected."),
    }
}

pub fn talker(leg: &LegFacts) -> Finding {
    let (report, lately) = (&leg.report, &leg.report.lately);
    let (call, conference) = (&leg.call, &leg.conference);
    if report.contributing {
        return holds(format!("The voice of `{call}` is in the mix of `{conference}`."));
    }
    if report.crowded_out {
        let max = match leg.talkers_max {
            Some(max) => format!("`maxTalkers` is {max}"),
            None => "only so many may speak at once".to_owned(),
        };
        return broken(format!(
            "`{call}` speaks, but others in `{conference}` are louder, and {max}: its voice is left out."
        ));
    }
    match lately.contributed && leg.muted.is_none() && leg.held.is_none() {
        true => holds(format!(
            "`{call}` pauses; its voice was in the mix of `{conference}` {}.",
            window(lately)
        )),
        false if !lately.said_something => {
            unknown(format!("`{call}` says nothing that could be in the mix."))
        }
        false => broken(format!(
            "The voice of `{call}` is not in the mix of `{conference}`."
        )),
    }
}

fn signalled(leg: &LegFacts) -> String {
    let remote = leg.terms.as_ref().and_then(|terms| terms.remote);
    remote.map_or("no address".to_owned(), |remote| remote.to_string())
}

/// `0 (PCMU/8000), 101 (telephone-event/8000)`
fn listed(payload_types: &[(u8, String)]) -> String {
    let listed: Vec<String> = payload_types
        .iter()
        .map(|(number, name)| format!("{number} ({name})"))
        .collect();
    listed.join(", ")
}
