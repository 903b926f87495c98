//! The performance: seven parties over real sockets, the cues of the script carried out in time, and what came of it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::DemoError;
use super::archive::{self, Archive};
use super::judge::{Check, Recorded, Timeline};
use super::keys;
use super::script::{self, CODECS, COMMAND_MARGIN, CUES, Deed, PARTIES, SUITES, TURNS, Texts};
use super::sound;
use crate::codec::Codec;
use crate::load::api::{Api, ApiError};
use crate::load::codecs::{encoding, usual_packet_time};
use crate::load::hearing::Hearing;
use crate::load::party::{Party, Srtp, Worker};
use crate::load::sdp::{self, Offer};
use crate::load::socket::{self, WallTime};
use crate::load::stream::Capture;
use crate::load::track::Track;

const CONFERENCE: &str = "demo";

/// From the last seat taken to the start of the play.
const BEFORE_START: Duration = Duration::from_millis(300);

/// The parties' moments of sending lie this far apart.
const OFFSET: Duration = Duration::from_millis(4);

/// More than a party hears in a play, in the largest codec.
const CAPTURE_BYTES: usize = 32 << 20;

/// What the play left behind, ready to be judged.
pub struct Performance {
    pub heard: Vec<Timeline>,
    pub recording: Option<Recorded>,
    /// What is checked by counting, not by listening.
    pub checks: Vec<Check>,
    /// The recording's files, as paths in the archive's folder, and what each is.
    pub files: Vec<(String, String)>,
}

/// Performs the script against the daemon behind `api`; what each heard is left in `directory`, the recording in the
/// archive.
pub fn perform(api: &Api, directory: &Path, archive: &Archive) -> Result<Performance, DemoError> {
    let tracks = (0..PARTIES).map(track).collect::<Result<Vec<_>, DemoError>>()?;
    let epoch = Instant::now();
    let epoch_wall = WallTime::now();
    let worker = Worker::start(epoch)?;
    let mut parties = Vec::with_capacity(PARTIES);
    for (party, track) in tracks.into_iter().enumerate() {
        let local = socket::bind(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let address = local.local_addr()?;
        let offer = Offer {
            codec: CODECS[party],
            ptime_ms: usual_packet_time(CODECS[party]),
            key: SUITES[party].map(sdp::key),
            has_keys: keys::has_events(party),
        };
        let seat = api.seat(CONFERENCE, script::name(party), &offer, address)?;
        local.connect(seat.remote)?;
        println!(
            "        {} takes a seat with {} at {} Hz{}, {address} ⇄ {}",
            script::name(party),
            CODECS[party].name(),
            CODECS[party].rate().hz(),
            SUITES[party].map_or_else(String::new, |suite| format!(" over SRTP ({})", suite.name())),
            seat.remote
        );
        let mut party = Party::new(party, local, seat.payload_type, Arc::new(track), 0, party as u64);
        party.capture = Some(Capture::up_to(CAPTURE_BYTES));
        party.srtp = seat.srtp.as_ref().map(Srtp::new);
        party.presses = keys::events(party.leg, offer.ptime_ms);
        parties.push(party);
    }
    for pressing in &keys::PRESSINGS {
        api.set_digit_options(script::name(pressing.party), &pressing.options())?;
    }
    let recording_before = epoch.elapsed();
    let recording_id = api.record(CONFERENCE, &archive.options)?;
    println!("        The mix and each voice are recorded, as {recording_id}.");

    let start = epoch.elapsed() + BEFORE_START;
    worker.measure();
    for (party, seat) in parties.into_iter().enumerate() {
        worker.join(seat, start + OFFSET * party as u32);
    }
    let mut checks = Vec::new();
    for cue in &CUES {
        let due = start + Duration::from_millis(cue.at_ms as u64);
        thread::sleep(due.saturating_sub(epoch.elapsed()));
        println!("{:>5.1} s {}", cue.at_ms as f64 / 1e3, cue.sentence);
        carry_out(api, cue.deed)?;
        if cue.deed != Deed::Say {
            checks.push(in_time(cue.at_ms, epoch.elapsed().saturating_sub(start)));
        }
    }
    api.stop_recording(CONFERENCE)?;
    let parties = worker.finish().parties;
    for party in (0..PARTIES).filter(|party| *party != script::KICKED) {
        api.unseat(script::name(party))?;
    }
    checks.push(keys::told(&api.events_until_its_end(CONFERENCE)?));

    let start_wall = epoch_wall.after(start);
    let mut heard = Vec::with_capacity(PARTIES);
    for (number, party) in parties.iter().enumerate() {
        heard.push(timeline(party, CODECS[number], start_wall, directory)?);
        checks.extend(counted(number, party, start_wall));
    }
    let kept = archive::fetch(api, &recording_id, archive)?;
    checks.extend(kept.checks);
    let start_ms = recording_before.as_secs_f64() * 1e3 - start.as_secs_f64() * 1e3;
    let timeline = |sound| Timeline { start_ms, sound };
    let recording = kept.mix.map(|mix| Recorded {
        mix: timeline(mix),
        tracks: kept.tracks.into_iter().map(timeline).collect(),
    });
    Ok(Performance {
        heard,
        recording,
        checks,
        files: kept.files,
    })
}

fn track(party: usize) -> Result<Track, DemoError> {
    let encoding = encoding(CODECS[party], usual_packet_time(CODECS[party]));
    let part = Texts::decode(encoding.codec.rate())?.part(party);
    Ok(Track::encode(&part, encoding, &[])?)
}

fn carry_out(api: &Api, deed: Deed) -> Result<(), ApiError> {
    match deed {
        Deed::Say => Ok(()),
        Deed::Command { party, command } => api.command(CONFERENCE, script::name(party), command),
        Deed::Kick { party } => api.kick(CONFERENCE, script::name(party)),
    }
}

/// Whether a command was answered before the turn that depends on it: otherwise that turn's check says nothing.
fn in_time(cue_ms: usize, answered: Duration) -> Check {
    let next = TURNS
        .iter()
        .find(|turn| turn.at_ms > cue_ms)
        .map_or(script::END_MS, |turn| turn.at_ms);
    let latest = Duration::from_millis(next as u64).saturating_sub(COMMAND_MARGIN);
    let took = answered.saturating_sub(Duration::from_millis(cue_ms as u64));
    Check {
        sentence: format!(
            "the command at {:.1} s was answered in time (after {} ms)",
            cue_ms as f64 / 1e3,
            took.as_millis()
        ),
        passed: answered <= latest,
    }
}

/// What a party heard, laid out against the start of the play, and kept as a file. Each part begins then or some
/// milliseconds later, so nobody is heard before he spoke.
fn timeline(party: &Party, codec: Codec, start: WallTime, directory: &Path) -> Result<Timeline, DemoError> {
    let packets = party.capture.as_ref().map_or(&[][..], |capture| &capture.packets);
    let hearing = Hearing::of(packets, codec)?;
    let file = directory.join(format!("heard-by-{}.wav", script::name(party.leg)));
    sound::write_wav(&file, hearing.rate.hz(), &hearing.sound)?;
    // Each packet says when the first sample was heard; the median of all is not moved by those that were late.
    let mut starts: Vec<i64> = hearing
        .arrivals()
        .iter()
        .map(|(sample, at)| at.nanos_since(start) - hearing.rate.duration(*sample).as_nanos() as i64)
        .collect();
    starts.sort_unstable();
    let start_ms = starts
        .get(starts.len() / 2)
        .map_or(0.0, |nanos| *nanos as f64 / 1e6);
    Ok(Timeline {
        start_ms,
        sound: sound::at_check_rate(&hearing.sound, hearing.rate),
    })
}

/// One stream without holes and from one source; and nothing for the kicked.
fn counted(number: usize, party: &Party, start: WallTime) -> Vec<Check> {
    let (name, stream) = (script::name(number), &party.stream);
    let mut checks = vec![Check {
        sentence: format!(
            "{name} receives one unbroken stream ({} packets, {} missing, {} changes of source, longest gap {} ms)",
            stream.packets,
            stream.missing(),
            stream.source_changes,
            stream.gap_max.as_millis()
        ),
        passed: stream.packets > 0 && stream.missing() == 0 && stream.source_changes == 0,
    }];
    if let Some(suite) = script::SUITES[number] {
        checks.push(Check {
            sentence: format!(
                "{name} receives nothing that is not authentic ({}, {} of {} packets)",
                suite.name(),
                party.unauthentic,
                stream.packets + party.unauthentic
            ),
            passed: party.unauthentic == 0,
        });
    }
    if number == script::KICKED {
        let silent_from = start.after(Duration::from_millis(script::KICKED_SILENT_FROM_MS as u64));
        let captured = party.capture.as_ref().map_or(&[][..], |capture| &capture.packets);
        let after = captured.iter().filter(|packet| packet.at > silent_from).count();
        checks.push(Check {
            sentence: format!("{name} receives nothing after the kick ({after} packets)"),
            passed: after == 0,
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_answered_too_late_for_its_turn_fails() {
        // The first command is at 13.3 s, the turn that depends on it at 14.1 s.
        assert!(in_time(13_300, Duration::from_millis(13_310)).passed);
        assert!(in_time(13_300, Duration::from_millis(13_850)).passed);
        assert!(!in_time(13_300, Duration::from_millis(13_851)).passed);
    }
}
