//! The control plane: what may be asked of the daemon, by whom, and what is told of it.
//!
//! `service` decides, `http` translates, `events` is the memory of what happened. Everything here is ordinary tokio;
//! an engine is reached over a bounded queue and never waits for anything on this side.

mod admission;
pub mod auth;
pub mod daemon;
mod deeds;
mod digits;
pub mod events;
mod explain;
mod fields;
pub mod http;
pub mod ids;
mod metrics;
mod negotiation;
pub mod news;
mod process;
mod quality;
pub mod refusal;
mod requests;
pub mod service;
mod state;
pub mod store;
mod turns;
mod views;
