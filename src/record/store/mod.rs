//! Stub.
#[derive(Clone)]
pub struct Store;
