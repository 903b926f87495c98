//! Who shares an encode: listeners that hear the same thing in the same encoding are fed from one stream.
//!
//! Every leg brings one stream into the room's pool and takes one out when it leaves. There are never more groups
//! with members than legs, so a group that is needed always finds a stream, without allocating in a tick. A stream
//! serves any encoding of its shape: what legs hear may change in bitrate and the like, what they brought does not.

use crate::codec::{Encoding, Shape};
use crate::dsp::Music;
use crate::stream::Stream;

/// What a leg is to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The room: everybody else.
    Mix,
    Music(Music),
    Silence,
}

/// Index of a group of listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupId(u32);

struct Group {
    heard: Heard,
    members: u32,
    stream: Box<Stream>,
}

#[derive(Default)]
pub struct SharedStreams {
    groups: Vec<Option<Group>>,
    #[expect(clippy::vec_box, reason = "the boxes come from legs and go back to them")]
    pool: Vec<Box<Stream>>,
}

impl SharedStreams {
    /// Takes a leg's stream into the pool. The only place that may allocate: joining pays.
    pub fn bring(&mut self, stream: Box<Stream>) {
        self.groups.reserve(1);
        self.pool.push(stream);
        let streams = self.pool.len() + self.groups.iter().flatten().count();
        self.pool.reserve(streams - self.pool.len());
        self.groups.reserve(streams.saturating_sub(self.groups.len()));
    }

    /// Gives a leaving leg a stream of that shape back. The leg is in no group any more.
    pub fn take(&mut self, shape: Shape) -> Option<Box<Stream>> {
        let index = self
            .pool
            .iter()
            .position(|stream| stream.encoding().shape() == shape)?;
        Some(self.pool.swap_remove(index))
    }

    /// The group that hears this in this encoding, if it has members.
    pub fn find(&self, heard: Heard, encoding: Encoding) -> Option<GroupId> {
        let index = self.groups.iter().position(|group| {
            group
                .as_ref()
                .is_some_and(|group| group.heard == heard && group.stream.encoding() == encoding)
        })?;
        Some(GroupId(index as u32))
    }

    /// Makes a group without members out of the pool, for what `like` sends and where that stands; `None` when no leg
    /// of its shape brought a stream.
    pub fn open(&mut self, heard: Heard, like: &Stream) -> Option<GroupId> {
        let mut stream = self.take(like.encoding().shape())?;
        stream.copy_from(like);
        let group = Some(Group {
            heard,
            members: 0,
            stream,
        });
        let index = match self.groups.iter().position(Option::is_none) {
            Some(free) => {
                self.groups[free] = group;
                free
            }
            None => {
                self.groups.push(group);
                self.groups.len() - 1
            }
        };
        Some(GroupId(index as u32))
    }

    pub fn enter(&mut self, id: GroupId) {
        if let Some(group) = &mut self.groups[id.0 as usize] {
            group.members += 1;
        }
    }

    /// The last to leave gives the stream back to the pool.
    pub fn leave(&mut self, id: GroupId) {
        let slot = &mut self.groups[id.0 as usize];
        if let Some(group) = slot {
            group.members -= 1;
            if group.members == 0
                && let Some(group) = slot.take()
            {
                self.pool.push(group.stream);
            }
        }
    }

    pub fn stream(&self, id: GroupId) -> Option<&Stream> {
        self.groups[id.0 as usize].as_ref().map(|group| &*group.stream)
    }

    /// Whether the group is being told that there is nothing to hear.
    pub fn pauses(&self, id: GroupId) -> bool {
        self.stream(id).is_some_and(Stream::pauses)
    }

    /// Every group's stream with what it is to carry.
    pub fn each(&mut self) -> impl Iterator<Item = (Heard, &mut Stream)> {
        self.groups
            .iter_mut()
            .flatten()
            .map(|group| (group.heard, &mut *group.stream))
    }

    /// No stream spends more effort on encoding than this, 0 to 10.
    pub fn limit_complexity(&mut self, max: u8) {
        let groups = self.groups.iter_mut().flatten().map(|group| &mut group.stream);
        for stream in groups.chain(&mut self.pool) {
            stream.limit_complexity(max);
        }
    }

    /// Groups with members, and streams waiting in the pool.
    pub fn len(&self) -> (usize, usize) {
        (self.groups.iter().flatten().count(), self.pool.len())
    }
}
