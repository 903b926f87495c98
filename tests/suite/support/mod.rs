pub mod fault_proxy;
pub mod grpc;
pub mod h2;
pub mod http;
pub mod keys;
pub mod phone;
pub mod voice;
pub mod world;
