//! All integration tests in one binary: a module a promise.

mod conference;
mod simulation;
mod support;
