//! Readers of events: from now on, after a number, or from how things stand.

use serde_json::{Map, Value};

use super::Service;
use crate::control::events::Reader;
use crate::control::ids::{CallId, ConferenceId};
use crate::control::refusal::Refusal;
use crate::control::state::{RoomEntry, State};
use crate::control::views::ConferenceView;

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    Now,
    /// After the event of this number: of the room where it reads one, else of all.
    After(u64),
    /// With an event `snapshot`, then what comes after it.
    Snapshot,
}

impl Beginning {
    /// From the parameters `after` and `snapshot`, as they were written.
    pub fn parse(after: Option<&str>, snapshot: Option<&str>) -> Result<Beginning, Refusal> {
        let after = after
            .map(|after| after.parse())
            .transpose()
            .map_err(|_| Refusal::bad("`after` must be the number of an event."))?;
        match (after, snapshot) {
            (None, None | Some("false")) => Ok(Beginning::Now),
            (Some(after), None | Some("false")) => Ok(Beginning::After(after)),
            (None, Some("true")) => Ok(Beginning::Snapshot),
            (Some(_), Some("true")) => Err(Refusal::bad("`snapshot` and `after` exclude each other.")),
            (_, Some(_)) => Err(Refusal::bad("`snapshot` must be true or false.")),
        }
    }
}

impl Service {
    /// A reader of the events of one room, which need not be there, or of all.
    pub fn subscribe(&self, conference: Option<ConferenceId>, beginning: Beginning) -> Reader {
        let events = &self.inner.events;
        match beginning {
            Beginning::Now => events.reader(conference, None),
            Beginning::After(after) => events.reader(conference, Some(after)),
            Beginning::Snapshot => {
                // Nothing is told while the state is held: who is seen here has been told of, and nobody else.
                let state = self.inner.state();
                let fields = snapshot(&state, conference.as_ref());
                events.reader_with_snapshot(conference, fields)
            }
        }
    }
}

fn snapshot(state: &State, conference: Option<&ConferenceId>) -> Map<String, Value> {
    let conferences: Vec<Value> = match conference {
        Some(id) => state
            .rooms
            .get_key_value(id)
            .into_iter()
            .map(|room| seen(state, room))
            .collect(),
        None => state.rooms.iter().map(|room| seen(state, room)).collect(),
    };
    Map::from_iter([("conferences".to_owned(), conferences.into())])
}

/// The room with those who were told to have joined it.
fn seen(state: &State, (id, room): (&ConferenceId, &RoomEntry)) -> Value {
    let mut view = ConferenceView::new(id, room, state);
    view.participants.retain(|participant| {
        let call = CallId::parse(&participant.id).ok();
        let leg = call.and_then(|call| state.legs.get(&call));
        leg.is_some_and(|leg| leg.has_joined)
    });
    view.talkers = view
        .participants
        .iter()
        .filter(|participant| participant.contributing)
        .count();
    serde_json::to_value(view).unwrap_or_default()
}
