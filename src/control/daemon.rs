//! The running daemon: start, drain, stop. `serve` adds what a process has: signals, a log line, a ready file.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Auth, Config, ConfigError};
use crate::control::auth::{Keys, KeysError};
use crate::control::grpc;
use crate::control::http::connections::{self, Connections};
use crate::control::http::{self, App};
use crate::control::log;
use crate::control::process;
use crate::control::service::{Service, StartError, pump};
use crate::control::store::{self, StoreError};
use crate::control::systemd;
use crate::control::tally::Face;

/// The target of the line that says where the daemon is reached, which is logged at every level.
pub const READY: &str = "mixminus::ready";

/// How long recordings may take to be finished and delivered at a stop; the next start goes on with what is not.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same where the stop is to be at once: what the engines have said already gets into the journals.
const NO_PATIENCE: Duration = Duration::from_millis(300);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What was configured cannot be meant; nothing was bound.
    #[error("{0}")]
    Configuration(String),
    #[error("{0} {1} cannot be bound: {2}.")]
    Listen(&'static str, SocketAddr, io::Error),
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
    grpc: SocketAddr,
    app: App,
    stopping: watch::Sender<bool>,
    servers: [JoinHandle<()>; 2],
    pump: JoinHandle<()>,
}

impl Daemon {
    pub async fn start(config: Config) -> Result<Daemon, ServeError> {
        let keys = keys(&config, &config.auth)?;
        store::check(&config)?;
        let (http_listener, http) = listen("http.listen", config.http.listen).await?;
        let (grpc_listener, grpc) = listen("grpc.listen", config.grpc.listen).await?;
        let (service, recording_news) = Service::start(config.clone())?;
        let pump = tokio::spawn(pump(service.clone(), recording_news));
        let (stopping, is_stopping) = watch::channel(false);
        let connections = Arc::new(Connections::new(&config.http, Arc::clone(service.tally())));
        let app = App::new(service, keys, is_stopping.clone());
        let http_server = tokio::spawn(connections::serve(
            http_listener,
            http::router(app.clone()),
            Face::Http,
            Arc::clone(&connections),
            None,
            is_stopping.clone(),
        ));
        let grpc_server = tokio::spawn(connections::serve(
            grpc_listener,
            grpc::router(app.clone()),
            Face::Grpc,
            connections,
            None,
            is_stopping,
        ));
        Ok(Daemon {
            config,
            http,
            grpc,
            app,
            stopping,
            servers: [http_server, grpc_server],
            pump,
        })
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where gRPC is served.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
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
        self.stopping.send_replace(true);
        for server in self.servers {
            if server.await.is_err() {
                tracing::error!("a server has failed");
            }
        }
        self.pump.abort();
    }
}

/// A bound port, and where it really is.
async fn listen(key: &'static str, at: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let refused = |error| ServeError::Listen(key, at, error);
    let listener = TcpListener::bind(at).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// The keys in force. Without any, only this machine may ask.
fn keys(config: &Config, auth: &Auth) -> Result<Keys, ServeError> {
    match &auth.keys_file {
        Some(path) => Ok(Keys::read(path, auth.requests_per_s)?),
        None => {
            let ports = [
                ("http.listen", config.http.listen),
                ("grpc.listen", config.grpc.listen),
            ];
            match ports.iter().find(|(_, at)| !at.ip().is_loopback()) {
                None => Ok(Keys::default()),
                Some((key, at)) => Err(ServeError::Configuration(format!(
                    "{key} is {at}, which others can reach: set auth.keys_file, or listen on a loopback address."
                ))),
            }
        }
    }
}

/// Runs the daemon until a signal ends it: SIGTERM (or SIGINT) drains, a second one stops at once (threads may still be
/// closing recordings then: end the process without waiting for them), SIGHUP takes keys, limits (`auth.*`) and the credentials of the object store from the configuration that `reload` reads then.
pub async fn serve(
    config: Config,
    reload: impl Fn() -> Result<Config, ConfigError>,
    ready_file: Option<PathBuf>,
) -> Result<(), ServeError> {
    process::forbid_core_dumps();
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
        grpc = %daemon.grpc,
        rtp = ?rtp.bind,
        ports = ?rtp.ports,
        advertise = ?rtp.advertise,
        engines = daemon.config.engine.threads,
        fds = process::fd_limit(),
        "ready"
    );
    if let Some(path) = &ready_file {
        write_ready_file(path, daemon.http, daemon.grpc).map_err(ServeError::ReadyFile)?;
    }
    let serving = format!("Serving on http {}.", daemon.http);
    systemd::ready(&serving);
    let helpers = [
        tokio::spawn(systemd::feed_watchdog(daemon.app.service.clone())),
        tokio::spawn(log::tell_of_held_back()),
    ];
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                systemd::reloading();
                let reloaded = reload()
                    .map_err(|error| ServeError::Configuration(error.to_string()))
                    .and_then(|config| daemon.reload(&config));
                match reloaded {
                    Ok(()) => tracing::info!("keys, limits and credentials read again"),
                    Err(error) => tracing::error!(%error, "keys, limits and credentials stay as they were"),
                }
                systemd::ready(&serving);
            }
        }
    }
    daemon.drain();
    let deadline = daemon.config.drain.deadline;
    let rooms = daemon.app.service.rooms();
    tracing::info!(rooms, deadline_s = deadline.as_secs(), "draining");
    systemd::stopping(
        &format!("Draining: {rooms} rooms may go on for {} s.", deadline.as_secs()),
        deadline + PATIENCE,
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
    systemd::status("Ending what is left and closing recordings.");
    tokio::select! {
        () = daemon.stop_within(patience) => {}
        _ = terminate.recv() => tracing::warn!("told again: not waiting for what is still to be closed"),
        _ = interrupt.recv() => tracing::warn!("told again: not waiting for what is still to be closed"),
    }
    if let Some(path) = &ready_file {
        // Whoever looks for it should not find a daemon that is gone.
        let _ = std::fs::remove_file(path);
    }
    helpers.iter().for_each(JoinHandle::abort);
    log::say_held_back();
    tracing::info!("stopped");
    Ok(())
}

/// Complete from the moment it is there.
fn write_ready_file(path: &std::path::Path, http: SocketAddr, grpc: SocketAddr) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".tmp");
    std::fs::write(
        &unfinished,
        json!({ "http": http.to_string(), "grpc": grpc.to_string() }).to_string(),
    )?;
    std::fs::rename(&unfinished, path)
}
