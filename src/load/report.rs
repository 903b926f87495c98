//! What a run found, as a table for people and as JSON for programs. What could not be measured is absent (`null`),
//! never zero.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use super::commands::Commands;
use super::distribution::Distribution;
use super::impair::Impairment;
use super::proxy::{Passed, Relayed, TO_DAEMON, TO_PARTY};
use super::recordings::Recorded;
use super::scrape::Buckets;
use super::watch::Watched;

/// Everything is of the measured part, after the ramp.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub run: Run,
    pub sent: Sent,
    pub received: Received,
    /// Between two arrivals of one stream.
    pub gap_ms: Quantiles,
    pub added_delay: AddedDelay,
    pub tick_lateness: Option<TickLateness>,
    pub daemon: Process,
    pub generator: Generator,
    /// Where there was a bad network between the parties and the daemon.
    pub impaired: Option<Impaired>,
    /// Where the rooms were recorded.
    pub recorded: Option<Recorded>,
    /// Where there were commands beside the load.
    pub commands: Option<Commands>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The daemon's URL, or `floor`.
    pub target: String,
    pub codec: String,
    /// The suite, where all legs are encrypted.
    pub srtp: Option<&'static str>,
    pub ptime_ms: u8,
    pub legs_wanted: usize,
    pub legs: usize,
    pub rooms: usize,
    pub room_size: usize,
    pub talkers_per_room: usize,
    pub measured_s: f64,
    /// Ended before its time.
    pub interrupted: bool,
    /// The first leg's that was refused.
    pub refusal: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    pub packets: u64,
    pub bytes: u64,
    /// The socket did not take them.
    pub refused: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    pub packets: u64,
    pub bytes: u64,
    /// One packet for each leg and packet time.
    pub due: u64,
    /// By sequence number.
    pub missing: u64,
    pub missing_share: f64,
    pub duplicates: u64,
    pub overtaken: u64,
    pub source_changes: u64,
    /// Legs to which nothing came at all.
    pub silent_legs: u64,
    pub worst_leg_missing: u64,
    /// RTCP, and what nobody should send.
    pub other_datagrams: u64,
    /// SRTP that is not authentic.
    pub unauthentic: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Quantiles {
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

impl Quantiles {
    /// In milliseconds.
    pub fn of(distribution: &Distribution) -> Quantiles {
        let ms = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64() * 1e3);
        Quantiles {
            p50: ms(distribution.quantile(0.5)),
            p99: ms(distribution.quantile(0.99)),
            max: ms(distribution.max()),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddedDelay {
    /// From a burst's sending to its hearing, the codec's own delay included.
    pub ms: Quantiles,
    /// What encoding and decoding alone would have taken of that, had the packets come straight back.
    pub codec_ms: Option<f64>,
    /// Pairs of a probing talker and one who listens.
    pub streams: usize,
    pub bursts_sent: u64,
    pub bursts_heard: u64,
    /// Mean correlation of all bursts sent with what of them was heard; speech alone reaches about 0.4.
    pub likeness: Option<f64>,
}

/// What a proxy did to the packets, and how the daemon bore it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Impaired {
    /// As it was asked for.
    pub asked: String,
    pub to_daemon: Way,
    pub to_parties: Way,
    /// How much later than due the proxy passed packets on.
    pub proxy_lateness_ms: Quantiles,
    /// Of the packets missing at the parties, those that the proxy did not lose.
    pub missing_besides: u64,
    pub legs: Watched,
}

/// One direction of the proxy.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Way {
    pub offered: u64,
    pub lost: u64,
    pub lost_share: f64,
    pub delivered: u64,
    /// A socket did not take them.
    pub refused: u64,
    /// Missing by sequence number before the proxy could lose them.
    pub missing_before: u64,
    /// What it took those that were delivered.
    pub took_ms: Quantiles,
}

impl Way {
    fn of(passed: &Passed) -> Way {
        Way {
            offered: passed.offered,
            lost: passed.lost,
            lost_share: passed.lost as f64 / passed.offered.max(1) as f64,
            delivered: passed.delivered,
            refused: passed.refused,
            missing_before: passed.missing,
            took_ms: Quantiles::of(&passed.took),
        }
    }
}

impl Impaired {
    pub fn of(impairment: &Impairment, relayed: &Relayed, legs: Watched, received: &Received) -> Impaired {
        let lost_rtp = relayed.directions[TO_PARTY].lost_rtp;
        Impaired {
            asked: impairment.text.clone(),
            to_daemon: Way::of(&relayed.directions[TO_DAEMON]),
            missing_besides: received.missing.saturating_sub(lost_rtp),
            to_parties: Way::of(&relayed.directions[TO_PARTY]),
            proxy_lateness_ms: Quantiles::of(&relayed.lateness),
            legs,
        }
    }
}

/// Upper edges of the histogram's buckets, so "not more than"; `null` is above the last edge.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TickLateness {
    pub ticks: f64,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub p999_ms: Option<f64>,
    pub max_ms: Option<f64>,
}

impl TickLateness {
    pub fn of(buckets: &Buckets) -> TickLateness {
        let ms = |edge_s: f64| edge_s.is_finite().then_some(edge_s * 1e3);
        TickLateness {
            ticks: buckets.count(),
            p50_ms: ms(buckets.quantile(0.5)),
            p99_ms: ms(buckets.quantile(0.99)),
            p999_ms: ms(buckets.quantile(0.999)),
            max_ms: ms(buckets.max()),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// User and system time for each leg and second.
    pub cpu_ms_per_leg_second: Option<f64>,
    pub cpu_cores: Option<f64>,
    /// `clock` (the process's own, on this machine) or `metrics`.
    pub cpu_source: Option<&'static str>,
    pub memory_bytes: Option<u64>,
    /// What the legs of this run added, each.
    pub memory_bytes_per_leg: Option<f64>,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Generator {
    pub threads: usize,
    pub cpu_ms_per_leg_second: Option<f64>,
    /// How much later than due its packets left: above a few milliseconds the figures are the generator's, not the daemon's.
    pub lateness_ms: Quantiles,
}

/// From here on the generator's own lateness is said to spoil the figures.
const LATENESS_P99_MS_MAX: f64 = 5.0;

impl Report {
    /// All legs were seated, and each heard something, and nothing that was not for it; and where rooms were recorded, all
    /// of them are.
    pub fn is_good(&self) -> bool {
        !self.run.interrupted
            && self.run.legs > 0
            && self.run.legs == self.run.legs_wanted
            && self.received.silent_legs == 0
            && self.received.unauthentic == 0
            && self.recorded.as_ref().is_none_or(Recorded::is_good)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Report {
            run,
            sent,
            received,
            added_delay: delay,
            daemon,
            generator,
            ..
        } = self;
        writeln!(
            f,
            "{} legs of {} wanted at {}, {}{}, ptime {} ms, {} rooms of {}, {} talkers each, {:.1} s measured{}",
            run.legs,
            run.legs_wanted,
            run.target,
            run.codec,
            run.srtp
                .map_or_else(String::new, |suite| format!(" over SRTP ({suite})")),
            run.ptime_ms,
            run.rooms,
            run.room_size,
            run.talkers_per_room,
            run.measured_s,
            if run.interrupted { " (interrupted)" } else { "" },
        )?;
        if let Some(refusal) = &run.refusal {
            writeln!(f, "  first refusal          {refusal}")?;
        }
        writeln!(
            f,
            "  packets sent           {:>10}   not taken by the socket {}",
            sent.packets, sent.refused
        )?;
        writeln!(
            f,
            "  packets received       {:>10}   of {} due, {} legs silent",
            received.packets, received.due, received.silent_legs
        )?;
        writeln!(
            f,
            "  missing by sequence    {:>10}   {:.4} %, {} on the worst leg, {} twice, {} overtaken, {} changes of source",
            received.missing,
            received.missing_share * 100.0,
            received.worst_leg_missing,
            received.duplicates,
            received.overtaken,
            received.source_changes,
        )?;
        if received.unauthentic > 0 {
            writeln!(f, "  not authentic          {:>10}", received.unauthentic)?;
        }
        writeln!(
            f,
            "                                p50       p99     p99.9       max"
        )?;
        row(
            f,
            "gap between packets",
            [self.gap_ms.p50, self.gap_ms.p99, None, self.gap_ms.max],
            "ms",
        )?;
        row(
            f,
            "added delay",
            [delay.ms.p50, delay.ms.p99, None, delay.ms.max],
            "ms",
        )?;
        writeln!(
            f,
            "    {} of {} bursts heard on {} streams; of the delay the codec itself takes {} ms",
            delay.bursts_heard,
            delay.bursts_sent,
            delay.streams,
            figure(delay.codec_ms),
        )?;
        if let Some(late) = &self.tick_lateness {
            // Absent here means in the histogram's last bucket, which has no upper edge.
            let edges = [late.p50_ms, late.p99_ms, late.p999_ms, late.max_ms];
            row(
                f,
                "tick late by at most",
                edges.map(|edge| edge.or(Some(f64::INFINITY))),
                "ms",
            )?;
        }
        let lateness = generator.lateness_ms;
        row(
            f,
            "generator late by",
            [lateness.p50, lateness.p99, None, lateness.max],
            "ms",
        )?;
        if let Some(impaired) = &self.impaired {
            impaired.fmt(f)?;
            writeln!(
                f,
                "    bursts are heard with a likeness of {}",
                figure(delay.likeness)
            )?;
        }
        writeln!(
            f,
            "  CPU of the {:<12}{:>10} ms per leg-second, {} cores ({}); generator {} ms per leg-second",
            if run.target == "floor" {
                "reflector"
            } else {
                "daemon"
            },
            precise(daemon.cpu_ms_per_leg_second),
            figure(daemon.cpu_cores),
            daemon.cpu_source.unwrap_or("not to be had"),
            precise(generator.cpu_ms_per_leg_second),
        )?;
        writeln!(
            f,
            "  memory                 {:>10} MiB, {} KiB per leg",
            figure(daemon.memory_bytes.map(|bytes| bytes as f64 / 1_048_576.0)),
            figure(daemon.memory_bytes_per_leg.map(|bytes| bytes / 1_024.0)),
        )?;
        if let Some(recorded) = &self.recorded {
            recorded.fmt(f)?;
        }
        if let Some(commands) = &self.commands {
            commands.fmt(f)?;
        }
        if lateness.p99.is_some_and(|ms| ms > LATENESS_P99_MS_MAX) {
            writeln!(
                f,
                "  The generator itself was late: this machine is too busy for these figures to mean much."
            )?;
        }
        Ok(())
    }
}

impl Display for Impaired {
    /// The rows of the table that only such a run has.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Impaired { legs, .. } = self;
        let quantiles = |quantiles: Quantiles| [quantiles.p50, quantiles.p99, None, quantiles.max];
        row(f, "way to the daemon", quantiles(self.to_daemon.took_ms), "ms")?;
        row(f, "way to the parties", quantiles(self.to_parties.took_ms), "ms")?;
        row(f, "proxy late by", quantiles(self.proxy_lateness_ms), "ms")?;
        row(f, "playout delay", quantiles(legs.delay_ms), "ms")?;
        row(f, "its target", quantiles(legs.delay_target_ms), "ms")?;
        for (name, way) in [
            ("to the daemon", &self.to_daemon),
            ("to the parties", &self.to_parties),
        ] {
            writeln!(
                f,
                "  lost {name:<18}{:>10}   {:.2} % of {}, by --impair {}; {} missing before",
                way.lost,
                way.lost_share * 100.0,
                way.offered,
                self.asked,
                way.missing_before,
            )?;
        }
        writeln!(
            f,
            "  missing besides        {:>10}   at the parties",
            self.missing_besides
        )?;
        writeln!(
            f,
            "  played by {:<4} legs    {:>10.2} % made up, {:.2} % taken out, {} % put in",
            legs.legs,
            legs.concealed_share * 100.0,
            legs.accelerated_share * 100.0,
            figure(legs.expanded_share.map(|share| share * 100.0)),
        )?;
        let dropped: Vec<String> = legs
            .dropped
            .iter()
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        let dropped = if dropped.is_empty() {
            "none".to_owned()
        } else {
            dropped.join(", ")
        };
        writeln!(
            f,
            "  not heard              {:>10}   of {} packets",
            dropped, legs.packets_received
        )
    }
}

pub(super) fn row(f: &mut Formatter<'_>, name: &str, figures: [Option<f64>; 4], unit: &str) -> fmt::Result {
    write!(f, "  {name:<23}")?;
    for (column, value) in figures.into_iter().enumerate() {
        // Most rows have no p99.9.
        let text = if column == 2 && value.is_none() {
            String::new()
        } else {
            figure(value)
        };
        write!(f, "{text:>10}")?;
    }
    writeln!(f, " {unit}")
}

pub(super) fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| format!("{value:.2}"))
}

pub(super) fn precise(value: Option<f64>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| format!("{value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut gaps = Distribution::new();
        gaps.record(Duration::from_millis(20));
        Report {
            run: Run {
                target: "floor".into(),
                codec: "pcmu".into(),
                srtp: None,
                ptime_ms: 20,
                legs_wanted: 10,
                legs: 10,
                rooms: 1,
                room_size: 10,
                talkers_per_room: 2,
                measured_s: 5.0,
                interrupted: false,
                refusal: None,
            },
            sent: Sent {
                packets: 2_500,
                ..Sent::default()
            },
            received: Received {
                packets: 2_499,
                due: 2_500,
                ..Received::default()
            },
            gap_ms: Quantiles::of(&gaps),
            added_delay: AddedDelay::default(),
            tick_lateness: Some(TickLateness::of(&Buckets {
                counts: vec![(0.001, 9.0), (f64::INFINITY, 1.0)],
            })),
            daemon: Process::default(),
            generator: Generator::default(),
            impaired: None,
            recorded: None,
            commands: None,
        }
    }

    #[test]
    fn what_was_not_measured_is_null_in_json_and_a_question_mark_in_the_table() {
        let report = report();
        let json = serde_json::to_value(&report).expect("it is plain data");
        assert!(json["daemon"]["cpuMsPerLegSecond"].is_null());
        assert!(json["tickLateness"]["maxMs"].is_null());
        assert_eq!(json["tickLateness"]["p50Ms"], 1.0);
        assert_eq!(json["gapMs"]["p50"], 20.0);
        assert!(report.to_string().contains("? ms per leg-second"), "{report}");
    }

    #[test]
    fn a_run_with_a_refused_or_silent_leg_or_none_at_all_is_not_good() {
        assert!(report().is_good());
        let mut refused = report();
        refused.run.legs = 9;
        assert!(!refused.is_good());
        let mut silent = report();
        silent.received.silent_legs = 1;
        assert!(!silent.is_good());
        let mut forged = report();
        forged.received.unauthentic = 1;
        assert!(!forged.is_good());
        assert!(forged.to_string().contains("not authentic"), "{forged}");
        let mut unrecorded = report();
        unrecorded.recorded = Some(Recorded {
            rooms: 1,
            ..Recorded::default()
        });
        assert!(!unrecorded.is_good());
        assert!(
            unrecorded.to_string().contains("recordings available"),
            "{unrecorded}"
        );
        let mut empty = report();
        (empty.run.legs, empty.run.legs_wanted) = (0, 0);
        assert!(!empty.is_good());
    }

    #[test]
    fn codec_and_suite_are_named() {
        assert!(report().to_string().contains(", pcmu, ptime 20 ms"));
        let mut encrypted = report();
        encrypted.run.srtp = Some("AEAD_AES_128_GCM");
        assert!(
            encrypted
                .to_string()
                .contains(", pcmu over SRTP (AEAD_AES_128_GCM), ptime")
        );
        let json = serde_json::to_value(&encrypted).expect("it is plain data");
        assert_eq!(json["run"]["srtp"], "AEAD_AES_128_GCM");
    }

    #[test]
    fn a_late_generator_says_so() {
        let mut late = report();
        late.generator.lateness_ms.p99 = Some(12.0);
        assert!(late.to_string().contains("too busy"));
        assert!(!report().to_string().contains("too busy"));
    }
}
