//! Figures of the whole daemon, for metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{AdmissionFigures, Service, locked};
use crate::control::events::EventFigures;
use crate::control::news::Untold;
use crate::control::tally::Tally;
use crate::control::webhooks;
use crate::driver::Command;
use crate::driver::ports::Unused;
use crate::driver::realtime;
use crate::engine::{self, EngineStats};
use crate::record::RecorderFigures;

/// An engine that has not answered by then shows its last figures.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Figures {
    pub engines: Vec<EngineStats>,
    /// Whether each engine's thread has real-time priority.
    pub realtime: Vec<bool>,
    pub memory_locked: bool,
    /// Of the thread that answers: below 0 it comes before ordinary ones.
    pub control_nice: i32,
    pub rooms: usize,
    /// By the codec we send; `none` where nothing is agreed.
    pub legs_by_codec: BTreeMap<&'static str, usize>,
    pub recordings: RecorderFigures,
    /// States of recordings that no event tells of, by [`Untold`].
    pub recordings_untold: [u64; Untold::ALL.len()],
    pub ports: Unused,
    pub events: EventFigures,
    /// Reports of legs that were not asked for because a queue was full.
    pub reports_passed_over: u64,
    pub webhooks: Arc<webhooks::Counters>,
    pub admission: AdmissionFigures,
    pub is_draining: bool,
    pub tally: Arc<Tally>,
}

impl Service {
    pub async fn figures(&self) -> Figures {
        let inner = &self.inner;
        let engines = inner.driver.engines();
        let mut asked = Vec::with_capacity(engines);
        {
            let mut state = inner.state();
            for engine in 0..engines {
                let (request, answer) = oneshot::channel();
                let number = inner.answers.number();
                locked(&inner.answers.engines).insert(number, request);
                let report = Box::new(EngineStats::default());
                let command = engine::Command::Report {
                    request: number,
                    report,
                };
                // Where the queue is full the last figures have to do.
                let _ = inner.send(&mut state, engine, vec![Command::Engine(command)]);
                asked.push((number, answer));
            }
        }
        inner.awaited.notify_one();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        for (engine, (number, answer)) in asked.into_iter().enumerate() {
            if let Ok(Ok(report)) = tokio::time::timeout_at(deadline, answer).await {
                locked(&inner.last_figures)[engine] = *report;
            }
            locked(&inner.answers.engines).remove(&number);
        }
        let recordings = inner.recorder.figures();
        // Whether ports are quiet is asked of their sockets: nobody waits for that.
        let ports = inner.ports.unused();
        let state = inner.state();
        let names = ["PCMU", "PCMA", "G722", "G729", "iLBC", "L16", "opus", "none"];
        let mut legs_by_codec = BTreeMap::from(names.map(|name| (name, 0)));
        for leg in state.legs.values() {
            *legs_by_codec
                .entry(leg.negotiation.codec().map_or("none", |codec| codec.name()))
                .or_default() += 1;
        }
        Figures {
            engines: locked(&inner.last_figures).clone(),
            realtime: (0..engines).map(|engine| inner.driver.realtime(engine)).collect(),
            memory_locked: inner.driver.memory_locked(),
            control_nice: realtime::nice(),
            rooms: state.rooms.len(),
            legs_by_codec,
            recordings,
            recordings_untold: inner.recording_news.untold(),
            ports,
            events: inner.events.figures(),
            reports_passed_over: state.reports.passed_over,
            webhooks: Arc::clone(&inner.webhooks),
            admission: inner.admission_figures(&state),
            is_draining: state.is_draining,
            tally: Arc::clone(&inner.tally),
        }
    }
}
