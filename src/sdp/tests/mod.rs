//! What the tests of this module share: sample offers (the fuzz corpus), our side, and short forms.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::codec::ilbc::Mode;
use crate::codec::{Codec, Encoding};
use crate::frame::Rate;
use crate::srtp::{MasterKey, Suite};

/// A file of the fuzz corpus.
macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fuzz/corpus/sdp/", $name, ".sdp"))
    };
}

fn local() -> LocalMedia {
    LocalMedia {
        address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
        rtp_port: 10_000,
        session_id: 77,
        session_version: 3,
        codecs: Codecs::supported(),
        order: Order::OffererFirst,
        ptime_ms: 20,
        opus_bitrate: None,
        opus_complexity: 5,
        keys: SUITES.map(|suite| key(suite, OUR_KEY_BYTE)).to_vec(),
        srtp_offer: SrtpOffer::Off,
    }
}

const OUR_KEY_BYTE: u8 = 0x5a;

fn key(suite: Suite, byte: u8) -> MasterKey {
    MasterKey::new(suite, &vec![byte; suite.master_bytes()]).expect("of the right length")
}

fn encoding(codec: Codec, ptime_ms: u8, bitrate: u32) -> Encoding {
    let complexity = if matches!(codec, Codec::Opus(_)) { 5 } else { 0 };
    Encoding {
        codec,
        ptime_ms,
        bitrate,
        complexity,
        dtx: false,
        loss_percent: 0,
    }
}

fn format(payload_type: u8, codec: Codec, ptime_ms: u8, bitrate: u32) -> Format {
    Format {
        payload_type_receive: payload_type,
        payload_type_send: payload_type,
        encoding: encoding(codec, ptime_ms, bitrate),
        fec_bitrate_max: None,
    }
}

/// With those of `dtx` and `fec` (or `fec=` the most bits per second for it) that `flags` names.
fn with_flags(mut format: Format, flags: &str) -> Format {
    format.encoding.dtx = flags.contains("dtx");
    format.fec_bitrate_max = flags.split(' ').find_map(|flag| match flag.split_once('=') {
        Some(("fec", bitrate)) => bitrate.parse().ok(),
        _ => (flag == "fec").then_some(510_000),
    });
    format
}

/// A one-line SDP offer of PCMU with `lines` below its m-line.
fn pcmu_with(lines: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n{lines}"
    )
}

fn agreed(offer: &str) -> Agreed {
    answer(offer, &local()).expect("the offer can be answered").1
}

const OPUS_48K: Codec = Codec::Opus(Rate::Hz48000);
const OPUS_16K: Codec = Codec::Opus(Rate::Hz16000);
const OPUS_8K: Codec = Codec::Opus(Rate::Hz8000);
const ILBC_20: Codec = Codec::Ilbc(Mode::Ms20);
const ILBC_30: Codec = Codec::Ilbc(Mode::Ms30);
const L16_48K: Codec = Codec::L16(Rate::Hz48000);
const L16_16K: Codec = Codec::L16(Rate::Hz16000);
const L16_8K: Codec = Codec::L16(Rate::Hz8000);

mod agreement;
mod codecs;
mod crypto;
mod offers;
mod peers;
mod refusal;
