//! Whether a history can be told as one thing after the other: an order of the requests' steps that the model allows, in
//! which no request comes before one that had been answered when it was made (Herlihy and Wing, 1990; the search is that
//! of Wing and Gong, 1993, that remembers where it was in vain).

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Display};

use super::model::{Asked, Number, Stage, World};
use super::requests::{Reply, Request};

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Answered {
    pub client: usize,
    pub request: Request,
    pub reply: Reply,
    /// The moments, numbered over all clients, at which it was made and answered.
    pub made: u64,
    pub answered: u64,
}

impl Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answered {
            client,
            request,
            reply,
            made,
            answered,
        } = self;
        write!(
            f,
            "{made:>5}..{answered:<5} client {client}: {request:?} -> {reply:?}"
        )
    }
}

/// What a search has in hand: which request of each client is next, how far it has come, and the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct At {
    next: Vec<(usize, Stage)>,
    world: World,
}

/// The requests of each client, in its order.
struct History<'a> {
    clients: Vec<Vec<(Number, &'a Answered)>>,
    recordings: BTreeMap<&'a str, Number>,
    tight: bool,
}

/// The number of requests that could be told in order; all of them where the history is linearisable.
pub fn told_in_order(answered: &[Answered], tight: bool) -> usize {
    let clients = answered.iter().map(|one| one.client + 1).max().unwrap_or(0);
    let mut history = History {
        clients: vec![Vec::new(); clients],
        recordings: BTreeMap::new(),
        tight,
    };
    for (number, one) in answered.iter().enumerate() {
        history.clients[one.client].push((number as Number, one));
        if let (
            Request::Record { .. },
            Reply::Recording {
                id,
                is_new: Some(true),
                ..
            },
        ) = (&one.request, &one.reply)
        {
            history.recordings.insert(id, number as Number);
        }
    }
    let begin = At {
        next: vec![(0, Stage::Asked); clients],
        world: World::default(),
    };
    let mut in_vain = HashSet::new();
    let mut to_try = vec![begin];
    let mut farthest = 0;
    while let Some(at) = to_try.pop() {
        let done: usize = at.next.iter().map(|(done, _)| done).sum();
        farthest = farthest.max(done);
        if done == answered.len() {
            return done;
        }
        let ahead = history.ahead(&at);
        if in_vain.insert(at) {
            to_try.extend(ahead);
        }
    }
    farthest
}

impl History<'_> {
    /// Where a search can go on from here; the most promising last.
    fn ahead(&self, at: &At) -> Vec<At> {
        let mut ahead: Vec<At> = at
            .world
            .departures()
            .map(|world| At {
                next: at.next.clone(),
                world,
            })
            .collect();
        // Whoever was answered first was most likely served first.
        let mut pending: Vec<usize> = (0..self.clients.len())
            .filter(|client| self.pending(at, *client).is_some())
            .collect();
        pending.sort_by_key(|client| std::cmp::Reverse(self.pending(at, *client).map(|one| one.1.answered)));
        let first_answer = pending.last().and_then(|client| self.pending(at, *client));
        for client in pending {
            let Some((number, one)) = self.pending(at, client) else {
                continue;
            };
            if first_answer.is_some_and(|(_, first)| first.answered < one.made) {
                continue;
            }
            let asked = Asked {
                number,
                request: &one.request,
                reply: &one.reply,
                tight: self.tight,
                recordings: &|id| self.recordings.get(id).copied(),
            };
            if let Some((world, stage)) = at.world.step(&asked, &at.next[client].1) {
                let mut next = at.next.clone();
                next[client] = match stage {
                    Stage::Answered => (next[client].0 + 1, Stage::Asked),
                    stage => (next[client].0, stage),
                };
                ahead.push(At { next, world });
            }
        }
        ahead
    }

    fn pending(&self, at: &At, client: usize) -> Option<(Number, &Answered)> {
        self.clients[client].get(at.next[client].0).copied()
    }
}
