//! Why one leg is, or is not, heard by another: the facts from the one's wire to the other's, in the order in which the
//! sound meets them.
//!
//! A fact is a link of a chain. What is said of it is said of now: of the last two seconds, and of how long ago
//! something happened last. The first link that is broken is where to look; those behind it may be broken by it. That
//! the speaker says nothing at the moment is a broken link only where it is the only one: it would hide what lasts.

mod inbound;
mod outbound;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::control::deeds::Deed;
use crate::control::events::timestamp;
use crate::leg::{Lately, LegReport};

/// What came no longer ago than this still comes: Opus sends a packet each 400 ms while it pauses.
const FRESH: Duration = Duration::from_millis(500);

/// Links that say nothing against it as long as they say nothing: a leg without encryption, a phone without reports.
const MAY_BE_UNKNOWN: [&str; 2] = ["authenticated", "received"];

/// What is known of one of the two legs.
#[derive(Debug, Clone)]
pub struct LegFacts {
    pub call: String,
    pub conference: String,
    /// Its conference waits for a leg with which it begins.
    pub waiting: bool,
    /// How many its conference lets speak at once; `None`: all.
    pub talkers_max: Option<u16>,
    /// The engine has mixed it in its room.
    pub has_joined: bool,
    /// The bound address of its RTP socket.
    pub local: SocketAddr,
    /// `None` while our offer waits for its answer.
    pub terms: Option<Terms>,
    /// Whose deed it is, while it is in force.
    pub muted: Option<Deed>,
    pub deaf: Option<Deed>,
    pub held: Option<Deed>,
    /// What it hears while it is held; `None`: silence.
    pub hold_music: Option<&'static str>,
    pub gain_db: f64,
    pub report: LegReport,
}

/// What was agreed with a leg's remote.
#[derive(Debug, Clone)]
pub struct Terms {
    /// It is to send us something.
    pub receives: bool,
    /// It takes what we send.
    pub sends: bool,
    /// Where its SDP says that it takes it; `None`: it has no address now.
    pub remote: Option<SocketAddr>,
    /// Where packets are encrypted.
    pub suite: Option<&'static str>,
    /// What may arrive.
    pub payload_types: Vec<(u8, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub from: String,
    pub to: String,
    pub at: String,
    /// `false`: a link is broken. `true`: none is, and the listener reports that it receives what it is sent, or at least
    /// shows no sign that it does not. `None`, in JSON `null`: none is known to be broken, but nobody can tell.
    pub heard: Option<bool>,
    /// The first broken link's name.
    pub broken: Option<&'static str>,
    pub summary: String,
    pub links: Vec<Link>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// A name that stays.
    pub link: &'static str,
    /// The leg that it is about.
    pub call_id: String,
    /// `None`: not known, or of no account here, as is a speaker's silence where something lasting is broken.
    pub ok: Option<bool>,
    pub fact: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub first_broken: bool,
}

/// What a link comes to, with the sentence on it.
type Finding = (Option<bool>, String);

fn holds(fact: impl Into<String>) -> Finding {
    (Some(true), fact.into())
}

fn broken(fact: impl Into<String>) -> Finding {
    (Some(false), fact.into())
}

fn unknown(fact: impl Into<String>) -> Finding {
    (None, fact.into())
}

impl Explanation {
    pub fn of(from: &LegFacts, to: &LegFacts) -> Explanation {
        let mut chain: [(&'static str, &LegFacts, Finding); 17] = [
            ("agreed", from, inbound::agreed(from)),
            ("arriving", from, inbound::arriving(from)),
            ("source", from, inbound::source(from)),
            ("authenticated", from, inbound::authenticated(from)),
            ("payload_type", from, inbound::payload_type(from)),
            ("decoded", from, inbound::decoded(from)),
            ("delay", from, inbound::delay(from)),
            ("level", from, inbound::level(from)),
            ("muted", from, inbound::muted(from)),
            ("held", from, inbound::held(from)),
            ("digits", from, inbound::digits(from)),
            ("route", from, route(from, to)),
            ("talker", from, inbound::talker(from)),
            ("listening", to, outbound::listening(to)),
            ("encoded", to, outbound::encoded(to)),
            ("sent", to, outbound::sent(to)),
            ("received", to, outbound::received(to)),
        ];
        if inbound::says_nothing(from) {
            let is_other =
                |(link, _, (ok, _)): &(&str, &LegFacts, Finding)| *link != "level" && *ok == Some(false);
            let is_explained = chain.iter().any(is_other);
            if let Some((.., (ok, _))) = chain.iter_mut().find(|(link, ..)| *link == "level") {
                *ok = (!is_explained).then_some(false);
            }
        }
        let mut first = None;
        let links: Vec<Link> = chain
            .into_iter()
            .enumerate()
            .map(|(at, (link, leg, (ok, fact)))| {
                let first_broken = ok == Some(false) && *first.get_or_insert(at) == at;
                Link {
                    link,
                    call_id: leg.call.clone(),
                    ok,
                    fact,
                    first_broken,
                }
            })
            .collect();
        let broken = first.map(|at| &links[at]);
        let is_open = |link: &&Link| link.ok.is_none() && !MAY_BE_UNKNOWN.contains(&link.link);
        let open = links.iter().find(is_open).or_else(|| {
            links
                .last()
                .filter(|link| link.ok.is_none() && !outbound::is_there(to))
        });
        let (a, b) = (&from.call, &to.call);
        let (heard, summary) = match (broken, open) {
            (Some(link), _) => (Some(false), format!("`{a}` is not heard by `{b}`: {}", link.fact)),
            (None, None) => (
                Some(true),
                format!("`{a}` is heard by `{b}`: no link of the chain is broken."),
            ),
            (None, Some(link)) if link.link == "received" => (
                None,
                format!(
                    "No link is known to be broken as far as the wire of `{b}`; whether `{b}` receives it is not known: {}",
                    link.fact
                ),
            ),
            (None, Some(link)) => (
                None,
                format!(
                    "No link is known to be broken; whether `{a}` is heard by `{b}` is not known yet: {}",
                    link.fact
                ),
            ),
        };
        Explanation {
            from: a.clone(),
            to: b.clone(),
            at: timestamp(SystemTime::now()),
            heard,
            broken: broken.map(|link| link.link),
            summary,
            links,
        }
    }
}

fn route(from: &LegFacts, to: &LegFacts) -> Finding {
    let (a, b) = (&from.call, &to.call);
    if from.conference != to.conference {
        return broken(format!(
            "`{a}` is in the conference `{}`, `{b}` in `{}`: only legs of one conference hear each other.",
            from.conference, to.conference
        ));
    }
    if from.waiting {
        return broken(format!(
            "The conference `{}` has not begun: all who are there wait for a leg with `startOnEnter`.",
            from.conference
        ));
    }
    match from.has_joined && to.has_joined {
        true => holds(format!("Both are in the conference `{}`.", from.conference)),
        false => unknown(format!(
            "Both are in the conference `{}`, which has not been mixed with both yet.",
            from.conference
        )),
    }
}

fn is_fresh(since: Option<Duration>) -> bool {
    since.is_some_and(|since| since <= FRESH)
}

/// `20 ms`, `3.2 s`, `5 min`.
fn span(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ ..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{:.1} s", duration.as_secs_f32()),
        millis => format!("{} min", millis / 60_000),
    }
}

/// What the figures of the last seconds are of.
fn window(lately: &Lately) -> String {
    format!(
        "in the last {}",
        span(Duration::from_millis(lately.millis.into()))
    )
}

/// `1 packet`, `2 packets`.
fn packets(count: u32) -> String {
    format!("{count} packet{}", if count == 1 { "" } else { "s" })
}

/// Who did it, how and when.
fn whose(deed: &Deed) -> String {
    let who = match &deed.key {
        Some(key) => format!("by the key `{key}`"),
        None => "by a request without a key".to_owned(),
    };
    let ago = SystemTime::now().duration_since(deed.at).unwrap_or_default();
    format!(
        "{who} ({}) at {}, {} ago",
        deed.via,
        timestamp(deed.at),
        span(ago)
    )
}
