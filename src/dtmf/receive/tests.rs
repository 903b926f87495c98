//! Senders as they are, and a network that loses, repeats and reorders.

mod network;

use super::*;

const FIVE: u8 = 5;

/// A packet as it arrives, and when.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at_ms: u64,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    event: EventPayload,
}

impl Arrival {
    fn reach(&self, receiver: &mut EventReceiver, clock_hz: u32) -> Result<Option<Digit>, Refused> {
        let packet = EventPacket {
            ssrc: self.ssrc,
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: self.marker,
            payload: &self.event.write(),
        };
        receiver.receive(Time::from_millis(self.at_ms), &packet, clock_hz)
    }
}

/// Row of a table, at 8 kHz: time in ms, SSRC, timestamp, event code, end, duration.
type Row = (u64, u32, u32, u8, bool, u16);

/// Sequence numbers wrap on the way; each packet between the rows took one.
fn digits_of(rows: &[Row]) -> String {
    digits_at(
        rows,
        8_000,
        |index| 65_530_u16.wrapping_add(2 * index as u16),
        |_| false,
    )
}

fn digits_at(
    rows: &[Row],
    clock_hz: u32,
    sequence: impl Fn(usize) -> u16,
    marker: impl Fn(usize) -> bool,
) -> String {
    let mut receiver = EventReceiver::new();
    let mut digits = String::new();
    for (index, &(at_ms, ssrc, timestamp, event, end, duration)) in rows.iter().enumerate() {
        let arrival = Arrival {
            at_ms: 1_000 + at_ms,
            ssrc,
            sequence: sequence(index),
            timestamp,
            marker: marker(index),
            event: EventPayload {
                event,
                end,
                volume: 63,
                duration,
            },
        };
        match arrival.reach(&mut receiver, clock_hz) {
            Ok(digit) => digits.extend(digit.map(Digit::to_char)),
            Err(refused) => assert!(event >= 16 && refused == Refused::NotADigit(event)),
        }
    }
    digits
}

#[test]
fn whatever_is_left_of_a_press_is_one_digit() {
    let press: [Row; 6] = [
        (0, 1, 800, FIVE, false, 160),
        (20, 1, 800, FIVE, false, 320),
        (40, 1, 800, FIVE, false, 480),
        (60, 1, 800, FIVE, true, 480),
        (80, 1, 800, FIVE, true, 480),
        (100, 1, 800, FIVE, true, 480),
    ];
    for left in 1..1 << press.len() {
        let rows: Vec<_> = (0..press.len())
            .filter(|row| left & (1 << row) != 0)
            .map(|row| press[row])
            .collect();
        assert_eq!(digits_of(&rows), "5", "{rows:?}");
        let backwards: Vec<_> = rows.iter().rev().copied().collect();
        assert_eq!(digits_of(&backwards), "5", "{backwards:?}");
    }
}

#[test]
fn presses_are_told_apart_and_their_stragglers_known() {
    let cases: [(&str, &str, &[Row]); 17] = [
        (
            "the same key twice, quickly",
            "55",
            &[
                (0, 1, 800, 5, false, 160),
                (40, 1, 800, 5, true, 320),
                (80, 1, 1_440, 5, false, 160),
            ],
        ),
        (
            "the same key twice, all ends of the first lost",
            "55",
            &[
                (0, 1, 800, 5, false, 160),
                (20, 1, 800, 5, false, 320),
                (80, 1, 1_440, 5, false, 160),
            ],
        ),
        (
            "the same key twice, of each only an end",
            "55",
            &[(40, 1, 800, 5, true, 320), (120, 1, 1_440, 5, true, 320)],
        ),
        (
            "another key while one is down",
            "59",
            &[
                (0, 1, 800, 5, false, 160),
                (20, 1, 800, 5, false, 320),
                (30, 1, 1_100, 9, false, 80),
                (40, 1, 800, 5, false, 480),
                (50, 1, 1_100, 9, true, 240),
                (60, 1, 800, 5, true, 480),
            ],
        ),
        (
            "another key under the same timestamp",
            "59",
            &[
                (0, 1, 800, 5, false, 160),
                (20, 1, 800, 9, false, 160),
                (40, 1, 800, 9, true, 160),
            ],
        ),
        (
            "an end of the press before the last, late",
            "595",
            &[
                (0, 1, 800, 5, false, 160),
                (40, 1, 800, 5, true, 320),
                (80, 1, 1_440, 9, true, 320),
                (120, 1, 2_080, 5, false, 160),
                (130, 1, 800, 5, true, 320),
                (131, 1, 1_440, 9, true, 320),
                (140, 1, 2_080, 5, false, 320),
            ],
        ),
        (
            "a press whose only packet is overtaken by the next press",
            "95",
            &[
                (80, 1, 1_440, 9, false, 160),
                (90, 1, 800, 5, true, 320),
                (100, 1, 1_440, 9, true, 320),
            ],
        ),
        (
            "the same, the same key",
            "55",
            &[
                (80, 1, 1_440, 5, false, 160),
                (90, 1, 800, 5, true, 320),
                (100, 1, 1_440, 5, true, 320),
            ],
        ),
        (
            "segments of a long press",
            "5",
            &[
                (0, 1, 800, 5, false, 0xFF00),
                (20, 1, 800, 5, false, 0xFFFF),
                (40, 1, 66_335, 5, false, 160),
                (60, 1, 66_335, 5, false, 0xFFFF),
                (80, 1, 131_870, 5, false, 160),
                (100, 1, 131_870, 5, true, 320),
            ],
        ),
        (
            "segments of whole packets, the last reports of the first lost, then its straggler",
            "5",
            &[
                (0, 1, 800, 5, false, 64_000),
                (160, 1, 66_240, 5, false, 160),
                (170, 1, 800, 5, false, 0xFF00),
                (180, 1, 66_240, 5, true, 320),
            ],
        ),
        (
            "segments the wrong way round",
            "5",
            &[
                (0, 1, 66_335, 5, false, 160),
                (10, 1, 800, 5, false, 0xFFFF),
                (20, 1, 66_335, 5, true, 320),
            ],
        ),
        (
            "where a segment would begin, but another press came between",
            "595",
            &[
                (0, 1, 800, 5, false, 64_000),
                (120, 1, 65_000, 9, false, 160),
                (150, 1, 66_240, 5, false, 160),
            ],
        ),
        (
            "a timestamp that moves, and losses once that is known",
            "5",
            &[
                (0, 1, 800, 5, false, 160),
                (20, 1, 960, 5, false, 160),
                (100, 1, 1_600, 5, false, 160),
                (180, 1, 2_240, 5, true, 160),
            ],
        ),
        (
            "a timestamp that wraps between two presses",
            "55",
            &[
                (0, 1, u32::MAX - 100, 5, false, 160),
                (40, 1, u32::MAX - 100, 5, true, 320),
                (80, 1, 540, 5, true, 320),
            ],
        ),
        (
            "another stream takes over within the press",
            "5",
            &[
                (0, 1, 800, 5, false, 160),
                (20, 1, 800, 5, false, 320),
                (40, 2, 99_000, 5, false, 480),
                (60, 2, 99_000, 5, true, 640),
                (65, 1, 800, 5, true, 480),
                (80, 2, 99_000, 5, true, 640),
            ],
        ),
        (
            "another stream takes over between two presses",
            "55",
            &[
                (0, 1, 800, 5, false, 160),
                (40, 1, 800, 5, true, 320),
                (100, 2, 99_000, 5, false, 160),
            ],
        ),
        (
            "events that are no key",
            "5",
            &[
                (0, 1, 800, 16, false, 160),
                (20, 1, 800, 5, true, 160),
                (40, 1, 960, 255, false, 160),
            ],
        ),
    ];
    for (what, digits, rows) in cases {
        assert_eq!(digits_of(rows), digits, "{what}");
    }
}

#[test]
fn a_timestamp_that_moves_with_each_packet_is_still_one_press() {
    // The duration grows from the start of the press, or is that of the packet, or none; the ends move too, or not.
    let durations: [fn(u32) -> u16; 3] = [|packet| 160 * (packet as u16 + 1), |_| 160, |_| 0];
    for duration in durations {
        for ends_move in [true, false] {
            for packets in [2, 5, 50] {
                let press = |from: u32| {
                    let updates = (0..packets).map(move |n| (n, n, false));
                    let ends =
                        (packets..packets + 3).map(move |n| (n, if ends_move { n } else { packets }, true));
                    updates.chain(ends).map(move |(n, moved, end)| {
                        let at_ms = u64::from(from / 8 + 20 * n);
                        (
                            at_ms,
                            1,
                            5_000 + from + 160 * moved,
                            FIVE,
                            end,
                            duration(moved.min(packets - 1)),
                        )
                    })
                };
                let again = (packets + 4) * 160;
                let rows: Vec<Row> = press(0).chain(press(again)).collect();
                assert_eq!(digits_of(&rows), "55", "{rows:?}");
                // Markers on all packets, as such senders have them.
                assert_eq!(digits_at(&rows, 8_000, |index| index as u16, |_| true), "55");
                // One update in three lost.
                let rows: Vec<Row> = rows
                    .into_iter()
                    .enumerate()
                    .filter(|(index, row)| row.4 || index % 3 != 1)
                    .map(|(_, row)| row)
                    .collect();
                assert_eq!(digits_of(&rows), "55", "{rows:?}");
            }
        }
    }
}

#[test]
fn packets_in_a_row_are_one_press_however_far_their_timestamps_move() {
    let rows: Vec<Row> = (0..6)
        .map(|n| (80 * n, 1, 640 * n as u32, FIVE, n == 5, 0))
        .collect();
    assert_eq!(digits_at(&rows, 8_000, |index| index as u16, |_| false), "5");
}

#[test]
fn a_key_is_down_until_a_moment_after_its_end_or_until_nothing_more_is_heard_of_it() {
    let mut receiver = EventReceiver::new();
    let mut report = |at_ms, ssrc, timestamp, end| {
        let arrival = Arrival {
            at_ms,
            ssrc,
            sequence: at_ms as u16,
            timestamp,
            marker: false,
            event: EventPayload {
                event: FIVE,
                end,
                volume: 10,
                duration: 160,
            },
        };
        arrival.reach(&mut receiver, 8_000).expect("a digit");
        receiver.pressed_until
    };
    let until = Time::from_millis;
    assert_eq!(report(1_000, 1, 800, false), until(1_200));
    assert_eq!(report(1_100, 1, 800, false), until(1_300));
    assert_eq!(report(1_120, 1, 800, true), until(1_160), "the end");
    assert_eq!(report(1_140, 1, 800, true), until(1_160), "the end again");
    assert_eq!(
        report(1_150, 1, 800, false),
        until(1_160),
        "an update that is late"
    );
    assert_eq!(report(1_200, 1, 8_000, false), until(1_400), "the next press");
    assert_eq!(
        report(1_210, 1, 800, true),
        until(1_400),
        "a straggler of the first"
    );
    assert_eq!(
        report(1_220, 1, 4_000, true),
        until(1_400),
        "all there is of one between"
    );
    assert_eq!(
        report(1_230, 2, 70, false),
        until(1_430),
        "a press in another stream"
    );
    assert_eq!(report(1_240, 2, 70, true), until(1_280));
    assert_eq!(report(1_250, 2, 1_600, false), until(1_450), "the next in that");

    let pressed = |at_ms, delay_ms| receiver.is_pressed(until(at_ms), Duration::from_millis(delay_ms));
    assert!(pressed(1_449, 0) && !pressed(1_450, 0));
    assert!(
        pressed(1_509, 60) && !pressed(1_510, 60),
        "sound that waited in the jitter buffer"
    );
    assert!(
        !EventReceiver::new().is_pressed(Time::ZERO, Duration::from_millis(60)) || Time::ZERO < until(60)
    );
}

#[test]
fn a_flood_is_held_to_twenty_digits_a_second_and_leaves_nothing_behind() {
    let mut receiver = EventReceiver::new();
    let mut send = |n: u64, at_ms| {
        let arrival = Arrival {
            at_ms,
            ssrc: 1,
            sequence: n as u16,
            timestamp: 800 * n as u32,
            marker: true,
            event: EventPayload {
                event: (n % 16) as u8,
                end: false,
                volume: 10,
                duration: 80,
            },
        };
        let first = arrival.reach(&mut receiver, 8_000);
        assert_eq!(
            arrival.reach(&mut receiver, 8_000),
            Ok(None),
            "a refused press is refused once"
        );
        first
    };
    let outcomes: Vec<_> = (0..1_000).map(|n| send(n, 1_000 + 10 * n)).collect();
    let digits = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((200..=222).contains(&digits), "{digits} in ten seconds");
    assert!(
        outcomes[..20].iter().all(Result::is_ok),
        "a burst of a second's worth passes"
    );
    assert!(outcomes.contains(&Err(Refused::Flood)));
    for n in 0..40 {
        assert!(
            send(1_000 + n, 13_000 + 80 * n).is_ok(),
            "a second later keys work again"
        );
    }
}

#[test]
fn what_is_no_event_is_refused_and_changes_nothing() {
    let mut receiver = EventReceiver::new();
    let mut receive = |payload: &[u8]| {
        let packet = EventPacket {
            ssrc: 1,
            sequence: 1,
            timestamp: 1,
            marker: true,
            payload,
        };
        receiver.receive(Time::from_millis(500), &packet, 8_000)
    };
    assert_eq!(receive(&[]), Err(Refused::Malformed(BadEvent(0))));
    assert_eq!(receive(&[5, 10, 0]), Err(Refused::Malformed(BadEvent(3))));
    assert_eq!(receive(&[16, 10, 0, 160]), Err(Refused::NotADigit(16)));
    assert_eq!(receive(&[5, 0x7F, 0, 160]), Ok(Digit::from_char('5')));
    assert!(receiver.is_pressed(Time::from_millis(600), Duration::ZERO));
}
