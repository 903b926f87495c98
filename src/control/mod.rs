//! The control plane: what may be asked of the daemon, by whom, and what is told of it.
//!
//! `operation` lists what may be asked, `service` decides, `http` and `grpc` translate, `events` is the memory of what happened. Everything here is ordinary tokio;
//! an engine is reached over a bounded queue and never waits for anything on this side.

mod admission;
mod allowance;
pub mod auth;
mod blocking;
pub mod daemon;
mod deeds;
mod digits;
pub mod events;
mod explain;
mod fields;
pub mod grpc;
pub mod http;
pub mod ids;
pub mod log;
mod metrics;
mod negotiation;
pub mod news;
mod openapi;
pub mod operation;
mod parts;
mod process;
mod quality;
pub mod refusal;
mod requests;
pub mod service;
pub mod signature;
mod state;
pub mod store;
mod systemd;
pub mod tally;
mod threads;
pub mod tls;
mod turns;
mod views;
mod wall_clock;
mod watchdog;
pub mod webhooks;
