//! Why a datagram was not heard: every reason has a name and a counter.

/// Reasons in the order of the path: parse, demultiplex, source, playout, send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    TooShort,
    TooLong,
    WrongVersion,
    BadCsrc,
    BadExtension,
    BadPadding,
    /// No SDP has been agreed on yet.
    NothingAgreed,
    /// The leg's direction says that nothing should come.
    NotReceiving,
    UnknownPayloadType,
    /// From an address that is neither the signalled one nor latched.
    UnknownSource,
    /// From a new address that has not yet shown enough of a stream to be latched.
    Probation,
    /// More packets in a second than any sound makes.
    TooFast,
    /// Of our own making: what we send comes back to us (RFC 3550 §8.2).
    Looped,
    Duplicate,
    Late,
    /// The playout buffer was full.
    Overflow,
    /// The payload is longer than any of the leg's codecs makes.
    PayloadTooLarge,
    /// The codec refused the payload.
    Undecodable,
    /// Of a stream that was left for another, or a stray that no other packet followed.
    Abandoned,
    /// RTCP that is not a valid compound packet.
    BadRtcp,
    /// SRTP that is not of its form, or plain RTP on an encrypted leg.
    BadSrtp,
    /// Its authentication tag is not that of the leg's key.
    BadTag,
    /// An authentic packet that came before, or is older than the replay window.
    Replayed,
    /// The key has protected all the packets it may.
    KeyExhausted,
    /// A telephone event that is not of its form, or of an event that is no digit.
    BadEvent,
    /// More digits in a second than anybody presses.
    EventFlood,
    /// A packet of ours that found the tick's outbox full.
    OutboxFull,
}

impl Dropped {
    pub const ALL: [Dropped; 27] = [
        Dropped::TooShort,
        Dropped::TooLong,
        Dropped::WrongVersion,
        Dropped::BadCsrc,
        Dropped::BadExtension,
        Dropped::BadPadding,
        Dropped::NothingAgreed,
        Dropped::NotReceiving,
        Dropped::UnknownPayloadType,
        Dropped::UnknownSource,
        Dropped::Probation,
        Dropped::TooFast,
        Dropped::Looped,
        Dropped::Duplicate,
        Dropped::Late,
        Dropped::Overflow,
        Dropped::PayloadTooLarge,
        Dropped::Undecodable,
        Dropped::Abandoned,
        Dropped::BadRtcp,
        Dropped::BadSrtp,
        Dropped::BadTag,
        Dropped::Replayed,
        Dropped::KeyExhausted,
        Dropped::BadEvent,
        Dropped::EventFlood,
        Dropped::OutboxFull,
    ];

    pub const COUNT: usize = Dropped::ALL.len();

    /// Whether it is said of RTP on its way in.
    pub const fn is_inbound(self) -> bool {
        !matches!(self, Dropped::BadRtcp | Dropped::OutboxFull)
    }

    /// The counter's label.
    pub const fn name(self) -> &'static str {
        match self {
            Dropped::TooShort => "too_short",
            Dropped::TooLong => "too_long",
            Dropped::WrongVersion => "wrong_version",
            Dropped::BadCsrc => "bad_csrc",
            Dropped::BadExtension => "bad_extension",
            Dropped::BadPadding => "bad_padding",
            Dropped::NothingAgreed => "nothing_agreed",
            Dropped::NotReceiving => "not_receiving",
            Dropped::UnknownPayloadType => "unknown_payload_type",
            Dropped::UnknownSource => "unknown_source",
            Dropped::Probation => "probation",
            Dropped::TooFast => "too_fast",
            Dropped::Looped => "looped",
            Dropped::Duplicate => "duplicate",
            Dropped::Late => "late",
            Dropped::Overflow => "overflow",
            Dropped::PayloadTooLarge => "payload_too_large",
            Dropped::Undecodable => "undecodable",
            Dropped::Abandoned => "abandoned",
            Dropped::BadRtcp => "bad_rtcp",
            Dropped::BadSrtp => "bad_srtp",
            Dropped::BadTag => "bad_tag",
            Dropped::Replayed => "replayed",
            Dropped::KeyExhausted => "key_exhausted",
            Dropped::BadEvent => "bad_event",
            Dropped::EventFlood => "event_flood",
            Dropped::OutboxFull => "outbox_full",
        }
    }
}

// The order of ALL is the order of the counters.
const _: () = {
    let mut index = 0;
    while index < Dropped::COUNT {
        assert!(Dropped::ALL[index] as usize == index);
        index += 1;
    }
};
