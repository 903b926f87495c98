//! Does what is asked. Parsing and deciding are others' affair: here they meet.

use serde::Serialize;
use serde_json::json;

use super::{Answered, Asked, Operation};
use crate::control::auth::Role;
use crate::control::digits::SendDigits;
use crate::control::ids::CallId;
use crate::control::metrics;
use crate::control::openapi;
use crate::control::refusal::{INTERNAL, Refusal};
use crate::control::requests::{
    ChangeConference, ChangeLeg, CreateLeg, RecordingCommand, RecordingOptions, platform_command,
};
use crate::control::service::{Service, Started};
use crate::control::views::{LegView, Listed, Page};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    pub body: Body,
    /// It was given before, to the same request.
    pub is_replayed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Empty,
    Json(String),
    /// The figures, in the form that Prometheus reads.
    Metrics(String),
    /// The description of the HTTP face.
    OpenApi(&'static str),
}

impl Answer {
    fn empty(status: u16) -> Answer {
        Answer {
            status,
            body: Body::Empty,
            is_replayed: false,
        }
    }

    fn json(status: u16, body: &impl Serialize) -> Result<Answer, Refusal> {
        match serde_json::to_string(body) {
            Ok(text) => Ok(Answer {
                body: Body::Json(text),
                ..Answer::empty(status)
            }),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                Err(Refusal::new(INTERNAL, "The answer could not be written."))
            }
        }
    }
}

/// Does what is asked, once where the request has a name for that. What changes something is done to its end, also when
/// whoever asked hangs up in the middle; until then `place` is kept.
pub async fn ask(
    service: Service,
    answered: std::sync::Arc<Answered>,
    asked: Asked,
    place: impl Send + 'static,
) -> Result<Answer, Refusal> {
    if !asked.described().changes() {
        return perform(&service, asked).await;
    }
    let work = async move {
        let _place = place;
        match answered.name(&asked)? {
            Some(name) => answered.once(name, asked, |asked| perform(&service, asked)).await,
            None => perform(&service, asked).await,
        }
    };
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "a request failed");
            Err(Refusal::new(INTERNAL, "The request failed inside the daemon."))
        }
    }
}

async fn perform(service: &Service, mut asked: Asked) -> Result<Answer, Refusal> {
    let fields = std::mem::take(&mut asked.fields);
    match asked.operation {
        Operation::CreateLeg => {
            let request = CreateLeg::parse(fields, service.recording_rules())?;
            let created = service.create_leg(request, asked.actor()).await?;
            Answer::json(if created.is_new { 201 } else { 200 }, &created.leg)
        }
        Operation::ListLegs => list("legs", asked.page()?, |page| {
            let mut legs = service.legs(page);
            legs.items = legs.items.into_iter().map(|leg| seen_by(&asked, leg)).collect();
            legs
        }),
        Operation::GetLeg => {
            let leg = service.leg(&asked.call()?).await?;
            Answer::json(200, &seen_by(&asked, leg))
        }
        Operation::ChangeLeg => {
            let call = asked.call()?;
            let change = ChangeLeg::parse(fields)?;
            Answer::json(
                200,
                &service.change_leg(&call, change, None, asked.actor()).await?,
            )
        }
        Operation::EndLeg => {
            service.end_leg(&asked.call()?, "ended", None).await?;
            Ok(Answer::empty(204))
        }
        Operation::SendDigits => {
            let call = asked.call()?;
            let sent = SendDigits::parse(fields)?;
            Answer::json(202, &service.send_digits(&call, sent).await?)
        }
        Operation::StartLegRecording => {
            let call = asked.call()?;
            let options = RecordingOptions::parse(fields, service.recording_rules())?;
            started(
                service
                    .start_leg_recording(&call, options, &asked.actor())
                    .await?,
            )
        }
        Operation::CommandLegRecording => {
            let call = asked.call()?;
            let command = RecordingCommand::parse(fields)?;
            Answer::json(200, &service.change_leg_recording(&call, command).await?)
        }
        Operation::StopLegRecording => Answer::json(200, &service.stop_leg_recording(&asked.call()?).await?),
        Operation::ListConferences => list("conferences", asked.page()?, |page| service.conferences(page)),
        Operation::GetConference => Answer::json(200, &service.conference(&asked.conference()?)?),
        Operation::ChangeConference => {
            let id = asked.conference()?;
            let change = ChangeConference::parse(fields)?;
            Answer::json(200, &service.change_conference(&id, change)?)
        }
        Operation::EndConference => {
            service.clear_conference(&asked.conference()?, "kicked").await?;
            Ok(Answer::empty(204))
        }
        Operation::CommandParticipant => {
            let (id, call) = (asked.conference()?, asked.call()?);
            let change = platform_command(fields)?;
            service
                .change_leg(&call, change, Some(&id), asked.actor())
                .await?;
            Ok(Answer::empty(200))
        }
        Operation::KickParticipant => {
            let (id, call) = (asked.conference()?, asked.call()?);
            service.end_leg(&call, "kicked", Some(&id)).await?;
            Ok(Answer::empty(204))
        }
        Operation::StartRecording => {
            let id = asked.conference()?;
            let options = RecordingOptions::parse(fields, service.recording_rules())?;
            started(service.start_recording(&id, options, &asked.actor()).await?)
        }
        Operation::CommandRecording => {
            let id = asked.conference()?;
            let command = RecordingCommand::parse(fields)?;
            Answer::json(200, &service.change_recording(&id, command).await?)
        }
        Operation::StopRecording => Answer::json(200, &service.stop_recording(&asked.conference()?).await?),
        Operation::ListRecordings => {
            let listed = service.recordings(asked.page()?).await?;
            list("recordings", listed.page, |_| listed)
        }
        Operation::GetRecording => Answer::json(200, &service.recording(asked.recording()).await?),
        Operation::Explain => {
            let (from, to) = pair(&asked)?;
            Answer::json(200, &service.explain(&from, &to).await?)
        }
        Operation::GetCapacity => Answer::json(200, &service.capacity()),
        Operation::GetMetrics => Ok(Answer {
            body: Body::Metrics(metrics::render(&service.figures().await)),
            ..Answer::empty(200)
        }),
        Operation::GetOpenApi => Ok(Answer {
            body: Body::OpenApi(&openapi::DOCUMENT),
            ..Answer::empty(200)
        }),
        Operation::GetLiveness => match service.is_stale() {
            false => Answer::json(200, &json!({ "status": "up" })),
            true => Err(Refusal::unavailable("Nobody listens to the media engines.", 5)),
        },
        Operation::GetReadiness => match service.is_draining() {
            false => Answer::json(200, &json!({ "status": "ready" })),
            true => Err(Refusal::unavailable("The daemon is draining.", 30)),
        },
        // Both faces answer these themselves.
        Operation::DownloadRecording | Operation::StreamEvents => {
            Err(Refusal::new(INTERNAL, "A stream has no single answer."))
        }
    }
}

/// With the keys of its media for whoever may control legs.
fn seen_by(asked: &Asked, leg: LegView) -> LegView {
    match asked.identity.role >= Role::Control {
        true => leg,
        false => leg.without_keys(),
    }
}

fn list<T: Serialize>(
    name: &str,
    page: Page,
    read: impl FnOnce(Page) -> Listed<T>,
) -> Result<Answer, Refusal> {
    let listed = read(page);
    let body =
        json!({ (name): listed.items, "page": page.page, "pageSize": page.size, "total": listed.total });
    Answer::json(200, &body)
}

fn started(started: Started) -> Result<Answer, Refusal> {
    let mut body = json!(started.status);
    if !started.notes.is_empty() {
        body["notes"] = started.notes.into();
    }
    Answer::json(if started.is_new { 201 } else { 200 }, &body)
}

/// The legs that are to be explained: `from` whom to whom.
fn pair(asked: &Asked) -> Result<(CallId, CallId), Refusal> {
    let call = |name: &str| {
        let id = asked.query.get(name).ok_or_else(|| Refusal::missing(name))?;
        CallId::parse(id).map_err(|_| Refusal::bad(format!("`{name}` must be the `callId` of a leg.")))
    };
    let (from, to) = (call("from")?, call("to")?);
    if asked.query.len() > 2 {
        return Err(Refusal::bad(
            "The query may have `from` and `to`, and nothing else.",
        ));
    }
    if from == to {
        return Err(Refusal::bad(
            "`to` must name another leg than `from`: nobody hears himself.",
        ));
    }
    Ok((from, to))
}
