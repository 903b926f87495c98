//! The integration tests: one binary, one module for each promise.

mod conference;
mod control;
mod digits;
mod fuzz_corpus;
mod loopback;
mod simulation;
mod support;
mod tidy;
