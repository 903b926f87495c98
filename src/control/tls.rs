//! TLS in front of both faces: 1.3 by rustls, and certificates of clients where they are asked for.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config;
use crate::control::auth::secret_text;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("tls.{key} {path} {wrong}.")]
    File {
        key: &'static str,
        path: String,
        wrong: String,
    },
    #[error("tls.key_file {0}.")]
    Key(String),
    #[error("tls.cert_file and tls.key_file cannot be used together: {0}.")]
    Pair(rustls::Error),
    #[error("TLS cannot be {0} by SIGHUP: start the daemon anew.")]
    Switched(&'static str),
}

/// The certificate in force; another one holds from the next connection on. Where other clients are trusted, those go
/// that were by what held before.
pub struct Tls {
    config: RwLock<Arc<ServerConfig>>,
    trusted: watch::Sender<Trusted>,
}

/// The certificates that those of clients must come from.
pub type Trusted = Vec<CertificateDer<'static>>;

impl Tls {
    /// `None` where the configuration has no certificate.
    pub fn read(tls: &config::Tls) -> Result<Option<Tls>, TlsError> {
        Ok(server_config(tls)?.map(|(config, trusted)| Tls {
            config: RwLock::new(Arc::new(config)),
            trusted: watch::Sender::new(trusted),
        }))
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }

    /// Rings when it changes whose certificates are trusted.
    pub fn trust(&self) -> watch::Receiver<Trusted> {
        self.trusted.subscribe()
    }

    fn replace(&self, config: ServerConfig, trusted: Trusted) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.trusted.send_if_modified(|before| {
            let is_other = *before != trusted;
            *before = trusted;
            is_other
        });
    }
}

/// What is read for a reload, to be put in force when everything else has been read as well.
pub struct RenewedTls(Option<(ServerConfig, Trusted)>);

/// Reads certificates and keys again. Whether there is TLS at all is settled at the start.
pub fn renew(current: Option<&Tls>, tls: &config::Tls) -> Result<RenewedTls, TlsError> {
    match (current, server_config(tls)?) {
        (Some(_), None) => Err(TlsError::Switched("switched off")),
        (None, Some(_)) => Err(TlsError::Switched("switched on")),
        (_, config) => Ok(RenewedTls(config)),
    }
}

impl RenewedTls {
    pub fn apply(self, current: Option<&Tls>) {
        if let (Some(tls), Some((config, trusted))) = (current, self.0) {
            tls.replace(config, trusted);
        }
    }
}

/// The DNS names (lower case) and URIs of the certificate that the client has shown; `None` where it has shown none.
pub fn names_of_client(connection: &ServerConnection) -> Option<Arc<[String]>> {
    let certificate = connection.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    Some(
        names
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            })
            .collect(),
    )
}

fn server_config(tls: &config::Tls) -> Result<Option<(ServerConfig, Trusted)>, TlsError> {
    let Some((chain, key)) = &tls.identity else {
        return Ok(None);
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Pair)?;
    let (builder, trusted) = match &tls.client_ca_file {
        None => (builder.with_no_client_auth(), Trusted::new()),
        Some(path) => {
            let trusted = certificates("client_ca_file", path)?;
            let verifier = verifier(path, &trusted, provider, tls.client_required)?;
            (builder.with_client_cert_verifier(verifier), trusted)
        }
    };
    let text = secret_text(key).map_err(TlsError::Key)?;
    let private_key = PrivateKeyDer::from_pem_slice(text.as_bytes())
        // What the reader says may repeat what it read.
        .map_err(|_| TlsError::Key(format!("{} holds no private key in PEM", key.display())))?;
    let mut config = builder
        .with_single_cert(certificates("cert_file", chain)?, private_key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some((config, trusted)))
}

fn verifier(
    path: &Path,
    trusted: &[CertificateDer<'static>],
    provider: Arc<rustls::crypto::CryptoProvider>,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let refuse = |wrong: String| TlsError::File {
        key: "client_ca_file",
        path: path.display().to_string(),
        wrong,
    };
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots
            .add(certificate.clone())
            .map_err(|error| refuse(format!("has a certificate that cannot be trusted: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match required {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    builder
        .build()
        .map_err(|error| refuse(format!("cannot be used: {error}")))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refuse = |wrong: String| TlsError::File {
        key,
        path: path.display().to_string(),
        wrong,
    };
    let bytes = std::fs::read(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(refuse("holds no certificates in PEM".to_owned())),
    }
}
