//! The running daemon: start, drain, stop. `serve` adds what a process has: signals, a log line, a ready file.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Auth, Config, ConfigError};
use crate::control::auth::{Keys, KeysError};
use crate::control::http::{self, App, connections};
use crate::control::process;
use crate::control::service::{Service, StartError, pump};
use crate::control::store::{self, StoreError};

/// The target of the line that says where the daemon is reached, which is logged at every level.
pub const READY: &str = "mixminus::ready";

/// How long recordings may take to be finished and delivered at a stop; the next start goes on with what is not.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same where the stop is to be at once: what the engines have said already gets into the journals.
const NO_PATIENCE: Duration = Duration::from_millis(300);

/// How long the journal of events may take to be closed.
const PATIENCE_WITH_EVENTS: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What was configured cannot be meant; nothing was bound.
    #[error("{0}")]
    Configuration(String),
    #[error("http.listen {0} cannot be bound: {1}.")]
    Listen(SocketAddr, io::Error),
    #[error("{0}.")]
    Start(#[from] StartError),
    #[error("The ready file cannot be written: {0}.")]
    ReadyFile(io::Error),
    #[error("Signals cannot be received: {0}.")]
    Signals(io::Error),
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> ServeError {
        ServeError::Configuration(format!("{error}."))
    }
}

impl From<KeysError> for ServeError {
    fn from(error: KeysError) -> ServeError {
        ServeError::Configuration(error.to_string())
    }
}

/// A daemon inside this process.
pub struct Daemon {
    config: Config,
    http: SocketAddr,
    app: App,
    stopping: watch::Sender<bool>,
    server: JoinHandle<()>,
    pump: JoinHandle<()>,
}

impl Daemon {
    pub async fn start(config: Config) -> Result<Daemon, ServeError> {
        let keys = keys(&config, &config.auth)?;
        store::check(&config)?;
        let listener = TcpListener::bind(config.http.listen)
            .await
            .map_err(|error| ServeError::Listen(config.http.listen, error))?;
        let http = listener
            .local_addr()
            .map_err(|error| ServeError::Listen(config.http.listen, error))?;
        let (service, recording_news) = Service::start(config.clone())?;
        let pump = tokio::spawn(pump(service.clone(), recording_news));
        let (stopping, is_stopping) = watch::channel(false);
        let app = App::new(service, keys, is_stopping.clone());
        let router = http::router(app.clone());
        let server = tokio::spawn(connections::serve(
            listener,
            router,
            config.http.connections,
            is_stopping,
        ));
        Ok(Daemon {
            config,
            http,
            app,
            stopping,
            server,
            pump,
        })
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Not ready from now on: no room is made, those that are go on.
    pub fn drain(&self) {
        self.app.service.drain();
    }

    /// Waits until the last room has ended.
    pub async fn drained(&self) {
        while self.app.service.rooms() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Other keys and limits from the next request on, and other credentials from the next call to the object store on.
    pub fn reload(&self, config: &Config) -> Result<(), ServeError> {
        let keys = keys(&self.config, &config.auth)?;
        let credentials = store::credentials(config)?;
        self.app.replace_keys(keys);
        self.app.service.replace_store_credentials(credentials);
        Ok(())
    }

    /// Ends what rooms are left, closes recordings, then connections.
    pub async fn stop(self) {
        self.stop_within(PATIENCE).await;
    }

    async fn stop_within(self, patience: Duration) {
        self.drain();
        self.app.service.clear("shutdown").await;
        let service = self.app.service.clone();
        if tokio::task::spawn_blocking(move || service.stop_recordings(patience))
            .await
            .is_err()
        {
            tracing::error!("the recorder could not be stopped");
        }
        // What the recorder said last reaches those who listen.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let events = self.app.service.events().clone();
        let closed = tokio::task::spawn_blocking(move || events.close());
        if !matches!(
            tokio::time::timeout(PATIENCE_WITH_EVENTS, closed).await,
            Ok(Ok(()))
        ) {
            tracing::error!("the journal of events could not be closed");
        }
        self.stopping.send_replace(true);
        if self.server.await.is_err() {
            tracing::error!("the HTTP server has failed");
        }
        self.pump.abort();
    }
}

/// The keys in force. Without any, only this machine may ask.
fn keys(config: &Config, auth: &Auth) -> Result<Keys, ServeError> {
    match &auth.keys_file {
        Some(path) => Ok(Keys::read(path, auth.requests_per_s)?),
        None if config.http.listen.ip().is_loopback() => Ok(Keys::default()),
        None => Err(ServeError::Configuration(format!(
            "http.listen is {}, which others can reach: set auth.keys_file, or listen on a loopback address.",
            config.http.listen
        ))),
    }
}

/// Runs the daemon until a signal ends it: SIGTERM (or SIGINT) drains, a second one stops at once (threads may still be
/// closing recordings then: end the process without waiting for them), SIGHUP takes keys, limits (`auth.*`) and the credentials of the object store from the configuration that `reload` reads then.
pub async fn serve(
    config: Config,
    reload: impl Fn() -> Result<Config, ConfigError>,
    ready_file: Option<PathBuf>,
) -> Result<(), ServeError> {
    process::raise_fd_limit();
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(ServeError::Signals)?;
    if let Some(path) = &ready_file {
        // One that a killed daemon left behind says of this one what is not so yet.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(ServeError::ReadyFile(error));
            }
            _ => {}
        }
    }
    let daemon = Daemon::start(config).await?;
    let rtp = &daemon.config.rtp;
    tracing::info!(
        target: READY,
        http = %daemon.http,
        rtp = ?rtp.bind,
        ports = ?rtp.ports,
        advertise = ?rtp.advertise,
        engines = daemon.config.engine.threads,
        fds = process::fd_limit(),
        "ready"
    );
    if let Some(path) = &ready_file {
        write_ready_file(path, daemon.http).map_err(ServeError::ReadyFile)?;
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                let reloaded = reload()
                    .map_err(|error| ServeError::Configuration(error.to_string()))
                    .and_then(|config| daemon.reload(&config));
                match reloaded {
                    Ok(()) => tracing::info!("keys, limits and credentials read again"),
                    Err(error) => tracing::error!(%error, "keys, limits and credentials stay as they were"),
                }
            }
        }
    }
    daemon.drain();
    let deadline = daemon.config.drain.deadline;
    tracing::info!(
        rooms = daemon.app.service.rooms(),
        deadline_s = deadline.as_secs(),
        "draining"
    );
    let told_again = || {
        tracing::warn!("told again: stopping at once");
        NO_PATIENCE
    };
    let patience = tokio::select! {
        () = daemon.drained() => PATIENCE,
        () = tokio::time::sleep(deadline) => {
            tracing::warn!("the deadline ends the rooms that are left");
            PATIENCE
        }
        _ = terminate.recv() => told_again(),
        _ = interrupt.recv() => told_again(),
    };
    tokio::select! {
        () = daemon.stop_within(patience) => {}
        _ = terminate.recv() => tracing::warn!("told again: not waiting for what is still to be closed"),
        _ = interrupt.recv() => tracing::warn!("told again: not waiting for what is still to be closed"),
    }
    if let Some(path) = &ready_file {
        // Whoever looks for it should not find a daemon that is gone.
        let _ = std::fs::remove_file(path);
    }
    tracing::info!("stopped");
    Ok(())
}

/// Complete from the moment it is there.
fn write_ready_file(path: &std::path::Path, http: SocketAddr) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    // gRPC is not served yet.
    std::fs::write(
        &unfinished,
        json!({ "http": http.to_string(), "grpc": null }).to_string(),
    )?;
    std::fs::rename(&unfinished, path)
}
