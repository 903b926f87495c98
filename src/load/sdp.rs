//! The little SDP that synthetic parties need. It shares nothing with the daemon's, so that each is checked by other
//! eyes than its own.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::codecs::encoding;
use crate::codec::Codec;
use crate::srtp::{MasterKey, Suite};

/// The first dynamic payload type (RFC 3551 §6).
const DYNAMIC_PAYLOAD_TYPE: u8 = 96;

/// Under which we offer telephone events, as most do.
pub const EVENT_PAYLOAD_TYPE: u8 = 101;

/// One codec, and nothing else that could be taken in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub codec: Codec,
    pub ptime_ms: u8,
    /// What its packets will be protected with; `None`: nothing is encrypted.
    pub key: Option<MasterKey>,
    /// It presses keys as telephone events (RFC 4733).
    pub has_keys: bool,
}

/// What an answer says of the audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Where it is wanted.
    pub remote: SocketAddr,
    pub protocol: Protocol,
    /// The first: what we send.
    pub payload_type: u8,
    /// What the answerer protects its packets with.
    pub key: Option<MasterKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Rtp,
    Srtp,
}

impl Protocol {
    /// As it stands in an m-line (RFC 3551, RFC 3711 §12).
    const fn name(self) -> &'static str {
        match self {
            Protocol::Rtp => "RTP/AVP",
            Protocol::Srtp => "RTP/SAVP",
        }
    }
}

/// A key for one party. What synthetic parties say is no secret, so ordinary chance will do.
pub fn key(suite: Suite) -> MasterKey {
    let bytes: Vec<u8> = (0..suite.master_bytes()).map(|_| fastrand::u8(..)).collect();
    MasterKey::new(suite, &bytes).expect("as long as its suite wants it")
}

/// Of the one `a=crypto` line in an offer (RFC 4568 §4.1).
const CRYPTO_TAG: &str = "1";

/// The payload type under which we offer a codec.
pub fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        Codec::G729 => 18,
        Codec::Ilbc(_) | Codec::L16(_) | Codec::Opus(_) => DYNAMIC_PAYLOAD_TYPE,
    }
}

impl Offer {
    /// As text (RFC 3264), for media at one address with RTCP on the same port (RFC 5761).
    pub fn text(&self, local: SocketAddr) -> String {
        let family = if local.is_ipv4() { "IP4" } else { "IP6" };
        let (address, port, payload_type) = (local.ip(), local.port(), payload_type(self.codec));
        let (protocol, events) = (self.protocol().name(), EVENT_PAYLOAD_TYPE);
        let mut sdp = format!(
            "v=0\r\no=- {port} 1 IN {family} {address}\r\ns=mixminus\r\nc=IN {family} {address}\r\nt=0 0\r\n\
             m=audio {port} {protocol} {payload_type}"
        );
        // Writing to a string cannot fail.
        if self.has_keys {
            let _ = write!(sdp, " {events}");
        }
        let _ = write!(
            sdp,
            "\r\na=rtpmap:{payload_type} {}\r\n",
            registered_name(self.codec)
        );
        if let Some(parameters) = self.parameters() {
            let _ = write!(sdp, "a=fmtp:{payload_type} {parameters}\r\n");
        }
        if self.has_keys {
            let clock_hz = self.codec.clock_hz();
            let _ = write!(
                sdp,
                "a=rtpmap:{events} telephone-event/{clock_hz}\r\na=fmtp:{events} 0-15\r\n"
            );
        }
        if let Some(key) = &self.key {
            let (suite, key) = (key.suite().name(), BASE64.encode(key.as_bytes()));
            let _ = write!(sdp, "a=crypto:{CRYPTO_TAG} {suite} inline:{key}\r\n");
        }
        let _ = write!(sdp, "a=ptime:{}\r\na=rtcp-mux\r\na=sendrecv\r\n", self.ptime_ms);
        sdp
    }

    /// What an answer to it must have.
    pub fn protocol(&self) -> Protocol {
        match self.key {
            None => Protocol::Rtp,
            Some(_) => Protocol::Srtp,
        }
    }

    fn parameters(&self) -> Option<String> {
        match self.codec {
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::L16(_) => None,
            // RFC 4856 §2.1.9: absent would mean that silence may come as next to nothing, which is no load.
            Codec::G729 => Some("annexb=no".to_owned()),
            // RFC 3952 §5.
            Codec::Ilbc(mode) => Some(format!("mode={}", mode.ms())),
            Codec::Opus(rate) => {
                let (hz, bitrate) = (rate.hz(), encoding(self.codec, self.ptime_ms).bitrate);
                Some(format!(
                    "maxplaybackrate={hz};sprop-maxcapturerate={hz};maxaveragebitrate={bitrate}"
                ))
            }
        }
    }
}

/// The value of an `rtpmap`.
fn registered_name(codec: Codec) -> String {
    let name = codec.name();
    match codec {
        // RFC 3551 §4.5.2: the clock is 8000 whatever the sound's rate.
        Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::G729 | Codec::Ilbc(_) => format!("{name}/8000"),
        Codec::L16(rate) => format!("{name}/{}", rate.hz()),
        // RFC 7587 §7: the name bears 48000/2 whatever is sent.
        Codec::Opus(_) => format!("{name}/48000/2"),
    }
}

/// Reads an answer; `None` where it takes no audio.
pub fn answer(sdp: &str) -> Option<Answer> {
    let mut address: Option<IpAddr> = None;
    let mut audio: Option<(u16, Protocol, u8)> = None;
    let mut key = None;
    for line in sdp.lines() {
        if let Some(connection) = line.strip_prefix("c=") {
            // The first is the session's or the audio's; another of the audio's own comes after its m-line.
            if address.is_none() || audio.is_some() {
                address = connection.split_whitespace().nth(2)?.parse().ok();
            }
        } else if let Some(media) = line.strip_prefix("m=") {
            if audio.is_some() {
                break;
            }
            let mut words = media.split_whitespace();
            if words.next() == Some("audio") {
                let port = words.next()?.parse().ok()?;
                let protocol = words.next()?;
                let protocol = [Protocol::Rtp, Protocol::Srtp]
                    .into_iter()
                    .find(|known| known.name() == protocol)?;
                audio = Some((port, protocol, words.next()?.parse().ok()?));
            }
        } else if let Some(crypto) = line.strip_prefix("a=crypto:") {
            key = crypto_key(crypto);
        }
    }
    let (port, protocol, payload_type) = audio.filter(|(port, ..)| *port != 0)?;
    Some(Answer {
        remote: SocketAddr::new(address?, port),
        protocol,
        payload_type,
        key,
    })
}

/// The key of a `a=crypto` line that answers ours (RFC 4568 §9.1).
fn crypto_key(line: &str) -> Option<MasterKey> {
    let mut words = line.split_whitespace();
    if words.next()? != CRYPTO_TAG {
        return None;
    }
    let suite = Suite::from_name(words.next()?)?;
    // Lifetime and MKI may follow; we offer neither.
    let key = words.next()?.strip_prefix("inline:")?.split('|').next()?;
    MasterKey::new(suite, &BASE64.decode(key).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::ilbc::Mode;
    use crate::frame::Rate;

    fn offer(codec: Codec) -> Offer {
        Offer {
            codec,
            ptime_ms: 20,
            key: None,
            has_keys: false,
        }
    }

    fn plain(remote: &str, payload_type: u8) -> Option<Answer> {
        Some(Answer {
            remote: remote.parse().expect("an address"),
            protocol: Protocol::Rtp,
            payload_type,
            key: None,
        })
    }

    #[test]
    fn an_answer_says_where_the_audio_goes() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
                   m=audio 10002 RTP/AVP 96 101\r\na=rtpmap:96 opus/48000/2\r\nm=video 0 RTP/AVP 31\r\nc=IN IP4 10.9.9.9\r\n";
        assert_eq!(answer(sdp), plain("10.0.0.1:10002", 96));
        let own = "v=0\nc=IN IP4 10.0.0.1\nm=audio 10004 RTP/AVP 0\nc=IN IP6 ::1\n";
        assert_eq!(answer(own), plain("[::1]:10004", 0));
    }

    #[test]
    fn an_answer_without_audio_is_none() {
        for sdp in [
            "",
            "v=0\nc=IN IP4 10.0.0.1\n",
            "c=IN IP4 10.0.0.1\nm=audio 0 RTP/AVP 0\n",
            "m=audio 9 RTP/AVP 0\n",
            "c=IN IP4 10.0.0.1\nm=audio 9 RTP/SAVPF 0\n",
        ] {
            assert_eq!(answer(sdp), None, "{sdp:?}");
        }
    }

    #[test]
    fn every_offer_names_its_codec_as_registered() {
        let local = "127.0.0.1:4000";
        for (codec, lines) in [
            (Codec::Pcmu, "a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"),
            (Codec::Pcma, "a=rtpmap:8 PCMA/8000\r\na=ptime"),
            (Codec::G722, "a=rtpmap:9 G722/8000\r\na=ptime"),
            (Codec::G729, "a=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n"),
            (
                Codec::Ilbc(Mode::Ms30),
                "a=rtpmap:96 iLBC/8000\r\na=fmtp:96 mode=30\r\n",
            ),
            (
                Codec::Ilbc(Mode::Ms20),
                "a=rtpmap:96 iLBC/8000\r\na=fmtp:96 mode=20\r\n",
            ),
            (
                Codec::L16(Rate::Hz16000),
                "a=rtpmap:96 L16/16000\r\na=ptime:20\r\n",
            ),
            (
                Codec::Opus(Rate::Hz16000),
                "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 maxplaybackrate=16000;",
            ),
        ] {
            let sdp = offer(codec).text(local.parse().expect("an address"));
            assert!(sdp.contains(lines), "{sdp}");
            assert_eq!(answer(&sdp), plain(local, payload_type(codec)));
        }
        let sdp = offer(Codec::Pcmu).text("[::1]:4000".parse().expect("an address"));
        assert!(sdp.contains("c=IN IP6 ::1\r\n"));
    }

    #[test]
    fn an_encrypted_offer_with_keys_says_so_and_what_it_says_is_read() {
        for suite in Suite::ALL {
            let key = MasterKey::new(suite, &vec![7; suite.master_bytes()]).expect("of its length");
            let encrypted = Offer {
                key: Some(key.clone()),
                has_keys: true,
                ..offer(Codec::Opus(Rate::Hz48000))
            };
            let sdp = encrypted.text("10.0.0.1:4000".parse().expect("an address"));
            assert!(sdp.contains("m=audio 4000 RTP/SAVP 96 101\r\n"), "{sdp}");
            assert!(
                sdp.contains("a=rtpmap:101 telephone-event/48000\r\na=fmtp:101 0-15\r\n"),
                "{sdp}"
            );
            let read = answer(&sdp).expect("it takes audio");
            assert_eq!((read.protocol, read.key), (Protocol::Srtp, Some(key)), "{sdp}");
        }
        let with = |crypto: &str| {
            let sdp = format!("c=IN IP4 10.0.0.1\nm=audio 9 RTP/SAVP 0\na=crypto:{crypto}\n");
            answer(&sdp).and_then(|answer| answer.key)
        };
        let key = BASE64.encode([7; 30]);
        assert!(
            with(&format!(
                "1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^31 UNENCRYPTED_SRTCP"
            ))
            .is_some()
        );
        for bad in [
            format!("2 AES_CM_128_HMAC_SHA1_80 inline:{key}"),
            format!("1 AEAD_AES_128_GCM inline:{key}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 {key}"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:***".to_owned(),
            "1".to_owned(),
        ] {
            assert_eq!(with(&bad), None, "{bad}");
        }
    }
}
