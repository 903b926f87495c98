//! The links on the listener's side: from the mix to its wire and what it says of what came.

use super::{Finding, LegFacts, broken, holds, packets, unknown, whose, window};
use crate::control::negotiation::registered_name;

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
            "Nothing is agreed with `{call}`: our offer has not been answered. Give the answer by PATCH /v1/legs."
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
    unknown(format!("`{}` has sent no report of what it receives.", leg.call))
}
