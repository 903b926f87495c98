//! Sums of products over two sounds, fast enough to try every lag without a Fourier transform.

/// Independent partial sums, so that the compiler may use vector registers: a float sum has one order only.
const LANES: usize = 16;

/// Σ one·other over the shorter of both.
pub fn product(one: &[f32], other: &[f32]) -> f32 {
    let length = one.len().min(other.len());
    let (one, other) = (&one[..length], &other[..length]);
    let mut sums = [0.0f32; LANES];
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest: f32 = ones
        .remainder()
        .iter()
        .zip(others.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in ones.zip(others) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

pub fn energy(sound: &[f32]) -> f32 {
    product(sound, sound)
}

/// The energy of every stretch of `length` samples within `sound`, in order.
pub fn energies(sound: &[f32], length: usize) -> impl Iterator<Item = f32> {
    // In f64, or the rounding of what leaves and enters the window would add up.
    let first = sound
        .get(..length)
        .map(|start| start.iter().map(|&sample| f64::from(sample).powi(2)).sum());
    let mut running: f64 = first.unwrap_or(0.0);
    let stretches = (sound.len() + 1).saturating_sub(length);
    (0..stretches).map(move |start| {
        if start > 0 {
            running += f64::from(sound[start + length - 1]).powi(2) - f64::from(sound[start - 1]).powi(2);
        }
        running.max(0.0) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(length: usize, seed: u64) -> Vec<f32> {
        let mut chance = fastrand::Rng::with_seed(seed);
        (0..length).map(|_| chance.f32() * 2.0 - 1.0).collect()
    }

    #[test]
    fn the_product_is_the_plain_sum_at_any_length() {
        for length in [0, 1, 15, 16, 17, 333] {
            let (one, other) = (sound(length, 1), sound(length + 5, 2));
            let plain: f64 = one.iter().zip(&other).map(|(a, b)| f64::from(a * b)).sum();
            assert!(
                (f64::from(product(&one, &other)) - plain).abs() < 1e-4,
                "{length}"
            );
        }
    }

    #[test]
    fn running_energies_are_those_of_each_stretch() {
        let sound = sound(500, 3);
        let running: Vec<f32> = energies(&sound, 40).collect();
        assert_eq!(running.len(), 461);
        for (stretch, running) in sound.windows(40).zip(running) {
            assert!((energy(stretch) - running).abs() < 1e-3);
        }
        assert_eq!(energies(&sound, 501).count(), 0);
    }
}
