//! What the tests share.

pub mod fault_proxy;
pub mod grpc;
pub mod h2;
pub mod http;
pub mod keys;
pub mod logs;
pub mod phone;
pub mod receiver;
pub mod voice;
pub mod world;

/// Whether there is time for what takes long (`make torture`): more codecs, longer calls.
pub fn has_time() -> bool {
    std::env::var_os("MIXMINUS_TORTURE").is_some()
}
