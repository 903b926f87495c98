//! What a switch may rely on over HTTP: every route, every refusal, and that nothing half-made stays behind.

mod asking;
mod digits;
mod encryption;
mod events;
mod explain;
mod flood;
mod grpc;
mod interleaving;
mod keys;
mod legs;
mod limits;
mod program;
mod recordings;
mod rooms;
mod said;
mod tls;
