//! The little SDP that synthetic parties need. It shares nothing with the daemon's, so that each is checked by other
//! eyes than its own.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::codecs::encoding;
use crate::codec::Codec;

/// The first dynamic payload type (RFC 3551 §6).
const DYNAMIC_PAYLOAD_TYPE: u8 = 96;

/// One codec, and nothing else that could be taken in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub codec: Codec,
    pub ptime_ms: u8,
}

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
        let mut sdp = format!(
            "v=0\r\no=- {port} 1 IN {family} {address}\r\ns=mixminus\r\nc=IN {family} {address}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {payload_type}\r\na=rtpmap:{payload_type} {}\r\n",
            registered_name(self.codec)
        );
        if let Some(parameters) = self.parameters() {
            // Writing to a string cannot fail.
            let _ = write!(sdp, "a=fmtp:{payload_type} {parameters}\r\n");
        }
        let _ = write!(sdp, "a=ptime:{}\r\na=rtcp-mux\r\na=sendrecv\r\n", self.ptime_ms);
        sdp
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

/// Where an answer wants its audio, and as which payload type first; `None` where it takes none.
pub fn answer(sdp: &str) -> Option<(SocketAddr, u8)> {
    let mut address: Option<IpAddr> = None;
    let mut audio: Option<(u16, u8)> = None;
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
                audio = Some((port, words.nth(1)?.parse().ok()?));
            }
        }
    }
    let (port, payload_type) = audio.filter(|(port, _)| *port != 0)?;
    Some((SocketAddr::new(address?, port), payload_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::ilbc::Mode;
    use crate::frame::Rate;

    fn offer(codec: Codec, local: &str) -> String {
        Offer { codec, ptime_ms: 20 }.text(local.parse().expect("an address"))
    }

    #[test]
    fn an_answer_says_where_the_audio_goes() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
                   m=audio 10002 RTP/AVP 96 101\r\na=rtpmap:96 opus/48000/2\r\nm=video 0 RTP/AVP 31\r\nc=IN IP4 10.9.9.9\r\n";
        assert_eq!(
            answer(sdp),
            Some(("10.0.0.1:10002".parse().expect("an address"), 96))
        );
        let own = "v=0\nc=IN IP4 10.0.0.1\nm=audio 10004 RTP/AVP 0\nc=IN IP6 ::1\n";
        assert_eq!(answer(own), Some(("[::1]:10004".parse().expect("an address"), 0)));
    }

    #[test]
    fn an_answer_without_audio_is_none() {
        for sdp in [
            "",
            "v=0\nc=IN IP4 10.0.0.1\n",
            "c=IN IP4 10.0.0.1\nm=audio 0 RTP/AVP 0\n",
            "m=audio 9 RTP/AVP 0\n",
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
            let sdp = offer(codec, local);
            assert!(sdp.contains(lines), "{sdp}");
            let here = local.parse().expect("an address");
            assert_eq!(answer(&sdp), Some((here, payload_type(codec))));
        }
        assert!(offer(Codec::Pcmu, "[::1]:4000").contains("c=IN IP6 ::1\r\n"));
    }
}
