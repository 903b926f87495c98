//! The figures of callbacks: what arrived, what waits, what did not arrive and why.

use std::sync::atomic::AtomicU64;

use super::Page;
use crate::control::webhooks::{Counters, Failure, Form, Kind, OfForm, read};

pub fn render(page: &mut Page, counters: &Counters) {
    type Counter = fn(&OfForm) -> &AtomicU64;
    let families: [(&str, &str, &str, Counter); 5] = [
        (
            "mixminus_webhook_delivered_total",
            "counter",
            "Callbacks that a receiver has taken.",
            |form| &form.delivered,
        ),
        (
            "mixminus_webhook_fallback_total",
            "counter",
            "Of those: taken by the fallback.",
            |form| &form.by_fallback,
        ),
        (
            "mixminus_webhook_retries_total",
            "counter",
            "Rounds of primary and fallback in which nobody took a callback, and that are made again.",
            |form| &form.retries,
        ),
        (
            "mixminus_webhook_lost_total",
            "counter",
            "Numbers of events that left the log before they were delivered.",
            |form| &form.lost,
        ),
        (
            "mixminus_webhook_pending",
            "gauge",
            "Callbacks in memory that wait or are on their way.",
            |form| &form.pending,
        ),
    ];
    for (name, kind, help, counter) in families {
        page.family(name, kind, help);
        for form in Form::ALL {
            page.sample(name, &[("form", form.name())], read(counter(counters.of(form))));
        }
    }
    page.family(
        "mixminus_webhook_dead_total",
        "counter",
        "Callbacks that became dead letters, by reason.",
    );
    for form in Form::ALL {
        let of = counters.of(form);
        for (reason, counter) in [("refused", &of.refused), ("given_up", &of.given_up)] {
            let labels = [("form", form.name()), ("reason", reason)];
            page.sample("mixminus_webhook_dead_total", &labels, read(counter));
        }
    }
    page.family(
        "mixminus_webhook_failures_total",
        "counter",
        "Posts that came to nothing, by reason.",
    );
    for form in Form::ALL {
        for (failure, counter) in Failure::ALL.iter().zip(&counters.of(form).failures) {
            let labels = [("form", form.name()), ("reason", failure.name())];
            page.sample("mixminus_webhook_failures_total", &labels, read(counter));
        }
    }
    page.family(
        "mixminus_webhook_denied_total",
        "counter",
        "Connections that were not made, by what the receiver's address was.",
    );
    for (kind, counter) in Kind::ALL.iter().zip(&counters.denied) {
        page.sample(
            "mixminus_webhook_denied_total",
            &[("reason", kind.name())],
            read(counter),
        );
    }
    page.one(
        "mixminus_webhook_dead_letters_unkept_total",
        "counter",
        "Dead letters that could not be written.",
        read(&counters.unkept),
    );
    page.one(
        "mixminus_webhook_progress_unsaved_total",
        "counter",
        "Times that it could not be written down how far callbacks had come.",
        read(&counters.unsaved),
    );
}
