//! How a leg sounded to us, as one number: the E-model of ITU-T G.107 with all but loss, delay and codec at rest.
//!
//! An estimate to compare legs by, not a measurement of what was heard. It is of the whole call, and loss counts as
//! random (BurstR = 1).

use crate::codec::Codec;
use crate::leg::{Dropped, LegReport};

/// R of a connection with nothing wrong with it (G.107 §7.7, default values).
const R_DEFAULT: f64 = 93.2;

/// Before so many packets of a stream there is nothing to tell: two seconds of most.
const PACKETS_MIN: u64 = 100;

/// The usual packet: its first sample is as old as this when it leaves.
const PACKET_MS: f64 = 20.0;

/// What a codec takes from R by itself (Ie), how well it bears loss when concealed (Bpl), both of G.113 appendix I, and
/// the milliseconds that it looks ahead.
fn of_codec(codec: Codec) -> Option<(f64, f64, f64)> {
    match codec {
        // With concealment; without it Bpl is 4.3.
        Codec::Pcmu | Codec::Pcma => Some((0.0, 25.1, 0.0)),
        // As Annex A with silence described.
        Codec::G729 => Some((11.0, 19.0, 5.0)),
        Codec::G722 | Codec::Ilbc(_) | Codec::L16(_) | Codec::Opus(_) => None,
    }
}

/// The mean opinion score, 1.0 to 4.5; `None` until enough was received, and in a codec that G.113 does not know.
///
/// The delay is that of packet, codec and playout, and half of the round trip once a report has told it; until then the
/// network counts as taking none, which up to 100 ms in all is the same.
pub fn mos(report: &LegReport) -> Option<f64> {
    let (ie, bpl, ahead_ms) = of_codec(report.codec_received?)?;
    let unheard: u64 = [
        Dropped::Duplicate,
        Dropped::Late,
        Dropped::Overflow,
        Dropped::PayloadTooLarge,
        Dropped::Undecodable,
        Dropped::Abandoned,
    ]
    .iter()
    .map(|reason| report.dropped[*reason as usize])
    .sum();
    // What came late was lost to whoever listens.
    let lost = report.packets_lost;
    let expected = report
        .packets_received
        .saturating_sub(unheard)
        .saturating_add(lost);
    if expected < PACKETS_MIN {
        return None;
    }
    let loss_percent = 100.0 * lost as f64 / expected as f64;
    let impairment = ie + (95.0 - ie) * loss_percent / (loss_percent + bpl);
    let network_ms = report
        .round_trip_ms
        .map_or(0.0, |round_trip| f64::from(round_trip) / 2.0);
    let delay_ms = f64::from(report.delay_ms).max(0.0) + PACKET_MS + ahead_ms + network_ms;
    let r = R_DEFAULT - delay_impairment(delay_ms) - impairment;
    Some((score(r) * 100.0).round() / 100.0)
}

/// What delay alone takes (G.107 §7.4, Idd): nothing up to 100 ms.
fn delay_impairment(delay_ms: f64) -> f64 {
    if delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (delay_ms / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

/// G.107 annex B.
fn score(r: f64) -> f64 {
    match r {
        r if r <= 0.0 => 1.0,
        r if r >= 100.0 => 4.5,
        r => (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Rate;

    fn heard(codec: Codec, packets_received: u64, packets_lost: u64, delay_ms: f32) -> LegReport {
        LegReport {
            codec_received: Some(codec),
            packets_received,
            packets_lost,
            delay_ms,
            ..LegReport::default()
        }
    }

    #[test]
    fn the_score_is_that_of_the_recommendations_for_codec_loss_and_delay() {
        // Worked out by hand: R = 93.2 is 4.41, and Ie-eff for 5 % of PCMU is 95 · 5 / 30.1.
        for (codec, received, lost, delay_ms, expected) in [
            (Codec::Pcmu, 1_000, 0, 20.0, 4.41),
            (Codec::Pcma, 990, 10, 20.0, 4.33),
            (Codec::Pcmu, 950, 50, 20.0, 3.92),
            (Codec::Pcmu, 800, 200, 20.0, 2.63),
            (Codec::G729, 1_000, 0, 20.0, 4.10),
            (Codec::G729, 950, 50, 20.0, 3.34),
            // Ta = 200 ms: Idd is 3.04.
            (Codec::Pcmu, 1_000, 0, 180.0, 4.34),
        ] {
            let score = mos(&heard(codec, received, lost, delay_ms)).unwrap();
            assert!(
                (score - expected).abs() < 0.015,
                "{codec:?} {lost} {delay_ms}: {score}"
            );
        }
    }

    #[test]
    fn half_of_the_round_trip_is_delay_once_it_is_measured() {
        let near = heard(Codec::Pcmu, 1_000, 0, 80.0);
        let far = LegReport {
            round_trip_ms: Some(600.0),
            ..near.clone()
        };
        let (near, far) = (mos(&near).unwrap(), mos(&far).unwrap());
        assert_eq!(near, 4.41);
        assert!(far < 3.7 && far > 3.0, "{far}");
    }

    #[test]
    fn what_was_not_measured_or_is_not_known_has_no_score() {
        assert_eq!(mos(&LegReport::default()), None);
        assert_eq!(mos(&heard(Codec::Pcmu, 99, 0, 20.0)), None);
        assert_eq!(mos(&heard(Codec::Opus(Rate::Hz48000), 1_000, 0, 20.0)), None);
        assert!(mos(&heard(Codec::Pcmu, 1, u64::MAX / 2, 1e9)).unwrap() >= 1.0);
    }

    #[test]
    fn what_came_late_counts_once_and_as_lost() {
        let mut late = heard(Codec::Pcmu, 1_000, 50, 20.0);
        late.dropped[Dropped::Late as usize] = 50;
        assert_eq!(mos(&late), mos(&heard(Codec::Pcmu, 950, 50, 20.0)));
    }
}
