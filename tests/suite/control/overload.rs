//! Fault row S4 on a machine of which something takes a part: threads that go before the engines.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::program::Process;
use super::soak::Callers;
use crate::support::http::{eventually, offer, send};

/// Of each period, so long nothing else runs on any core.
const STOLEN: Duration = Duration::from_millis(30);
const PERIOD: Duration = Duration::from_millis(100);

/// Above that of the engines, below the kernel's own.
const PRIORITY: libc::c_int = 40;

/// Legs come until the engine takes this share of a core, which is worth saving on, and then no more.
const WORTH: f64 = 0.18;
const LEGS_MAX: usize = 300;
const LEGS_OF_A_ROOM: usize = 10;
const LEGS_A_SECOND: u32 = 20;

/// Two rooms are recorded.
const RECORDED: [&str; 2] = ["room-0", "room-1"];

/// At least so long: three seconds on end are bad before each thing gives way.
const STOLEN_FROM_FOR: Duration = Duration::from_secs(10);

/// From the highest level it takes ten good seconds each, and a busy machine has others.
const UNTIL_BACK: Duration = Duration::from_secs(240);

/// Threads that spin in bursts, on all cores at once.
struct Thieves {
    stop: Arc<AtomicBool>,
    /// One of them is not allowed before the engines.
    held_off: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Thieves {
    fn start() -> Thieves {
        let (stop, held_off) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let start = Instant::now() + PERIOD;
        let threads = (0..cores).map(|core| {
            let (stop, held_off) = (Arc::clone(&stop), Arc::clone(&held_off));
            thread::spawn(move || {
                held_off.fetch_or(!run_first(core), Ordering::Relaxed);
                let mut due = start;
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    while due.elapsed() < STOLEN {
                        std::hint::spin_loop();
                    }
                    // Bursts that were missed are not made up for.
                    while due < Instant::now() {
                        due += PERIOD;
                    }
                }
            })
        });
        Thieves {
            threads: threads.collect(),
            stop,
            held_off,
        }
    }

    /// All of them go before the engines, as far as is known.
    fn are_first(&self) -> bool {
        !self.held_off.load(Ordering::Relaxed)
    }
}

impl Drop for Thieves {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Puts the calling thread on a core, before everything else there, where that is allowed.
fn run_first(core: usize) -> bool {
    let parameters = libc::sched_param {
        sched_priority: PRIORITY,
    };
    // SAFETY: an all-zero set is an empty one, and within it `CPU_SET` writes only to numbers below its size; both calls
    // read what outlives them, and 0 names the calling thread.
    unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut cores);
        // Elsewhere, where this one is not ours, it is as good a thief.
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const cores);
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) == 0
    }
}

struct House {
    process: Process,
    callers: Callers,
    legs: usize,
}

impl House {
    fn ask(&self, method: &str, path: &str, body: &Value) -> crate::support::http::Reply {
        send(self.process.http, method, path, &[], body.to_string().as_bytes())
    }

    fn get(&self, path: &str) -> Value {
        self.ask("GET", path, &Value::Null).json(200)
    }

    fn metric(&self, series: &str) -> f64 {
        let page = self.ask("GET", "/metrics", &Value::Null).text();
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("{series} in {page}"))
            .parse()
            .unwrap()
    }

    fn level(&self) -> u64 {
        self.get("/v1/capacity")["degradation"]["level"].as_u64().unwrap()
    }

    fn join(&mut self) {
        let room = format!("room-{}", self.legs / LEGS_OF_A_ROOM);
        let call = format!("call-{}", self.legs);
        let body = json!({ "conferenceId": room, "callId": call, "sdp": offer(self.callers.port) });
        let leg: Value = self.ask("POST", "/v1/legs", &body).json(201);
        let sdp = leg["sdp"].as_str().unwrap();
        let after = |start: &str| sdp.lines().find_map(|line| line.strip_prefix(start)).unwrap();
        let port = after("m=audio ").split(' ').next().unwrap();
        let address = format!("{}:{port}", after("c=IN IP4 ")).parse().unwrap();
        self.callers.legs.lock().unwrap().push((call, address));
        self.legs += 1;
    }

    /// Bytes of each recording, all of which go on.
    fn recorded(&self, ids: &[String]) -> Vec<u64> {
        let bytes = ids.iter().map(|id| {
            let status = self.get(&format!("/v1/recordings/{id}"));
            assert_eq!(status["state"], "recording", "{status}");
            status["bytes"].as_u64().unwrap()
        });
        bytes.collect()
    }
}

/// Fault row S4.
#[test]
#[ignore = "long: make torture"]
fn while_something_takes_the_processor_things_give_way_nobody_is_lost_and_all_comes_back() {
    let process_id = std::process::id().to_le_bytes();
    let bind = format!("rtp.bind=127.{}.{}.251", process_id[1], process_id[0]);
    let process = Process::start(&[
        &bind,
        "rtp.ports=20000-21999",
        "engine.threads=1",
        "engine.legs=400",
        "engine.rooms=100",
        "admission.cpu_percent=95",
        "log.level=warn",
    ]);
    let stop = Arc::<AtomicBool>::default();
    let (callers, calling) = Callers::start(700.0, &stop);
    let mut house = House {
        process,
        callers,
        legs: 0,
    };
    let measured = |house: &House| house.metric("mixminus_admission_measured_ratio{engine=\"0\"}");
    while house.legs < LEGS_MAX && (house.legs < 2 * LEGS_OF_A_ROOM || measured(&house) < WORTH) {
        house.join();
        thread::sleep(Duration::from_secs(1) / LEGS_A_SECOND);
    }
    let ids = RECORDED.map(|room| {
        let path = format!("/v1/conferences/id/{room}/recording");
        let started = house.ask("POST", &path, &json!({})).json(201);
        started["recordingId"].as_str().unwrap().to_owned()
    });
    eventually("recordings grow", || {
        house.recorded(&ids).iter().all(|bytes| *bytes > 50_000)
    });
    eventually("nothing has given way", || house.level() == 0);
    let (legs, rooms) = (house.legs, house.legs.div_ceil(LEGS_OF_A_ROOM));
    let given_way = house.metric("mixminus_degradations_total");
    println!("{legs} legs take {:.2} of a core", measured(&house));

    let (thieves, stolen_from) = (Thieves::start(), Instant::now());
    let bytes = house.recorded(&ids);
    let mut highest = 0;
    let is_awaited = |level: u64| thieves.are_first() && level < 2;
    while stolen_from.elapsed() < STOLEN_FROM_FOR
        || is_awaited(highest) && stolen_from.elapsed() < 6 * STOLEN_FROM_FOR
    {
        thread::sleep(Duration::from_millis(200));
        highest = highest.max(house.level());
    }
    eventually("recordings grow all the while", || {
        let now = house.recorded(&ids);
        now.iter().zip(&bytes).all(|(now, before)| now > before)
    });
    let stolen_for = stolen_from.elapsed();
    let were_first = thieves.are_first();
    drop(thieves);
    let risen = house.metric("mixminus_degradations_total") - given_way;
    println!("in {stolen_for:?} the level rose to {highest}, by {risen} steps");
    match were_first {
        true => assert!(highest >= 1 && risen >= 1.0, "{highest}"),
        false => println!("no thread may go before the engines here: nothing is said of levels"),
    }
    let is_whole = || {
        assert_eq!(house.get("/v1/legs")["total"], legs);
        assert_eq!(house.get("/v1/conferences")["total"], rooms);
    };
    is_whole();

    let back_from = Instant::now();
    while house.level() > 0 {
        assert!(back_from.elapsed() < UNTIL_BACK, "the level does not come back");
        thread::sleep(Duration::from_millis(200));
    }
    println!("back at 0 after {:?}", back_from.elapsed());
    is_whole();
    let whole = (stolen_for + back_from.elapsed()).as_secs_f64();
    let skipped = house.metric("mixminus_ticks_skipped_total{engine=\"0\"}");
    for room in RECORDED {
        house
            .ask(
                "DELETE",
                &format!("/v1/conferences/id/{room}/recording"),
                &Value::Null,
            )
            .json(200);
    }
    for id in &ids {
        let status = || house.get(&format!("/v1/recordings/{id}"));
        eventually("the recording is whole", || status()["state"] == "available");
        let receipt = status()["receipt"].clone();
        assert_eq!(receipt["truncated"], false, "{receipt}");
        // Ticks are left out where the engine was held up for a tenth of a second at once, which no thief does here.
        if skipped == 0.0 {
            assert_eq!(receipt["gapSamples"], 0, "{receipt}");
        }
        let seconds = receipt["samples"].as_f64().unwrap() / receipt["rate"].as_f64().unwrap();
        assert!(seconds >= whole - 2.0, "{receipt}");
    }
    stop.store(true, Ordering::Relaxed);
    calling.join().unwrap();
}
