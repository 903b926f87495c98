//! TLS in front of both faces.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// The certificate in force; another one holds from the next connection on.
pub struct Tls {
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    pub fn new(config: ServerConfig) -> Tls {
        Tls {
            config: RwLock::new(Arc::new(config)),
        }
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}
