//! How a leg sounded to us, as one number: the E-model of ITU-T G.107 with all but loss, delay and codec at rest.
//!
//! An estimate to compare legs by, not a measurement of what was heard. Loss counts as random.

use crate::codec::Codec;

/// R of a connection with nothing wrong with it (G.107 §7.7, default values).
const R_DEFAULT: f64 = 93.2;

/// What a codec takes from R by itself (Ie), and how well it bears loss when concealed (Bpl): G.113 appendix I.
fn of_codec(codec: Codec) -> Option<(f64, f64)> {
    match codec {
        Codec::Pcmu | Codec::Pcma => Some((0.0, 25.1)),
        // As Annex A with silence described.
        Codec::G729 => Some((11.0, 19.0)),
        Codec::G722 | Codec::Ilbc(_) | Codec::L16(_) | Codec::Opus(_) => None,
    }
}

/// The mean opinion score, 1.0 to 4.5; `None` where nothing was received, or in a codec that G.113 does not know.
pub fn mos(codec: Option<Codec>, packets_received: u64, packets_lost: u64, delay_ms: f32) -> Option<f64> {
    let (ie, bpl) = of_codec(codec?)?;
    if packets_received == 0 {
        return None;
    }
    let loss_percent = 100.0 * packets_lost as f64 / (packets_received + packets_lost) as f64;
    let impairment = ie + (95.0 - ie) * loss_percent / (loss_percent + bpl);
    let r = R_DEFAULT - delay_impairment(f64::from(delay_ms).max(0.0)) - impairment;
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

    #[test]
    fn a_clean_leg_scores_as_the_recommendation_says_and_loss_and_delay_take_from_it() {
        let clean = mos(Some(Codec::Pcmu), 1000, 0, 20.0).unwrap();
        // G.107 annex B: R = 93.2 is 4.41.
        assert!((clean - 4.41).abs() < 0.005, "{clean}");
        let lossy = mos(Some(Codec::Pcmu), 950, 50, 20.0).unwrap();
        let late = mos(Some(Codec::Pcmu), 1000, 0, 400.0).unwrap();
        assert!(lossy < clean - 0.3 && lossy > 3.0, "{lossy}");
        assert!(late < clean - 0.4 && late > 2.5, "{late}");
        assert_eq!(mos(Some(Codec::Pcmu), 0, 0, 0.0), None);
        assert_eq!(mos(None, 10, 0, 0.0), None);
        assert_eq!(mos(Some(Codec::Opus(Rate::Hz48000)), 10, 0, 0.0), None);
        assert!(mos(Some(Codec::Pcmu), 1, u64::MAX / 2, 1e9).unwrap() >= 1.0);
    }
}
