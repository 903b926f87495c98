//! What was agreed with a remote party, and all the memory it takes: decoders, playout, outbound stream.

use std::net::SocketAddr;

use crate::codec::{CodecError, Decoder, Encoding};
use crate::jitter::{Content, Playout, PlayoutConfig};
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
    /// The remote takes packets that repeat the one before them (RFC 7587 `useinbandfec`), of at most so many bits per
    /// second in all.
    pub fec_bitrate_max: Option<u32>,
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
    /// The keys of both directions; absent: RTP as it is.
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
            srtp: None,
        }
    }
}

/// The two directions of an encrypted leg.
pub(crate) struct Ciphers {
    pub sender: srtp::Sender,
    pub receiver: srtp::Receiver,
}

impl Ciphers {
    /// Takes the keys that have changed: the counters of both directions go on (RFC 3711 §3.3.1).
    fn rekey(&mut self, before: Option<&srtp::Terms>, terms: &srtp::Terms) {
        if before.is_none_or(|before| before.ours != terms.ours) {
            self.sender.rekey(&terms.ours);
        }
        let theirs = |terms: &srtp::Terms| (terms.theirs.clone(), terms.their_mki_bytes);
        if before.is_none_or(|before| theirs(before) != theirs(terms)) {
            self.receiver.rekey(&terms.theirs, terms.their_mki_bytes);
        }
    }
}

/// More formats than this are never agreed on: a payload type has seven bits.
const FORMATS_MAX: usize = 128;

pub struct LegMedia {
    terms: MediaTerms,
    /// What a packet of each payload type carries; `None` for what was not agreed.
    content_by_payload_type: [Option<Content>; 128],
    pub(crate) decoders: Vec<Decoder>,
    pub(crate) playout: Playout,
    pub(crate) ciphers: Option<Box<Ciphers>>,
    /// What the leg is sent when its signal is its own.
    pub(crate) stream: Option<Box<Stream>>,
    /// The leg's share in its room's pool of streams: there are always as many streams as legs to feed.
    pub(crate) seat: Option<Box<Stream>>,
}

impl LegMedia {
    pub fn new(terms: MediaTerms) -> Result<Box<LegMedia>, CodecError> {
        let mut content_by_payload_type = [None; 128];
        for companion in &terms.comfort_noise {
            let clock_hz = companion.clock_hz;
            content_by_payload_type[usize::from(companion.receive_as & 0x7f)] =
                Some(Content::ComfortNoise { clock_hz });
        }
        for companion in &terms.telephone_events {
            let clock_hz = companion.clock_hz;
            content_by_payload_type[usize::from(companion.receive_as & 0x7f)] =
                Some(Content::Event { clock_hz });
        }
        let mut decoders = Vec::with_capacity(terms.formats.len());
        let mut codecs = Vec::with_capacity(terms.formats.len());
        let mut payload_bytes_max = 0;
        for (index, format) in terms.formats.iter().enumerate() {
            content_by_payload_type[usize::from(format.receive_as & 0x7f)] =
                Some(Content::Sound(index as u8));
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
        let ciphers = terms.srtp.as_ref().map(|terms| {
            Box::new(Ciphers {
                sender: srtp::Sender::new(&terms.ours),
                receiver: srtp::Receiver::new(&terms.theirs, terms.their_mki_bytes),
            })
        });
        Ok(Box::new(LegMedia {
            terms,
            content_by_payload_type,
            decoders,
            playout,
            ciphers,
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

    /// Neither of its streams spends more effort on encoding than this, 0 to 10.
    pub(crate) fn limit_complexity(&mut self, max: u8) {
        for stream in self.stream.iter_mut().chain(&mut self.seat) {
            stream.limit_complexity(max);
        }
    }

    /// Whether the remote has agreed to send its digits as events.
    pub(crate) fn hears_events(&self) -> bool {
        !self.terms.telephone_events.is_empty()
    }

    /// The payload type under which the remote wants its digits beside a codec of that clock; none: as tones.
    pub(crate) fn events_sent_as(&self, clock_hz: u32) -> Option<u8> {
        let mut events = self.terms.telephone_events.iter();
        let event = events.find(|event| event.clock_hz == clock_hz)?;
        Some(event.send_as)
    }

    /// The payload type under which the remote wants descriptions of silence beside a codec of that clock.
    pub(crate) fn comfort_noise_sent_as(&self, clock_hz: u32) -> Option<u8> {
        let companion = self
            .terms
            .comfort_noise
            .iter()
            .find(|companion| companion.clock_hz == clock_hz);
        companion.map(|companion| companion.send_as)
    }

    /// What a packet of this payload type carries; `None` where it was not agreed.
    pub(crate) fn content_of(&self, payload_type: u8) -> Option<Content> {
        self.content_by_payload_type[usize::from(payload_type & 0x7f)]
    }

    /// Takes over from the media that this one replaces what is on its way to the mix, and what is known of the
    /// network, and the decoders of codecs that stay; the streams where we go on sending in the same shape.
    /// Returns whether the streams went on.
    pub(crate) fn continue_from(&mut self, before: &mut LegMedia) -> bool {
        let mut index_now = [None; FORMATS_MAX];
        for (former, index_now) in before.terms.formats.iter().zip(&mut index_now) {
            let same = |format: &Format| format.encoding.codec == former.encoding.codec;
            *index_now = self.terms.formats.iter().position(same);
        }
        self.ciphers = match (self.ciphers.take(), before.ciphers.take(), &self.terms.srtp) {
            (Some(_), Some(mut ciphers), Some(terms)) => {
                ciphers.rekey(before.terms.srtp.as_ref(), terms);
                Some(ciphers)
            }
            (new, ..) => new,
        };
        for (decoder, index_now) in before.decoders.iter_mut().zip(index_now) {
            if let Some(now) = index_now.and_then(|index| self.decoders.get_mut(index)) {
                std::mem::swap(decoder, now);
            }
        }
        let format_now = |former: u8| {
            let index = index_now.get(usize::from(former)).copied().flatten()?;
            u8::try_from(index).ok()
        };
        before.playout.refit(&mut self.playout, format_now);
        std::mem::swap(&mut self.playout, &mut before.playout);
        let shape = |media: &LegMedia| media.sent_format().map(|format| format.encoding.shape());
        let same_sent = shape(self).is_some() && shape(self) == shape(before);
        if same_sent {
            std::mem::swap(&mut self.stream, &mut before.stream);
            std::mem::swap(&mut self.seat, &mut before.seat);
        }
        same_sent
    }
}
