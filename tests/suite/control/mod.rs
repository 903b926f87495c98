//! What a switch may rely on over HTTP: every route, every refusal, and that nothing half-made stays behind.

mod admission;
mod asking;
mod contract;
mod digits;
mod drain;
mod encryption;
mod events;
mod explain;
mod flood;
mod grpc;
mod interleaving;
mod keys;
mod legs;
mod limits;
mod overload;
pub(crate) mod program;
mod recordings;
mod rooms;
mod said;
mod scarce;
mod service_manager;
mod soak;
mod standstill;
mod tls;
mod waiting;
mod webhooks;
