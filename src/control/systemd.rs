//! What the daemon tells the service manager that started it (sd_notify(3)); nothing where there is none.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::control::service::Service;
use crate::control::watchdog::Watchdog;

/// How long the manager is asked to wait at a stop beyond what rooms and recordings may take.
const MARGIN: Duration = Duration::from_secs(10);

/// The daemon takes requests.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Keys and limits are being read again; `ready` ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the service manager cannot be told of the reload"),
    }
}

/// The daemon ends, at the latest after `within`.
pub fn stopping(status: &str, within: Duration) {
    let micros = u32::try_from((within + MARGIN).as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status(status),
    ]);
}

/// A sentence for whoever asks the manager what the daemon does.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Feeds the manager's watchdog, twice in its time, while everything moves. Ends at once where there is no watchdog.
pub async fn feed_watchdog(service: Service) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else {
        return;
    };
    let mut turns = tokio::time::interval(patience / 2);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns.tick().await;
    let mut watchdog = Watchdog::new(service.rounds());
    let mut was_stalled = false;
    loop {
        turns.tick().await;
        let rounds = service.rounds();
        let answers = answers(&service, patience / 4).await;
        match watchdog.look(rounds, answers) {
            Ok(()) => tell(&[NotifyState::Watchdog]),
            Err(stalled) => {
                tracing::error!(why = %stalled, "the watchdog is not fed");
                status(&format!("Stalled: {stalled}."));
                was_stalled = true;
                continue;
            }
        }
        if std::mem::take(&mut was_stalled) {
            tracing::info!("the watchdog is fed again");
            status("Stalled for a while, and going on.");
        }
    }
}

/// Whether the runtime runs what is given to it, and the service's lock can be had.
async fn answers(service: &Service, within: Duration) -> bool {
    let (answer, answered) = oneshot::channel();
    let service = service.clone();
    tokio::spawn(async move {
        service.rooms();
        // Who asked may have lost patience.
        let _ = answer.send(());
    });
    tokio::time::timeout(within, answered).await.is_ok()
}

fn tell(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
