//! FLAC (RFC 9639): mono, 16 bit, blocks of one size but for the last. Until the file is ended its header says that
//! the length is not known, and so the frames written so far are a whole stream at any moment.

use flacenc::bitsink::ByteSink;
use flacenc::component::{BitRepr, Frame, StreamInfo};
use flacenc::config;
use flacenc::error::{Verified, Verify};
use flacenc::source::{Fill, FrameBuf};
use md5::{Digest, Md5};

use crate::frame::Rate;

/// The marker, then one metadata block, the stream's information (§8.1, §8.2).
pub const HEADER_BYTES: u64 = 4 + 4 + 34;

/// Samples of a block: the size that the format's own encoder takes by default.
const BLOCK_SAMPLES: usize = 4_096;

const BITS: usize = 16;

/// The length has 36 bits in the header (§8.2).
const SAMPLES_MAX: u64 = (1 << 36) - 1;

/// Turns samples into the frames of a FLAC file.
pub struct FlacWriter {
    rate: Rate,
    config: Verified<config::Encoder>,
    info: StreamInfo,
    /// The samples of the block that is not full yet.
    block: Vec<i32>,
    buffer: FrameBuf,
    sink: ByteSink,
    frames: usize,
    samples: u64,
    /// Of the samples as little-endian bytes (§8.2).
    md5: Md5,
    /// Bytes of the smallest and the largest frame.
    frame_bytes: Option<(usize, usize)>,
    is_ended: bool,
}

impl FlacWriter {
    pub fn new(rate: Rate) -> FlacWriter {
        let mut config = config::Encoder::default();
        config.multithread = false;
        config.block_size = BLOCK_SAMPLES;
        FlacWriter {
            rate,
            config: config
                .into_verified()
                .expect("the encoder's defaults are its own"),
            info: StreamInfo::new(rate.hz() as usize, 1, BITS).expect("one channel at a rate that FLAC has"),
            block: Vec::with_capacity(BLOCK_SAMPLES),
            buffer: FrameBuf::with_size(1, BLOCK_SAMPLES).expect("a size that FLAC has"),
            sink: ByteSink::new(),
            frames: 0,
            samples: 0,
            md5: Md5::new(),
            frame_bytes: None,
            is_ended: false,
        }
    }

    pub fn append(&mut self, mut samples: &[i16], bytes: &mut Vec<u8>) {
        while !samples.is_empty() {
            let room = BLOCK_SAMPLES - self.block.len();
            let (these, rest) = samples.split_at(samples.len().min(room));
            self.block.extend(these.iter().map(|sample| i32::from(*sample)));
            if self.block.len() == BLOCK_SAMPLES {
                self.encode_block(bytes);
            }
            samples = rest;
        }
    }

    pub fn append_silence(&mut self, mut samples: u64, bytes: &mut Vec<u8>) {
        while samples > 0 {
            let these = samples.min((BLOCK_SAMPLES - self.block.len()) as u64);
            self.block.resize(self.block.len() + these as usize, 0);
            if self.block.len() == BLOCK_SAMPLES {
                self.encode_block(bytes);
            }
            samples -= these;
        }
    }

    /// Encodes the last and shorter block; from now on the header says how long the stream is.
    pub fn end(&mut self, bytes: &mut Vec<u8>) {
        if !self.block.is_empty() {
            self.encode_block(bytes);
        }
        self.is_ended = true;
    }

    fn encode_block(&mut self, bytes: &mut Vec<u8>) {
        let mut raw = [0; 2 * BLOCK_SAMPLES];
        let raw = &mut raw[..2 * self.block.len()];
        for (to, sample) in raw.chunks_exact_mut(2).zip(&self.block) {
            to.copy_from_slice(&(*sample as i16).to_le_bytes());
        }
        self.md5.update(raw);

        let frame = self.encode_frame();
        self.sink.clear();
        frame.write(&mut self.sink).expect("memory takes every frame");
        let frame_bytes = self.sink.as_slice().len();
        bytes.extend_from_slice(self.sink.as_slice());

        let (least, most) = self.frame_bytes.unwrap_or((frame_bytes, frame_bytes));
        self.frame_bytes = Some((least.min(frame_bytes), most.max(frame_bytes)));
        self.frames += 1;
        self.samples += self.block.len() as u64;
        self.block.clear();
    }

    fn encode_frame(&mut self) -> Frame {
        self.buffer
            .fill_interleaved(&self.block)
            .expect("a block fits its buffer");
        flacenc::encode_fixed_size_frame(&self.config, &self.buffer, self.frames, &self.info)
            .expect("samples of 16 bits, and fewer frames than FLAC can number")
    }

    pub fn samples(&self) -> u64 {
        self.samples + self.block.len() as u64
    }

    /// Where a number is zero it is not known (§8.2).
    pub fn header(&self) -> [u8; HEADER_BYTES as usize] {
        const LAST_BLOCK: u8 = 0x80;
        let (least, most, samples, md5) = if self.is_ended {
            let (least, most) = self.frame_bytes.unwrap_or_default();
            (least, most, self.samples, self.md5.clone().finalize().into())
        } else {
            (0, 0, 0, [0; 16])
        };
        let mut header = [0; HEADER_BYTES as usize];
        header[0..4].copy_from_slice(b"fLaC");
        header[4] = LAST_BLOCK;
        header[7] = 34; // bytes that follow
        header[8..10].copy_from_slice(&(BLOCK_SAMPLES as u16).to_be_bytes());
        header[10..12].copy_from_slice(&(BLOCK_SAMPLES as u16).to_be_bytes());
        header[12..15].copy_from_slice(&(least as u32).to_be_bytes()[1..]);
        header[15..18].copy_from_slice(&(most as u32).to_be_bytes()[1..]);
        // Rate in 20 bits, channels less one in 3, bits less one in 5, samples in 36.
        let numbers = u64::from(self.rate.hz()) << 44 | (BITS as u64 - 1) << 36 | samples.min(SAMPLES_MAX);
        header[18..26].copy_from_slice(&numbers.to_be_bytes());
        header[26..42].copy_from_slice(&md5);
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_nothing_of_the_length_until_the_end_and_all_of_it_then() {
        let mut writer = FlacWriter::new(Rate::Hz16000);
        let mut bytes = Vec::new();
        writer.append_silence(5_000, &mut bytes);
        let growing = writer.header();
        assert_eq!(growing[..8], [b'f', b'L', b'a', b'C', 0x80, 0, 0, 34]);
        assert_eq!(growing[8..12], [0x10, 0, 0x10, 0]);
        assert_eq!(growing[12..18], [0; 6]);
        // 16 kHz, one channel, 16 bits: 0x03e80 · 000 · 01111.
        assert_eq!(growing[18..26], [0x03, 0xe8, 0x00, 0xf0, 0, 0, 0, 0]);
        assert_eq!(growing[26..], [0; 16]);

        writer.end(&mut bytes);
        let ended = writer.header();
        assert_eq!(ended[18..26], [0x03, 0xe8, 0x00, 0xf0, 0, 0, 0x13, 0x88]);
        assert_eq!(ended[26..], <[u8; 16]>::from(Md5::digest(vec![0; 10_000])));
        let least = u32::from_be_bytes([0, ended[12], ended[13], ended[14]]) as usize;
        let most = u32::from_be_bytes([0, ended[15], ended[16], ended[17]]) as usize;
        assert!(0 < least && least <= most && least + most == bytes.len());
    }
}
