//! The figures of the door: connections there are, and what was refused before the service was asked.

use super::Page;
use crate::control::tally::{ConnectionRefusal, Face, RequestRefusal, Tally};

pub fn render(page: &mut Page, tally: &Tally) {
    page.family("mixminus_connections", "gauge", "Connections there are, by face.");
    for face in Face::ALL {
        page.sample(
            "mixminus_connections",
            &[("face", face.name())],
            tally.connections(face),
        );
    }
    page.family(
        "mixminus_refused_connections_total",
        "counter",
        "Connections that were not taken, or ended by this side, by reason.",
    );
    for reason in ConnectionRefusal::ALL {
        page.sample(
            "mixminus_refused_connections_total",
            &[("reason", reason.name())],
            tally.refused_connections(reason),
        );
    }
    page.family(
        "mixminus_refused_total",
        "counter",
        "Requests that were refused, by reason.",
    );
    for reason in RequestRefusal::ALL {
        page.sample(
            "mixminus_refused_total",
            &[("reason", reason.name())],
            tally.refused_requests(reason),
        );
    }
    page.family(
        "mixminus_idempotency_forgotten_total",
        "counter",
        "Answers that were remembered for an Idempotency-Key and forgotten before their time, for want of room.",
    );
    page.sample(
        "mixminus_idempotency_forgotten_total",
        &[],
        tally.forgotten_answers(),
    );
}
