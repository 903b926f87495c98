//! A conference mixer for telephone switches.
//!
//! ```text
//! datagram ─▶ leg::receive ─▶ jitter ─▶ codec ─▶ dsp ─▶ room::mixer ─▶ dsp ─▶ codec ─▶ leg::send ─▶ datagram
//!                (rtp)      which frame  decode room rate mix-minus   limit  encode     (rtp)
//!                              now?                          └──────▶ record
//! ```
//!
//! The modules stand in the order a packet meets them. The core (`time` to `engine`) is pure: bytes and the time
//! go in, bytes and events come out. The shell (`driver` to `load`) owns what can block, fail or surprise.

// Code that the tests here and those outside share names the crate as those outside do.
#[cfg(test)]
extern crate self as mixminus;

pub mod frame;
pub mod id;
pub mod time;

pub mod rtp;
pub mod sdp;
pub mod srtp;

pub mod codec;
pub mod dsp;
pub mod dtmf;

pub mod jitter;
pub mod stream;

pub mod capture;

pub mod leg;
pub mod room;

pub mod engine;

pub mod driver;

pub mod record;

pub mod config;
pub mod control;

pub mod load;

pub mod demo;
