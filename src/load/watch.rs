//! What the daemon itself says of its legs while a run is measured: delays looked at each second, and what its
//! counters rose by.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::api::{Api, ApiError};
use super::distribution::Distribution;
use super::report::Quantiles;
use crate::frame::Rate;

/// So many legs, evenly chosen, are asked about each second: enough for a 99th percentile, and no load.
const WATCHED_MAX: usize = 64;

/// As the daemon tells it of the legs watched, all together.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Watched {
    pub legs: usize,
    pub packets_received: u64,
    pub packets_lost: u64,
    /// Of the sound played, what was made up, taken out and put in.
    pub concealed_share: f64,
    pub accelerated_share: f64,
    pub expanded_share: Option<f64>,
    /// How long sound is held back.
    pub delay_ms: Quantiles,
    pub delay_target_ms: Quantiles,
    /// Packets that were not heard, by reason; reasons that did not occur are left out.
    pub dropped: BTreeMap<String, u64>,
}

/// Counters of a leg, as they were when measuring began.
struct Leg<'a> {
    call_id: &'a str,
    before: Value,
}

pub struct Watch<'a> {
    api: &'a Api,
    legs: Vec<Leg<'a>>,
    delays: Distribution,
    targets: Distribution,
}

impl<'a> Watch<'a> {
    pub fn begin(api: &'a Api, call_ids: &[&'a str]) -> Result<Watch<'a>, ApiError> {
        let every = call_ids.len().div_ceil(WATCHED_MAX).max(1);
        let legs = call_ids.iter().step_by(every).map(|call_id| {
            let before = api.media(call_id)?;
            Ok(Leg { call_id, before })
        });
        Ok(Watch {
            api,
            legs: legs.collect::<Result<_, ApiError>>()?,
            delays: Distribution::new(),
            targets: Distribution::new(),
        })
    }

    /// Notes the delays of now.
    pub fn look(&mut self) {
        for leg in &self.legs {
            // One look more or less is no matter.
            let Ok(media) = self.api.media(leg.call_id) else {
                continue;
            };
            for (name, distribution) in [
                ("delayMs", &mut self.delays),
                ("delayTargetMs", &mut self.targets),
            ] {
                if let Some(ms) = media[name].as_f64() {
                    distribution.record(Duration::from_secs_f64(ms.max(0.0) / 1e3));
                }
            }
        }
    }

    /// What was counted since the beginning, `measured` ago, of legs whose codec has that rate.
    pub fn end(self, measured: Duration, rate: Rate) -> Result<Watched, ApiError> {
        let mut watched = Watched {
            legs: self.legs.len(),
            delay_ms: Quantiles::of(&self.delays),
            delay_target_ms: Quantiles::of(&self.targets),
            ..Watched::default()
        };
        let (mut concealed, mut accelerated, mut expanded) = (0, 0, None);
        for leg in &self.legs {
            let after = self.api.media(leg.call_id)?;
            let rose = |name: &str| rise(&leg.before[name], &after[name]);
            watched.packets_received += rose("packetsReceived").unwrap_or(0);
            watched.packets_lost += rose("packetsLost").unwrap_or(0);
            concealed += rose("samplesConcealed").unwrap_or(0);
            accelerated += rose("samplesAccelerated").unwrap_or(0);
            if let Some(rose) = rose("samplesExpanded") {
                *expanded.get_or_insert(0) += rose;
            }
            for (reason, count) in after["dropped"].as_object().into_iter().flatten() {
                let rose = rise(&leg.before["dropped"][reason], count).unwrap_or(0);
                if rose > 0 {
                    *watched.dropped.entry(reason.clone()).or_default() += rose;
                }
            }
        }
        let played = measured.as_secs_f64() * f64::from(rate.hz()) * watched.legs.max(1) as f64;
        watched.concealed_share = concealed as f64 / played;
        watched.accelerated_share = accelerated as f64 / played;
        watched.expanded_share = expanded.map(|expanded| expanded as f64 / played);
        Ok(watched)
    }
}

fn rise(before: &Value, after: &Value) -> Option<u64> {
    Some(after.as_u64()?.saturating_sub(before.as_u64().unwrap_or(0)))
}
