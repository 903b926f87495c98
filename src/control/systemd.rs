//! What the daemon tells the service manager that started it (sd_notify(3)); nothing where there is none.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::control::service::Service;
use crate::control::watchdog::{Rhythm, Rounds, Watchdog};

/// How long the manager is asked to wait at a stop beyond what rooms and recordings may take.
const MARGIN: Duration = Duration::from_secs(10);

/// How long it is asked to wait at a time, and how often: a daemon that hangs is then not waited for long.
const EXTENSION_MICROS: u32 = 30_000_000;
const EXTENDED_EVERY: Duration = Duration::from_secs(5);

/// How long a start may take: finishing what a crash left has to read it all.
pub const START_MAX: Duration = Duration::from_secs(3_600);

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

/// The daemon ends.
pub fn stopping(status: &str) {
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(EXTENSION_MICROS),
        NotifyState::Status(status),
    ]);
}

/// Asks the manager again and again to wait for a start or an end, for so long and a little more.
pub async fn extend(within: Duration) {
    let mut turns = tokio::time::interval(EXTENDED_EVERY);
    let asking = async {
        loop {
            turns.tick().await;
            tell(&[NotifyState::ExtendTimeoutUsec(EXTENSION_MICROS)]);
        }
    };
    // The last asking is an extension long.
    let _ = tokio::time::timeout(within + MARGIN, asking).await;
}

/// A sentence for whoever asks the manager what the daemon does.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Feeds the manager's watchdog while everything moves. Ends at once where there is no watchdog.
pub async fn feed_watchdog(service: Service) {
    let Some(patience) = sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero()) else {
        return;
    };
    let rhythm = Rhythm::within(patience);
    let rounds = || Rounds {
        engines: service.rounds(),
        pump: service.pump_rounds(),
    };
    let mut turns = tokio::time::interval(rhythm.look_every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns.tick().await;
    let mut watchdog = Watchdog::new(rounds());
    let mut was_stalled = false;
    loop {
        turns.tick().await;
        let seen = rounds();
        let answers = answers(&service, rhythm.answer_within).await;
        match watchdog.look(seen, answers) {
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
