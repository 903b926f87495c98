//! What the service shows of legs and rooms: plain values, in the form they have in JSON.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::control::deeds::Deed;
use crate::control::digits::mode_name;
use crate::control::events::timestamp;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::negotiation::registered_name;
use crate::control::quality::mos;
use crate::control::state::{LegEntry, RoomEntry, State};
use crate::leg::{Dropped, LegReport};
use crate::sdp::SdpText;

/// A page of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The first is 1.
    pub page: usize,
    pub size: usize,
}

#[derive(Debug)]
pub struct Listed<T> {
    pub items: Vec<T>,
    pub page: Page,
    pub total: usize,
}

impl Page {
    pub fn of<K, V, T>(
        self,
        all: &std::collections::BTreeMap<K, V>,
        view: impl Fn(&K, &V) -> T,
    ) -> Listed<T> {
        let skipped = (self.page - 1).saturating_mul(self.size);
        let items = all
            .iter()
            .skip(skipped)
            .take(self.size)
            .map(|(key, value)| view(key, value))
            .collect();
        Listed {
            items,
            page: self,
            total: all.len(),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LegView {
    pub call_id: String,
    pub conference_id: String,
    /// `offered` while our offer waits for its answer, then `connected`; `leaving` or `moving` on the way out.
    pub state: &'static str,
    #[serde(serialize_with = "plainly")]
    pub sdp: SdpText,
    /// What we send; `None` while nothing is agreed.
    pub codec: Option<String>,
    pub cli: Option<String>,
    pub muted: bool,
    pub deaf: bool,
    pub onhold: bool,
    pub gain_db: f64,
    pub moh: Option<&'static str>,
    pub contributing: bool,
    /// The conference has not begun: it neither hears nor is heard.
    pub waiting: bool,
    /// Who did it, while it is in force.
    pub muted_by: Option<Deed>,
    pub deaf_by: Option<Deed>,
    pub held_by: Option<Deed>,
    /// Zero: never.
    pub media_timeout_s: u64,
    pub end_on_media_timeout: bool,
    /// A sentence for each choice that was made, and for what was accepted without effect.
    pub negotiation: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
    /// Where it lives, and the figures where the engine was asked for them.
    pub media: Map<String, Value>,
}

impl LegView {
    /// As whoever may not control legs sees it.
    pub fn without_keys(self) -> LegView {
        LegView {
            sdp: self.sdp.without_keys(),
            ..self
        }
    }

    pub fn new(call: &CallId, leg: &LegEntry, state: &State) -> LegView {
        use crate::control::state::Motion;
        let waiting = state.waits_in(&leg.place.conference);
        let state = match (&leg.motion, leg.negotiation.is_agreed()) {
            (Some(Motion::Leaving { .. }), _) => "leaving",
            (Some(Motion::Moving { .. }), _) => "moving",
            (None, true) => "connected",
            (None, false) => "offered",
        };
        let notes = leg
            .request
            .record
            .as_ref()
            .map_or(&[][..], |options| &options.notes);
        let music = match leg.settings.hold {
            Some(hold) => hold.music,
            None => leg.settings.music_while_alone,
        };
        LegView {
            call_id: call.to_string(),
            conference_id: leg.place.conference.to_string(),
            state,
            sdp: leg.negotiation.ours.clone(),
            codec: leg.negotiation.codec().map(registered_name),
            cli: leg.request.cli.clone(),
            muted: leg.settings.muted,
            deaf: leg.settings.deaf,
            onhold: leg.is_on_hold(),
            gain_db: leg.gain_db,
            moh: music.map(|music| music.name()),
            contributing: leg.is_contributing,
            waiting,
            muted_by: leg.deeds.muted.clone(),
            deaf_by: leg.deeds.deaf.clone(),
            held_by: leg.deeds.held.clone(),
            media_timeout_s: leg.settings.media_timeout.map_or(0, |timeout| timeout.as_secs()),
            end_on_media_timeout: leg.ends_on_media_timeout,
            negotiation: [leg.negotiation.sentences(), notes].concat(),
            custom: leg.request.custom.clone(),
            media: whereabouts(leg),
        }
    }

    pub fn with_figures(mut self, report: &LegReport) -> LegView {
        self.media.extend(figures(report));
        self
    }
}

/// The reply to whoever owns the leg is where our description goes, with its keys.
fn plainly<S: Serializer>(text: &SdpText, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// The engine and the port that a leg lives on, where its SDP says it is sent to, what was agreed beside the codec, and
/// what becomes of its digits.
fn whereabouts(leg: &LegEntry) -> Map<String, Value> {
    let remote = leg.negotiation.remote().map(|remote| remote.to_string());
    Map::from_iter([
        ("engine".to_owned(), leg.place.engine.into()),
        ("local".to_owned(), leg.local.to_string().into()),
        ("signalledRemote".to_owned(), remote.into()),
        (
            "srtp".to_owned(),
            leg.negotiation.suite().map(|suite| suite.name()).into(),
        ),
        (
            "telephoneEvent".to_owned(),
            leg.negotiation.has_telephone_events().into(),
        ),
        (
            "comfortNoise".to_owned(),
            leg.negotiation.has_comfort_noise().into(),
        ),
        ("dtmfMode".to_owned(), mode_name(leg.settings.digits.mode).into()),
    ])
}

/// The figures alone, as the final report of a leg has them too.
pub fn figures(report: &LegReport) -> Map<String, Value> {
    let dropped: Map<String, Value> = Dropped::ALL
        .iter()
        .zip(report.dropped)
        .map(|(reason, count)| (reason.name().to_owned(), count.into()))
        .collect();
    let figures = json!({
        "codecReceived": report.codec_received.map(registered_name),
        "codecSent": report.codec_sent.map(registered_name),
        "remote": report.remote.map(|remote| remote.to_string()),
        "contributing": report.contributing,
        "crowdedOut": report.crowded_out,
        "levelDbfs": tenths(report.level_dbfs),
        "noiseFloorDbfs": tenths(report.noise_floor_dbfs),
        "packetsReceived": report.packets_received,
        "bytesReceived": report.bytes_received,
        "packetsSent": report.packets_sent,
        "bytesSent": report.bytes_sent,
        "rtcpReceived": report.rtcp_received,
        "rtcpSent": report.rtcp_sent,
        "ssrcReceived": report.ssrc_received,
        "ssrcSent": report.ssrc_sent,
        "roundTripMs": report.round_trip_ms.map(tenths),
        "remoteLossPercent": report.remote_loss_percent.map(tenths),
        "remotePacketsLost": report.remote_packets_lost,
        "remoteJitterMs": report.remote_jitter_ms.map(tenths),
        "byeReceived": report.bye_received,
        "packetsLost": report.packets_lost,
        "lossPercent": tenths(loss_percent(report)),
        "samplesConcealed": report.samples_concealed,
        "samplesAccelerated": report.samples_accelerated,
        "samplesExpanded": report.samples_expanded,
        "samplesLate": report.samples_late,
        "samplesDiscarded": report.samples_discarded,
        "resyncs": report.resyncs,
        "reclocked": report.reclocked,
        "delayMs": tenths(report.delay_ms),
        "delayTargetMs": tenths(report.delay_target_ms),
        "delayMsMax": tenths(report.delay_ms_max),
        "jitterMs": tenths(report.jitter_ms),
        "mos": mos(report),
        "dropped": dropped,
        "lastArrivalNanos": report.last_arrival_nanos,
        "lastArrivalMsAgo": report.lately.since_arrival.map(|ago| ago.as_millis() as u64),
        "sendErrors": report.send_errors,
        "oneWay": { "in": report.lately.one_way_in, "out": report.lately.one_way_out },
    });
    match figures {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Of the packets that were sent to us, as far as their numbers tell.
fn loss_percent(report: &LegReport) -> f32 {
    let sent = report.packets_received + report.packets_lost;
    100.0 * report.packets_lost as f32 / sent.max(1) as f32
}

/// Numbers that are measured to about a tenth should not show nine digits.
fn tenths(value: f32) -> f64 {
    (f64::from(value) * 10.0).round() / 10.0
}

/// One participant in the platform's form, plus what we add.
#[derive(Debug, Clone, Serialize)]
pub struct ParticipantView {
    pub cli: String,
    pub id: String,
    /// Whole seconds since the leg joined.
    pub duration: u64,
    pub muted: bool,
    pub onhold: bool,
    pub deaf: bool,
    pub contributing: bool,
    pub waiting: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConferenceView {
    pub participants: Vec<ParticipantView>,
    pub conference_id: String,
    pub since: String,
    /// A leg with which it begins has come. Until then all who are here wait.
    pub begun: bool,
    pub talkers: usize,
    pub locked: bool,
    pub max_participants: Option<u64>,
    /// How many are heard at once at most; `None`: all who contribute.
    pub max_talkers: Option<u16>,
    pub moh: Option<&'static str>,
    pub max_delay_ms: Option<u64>,
    /// `None`: the highest rate that a codec in use needs.
    pub sample_rate: Option<u32>,
    pub activity: &'static str,
    /// The running recording's id.
    pub recording: Option<String>,
    pub engine: usize,
}

impl ConferenceView {
    pub fn new(id: &ConferenceId, room: &RoomEntry, state: &State) -> ConferenceView {
        let participants: Vec<ParticipantView> = room
            .members
            .iter()
            .filter_map(|call| Some((call, state.legs.get(call)?)))
            // On its way here from another room: still there.
            .filter(|(_, leg)| leg.place.conference == *id)
            .map(|(call, leg)| ParticipantView {
                cli: leg.request.cli.clone().unwrap_or_default(),
                id: call.to_string(),
                duration: leg.since.elapsed().as_secs(),
                muted: leg.settings.muted,
                onhold: leg.is_on_hold(),
                deaf: leg.settings.deaf,
                contributing: leg.is_contributing,
                waiting: !room.has_begun,
            })
            .collect();
        ConferenceView {
            talkers: participants
                .iter()
                .filter(|participant| participant.contributing)
                .count(),
            participants,
            conference_id: id.to_string(),
            since: timestamp(room.since),
            begun: room.has_begun,
            locked: room.is_locked,
            max_participants: room.participants_max,
            max_talkers: room.talkers_max,
            moh: room.music.map(|music| music.name()),
            max_delay_ms: room.max_delay.map(|delay| delay.as_millis() as u64),
            sample_rate: room.sample_rate.map(|rate| rate.hz()),
            activity: if room.activity_detection { "auto" } else { "off" },
            recording: room.recording.as_ref().map(|recording| recording.id.clone()),
            engine: room.engine,
        }
    }
}

/// A room in the list of rooms.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConferenceSummary {
    pub id: String,
    pub participants: usize,
    pub talkers: usize,
    pub since: String,
    pub recording: Option<String>,
}

impl ConferenceSummary {
    pub fn new(id: &ConferenceId, room: &RoomEntry, state: &State) -> ConferenceSummary {
        let here = || {
            room.members
                .iter()
                .filter_map(|call| state.legs.get(call))
                .filter(|leg| leg.place.conference == *id)
        };
        ConferenceSummary {
            id: id.to_string(),
            participants: here().count(),
            talkers: here().filter(|leg| leg.is_contributing).count(),
            since: timestamp(room.since),
            recording: room.recording.as_ref().map(|recording| recording.id.clone()),
        }
    }
}

/// The fields of `leg.left`: why, from when to when, and the final figures.
pub fn final_report(leg: &LegEntry, reason: &str, report: &LegReport) -> Map<String, Value> {
    let mut fields = interim_report(leg, report);
    fields.insert("reason".to_owned(), reason.into());
    fields
}

/// The fields of `leg.report`: from when to when, and the figures.
pub fn interim_report(leg: &LegEntry, report: &LegReport) -> Map<String, Value> {
    let now = SystemTime::now();
    let duration = now.duration_since(leg.created).unwrap_or(Duration::ZERO);
    let mut report = figures(report);
    report.insert("from".into(), timestamp(leg.created).into());
    report.insert("to".into(), timestamp(now).into());
    report.insert("durationS".into(), duration.as_secs().into());
    report.insert(
        "codec".into(),
        leg.negotiation.codec().map(registered_name).into(),
    );
    Map::from_iter([("report".to_owned(), Value::Object(report))])
}
