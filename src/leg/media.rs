//! What was agreed with a remote party, and all the memory it takes: decoders, playout, outbound stream.

use std::net::SocketAddr;

use crate::codec::{CodecError, Decoder, Encoding};
use crate::jitter::{Playout, PlayoutConfig};
use crate::leg::DEFAULT_MAX_DELAY;
use crate::srtp;
use crate::stream::Stream;

/// One format both sides know, with the payload type numbers each side wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The number we told the remote to use.
    pub receive_as: u8,
    /// The number the remote told us to use.
    pub send_as: u8,
    pub encoding: Encoding,
}

/// A payload type that goes along with the codecs: comfort noise (RFC 3389), telephone events (RFC 4733).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Companion {
    /// The number we told the remote to use.
    pub receive_as: u8,
    /// The number the remote told us to use.
    pub send_as: u8,
    /// Of its timestamps; it goes along with the codecs of the same clock.
    pub clock_hz: u32,
}

/// The outcome of offer and answer, as far as packets are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaTerms {
    /// Where the remote wants its RTP; `None` means that it wants none.
    pub remote: Option<SocketAddr>,
    pub remote_rtcp: Option<SocketAddr>,
    pub rtcp_mux: bool,
    pub sends: bool,
    pub receives: bool,
    /// Send to where packets come from, once that address has passed probation (RFC 4961).
    pub symmetric: bool,
    /// Any of these may arrive, the first is what we send. Empty: nothing is agreed yet.
    pub formats: Vec<Format>,
    /// At most one for each clock rate.
    pub comfort_noise: Vec<Companion>,
    /// At most one for each clock rate.
    pub telephone_events: Vec<Companion>,
    /// The remote makes use of the in-band FEC of Opus, so what we send may carry it.
    pub fec: bool,
    /// The keys, where packets are encrypted.
    pub srtp: Option<srtp::Terms>,
}

impl MediaTerms {
    /// As long as nothing is agreed.
    pub fn nothing() -> MediaTerms {
        MediaTerms {
            remote: None,
            remote_rtcp: None,
            rtcp_mux: true,
            sends: false,
            receives: false,
            symmetric: true,
            formats: Vec::new(),
            comfort_noise: Vec::new(),
            telephone_events: Vec::new(),
            fec: false,
            srtp: None,
        }
    }
}

/// No payload type of ours.
const NO_FORMAT: u8 = u8::MAX;

pub struct LegMedia {
    terms: MediaTerms,
    /// Payload type → index into formats and decoders.
    format_by_payload_type: [u8; 128],
    pub(crate) decoders: Vec<Decoder>,
    pub(crate) playout: Playout,
    /// What the leg is sent when its signal is its own.
    pub(crate) stream: Option<Box<Stream>>,
    /// The leg's share in its room's pool of streams: there are always as many streams as legs to feed.
    pub(crate) seat: Option<Box<Stream>>,
}

impl LegMedia {
    pub fn new(terms: MediaTerms) -> Result<Box<LegMedia>, CodecError> {
        let mut format_by_payload_type = [NO_FORMAT; 128];
        let mut decoders = Vec::with_capacity(terms.formats.len());
        let mut codecs = Vec::with_capacity(terms.formats.len());
        let mut payload_bytes_max = 0;
        for (index, format) in terms.formats.iter().enumerate() {
            format_by_payload_type[usize::from(format.receive_as & 0x7f)] = index as u8;
            codecs.push(format.encoding.codec);
            decoders.push(Decoder::new(format.encoding.codec)?);
            payload_bytes_max = payload_bytes_max.max(format.encoding.codec.payload_bytes_received_max());
        }
        let (stream, seat) = match terms.formats.first() {
            Some(format) => (
                Some(Stream::new(format.encoding)?),
                Some(Stream::new(format.encoding)?),
            ),
            None => (None, None),
        };
        let playout = Playout::new(PlayoutConfig {
            max_delay: DEFAULT_MAX_DELAY,
            payload_bytes_max,
            codecs,
        });
        Ok(Box::new(LegMedia {
            terms,
            format_by_payload_type,
            decoders,
            playout,
            stream,
            seat,
        }))
    }

    pub fn terms(&self) -> &MediaTerms {
        &self.terms
    }

    /// What we send, when there is somebody to send it to.
    pub fn sent_format(&self) -> Option<Format> {
        self.terms.formats.first().copied()
    }

    pub(crate) fn format_of(&self, payload_type: u8) -> Option<u8> {
        let index = self.format_by_payload_type[usize::from(payload_type & 0x7f)];
        (index != NO_FORMAT).then_some(index)
    }

    /// Takes over what goes on unchanged from the media that this one replaces, so that nothing is heard of the
    /// change: playout and decoders where the same formats may arrive, the stream where we send the same.
    /// Returns whether the stream went on.
    pub(crate) fn continue_from(&mut self, before: &mut LegMedia) -> bool {
        let received = |terms: &MediaTerms| -> usize { terms.formats.len() };
        let same_received = received(&self.terms) == received(&before.terms)
            && self
                .terms
                .formats
                .iter()
                .zip(&before.terms.formats)
                .all(|(new, old)| {
                    new.receive_as == old.receive_as && new.encoding.codec == old.encoding.codec
                });
        if same_received {
            std::mem::swap(&mut self.decoders, &mut before.decoders);
            std::mem::swap(&mut self.playout, &mut before.playout);
        }
        let encoding = |media: &LegMedia| media.sent_format().map(|format| format.encoding);
        let same_sent = encoding(self).is_some() && encoding(self) == encoding(before);
        if same_sent {
            std::mem::swap(&mut self.stream, &mut before.stream);
            std::mem::swap(&mut self.seat, &mut before.seat);
        }
        same_sent
    }
}
