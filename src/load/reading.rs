//! What a daemon and this generator have used so far, read at the beginning and at the end of what is measured.

use std::time::{Duration, Instant};

use super::LoadError;
use super::api::ApiError;
use super::report::{Process, TickLateness};
use super::run::Target;
use super::scrape::{Buckets, Scrape, process_cpu, process_memory};

/// What the daemon and the generator had used at one moment.
pub struct Reading {
    pub at: Instant,
    scrape: Option<Scrape>,
    cpu: Option<(Duration, &'static str)>,
    memory_bytes: Option<u64>,
    pub generator_cpu: Duration,
}

impl Reading {
    pub fn scrape(&self) -> Option<&Scrape> {
        self.scrape.as_ref()
    }

    /// A daemon without `/metrics` is measured from outside only; one that does not answer at all is an error.
    pub fn take(target: &Target) -> Result<Reading, LoadError> {
        let at = Instant::now();
        let generator_cpu = process_cpu(std::process::id()).unwrap_or_default();
        match target {
            Target::Floor { pid, .. } => Ok(Reading {
                at,
                scrape: None,
                cpu: process_cpu(*pid).map(|cpu| (cpu, "clock")),
                memory_bytes: process_memory(*pid),
                generator_cpu,
            }),
            Target::Daemon(api) => {
                let scrape = match api.metrics() {
                    Ok(text) => Some(Scrape::parse(at, &text)),
                    Err(ApiError::Refused { .. }) => None,
                    Err(error) => return Err(error.into()),
                };
                let metric = |name| scrape.as_ref().and_then(|scrape: &Scrape| scrape.sum(name));
                let reported = metric("process_cpu_seconds_total").map(Duration::from_secs_f64);
                let pid = scrape
                    .as_ref()
                    .and_then(|scrape| scrape.label("mixminus_process_info", "pid"));
                let local = pid.and_then(|pid| pid.parse().ok()).and_then(process_cpu);
                Ok(Reading {
                    at,
                    cpu: same_process(local, reported),
                    memory_bytes: metric("process_resident_memory_bytes").map(|bytes| bytes as u64),
                    scrape,
                    generator_cpu,
                })
            }
        }
    }
}

/// The clock of the process where it agrees with what the daemon reports of itself: behind a container's wall its
/// number belongs to another process here.
fn same_process(local: Option<Duration>, reported: Option<Duration>) -> Option<(Duration, &'static str)> {
    match (local, reported) {
        (Some(local), Some(reported)) if local.abs_diff(reported) > Duration::from_secs(1) => {
            Some((reported, "metrics"))
        }
        (Some(local), _) => Some((local, "clock")),
        (None, reported) => reported.map(|reported| (reported, "metrics")),
    }
}

pub fn process(before: &Reading, from: &Reading, to: &Reading, legs: usize, leg_seconds: f64) -> Process {
    let cpu_s = match (from.cpu, to.cpu) {
        (Some((from, _)), Some((to, _))) => Some(to.saturating_sub(from).as_secs_f64()),
        _ => None,
    };
    let memory_per_leg = match (before.memory_bytes, to.memory_bytes) {
        (Some(before), Some(to)) if legs > 0 => Some((to as f64 - before as f64) / legs as f64),
        _ => None,
    };
    Process {
        cpu_ms_per_leg_second: cpu_s
            .filter(|_| leg_seconds > 0.0)
            .map(|cpu_s| cpu_s * 1e3 / leg_seconds),
        cpu_cores: cpu_s.map(|cpu_s| cpu_s / to.at.duration_since(from.at).as_secs_f64()),
        cpu_source: to.cpu.map(|(_, source)| source),
        memory_bytes: to.memory_bytes,
        memory_bytes_per_leg: memory_per_leg,
    }
}

pub fn lateness_of_ticks(from: &Reading, to: &Reading) -> Option<TickLateness> {
    let (from, to) = (from.scrape.as_ref()?, to.scrape.as_ref()?);
    Buckets::between(from, to, "mixminus_tick_lateness_seconds")
        .as_ref()
        .map(TickLateness::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_counts_only_if_the_daemon_tells_the_same() {
        let s = Duration::from_secs;
        assert_eq!(same_process(Some(s(7)), Some(s(7))), Some((s(7), "clock")));
        assert_eq!(same_process(Some(s(900)), Some(s(7))), Some((s(7), "metrics")));
        assert_eq!(same_process(None, Some(s(7))), Some((s(7), "metrics")));
        assert_eq!(same_process(Some(s(7)), None), Some((s(7), "clock")));
        assert_eq!(same_process(None, None), None);
    }
}
