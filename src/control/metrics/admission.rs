//! Who was turned away and why, how full the engines are, and what has given way.

use super::Page;
use crate::control::admission::Used;
use crate::control::service::AdmissionFigures;

pub fn render(page: &mut Page, figures: &AdmissionFigures) {
    page.family(
        "mixminus_admission_refused_total",
        "counter",
        "Legs that were not let into a room, and dearer settings and recordings of rooms that were refused, by what there \
         was no room in.",
    );
    for (reason, count) in &figures.refused {
        page.sample("mixminus_admission_refused_total", &[("reason", reason)], count);
    }
    type Share = fn(&Used) -> f64;
    let shares: [(&str, &str, Share); 3] = [
        (
            "mixminus_admission_account_ratio",
            "What the legs of an engine should take of a core.",
            |used| used.account,
        ),
        (
            "mixminus_admission_measured_ratio",
            "What the thread of an engine takes of a core, smoothed over seconds.",
            |used| used.measured,
        ),
        (
            "mixminus_admission_used_ratio",
            "What counts of both when a leg is to be let in.",
            |used| used.used,
        ),
    ];
    for (name, help, share) in shares {
        page.family(name, "gauge", help);
        for (index, used) in figures.engines.iter().enumerate() {
            page.sample(name, &[("engine", &index.to_string())], share(used) / 100.0);
        }
    }
    page.one(
        "mixminus_admission_limit_ratio",
        "gauge",
        "What the legs of an engine may take of a core.",
        figures.limit_percent as f64 / 100.0,
    );
    page.one(
        "mixminus_memory_free_bytes",
        "gauge",
        "What legs and recordings may still take of memory; +Inf where nothing is known to bound them.",
        figures
            .memory_free
            .map_or("+Inf".to_owned(), |bytes| bytes.to_string()),
    );
    page.one(
        "mixminus_memory_reserve_bytes",
        "gauge",
        "Memory that legs and recordings leave to everything else.",
        figures.memory_reserve,
    );
    page.one(
        "mixminus_degradation_level",
        "gauge",
        "How many things have given way because engines could not keep their time: 0 to 4.",
        figures.level,
    );
    page.one(
        "mixminus_degradations_total",
        "counter",
        "How often something has given way.",
        figures.degradations,
    );
    page.one(
        "mixminus_talking_untold_total",
        "counter",
        "Changes of who talks that were not told while that had given way.",
        figures.untold,
    );
}
