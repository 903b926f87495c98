//! What is known of each source (SSRC) that one key has been used by, for a bounded number of sources.

use super::SOURCES_MAX;
use super::index::{Window, estimate};

/// How far the numbering of a source has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// By packets under this key.
    Heard(Window),
    /// By packets under the key before: the highest index, which need not go on (see [`Numbering::candidates`]).
    Kept(u64),
}

impl Numbering {
    pub const fn highest(&self) -> u64 {
        match self {
            Numbering::Heard(window) => window.highest(),
            Numbering::Kept(highest) => *highest,
        }
    }
}

/// The indices that a sequence number may stand for, likeliest first.
///
/// - A source heard under this key: the estimate of RFC 3711 appendix A.
/// - One that was heard under the key before: the same, for a new key does not reset the roll-over counter; but there are
///   peers that do, so zero as well, until one of the two has been authentic.
/// - An unknown one: a counter of zero, and for a number of the lower half one, because the stream may have begun just before
///   its first wrap, with these packets lost or late. Without this such a stream would never be heard.
#[inline]
pub fn candidates(numbering: Option<&Numbering>, sequence: u16) -> (u64, Option<u64>) {
    let first_cycle = u64::from(sequence);
    match numbering {
        Some(Numbering::Heard(window)) => (estimate(window.highest(), sequence), None),
        Some(Numbering::Kept(highest)) => {
            let index = estimate(*highest, sequence);
            (index, (index != first_cycle).then_some(first_cycle))
        }
        None => (first_cycle, (sequence < 1 << 15).then_some(first_cycle | 1 << 16)),
    }
}

#[derive(Debug, Clone, Copy)]
struct Source {
    ssrc: u32,
    numbering: Numbering,
    /// By the count of authentic packets of all sources.
    last_heard: u64,
}

/// The sources last heard: one more takes the place of the one that has been silent for longest. A source that was
/// forgotten begins again, so that somebody who recorded it can replay it from its beginning; that takes four sources that
/// the peer has used since, under one key.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    sources: [Option<Source>; SOURCES_MAX],
    heard: u64,
}

impl Sources {
    #[inline]
    pub fn find(&self, ssrc: u32) -> Option<&Numbering> {
        let mut known = self.sources.iter().flatten();
        known
            .find(|source| source.ssrc == ssrc)
            .map(|source| &source.numbering)
    }

    /// A packet of this index was authentic.
    #[inline]
    pub fn note(&mut self, ssrc: u32, index: u64) {
        self.heard += 1;
        let last_heard = self.heard;
        match self.place_of(ssrc) {
            Some(source) if source.ssrc == ssrc => {
                source.last_heard = last_heard;
                match &mut source.numbering {
                    Numbering::Heard(window) => window.note(index),
                    kept => *kept = Numbering::Heard(Window::starting(index)),
                }
            }
            place => {
                *place = Some(Source {
                    ssrc,
                    numbering: Numbering::Heard(Window::starting(index)),
                    last_heard,
                });
            }
        }
    }

    /// The key before is still in use, and has come to this index.
    pub fn keep(&mut self, ssrc: u32, index: u64) {
        let mut known = self.sources.iter_mut().flatten();
        if let Some(source) = known.find(|source| source.ssrc == ssrc)
            && let Numbering::Kept(highest) = &mut source.numbering
        {
            *highest = index.max(*highest);
        }
    }

    /// The same sources under a new key.
    pub fn under_a_new_key(&self) -> Sources {
        let mut kept = self.clone();
        for source in kept.sources.iter_mut().flatten() {
            source.numbering = Numbering::Kept(source.numbering.highest());
        }
        kept
    }

    pub fn is_heard(&self) -> bool {
        let mut known = self.sources.iter().flatten();
        known.any(|source| matches!(source.numbering, Numbering::Heard(_)))
    }

    fn place_of(&mut self, ssrc: u32) -> &mut Option<Source> {
        let known = |source: &Option<Source>| source.is_some_and(|source| source.ssrc == ssrc);
        let place = self.sources.iter().position(known).unwrap_or_else(|| {
            let silent_since = |at: &usize| self.sources[*at].map(|source| source.last_heard);
            // An empty place is the first of all.
            (0..SOURCES_MAX).min_by_key(silent_since).unwrap_or(0)
        });
        &mut self.sources[place]
    }
}
