//! All integration tests in one binary: a module a promise.

mod simulation;
mod support;
