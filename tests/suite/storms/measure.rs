//! One call of a row, and what it was like beside the same call over a clean way.
//!
//! The party whose packets suffer speaks; a second, which speaks too, hears it alone, and a third hears both. Whatever
//! happens to the first is heard by the second beside what it hears in a clean call: later, and a little other.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use mixminus::codec::ilbc::Mode;
use mixminus::codec::{Codec, Encoding};
use mixminus::frame::Rate;
use mixminus::leg::{Dropped, LegReport, LegSettings, MediaTerms};
use mixminus::load::correlation::{energies, energy, product};
use mixminus::load::network::Conditions;
use mixminus::load::speech::VOICES;
use mixminus::room::RoomSettings;
use mixminus::srtp::Suite;

use super::rows::Row;
use crate::support::keys::keys;
use crate::support::voice::Voice;
use crate::support::world::{World, encoding};

const SUFFERER: usize = 0;
const HEARER: usize = 1;
const WITNESS: usize = 2;

/// Those who listen add nothing of their own to what they hear.
const HEARD_AS: Codec = Codec::L16(Rate::Hz8000);

const HEARD_PER_MS: usize = 8;

/// As long as the longest row.
const CLEAN_SECONDS: u64 = 12;

const WINDOW_MS: usize = 250;
const WINDOWS_EVERY_MS: usize = 600;

/// From this correlation on it is certain which stretch of a voice was heard.
const RECOGNISED: f64 = 0.85;

const LAG_MAX_MS: usize = 450;

/// Whose voice is taken out of the sum leaves a rounding behind, and a codec with a memory makes a little more of it.
const ANSWER_ERROR_DB_MAX: f32 = -18.0;

/// What is softer than this is no speech to be recognised.
const SPEECH_DBFS: f32 = -40.0;

/// What one call sounded like, tick by tick.
pub struct Call {
    codec: Codec,
    heard: [Vec<f32>; 3],
    delays: Vec<(f32, f32)>,
    report: Box<LegReport>,
    arrived: u64,
    lost: u64,
}

impl Call {
    /// The same for all rows of a codec.
    pub fn clean(codec: Codec) -> Arc<Call> {
        static MADE: Mutex<Vec<Arc<Call>>> = Mutex::new(Vec::new());
        let made = || MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = made().iter().find(|call| call.codec == codec) {
            return Arc::clone(call);
        }
        let call = Arc::new(Call::make(codec, Conditions::PERFECT, 0, CLEAN_SECONDS, None));
        made().push(Arc::clone(&call));
        call
    }

    pub fn through(codec: Codec, row: &Row) -> Call {
        assert!(row.seconds <= CLEAN_SECONDS);
        Call::make(codec, row.conditions, row.seed, row.seconds, row.srtp)
    }

    fn make(codec: Codec, conditions: Conditions, seed: u64, seconds: u64, srtp: Option<Suite>) -> Call {
        let mut world = World::seeded(5);
        world.open(0, 0, RoomSettings::default());
        world.network_seed = seed;
        world.conditions = conditions;
        let agree = |terms| MediaTerms {
            srtp: srtp.map(|suite| keys(suite, seed)),
            ..terms
        };
        let settings = LegSettings::default();
        world.join_on(0, 0, encoding_of(codec), speech(&[0, 1], codec), settings, agree);
        world.conditions = Conditions::PERFECT;
        world.join(0, 0, encoding(HEARD_AS), speech(&[2, 3], HEARD_AS));
        world.join(0, 0, encoding(HEARD_AS), Voice::silent());
        let mut delays = Vec::new();
        for _ in 0..50 * seconds {
            world.step();
            let report = world.report(SUFFERER);
            delays.push((report.delay_ms, report.delay_target_ms));
            world.events.clear();
        }
        // The world has seen to it that each went on from the one before.
        for party in &world.parties {
            let heard_ms = party.packets_heard * u64::from(party.encoding.ptime_ms);
            assert!(
                heard_ms + 60 >= 1_000 * seconds,
                "seed {seed}: {heard_ms} ms heard"
            );
        }
        let report = world.report(SUFFERER);
        let sufferer = &world.parties[SUFFERER];
        Call {
            codec,
            delays,
            report,
            arrived: sufferer.packets_arrived,
            lost: sufferer.lost(),
            heard: [SUFFERER, HEARER, WITNESS].map(|party| std::mem::take(&mut world.parties[party].heard)),
        }
    }
}

/// How much more a loss is heard than the lost packet alone: what has a memory takes longer to be itself again.
const fn frailty(codec: Codec) -> f64 {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::L16(_) | Codec::Ilbc(Mode::Ms20) => 1.0,
        Codec::Ilbc(Mode::Ms30) => 1.5,
        Codec::G722 | Codec::Opus(_) => 2.0,
        Codec::G729 => 5.0,
    }
}

fn encoding_of(codec: Codec) -> Encoding {
    let ptime_ms = match codec {
        Codec::Ilbc(mode) => mode.ms() as u8,
        _ => 20,
    };
    Encoding {
        ptime_ms,
        ..encoding(codec)
    }
}

/// Some of the voices, one after the other, at half of their level so that the room need not limit their sum.
fn speech(voices: &[usize], codec: Codec) -> Voice {
    let decoded = voices.iter().map(|voice| VOICES[*voice].decode(codec.rate()));
    let text = decoded.flat_map(|text| text.expect("the speech decodes"));
    Voice::saying(text.map(|sample| 0.5 * sample).collect())
}

/// A stretch of speech as the hearer heard it, beside the same of the clean call.
struct Stretch {
    lag_ms: f64,
    likeness: f64,
}

/// What a row is judged by.
pub struct Figures {
    codec: Codec,
    added_p50_ms: f64,
    added_max_ms: f64,
    likeness: f64,
    concealed: f64,
    concealed_per_lost: f64,
    accelerated: f64,
    delay_max_ms: f32,
    late: f64,
    unsettled_until_s: f64,
    others_differ: f32,
    answer_error_db: f32,
    lost_packets: u64,
    report: Box<LegReport>,
    wrongly_dropped: Vec<(Dropped, u64)>,
    unaccounted: u64,
}

impl Figures {
    pub fn of(call: &Call, clean: &Call, row: &Row) -> Figures {
        let stretches = stretches(&call.heard[HEARER], &clean.heard[HEARER]);
        let way_ms = |n: usize| way_ms(row, LAG_MAX_MS + n * WINDOWS_EVERY_MS);
        let recognised = |stretch: &Option<Stretch>| {
            let stretch = stretch.as_ref()?;
            (stretch.likeness > RECOGNISED).then_some(stretch.lag_ms)
        };
        let mut added: Vec<f64> = stretches
            .iter()
            .enumerate()
            .filter_map(|(n, stretch)| Some(recognised(stretch)? - way_ms(n)))
            .collect();
        added.sort_by(f64::total_cmp);
        let likenesses: Vec<f64> = stretches
            .iter()
            .flatten()
            .map(|stretch| stretch.likeness)
            .collect();

        let report = call.report.clone();
        let dropped = |reason: Dropped| report.dropped[reason as usize];
        let per_packet = encoding_of(call.codec).samples();
        let played = (call.delays.len() * call.codec.rate().samples_per_tick()) as f64;
        let arrived = report.packets_received;
        let allowed = [
            Dropped::Late,
            Dropped::Duplicate,
            Dropped::Replayed,
            Dropped::Overflow,
        ];
        let others = Dropped::ALL
            .into_iter()
            .filter(|reason| !allowed.contains(reason));
        let packet_ms = f32::from(encoding_of(call.codec).ptime_ms);
        let unsettled = call
            .delays
            .iter()
            .rposition(|(delay_ms, target_ms)| *delay_ms > target_ms.max(packet_ms) + 20.0);
        Figures {
            codec: call.codec,
            added_p50_ms: added.get(added.len() / 2).copied().unwrap_or(f64::INFINITY),
            // One stretch may be taken for another that is like it.
            added_max_ms: added.iter().rev().nth(1).copied().unwrap_or(f64::INFINITY),
            likeness: likenesses.iter().sum::<f64>() / likenesses.len().max(1) as f64,
            concealed: report.samples_concealed as f64 / played,
            concealed_per_lost: call.lost as f64 * per_packet as f64 / played,
            accelerated: report.samples_accelerated as f64 / played,
            delay_max_ms: report.delay_ms_max,
            late: dropped(Dropped::Late) as f64 / arrived.max(1) as f64,
            unsettled_until_s: unsettled.map_or(0.0, |tick| tick as f64 * 0.02),
            others_differ: others_differ(call, clean),
            lost_packets: call.lost,
            wrongly_dropped: others
                .map(|reason| (reason, dropped(reason)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            // A replayed packet is turned away at the door.
            unaccounted: call.arrived.abs_diff(arrived + dropped(Dropped::Replayed)),
            answer_error_db: error_db(&call.heard[SUFFERER], &clean.heard[SUFFERER]),
            report,
        }
    }

    /// What was promised and is not so.
    pub fn broken(&self, row: &Row) -> Vec<String> {
        let promises = &row.promises;
        let mut broken = Vec::new();
        let mut promise = |holds: bool, what: String| {
            if !holds {
                broken.push(what);
            }
        };
        promise(
            self.added_p50_ms <= promises.added_ms,
            format!("added delay {:.0} > {}", self.added_p50_ms, promises.added_ms),
        );
        let delay_max_ms = self.added_max_ms.max(f64::from(self.delay_max_ms));
        promise(
            delay_max_ms <= promises.delay_max_ms,
            format!("a delay of {delay_max_ms:.0} > {}", promises.delay_max_ms),
        );
        let concealed_max = promises.concealed + promises.concealed_per_lost * self.concealed_per_lost;
        promise(
            self.concealed <= concealed_max,
            format!("concealed {:.4} > {concealed_max:.4}", self.concealed),
        );
        promise(
            self.late <= promises.late,
            format!("late {:.4} > {}", self.late, promises.late),
        );
        let likeness = 1.0 - promises.unlike * frailty(self.codec);
        promise(
            self.likeness >= likeness,
            format!("likeness {:.3} < {likeness:.3}", self.likeness),
        );
        if let Some(from) = promises.settled_from {
            promise(
                self.unsettled_until_s <= from.as_secs_f64(),
                format!("unsettled at {:.1} s", self.unsettled_until_s),
            );
        }
        promise(
            self.others_differ <= 2.0 / 32_768.0,
            format!("others are disturbed by {}", self.others_differ),
        );
        promise(
            self.answer_error_db <= ANSWER_ERROR_DB_MAX,
            format!(
                "the sufferer hears the other with an error of {:.1} dB",
                self.answer_error_db
            ),
        );
        promise(
            self.unaccounted == 0,
            format!("{} packets arrived and were not counted", self.unaccounted),
        );
        promise(
            self.wrongly_dropped.is_empty(),
            format!("dropped {:?}", self.wrongly_dropped),
        );
        broken
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let dropped = |reason: Dropped| self.report.dropped[reason as usize];
        write!(
            f,
            "added {:.0} max {:.0} ms, reported max {:.0} ms, likeness {:.3}, concealed {:.2} % with {:.2} % ({}) lost, \
             accelerated {:.2} %, late {} twice {} overflow {}, unsettled until {:.1} s, others differ by {:.5}, the answer by {:.1} dB",
            self.added_p50_ms,
            self.added_max_ms,
            self.delay_max_ms,
            self.likeness,
            100.0 * self.concealed,
            100.0 * self.concealed_per_lost,
            self.lost_packets,
            100.0 * self.accelerated,
            dropped(Dropped::Late),
            dropped(Dropped::Duplicate) + dropped(Dropped::Replayed),
            dropped(Dropped::Overflow),
            self.unsettled_until_s,
            self.others_differ,
            self.answer_error_db,
        )
    }
}

/// What the way takes at least at that time of the call, in milliseconds.
fn way_ms(row: &Row, at_ms: usize) -> f64 {
    let conditions = &row.conditions;
    let delay = match conditions.rerouted {
        Some((from, delay)) if at_ms as u128 >= from.as_millis() => delay,
        _ => conditions.delay,
    };
    delay.as_secs_f64() * 1e3
}

/// Every 600 ms: by how much later, and how much like it, the speech is that was heard; `None` where there is none.
fn stretches(heard: &[f32], clean: &[f32]) -> Vec<Option<Stretch>> {
    let window = WINDOW_MS * HEARD_PER_MS;
    // The first would have nothing before it to be late from.
    let starts = (0..).map(|n| (LAG_MAX_MS + n * WINDOWS_EVERY_MS) * HEARD_PER_MS);
    starts
        .take_while(|start| start + window <= heard.len())
        .map(|start| {
            let sound = &heard[start..start + window];
            let earliest = start - LAG_MAX_MS * HEARD_PER_MS;
            let candidates = &clean[earliest..start + window];
            let loud = 10_f32.powf(SPEECH_DBFS / 10.0) * window as f32;
            if energy(&clean[start..start + window]) < loud || energy(sound) < loud {
                return None;
            }
            let at = |at: usize, power: f32| {
                product(&candidates[at..at + window], sound) / power.max(loud / 10.0).sqrt()
            };
            // Every other place will do to find the peak of a sound below 4 kHz.
            let powers: Vec<f32> = energies(candidates, window).collect();
            let places = (0..powers.len())
                .step_by(2)
                .map(|place| (place, at(place, powers[place])));
            let (place, _) = places.max_by(|one, other| one.1.total_cmp(&other.1))?;
            let beside = place.saturating_sub(1)..(place + 2).min(powers.len());
            let places = beside.map(|place| (place, at(place, powers[place])));
            let (place, likeness) = places.max_by(|one, other| one.1.total_cmp(&other.1))?;
            Some(Stretch {
                lag_ms: (start - earliest - place) as f64 / HEARD_PER_MS as f64,
                likeness: f64::from(likeness / energy(sound).sqrt()),
            })
        })
        .collect()
}

/// The largest difference that the storm made to what the second party says, as the others hear it. The witness hears
/// both, so it is what remains when what the second hears is taken away.
fn others_differ(call: &Call, clean: &Call) -> f32 {
    let rest = |call: &Call| -> Vec<f32> {
        let both = call.heard[WITNESS].iter().zip(&call.heard[HEARER]);
        both.map(|(both, one)| both - one).collect()
    };
    let [stormy, clean] = [rest(call), rest(clean)];
    let differences = stormy.iter().zip(&clean).map(|(one, other)| (one - other).abs());
    differences.fold(0.0, f32::max)
}

/// The power of the difference beside that of the second.
fn error_db(one: &[f32], other: &[f32]) -> f32 {
    let difference: Vec<f32> = one.iter().zip(other).map(|(one, other)| one - other).collect();
    10.0 * (energy(&difference) / energy(&other[..difference.len()])).log10()
}
