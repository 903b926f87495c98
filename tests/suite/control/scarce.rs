//! A machine that gives no more memory, or no more threads.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::program::{Process, mixminus, refused};
use super::standstill::{Party, metric};
use crate::support::http::{Reply, eventually, sdp, send};

const MIB: u64 = 1024 * 1024;

/// 64 GiB, which nobody comes near: the address space is bounded from the start, so that one heap has to do.
const FAR_AWAY: &str = "-v 67108864";
const FAR_AWAY_BYTES: u64 = 67_108_864 * 1024;

/// What the legs of a test may take.
const FOR_LEGS: u64 = 8 * MIB;

/// What is kept in these tests, and how the daemon is told so.
const RESERVE: u64 = 16 * MIB;
const RESERVED: &str = "admission.memory_reserve_mib=16";

/// Of a thread in these tests: more than there is left of the address space, as of so many would be anyway.
const STACK_BYTES: u64 = 64 * MIB;

/// A thread that has no work ends after five seconds.
const IDLE: Duration = Duration::from_secs(6);

/// From here on the address space may grow by so much.
fn may_grow_by(process: &Process, bytes: u64) {
    let pid = process.id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib: u64 = size.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    let limit = libc::rlimit {
        rlim_cur: kib * 1024 + bytes,
        rlim_max: FAR_AWAY_BYTES,
    };
    // SAFETY: `limit` is a valid rlimit to read from, and nothing is to be written.
    let set = unsafe {
        libc::prlimit(
            pid.cast_signed(),
            libc::RLIMIT_AS,
            &raw const limit,
            std::ptr::null_mut(),
        )
    };
    assert_eq!(set, 0);
}

fn is_bounded(process: &Process) -> bool {
    capacity(process)["memory"]["bound"] == "address_space"
}

fn capacity(process: &Process) -> Value {
    send(process.http, "GET", "/v1/capacity", &[], b"").json(200)
}

/// A leg that takes much memory and little time.
fn ask_for_a_leg(process: &Process, call: &str) -> Reply {
    let sdp = sdp(5004, "RTP/AVP 96", "a=rtpmap:96 opus/48000/2\r\n");
    let body = json!({ "conferenceId": "crowd", "callId": call, "sdp": sdp });
    send(process.http, "POST", "/v1/legs", &[], body.to_string().as_bytes())
}

fn goes_on_hearing(listener: &Party) {
    let before = listener.heard();
    eventually("who was there goes on hearing", || {
        listener.heard() >= before + 50
    });
}

/// Fault row S3.
#[test]
fn without_memory_a_leg_is_refused_those_that_are_go_on_and_once_some_have_left_another_comes() {
    let process = Process::start_under(
        FAR_AWAY,
        &[],
        &[],
        &[
            RESERVED,
            "admission.cpu_percent=95",
            "engine.legs=128",
            "rtp.ports=23500-23755",
            "rtp.port_rest_s=0",
        ],
    );
    let (speaker, listener) = (Party::new(500), Party::new(0));
    speaker.seat(&process, "r", "speaker");
    listener.seat(&process, "r", "listener");
    goes_on_hearing(&listener);
    may_grow_by(&process, RESERVE + FOR_LEGS);
    eventually("the bound is known", || is_bounded(&process));

    let mut seated = Vec::new();
    let refusal = loop {
        let call = format!("call-{}", seated.len());
        let reply = ask_for_a_leg(&process, &call);
        if reply.status != 201 {
            break reply;
        }
        seated.push(call);
        assert!(seated.len() < 100, "{}", capacity(&process));
    };
    let message = refusal.refused(50300);
    assert!(message.contains("memory"), "{message}");
    assert!(refusal.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert!(seated.len() >= 3, "{seated:?}");
    println!(
        "{} legs in {} MiB: {}",
        seated.len(),
        FOR_LEGS / MIB,
        capacity(&process)["memory"]
    );
    goes_on_hearing(&listener);
    // Who asks all the same ends nothing.
    for number in 0..100 {
        let call = format!("again-{number}");
        match ask_for_a_leg(&process, &call).status {
            201 => seated.push(call),
            status => assert_eq!(status, 503),
        }
    }
    assert!(seated.len() < 100, "{}", capacity(&process));
    assert!(metric(&process, "mixminus_admission_refused_total{reason=\"memory\"}") >= 1.0);
    assert!(metric(&process, "mixminus_memory_free_bytes") < FOR_LEGS as f64 / 2.0);
    goes_on_hearing(&listener);

    for call in &seated {
        assert_eq!(
            process.status("DELETE", &format!("/v1/legs/{call}"), &json!({})),
            204
        );
    }
    for number in 0..5 {
        eventually("there is room again", || {
            ask_for_a_leg(&process, &format!("later-{number}")).status == 201
        });
    }
    goes_on_hearing(&listener);
}

/// Fault row S3.
#[test]
fn without_threads_a_daemon_does_all_it_is_asked_with_those_that_it_has() {
    let stack = STACK_BYTES.to_string();
    let process = Process::start_under(
        FAR_AWAY,
        &[("RUST_MIN_STACK", &stack)],
        &[],
        &[RESERVED, "rtp.port_rest_s=0"],
    );
    let (speaker, listener) = (Party::new(500), Party::new(0));
    speaker.seat(&process, "r", "speaker");
    listener.seat(&process, "r", "listener");
    let since = Instant::now();
    while since.elapsed() < IDLE {
        goes_on_hearing(&listener);
    }
    may_grow_by(&process, STACK_BYTES - 16 * MIB);
    eventually("the bound is known", || is_bounded(&process));

    // A disk is waited for on a thread that nobody else waits for.
    let route = "/v1/conferences/id/r/recording";
    let recording = send(process.http, "POST", route, &[], b"{}").json(201);
    let id = recording["recordingId"].as_str().unwrap();
    goes_on_hearing(&listener);
    let audio = format!("/v1/recordings/{id}/audio");
    assert_eq!(send(process.http, "GET", &audio, &[], b"").status, 200);
    assert_eq!(
        process.status("POST", "/v1/legs", &super::program::leg("r", "more")),
        201
    );
    assert_eq!(process.status("DELETE", route, &json!({})), 200);
    let state =
        || send(process.http, "GET", &format!("/v1/recordings/{id}"), &[], b"").json(200)["state"].clone();
    eventually("it is finished", || state() == "available");
    assert_eq!(metric(&process, "mixminus_threads_refused_total"), 0.0);
    goes_on_hearing(&listener);
}

/// Fault row S3.
#[test]
fn a_daemon_that_gets_no_threads_says_so_and_does_not_start() {
    let mut serve = mixminus(&["serve", "--set", "http.listen=127.0.0.1:0"]);
    // More than any address space has.
    let output = serve.env("RUST_MIN_STACK", (1u64 << 48).to_string()).output();
    let said = refused(&output.unwrap(), 1);
    assert!(said.starts_with("Threads cannot be started: "), "{said}");
}
