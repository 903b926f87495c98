//! The bitstream (RFC 3951 §3.8): every parameter is split over three classes, those bits first whose loss would
//! be heard most; after them a bit that marks an empty frame.

use super::codebook::Stages;
use super::lsf::LsfIndex;
use super::state::{Place, StateIndex};
use super::{BLOCKS_MAX, BYTES_MAX, Mode, STATE_MAX};

/// Bits of a parameter in each class, the most significant first.
type Split = [u8; 3];

/// The splits of all parameters, in the order they are written within a class.
struct Layout {
    start: Split,
    remainder: [Split; 3],
    remainder_gains: [Split; 3],
    blocks: [[Split; 3]; BLOCKS_MAX],
    block_gains: [[Split; 3]; BLOCKS_MAX],
}

const LSF: [Split; 3] = [[6, 0, 0], [7, 0, 0], [7, 0, 0]];
const FIRST: Split = [1, 0, 0];
const SCALE: Split = [6, 0, 0];
const LEVEL: Split = [0, 1, 2];
/// Of a parameter that a mode has not.
const NONE: [Split; 3] = [[0; 3]; 3];

static LAYOUT_20_MS: Layout = Layout {
    start: [2, 0, 0],
    remainder: [[6, 0, 1], [0, 0, 7], [0, 0, 7]],
    remainder_gains: [[2, 0, 3], [1, 1, 2], [0, 0, 3]],
    blocks: [
        [[7, 0, 1], [0, 0, 7], [0, 0, 7]],
        [[0, 0, 8], [0, 0, 8], [0, 0, 8]],
        NONE,
        NONE,
    ],
    block_gains: [
        [[1, 2, 2], [1, 1, 2], [0, 0, 3]],
        [[1, 1, 3], [0, 2, 2], [0, 0, 3]],
        NONE,
        NONE,
    ],
};

static LAYOUT_30_MS: Layout = Layout {
    start: [3, 0, 0],
    remainder: [[4, 2, 1], [0, 0, 7], [0, 0, 7]],
    remainder_gains: [[1, 1, 3], [1, 1, 2], [0, 0, 3]],
    blocks: [
        [[6, 1, 1], [0, 0, 7], [0, 0, 7]],
        [[0, 7, 1], [0, 0, 8], [0, 0, 8]],
        [[0, 7, 1], [0, 0, 8], [0, 0, 8]],
        [[0, 7, 1], [0, 0, 8], [0, 0, 8]],
    ],
    block_gains: [
        [[1, 2, 2], [1, 2, 1], [0, 0, 3]],
        [[0, 2, 3], [0, 2, 2], [0, 0, 3]],
        [[0, 1, 4], [0, 1, 3], [0, 0, 3]],
        [[0, 1, 4], [0, 1, 3], [0, 0, 3]],
    ],
};

/// All that a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub lsf: [LsfIndex; 2],
    pub place: Place,
    pub state: StateIndex,
    /// What the start state leaves of its two subframes.
    pub remainder: Stages,
    pub blocks: [Stages; BLOCKS_MAX],
}

impl Frame {
    /// Writes the frame into the front of `payload`, `mode.bytes()` long.
    pub fn pack(&self, mode: Mode, payload: &mut [u8]) {
        let mut bytes = [0; BYTES_MAX];
        let mut at = 0;
        let (mut start, mut first) = (self.place.subframe as u8 + 1, u8::from(self.place.first));
        let mut frame = self.clone();
        frame.blocks[0].vectors = frame.blocks[0].vectors_narrowed();
        frame.each_piece(mode, &mut start, &mut first, |value, shift, bits| {
            for bit in (0..bits).rev() {
                bytes[at / 8] |= (*value >> (shift + bit) & 1) << (7 - at % 8);
                at += 1;
            }
        });
        payload[..mode.bytes()].copy_from_slice(&bytes[..mode.bytes()]);
    }

    /// Reads a frame of `mode.bytes()`; none where it is marked as empty or has no start state.
    pub fn unpack(mode: Mode, payload: &[u8]) -> Option<Frame> {
        let payload = payload.get(..mode.bytes())?;
        let is_empty = payload[mode.bytes() - 1] & 1 == 1;
        let mut frame = Frame {
            lsf: [[0; 3]; 2],
            place: Place {
                subframe: 0,
                first: false,
            },
            state: StateIndex {
                scale: 0,
                levels: [0; STATE_MAX],
            },
            remainder: Stages::default(),
            blocks: [Stages::default(); BLOCKS_MAX],
        };
        let (mut at, mut start, mut first) = (0, 0, 0);
        frame.each_piece(mode, &mut start, &mut first, |value, _, bits| {
            for _ in 0..bits {
                *value = *value << 1 | payload[at / 8] >> (7 - at % 8) & 1;
                at += 1;
            }
        });
        frame.blocks[0].vectors = frame.blocks[0].vectors_widened();
        frame.place = Place {
            subframe: usize::from(start.checked_sub(1)?),
            first: first == 1,
        };
        (!is_empty && frame.place.subframe + 1 < mode.subframes()).then_some(frame)
    }

    /// Visits all pieces of all parameters in the order of the bitstream: the parameter, how many of its bits are in
    /// later pieces, and how many in this one.
    fn each_piece(
        &mut self,
        mode: Mode,
        start: &mut u8,
        first: &mut u8,
        mut visit: impl FnMut(&mut u8, u8, u8),
    ) {
        let layout = match mode {
            Mode::Ms20 => &LAYOUT_20_MS,
            Mode::Ms30 => &LAYOUT_30_MS,
        };
        for class in 0..3 {
            let mut piece = |value: &mut u8, split: &Split| {
                if split[class] > 0 {
                    visit(value, split[class + 1..].iter().sum(), split[class]);
                }
            };
            let mut pieces = |values: &mut [u8], splits: &[Split; 3]| {
                for (value, split) in values.iter_mut().zip(splits) {
                    piece(value, split);
                }
            };
            for set in &mut self.lsf[..mode.lsf_sets()] {
                pieces(set, &LSF);
            }
            pieces(std::slice::from_mut(start), &[layout.start; 3]);
            pieces(std::slice::from_mut(first), &[FIRST; 3]);
            pieces(std::slice::from_mut(&mut self.state.scale), &[SCALE; 3]);
            for level in &mut self.state.levels[..mode.state_samples()] {
                pieces(std::slice::from_mut(level), &[LEVEL; 3]);
            }
            pieces(&mut self.remainder.vectors, &layout.remainder);
            pieces(&mut self.remainder.gains, &layout.remainder_gains);
            for (block, splits) in self.blocks.iter_mut().zip(&layout.blocks) {
                pieces(&mut block.vectors, splits);
            }
            for (block, splits) in self.blocks.iter_mut().zip(&layout.block_gains) {
                pieces(&mut block.gains, splits);
            }
        }
    }
}

impl Stages {
    /// The second and third stage of the first block have seven bits for the 128 vectors that are tried for them:
    /// of each section the 44 shortest of the long lags and the 20 short ones.
    fn vectors_narrowed(&self) -> [u8; 3] {
        let narrow = |index| match index {
            0..=107 => index,
            108..=171 => index - 64,
            _ => index - 128,
        };
        [self.vectors[0], narrow(self.vectors[1]), narrow(self.vectors[2])]
    }

    fn vectors_widened(&self) -> [u8; 3] {
        let widen = |index| match index {
            0..=43 => index,
            44..=107 => index + 64,
            _ => index + 128,
        };
        [self.vectors[0], widen(self.vectors[1]), widen(self.vectors[2])]
    }
}
