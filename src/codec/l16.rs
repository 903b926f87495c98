//! L16: linear 16 bit samples in network byte order, mono (RFC 3551 §4.5.11). Nothing is remembered from one
//! payload to the next.

use super::{PayloadError, saturate};

const FULL_SCALE: f32 = 32_768.0;

/// How many samples the payload holds; half a sample is an error.
pub(super) fn samples(payload: &[u8]) -> Result<usize, PayloadError> {
    if !payload.len().is_multiple_of(2) {
        return Err(PayloadError::Partial);
    }
    Ok(payload.len() / 2)
}

/// Two bytes of `payload` for each sample of `pcm`.
pub(super) fn decode(payload: &[u8], pcm: &mut [f32]) {
    for (sample, bytes) in pcm.iter_mut().zip(payload.as_chunks::<2>().0) {
        *sample = f32::from(i16::from_be_bytes(*bytes)) * (1.0 / FULL_SCALE);
    }
}

/// Two bytes for each sample, rounded to the nearest; returns how many bytes, none when `payload` has no room for all.
pub(super) fn encode(pcm: &[f32], payload: &mut [u8]) -> usize {
    // The sum has no bits left for a fraction, so the addition rounds and its low 16 bits are the
    // sample; unlike `round` this is one vector instruction on every machine.
    const ROUND: f32 = (3 << 22) as f32;
    let Some(payload) = payload.get_mut(..2 * pcm.len()) else {
        debug_assert!(false, "{} samples do not fit", pcm.len());
        return 0;
    };
    for (bytes, sample) in payload.as_chunks_mut::<2>().0.iter_mut().zip(pcm) {
        let scaled = (saturate(*sample) * FULL_SCALE).min(FULL_SCALE - 1.0);
        *bytes = ((scaled + ROUND).to_bits() as u16).to_be_bytes();
    }
    payload.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_in_network_order_and_full_scale_is_one() {
        let cases: [(f32, [u8; 2]); 6] = [
            (0.0, [0x00, 0x00]),
            (1.0 / 32_768.0, [0x00, 0x01]),
            (-1.0 / 32_768.0, [0xFF, 0xFF]),
            (0.5, [0x40, 0x00]),
            (-1.0, [0x80, 0x00]),
            (32_767.0 / 32_768.0, [0x7F, 0xFF]),
        ];
        for (sample, bytes) in cases {
            let mut encoded = [0; 2];
            encode(&[sample], &mut encoded);
            assert_eq!(encoded, bytes, "{sample}");
            let mut decoded = [9.0];
            decode(&bytes, &mut decoded);
            assert_eq!(decoded, [sample], "{bytes:?}");
        }
    }

    #[test]
    fn every_sample_value_survives_the_round_trip() {
        for value in i16::MIN..=i16::MAX {
            let mut pcm = [0.0];
            decode(&value.to_be_bytes(), &mut pcm);
            let mut payload = [0; 2];
            encode(&pcm, &mut payload);
            assert_eq!(i16::from_be_bytes(payload), value);
        }
    }

    #[test]
    fn encoding_rounds_to_the_nearest_and_saturates() {
        let cases: [(f32, i16); 8] = [
            (1.4 / 32_768.0, 1),
            (1.6 / 32_768.0, 2),
            (-1.6 / 32_768.0, -2),
            (1.0, 32_767),
            (7.0, 32_767),
            (-7.0, -32_768),
            (f32::INFINITY, 32_767),
            (f32::NAN, 0),
        ];
        for (sample, value) in cases {
            let mut payload = [0; 2];
            encode(&[sample], &mut payload);
            assert_eq!(i16::from_be_bytes(payload), value, "{sample}");
        }
    }

    #[test]
    fn half_a_sample_is_refused() {
        assert_eq!(samples(&[1, 2, 3]), Err(PayloadError::Partial));
        assert_eq!(samples(&[1, 2, 3, 4]), Ok(2));
    }
}
