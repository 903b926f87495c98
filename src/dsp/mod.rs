//! Signal processing on plain slices of samples: no state is shared, no branch on configuration in a loop.
//!
//! Samples are mono `f32`, full scale ±1.0; a voice comes one 20 ms tick at a time at one of the three rates.
//! Nothing here allocates after construction, and nothing trusts a sample to be finite: `saturate` makes them so where a
//! voice comes in, and the limiter where a signal goes out.

pub mod activity;
pub mod level;
pub mod limiter;
pub mod mix;
pub mod music;
pub mod resample;

pub use activity::Activity;
pub use level::level_dbfs;
pub use limiter::Limiter;
pub use mix::{add, declick, mix_minus, ramp, saturate};
pub use music::Music;
pub use resample::Resampler;

/// Whether the wide kernels may run here: AVX2 with fused multiply-add. The answer is cached by the standard
/// library; asking costs a load and a test.
#[cfg(target_arch = "x86_64")]
#[inline]
fn has_avx2_fma() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}
