use super::*;
use crate::dtmf::{EventPacket, EventReceiver};
use crate::time::Time;

fn digit(key: char) -> Digit {
    Digit::from_char(key).expect("a key")
}

#[test]
fn a_press_is_updates_then_three_ends_then_the_rest_of_the_gap() {
    for (clock_hz, unit) in [(8_000, 1), (16_000, 2), (48_000, 6)] {
        let mut sender = DigitSender::new();
        assert_eq!(sender.tick(clock_hz), Sending::Idle);
        sender.push(digit('#'), 50, 80).expect("room");
        sender.push(digit('1'), 40, 40).expect("room");
        let event = |code, end, first, start: u32, duration: u16| {
            let payload = EventPayload {
                event: code,
                end,
                volume: 10,
                duration: duration * unit as u16,
            };
            Sending::Event {
                payload: payload.write(),
                first,
                start_offset: start * unit,
            }
        };
        let expected = [
            event(11, false, true, 0, 160),
            event(11, false, false, 160, 320),
            event(11, false, false, 320, 480),
            event(11, true, false, 480, 480),
            event(11, true, false, 640, 480),
            event(11, true, false, 800, 480),
            Sending::Gap,
            event(1, false, true, 0, 160),
            event(1, false, false, 160, 320),
            event(1, true, false, 320, 320),
            event(1, true, false, 480, 320),
            event(1, true, false, 640, 320),
            Sending::Idle,
        ];
        for (tick, expected) in expected.into_iter().enumerate() {
            assert_eq!(sender.tick(clock_hz), expected, "tick {tick} at {clock_hz}");
        }
    }
}

#[test]
fn a_press_too_long_for_the_field_is_sent_in_segments() {
    let mut sender = DigitSender::new();
    sender.push(digit('7'), 2_000, 60).expect("room");
    let mut reports = Vec::new();
    for tick in 0.. {
        let Sending::Event {
            payload,
            first,
            start_offset,
        } = sender.tick(48_000)
        else {
            break;
        };
        let event = EventPayload::parse(&payload).expect("our own");
        assert_eq!(first, tick == 0);
        reports.push((960 * tick - start_offset, u32::from(event.duration), event.end));
    }
    assert_eq!(reports.len(), 103);
    assert_eq!(reports[67], (0, 65_280, false));
    assert_eq!(
        reports[68],
        (0, 65_535, false),
        "as much as can be said, and no end"
    );
    assert_eq!(reports[69], (65_535, 70 * 960 - 65_535, false));
    assert_eq!(reports[99], (65_535, 96_000 - 65_535, false));
    assert_eq!(reports[100..], [(65_535, 96_000 - 65_535, true); 3]);
}

#[test]
fn what_is_sent_is_received() {
    for clock_hz in [8_000, 16_000, 48_000] {
        let mut sender = DigitSender::new();
        let mut pressed = Vec::new();
        for (index, digit) in Digit::all().chain(Digit::all()).enumerate() {
            for _ in 0..2 {
                sender.push(digit, [40, 100, 2_000][index % 3], 40).expect("room");
                pressed.push(digit);
            }
        }
        let mut receiver = EventReceiver::new();
        let mut received = Vec::new();
        for tick in 0_u32.. {
            let (payload, marker, start_offset) = match sender.tick(clock_hz) {
                Sending::Idle => break,
                Sending::Gap => continue,
                Sending::Event {
                    payload,
                    first,
                    start_offset,
                } => (payload, first, start_offset),
            };
            let packet = EventPacket {
                ssrc: 7,
                sequence: tick as u16,
                timestamp: (tick * clock_hz / 50).wrapping_sub(start_offset),
                marker,
                payload: &payload,
            };
            let now = Time::from_millis(u64::from(tick) * 20);
            received.extend(receiver.receive(now, &packet, clock_hz).expect("a digit"));
        }
        assert_eq!(received, pressed);
    }
}

#[test]
fn a_full_queue_refuses_and_has_room_again_once_a_digit_is_sent() {
    let mut sender = DigitSender::new();
    for _ in 0..QUEUED_MAX {
        sender.push(digit('1'), TONE_MS, GAP_MS).expect("room");
    }
    assert_eq!(sender.push(digit('2'), TONE_MS, GAP_MS), Err(Full));
    assert_eq!(sender.room(), 0);
    for _ in 0..(TONE_MS + GAP_MS) / 20 {
        sender.tick(8_000);
    }
    assert_eq!(sender.room(), 1);
    sender.push(digit('2'), TONE_MS, GAP_MS).expect("room");
    while sender.room() < QUEUED_MAX {
        assert!(!sender.is_idle());
        sender.tick(8_000);
    }
    assert!(sender.is_idle());
    assert_eq!(sender.tick(8_000), Sending::Idle);
}

#[test]
fn lengths_out_of_bounds_are_brought_within_them() {
    for (tone_ms, gap_ms, ticks) in [(0, 0, 2 + 3), (u16::MAX, u16::MAX, 100 + 100), (41, 61, 3 + 4)] {
        let mut sender = DigitSender::new();
        sender.push(digit('1'), tone_ms, gap_ms).expect("room");
        let taken = (0..).take_while(|_| sender.tick(8_000) != Sending::Idle).count();
        assert_eq!(taken, ticks);
    }
}

#[test]
fn no_clock_is_too_odd_to_send_at() {
    for clock_hz in [0, 1, 50, 90_000, u32::MAX] {
        let mut sender = DigitSender::new();
        sender.push(digit('1'), TONE_MS_MAX, GAP_MS_MAX).expect("room");
        while sender.tick(clock_hz) != Sending::Idle {}
    }
}

/// All that is rendered until the queue is empty.
fn rendered(sender: &mut DigitSender, rate: Rate) -> Vec<f32> {
    let mut sound = Vec::new();
    let mut pcm = vec![0.25; rate.samples_per_tick()];
    while sender.render(rate, &mut pcm) {
        sound.extend_from_slice(&pcm);
        pcm.fill(0.25);
    }
    assert!(
        pcm.iter().all(|sample| *sample == 0.25),
        "without a digit the sound is left alone"
    );
    sound
}

/// Peak of the tone of `hz` in the sound.
fn peak(sound: &[f32], hz: f32, rate: Rate) -> f32 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in sound.iter().enumerate() {
        let (sin, cos) = (std::f64::consts::TAU * f64::from(hz) * n as f64 / f64::from(rate.hz())).sin_cos();
        re += f64::from(*sample) * cos;
        im += f64::from(*sample) * sin;
    }
    (2.0 * re.hypot(im) / sound.len() as f64) as f32
}

#[test]
fn a_digit_sounds_as_its_two_tones_and_then_not_at_all() {
    for rate in Rate::ALL {
        for digit in Digit::all() {
            let mut sender = DigitSender::new();
            sender.push(digit, 1_000, 60).expect("room");
            let sound = rendered(&mut sender, rate);
            let (tone, gap) = sound.split_at(1_000 * rate.samples_per_ms());
            assert_eq!(gap, vec![0.0; 60 * rate.samples_per_ms()]);
            let (low, high) = digit.frequencies();
            let db = |peak: f32| 20.0 * peak.log10();
            assert!(
                (db(peak(tone, low, rate)) + 10.0).abs() < 0.1,
                "{digit} at {rate:?}"
            );
            assert!(
                (db(peak(tone, high, rate)) + 8.0).abs() < 0.1,
                "{digit} at {rate:?}"
            );
            // Whatever is not the two tones, a break between two ticks say, would be power beyond theirs.
            let power = tone.iter().map(|sample| sample * sample).sum::<f32>() / tone.len() as f32;
            assert!((power / (0.5 * (0.316f32.powi(2) + 0.398f32.powi(2))) - 1.0).abs() < 0.01);
        }
    }
}

#[test]
fn tones_begin_and_end_without_a_click_and_run_smoothly_through_the_ticks() {
    for rate in Rate::ALL {
        for digit in Digit::all() {
            let mut sender = DigitSender::new();
            sender.push(digit, 100, 60).expect("room");
            let mut sound = vec![0.0];
            sound.extend(rendered(&mut sender, rate));
            let (low, high) = digit.frequencies();
            let slope = TAU * (PEAKS[0] * low + PEAKS[1] * high) / rate.hz() as f32;
            let bend =
                TAU * TAU * (PEAKS[0] * low * low + PEAKS[1] * high * high) / (rate.hz() as f32).powi(2);
            // The ramp adds its own slope to that of the tones.
            let ramp = PI / (2.0 * RAMP_MS * rate.samples_per_ms() as f32);
            for three in sound.windows(3) {
                assert!((three[1] - three[0]).abs() <= slope + ramp);
                assert!(
                    (three[2] - 2.0 * three[1] + three[0]).abs() <= bend + 2.0 * ramp * slope + ramp * ramp
                );
            }
            let soft = 6 * rate.samples_per_ms() / 10;
            let tone = &sound[1..=100 * rate.samples_per_ms()];
            let edges = tone[..soft].iter().chain(&tone[tone.len() - soft..]);
            let loudest = edges.fold(0.0f32, |loudest, sample| loudest.max(sample.abs()));
            assert!(loudest < 0.12, "{loudest} at {rate:?}");
        }
    }
}

#[test]
fn a_party_may_change_between_packets_and_tones_within_the_queue() {
    let mut sender = DigitSender::new();
    sender.push(digit('1'), 40, 60).expect("room");
    sender.push(digit('2'), 40, 60).expect("room");
    let mut pcm = [0.0; 160];
    assert!(matches!(sender.tick(8_000), Sending::Event { first: true, .. }));
    assert!(
        sender.render(Rate::Hz8000, &mut pcm),
        "the second half of the tone"
    );
    assert!(pcm.iter().any(|sample| sample.abs() > 0.3));
    assert!(sender.render(Rate::Hz8000, &mut pcm));
    assert_eq!(pcm, [0.0; 160]);
    assert!(matches!(sender.tick(8_000), Sending::Event { first: false, .. }));
}
