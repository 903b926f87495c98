//! The integration tests: one binary, one module for each promise.

mod conference;
mod control;
mod digits;
mod encrypted;
mod faults;
mod fuzz_corpus;
mod impaired;
mod kills;
mod loopback;
mod one_way;
mod recording_exactness;
mod reports;
mod simulation;
mod sound;
mod store;
mod storms;
mod strangers;
mod streams;
mod support;
mod talkers;
mod tidy;
mod tones;
mod waiting;
