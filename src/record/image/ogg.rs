//! Opus in Ogg (RFC 7845): mono, packets of 20 ms, pages of a second. Each page is whole in itself, so what is written
//! can be read at any moment; the last page says where within its last packet the sound ends.

use ogg::{PacketWriteEndInfo, PacketWriter};

use crate::codec::{Codec, CodecError, Encoded, Encoder, Encoding};
use crate::frame::Rate;

/// Granule positions count samples at 48 kHz, whatever the rate of the sound (§4).
const GRANULES_PER_TICK: u64 = Rate::Hz48000.samples_per_tick() as u64;

/// A second: the most that a page should hold (§4 of RFC 7845, §6 of RFC 3533), and the most that a reader of the
/// growing file is behind.
const PACKETS_PER_PAGE: u64 = 50;

/// After a second of silence the coder has come to rest: its packet is the same from then on, or as good as the same,
/// and repeats without being encoded.
const SILENT_PACKETS_ENCODED: u64 = 50;

/// RFC 6716 §3.2: one frame and its table of contents byte.
const PACKET_BYTES_MAX: usize = 1_276;

/// Turns samples into the packets and pages of an Opus file.
pub struct OggWriter {
    rate: Rate,
    serial: u32,
    encoder: Encoder,
    pages: PacketWriter<'static, Vec<u8>>,
    /// Samples of the packet that is not full yet.
    pending: Vec<i16>,
    samples: u64,
    packets: u64,
    /// Packets without any sound up to the last one.
    silent_packets: u64,
    last_packet: Vec<u8>,
    /// What a player drops at the beginning: the delay of the coder (§4.2).
    pre_skip: u64,
}

impl OggWriter {
    pub fn new(rate: Rate, serial: u32, bytes: &mut Vec<u8>) -> Result<OggWriter, CodecError> {
        let mut encoder = Encoder::new(Encoding {
            codec: Codec::Opus(rate),
            ptime_ms: 20,
            bitrate: match rate {
                Rate::Hz8000 => 16_000,
                Rate::Hz16000 => 32_000,
                Rate::Hz48000 => 64_000,
            },
            complexity: 5,
            dtx: false,
            loss_percent: 0,
        })?;
        // Evidence, not a call: the tracks of a room are to add up to its mix.
        encoder.keep_waveform();
        let pre_skip = encoder.lookahead().unwrap_or(0) as u64 * granules_per_sample(rate);
        let mut writer = OggWriter {
            rate,
            serial,
            encoder,
            pages: PacketWriter::new(Vec::new()),
            pending: Vec::with_capacity(rate.samples_per_tick()),
            samples: 0,
            packets: 0,
            silent_packets: 0,
            last_packet: Vec::new(),
            pre_skip,
        };
        // §5.1: version, channels, pre-skip, rate of the source, gain, mapping of the channels.
        let mut head = b"OpusHead\x01\x01".to_vec();
        head.extend((pre_skip as u16).to_le_bytes());
        head.extend(rate.hz().to_le_bytes());
        head.extend([0, 0, 0]);
        writer.put(head, PacketWriteEndInfo::EndPage, 0);
        // §5.2: the vendor, and no comments.
        let vendor = b"mixminus";
        let mut tags = b"OpusTags".to_vec();
        tags.extend((vendor.len() as u32).to_le_bytes());
        tags.extend(vendor);
        tags.extend(0u32.to_le_bytes());
        writer.put(tags, PacketWriteEndInfo::EndPage, 0);
        writer.take_pages(bytes);
        Ok(writer)
    }

    pub fn append(&mut self, mut samples: &[i16], bytes: &mut Vec<u8>) {
        while !samples.is_empty() {
            let room = self.rate.samples_per_tick() - self.pending.len();
            let (these, rest) = samples.split_at(samples.len().min(room));
            self.pending.extend_from_slice(these);
            self.samples += these.len() as u64;
            self.encode_if_full();
            samples = rest;
        }
        self.take_pages(bytes);
    }

    pub fn append_silence(&mut self, mut samples: u64, bytes: &mut Vec<u8>) {
        while samples > 0 {
            let these = samples.min((self.rate.samples_per_tick() - self.pending.len()) as u64);
            self.pending.resize(self.pending.len() + these as usize, 0);
            self.samples += these;
            self.encode_if_full();
            samples -= these;
        }
        self.take_pages(bytes);
    }

    fn encode_if_full(&mut self) {
        if self.pending.len() == self.rate.samples_per_tick() {
            self.encode_packet();
            let end = match (self.packets + 1).is_multiple_of(PACKETS_PER_PAGE) {
                true => PacketWriteEndInfo::EndPage,
                false => PacketWriteEndInfo::NormalPacket,
            };
            self.put_packet(end, u64::MAX);
        }
    }

    /// Encodes what the coder still holds, with silence behind the last sample, and ends the stream.
    pub fn end(&mut self, bytes: &mut Vec<u8>) {
        let end = self.pre_skip + self.samples * granules_per_sample(self.rate);
        // With a delay above zero there is always a packet to come: the one that ends the stream.
        let packets = end.div_ceil(GRANULES_PER_TICK).max(self.packets + 1);
        while self.packets < packets {
            self.pending.resize(self.rate.samples_per_tick(), 0);
            self.encode_packet();
            let is_last = self.packets + 1 == packets;
            let info = if is_last {
                PacketWriteEndInfo::EndStream
            } else {
                PacketWriteEndInfo::NormalPacket
            };
            self.put_packet(info, end);
        }
        self.take_pages(bytes);
    }

    /// Leaves what the pending samples become in `last_packet`.
    fn encode_packet(&mut self) {
        let is_silent = self.pending.iter().all(|sample| *sample == 0);
        self.silent_packets = if is_silent { self.silent_packets + 1 } else { 0 };
        if self.silent_packets <= SILENT_PACKETS_ENCODED {
            let mut pcm = [0.0; Rate::Hz48000.samples_per_tick()];
            let pcm = &mut pcm[..self.pending.len()];
            for (to, sample) in pcm.iter_mut().zip(&self.pending) {
                *to = f32::from(*sample) / 32_768.0;
            }
            let mut packet = [0; PACKET_BYTES_MAX];
            let packet = match self.encoder.encode(pcm, &mut packet) {
                Encoded::Sound(bytes) | Encoded::Silence(bytes) => &packet[..bytes],
                // RFC 6716 §3.2.1: a frame of no bytes stands for one that was lost, here one of 20 ms at full band.
                Encoded::Nothing => &[31 << 3],
            };
            self.last_packet.clear();
            self.last_packet.extend_from_slice(packet);
        }
        self.pending.clear();
    }

    /// The sound ends at `granules_max`, where the packet does not before.
    fn put_packet(&mut self, end: PacketWriteEndInfo, granules_max: u64) {
        self.packets += 1;
        let granules = (self.packets * GRANULES_PER_TICK).min(granules_max);
        self.put(self.last_packet.clone(), end, granules);
    }

    fn put(&mut self, packet: Vec<u8>, end: PacketWriteEndInfo, granules: u64) {
        self.pages
            .write_packet(packet, self.serial, end, granules)
            .expect("memory takes every page");
    }

    fn take_pages(&mut self, bytes: &mut Vec<u8>) {
        bytes.append(self.pages.inner_mut());
    }

    pub fn samples(&self) -> u64 {
        self.samples
    }
}

const fn granules_per_sample(rate: Rate) -> u64 {
    (Rate::Hz48000.hz() / rate.hz()) as u64
}
