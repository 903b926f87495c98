//! The links on the listener's side: from the mix to its wire and what it says of what came.

use std::time::Duration;

use super::inbound::pauses;
use super::{Finding, LegFacts, broken, holds, is_fresh, packets, span, unknown, whose, window};
use crate::control::negotiation::registered_name;
use crate::leg::Dropped;

/// Reports come each 5 s or so (RFC 3550 §6.2): what is older than several of them is not of now.
const REPORTS_FRESH: Duration = Duration::from_secs(20);

/// Who is to send, and of whom nothing at all has come for so long, is gone, or cannot be reached either.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Who sent something no longer ago than this is there.
const PRESENCE: Duration = Duration::from_secs(2);

pub fn listening(leg: &LegFacts) -> Finding {
    let call = &leg.call;
    match (&leg.held, &leg.deaf) {
        (Some(deed), _) => broken(format!(
            "`{call}` hears {}, because it was put on hold {}.",
            leg.hold_music.unwrap_or("silence"),
            whose(deed)
        )),
        (None, Some(deed)) => broken(format!(
            "`{call}` hears silence, because it was made deaf {}.",
            whose(deed)
        )),
        (None, None) if leg.waiting => broken(format!("`{call}` waits for its conference to begin.")),
        (None, None) => holds(format!("`{call}` hears the conference.")),
    }
}

pub fn encoded(leg: &LegFacts) -> Finding {
    let call = &leg.call;
    match leg.report.codec_sent.filter(|_| leg.terms.is_some()) {
        Some(codec) => holds(format!(
            "For `{call}` it is encoded as {}.",
            registered_name(codec)
        )),
        None if leg.terms.is_none() => broken(format!(
            "Nothing is agreed with `{call}`: our offer has not been answered. Give the answer by PATCH /v1/legs/{call}."
        )),
        None => unknown("The agreed codec is not in force yet."),
    }
}

pub fn sent(leg: &LegFacts) -> Finding {
    let (call, local, lately) = (&leg.call, leg.local, &leg.report.lately);
    let Some(terms) = &leg.terms else {
        return unknown("Nothing is agreed.");
    };
    let Some(signalled) = terms.remote else {
        return broken(format!(
            "By its SDP `{call}` has no address now: nothing is sent until it names one."
        ));
    };
    if !terms.sends {
        return broken(format!(
            "By its SDP `{call}` takes nothing now: it has us on hold, or waits for another offer."
        ));
    }
    let Some(to) = leg.report.remote else {
        return broken(format!(
            "There is no address to send to: signalled is {signalled}, and nothing has come from there."
        ));
    };
    let (sent, refused) = (lately.packets_sent, lately.send_errors);
    let how = match to == signalled {
        true => "as signalled",
        false => "where its packets come from",
    };
    if refused > 0 && refused * 2 >= sent {
        return broken(format!(
            "The socket refused {refused} of {} {} to {to}: there is no way there from {local} (route, firewall).",
            packets(sent),
            window(lately)
        ));
    }
    if sent == 0
        && let Some(suite) = terms.suite
        && lately.dropped_for(Dropped::KeyExhausted) > 0
    {
        return broken(format!(
            "Nothing was sent to {to} {}: the key of {suite} has protected all the packets it may; a new offer brings \
             another.",
            window(lately)
        ));
    }
    if sent == 0 {
        return match lately.millis < 200 {
            true => unknown(format!("`{call}` has just come: nothing was sent yet.")),
            false => broken(format!("Nothing was sent to {to} {}.", window(lately))),
        };
    }
    let errors = match refused {
        0 => String::new(),
        refused => format!("; {refused} of them were refused by the socket"),
    };
    holds(format!(
        "{} {} from {local} to {to}, {how}{errors}.",
        packets(sent),
        window(lately)
    ))
}

pub fn received(leg: &LegFacts) -> Finding {
    let (call, report, lately) = (&leg.call, &leg.report, &leg.report.lately);
    if report.bye_received {
        return broken(format!(
            "By its RTCP `{call}` has left (BYE), and it has sent no sound since."
        ));
    }
    if lately.one_way_out == Some("not_received") {
        return broken(format!(
            "Nothing of what is sent reaches `{call}` any more, by its reports, the last {} ago: see the way from {} to it \
             (NAT, firewall).",
            span(lately.since_rtcp.unwrap_or_default()),
            leg.local
        ));
    }
    if lately.silent_for >= SILENCE_MAX && !pauses(leg) && !is_fresh(lately.since_rejected) {
        let silence = format!(
            "Nothing has come from `{call}` for {}, neither RTP nor RTCP, though it is to send",
            span(lately.silent_for)
        );
        // It may suppress its silence without a word.
        return match lately.is_overdue {
            true => broken(format!("{silence}: it is gone, or cut off.")),
            false => unknown(format!("{silence}; its next report is not overdue yet.")),
        };
    }
    let (Some(loss), Some(since)) = (report.remote_loss_percent, lately.since_reported) else {
        return unknown(match lately.since_rtcp {
            Some(since) => format!(
                "The reports of `{call}`, the last {} ago, say nothing of what we send: it may never have received any.",
                span(since)
            ),
            None => format!("`{call}` has sent no report of what it receives."),
        });
    };
    if since > REPORTS_FRESH {
        return unknown(format!(
            "`{call}` has not reported for {} what it receives.",
            span(since)
        ));
    }
    let when = format!("by its reports, the last {} ago", span(since));
    let round_trip = match report.round_trip_ms {
        Some(millis) => format!("; the round trip is {millis:.0} ms"),
        None => String::new(),
    };
    let figures = format!("`{call}` loses {loss:.0} % of what is sent, {when}{round_trip}.");
    if loss > 50.0 {
        broken(figures)
    } else {
        holds(figures)
    }
}

/// Whether the party may be taken to receive what it does not report of: it was there a moment ago, or is not to send.
/// Who reports, but not what we send, shows that it may receive nothing.
pub fn is_there(leg: &LegFacts) -> bool {
    let lately = &leg.report.lately;
    let leaves_us_out = match (lately.since_rtcp, lately.since_reported) {
        (Some(_), None) => true,
        (Some(rtcp), Some(reported)) => reported > rtcp + REPORTS_FRESH,
        (None, _) => false,
    };
    let has_come = lately.since_arrival.is_some() || lately.since_rtcp.is_some();
    let is_there = match &leg.terms {
        Some(terms) if terms.receives => {
            is_fresh(lately.since_rejected)
                || has_come && lately.silent_for <= PRESENCE
                || pauses(leg) && lately.since_rtcp.is_some()
        }
        Some(_) => lately.since_rtcp.is_none_or(|since| since <= REPORTS_FRESH),
        None => false,
    };
    is_there && !leaves_us_out
}
