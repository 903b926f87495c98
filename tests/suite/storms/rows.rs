//! The table: what each network does, and what is promised of it.

use std::time::Duration;

use mixminus::load::network::{Conditions, Jitter, Spells};
use mixminus::srtp::Suite;

/// A network for one party's packets, and what its room may be asked for all the same.
pub struct Row {
    pub name: &'static str,
    pub seed: u64,
    pub seconds: u64,
    pub conditions: Conditions,
    pub srtp: Option<Suite>,
    pub promises: Promises,
}

/// Beside these, every row promises what `Figures::broken` says of all.
pub struct Promises {
    /// Of the delay that half of the call's speech has, beyond the way's own and that of a clean call.
    pub added_ms: f64,
    /// Of what was played, the share that may have been made up, and beside it, per sample lost.
    pub concealed: f64,
    pub concealed_per_lost: f64,
    /// Share of the packets that arrived whose turn had passed.
    pub late: f64,
    /// How far the mean correlation of the speech heard with that of a clean call falls short of 1, for a codec
    /// without memory.
    pub unlike: f64,
    /// Of any delay, in milliseconds: that of the leg's own report, and what was heard beyond the way's.
    pub delay_max_ms: f64,
    /// From then on the delay is no more than 20 ms above the target.
    pub settled_from: Option<Duration>,
}

/// What a network promises that loses, delays and mixes up nothing.
const FLAWLESS: Promises = Promises {
    added_ms: 20.0,
    concealed: 0.0,
    concealed_per_lost: 0.0,
    late: 0.0,
    unlike: 0.005,
    delay_max_ms: 40.0,
    settled_from: Some(Duration::from_secs(3)),
};

/// What a leg holds back at most by default, and a tick.
const DELAY_MAX_MS: f64 = 300.0 + 20.0;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A way of 30 ms, uneven by 2.
const WAY: Conditions = Conditions {
    delay: ms(30),
    jitter: Jitter::Uniform(ms(2)),
    ..Conditions::PERFECT
};

fn row(name: &'static str, seed: u64, conditions: Conditions, promises: Promises) -> Row {
    Row {
        name,
        seed,
        seconds: 12,
        conditions,
        srtp: None,
        promises,
    }
}

pub fn clean() -> Vec<Row> {
    vec![row("clean", 1, WAY, FLAWLESS)]
}

/// Of loss alone: the delay stays what it was, and what is lost is made up and nothing else.
const fn lossy(unlike: f64) -> Promises {
    Promises {
        concealed: 0.002,
        concealed_per_lost: 1.1,
        unlike,
        delay_max_ms: 60.0,
        settled_from: None,
        ..FLAWLESS
    }
}

pub fn random_loss() -> Vec<Row> {
    let loss = |loss| Conditions { loss, ..WAY };
    // Silence in place of what is lost would be unlike by 0.025 at 5 %, 0.051 at 10 % and 0.106 at 20 %.
    vec![
        row("1 % lost", 11, loss(0.01), lossy(0.005)),
        row("5 % lost", 12, loss(0.05), lossy(0.018)),
        row("10 % lost", 13, loss(0.10), lossy(0.035)),
        row("20 % lost", 14, loss(0.20), lossy(0.07)),
    ]
}

pub fn bursts_of_loss() -> Vec<Row> {
    let bursts = |loss, loss_burst| Conditions {
        loss,
        loss_burst,
        ..WAY
    };
    vec![
        row("5 % lost by threes", 21, bursts(0.05, 3.0), lossy(0.04)),
        row("10 % lost by eights", 22, bursts(0.10, 8.0), lossy(0.035)),
    ]
}

pub fn jitter() -> Vec<Row> {
    let uneven = |jitter| Conditions { jitter, ..WAY };
    let uniform = |added_ms| Promises {
        added_ms,
        concealed: 0.005,
        unlike: 0.02,
        delay_max_ms: added_ms + 20.0,
        ..FLAWLESS
    };
    let ragged = |added_ms, concealed, unlike| Promises {
        concealed,
        unlike,
        delay_max_ms: DELAY_MAX_MS,
        settled_from: None,
        ..uniform(added_ms)
    };
    let spikes = Spells {
        first: ms(3_000),
        lasts: ms(150),
        mean_gap: Some(ms(3_000)),
    };
    let spiky = Conditions {
        stalls: Some(spikes),
        ..uneven(Jitter::Uniform(ms(30)))
    };
    vec![
        row(
            "40 ms of jitter",
            31,
            uneven(Jitter::Uniform(ms(40))),
            uniform(70.0),
        ),
        row(
            "80 ms of jitter",
            32,
            uneven(Jitter::Uniform(ms(80))),
            uniform(110.0),
        ),
        row(
            "exponential jitter of 15 ms",
            33,
            uneven(Jitter::Exponential(ms(15))),
            ragged(90.0, 0.02, 0.03),
        ),
        row(
            "heavy-tailed jitter of 10 ms",
            34,
            uneven(Jitter::HeavyTailed(ms(10))),
            ragged(130.0, 0.035, 0.12),
        ),
        row(
            "30 ms of jitter with spikes",
            35,
            spiky,
            ragged(150.0, 0.035, 0.05),
        ),
    ]
}

pub fn disorder() -> Vec<Row> {
    let overtaken = Conditions {
        reordering: 0.05,
        reordering_by: ms(60),
        ..WAY
    };
    let twice = Conditions {
        duplication: 0.2,
        ..WAY
    };
    let both = Conditions {
        duplication: 0.1,
        ..overtaken
    };
    let promises = || Promises {
        added_ms: 50.0,
        concealed: 0.025,
        late: 0.02,
        unlike: 0.06,
        delay_max_ms: 120.0,
        settled_from: None,
        ..FLAWLESS
    };
    vec![
        row("5 % overtaken within 60 ms", 41, overtaken, promises()),
        row("every fifth twice", 42, twice, FLAWLESS),
        Row {
            srtp: Some(Suite::AeadAes128Gcm),
            ..row("encrypted, overtaken and twice", 43, both, promises())
        },
    ]
}

pub fn drift() -> Vec<Row> {
    let drift = |drift_ppm| Conditions { drift_ppm, ..WAY };
    vec![
        row("a clock 300 ppm fast", 51, drift(300.0), FLAWLESS),
        row("a clock 300 ppm slow", 52, drift(-300.0), FLAWLESS),
    ]
}

pub fn upheavals() -> Vec<Row> {
    let promises = |concealed, unlike, from| Promises {
        added_ms: 40.0,
        concealed,
        unlike,
        delay_max_ms: DELAY_MAX_MS,
        settled_from: Some(ms(from)),
        ..FLAWLESS
    };
    let spike = Conditions {
        stalls: Some(Spells::once(ms(4_000), ms(300))),
        ..WAY
    };
    let outage = Conditions {
        outages: Some(Spells::once(ms(2_400), ms(2_000))),
        ..WAY
    };
    let rerouted = |from, to| Conditions {
        delay: ms(from),
        rerouted: Some((ms(4_000), ms(to))),
        ..WAY
    };
    // Five seconds after it is over, and what the way itself takes.
    vec![
        row("a spike of 300 ms", 61, spike, promises(0.02, 0.06, 9_450)),
        row(
            "an outage of 2 s",
            62,
            outage,
            Promises {
                concealed_per_lost: 1.1,
                ..promises(0.0, 0.03, 9_450)
            },
        ),
        row(
            "a way longer by 80 ms",
            63,
            rerouted(30, 110),
            promises(0.01, 0.03, 9_150),
        ),
        row(
            "a way shorter by 80 ms",
            64,
            rerouted(110, 30),
            promises(0.005, 0.03, 9_150),
        ),
    ]
}

pub fn everything() -> Vec<Row> {
    let storm = Conditions {
        loss: 0.05,
        loss_burst: 2.0,
        delay: ms(60),
        jitter: Jitter::Exponential(ms(10)),
        rerouted: Some((ms(5_000), ms(100))),
        stalls: Some(Spells {
            first: ms(2_000),
            lasts: ms(200),
            mean_gap: Some(ms(4_000)),
        }),
        outages: Some(Spells::once(ms(7_000), ms(400))),
        duplication: 0.02,
        reordering: 0.02,
        reordering_by: ms(60),
        bytes_per_second: None,
        drift_ppm: 200.0,
    };
    let promises = || Promises {
        added_ms: 200.0,
        concealed: 0.05,
        concealed_per_lost: 1.1,
        late: 0.02,
        unlike: 0.12,
        delay_max_ms: DELAY_MAX_MS,
        settled_from: None,
    };
    vec![
        row("everything at once", 71, storm, promises()),
        Row {
            srtp: Some(Suite::AesCm128HmacSha1_80),
            ..row("everything at once, encrypted", 72, storm, promises())
        },
    ]
}
