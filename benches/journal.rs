//! One thread carries 500 recordings of 16 kHz: each round of 40 ms, every journal is given two frames of 20 ms and
//! writes them, while the syncer syncs beside it. Printed are the CPU time and the wall time of a round, and what the
//! syncer takes. The disk is that of `target`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mixminus::id::TrackNumber;
use mixminus::record::disk::LocalDisk;
use mixminus::record::journal::{Entry, Journal, SYNC_INTERVAL, SyncGroup, Syncer};
use mixminus::time::Tick;

const RECORDINGS: usize = 500;

const ROUND: Duration = Duration::from_millis(40);

/// Bytes of 20 ms at 16 kHz.
const FRAME_BYTES: usize = 640;

fn main() {
    // As the test of a bench, one look at whether it runs.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let rounds = if is_measured { 500 } else { 3 };
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("journal-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("target is writable");
    measure(&dir, rounds);
    let _ = fs::remove_dir_all(&dir);
}

fn measure(dir: &Path, rounds: usize) {
    let group = SyncGroup::new(Arc::new(LocalDisk));
    let mut journals: Vec<Journal> = (0..RECORDINGS)
        .map(|id| {
            let folder = dir.join(id.to_string());
            fs::create_dir(&folder).expect("target is writable");
            Journal::create(group.clone(), &folder, b"{}").expect("a journal")
        })
        .collect();
    let syncer = Syncer::start(group.clone(), SYNC_INTERVAL).expect("a thread");
    let samples: Vec<u8> = (0..FRAME_BYTES).map(|n| (n * 7) as u8).collect();
    let mut cpu_times = Vec::new();
    let mut wall_times = Vec::new();
    let (begun, process_begun, thread_begun) = (
        Instant::now(),
        cpu_time(libc::CLOCK_PROCESS_CPUTIME_ID),
        cpu_time(libc::CLOCK_THREAD_CPUTIME_ID),
    );
    for round in 0..rounds {
        let due = begun + ROUND * round as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (wall, cpu) = (Instant::now(), cpu_time(libc::CLOCK_THREAD_CPUTIME_ID));
        for journal in &mut journals {
            for frame in 0..2 {
                let sound = Entry::Sound {
                    track: TrackNumber::MAIN,
                    tick: Tick(2 * round as u64 + frame),
                    samples: &samples,
                };
                journal.add(&sound).expect("there is room");
            }
            journal.write().expect("there is room");
        }
        cpu_times.push(cpu_time(libc::CLOCK_THREAD_CPUTIME_ID) - cpu);
        wall_times.push(wall.elapsed());
    }
    let elapsed = begun.elapsed();
    let writer = cpu_time(libc::CLOCK_THREAD_CPUTIME_ID) - thread_begun;
    let others = cpu_time(libc::CLOCK_PROCESS_CPUTIME_ID) - process_begun - writer;
    syncer.stop();
    println!("{RECORDINGS} journals of 16 kHz, {rounds} rounds of {ROUND:?}");
    println!("  a round, CPU:  {}", spread(cpu_times));
    println!("  a round, wall: {}", spread(wall_times));
    println!(
        "  the syncer:    {:.2} % of a core",
        100.0 * others.as_secs_f64() / elapsed.as_secs_f64()
    );
    println!(
        "  late syncs:    {}, failed: {}",
        group.late_rounds(),
        group.failures()
    );
    let forgotten: u64 = journals.iter().map(Journal::forgotten).sum();
    println!("  forgotten:     {forgotten}");
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    format!("median {:?}, p99 {:?}, most {:?}", at(0.5), at(0.99), at(1.0))
}

fn cpu_time(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one timespec, and we lend one.
    let error = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(error, 0, "every process has these clocks");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
