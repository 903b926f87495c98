//! One run: seats the legs over the ramp, lets all talk, measures the steady part, takes the legs away again and
//! gathers the report.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::api::{Api, ApiError, Seat};
use super::commands::{self, Commands, Mutable};
use super::distribution::Distribution;
use super::hearing::{DELAY_MAX, Hearing, codec_delay};
use super::party::{Outcome, Party, Srtp, Worker};
use super::probe::{Probe, Sweep};
use super::progress::Progress;
use super::proxy::{Line, Proxy};
use super::reading::{Reading, lateness_of_ticks, process};
use super::recordings::Recordings;
use super::report::{AddedDelay, Generator, Impaired, Quantiles, Received, Report, Run, Sent};
use super::scenario::{Place, Role, Scenario};
use super::sdp::Offer;
use super::socket;
use super::stream::Capture;
use super::track::{Repertoire, Track};
use super::watch::{Watch, Watched};
use super::{LoadError, sdp};
use crate::srtp::Suite;

/// Calls that ask for legs go out on so many connections.
const JOINERS: usize = 4;

/// One worker thread serves so many legs with a tenth of a core.
pub(super) const LEGS_PER_WORKER: usize = 1_000;

/// From the end of the ramp to the start of measuring: jitter buffers settle, the last joins are digested.
const SETTLE: Duration = Duration::from_secs(2);

/// How often the daemon is asked about its legs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// All that is captured for the search of bursts, together.
const CAPTURE_BYTES: usize = 512 << 20;

/// What the legs are seated at.
pub enum Target {
    Daemon(Api),
    /// A reflector: a port for each leg, and the process that serves them.
    Floor {
        ports: Vec<SocketAddr>,
        pid: u32,
    },
}

pub struct Timing {
    pub ramp: Duration,
    pub measured: Duration,
    pub bind: IpAddr,
}

/// A leg that was seated, to be taken away at the end.
pub(super) struct Seated {
    /// The number of its place.
    leg: usize,
    call_id: String,
    conference: String,
}

/// Runs `scenario` against `target`. `codec_name` is for the report; `interrupted` turns true on Ctrl-C.
pub fn run(
    scenario: &Scenario,
    target: &Target,
    timing: &Timing,
    codec_name: &str,
    interrupted: &AtomicBool,
) -> Result<Report, LoadError> {
    socket::raise_open_files();
    let mut progress = Progress::new();
    progress.show("encoding what is said", 0.0);
    let repertoire = Repertoire::encode(scenario.encoding, 1)?;
    let tracks = Tracks::of(repertoire);

    let before = Reading::take(target)?;
    let epoch = Instant::now();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let workers = (0..scenario.places.len().div_ceil(LEGS_PER_WORKER).min(cores))
        .map(|_| Worker::start(epoch))
        .collect::<io::Result<Vec<Worker>>>()?;
    let proxy = scenario.impairment.as_ref().map(|_| Proxy::start()).transpose()?;
    let table = Table {
        scenario,
        target,
        timing,
        tracks: &tracks,
        workers: &workers,
        proxy: proxy.as_ref(),
        epoch,
    };
    let (seated, refusal) = table.seat_all(&mut progress, interrupted);

    let recordings = match target {
        Target::Daemon(api) if scenario.records => {
            let conferences = seated.iter().map(|leg| leg.conference.as_str()).collect();
            Some(Recordings::begin(api, &conferences))
        }
        _ => None,
    };

    // Whatever happens from here on, the legs are taken away.
    let measured = table.measure(&seated, &mut progress, interrupted);
    let outcomes: Vec<Outcome> = workers.into_iter().map(Worker::finish).collect();
    let relayed = proxy.map(Proxy::finish);
    // Only now: what is counted at the parties goes on until the workers have finished.
    let recorded = recordings.map(Recordings::end);
    take_away(target, &seated, &mut progress);
    let Measured {
        from,
        to,
        watched,
        commands,
    } = measured?;
    if seated.is_empty()
        && let Some(refusal) = refusal
    {
        progress.end();
        return Err(refusal.into());
    }

    progress.show("listening for bursts", 1.0);
    let added_delay = added_delay(scenario, &tracks, &outcomes)?;
    progress.end();
    let measured_time = to.at.duration_since(from.at);
    let leg_seconds = seated.len() as f64 * measured_time.as_secs_f64();
    let generator_cpu = to.generator_cpu.saturating_sub(from.generator_cpu);
    let mut lateness = Distribution::new();
    let mut gaps = Distribution::new();
    for outcome in &outcomes {
        lateness.merge(&outcome.lateness);
        gaps.merge(&outcome.gaps);
    }
    let (sent, received) = figures(&outcomes, measured_time, scenario.encoding.ptime_ms);
    let impaired = match (&scenario.impairment, &relayed, watched) {
        (Some(impairment), Some(relayed), Some(watched)) => {
            Some(Impaired::of(impairment, relayed, watched, &received))
        }
        _ => None,
    };
    Ok(Report {
        impaired,
        recorded,
        commands,
        run: Run {
            target: match target {
                Target::Daemon(api) => api.url().to_owned(),
                Target::Floor { .. } => "floor".to_owned(),
            },
            codec: codec_name.to_owned(),
            srtp: scenario.srtp.map(Suite::name),
            ptime_ms: scenario.encoding.ptime_ms,
            legs_wanted: scenario.places.len(),
            legs: seated.len(),
            rooms: scenario.rooms(),
            room_size: scenario.room_size,
            talkers_per_room: scenario.talkers,
            measured_s: measured_time.as_secs_f64(),
            interrupted: interrupted.load(Ordering::Relaxed),
            refusal: refusal.map(|error| error.to_string()),
        },
        sent,
        received,
        gap_ms: Quantiles::of(&gaps),
        added_delay,
        tick_lateness: lateness_of_ticks(&from, &to),
        daemon: process(&before, &from, &to, seated.len(), leg_seconds),
        generator: Generator {
            threads: outcomes.len(),
            cpu_ms_per_leg_second: (leg_seconds > 0.0)
                .then(|| generator_cpu.as_secs_f64() * 1e3 / leg_seconds),
            lateness_ms: Quantiles::of(&lateness),
        },
    })
}

pub(super) struct Tracks {
    speech: Arc<Track>,
    probing_up: Arc<Track>,
    probing_down: Arc<Track>,
    noise: Arc<Track>,
}

impl Tracks {
    pub fn of(repertoire: Repertoire) -> Tracks {
        Tracks {
            speech: Arc::new(repertoire.speech),
            probing_up: Arc::new(repertoire.probing_up),
            probing_down: Arc::new(repertoire.probing_down),
            noise: Arc::new(repertoire.noise),
        }
    }

    fn for_role(&self, role: Role) -> &Arc<Track> {
        match role {
            Role::Talker => &self.speech,
            Role::Prober(Sweep::Up) => &self.probing_up,
            Role::Prober(Sweep::Down) => &self.probing_down,
            Role::Listener => &self.noise,
        }
    }
}

/// What is needed to seat a leg.
pub(super) struct Table<'a> {
    pub scenario: &'a Scenario,
    pub target: &'a Target,
    pub timing: &'a Timing,
    pub tracks: &'a Tracks,
    pub workers: &'a [Worker],
    pub proxy: Option<&'a Proxy>,
    pub epoch: Instant,
}

impl Table<'_> {
    /// Seats all legs, evenly over the ramp; returns those that got a seat and the first reason why one did not.
    fn seat_all(&self, progress: &mut Progress, interrupted: &AtomicBool) -> (Vec<Seated>, Option<ApiError>) {
        let legs = self.scenario.places.len();
        // Names are unique to the run, so that a second generator may run beside this one.
        let run = format!("load-{:08x}", fastrand::u32(..));
        let next = AtomicUsize::new(0);
        let seated = Mutex::new(Vec::with_capacity(legs));
        let refusal = Mutex::new(None);
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..JOINERS {
                scope.spawn(|| {
                    loop {
                        let leg = next.fetch_add(1, Ordering::Relaxed);
                        if leg >= legs || interrupted.load(Ordering::Relaxed) {
                            return;
                        }
                        let due = start + self.timing.ramp.mul_f64(leg as f64 / legs as f64);
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        match self.seat(&run, leg) {
                            Ok(seat) => seated.lock().unwrap_or_else(PoisonError::into_inner).push(seat),
                            Err(error) => {
                                let mut refusal = refusal.lock().unwrap_or_else(PoisonError::into_inner);
                                refusal.get_or_insert(error);
                            }
                        }
                    }
                });
            }
            while next.load(Ordering::Relaxed) < legs && !interrupted.load(Ordering::Relaxed) {
                progress.show("seating legs", next.load(Ordering::Relaxed) as f64 / legs as f64);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let seated = seated.into_inner().unwrap_or_else(PoisonError::into_inner);
        (
            seated,
            refusal.into_inner().unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Seats one leg of the run of this name.
    pub fn seat(&self, run: &str, leg: usize) -> Result<Seated, ApiError> {
        let place = &self.scenario.places[leg];
        let encoding = self.scenario.encoding;
        let local = |error: io::Error| ApiError::Socket(error);
        let bind = || socket::bind(self.timing.bind).map_err(local);
        let socket = bind()?;
        // The proxy's end at the party, and the one at the daemon.
        let ends = self.proxy.map(|_| Ok([bind()?, bind()?])).transpose()?;
        let room = format!("{run}-{}", place.room);
        let seat = match self.target {
            Target::Floor { ports, .. } => Seat {
                call_id: String::new(),
                remote: ports[leg],
                payload_type: sdp::payload_type(encoding.codec),
                srtp: None,
            },
            Target::Daemon(api) => {
                let heard_at = ends.as_ref().map_or(&socket, |[_, at_daemon]| at_daemon);
                let address = heard_at.local_addr().map_err(local)?;
                let offer = Offer {
                    codec: encoding.codec,
                    ptime_ms: encoding.ptime_ms,
                    key: self.scenario.srtp.map(sdp::key),
                    has_keys: false,
                };
                api.seat(&room, &format!("{run}-leg-{leg}"), &offer, address)?
            }
        };
        match ends {
            None => socket.connect(seat.remote),
            Some(ends) => self.put_between(leg, &socket, ends, seat.remote),
        }
        .map_err(local)?;
        self.start(leg, place, socket, &seat);
        Ok(Seated {
            leg,
            call_id: seat.call_id,
            conference: room,
        })
    }

    /// The party reaches the daemon by way of the proxy.
    fn put_between(
        &self,
        leg: usize,
        party: &UdpSocket,
        ends: [UdpSocket; 2],
        daemon: SocketAddr,
    ) -> io::Result<()> {
        let [at_party, at_daemon] = &ends;
        party.connect(at_party.local_addr()?)?;
        at_party.connect(party.local_addr()?)?;
        at_daemon.connect(daemon)?;
        if let (Some(proxy), Some(impairment)) = (self.proxy, &self.scenario.impairment) {
            let ways = impairment.ways(leg);
            proxy.join(Line { sockets: ends, ways });
        }
        Ok(())
    }

    fn start(&self, leg: usize, place: &Place, socket: UdpSocket, seat: &Seat) {
        let packet_time = Duration::from_millis(u64::from(self.scenario.encoding.ptime_ms));
        // The next moment of this leg's own; its place in the track counts from the epoch.
        let packets = (self.epoch.elapsed().as_nanos() / packet_time.as_nanos()) as usize + 1;
        let track = Arc::clone(self.tracks.for_role(place.role));
        let mut party = Party::new(
            leg,
            socket,
            seat.payload_type,
            track,
            place.first_packet + packets,
            leg as u64,
        );
        party.srtp = seat.srtp.as_ref().map(Srtp::new);
        if let Some(impairment) = &self.scenario.impairment {
            party.packet_time = impairment.conditions.departure(packet_time);
        }
        if place.captures {
            let captures = self.scenario.places.iter().filter(|place| place.captures).count();
            party.capture = Some(Capture::up_to(CAPTURE_BYTES / captures));
        }
        self.workers[leg % self.workers.len()].join(party, packet_time * packets as u32 + place.offset);
    }

    /// Lets the run settle, and measures.
    fn measure(
        &self,
        seated: &[Seated],
        progress: &mut Progress,
        interrupted: &AtomicBool,
    ) -> Result<Measured, LoadError> {
        let Table { target, timing, .. } = self;
        wait("settling", SETTLE, progress, interrupted, || {});
        let mut watch = match target {
            Target::Daemon(api) if self.proxy.is_some() => {
                let call_ids: Vec<&str> = seated.iter().map(|leg| leg.call_id.as_str()).collect();
                Some(Watch::begin(api, &call_ids)?)
            }
            _ => None,
        };
        let from = Reading::take(target)?;
        for worker in self.workers {
            worker.measure();
        }
        if let Some(proxy) = self.proxy {
            proxy.measure();
        }
        let mutable = self.mutable(seated);
        let over = AtomicBool::new(false);
        let commands = thread::scope(|scope| {
            let commanding = match target {
                Target::Daemon(api) => self.scenario.commands.map(|per_s| {
                    let (legs, over) = (&mutable, &over);
                    scope.spawn(move || commands::run(api, legs, per_s, timing.bind, over))
                }),
                Target::Floor { .. } => None,
            };
            wait("measuring", timing.measured, progress, interrupted, || {
                if let Some(watch) = &mut watch {
                    watch.look();
                }
            });
            over.store(true, Ordering::Relaxed);
            commanding.and_then(|commanding| commanding.join().ok())
        });
        let to = Reading::take(target)?;
        let measured = to.at.duration_since(from.at);
        let rate = self.scenario.encoding.codec.rate();
        let watched = watch.map(|watch| watch.end(measured, rate)).transpose()?;
        Ok(Measured {
            from,
            to,
            watched,
            commands,
        })
    }

    /// The legs that only listen, and of which nothing is expected to be heard.
    fn mutable(&self, seated: &[Seated]) -> Vec<Mutable> {
        seated
            .iter()
            .filter(|leg| self.scenario.places[leg.leg].role == Role::Listener)
            .map(|leg| Mutable {
                conference: leg.conference.clone(),
                call: leg.call_id.clone(),
            })
            .collect()
    }
}

/// The readings at both ends of what is measured, what the daemon said meanwhile of legs behind the proxy, and what became
/// of commands.
struct Measured {
    from: Reading,
    to: Reading,
    watched: Option<Watched>,
    commands: Option<Commands>,
}

/// Looks around once a second.
pub(super) fn wait(
    what: &str,
    length: Duration,
    progress: &mut Progress,
    interrupted: &AtomicBool,
    mut look: impl FnMut(),
) {
    let start = Instant::now();
    let mut next_look = LOOK_EVERY;
    while start.elapsed() < length && !interrupted.load(Ordering::Relaxed) {
        progress.show(what, start.elapsed().as_secs_f64() / length.as_secs_f64());
        thread::sleep(Duration::from_millis(200).min(length.saturating_sub(start.elapsed())));
        if start.elapsed() >= next_look {
            next_look += LOOK_EVERY;
            look();
        }
    }
}

/// Ends the legs, as many as will; what fails here was not ours to measure.
pub(super) fn take_away(target: &Target, seated: &[Seated], progress: &mut Progress) {
    let Target::Daemon(api) = target else {
        return;
    };
    progress.show("taking the legs away", 0.0);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..JOINERS {
            scope.spawn(|| {
                while let Some(leg) = seated.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = api.unseat(&leg.call_id);
                }
            });
        }
    });
}

pub(super) fn figures(outcomes: &[Outcome], measured: Duration, ptime_ms: u8) -> (Sent, Received) {
    let (mut sent, mut received) = (Sent::default(), Received::default());
    let due = measured.as_millis() as u64 / u64::from(ptime_ms);
    for party in outcomes.iter().flat_map(|outcome| &outcome.parties) {
        sent.packets += party.sent.packets;
        sent.bytes += party.sent.bytes;
        sent.refused += party.sent.refused;
        let stream = &party.stream;
        received.packets += stream.packets;
        received.bytes += stream.bytes;
        received.due += due;
        received.missing += stream.missing();
        received.duplicates += stream.duplicates;
        received.overtaken += stream.overtaken;
        received.source_changes += stream.source_changes;
        received.silent_legs += u64::from(stream.packets == 0);
        received.worst_leg_missing = received.worst_leg_missing.max(stream.missing());
        received.other_datagrams += party.other_datagrams;
        received.unauthentic += party.unauthentic;
        received.duplicates += party.replayed;
    }
    let expected = received.packets + received.missing;
    received.missing_share = if expected == 0 {
        0.0
    } else {
        received.missing as f64 / expected as f64
    };
    (sent, received)
}

/// Matches every burst sent with what the listener of its room heard.
fn added_delay(scenario: &Scenario, tracks: &Tracks, outcomes: &[Outcome]) -> Result<AddedDelay, LoadError> {
    let codec = scenario.encoding.codec;
    let mut delays = Distribution::new();
    let mut report = AddedDelay::default();
    let mut likenesses = 0.0;
    let parties: Vec<&Party> = outcomes.iter().flat_map(|outcome| &outcome.parties).collect();
    for hearer in &parties {
        let Some(capture) = &hearer.capture else {
            continue;
        };
        let hearing = Hearing::of(&capture.packets, codec)?;
        let last_heard = capture.packets.last().map(|packet| packet.at);
        let floor = scenario.room_size == 1;
        for talker in &parties {
            let place = &scenario.places[talker.leg];
            let Role::Prober(sweep) = place.role else {
                continue;
            };
            if place.room != scenario.places[hearer.leg].room || (talker.leg == hearer.leg && !floor) {
                continue;
            }
            let probe = Probe::new(codec, sweep);
            report.streams += 1;
            for sent_at in &talker.bursts {
                // A burst whose time to be heard was cut off by the end of the run says nothing.
                if last_heard.is_none_or(|last| last < sent_at.after(DELAY_MAX)) {
                    continue;
                }
                report.bursts_sent += 1;
                let Some((delay, likeness)) = hearing.burst(*sent_at, &probe) else {
                    continue;
                };
                likenesses += f64::from(likeness);
                if probe.is_found(likeness) {
                    report.bursts_heard += 1;
                    delays.record(delay);
                }
            }
        }
    }
    report.ms = Quantiles::of(&delays);
    report.likeness = (report.bursts_sent > 0).then(|| likenesses / report.bursts_sent as f64);
    report.codec_ms = codec_delay(&tracks.probing_up, Sweep::Up)?.map(|delay| delay.as_secs_f64() * 1e3);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::codec::Codec;
    use crate::load::codecs::encoding;
    use crate::load::floor;

    #[test]
    fn a_run_on_the_floor_hears_every_leg_and_measures_the_wait_for_the_tick() {
        let bind = || socket::bind(Ipv4Addr::LOCALHOST.into()).expect("loopback has a free port");
        let sockets: Vec<UdpSocket> = (0..8).map(|_| bind()).collect();
        let ports = sockets
            .iter()
            .map(|socket| socket.local_addr().expect("it is bound"))
            .collect();
        let target = Target::Floor {
            ports,
            pid: std::process::id(),
        };
        let timing = Timing {
            ramp: Duration::from_millis(200),
            measured: Duration::from_secs(3),
            bind: Ipv4Addr::LOCALHOST.into(),
        };
        let scenario = Scenario::plan_floor(8, encoding(Codec::Pcmu, 20), 1);
        let over = AtomicBool::new(false);
        let report = thread::scope(|scope| {
            scope.spawn(|| floor::reflect(&sockets, &over));
            let report = run(&scenario, &target, &timing, "pcmu", &AtomicBool::new(false));
            over.store(true, Ordering::Relaxed);
            report.expect("the floor holds")
        });
        assert!(report.is_good(), "{report}");
        assert!(report.received.packets > report.received.due / 2, "{report}");
        assert!(report.added_delay.bursts_heard >= 8, "{report}");
        let median = report.added_delay.ms.p50.expect("bursts were heard");
        assert!((0.5..40.0).contains(&median), "{report}");
        assert!(report.daemon.cpu_ms_per_leg_second.is_some());
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_an_error_not_a_report() {
        let nobody = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let url = format!("http://{}", nobody.local_addr().expect("it is bound"));
        drop(nobody);
        let scenario = Scenario::plan(2, 2, 1, encoding(Codec::Pcmu, 20), 1);
        let timing = Timing {
            ramp: Duration::ZERO,
            measured: SETTLE,
            bind: Ipv4Addr::LOCALHOST.into(),
        };
        let target = Target::Daemon(Api::new(&url, None));
        let error =
            run(&scenario, &target, &timing, "pcmu", &AtomicBool::new(false)).expect_err("nobody answers");
        assert!(error.to_string().contains(&url), "{error}");
    }
}
