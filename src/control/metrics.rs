//! Figures in Prometheus' text form (version 0.0.4). Every series is there from the start, at zero.

mod admission;
mod door;
mod events;
mod log;
mod recordings;
mod webhooks;

use std::fmt::{Display, Write};

use crate::control::process;
use crate::control::service::Figures;
use crate::engine::EngineStats;
use crate::engine::stats::Histogram;
use crate::jitter::Operation;
use crate::leg::{Direction, Dropped};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub fn render(figures: &Figures) -> String {
    let mut page = Page::default();
    let engines = &figures.engines;

    page.histogram(
        "mixminus_tick_lateness_seconds",
        "How late each phase of each tick began.",
        engines,
        |engine| &engine.tick_lateness,
    );
    page.histogram(
        "mixminus_tick_duration_seconds",
        "How long each phase of each tick took.",
        engines,
        |engine| &engine.tick_duration,
    );

    page.histogram(
        "mixminus_playout_delay_seconds",
        "Seconds of legs, by their playout delay.",
        engines,
        |engine| &engine.playout_delay,
    );
    page.histogram(
        "mixminus_playout_target_delay_seconds",
        "Seconds of legs, by the playout delay that their arrivals ask for.",
        engines,
        |engine| &engine.playout_target,
    );
    page.family(
        "mixminus_playout_delay_max_seconds",
        "gauge",
        "The highest playout delay that any leg there is has had.",
    );
    for (index, engine) in engines.iter().enumerate() {
        page.sample(
            "mixminus_playout_delay_max_seconds",
            &[("engine", &index.to_string())],
            f64::from(engine.playout_delay_ms_max) / 1e3,
        );
    }
    page.family(
        "mixminus_playout_ticks_total",
        "counter",
        "Ticks of legs, by what playout made them of.",
    );
    for (index, operation) in Operation::ALL.iter().enumerate() {
        let count = sum(engines, |engine| engine.operations[index]);
        page.sample(
            "mixminus_playout_ticks_total",
            &[("operation", operation.name())],
            count,
        );
    }

    page.family("mixminus_packets_total", "counter", "RTP and RTCP datagrams.");
    page.sample(
        "mixminus_packets_total",
        &[("direction", "received")],
        sum(engines, |engine| engine.packets_received),
    );
    page.sample(
        "mixminus_packets_total",
        &[("direction", "sent")],
        sum(engines, |engine| engine.packets_sent),
    );

    page.family(
        "mixminus_rtcp_packets_total",
        "counter",
        "RTCP datagrams that were heeded, and that were sent.",
    );
    page.sample(
        "mixminus_rtcp_packets_total",
        &[("direction", "received")],
        sum(engines, |engine| engine.rtcp_received),
    );
    page.sample(
        "mixminus_rtcp_packets_total",
        &[("direction", "sent")],
        sum(engines, |engine| engine.rtcp_sent),
    );

    page.family(
        "mixminus_dropped_total",
        "counter",
        "Datagrams that were not heard or not sent, by reason.",
    );
    for (index, reason) in Dropped::ALL.iter().enumerate() {
        let count = sum(engines, |engine| engine.dropped[index]);
        page.sample("mixminus_dropped_total", &[("reason", reason.name())], count);
    }

    page.family(
        "mixminus_one_way_total",
        "counter",
        "How often one-way audio was noticed, by direction.",
    );
    for (index, direction) in Direction::ALL.iter().enumerate() {
        let count = sum(engines, |engine| engine.one_way[index]);
        page.sample(
            "mixminus_one_way_total",
            &[("direction", direction.name())],
            count,
        );
    }
    page.one(
        "mixminus_media_timeouts_total",
        "counter",
        "How often a leg's media timed out.",
        sum(engines, |engine| engine.media_timeouts),
    );

    page.one("mixminus_rooms", "gauge", "Rooms there are.", figures.rooms);
    page.family(
        "mixminus_legs",
        "gauge",
        "Legs there are, by the codec sent to them.",
    );
    for (codec, count) in &figures.legs_by_codec {
        page.sample("mixminus_legs", &[("codec", codec)], count);
    }

    type Figure = fn(&EngineStats) -> u64;
    let by_engine: [(&str, &str, &str, Figure); 19] = [
        ("mixminus_engine_legs", "gauge", "Legs seated.", |engine| {
            engine.legs.into()
        }),
        (
            "mixminus_contributing",
            "gauge",
            "Legs whose voice is in a mix now.",
            |engine| engine.contributing.into(),
        ),
        (
            "mixminus_encodes_total",
            "counter",
            "Encoder runs, shared ones counted once.",
            |engine| engine.encodes,
        ),
        (
            "mixminus_lost_packets_total",
            "counter",
            "Packets that had not come when a later one was played.",
            |engine| engine.packets_lost,
        ),
        (
            "mixminus_concealed_samples_total",
            "counter",
            "Samples made up for missing ones.",
            |engine| engine.samples_concealed,
        ),
        (
            "mixminus_accelerated_samples_total",
            "counter",
            "Samples taken out to lower a delay.",
            |engine| engine.samples_accelerated,
        ),
        (
            "mixminus_expanded_samples_total",
            "counter",
            "Samples put in to raise a delay.",
            |engine| engine.samples_expanded,
        ),
        (
            "mixminus_late_samples_total",
            "counter",
            "Samples of packets that came after their turn.",
            |engine| engine.samples_late,
        ),
        (
            "mixminus_discarded_samples_total",
            "counter",
            "Samples of packets that came and were given up.",
            |engine| engine.samples_discarded,
        ),
        (
            "mixminus_stretches_total",
            "counter",
            "How often sound was shortened or lengthened.",
            |engine| engine.stretches,
        ),
        (
            "mixminus_resyncs_total",
            "counter",
            "How often a leg's stream was left for another, or for another place in it.",
            |engine| engine.resyncs,
        ),
        (
            "mixminus_reclocked_total",
            "counter",
            "How often timestamps were found to run at another clock than their format's.",
            |engine| engine.reclocked,
        ),
        (
            "mixminus_ticks_skipped_total",
            "counter",
            "Ticks left out because the thread was held up.",
            |engine| engine.ticks_skipped,
        ),
        (
            "mixminus_panics_total",
            "counter",
            "Defects that cost a room or a packet.",
            |engine| engine.panics,
        ),
        (
            "mixminus_digits_lost_total",
            "counter",
            "Digits for parties that had too many to be sent already.",
            |engine| engine.digits_lost,
        ),
        (
            "mixminus_events_lost_total",
            "counter",
            "Events of an engine that found its queue full.",
            |engine| engine.events_lost,
        ),
        (
            "mixminus_recorded_frames_lost_total",
            "counter",
            "Frames that found the recorder's ring full.",
            |engine| engine.recorded_frames_lost,
        ),
        (
            "mixminus_send_errors_total",
            "counter",
            "Packets that the socket did not take.",
            |engine| engine.send_errors,
        ),
        (
            "mixminus_engine_rooms",
            "gauge",
            "Rooms open in the engine.",
            |engine| engine.rooms.into(),
        ),
    ];
    for (name, kind, help, figure) in by_engine {
        page.family(name, kind, help);
        for (index, engine) in engines.iter().enumerate() {
            page.sample(name, &[("engine", &index.to_string())], figure(engine));
        }
    }

    page.family(
        "mixminus_realtime",
        "gauge",
        "1 where the media thread has real-time priority.",
    );
    for (index, realtime) in figures.realtime.iter().enumerate() {
        page.sample(
            "mixminus_realtime",
            &[("engine", &index.to_string())],
            u8::from(*realtime),
        );
    }
    page.one(
        "mixminus_memory_locked",
        "gauge",
        "1 where touched memory is never paged out.",
        u8::from(figures.memory_locked),
    );
    page.one(
        "mixminus_control_nice",
        "gauge",
        "Nice value of the threads that answer: below 0 they come before ordinary programs, after media.",
        figures.control_nice,
    );
    recordings::render(&mut page, &figures.recordings, figures.recordings_untold);
    events::render(&mut page, &figures.events, figures.reports_passed_over);
    webhooks::render(&mut page, &figures.webhooks);
    door::render(&mut page, &figures.tally);
    log::render(&mut page);
    admission::render(&mut page, &figures.admission);
    page.one(
        "mixminus_ports_free",
        "gauge",
        "Pairs of media ports that a leg can have.",
        figures.ports.free,
    );
    page.one(
        "mixminus_ports_resting",
        "gauge",
        "Pairs of released media ports that are not known to be quiet yet.",
        figures.ports.resting,
    );
    page.one(
        "mixminus_resting_port_packets_total",
        "counter",
        "Datagrams that came to released media ports.",
        figures.ports.strays,
    );
    page.one(
        "mixminus_draining",
        "gauge",
        "1 while no new rooms are made.",
        u8::from(figures.is_draining),
    );

    page.one(
        "process_cpu_seconds_total",
        "counter",
        "User and system time of the process.",
        process::cpu_seconds(),
    );
    page.one(
        "process_resident_memory_bytes",
        "gauge",
        "Memory in use.",
        process::resident_bytes(),
    );
    page.one(
        "process_open_fds",
        "gauge",
        "Open file descriptors.",
        process::open_fds(),
    );
    page.family(
        "mixminus_process_info",
        "gauge",
        "Which process and version answers.",
    );
    let pid = std::process::id().to_string();
    page.sample(
        "mixminus_process_info",
        &[("pid", &pid), ("version", env!("CARGO_PKG_VERSION"))],
        1,
    );
    page.text
}

fn sum(engines: &[EngineStats], figure: impl Fn(&EngineStats) -> u64) -> u64 {
    engines.iter().map(figure).sum()
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Labels are names of ours: nothing in them needs escaping.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        let labels = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{}}}", labels.join(","))
        };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        engines: &[EngineStats],
        of: impl Fn(&EngineStats) -> &Histogram,
    ) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for (index, engine) in engines.iter().enumerate() {
            let histogram = of(engine);
            let index = index.to_string();
            let mut count = 0;
            for (edge, observed) in histogram.buckets() {
                count += observed;
                let edge = (edge as f64 / 1e6).to_string();
                self.sample(&bucket, &[("engine", &index), ("le", &edge)], count);
            }
            count += histogram.beyond();
            self.sample(&bucket, &[("engine", &index), ("le", "+Inf")], count);
            let sum = histogram.sum_nanos() as f64 / 1e9;
            self.sample(&format!("{name}_sum"), &[("engine", &index)], sum);
            self.sample(&format!("{name}_count"), &[("engine", &index)], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::AdmissionFigures;
    use crate::driver::ports::Unused;
    use crate::leg::LegDelay;
    use crate::record::RecorderFigures;
    use std::collections::BTreeMap;

    #[test]
    fn histograms_are_cumulative_and_every_reason_is_there() {
        let mut engine = EngineStats::default();
        for nanos in [10_000, 40_000, 900_000, 1_000_000, 50_000_000] {
            engine.tick_lateness.observe(nanos);
        }
        engine.dropped[0] = 7;
        engine.one_way[0] = 2;
        engine.media_timeouts = 1;
        engine.operations[Operation::Merge as usize] = 3;
        for (now_ms, target_ms) in [(7.0, 0.0), (55.5, 40.0)] {
            engine.note_delay(LegDelay {
                now_ms,
                target_ms,
                max_ms: 80.0,
            });
        }
        engine.playout_delay_ms_max = 80.0;
        let figures = Figures {
            engines: vec![engine.clone(), engine],
            realtime: vec![true, false],
            memory_locked: false,
            control_nice: -5,
            rooms: 3,
            legs_by_codec: BTreeMap::from([("PCMU", 2)]),
            recordings: RecorderFigures::default(),
            recordings_untold: [2, 1],
            events: crate::control::events::EventFigures::default(),
            reports_passed_over: 0,
            ports: Unused {
                free: 1,
                resting: 0,
                strays: 0,
            },
            webhooks: std::sync::Arc::default(),
            admission: AdmissionFigures::default(),
            is_draining: false,
            tally: std::sync::Arc::default(),
        };
        let page = render(&figures);
        // The names that the contract fixes, with their labels.
        for (name, kind, label) in [
            ("mixminus_tick_lateness_seconds", "histogram", "_bucket{engine="),
            ("mixminus_tick_duration_seconds", "histogram", "_bucket{engine="),
            ("mixminus_packets_total", "counter", "{direction="),
            ("mixminus_dropped_total", "counter", "{reason="),
            ("mixminus_rooms", "gauge", " "),
            ("mixminus_legs", "gauge", "{codec="),
        ] {
            assert!(page.contains(&format!("# TYPE {name} {kind}\n")), "{name}");
            assert!(page.contains(&format!("\n{name}{label}")), "{name}");
        }
        for line in [
            "mixminus_tick_lateness_seconds_bucket{engine=\"0\",le=\"0.00005\"} 2",
            "mixminus_tick_lateness_seconds_bucket{engine=\"0\",le=\"0.0005\"} 2",
            "mixminus_tick_lateness_seconds_bucket{engine=\"0\",le=\"0.001\"} 4",
            "mixminus_tick_lateness_seconds_bucket{engine=\"1\",le=\"+Inf\"} 5",
            "mixminus_tick_lateness_seconds_count{engine=\"1\"} 5",
            "mixminus_dropped_total{reason=\"too_short\"} 14",
            "mixminus_dropped_total{reason=\"late\"} 0",
            "mixminus_legs{codec=\"PCMU\"} 2",
            "mixminus_playout_delay_seconds_bucket{engine=\"0\",le=\"0.01\"} 1",
            "mixminus_playout_delay_seconds_bucket{engine=\"0\",le=\"0.06\"} 2",
            "mixminus_playout_target_delay_seconds_sum{engine=\"1\"} 0.04",
            "mixminus_playout_delay_max_seconds{engine=\"1\"} 0.08",
            "mixminus_playout_ticks_total{operation=\"merge\"} 6",
            "mixminus_expanded_samples_total{engine=\"0\"} 0",
            "mixminus_rooms 3",
            "mixminus_one_way_total{direction=\"in\"} 4",
            "mixminus_one_way_total{direction=\"out\"} 0",
            "mixminus_media_timeouts_total 2",
            "mixminus_realtime{engine=\"1\"} 0",
            "mixminus_control_nice -5",
            "mixminus_recordings{state=\"uploading\"} 0",
            "mixminus_recording_sync_failures_total 0",
            "mixminus_webhook_delivered_total{form=\"platform\"} 0",
            "mixminus_webhook_denied_total{reason=\"link_local\"} 0",
            "mixminus_store_failures_total{reason=\"denied\"} 0",
            "mixminus_connections{face=\"grpc\"} 0",
            "mixminus_refused_connections_total{reason=\"per_address\"} 0",
            "mixminus_refused_total{reason=\"signature\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert_eq!(
            page.lines()
                .filter(|line| line.starts_with("mixminus_dropped_total{"))
                .count(),
            Dropped::COUNT
        );
        assert!(!page.contains("NaN"));
    }
}
