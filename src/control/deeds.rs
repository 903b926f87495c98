//! Who muted, deafened or held a leg, when, and by which request.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::control::auth::Identity;
use crate::control::events::timestamp;
use crate::leg::LegSettings;

/// Whoever asks, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `None` where the daemon has no keys.
    key: Option<String>,
    /// The request, as it is documented.
    via: &'static str,
}

impl Actor {
    pub fn new(identity: Identity, via: &'static str) -> Actor {
        Actor {
            key: Some(identity.key).filter(|key| !key.is_empty()),
            via,
        }
    }

    /// The key it showed; `None` where the daemon has no keys.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn deed(&self) -> Deed {
        Deed {
            key: self.key.clone(),
            via: self.via,
            at: SystemTime::now(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deed {
    /// `None` where the daemon has no keys.
    pub key: Option<String>,
    pub via: &'static str,
    #[serde(serialize_with = "as_timestamp")]
    pub at: SystemTime,
}

fn as_timestamp<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*at))
}

/// What is in force of a leg, each with whose deed it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deeds {
    pub muted: Option<Deed>,
    pub deaf: Option<Deed>,
    pub held: Option<Deed>,
}

impl Deeds {
    /// Notes what the actor's request has changed. What was in force before stays the deed of whoever did it.
    pub fn note(&mut self, before: &LegSettings, after: &LegSettings, actor: &Actor) {
        let deed = |was: bool, is: bool, deed: &mut Option<Deed>| match (was, is) {
            (_, false) => *deed = None,
            (true, true) => {}
            (false, true) => *deed = Some(actor.deed()),
        };
        deed(before.muted, after.muted, &mut self.muted);
        deed(before.deaf, after.deaf, &mut self.deaf);
        deed(before.hold.is_some(), after.hold.is_some(), &mut self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::auth::Role;

    fn actor(key: &str) -> Actor {
        let identity = Identity {
            key: key.to_owned(),
            role: Role::Control,
        };
        Actor::new(identity, "PATCH /v1/legs/{callId}")
    }

    #[test]
    fn a_deed_is_that_of_whoever_did_it_first_until_it_is_undone() {
        let free = LegSettings::default();
        let muted = LegSettings { muted: true, ..free };
        let mut deeds = Deeds::default();
        deeds.note(&free, &muted, &actor("first"));
        deeds.note(&muted, &muted, &actor("second"));
        assert_eq!(deeds.muted.as_ref().unwrap().key.as_deref(), Some("first"));
        assert_eq!((&deeds.deaf, &deeds.held), (&None, &None));
        deeds.note(&muted, &free, &actor("second"));
        assert_eq!(deeds, Deeds::default());
        deeds.note(&free, &muted, &actor(""));
        assert_eq!(deeds.muted.unwrap().key, None, "nobody's key");
    }
}
