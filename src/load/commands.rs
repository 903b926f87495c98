//! Commands beside the load (`--commands`): how long a mute or unmute takes to be answered, and until it is heard.
//!
//! The answers are measured at the legs of the run that only listen, so that nothing else that is measured changes. What
//! is heard is measured in a room of its own: one party sends a steady tone, and is muted and unmuted again; another one
//! hears it cease and begin.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::api::{Api, ApiError};
use super::codecs::encoding;
use super::distribution::Distribution;
use super::report::{Quantiles, row};
use super::sdp::{self, Offer};
use super::socket;
use crate::codec::{Codec, CodecError, Decoder, Encoder, PAYLOAD_SAMPLES_MAX};
use crate::rtp::packet::{HEADER_BYTES, Header, Packet};
use crate::time::TICK;

/// Connections that commands go out on.
const CLIENTS: usize = 8;

/// Between two commands whose effect is listened for: longer than any should take.
const PAUSE: Duration = Duration::from_millis(500);

/// A tone that any detector takes for something said, at a frequency of which a packet holds whole periods.
const TONE_HZ: f32 = 1_000.0;
const TONE_AMPLITUDE: f32 = 0.25;

/// Mean square above which the end of a packet has the tone, and below which it has not: 6 dB below the tone, and 40.
const TONE_POWER_MIN: f32 = TONE_AMPLITUDE * TONE_AMPLITUDE / 8.0;
const SILENCE_POWER_MAX: f32 = TONE_AMPLITUDE * TONE_AMPLITUDE / 20_000.0;

/// Samples at 8 kHz: a packet, and its last quarter, which says how it ends: a mute fades within a tick.
const PACKET: usize = 160;
const TAIL: usize = 40;

/// What became of the commands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Commands {
    /// In each second, as asked for.
    pub asked_per_s: u32,
    pub answered: u64,
    pub failed: u64,
    /// Seconds that they took in all.
    pub measured_s: f64,
    /// From the request's sending to the end of its answer.
    pub answer_ms: Quantiles,
    /// From a mute's or unmute's sending to the arrival of the first packet in which it is complete.
    pub heard_ms: Quantiles,
    /// The same from the answer on, in ticks; zero where it was heard before.
    pub heard_ticks_after_answer: Quantiles,
    pub heard: u64,
    pub unheard: u64,
    /// Why the first that failed did.
    pub failure: Option<String>,
}

/// A leg that may be muted: room and name.
pub struct Mutable {
    pub conference: String,
    pub call: String,
}

/// A command whose effect was listened for.
struct Listened {
    asked: Instant,
    answered: Instant,
    /// Whether the tone is to be heard after it.
    tone: bool,
}

/// The end of a packet that was heard: `None` where it is between tone and silence.
struct Heard {
    at: Instant,
    tone: Option<bool>,
}

#[derive(Default)]
struct Answers {
    took: Distribution,
    failed: u64,
    failure: Option<String>,
}

/// Sends so many commands a second to the legs in turn until it is over.
pub fn run(api: &Api, legs: &[Mutable], per_s: u32, bind: IpAddr, over: &AtomicBool) -> Commands {
    let answers = Mutex::new(Answers::default());
    let begun = Instant::now();
    let listened = thread::scope(|scope| {
        for client in 0..CLIENTS.min(legs.len()) {
            let answers = &answers;
            scope.spawn(move || ask(api, legs, client, per_s, answers, over));
        }
        listen(api, bind, over)
    });
    let measured_s = begun.elapsed().as_secs_f64();
    let Answers {
        took,
        mut failed,
        mut failure,
    } = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut heard, mut after_answer, mut unheard) = (Distribution::new(), Distribution::new(), 0);
    match listened {
        Ok((listened, packets)) => {
            for command in &listened {
                let effect = packets
                    .iter()
                    .find(|packet| packet.at > command.asked && packet.tone == Some(command.tone));
                match effect {
                    Some(packet) => {
                        heard.record(packet.at.duration_since(command.asked));
                        after_answer.record(packet.at.saturating_duration_since(command.answered));
                    }
                    None => unheard += 1,
                }
            }
        }
        Err(error) => {
            failed += 1;
            failure.get_or_insert(error.to_string());
        }
    }
    let ticks = |ms: Option<f64>| ms.map(|ms| ms / (TICK.as_secs_f64() * 1e3));
    let after_answer_ms = Quantiles::of(&after_answer);
    Commands {
        asked_per_s: per_s,
        answered: took.count(),
        failed,
        measured_s,
        answer_ms: Quantiles::of(&took),
        heard_ms: Quantiles::of(&heard),
        heard_ticks_after_answer: Quantiles {
            p50: ticks(after_answer_ms.p50),
            p99: ticks(after_answer_ms.p99),
            max: ticks(after_answer_ms.max),
        },
        heard: heard.count(),
        unheard,
        failure,
    }
}

/// One client's share of the commands, evenly over time: each leg is muted and the next time unmuted.
fn ask(api: &Api, legs: &[Mutable], client: usize, per_s: u32, answers: &Mutex<Answers>, over: &AtomicBool) {
    let every = Duration::from_secs(1) / per_s.max(1);
    let begun = Instant::now();
    let clients = CLIENTS.min(legs.len());
    for number in (client..).step_by(clients) {
        let due = begun + every * number as u32;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if over.load(Ordering::Relaxed) {
            return;
        }
        let leg = &legs[number % legs.len()];
        let command = match (number / legs.len()).is_multiple_of(2) {
            true => "mute",
            false => "unmute",
        };
        let asked = Instant::now();
        let outcome = api.command(&leg.conference, &leg.call, command);
        let mut answers = locked(answers);
        match outcome {
            Ok(()) => answers.took.record(asked.elapsed()),
            Err(error) => {
                answers.failed += 1;
                answers.failure.get_or_insert(error.to_string());
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// Mutes and unmutes a party with a tone of its own; gives what was asked for and what the other party heard.
fn listen(api: &Api, bind: IpAddr, over: &AtomicBool) -> Result<(Vec<Listened>, Vec<Heard>), ListenError> {
    let run = format!("load-commands-{:08x}", fastrand::u32(..));
    let sits = |call: &str| -> Result<UdpSocket, ApiError> {
        let socket = socket::bind(bind).map_err(ApiError::Socket)?;
        let offer = Offer {
            codec: Codec::Pcmu,
            ptime_ms: 20,
            key: None,
            has_keys: false,
        };
        let address = socket.local_addr().map_err(ApiError::Socket)?;
        let seat = api.seat(&run, call, &offer, address)?;
        socket.connect(seat.remote).map_err(ApiError::Socket)?;
        Ok(socket)
    };
    let (talker, hearer) = (format!("{run}-talker"), format!("{run}-hearer"));
    let sockets = sits(&talker).and_then(|talker| Ok([talker, sits(&hearer)?]));
    let heard = Mutex::new(Vec::new());
    let is_done = AtomicBool::new(false);
    let listened = sockets.map_err(ListenError::from).and_then(|[tone, ear]| {
        let (encoder, decoder) = (
            Encoder::new(encoding(Codec::Pcmu, 20))?,
            Decoder::new(Codec::Pcmu)?,
        );
        thread::scope(|scope| {
            scope.spawn(|| speak_and_hear(&tone, &ear, encoder, decoder, &heard, &is_done));
            let listened = toggle(api, &run, &talker, over);
            is_done.store(true, Ordering::Relaxed);
            Ok(listened?)
        })
    });
    for call in [&talker, &hearer] {
        // What fails here was not ours to measure.
        let _ = api.unseat(call);
    }
    Ok((
        listened?,
        heard.into_inner().unwrap_or_else(PoisonError::into_inner),
    ))
}

fn toggle(api: &Api, room: &str, talker: &str, over: &AtomicBool) -> Result<Vec<Listened>, ApiError> {
    let mut listened = Vec::new();
    thread::sleep(PAUSE);
    for tone in [false, true].into_iter().cycle() {
        if over.load(Ordering::Relaxed) {
            return Ok(listened);
        }
        let asked = Instant::now();
        api.command(room, talker, if tone { "unmute" } else { "mute" })?;
        listened.push(Listened {
            asked,
            answered: Instant::now(),
            tone,
        });
        // Not in step with the ticks.
        thread::sleep(PAUSE + Duration::from_micros(fastrand::u64(..20_000)));
    }
    Ok(listened)
}

/// A packet of the tone each 20 ms, and everything that the other party is sent.
fn speak_and_hear(
    tone: &UdpSocket,
    ear: &UdpSocket,
    mut encoder: Encoder,
    mut decoder: Decoder,
    heard: &Mutex<Vec<Heard>>,
    is_done: &AtomicBool,
) {
    let said: [f32; PACKET] = std::array::from_fn(|sample| {
        TONE_AMPLITUDE * (std::f32::consts::TAU * TONE_HZ * sample as f32 / 8_000.0).sin()
    });
    let mut next = Header {
        marker: true,
        payload_type: sdp::payload_type(Codec::Pcmu),
        sequence: 0,
        timestamp: 0,
        ssrc: fastrand::u32(..),
    };
    let (mut datagram, mut buffer) = ([0; HEADER_BYTES + PACKET], [0; 2_048]);
    let mut pcm = vec![0.0; PAYLOAD_SAMPLES_MAX];
    // Refused, it would only wait in vain.
    let _ = ear.set_nonblocking(false);
    let _ = ear.set_read_timeout(Some(Duration::from_millis(1)));
    let mut due = Instant::now();
    while !is_done.load(Ordering::Relaxed) {
        encoder.encode(&said, &mut datagram[HEADER_BYTES..]);
        let (header, _) = datagram.split_first_chunk_mut().unwrap_or_else(|| unreachable!());
        next.write(header);
        // What the socket does not take is heard as a gap, and found by nobody.
        let _ = tone.send(&datagram);
        next.marker = false;
        next.sequence = next.sequence.wrapping_add(1);
        next.timestamp = next.timestamp.wrapping_add(PACKET as u32);
        due += TICK;
        while Instant::now() < due {
            let Ok(length) = ear.recv(&mut buffer) else {
                continue;
            };
            let at = Instant::now();
            let Ok(packet) = Packet::parse(&buffer[..length]) else {
                continue;
            };
            if packet.payload_type != sdp::payload_type(Codec::Pcmu) {
                continue;
            }
            if let Ok(samples) = decoder.decode(packet.payload, &mut pcm) {
                let tone = ends_in_tone(&pcm[..samples]);
                locked(heard).push(Heard { at, tone });
            }
        }
    }
}

fn ends_in_tone(sound: &[f32]) -> Option<bool> {
    let tail = &sound[sound.len().saturating_sub(TAIL)..];
    let power = tail.iter().map(|sample| sample * sample).sum::<f32>() / TAIL as f32;
    match power {
        power if power >= TONE_POWER_MIN => Some(true),
        power if power <= SILENCE_POWER_MAX => Some(false),
        _ => None,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Display for Commands {
    /// The rows of the table that only such a run has.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let quantiles = |quantiles: Quantiles| [quantiles.p50, quantiles.p99, None, quantiles.max];
        row(f, "command answered", quantiles(self.answer_ms), "ms")?;
        row(f, "mute, unmute heard", quantiles(self.heard_ms), "ms")?;
        row(
            f,
            "  after the answer",
            quantiles(self.heard_ticks_after_answer),
            "ticks",
        )?;
        writeln!(
            f,
            "    {} commands in {:.1} s, {} failed; {} were listened for, {} not heard{}",
            self.answered,
            self.measured_s,
            self.failed,
            self.heard + self.unheard,
            self.unheard,
            self.failure
                .as_ref()
                .map_or_else(String::new, |failure| format!("; the first: {failure}")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_packet_has_the_tone_or_silence_or_is_on_its_way() {
        let wave = |amplitude: f32| -> Vec<f32> {
            let wave = |sample: usize| (std::f32::consts::TAU * TONE_HZ * sample as f32 / 8_000.0).sin();
            (0..PACKET).map(|sample| amplitude * wave(sample)).collect()
        };
        assert_eq!(ends_in_tone(&wave(TONE_AMPLITUDE)), Some(true));
        assert_eq!(ends_in_tone(&wave(0.0)), Some(false));
        assert_eq!(ends_in_tone(&wave(TONE_AMPLITUDE / 10.0)), None);
        let mut fading = wave(TONE_AMPLITUDE);
        fading[PACKET - TAIL..].fill(0.0);
        assert_eq!(ends_in_tone(&fading), Some(false), "what counts is how it ends");
    }
}
