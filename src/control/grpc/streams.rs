//! Answers that go on: what happens, and the sound of a recording.

use axum::response::Response;
use bytes::Bytes;
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{StreamExt, once};
use tonic::Status;

use super::{frames, messages};
use crate::control::http::{App, told};
use crate::control::ids::ConferenceId;
use crate::control::operation::{Asked, chunks};
use crate::control::refusal::{RANGE_NOT_SATISFIABLE, Refusal};
use crate::control::service::Beginning;

/// What happens. One batch is held at a time: a slow reader costs nothing, and learns what it missed.
pub fn events(app: &App, method: &MethodDescriptor, asked: &Asked) -> Result<Response, Refusal> {
    let text = |name: &str| asked.query.get(name).map(String::as_str);
    let conference = text("conferenceId").map(ConferenceId::parse).transpose()?;
    let beginning = Beginning::parse(text("after"), text("snapshot"))?;
    let reader = app.service.subscribe(conference, beginning);
    let event = method.output();
    let messages = told(reader, app.stopping.clone(), move |message| {
        messages::of_json(event.clone(), &message.json).map_err(|refusal| Status::internal(refusal.message))
    });
    // Behind all that waits to be taken, so that whoever stands still hears of it, too.
    Ok(frames::stream(messages.chain(once(Err(stopping())))))
}

/// Whoever reads on is to ask again, of the next daemon.
pub fn stopping() -> Status {
    Status::unavailable("The daemon is stopping.")
}

/// The file of a recording, or the bytes of it that are asked for.
pub async fn recording(app: &App, method: &MethodDescriptor, asked: &Asked) -> Result<Response, Refusal> {
    let number = |name: &str| {
        asked
            .query
            .get(name)
            .and_then(|number| number.parse::<u64>().ok())
    };
    if number("bytes") == Some(0) {
        return Err(Refusal::bad("`bytes` must be at least 1."));
    }
    let audio = app.service.recording_audio(asked.recording().to_owned()).await?;
    let first = number("fromByte").unwrap_or(0);
    if first > 0 && first >= audio.bytes {
        return Err(Refusal::new(
            RANGE_NOT_SATISFIABLE,
            "The range lies behind the end of the recording.",
        ));
    }
    let length = (audio.bytes - first).min(number("bytes").unwrap_or(u64::MAX));
    let (content_type, total_bytes) = (audio.content_type, audio.bytes);
    let mut bytes = chunks(audio, first, length).await?;
    let chunk = method.output();
    let mut head = DynamicMessage::new(chunk.clone());
    head.set_field_by_name("content_type", Value::String(content_type.to_owned()));
    head.set_field_by_name("total_bytes", Value::U64(total_bytes));
    let (messages, taken) = mpsc::channel::<Result<Bytes, Status>>(1);
    tokio::spawn(async move {
        let mut message = head;
        let mut is_first = true;
        loop {
            let next = bytes.recv().await;
            let is_last = next.is_none();
            match next {
                Some(Ok(data)) => message.set_field_by_name("data", Value::Bytes(data)),
                Some(Err(_)) => {
                    let _ = messages
                        .send(Err(Status::data_loss("The file cannot be read on.")))
                        .await;
                    return;
                }
                // A file without a byte still has a head.
                None if !is_first => return,
                None => {}
            }
            let written = message.encode_to_vec().into();
            if messages.send(Ok(written)).await.is_err() || is_last {
                return;
            }
            is_first = false;
            message = DynamicMessage::new(chunk.clone());
        }
    });
    Ok(frames::stream(ReceiverStream::new(taken)))
}
