//! Random streams over a bad network, against a model that is told the true index of each packet and needs no estimate.

use std::collections::{HashMap, HashSet};

use super::super::{Receiver, SOURCES_MAX, Sender, UnprotectError};
use super::{Protects, Suite, key, rtp};

const PACKETS: u64 = 30_000;

/// The least an SRTP receiver keeps is 64; ours keeps this.
const WINDOW: u64 = 128;

/// A packet on its way, and what nothing on the wire says.
#[derive(Clone)]
struct Sent {
    due: u64,
    ssrc: u32,
    index: u64,
    epoch: usize,
    bytes: Vec<u8>,
}

/// What a receiver without secrets to guess would answer.
#[derive(Default)]
struct Model {
    /// By key and source: all that were heard.
    heard: HashMap<(usize, u32), HashSet<u64>>,
}

impl Model {
    fn receive(&mut self, sent: &Sent) -> Result<(), UnprotectError> {
        let heard = self.heard.entry((sent.epoch, sent.ssrc)).or_default();
        let highest = heard.iter().max().copied();
        let is_old = highest.is_some_and(|highest| sent.index + WINDOW <= highest);
        if is_old || !heard.insert(sent.index) {
            return Err(UnprotectError::Replayed);
        }
        // Only the window matters, and the highest is in it.
        let highest = highest.max(Some(sent.index)).unwrap_or(0);
        heard.retain(|index| index + WINDOW > highest);
        Ok(())
    }

    fn highest(&self, epoch: usize, ssrc: u32) -> Option<u64> {
        self.heard.get(&(epoch, ssrc))?.iter().max().copied()
    }
}

/// One leg's stream: its sender, and how the network treats it.
struct World {
    chance: fastrand::Rng,
    suite: Suite,
    sender: Sender,
    receiver: Receiver,
    model: Model,
    on_their_way: Vec<Sent>,
    /// Some that arrived, to come again.
    recorded: Vec<Sent>,
    now: u64,
    ssrc: u32,
    /// That there were.
    sources: Vec<u32>,
    index: u64,
    epoch: usize,
    answers: HashMap<Result<(), UnprotectError>, u64>,
}

impl World {
    fn new(suite: Suite, seed: u64) -> World {
        let mut chance = fastrand::Rng::with_seed(seed);
        let ssrc = chance.u32(..);
        let index = u64::from(if chance.bool() { chance.u16(..) } else { 65_535 });
        World {
            suite,
            sender: Sender::new(&key(suite, 0)),
            receiver: Receiver::new(&key(suite, 0), 0),
            model: Model::default(),
            on_their_way: Vec::new(),
            recorded: Vec::new(),
            now: 0,
            ssrc,
            sources: vec![ssrc],
            index,
            epoch: 0,
            answers: HashMap::new(),
            chance,
        }
    }

    fn step(&mut self) {
        self.now += 1;
        let event = self.chance.u32(0..2_000);
        // What nobody could see over is a loss of half a cycle with a late packet on its other side.
        let may_be_late = matches!(event, 43..);
        match event {
            0..40 => self.lose_many(),
            40 => self.change_source(),
            41 | 42 => self.change_key(),
            43..243 => self.index += self.chance.u64(1..4),
            _ => self.index += 1,
        }
        let bytes = self.sender.protected(&rtp(self.ssrc, self.index as u16));
        let delay = if may_be_late && self.chance.u32(0..10) == 0 {
            self.chance.u64(0..160)
        } else {
            0
        };
        let sent = Sent {
            due: self.now + delay,
            ssrc: self.ssrc,
            index: self.index,
            epoch: self.epoch,
            bytes,
        };
        if self.chance.u32(0..50) == 0 {
            self.on_their_way.push(Sent {
                due: sent.due + self.chance.u64(0..20),
                ..sent.clone()
            });
        }
        self.on_their_way.push(sent);
        self.arrive(false);
        self.interfere();
    }

    /// A loss across anything, up to what RFC 3711 can see over: half a cycle after the last one heard.
    fn lose_many(&mut self) {
        self.arrive(true);
        let heard = self.model.highest(self.epoch, self.ssrc);
        let lost = match self.chance.u32(0..4) {
            0 => 32_767,
            1 => 1,
            _ => self.chance.u64(1..32_768),
        };
        self.index = heard.map_or(self.index + 1, |heard| (heard + lost).max(self.index + 1));
    }

    /// A transfer: another source, which begins anywhere in its first cycle. So does the sender's memory.
    fn change_source(&mut self) {
        self.arrive(true);
        self.ssrc = self.chance.u32(..);
        self.index = u64::from(self.chance.u16(..));
        self.sender = Sender::new(&key(self.suite, self.epoch as u64));
        // A source that was forgotten can be replayed.
        self.sources.push(self.ssrc);
        let known = &self.sources[self.sources.len().saturating_sub(SOURCES_MAX)..];
        self.recorded.retain(|sent| known.contains(&sent.ssrc));
    }

    /// A re-offer with another key, by a peer that goes on or by one that starts again.
    fn change_key(&mut self) {
        if self.model.highest(self.epoch, self.ssrc).is_none() {
            return;
        }
        self.epoch += 1;
        let key = key(self.suite, self.epoch as u64);
        if self.chance.bool() {
            self.sender.rekey(&key);
            self.index += 1;
        } else {
            self.arrive(true);
            self.sender = Sender::new(&key);
            self.index = u64::from(self.chance.u16(..));
        }
        self.receiver.rekey(&key, 0);
    }

    fn arrive(&mut self, all: bool) {
        let now = self.now;
        let mut at = 0;
        while at < self.on_their_way.len() {
            if all || self.on_their_way[at].due <= now {
                let sent = self.on_their_way.remove(at);
                self.receive(&sent);
                if self.chance.u32(0..20) == 0 {
                    self.recorded.push(sent);
                }
            } else {
                at += 1;
            }
        }
    }

    fn receive(&mut self, sent: &Sent) {
        let expected = self.model.receive(sent);
        let mut bytes = sent.bytes.clone();
        let answer = self.receiver.unprotect(&mut bytes).map(|len| {
            assert_eq!(bytes[..len], rtp(sent.ssrc, sent.index as u16));
        });
        *self.answers.entry(answer).or_default() += 1;
        // What came under the key before is given up after a while, and has no reason of its own.
        let is_current = sent.epoch == self.epoch;
        let is_as_expected = answer == expected || (!is_current && answer.is_err());
        assert!(
            is_as_expected,
            "{answer:?} instead of {expected:?} for {} of key {} ({}), source {:x}",
            sent.index, sent.epoch, self.epoch, sent.ssrc
        );
    }

    /// Forged packets of known and unknown sources, and old ones again: none is heard, and none changes anything.
    fn interfere(&mut self) {
        if self.chance.u32(0..4) != 0 {
            return;
        }
        let is_replay = self.chance.bool();
        let Some(mut bytes) = self.chance.choice(&self.recorded).map(|sent| sent.bytes.clone()) else {
            return;
        };
        if !is_replay {
            let bit = self.chance.usize(16..8 * bytes.len());
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(self.receiver.unprotect(&mut bytes).is_err());
        if self.recorded.len() > 300 {
            self.recorded.remove(0);
        }
    }
}

#[test]
fn a_receiver_answers_as_if_it_knew_every_index() {
    for (suite, seed) in [
        (Suite::AesCm128HmacSha1_80, 1),
        (Suite::AesCm128HmacSha1_80, 2),
        (Suite::AeadAes128Gcm, 3),
        (Suite::AeadAes256Gcm, 4),
    ] {
        println!("{} seed {seed}", suite.name());
        let mut world = World::new(suite, seed);
        for _ in 0..PACKETS {
            world.step();
        }
        world.arrive(true);
        let count = |answer| world.answers.get(&answer).copied().unwrap_or(0);
        assert!(count(Ok(())) > PACKETS * 9 / 10, "{:?}", world.answers);
        assert!(
            count(Err(UnprotectError::Replayed)) > PACKETS / 100,
            "{:?}",
            world.answers
        );
        assert!(world.epoch > 5 && world.sender.sources[0].is_some());
    }
}
