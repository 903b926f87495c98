//! One thing at a time for each name: requests about a leg wait for each other, those about different legs do not.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use crate::control::refusal::Refusal;

/// How long anything here may wait for its turn, or for an engine.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub struct Turns<K> {
    waiting: Arc<Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>>,
}

/// Held while it is one's turn.
pub struct Turn<K: Eq + Hash> {
    name: K,
    held: Option<OwnedMutexGuard<()>>,
    waiting: Arc<Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    pub fn new() -> Turns<K> {
        Turns {
            waiting: Arc::default(),
        }
    }

    /// How many names have somebody whose turn it is.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub async fn take(&self, name: &K) -> Result<Turn<K>, Refusal> {
        let queue = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(waiting.entry(name.clone()).or_default())
        };
        let mut turn = Turn {
            name: name.clone(),
            held: None,
            waiting: Arc::clone(&self.waiting),
        };
        turn.held = Some(
            tokio::time::timeout(PATIENCE, queue.lock_owned())
                .await
                .map_err(|_| {
                    Refusal::unavailable("Earlier requests about the same are still under way.", 1)
                })?,
        );
        Ok(turn)
    }
}

impl<K: Eq + Hash + Clone> Default for Turns<K> {
    fn default() -> Turns<K> {
        Turns::new()
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.held = None;
        // Others that wait hold the queue as well.
        if waiting
            .get(&self.name)
            .is_some_and(|queue| Arc::strong_count(queue) == 1)
        {
            waiting.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_name_waits_for_itself_alone_and_leaves_nothing_behind() {
        let turns: Turns<&str> = Turns::new();
        let a = turns.take(&"a").await.ok().unwrap();
        let b = turns.take(&"b").await.ok().unwrap();
        let second = tokio::time::timeout(Duration::from_millis(20), turns.take(&"a")).await;
        assert!(second.is_err(), "it is not its turn");
        drop(a);
        let again = turns.take(&"a").await.ok().unwrap();
        drop((again, b));
        assert!(turns.waiting.lock().unwrap().is_empty());
    }
}
