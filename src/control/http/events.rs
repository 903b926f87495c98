//! `GET /v1/events`: what happens, as server-sent events.
//!
//! Each event has as its id the number to resume after: that of the room with `conferenceId`, else that of all. A stream
//! begins with what comes next; with `after` (or `Last-Event-ID`) after that event, also where that was told by an
//! earlier life of the daemon; with `snapshot=true` with an event `snapshot`, which says how things stand as of its id.
//! Where events are missing between two of a stream, an event `lost` says which (`missed`, from and to). After a number
//! that was never given, as when the journal was removed, comes a `lost` without `missed` and then what there is.
//!
//! A stream holds one batch at a time and reads on when the client has taken it: a slow client costs nothing, and
//! learns what it missed.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use super::App;
use super::errors::Failure;
use super::paths::parameters;
use crate::control::events::{Message, Reader};
use crate::control::ids::ConferenceId;
use crate::control::service::Beginning;

/// So often a comment goes out, for proxies that close what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What was told before the stop is sent as long as this, to whoever takes it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Messages between the log and the socket.
const AHEAD: usize = 16;

pub async fn stream(State(app): State<App>, request: Request) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let query = parameters(&parts)?;
    let conference = query
        .get("conferenceId")
        .map(|id| ConferenceId::parse(id))
        .transpose()?;
    let asked = |name: &str| query.get(name).map(String::as_str);
    // A browser that reconnects says how far it came in a header, and repeats the old query.
    let resumed = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let beginning = match resumed {
        Some(id) => Beginning::parse(Some(id), None)?,
        None => Beginning::parse(asked("after"), asked("snapshot"))?,
    };
    let reader = app.service.subscribe(conference, beginning);
    let stream = told(reader, app.stopping, |message| {
        Ok::<_, Infallible>(written(message))
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(stream).keep_alive(keep_alive).into_response())
}

/// What a reader finds, each message as a face writes it, until nobody takes it or the daemon stops.
pub fn told<T: Send + 'static>(
    mut reader: Reader,
    mut stopping: watch::Receiver<bool>,
    write: impl Fn(&Message) -> T + Send + 'static,
) -> ReceiverStream<T> {
    let (events, taken) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut is_over = stopping.clone();
        let over = async move {
            let _ = is_over.wait_for(|stopping| *stopping).await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        let mut over = std::pin::pin!(over);
        loop {
            let messages = tokio::select! {
                biased;
                messages = reader.next() => messages,
                () = events.closed() => return,
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
            for message in messages {
                let sent = tokio::select! {
                    biased;
                    sent = events.send(write(&message)) => sent.is_ok(),
                    () = &mut over => false,
                };
                if !sent {
                    return;
                }
            }
        }
    });
    ReceiverStream::new(taken)
}

/// Without a name of its own, so that a browser's `onmessage` hears every type.
fn written(message: &Message) -> Event {
    Event::default().id(message.id.to_string()).data(&*message.json)
}
