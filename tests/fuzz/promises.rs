//! What each fuzz target does with its bytes: it calls the parser and checks what must hold of any outcome.
//!
//! Both the fuzzer and `cargo test` (`tests/suite/fuzz_corpus.rs`) run these functions; a broken promise is a panic.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mixminus::codec::comfort_noise::{self, ComfortNoise};
use mixminus::codec::ilbc::Mode;
use mixminus::codec::{Codec, Decoder, PAYLOAD_MS_MAX, PAYLOAD_SAMPLES_MAX};
use mixminus::dtmf::{BadEvent, EVENT_BYTES, EventPacket, EventPayload, EventReceiver, Refused};
use mixminus::frame::Rate;
use mixminus::sdp::{self, Agreed, Codecs, FORMATS_MAX, LocalMedia, Order, SdpError, Session, SrtpOffer};
use mixminus::srtp::{MasterKey, RTCP_OVERHEAD_MAX, Receiver, Sender, Suite};
use mixminus::time::Time;

mod destination;
mod journal;
mod network;
mod reports;

pub use destination::destination;
pub use journal::journal;
pub use network::{header_extension, playout, rtcp, rtp};
pub use reports::reports;

/// Of each suite the front of it.
const OUR_KEY: &[u8] = b"the key of the fuzz targets, which is no secret";

/// A session description: as an offer to answer and as the answer to an offer of ours.
pub fn sdp(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let local = local_media(SrtpOffer::Off);
    let mut said = String::new();

    match sdp::answer(text, &local) {
        Ok((answer, agreed)) => {
            check_agreement(&agreed);
            let offered = Session::parse(text).expect("an answered offer is well formed");
            let answered = Session::parse(&answer).expect("our own answer is well formed");
            assert_eq!(
                offered.media.len(),
                answered.media.len(),
                "an answer has as many m-lines as its offer"
            );
            assert_eq!(
                answered.media.iter().filter(|media| media.port != 0).count(),
                1,
                "one m-line is used"
            );
            assert_eq!(sdp::offered_family(text), Some(agreed.remote_family));
            let lines = answer.matches("\r\na=crypto:").count();
            assert_eq!(lines, usize::from(agreed.srtp.is_some()), "one key is answered");
            said += &format!("{agreed:?}");
        }
        Err(error) => {
            check_refusal(&error);
            said += &format!("{error:?} {error}");
        }
    }
    for srtp_offer in [SrtpOffer::Off, SrtpOffer::Sdes] {
        match sdp::accept(&local_media(srtp_offer), text) {
            Ok(agreed) => {
                check_agreement(&agreed);
                assert_eq!(agreed.srtp.is_some(), srtp_offer == SrtpOffer::Sdes);
                said += &format!("{agreed:?}");
            }
            Err(error) => {
                check_refusal(&error);
                said += &format!("{error:?} {error}");
            }
        }
    }
    check_secrecy(text, &said);
}

/// No key that stands in the text once, and in its place, is in what is said or printed.
fn check_secrecy(text: &str, said: &str) {
    const STRETCH_BYTES: usize = 16;
    let is_key = |stretch: &&str| {
        stretch.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && stretch.bytes().any(|byte| byte.is_ascii_lowercase())
            && stretch.bytes().any(|byte| byte.is_ascii_uppercase())
            && text.matches(stretch).count() == 1
    };
    for (at, inline) in text.match_indices("inline:") {
        let stretch = text[at + inline.len()..].get(..STRETCH_BYTES);
        if let Some(key) = stretch.filter(is_key) {
            assert!(!said.contains(key), "{key:?} in {said:?}");
        }
    }
}

fn local_media(srtp_offer: SrtpOffer) -> LocalMedia {
    LocalMedia {
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        rtp_port: 10_000,
        session_id: 1,
        session_version: 1,
        codecs: Codecs::supported(),
        order: Order::OffererFirst,
        ptime_ms: 20,
        opus_bitrate: None,
        opus_complexity: 5,
        keys: sdp::SUITES
            .map(|suite| {
                MasterKey::new(suite, &OUR_KEY[..suite.master_bytes()]).expect("of the right length")
            })
            .to_vec(),
        srtp_offer,
    }
}

fn check_agreement(agreed: &Agreed) {
    assert!((1..=FORMATS_MAX).contains(&agreed.formats.len()));
    assert!(agreed.comfort_noise.len() <= 3 && agreed.telephone_events.len() <= 3);
    for companion in agreed.comfort_noise.iter().chain(&agreed.telephone_events) {
        assert!(companion.payload_type_receive <= 127 && companion.payload_type_send <= 127);
        let mut clocks = agreed
            .formats
            .iter()
            .map(|format| format.encoding.codec.clock_hz());
        assert!(
            clocks.any(|clock_hz| clock_hz == companion.clock_hz),
            "nothing goes alone"
        );
    }
    for format in &agreed.formats {
        let encoding = format.encoding;
        assert!(format.payload_type_receive <= 127 && format.payload_type_send <= 127);
        assert!((10..=60).contains(&encoding.ptime_ms) && encoding.ptime_ms.is_multiple_of(10));
        assert!(encoding.bitrate == 0 || (6_000..=510_000).contains(&encoding.bitrate));
    }
    assert!(
        agreed
            .remote
            .is_none_or(|remote| remote.port() != 0 && !remote.ip().is_unspecified())
    );
    assert!(
        agreed.remote.is_some() || !agreed.direction.sends(),
        "nothing is sent to nowhere"
    );
    agreed
        .negotiation
        .iter()
        .for_each(|sentence| check_sentence(sentence));
}

fn check_refusal(error: &SdpError) {
    check_sentence(&error.to_string());
}

/// Whatever was in the text, what we say about it is short and printable.
fn check_sentence(sentence: &str) {
    assert!(
        !sentence.is_empty() && sentence.len() < 600,
        "{} bytes",
        sentence.len()
    );
    assert!(!sentence.contains(char::is_control), "{sentence:?}");
}

/// Telephone-event packets, one after the other: a byte that chooses the clock, and for each packet how many
/// milliseconds later it comes, its marker (top bit) and SSRC, sequence number, timestamp, and up to 7 bytes of
/// payload after their number.
pub fn telephone_event(bytes: &[u8]) {
    let Some((clock, mut rest)) = bytes.split_first() else {
        return;
    };
    let clock_hz = [8_000, 16_000, 48_000, 0, u32::MAX][usize::from(*clock) % 5];
    let mut receiver = EventReceiver::new();
    let (mut at_ms, mut digits) = (0, 0);
    while let [wait_ms, source, s1, s0, t3, t2, t1, t0, len, ref more @ ..] = *rest {
        let payload = &more[..usize::from(len & 7).min(more.len())];
        rest = &more[payload.len()..];
        at_ms += u64::from(wait_ms);
        let now = Time::from_millis(at_ms);
        let packet = EventPacket {
            ssrc: u32::from(source & 0x7F),
            sequence: u16::from_be_bytes([s1, s0]),
            timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
            marker: source & 0x80 != 0,
            payload,
        };
        match receiver.receive(now, &packet, clock_hz) {
            Ok(digit) => {
                let event = EventPayload::parse(payload).expect("what was received can be parsed");
                assert_eq!(event.write()[..1], payload[..1]);
                assert!(digit.is_none_or(|digit| digit.event() == event.event));
                digits += u64::from(digit.is_some());
                assert!(digit.is_none() || receiver.is_pressed(now, Duration::from_millis(40)));
            }
            Err(Refused::Malformed(BadEvent(len))) => {
                assert!(len == payload.len() && (len == 0 || !len.is_multiple_of(EVENT_BYTES)));
                continue;
            }
            Err(Refused::NotADigit(event)) => {
                assert!(event >= 16 && event == payload[0]);
                continue;
            }
            Err(Refused::Flood) => {}
        }
        assert_eq!(
            receiver.receive(now, &packet, clock_hz),
            Ok(None),
            "the same again says nothing"
        );
        assert!(
            digits <= 21 + at_ms / 50,
            "no more than a second's burst, and one each 50 ms"
        );
    }
}

const CODECS: [Codec; 12] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::G729,
    Codec::Ilbc(Mode::Ms20),
    Codec::Ilbc(Mode::Ms30),
    Codec::L16(Rate::Hz8000),
    Codec::L16(Rate::Hz16000),
    Codec::L16(Rate::Hz48000),
    Codec::Opus(Rate::Hz8000),
    Codec::Opus(Rate::Hz16000),
    Codec::Opus(Rate::Hz48000),
];

/// A series of payloads into one decoder, with losses and pauses between them. The first byte names the codec. Of
/// those that follow, one below 224 is the length of a payload, which comes next; the others are three bits that say
/// what happens in its place, and two how long it takes.
pub fn decoders(bytes: &[u8]) {
    const UNTOUCHED: f32 = 7.0;
    let Some((first, mut rest)) = bytes.split_first() else {
        return;
    };
    let codec = CODECS[usize::from(*first) % CODECS.len()];
    let Ok(mut decoder) = Decoder::new(codec) else {
        return;
    };
    let mut pcm = vec![UNTOUCHED; PAYLOAD_SAMPLES_MAX];
    while let Some((command, after)) = rest.split_first() {
        rest = after;
        if *command < 224 {
            let (payload, after) = rest.split_at(rest.len().min(usize::from(*command)));
            rest = after;
            decode(&mut decoder, payload, &mut pcm);
            continue;
        }
        let steps = 1 + usize::from(command & 3) * 2;
        let samples = (steps * decoder.conceal_step()).min(PAYLOAD_MS_MAX * codec.rate().samples_per_ms());
        pcm[..samples].fill(UNTOUCHED);
        let filled = match command >> 2 & 7 {
            0 | 1 => decoder.conceal(&mut pcm[..samples]),
            2 | 3 => decoder.pause(&mut pcm[..samples]),
            4 => {
                let next = &rest[..rest.len().min(60)];
                decoder.recover(next, &mut pcm[..samples])
            }
            5 => {
                decoder.set_unheard(true);
                continue;
            }
            6 => {
                decoder.set_unheard(false);
                continue;
            }
            _ => {
                decoder.reset();
                continue;
            }
        };
        if filled {
            check_sound(&pcm[..samples]);
        } else {
            assert!(
                pcm[..samples].iter().all(|sample| *sample == UNTOUCHED),
                "what is not filled is left alone"
            );
        }
    }
}

fn decode(decoder: &mut Decoder, payload: &[u8], pcm: &mut [f32]) {
    let told = decoder.samples(payload);
    let pauses = decoder.pauses(payload);
    match decoder.decode(payload, pcm) {
        Ok(samples) => {
            assert_eq!(told, Ok(samples), "a payload holds what it was said to hold");
            assert!((1..=PAYLOAD_MS_MAX * decoder.codec().rate().samples_per_ms()).contains(&samples));
            check_sound(&pcm[..samples]);
        }
        Err(error) => assert!(told.is_ok() || told == Err(error), "one reason"),
    }
    assert_eq!(pauses, decoder.pauses(payload), "a payload pauses by itself");
}

fn check_sound(pcm: &[f32]) {
    assert!(pcm.iter().all(|sample| sample.abs() <= 2.0), "sound is bounded");
}

/// Descriptions of noise, each as long as the byte before it says, and the noise after each.
pub fn comfort_noise(bytes: &[u8]) {
    let Some((first, mut rest)) = bytes.split_first() else {
        return;
    };
    let rate = Rate::ALL[usize::from(*first) % Rate::ALL.len()];
    let mut noise = ComfortNoise::new(rate, u32::from(*first));
    let mut pcm = vec![0.0; 2 * rate.samples_per_tick()];
    while let Some((length, after)) = rest.split_first() {
        let (payload, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        assert_eq!(noise.set(payload).is_err(), payload.is_empty());
        let samples = usize::from(*length) * 7 % pcm.len();
        noise.fill(&mut pcm[..samples]);
        check_sound(&pcm[..samples]);
        let mut again = [0];
        assert_eq!(comfort_noise::describe(-f32::from(*length), &mut again), 1);
        assert_eq!(again[0], (*length).min(comfort_noise::LEVEL_SILENT));
    }
}

/// A datagram for a port with SRTP; the first byte selects the suite and the length of the MKI.
pub fn srtp(bytes: &[u8]) {
    let Some((suite, mki_bytes, datagram)) = protected_datagram(bytes) else {
        return;
    };
    let mut receiver = Receiver::new(&master_key(suite, 1), mki_bytes);
    let heard = receiver.unprotect(&mut datagram.to_vec());
    assert!(heard.is_err(), "nobody has this key: {heard:?}");
    receiver.rekey(&master_key(suite, 2), 0);
    let heard = receiver.unprotect(&mut datagram.to_vec());
    assert!(heard.is_err(), "nor this one: {heard:?}");

    let mut sender = Sender::new(&master_key(suite, 3));
    let mut packet = with_room(datagram);
    if let Ok(len) = sender.protect(&mut packet, datagram.len()) {
        let mut receiver = Receiver::new(&master_key(suite, 3), 0);
        let mut forged = one_bit_changed(&packet[..len], bytes);
        assert!(receiver.unprotect(&mut forged).is_err());
        assert_eq!(receiver.unprotect(&mut packet[..len]), Ok(datagram.len()));
        assert_eq!(packet[..datagram.len()], *datagram);
    }
}

/// The same for SRTCP.
pub fn srtcp(bytes: &[u8]) {
    let Some((suite, mki_bytes, datagram)) = protected_datagram(bytes) else {
        return;
    };
    let mut receiver = Receiver::new(&master_key(suite, 1), mki_bytes);
    let heard = receiver.unprotect_rtcp(&mut datagram.to_vec());
    assert!(heard.is_err(), "nobody has this key: {heard:?}");
    receiver.rekey(&master_key(suite, 2), 0);
    let heard = receiver.unprotect_rtcp(&mut datagram.to_vec());
    assert!(heard.is_err(), "nor this one: {heard:?}");

    let mut sender = Sender::new(&master_key(suite, 3));
    let mut packet = with_room(datagram);
    if let Ok(len) = sender.protect_rtcp(&mut packet, datagram.len()) {
        let mut receiver = Receiver::new(&master_key(suite, 3), 0);
        let mut forged = one_bit_changed(&packet[..len], bytes);
        assert!(receiver.unprotect_rtcp(&mut forged).is_err());
        assert_eq!(receiver.unprotect_rtcp(&mut packet[..len]), Ok(datagram.len()));
        assert_eq!(packet[..datagram.len()], *datagram);
    }
}

fn protected_datagram(bytes: &[u8]) -> Option<(Suite, u8, &[u8])> {
    let (&selected, datagram) = bytes.split_first()?;
    let suites = Suite::ALL.len() as u8;
    Some((
        Suite::ALL[usize::from(selected % suites)],
        selected / suites,
        datagram,
    ))
}

fn master_key(suite: Suite, byte: u8) -> MasterKey {
    MasterKey::new(suite, &vec![byte; suite.master_bytes()]).expect("as long as it must be")
}

fn with_room(packet: &[u8]) -> Vec<u8> {
    [packet, &[0; RTCP_OVERHEAD_MAX]].concat()
}

/// Which one, the input says.
fn one_bit_changed(packet: &[u8], input: &[u8]) -> Vec<u8> {
    let sum: usize = input.iter().map(|&byte| usize::from(byte) + 1).sum();
    let bit = sum % (8 * packet.len());
    let mut changed = packet.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    changed
}
