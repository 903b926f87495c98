//! G.711, µ-law and A-law (ITU-T G.711, 11/1988): one byte a sample at 8 kHz. Nothing is remembered from one payload
//! to the next.
//!
//! Both laws are piecewise linear approximations of a logarithm, and so is the binary form of a float: above a bias the
//! exponent of a magnitude *is* its segment and the first four bits of its mantissa *are* its step. Encoding is
//! therefore a few vector instructions, and needs no table.

use super::saturate;

/// Decoded µ-law: the code's value in the 14 bit form of G.711, divided by its full scale of 8192.
static MU: [f32; 256] = expansion(Law::Mu);

/// Decoded A-law: the code's value in the 13 bit form of G.711, divided by its full scale of 4096.
static A: [f32; 256] = expansion(Law::A);

/// One byte of `payload` for each sample of `pcm`.
pub(super) fn decode_mu(payload: &[u8], pcm: &mut [f32]) {
    expand(&MU, payload, pcm);
}

/// One byte of `payload` for each sample of `pcm`.
pub(super) fn decode_a(payload: &[u8], pcm: &mut [f32]) {
    expand(&A, payload, pcm);
}

/// One byte for each sample; returns how many bytes, none when `payload` has no room for all.
pub(super) fn encode_mu(pcm: &[f32], payload: &mut [u8]) -> usize {
    compress(mu_code, pcm, payload)
}

/// One byte for each sample; returns how many bytes, none when `payload` has no room for all.
pub(super) fn encode_a(pcm: &[f32], payload: &mut [u8]) -> usize {
    compress(a_code, pcm, payload)
}

fn expand(values: &[f32; 256], payload: &[u8], pcm: &mut [f32]) {
    for (sample, code) in pcm.iter_mut().zip(payload) {
        *sample = values[usize::from(*code)];
    }
}

#[inline]
fn compress(code: impl Fn(f32) -> u8, pcm: &[f32], payload: &mut [u8]) -> usize {
    let Some(payload) = payload.get_mut(..pcm.len()) else {
        debug_assert!(false, "{} samples do not fit", pcm.len());
        return 0;
    };
    for (byte, sample) in payload.iter_mut().zip(pcm) {
        *byte = code(*sample);
    }
    payload.len()
}

/// The exponent and the first four bits of the mantissa of a magnitude, counted from those of 32.0.
#[inline]
fn segment_and_step(magnitude: f32) -> u32 {
    // No magnitude is below 32; a checked difference would keep the loop around this from being vectorised.
    (magnitude.to_bits() >> 19).wrapping_sub(32.0f32.to_bits() >> 19)
}

/// G.711 Table 2a: with a bias of 33 the eight segments begin at 32, 64, … 4096, sixteen steps in each. All bits of the
/// code are inverted, and the sign bit of a positive value is set by that.
#[inline]
fn mu_code(sample: f32) -> u8 {
    const BIAS: f32 = 33.0;
    const MAGNITUDE_MAX: f32 = 8_158.0;
    let sample = saturate(sample);
    let magnitude = (sample.abs() * 8_192.0).min(MAGNITUDE_MAX) + BIAS;
    let sign = if sample < 0.0 { 0x80 } else { 0 };
    !(sign | segment_and_step(magnitude)) as u8
}

/// G.711 Table 1a: from 32 on the segments begin at 32, 64, … 2048; the first, as fine as the second, begins at 0 and is
/// lifted to where a float has the same steps. Even bits are inverted, and a positive sign is 1.
#[inline]
fn a_code(sample: f32) -> u8 {
    const MAGNITUDE_MAX: f32 = 4_095.0;
    let sample = saturate(sample);
    let magnitude = (sample.abs() * 4_096.0).min(MAGNITUDE_MAX);
    let code = if magnitude < 32.0 {
        segment_and_step(magnitude + 32.0)
    } else {
        segment_and_step(magnitude).wrapping_add(0x10)
    };
    let sign = if sample < 0.0 { 0 } else { 0x80 };
    ((sign | code) ^ 0x55) as u8
}

/// The 14 bit value of a µ-law code.
const fn mu_value(code: u8) -> i32 {
    let code = !code;
    let step = (code & 0x0F) as i32;
    let magnitude = ((2 * step + 33) << ((code >> 4) & 7)) - 33;
    if code & 0x80 != 0 { -magnitude } else { magnitude }
}

/// The 13 bit value of an A-law code.
const fn a_value(code: u8) -> i32 {
    let code = code ^ 0x55;
    let step = (code & 0x0F) as i32;
    let magnitude = match (code >> 4) & 7 {
        0 => 2 * step + 1,
        segment => (2 * step + 33) << (segment - 1),
    };
    if code & 0x80 != 0 { magnitude } else { -magnitude }
}

#[derive(Clone, Copy)]
enum Law {
    Mu,
    A,
}

const fn expansion(law: Law) -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = match law {
            Law::Mu => mu_value(code as u8) as f32 / 8_192.0,
            Law::A => a_value(code as u8) as f32 / 4_096.0,
        };
        code += 1;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mu(value: f32) -> u8 {
        mu_code(value / 8_192.0)
    }

    fn a(value: f32) -> u8 {
        a_code(value / 4_096.0)
    }

    #[test]
    fn mu_law_segments_end_where_table_2a_says() {
        // G.711 Table 2a: the decision value that begins a segment from above, the code just below it
        // and the code from it on; bit 1 is the highest.
        let ends: [(f32, u8, u8); 7] = [
            (31.0, 0b1111_0000, 0b1110_1111),
            (95.0, 0b1110_0000, 0b1101_1111),
            (223.0, 0b1101_0000, 0b1100_1111),
            (479.0, 0b1100_0000, 0b1011_1111),
            (991.0, 0b1011_0000, 0b1010_1111),
            (2_015.0, 0b1010_0000, 0b1001_1111),
            (4_063.0, 0b1001_0000, 0b1000_1111),
        ];
        for (decision, below, above) in ends {
            assert_eq!(mu(decision - 0.5), below, "below {decision}");
            assert_eq!(mu(decision), above, "from {decision}");
            assert_eq!(mu(-decision + 0.5), below & 0x7F, "above -{decision}");
            assert_eq!(mu(-decision - 0.5), above & 0x7F, "below -{decision}");
        }
        assert_eq!([mu(0.0), mu(0.9), mu(1.0), mu(-1.0)], [0xFF, 0xFF, 0xFE, 0x7E]);
        assert_eq!(
            [mu(8_031.0), mu(8_159.0), mu(1e9), mu(-1e9)],
            [0x80, 0x80, 0x80, 0x00]
        );
    }

    #[test]
    fn mu_law_values_are_those_of_table_2a() {
        for (code, value) in [
            (0x80, 8_031),
            (0x8F, 4_191),
            (0x9F, 2_079),
            (0xBF, 495),
            (0xEF, 33),
            (0xFE, 2),
            (0xFF, 0),
        ] {
            assert_eq!(mu_value(code), value, "{code:#x}");
            assert_eq!(mu_value(code & 0x7F), -value, "{code:#x}");
        }
    }

    #[test]
    fn a_law_segments_end_where_table_1a_says() {
        // G.711 Table 1a, before the inversion of the even bits.
        let ends: [(f32, u8, u8); 7] = [
            (32.0, 0b1000_1111, 0b1001_0000),
            (64.0, 0b1001_1111, 0b1010_0000),
            (128.0, 0b1010_1111, 0b1011_0000),
            (256.0, 0b1011_1111, 0b1100_0000),
            (512.0, 0b1100_1111, 0b1101_0000),
            (1_024.0, 0b1101_1111, 0b1110_0000),
            (2_048.0, 0b1110_1111, 0b1111_0000),
        ];
        for (decision, below, above) in ends {
            assert_eq!(a(decision - 0.5) ^ 0x55, below, "below {decision}");
            assert_eq!(a(decision) ^ 0x55, above, "from {decision}");
            assert_eq!(a(-decision + 0.5) ^ 0x55, below & 0x7F, "above -{decision}");
            assert_eq!(a(-decision - 0.5) ^ 0x55, above & 0x7F, "below -{decision}");
        }
        assert_eq!([a(0.0), a(1.9), a(2.0), a(-1.0)], [0xD5, 0xD5, 0xD4, 0x55]);
        assert_eq!(
            [a(4_032.0), a(4_096.0), a(1e9), a(-1e9)],
            [0xAA, 0xAA, 0xAA, 0x2A]
        );
    }

    #[test]
    fn a_law_values_are_those_of_table_1a() {
        for (code, value) in [
            (0xFF, 4_032),
            (0xF0, 2_112),
            (0xE0, 1_056),
            (0xB0, 132),
            (0x90, 33),
            (0x81, 3),
            (0x80, 1),
        ] {
            assert_eq!(a_value(code ^ 0x55), value, "{code:#x}");
            assert_eq!(a_value((code ^ 0x55) & 0x7F), -value, "{code:#x}");
        }
    }

    #[test]
    fn every_code_survives_the_round_trip() {
        let codes: Vec<u8> = (0..=255).collect();
        let mut pcm = [0.0; 256];
        let mut again = [0; 256];
        decode_a(&codes, &mut pcm);
        assert_eq!(encode_a(&pcm, &mut again), 256);
        assert_eq!(again[..], codes);
        decode_mu(&codes, &mut pcm);
        assert_eq!(encode_mu(&pcm, &mut again), 256);
        // µ-law has a zero of each sign, and sound has one.
        let mut expected = codes;
        expected[0x7F] = 0xFF;
        assert_eq!(again[..], expected);
    }

    #[test]
    fn no_sample_is_off_by_more_than_half_a_step_of_its_segment() {
        for value in i16::MIN..=i16::MAX {
            let sample = f32::from(value) / 32_768.0;
            let error = |value: f32, full_scale: f32| ((value - sample) * full_scale).abs();
            // Steps are a sixteenth of where their segment begins, and overload is a step at the top.
            let magnitude = (sample.abs() * 8_192.0).min(8_158.0);
            let mu_error = error(MU[usize::from(mu_code(sample))], 8_192.0);
            assert!(mu_error <= (magnitude + 33.0) / 32.0 + 1.0, "{value}: {mu_error}");
            let magnitude = sample.abs() * 4_096.0;
            let a_error = error(A[usize::from(a_code(sample))], 4_096.0);
            assert!(a_error <= magnitude.max(32.0) / 32.0, "{value}: {a_error}");
        }
    }
}
