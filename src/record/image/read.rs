//! Reads the files of a recording back, as any player would; for tests, those of other crates as well: they take it in
//! by its path, and so it knows this one by its name.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use mixminus::codec::{Codec, Decoder, PAYLOAD_SAMPLES_MAX};
use mixminus::frame::Rate;
use mixminus::record::image::Format;
use ogg::PacketReader;

/// The sound of a file: rate and samples.
pub fn read(path: &Path, format: Format) -> (Rate, Vec<i16>) {
    match format {
        Format::Wav => read_wav(path),
        Format::Ogg => {
            let file = OpusFile::read(path);
            (file.rate, file.decode(file.rate))
        }
        Format::Flac => read_flac(path),
    }
}

fn rate_of(hz: u32) -> Rate {
    Rate::from_hz(hz).expect("a rate of the mixer")
}

fn read_wav(path: &Path) -> (Rate, Vec<i16>) {
    let bytes = std::fs::read(path).expect("the file is there");
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((&bytes[..4], &bytes[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
    assert_eq!(word(4), 36 + word(40));
    let data = &bytes[44..][..word(40) as usize];
    let samples = data
        .chunks_exact(2)
        .map(|sample| i16::from_le_bytes([sample[0], sample[1]]));
    (rate_of(word(24)), samples.collect())
}

fn read_flac(path: &Path) -> (Rate, Vec<i16>) {
    let mut reader = claxon::FlacReader::open(path).expect("a FLAC file");
    let info = reader.streaminfo();
    assert_eq!((info.channels, info.bits_per_sample), (1, 16));
    let samples: Vec<i16> = reader
        .samples()
        .map(|sample| sample.expect("a whole frame") as i16)
        .collect();
    if let Some(expected) = info.samples {
        assert_eq!(samples.len() as u64, expected, "as many as the header says");
    }
    (rate_of(info.sample_rate), samples)
}

/// The packets of an Opus file and what its headers and granule positions say of them.
pub struct OpusFile {
    pub rate: Rate,
    pub pre_skip: u64,
    pub serial: u32,
    pub packets: Vec<Vec<u8>>,
    /// Where the sound ends, at 48 kHz and with the pre-skip: the granule position of the last page.
    pub end: u64,
    /// The stream has its last page.
    pub is_ended: bool,
    /// The packets of the page that has most.
    pub page_packets_max: usize,
}

impl OpusFile {
    pub fn read(path: &Path) -> OpusFile {
        let file = File::open(path).expect("the file is there");
        let mut reader = PacketReader::new(BufReader::new(file));
        let head = reader.read_packet().unwrap().expect("a page with the head");
        assert!(head.first_in_stream() && head.last_in_page());
        assert_eq!(head.data[..10], *b"OpusHead\x01\x01");
        assert_eq!(head.data[16..], [0, 0, 0]);
        let tags = reader.read_packet().unwrap().expect("a page with the tags");
        assert!(tags.first_in_page() && tags.last_in_page());
        assert_eq!(
            tags.data[..],
            *b"OpusTags\x08\x00\x00\x00mixminus\x00\x00\x00\x00"
        );
        let mut opus = OpusFile {
            rate: rate_of(u32::from_le_bytes(head.data[12..16].try_into().unwrap())),
            pre_skip: u64::from(u16::from_le_bytes([head.data[10], head.data[11]])),
            serial: head.stream_serial(),
            packets: Vec::new(),
            end: 0,
            is_ended: false,
            page_packets_max: 0,
        };
        let mut page_packets = 0;
        // An error is the end of a file that still grows.
        while let Ok(Some(packet)) = reader.read_packet() {
            assert!(!opus.is_ended, "a packet behind the last page");
            assert!(packet.absgp_page() >= opus.end, "granules run backwards");
            page_packets = if packet.first_in_page() {
                1
            } else {
                page_packets + 1
            };
            opus.page_packets_max = opus.page_packets_max.max(page_packets);
            opus.end = packet.absgp_page();
            opus.is_ended = packet.last_in_stream();
            opus.packets.push(packet.data);
        }
        opus
    }

    /// Decodes at `rate`, drops the pre-skip and what is behind the end.
    pub fn decode(&self, rate: Rate) -> Vec<i16> {
        let mut decoder = Decoder::new(Codec::Opus(rate)).expect("every rate has a decoder");
        let mut pcm = [0.0; PAYLOAD_SAMPLES_MAX];
        let mut samples = Vec::new();
        for packet in &self.packets {
            let decoded = decoder.decode(packet, &mut pcm).expect("a packet of ours");
            samples.extend(
                pcm[..decoded]
                    .iter()
                    .map(|sample| (sample * 32_768.0).round() as i16),
            );
        }
        let granules_per_sample = u64::from(48_000 / rate.hz());
        let at = |granules: u64| (granules / granules_per_sample) as usize;
        samples.truncate(at(self.end));
        samples.split_off(at(self.pre_skip).min(samples.len()))
    }
}
