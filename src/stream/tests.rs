//! Streams on their own: what they give for a signal with and without pauses.

use super::*;

/// Stretches of one tick as (clock, what: 's'ound, 'n'oise, '-', bytes).
fn given(stream: &Stream) -> Vec<(u32, char, usize)> {
    let give = |stretch: Stretch<'_>| match stretch.content {
        Content::Sound(payload) => (stretch.clock, 's', payload.len()),
        Content::ComfortNoise(payload) => (stretch.clock, 'n', payload.len()),
        Content::Nothing => (stretch.clock, '-', 0),
    };
    stream.stretches().map(give).collect()
}

fn encoding(codec: Codec, ptime_ms: u8) -> Encoding {
    Encoding {
        codec,
        ptime_ms,
        bitrate: 32_000,
        complexity: 5,
        dtx: true,
        loss_percent: 0,
    }
}

const TICK_SAMPLES: usize = Rate::Hz8000.samples_per_tick();

/// Ticks of a tone where the flag is set, of silence elsewhere.
fn tick(tone: bool) -> [f32; TICK_SAMPLES] {
    std::array::from_fn(|n| if tone { 0.3 * (n as f32 * 0.4).sin() } else { 0.0 })
}

#[test]
fn g711_describes_a_silence_of_200_ms_and_says_nothing_until_there_is_sound() {
    let mut stream = Stream::new(encoding(Codec::Pcmu, 20)).unwrap();
    let mut line = String::new();
    for number in 0..60 {
        // The tone comes back in the last sample of tick 48.
        let mut signal = tick(!(3..=48).contains(&number));
        if number == 48 {
            signal[159] = 0.01;
        }
        stream.push(&signal, Rate::Hz8000, false);
        let given = given(&stream);
        assert_eq!(given.len(), 1);
        let (clock, what, bytes) = given[0];
        assert_eq!(clock, 160, "time goes by alike, whatever is sent");
        assert_eq!(
            bytes,
            if what == 's' {
                160
            } else {
                usize::from(what == 'n')
            }
        );
        assert_eq!(stream.pauses(), what != 's');
        line.push(what);
    }
    let pause = format!("n{}n{}", "-".repeat(24), "-".repeat(9));
    assert_eq!(
        line,
        format!("{}{pause}{}", "s".repeat(3 + 10), "s".repeat(12)),
        "200 ms of hangover, a description each half second, and the first sample of the sound"
    );
}

#[test]
fn the_timeline_is_whole_at_every_packet_time_and_a_copy_in_a_pause_goes_on_with_it() {
    for ptime_ms in [10, 20, 30, 40, 50, 60] {
        let encoding = encoding(Codec::Pcma, ptime_ms);
        let mut stream = Stream::new(encoding).unwrap();
        let mut copy = Stream::new(encoding).unwrap();
        let mut total = 0;
        for number in 0..300 {
            let spoken = number % 100 < 10;
            stream.push(&tick(spoken), Rate::Hz8000, false);
            total += stream.stretches().map(|stretch| stretch.clock).sum::<u32>();
            if number == 50 {
                copy.copy_from(&stream);
            } else if number > 50 {
                copy.push(&tick(spoken), Rate::Hz8000, false);
                assert!(
                    copy.stretches().eq(stream.stretches()),
                    "{ptime_ms} ms, tick {number}"
                );
            }
        }
        assert_eq!(total, 300 * 160, "{ptime_ms}");
    }
}

#[test]
fn without_dtx_silence_is_sent_as_sound() {
    let mut stream = Stream::new(Encoding {
        dtx: false,
        ..encoding(Codec::Pcmu, 20)
    })
    .unwrap();
    for _ in 0..50 {
        stream.push(&tick(false), Rate::Hz8000, false);
        assert_eq!(given(&stream), [(160, 's', 160)]);
    }
}
