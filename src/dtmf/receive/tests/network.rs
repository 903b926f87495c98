//! Minutes of presses through networks of all kinds: what is reported is exact whenever anything of a press arrives.

use super::*;

struct Network {
    /// Share of packets lost, and how many are lost in a row on average.
    loss: f32,
    burst: f32,
    duplicated: f32,
    jitter_ms: u64,
}

struct Sent {
    press: usize,
    arrival: Arrival,
}

/// How presses are put into packets: all by the RFC, which leaves room.
#[derive(Debug, Clone, Copy)]
struct Style {
    clock_hz: u32,
    /// The three ends follow each other at once, or each 20 ms.
    ends_at_once: bool,
    /// The first report says 0, or the length of a packet.
    starts_at_zero: bool,
    /// A segment ends at 65,535 units, or before with a whole packet.
    whole_segments: bool,
}

/// Keys, one after the other, as packets in the order they are sent.
fn packets(random: &mut fastrand::Rng, style: Style, presses: usize) -> (Vec<Digit>, Vec<Sent>) {
    let per_ms = style.clock_hz / 1_000;
    let segment_units = if style.whole_segments {
        0xFFFF / (20 * per_ms) * (20 * per_ms)
    } else {
        0xFFFF
    };
    let (mut digits, mut sent) = (Vec::new(), Vec::new());
    let (base, ssrc) = (random.u32(..), random.u32(..));
    let mut sequence = random.u16(..);
    let (mut at_ms, mut last_start_ms) = (1_000, 0);
    for press in 0..presses {
        // Every other key is pressed again, unless that looks like the next segment of a press without an end.
        let since_last = (at_ms - last_start_ms) * per_ms;
        let may_repeat = since_last > 0xFFFF || since_last < 0xFFFF - 61 * per_ms;
        let digit = match digits.last() {
            Some(last) if random.bool() && may_repeat => *last,
            last => loop {
                let digit = Digit(random.u8(..16));
                if may_repeat || Some(&digit) != last {
                    break digit;
                }
            },
        };
        last_start_ms = at_ms;
        digits.push(digit);
        let ticks = if random.u8(..8) == 0 {
            random.u32(2..=75)
        } else {
            random.u32(2..=10)
        };
        let start = base.wrapping_add(at_ms * per_ms);
        let mut say = |at_ms: u32, reported: u32, first: bool, end: bool, open: u32| {
            let segment = open / segment_units * segment_units;
            sequence = sequence.wrapping_add(1);
            let arrival = Arrival {
                at_ms: at_ms.into(),
                ssrc,
                sequence,
                timestamp: start.wrapping_add(segment),
                marker: first,
                event: EventPayload {
                    event: digit.event(),
                    end,
                    volume: 10,
                    duration: (reported - segment).min(segment_units) as u16,
                },
            };
            sent.push(Sent { press, arrival });
        };
        let tick = 20 * per_ms;
        for n in 0..ticks {
            let reported = if style.starts_at_zero {
                n * tick
            } else {
                (n + 1) * tick
            };
            say(at_ms + 20 * n, reported, n == 0, false, n * tick);
        }
        for n in 0..3 {
            let wait = if style.ends_at_once { 0 } else { 20 * n };
            say(
                at_ms + 20 * ticks + wait,
                ticks * tick,
                false,
                true,
                ticks * tick - 1,
            );
        }
        let gap = random.u32(2..=12);
        // Sound takes sequence numbers too.
        sequence = sequence.wrapping_add(gap as u16);
        at_ms += 20 * (ticks + gap);
    }
    (digits, sent)
}

impl Network {
    /// What arrives, in the order it does.
    fn carry(&self, random: &mut fastrand::Rng, sent: Vec<Sent>) -> Vec<Sent> {
        let mut arrived = Vec::new();
        let mut is_lossy = false;
        for Sent { press, arrival } in sent {
            let turn = if is_lossy {
                1.0 / self.burst
            } else {
                self.loss / (1.0 - self.loss) / self.burst
            };
            is_lossy ^= random.f32() < turn;
            if is_lossy {
                continue;
            }
            for _ in 0..if random.f32() < self.duplicated { 2 } else { 1 } {
                let at_ms = arrival.at_ms + random.u64(0..=self.jitter_ms);
                arrived.push(Sent {
                    press,
                    arrival: Arrival { at_ms, ..arrival },
                });
            }
        }
        arrived.sort_by_key(|sent| sent.arrival.at_ms);
        arrived
    }
}

#[test]
fn the_digits_reported_are_exact_whenever_a_packet_of_each_press_arrives() {
    let mut lost_wholly = 0;
    let mut reported = 0;
    for seed in 0..600 {
        let mut random = fastrand::Rng::with_seed(seed);
        let style = Style {
            clock_hz: [8_000, 16_000, 48_000][seed as usize % 3],
            ends_at_once: random.bool(),
            starts_at_zero: random.bool(),
            whole_segments: random.bool(),
        };
        let network = Network {
            loss: [0.0, 0.05, 0.1, 0.2, 0.3][random.usize(..5)],
            burst: [1.0, 2.0, 5.0][random.usize(..3)],
            duplicated: [0.0, 0.2][random.usize(..2)],
            jitter_ms: [0, 20, 60][random.usize(..3)],
        };
        let (digits, sent) = packets(&mut random, style, 60);
        let arrived = network.carry(&mut random, sent);

        let mut receiver = EventReceiver::new();
        let mut is_known = vec![false; digits.len()];
        for Sent { press, arrival } in &arrived {
            // Only the first of a press to arrive says something.
            let expected = (!is_known[*press]).then(|| digits[*press]);
            is_known[*press] = true;
            let heard = arrival.reach(&mut receiver, style.clock_hz);
            assert_eq!(
                heard,
                Ok(expected),
                "seed {seed}, press {press}, {style:?}, {arrival:?}"
            );
            assert!(receiver.is_pressed(Time::from_millis(arrival.at_ms), Duration::from_millis(100)));
        }
        lost_wholly += is_known.iter().filter(|known| !**known).count();
        reported += is_known.iter().filter(|known| **known).count();
        if network.loss == 0.0 || network.burst == 1.0 && network.loss <= 0.1 {
            assert!(
                is_known.iter().all(|known| *known),
                "seed {seed}: nothing of a press arrived"
            );
        }
    }
    println!("{reported} presses reported, {lost_wholly} lost with all their packets");
    assert!(reported > 35_000);
}
