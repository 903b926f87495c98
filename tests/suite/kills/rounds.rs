//! A daemon with twenty rooms that record is killed at any moment, again and again; the next one finishes what it left.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use serde_json::{Value, json};

use super::callers::{Callers, unix_ms};
use super::delivered::{Delivered, delivered};
use super::site::{BUCKET, Daemon, Site, recording_of, until};
use super::{chance, setting};

const ROOMS: usize = 20;

/// What may be lost.
const LOSS_MS_MAX: u64 = 100;

/// What a tick can be off the wall clock.
const TICK_MS: u64 = 20;

/// Between what is said and what a room hears: a packet, the playout delay, the tick.
const DELAY_MS_MAX: u64 = 400;

/// Of recordings that end so soon nothing need have been heard yet.
const HEARD_MS_MIN: u64 = 500;

/// One room's recording.
struct Begun {
    id: String,
    room: String,
    calls: Vec<String>,
    /// The wall clock when it was known to run.
    begun_ms: u64,
    /// Told to end: the wall clock just before, and after.
    stopped_ms: Option<(u64, u64)>,
}

/// Of a room by its number: two in five go to the bucket, most are wav, two have tracks of their legs.
fn options(round: usize, room: usize) -> Value {
    let place = match room % 5 {
        0..3 => "file://".to_owned(),
        _ => format!("s3://{BUCKET}/"),
    };
    let format = match room {
        0 | 3 => "flac",
        1 | 4 => "ogg",
        _ => "wav",
    };
    let tracks = match room {
        2 | 8 => "mix+legs",
        _ => "mix",
    };
    let rate = [8_000, 16_000, 48_000][room % 3];
    json!({
        "destinationUrl": format!("{place}round-{round}/room-{room}.{format}"),
        "format": format, "tracks": tracks, "sampleRate": rate,
    })
}

fn begin(daemon: &Daemon, callers: &Callers, round: usize) -> Vec<Begun> {
    let rooms: Vec<_> = (0..ROOMS)
        .map(|number| {
            let room = format!("room-{round}-{number}");
            let legs = if matches!(number, 2 | 8) { 2 } else { 1 };
            let calls: Vec<_> = (0..legs).map(|leg| format!("{room}-leg-{leg}")).collect();
            calls.iter().for_each(|call| callers.seat(daemon, &room, call));
            (number, room, calls)
        })
        .collect();
    rooms
        .into_iter()
        .map(|(number, room, calls)| Begun {
            id: daemon.record(&room, &options(round, number)),
            room,
            calls,
            begun_ms: unix_ms(SystemTime::now()),
            stopped_ms: None,
        })
        .collect()
}

/// Lets them run for a while, ends some, and kills the daemon meanwhile. Gives the time of the kill, in milliseconds of
/// the wall clock, and how long threads had to wait around it.
fn run_and_kill(daemon: Daemon, callers: &Callers, begun: &mut [Begun], rng: &mut Rng) -> (u64, u64) {
    thread::sleep(Duration::from_millis(rng.u64(300..2_500)));
    rng.shuffle(begun);
    let before = Instant::now();
    for one in &mut begun[..rng.usize(0..5)] {
        let told_ms = unix_ms(SystemTime::now());
        daemon.delete(&recording_of(&one.room)).json(200);
        one.stopped_ms = Some((told_ms, unix_ms(SystemTime::now())));
    }
    // From the first request to end one to its delivery is about as long.
    thread::sleep(Duration::from_millis(rng.u64(0..700)));
    let killed = daemon.kill();
    callers.hang_up();
    let a_second_before = before.checked_sub(Duration::from_secs(1)).unwrap_or(before);
    let wait = callers.watch.longest_since(a_second_before);
    (unix_ms(killed), wait.as_millis() as u64)
}

/// What a recording must be after a kill. Gives the milliseconds it lacks.
fn judge(begun: &Begun, delivered: &Delivered, killed_ms: u64, held_up_ms: u64) -> u64 {
    let receipt = &delivered.receipt;
    let slack_ms = LOSS_MS_MAX + TICK_MS + held_up_ms;
    for call in &begun.calls {
        assert!(delivered.attended(call), "{call} was there: {receipt}");
    }
    let truncated = receipt["truncated"] == true;
    assert_eq!(truncated, receipt["truncatedBecause"].is_string(), "{receipt}");
    assert!(
        truncated || begun.stopped_ms.is_some(),
        "the daemon was killed: {receipt}"
    );
    let should_end_ms = begun.stopped_ms.map_or(killed_ms, |(told_ms, _)| told_ms);
    let ended_ms = delivered.end_ms();
    let lacks_ms = should_end_ms.saturating_sub(ended_ms);
    assert!(
        lacks_ms <= slack_ms,
        "{lacks_ms} ms before its end are missing, threads waited {held_up_ms} ms: {receipt}"
    );
    let last_ms = begun.stopped_ms.map_or(killed_ms, |(_, answered_ms)| answered_ms);
    assert!(
        ended_ms <= last_ms + 2 * TICK_MS,
        "sound of the future: {receipt}"
    );

    if should_end_ms - begun.begun_ms >= HEARD_MS_MIN {
        let heard = delivered.last_heard();
        let silent_ms = delivered.ms(heard.before_end);
        assert!(
            silent_ms <= slack_ms,
            "{silent_ms} ms of silence at the end: {receipt}"
        );
        let delay_ms = heard.delay_ms(ended_ms - silent_ms);
        assert!(
            delay_ms <= DELAY_MS_MAX + held_up_ms,
            "what is heard at the end was said {delay_ms} ms before: {receipt}"
        );
    }
    lacks_ms
}

/// Files that are there and nothing else: objects, receipts, an empty spool. That somebody has yet to be told is marked
/// there until just after it has been.
fn no_more_than(site: &Site, ids: &BTreeSet<String>, local: &BTreeSet<String>, remote: &BTreeSet<String>) {
    let mut expected = local.clone();
    expected.extend([".spool/ballast".to_owned(), ".spool/lock".to_owned()]);
    expected.extend(ids.iter().map(|id| format!(".spool/receipts/{id}.json")));
    let found: BTreeSet<_> = until("all who listen have been told", || {
        let files = site.files();
        let all_told = !files.iter().any(|file| file.ends_with(".untold"));
        all_told.then(|| files.into_iter().collect())
    });
    let list =
        |of: &BTreeSet<String>, less: &BTreeSet<String>| of.difference(less).cloned().collect::<Vec<_>>();
    assert_eq!(
        (list(&found, &expected), list(&expected, &found)),
        (vec![], vec![])
    );
    let found: BTreeSet<_> = site.store.keys(BUCKET).unwrap().into_iter().collect();
    assert_eq!((list(&found, remote), list(remote, &found)), (vec![], vec![]));
    assert_eq!(site.store.open_uploads().unwrap(), 0);
    let folders = std::fs::read_dir(site.recordings().join(".spool")).unwrap();
    let folders = folders.filter(|item| item.as_ref().unwrap().path().is_dir());
    assert_eq!(folders.count(), 1, "only that of the receipts");
}

#[test]
fn a_daemon_killed_at_any_moment_loses_a_tenth_of_a_second_of_twenty_recordings_at_most() {
    let rounds: usize = setting("MIXMINUS_KILLS", 20);
    let mut rng = chance("kills");
    let (site, callers) = (Site::new(), Callers::new());
    let (mut ids, mut local, mut remote) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut lacks, mut truncated, mut longest_wait) = (Vec::new(), 0, 0);
    let mut daemon = site.start();
    for round in 0..rounds {
        let mut begun = begin(&daemon, &callers, round);
        let (killed_ms, held_up_ms) = run_and_kill(daemon, &callers, &mut begun, &mut rng);
        longest_wait = longest_wait.max(held_up_ms);
        daemon = site.start();
        if rng.u8(0..3) == 0 {
            // Who finishes them is killed as well.
            thread::sleep(Duration::from_millis(rng.u64(0..800)));
            daemon.kill();
            daemon = site.start();
        }
        for one in &begun {
            let status = daemon.wait_until_available(&one.id);
            let delivered = delivered(&site, &status);
            lacks.push(judge(one, &delivered, killed_ms, held_up_ms));
            truncated += usize::from(delivered.receipt["truncated"] == true);
            let is_local = status["destination"].as_str().unwrap().starts_with("file:");
            let keys = if is_local { &mut local } else { &mut remote };
            keys.extend(delivered.keys);
            ids.insert(one.id.clone());
        }
        no_more_than(&site, &ids, &local, &remote);
    }
    lacks.sort_unstable();
    println!(
        "{rounds} kills, {} recordings, {truncated} of them cut: missing {} ms in the middle, {} ms at most; \
         threads waited {longest_wait} ms at most",
        lacks.len(),
        lacks[lacks.len() / 2],
        lacks[lacks.len() - 1]
    );
}
