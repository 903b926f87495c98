//! How many legs a daemon holds: legs are seated at an even pace until one is refused, more are asked for in vain, and
//! those that are seated are listened to all the while.
//!
//! ```text
//! legs        ┌───────────────── held, --duration
//!           ╱ × × × ×            asked for beyond the first refusal
//!         ╱
//!       ╱ one after the other, --joins a second
//! ```

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::LoadError;
use super::api::ApiError;
use super::distribution::Distribution;
use super::party::{Outcome, Worker};
use super::progress::Progress;
use super::reading::{Reading, lateness_of_ticks, process};
use super::report::{Process, Quantiles, TickLateness, figure, precise, row};
use super::run::{LEGS_PER_WORKER, Seated, Table, Target, Timing, Tracks, figures, take_away, wait};
use super::scenario::Scenario;
use super::scrape::{Buckets, Scrape};
use super::socket;
use super::track::Repertoire;

/// Legs that are asked for beyond the first refusal, and from one to the next.
const KNOCKS: usize = 20;
const KNOCK_EVERY: Duration = Duration::from_millis(100);

/// Status of a leg that there is no room for.
const UNAVAILABLE: u16 = 503;

/// A refusal costs little: whoever is refused knows within so many milliseconds.
const ANSWER_MS: f64 = 10.0;

/// Of the thread that asks: three times an ordinary one's weight, as of the daemon's threads that answer.
const NICE: libc::c_int = -5;

/// A tick's phase that begins later than one lasts has run into the next.
const LATE_S: f64 = 0.005;

/// What happened from the first leg to the last.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RampReport {
    pub target: String,
    pub codec: String,
    pub ptime_ms: u8,
    pub room_size: usize,
    pub talkers_per_room: usize,
    pub joins_per_s: u32,
    /// Seated when the first was refused, and at the end.
    pub legs_at_refusal: usize,
    pub legs: usize,
    pub legs_wanted: usize,
    pub interrupted: bool,
    /// `None`: all that were wanted were seated.
    pub refusal: Option<Refused>,
    /// Packets for the parties that they did not get, by sequence numbers from the first on, and of the worst leg.
    pub missing: u64,
    pub worst_leg_missing: u64,
    /// Packets of the parties that the daemon had not got when a later one was played.
    pub lost_at_daemon: Option<u64>,
    /// Up to the first refusal, and from there to the end.
    pub climbing: Stretch,
    pub holding: Stretch,
    pub held_s: f64,
    /// While the legs were held.
    pub daemon: Process,
    pub generator_lateness_ms: Quantiles,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    pub message: String,
    /// From the question to the answer.
    pub answer_ms: f64,
    /// Legs asked for after it, and how many of them were refused as well.
    pub asked_again: usize,
    pub refused_again: usize,
    pub answers_ms: Quantiles,
}

impl Refused {
    /// The first answer, and 99 of 100 of those after it.
    fn is_quick(&self) -> bool {
        let p99 = self.answers_ms.p99.unwrap_or(0.0);
        self.answer_ms.max(p99) <= ANSWER_MS
    }
}

/// How the daemon kept its time.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stretch {
    pub tick_lateness: Option<TickLateness>,
    /// Phases that began later than one lasts, 5 ms.
    pub late: Option<u64>,
    /// Ticks left out.
    pub skipped: Option<u64>,
}

impl Stretch {
    fn between(from: &Reading, to: &Reading) -> Stretch {
        let late = || {
            let (from, to) = (from.scrape()?, to.scrape()?);
            let buckets = Buckets::between(from, to, "mixminus_tick_lateness_seconds")?;
            let late = buckets.counts.iter().filter(|(edge, _)| *edge > LATE_S);
            Some(late.map(|(_, count)| *count as u64).sum())
        };
        Stretch {
            tick_lateness: lateness_of_ticks(from, to),
            late: late(),
            skipped: rise(from.scrape(), to.scrape(), "mixminus_ticks_skipped_total"),
        }
    }

    /// Nothing was late, and that is known.
    fn is_good(&self) -> bool {
        self.late == Some(0) && self.skipped == Some(0)
    }
}

/// Makes the calling thread heavier than ordinary ones, where that is allowed: who is refused should not wait, on a machine
/// that is full, behind those who speak, and put that down to the daemon.
fn come_first() {
    // SAFETY: no pointers; 0 names the calling thread. Where it is refused, all stays as it was.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

fn rise(from: Option<&Scrape>, to: Option<&Scrape>, name: &str) -> Option<u64> {
    let (from, to) = (from?.sum(name)?, to?.sum(name)?);
    Some((to - from).max(0.0) as u64)
}

/// Seats the legs of `scenario`, `joins_per_s` of them, until one is refused or all are seated.
pub fn run(
    scenario: &Scenario,
    target: &Target,
    timing: &Timing,
    codec_name: &str,
    joins_per_s: u32,
    interrupted: &AtomicBool,
) -> Result<RampReport, LoadError> {
    socket::raise_open_files();
    let mut progress = Progress::new();
    progress.show("encoding what is said", 0.0);
    let tracks = Tracks::of(Repertoire::encode(scenario.encoding, 1)?);
    let legs_wanted = scenario.places.len();

    let epoch = Instant::now();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = (0..legs_wanted.div_ceil(LEGS_PER_WORKER).min(cores))
        .map(|_| Worker::start(epoch))
        .collect::<std::io::Result<Vec<Worker>>>()?;
    // After the workers, which would have it too.
    come_first();
    // From its first packet on, everything counts.
    workers.iter().for_each(Worker::measure);
    let table = Table {
        scenario,
        target,
        timing,
        tracks: &tracks,
        workers: &workers,
        proxy: None,
        epoch,
    };
    let mut climb = Climb {
        table: &table,
        run: format!("load-{:08x}", fastrand::u32(..)),
        next: 0,
        seated: Vec::new(),
        interrupted,
    };
    let start = Reading::take(target)?;
    let first = climb.up(joins_per_s, &mut progress);
    // Whatever happens from here on, the legs are taken away.
    let legs_at_refusal = climb.seated.len();
    let held = hold(&mut climb, first.is_some(), timing.measured, &mut progress);
    let Climb { seated, .. } = climb;
    let outcomes: Vec<Outcome> = workers.into_iter().map(Worker::finish).collect();
    take_away(target, &seated, &mut progress);
    progress.end();
    let (at_refusal, from, to, knocked) = held?;
    let refusal = match first {
        None => None,
        Some((
            ApiError::Refused {
                message,
                status: UNAVAILABLE,
                ..
            },
            took,
        )) => {
            let mut answers = Distribution::new();
            knocked.refused.iter().for_each(|took| answers.record(*took));
            Some(Refused {
                message,
                answer_ms: took.as_secs_f64() * 1e3,
                asked_again: knocked.asked,
                refused_again: knocked.refused.len(),
                answers_ms: Quantiles::of(&answers),
            })
        }
        Some((error, _)) => return Err(error.into()),
    };
    let held = to.at.duration_since(from.at);
    let (_, received) = figures(&outcomes, held, scenario.encoding.ptime_ms);
    let mut lateness = Distribution::new();
    outcomes
        .iter()
        .for_each(|outcome| lateness.merge(&outcome.lateness));
    Ok(RampReport {
        target: match target {
            Target::Daemon(api) => api.url().to_owned(),
            Target::Floor { .. } => "floor".to_owned(),
        },
        codec: codec_name.to_owned(),
        ptime_ms: scenario.encoding.ptime_ms,
        room_size: scenario.room_size,
        talkers_per_room: scenario.talkers,
        joins_per_s,
        legs_at_refusal,
        legs: seated.len(),
        legs_wanted,
        interrupted: interrupted.load(Ordering::Relaxed),
        refusal,
        missing: received.missing,
        worst_leg_missing: received.worst_leg_missing,
        lost_at_daemon: rise(start.scrape(), to.scrape(), "mixminus_lost_packets_total"),
        climbing: Stretch::between(&start, &at_refusal),
        holding: Stretch::between(&at_refusal, &to),
        held_s: held.as_secs_f64(),
        daemon: process(
            &start,
            &from,
            &to,
            seated.len(),
            seated.len() as f64 * held.as_secs_f64(),
        ),
        generator_lateness_ms: Quantiles::of(&lateness),
    })
}

struct Climb<'a> {
    table: &'a Table<'a>,
    /// Names are unique to the run, so that a second generator may run beside this one.
    run: String,
    next: usize,
    seated: Vec<Seated>,
    interrupted: &'a AtomicBool,
}

impl Climb<'_> {
    /// Asks for the next leg; what was said instead, and how long that took.
    fn seat(&mut self) -> Option<(ApiError, Duration)> {
        let asked = Instant::now();
        match self.table.seat(&self.run, self.next) {
            Ok(seat) => {
                self.next += 1;
                self.seated.push(seat);
                None
            }
            Err(error) => Some((error, asked.elapsed())),
        }
    }

    fn is_over(&self) -> bool {
        self.next >= self.table.scenario.places.len() || self.interrupted.load(Ordering::Relaxed)
    }

    /// Up to the first refusal.
    fn up(&mut self, joins_per_s: u32, progress: &mut Progress) -> Option<(ApiError, Duration)> {
        let start = Instant::now();
        while !self.is_over() {
            let due = start + Duration::from_secs(1) * self.next as u32 / joins_per_s;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if let Some(refused) = self.seat() {
                return Some(refused);
            }
            let wanted = self.table.scenario.places.len();
            progress.show("seating legs", self.next as f64 / wanted as f64);
        }
        None
    }
}

#[derive(Default)]
struct Knocked {
    asked: usize,
    refused: Vec<Duration>,
}

/// The readings when the first was refused, when there were no more questions, and at the end; and what was answered.
type Held = (Reading, Reading, Reading, Knocked);

fn hold(
    climb: &mut Climb,
    was_refused: bool,
    length: Duration,
    progress: &mut Progress,
) -> Result<Held, LoadError> {
    let at_refusal = Reading::take(climb.table.target)?;
    let mut knocked = Knocked::default();
    while was_refused && knocked.asked < KNOCKS && !climb.is_over() {
        thread::sleep(KNOCK_EVERY);
        knocked.asked += 1;
        if let Some((_, took)) = climb.seat() {
            knocked.refused.push(took);
        }
    }
    let from = Reading::take(climb.table.target)?;
    wait("holding", length, progress, climb.interrupted, || {});
    Ok((at_refusal, from, Reading::take(climb.table.target)?, knocked))
}

impl RampReport {
    /// Legs were held, and none of them missed anything; one was refused, at once, and until then no tick was late. What
    /// is not known is not good.
    pub fn is_good(&self) -> bool {
        !self.interrupted
            && self.legs > 0
            && self.missing == 0
            && self.lost_at_daemon == Some(0)
            && self.climbing.is_good()
            && self.refusal.as_ref().is_some_and(Refused::is_quick)
    }
}

impl Display for RampReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} legs held at {}, {}, ptime {} ms, rooms of {}, {} talkers each, {} joins a second{}",
            self.legs,
            self.target,
            self.codec,
            self.ptime_ms,
            self.room_size,
            self.talkers_per_room,
            self.joins_per_s,
            if self.interrupted { " (interrupted)" } else { "" },
        )?;
        match &self.refusal {
            None => writeln!(f, "  none was refused; --legs {} asks for more", self.legs_wanted)?,
            Some(refused) => {
                writeln!(
                    f,
                    "  first refusal          {:>10}   legs seated, answered in {:.1} ms: {}",
                    self.legs_at_refusal, refused.answer_ms, refused.message
                )?;
                writeln!(
                    f,
                    "  asked again            {:>10}   {} refused, answered in {} ms at most",
                    refused.asked_again,
                    refused.refused_again,
                    figure(refused.answers_ms.max),
                )?;
                if !refused.is_quick() {
                    writeln!(
                        f,
                        "  refusals took longer than {ANSWER_MS} ms, of the first or one in a hundred"
                    )?;
                }
            }
        }
        writeln!(
            f,
            "  missing by sequence    {:>10}   at the parties, {} on the worst leg; {} at the daemon",
            self.missing,
            self.worst_leg_missing,
            self.lost_at_daemon
                .map_or_else(|| "?".to_owned(), |lost| lost.to_string()),
        )?;
        writeln!(
            f,
            "                                p50       p99     p99.9       max"
        )?;
        for (name, stretch) in [
            ("tick late, climbing", &self.climbing),
            ("tick late, holding", &self.holding),
        ] {
            if let Some(late) = &stretch.tick_lateness {
                let edges = [late.p50_ms, late.p99_ms, late.p999_ms, late.max_ms];
                row(f, name, edges.map(|edge| edge.or(Some(f64::INFINITY))), "ms")?;
            }
        }
        let lateness = self.generator_lateness_ms;
        row(
            f,
            "generator late by",
            [lateness.p50, lateness.p99, None, lateness.max],
            "ms",
        )?;
        let count = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        writeln!(
            f,
            "  late by over 5 ms      {:>10}   before the first refusal, {} after it; ticks left out {} and {}",
            count(self.climbing.late),
            count(self.holding.late),
            count(self.climbing.skipped),
            count(self.holding.skipped),
        )?;
        writeln!(
            f,
            "  CPU of the daemon      {:>10} ms per leg-second, {} cores, over {:.0} s",
            precise(self.daemon.cpu_ms_per_leg_second),
            figure(self.daemon.cpu_cores),
            self.held_s,
        )?;
        writeln!(
            f,
            "  A generator on the daemon's own machine takes processor time that the daemon then has not: elsewhere it \
             may hold more."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(late: f64, lost: f64) -> Scrape {
        let text = format!(
            "mixminus_tick_lateness_seconds_bucket{{engine=\"0\",le=\"0.001\"}} 100\n\
             mixminus_tick_lateness_seconds_bucket{{engine=\"0\",le=\"0.005\"}} 110\n\
             mixminus_tick_lateness_seconds_bucket{{engine=\"0\",le=\"+Inf\"}} {}\n\
             mixminus_lost_packets_total{{engine=\"0\"}} {lost}\n",
            110.0 + late
        );
        Scrape::parse(Instant::now(), &text)
    }

    #[test]
    fn what_rose_between_two_readings_is_counted_and_what_is_not_there_is_not_known() {
        let (from, to) = (reading(0.0, 1.0), reading(3.0, 4.0));
        assert_eq!(
            rise(Some(&from), Some(&to), "mixminus_lost_packets_total"),
            Some(3)
        );
        assert_eq!(rise(Some(&from), Some(&to), "mixminus_no_such"), None);
        assert_eq!(rise(None, Some(&to), "mixminus_lost_packets_total"), None);
    }

    #[test]
    fn a_run_is_good_only_if_nobody_missed_anything_and_no_tick_was_late_before_a_refusal() {
        let in_time = Stretch {
            late: Some(0),
            skipped: Some(0),
            ..Stretch::default()
        };
        let good = RampReport {
            target: "x".into(),
            codec: "pcmu".into(),
            ptime_ms: 20,
            room_size: 10,
            talkers_per_room: 2,
            joins_per_s: 50,
            legs_at_refusal: 3,
            legs: 3,
            legs_wanted: 10,
            interrupted: false,
            refusal: Some(Refused {
                message: "No room.".into(),
                answer_ms: 1.0,
                asked_again: 20,
                refused_again: 20,
                answers_ms: Quantiles::default(),
            }),
            missing: 0,
            worst_leg_missing: 0,
            lost_at_daemon: Some(0),
            climbing: in_time.clone(),
            holding: in_time.clone(),
            held_s: 20.0,
            daemon: Process::default(),
            generator_lateness_ms: Quantiles::default(),
        };
        assert!(good.is_good());
        assert!(
            good.to_string()
                .contains("3   legs seated, answered in 1.0 ms: No room.")
        );
        let refused_in = |answer_ms: f64, p99: Option<f64>| RampReport {
            refusal: good.refusal.clone().map(|refused| Refused {
                answer_ms,
                answers_ms: Quantiles {
                    p99,
                    ..refused.answers_ms
                },
                ..refused
            }),
            ..good.clone()
        };
        assert!(refused_in(9.0, Some(9.0)).is_good());
        assert!(
            refused_in(1.0, Some(11.0))
                .to_string()
                .contains("refusals took longer than 10 ms")
        );
        let late = Stretch {
            late: Some(1),
            ..in_time.clone()
        };
        for bad in [
            RampReport {
                missing: 1,
                ..good.clone()
            },
            RampReport {
                lost_at_daemon: Some(1),
                ..good.clone()
            },
            RampReport {
                climbing: late.clone(),
                ..good.clone()
            },
            RampReport {
                legs: 0,
                ..good.clone()
            },
            RampReport {
                lost_at_daemon: None,
                ..good.clone()
            },
            RampReport {
                climbing: Stretch {
                    late: None,
                    ..in_time.clone()
                },
                ..good.clone()
            },
            RampReport {
                climbing: Stretch {
                    skipped: None,
                    ..in_time
                },
                ..good.clone()
            },
            RampReport {
                refusal: None,
                ..good.clone()
            },
            refused_in(11.0, None),
            refused_in(1.0, Some(11.0)),
        ] {
            assert!(!bad.is_good(), "{bad:?}");
        }
        assert!(
            RampReport {
                holding: late,
                ..good
            }
            .is_good(),
            "it is told, and no more"
        );
    }
}
