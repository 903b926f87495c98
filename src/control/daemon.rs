//! The running daemon: start, drain, stop. `serve` adds what a process has: signals, a log line, a ready file.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, ConfigError};
use crate::control::auth::{Auth, KeysError};
use crate::control::blocking::{self, Failed};
use crate::control::grpc;
use crate::control::http::connections::{self, Connections};
use crate::control::http::{self, App};
use crate::control::log;
use crate::control::news::RecordingNews;
use crate::control::parts::{Fallen, Part, watched};
use crate::control::process;
use crate::control::service::{Service, StartError, pump};
use crate::control::store::{self, StoreError};
use crate::control::systemd;
use crate::control::tally::Face;
use crate::control::threads;
use crate::control::tls::{self, Tls, TlsError};
use crate::control::wall_clock;
use crate::control::webhooks::{self, WebhookError, Webhooks};

/// The target of the line that says where the daemon is reached, which is logged at every level.
pub const READY: &str = "mixminus::ready";

/// How long recordings may take to be finished and delivered at a stop; the next start goes on with what is not.
const PATIENCE: Duration = Duration::from_secs(20);

/// Of it, what is kept for callbacks about the end, and below for the journal of events.
const PATIENCE_WITH_RECEIVERS: Duration = Duration::from_secs(5);

/// The same where the stop is to be at once: what the engines have said already gets into the journals.
const NO_PATIENCE: Duration = Duration::from_millis(300);

/// Threads of a daemon at work beside those of the runtime and of media: of recordings, of events, and some that wait for
/// the disk.
const OTHER_THREADS: usize = 16;

/// On top of its patience, what a part may take to give up: then the daemon ends without it.
const GRACE: Duration = Duration::from_secs(1);

/// How long the journal of events may take to be closed.
const PATIENCE_WITH_EVENTS: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What was configured cannot be meant; nothing was bound.
    #[error("{0}")]
    Configuration(String),
    #[error("{0} {1} cannot be bound: {2}.")]
    Listen(&'static str, SocketAddr, io::Error),
    #[error("{0}.")]
    Start(#[from] StartError),
    #[error("{0}")]
    Webhooks(WebhookError),
    #[error("The ready file cannot be written: {0}.")]
    ReadyFile(io::Error),
    #[error("Signals cannot be received: {0}.")]
    Signals(io::Error),
    #[error("Threads cannot be started: {0}.")]
    Threads(io::Error),
    #[error("The runtime cannot be started: {0}.")]
    Runtime(io::Error),
    #[error("The daemon could not be started: it panicked.")]
    Panicked,
    /// Recordings are closed; whoever started the daemon should start it again.
    #[error("The daemon has ended, as its part `{0}` has panicked.")]
    Fallen(Part),
}

impl From<StoreError> for ServeError {
    fn from(error: StoreError) -> ServeError {
        ServeError::Configuration(format!("{error}."))
    }
}

impl From<TlsError> for ServeError {
    fn from(error: TlsError) -> ServeError {
        ServeError::Configuration(error.to_string())
    }
}

impl From<KeysError> for ServeError {
    fn from(error: KeysError) -> ServeError {
        ServeError::Configuration(error.to_string())
    }
}

impl From<WebhookError> for ServeError {
    fn from(error: WebhookError) -> ServeError {
        ServeError::Configuration(error.to_string())
    }
}

/// A daemon inside this process.
pub struct Daemon {
    config: Config,
    http: SocketAddr,
    grpc: SocketAddr,
    app: App,
    tls: Option<Arc<Tls>>,
    stopping: watch::Sender<bool>,
    servers: [JoinHandle<()>; 2],
    pump: JoinHandle<()>,
    recording_news: Arc<RecordingNews>,
    webhooks: Webhooks,
    fallen: Fallen,
}

impl Daemon {
    pub async fn start(config: Config) -> Result<Daemon, ServeError> {
        check_reach(&config, &config)?;
        let auth = Auth::new(&config.auth, &config.tls)?;
        let tls = Tls::read(&config.tls)?.map(Arc::new);
        store::check(&config)?;
        let webhooks = webhooks::Settings::read(&config)?;
        let (http_listener, http) = listen("http.listen", config.http.listen).await?;
        let (grpc_listener, grpc) = listen("grpc.listen", config.grpc.listen).await?;
        let (service, recording_news) = Service::start(config.clone())?;
        let webhooks =
            Webhooks::start(webhooks, service.events(), service.webhooks()).map_err(ServeError::Webhooks)?;
        let fallen = Fallen::default();
        let pump = tokio::spawn(watched(
            Part::Pump,
            Arc::clone(&fallen),
            pump(service.clone(), Arc::clone(&recording_news)),
        ));
        let (stopping, is_stopping) = watch::channel(false);
        let connections = Arc::new(Connections::new(&config.http, Arc::clone(service.tally())));
        let app = App::new(service, auth, config.http.streams, is_stopping.clone());
        let http_server = connections::serve(
            http_listener,
            http::router(app.clone()),
            Face::Http,
            Arc::clone(&connections),
            tls.clone(),
            is_stopping.clone(),
        );
        let grpc_server = connections::serve(
            grpc_listener,
            grpc::router(app.clone()),
            Face::Grpc,
            connections,
            tls.clone(),
            is_stopping,
        );
        let servers = [
            tokio::spawn(watched(Part::Http, Arc::clone(&fallen), http_server)),
            tokio::spawn(watched(Part::Grpc, Arc::clone(&fallen), grpc_server)),
        ];
        Ok(Daemon {
            config,
            http,
            grpc,
            app,
            tls,
            stopping,
            servers,
            pump,
            recording_news,
            webhooks,
            fallen,
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

    /// Waits until a part has panicked that the daemon cannot go on without.
    pub async fn fallen(&self) -> Part {
        let mut fallen = self.fallen.subscribe();
        let part = fallen.wait_for(Option::is_some).await.ok().and_then(|part| *part);
        match part {
            Some(part) => part,
            // Its sender is here.
            None => std::future::pending().await,
        }
    }

    /// Other keys and limits from the next request on, other credentials from the next call to the object store on, and
    /// another secret from the next callback on.
    pub fn reload(&self, config: &Config) -> Result<(), ServeError> {
        check_reach(&self.config, config)?;
        let auth = self.app.auth.renew(&config.auth, &config.tls)?;
        let tls = tls::renew(self.tls.as_deref(), &config.tls)?;
        let credentials = store::credentials(config)?;
        let signer = webhooks::signer(config)?;
        self.app.auth.apply(auth);
        tls.apply(self.tls.as_deref());
        self.app.service.replace_store_credentials(credentials);
        self.webhooks.replace_signer(signer);
        Ok(())
    }

    /// Ends what rooms are left, closes recordings, then connections.
    pub async fn stop(self) {
        self.stop_within(PATIENCE).await;
    }

    async fn stop_within(self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.drain();
        // Without the pump nobody hears of who left: the next start tells that they are lost.
        if *self.fallen.borrow() != Some(Part::Pump) {
            self.app.service.clear("shutdown").await;
        }
        let service = self.app.service.clone();
        let for_recordings = without_the_rest(deadline.saturating_duration_since(Instant::now()));
        let stopped = blocking::whatever_it_takes(move || service.stop_recordings(for_recordings));
        match tokio::time::timeout(for_recordings + GRACE, stopped).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the recorder could not be stopped"),
            // At a disk that hangs, or at the last of a long file: nothing can call a thread back from there.
            Err(_) => tracing::error!(
                "the recorder does not stop in time: the next start goes on with what it is at"
            ),
        }
        // What the recorder said last is an event before there are no more of them.
        let heard = self.recording_news.all_handed_on();
        if tokio::time::timeout(PATIENCE_WITH_EVENTS, heard).await.is_err() {
            tracing::error!("not all that the recorder said last has been told: the next start tells it");
        }
        let service = self.app.service.clone();
        let closed = blocking::whatever_it_takes(move || service.close_events());
        if !matches!(
            tokio::time::timeout(PATIENCE_WITH_EVENTS, closed).await,
            Ok(Ok(()))
        ) {
            tracing::error!("the journal of events could not be closed");
        }
        self.stopping.send_replace(true);
        let left = deadline.saturating_duration_since(Instant::now());
        let callbacks = self
            .webhooks
            .stop(left.clamp(NO_PATIENCE, PATIENCE_WITH_RECEIVERS));
        let [http, grpc] = self.servers;
        let (http, grpc, ()) = tokio::join!(http, grpc, callbacks);
        if http.is_err() || grpc.is_err() {
            tracing::error!("a server has failed");
        }
        self.pump.abort();
    }
}

/// Of what is left of a stop's patience, what recordings may take: callbacks about their end have their own.
fn without_the_rest(left: Duration) -> Duration {
    left.saturating_sub(PATIENCE_WITH_RECEIVERS + PATIENCE_WITH_EVENTS)
        .max(NO_PATIENCE)
}

/// A bound port, and where it really is.
async fn listen(key: &'static str, at: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let refused = |error| ServeError::Listen(key, at, error);
    let listener = TcpListener::bind(at).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Where nobody has to say who asks, only this machine may. `bound` says where the faces listen, `config` who may ask.
fn check_reach(bound: &Config, config: &Config) -> Result<(), ServeError> {
    if config.auth.keys_file.is_some() || config.tls.client_ca_file.is_some() {
        return Ok(());
    }
    let faces = [
        ("http.listen", bound.http.listen),
        ("grpc.listen", bound.grpc.listen),
    ];
    match faces.iter().find(|(_, listen)| !listen.ip().is_loopback()) {
        None => Ok(()),
        Some((key, listen)) => Err(ServeError::Configuration(format!(
            "{key} is {listen}, which others can reach: set auth.keys_file or tls.client_ca_file, or listen on a loopback address."
        ))),
    }
}

/// The runtime that [`serve`] runs on: to be made before there are other threads.
pub fn runtime(config: &Config) -> Result<Runtime, ServeError> {
    process::memory::spare_address_space();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // The runtime panics where it gets none; what is started later says so itself.
    process::can_start_threads(workers + config.engine.threads + OTHER_THREADS)
        .map_err(ServeError::Threads)?;
    threads::start().map_err(ServeError::Runtime)
}

/// Runs the daemon until a signal ends it: SIGTERM (or SIGINT) drains, a second one stops at once (threads may still be
/// closing recordings then: end the process without waiting for them), SIGHUP takes keys and limits (`auth.*`),
/// certificates (`tls.*`) and the credentials of the object store from the configuration that `reload` reads then. A start
/// that is told to end does so at once. Where a part panics that nothing works without, the daemon ends with an error.
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
    // Not on a thread of the runtime: what a crash left may take its time, and signals are heard meanwhile.
    let runtime = tokio::runtime::Handle::current();
    let start = blocking::wait_for(move || runtime.block_on(Daemon::start(config)));
    let extending = tokio::spawn(systemd::extend(systemd::START_MAX));
    let started = tokio::select! {
        started = start => Some(started.map_err(|error| match error {
            Failed::NoThread => ServeError::Threads(io::ErrorKind::WouldBlock.into()),
            Failed::Lost => ServeError::Panicked,
        })??),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    extending.abort();
    let Some(daemon) = started else {
        tracing::warn!("told to end while starting: what a crash left is for the next start");
        return Ok(());
    };
    let fallen = Arc::clone(&daemon.fallen);
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
        tokio::spawn(wall_clock::watch()),
    ];
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = daemon.fallen() => break,
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
    systemd::stopping(&format!(
        "Draining: {rooms} rooms may go on for {} s.",
        deadline.as_secs()
    ));
    let extending = tokio::spawn(systemd::extend(deadline + PATIENCE));
    let told_again = || {
        tracing::warn!("told again: stopping at once");
        NO_PATIENCE
    };
    let patience = tokio::select! {
        _ = daemon.fallen() => PATIENCE,
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
    extending.abort();
    log::say_held_back();
    tracing::info!("stopped");
    match *fallen.borrow() {
        Some(part) => Err(ServeError::Fallen(part)),
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests;
