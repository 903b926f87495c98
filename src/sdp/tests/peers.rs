//! Offers as the peers write them, what becomes of each, and what becomes of them when they are damaged.

use super::*;

struct Expected {
    name: &'static str,
    offer: &'static str,
    formats: &'static [(u8, Codec, u8, u32)],
    remote: Option<&'static str>,
    remote_rtcp: Option<&'static str>,
    rtcp_mux: bool,
    direction: Direction,
    /// From the first m-line on.
    answer: &'static str,
}

const OFFERS: &[Expected] = &[
    Expected {
        name: "FreeSWITCH: Opus with a bit rate, separate RTCP",
        offer: sample!("freeswitch"),
        formats: &[
            (102, OPUS_48K, 20, 30_000),
            (0, Codec::Pcmu, 20, 0),
            (8, Codec::Pcma, 20, 0),
        ],
        remote: Some("192.0.2.10:22130"),
        remote_rtcp: Some("192.0.2.10:22131"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 102 0 8
a=rtpmap:102 opus/48000/2
a=fmtp:102 maxplaybackrate=48000;sprop-maxcapturerate=48000;stereo=0
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "Asterisk: codecs we lack are left out, RTCP goes to the next port",
        offer: sample!("asterisk"),
        formats: &[(0, Codec::Pcmu, 20, 0), (8, Codec::Pcma, 20, 0)],
        remote: Some("198.51.100.7:14702"),
        remote_rtcp: Some("198.51.100.7:14703"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 0 8
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "ffmpeg: no ptime, no direction",
        offer: sample!("ffmpeg"),
        formats: &[(97, OPUS_48K, 20, 32_000)],
        remote: Some("127.0.0.1:5004"),
        remote_rtcp: Some("127.0.0.1:5005"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 97
a=rtpmap:97 opus/48000/2
a=fmtp:97 maxplaybackrate=48000;sprop-maxcapturerate=48000;stereo=0
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "Linphone: AVPF, wideband Opus, rtcp-mux, a media-level address, video refused unread",
        offer: sample!("linphone"),
        formats: &[
            (96, OPUS_16K, 20, 20_000),
            (0, Codec::Pcmu, 20, 0),
            (8, Codec::Pcma, 20, 0),
        ],
        remote: Some("203.0.113.21:7078"),
        remote_rtcp: Some("203.0.113.21:7078"),
        rtcp_mux: true,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVPF 96 0 8
a=rtpmap:96 opus/48000/2
a=fmtp:96 maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=ptime:20
a=rtcp-mux
a=sendrecv
m=video 0 RTP/AVPF 96 97
",
    },
    Expected {
        name: "baresip: IPv6, linear audio, stereo left out, 40 ms",
        offer: sample!("baresip"),
        formats: &[(96, L16_16K, 40, 0), (98, L16_8K, 40, 0), (0, Codec::Pcmu, 40, 0)],
        remote: Some("[2001:db8::25]:10100"),
        remote_rtcp: Some("[2001:db8::25]:10100"),
        rtcp_mux: true,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 96 98 0
a=rtpmap:96 L16/16000
a=rtpmap:98 L16/8000
a=rtpmap:0 PCMU/8000
a=ptime:40
a=rtcp-mux
a=sendrecv
m=video 0 RTP/AVP 99
",
    },
    Expected {
        name: "Cisco gateway: 30 ms, a fax m-line already refused",
        offer: sample!("cisco"),
        formats: &[(8, Codec::Pcma, 30, 0), (0, Codec::Pcmu, 30, 0)],
        remote: Some("192.0.2.77:17540"),
        remote_rtcp: Some("192.0.2.77:17541"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 8 0
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=ptime:30
a=sendrecv
m=image 0 udptl t38
",
    },
    Expected {
        name: "an SBC: the plain one of two audio m-lines, maxptime below ptime",
        offer: sample!("sbc_best_effort_srtp"),
        formats: &[(8, Codec::Pcma, 20, 0), (0, Codec::Pcmu, 20, 0)],
        remote: Some("198.51.100.91:30002"),
        remote_rtcp: Some("198.51.100.91:30003"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 0 RTP/SAVP 8 0
m=audio 10000 RTP/AVP 8 0
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=ptime:20
a=sendrecv
m=application 0 UDP/DTLS/SCTP webrtc-datachannel
",
    },
    Expected {
        name: "hold by a session-level direction",
        offer: sample!("hold_by_direction"),
        formats: &[(0, Codec::Pcmu, 20, 0)],
        remote: Some("192.0.2.33:40000"),
        remote_rtcp: Some("192.0.2.33:40001"),
        rtcp_mux: false,
        direction: Direction::ReceiveOnly,
        answer: "m=audio 10000 RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=ptime:20
a=recvonly
",
    },
    Expected {
        name: "hold by an unspecified address",
        offer: sample!("hold_by_address"),
        formats: &[(0, Codec::Pcmu, 20, 0)],
        remote: None,
        remote_rtcp: None,
        rtcp_mux: false,
        direction: Direction::ReceiveOnly,
        answer: "m=audio 10000 RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=ptime:20
a=recvonly
",
    },
    Expected {
        name: "the least there can be: no origin, no name, no rtpmap",
        offer: sample!("static_only"),
        formats: &[(8, Codec::Pcma, 20, 0)],
        remote: Some("192.0.2.1:40000"),
        remote_rtcp: Some("192.0.2.1:40001"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 8
a=rtpmap:8 PCMA/8000
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "L16 at 48 kHz goes in 10 ms unless asked; a payload type like an RTCP packet forbids rtcp-mux",
        offer: sample!("l16_48k"),
        formats: &[
            (96, L16_48K, 10, 0),
            (8, Codec::Pcma, 20, 0),
            (70, OPUS_8K, 20, 16_000),
        ],
        remote: Some("192.0.2.1:4000"),
        remote_rtcp: Some("192.0.2.1:4001"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 96 8 70
a=rtpmap:96 L16/48000
a=rtpmap:8 PCMA/8000
a=rtpmap:70 opus/48000/2
a=fmtp:70 maxplaybackrate=8000;sprop-maxcapturerate=8000;stereo=0
a=ptime:10
a=sendrecv
",
    },
];

#[test]
fn offers_of_real_peers_are_answered_as_written_here() {
    for expected in OFFERS {
        for text in [expected.offer.to_owned(), expected.offer.replace('\n', "\r\n")] {
            let (answer, agreed) =
                answer(&text, &local()).unwrap_or_else(|e| panic!("{}: {e}", expected.name));
            let formats: Vec<Format> = expected
                .formats
                .iter()
                .map(|(number, codec, ptime, bps)| format(*number, *codec, *ptime, *bps))
                .collect();
            assert_eq!(agreed.formats, formats, "{}", expected.name);
            assert_eq!(
                agreed.remote.map(|a| a.to_string()).as_deref(),
                expected.remote,
                "{}",
                expected.name
            );
            let rtcp = agreed.remote_rtcp.map(|a| a.to_string());
            assert_eq!(rtcp.as_deref(), expected.remote_rtcp, "{}", expected.name);
            assert_eq!(agreed.rtcp_mux, expected.rtcp_mux, "{}", expected.name);
            assert_eq!(agreed.direction, expected.direction, "{}", expected.name);
            let media = answer.find("m=").expect("an answer has m-lines");
            assert_eq!(
                answer[media..].replace("\r\n", "\n"),
                expected.answer,
                "{}",
                expected.name
            );
            assert!(
                answer.lines().count() == answer.matches("\r\n").count(),
                "{}: lines end in CRLF",
                expected.name
            );
            assert!(
                agreed.negotiation.iter().all(|s| s.ends_with('.')),
                "{:?}",
                agreed.negotiation
            );
        }
    }
}

/// Seeded: a failure prints the text that caused it.
#[test]
fn no_mutation_of_a_valid_offer_panics_and_every_refusal_is_a_sentence() {
    let mut random = fastrand::Rng::with_seed(8_866);
    for expected in OFFERS {
        for _ in 0..2_000 {
            let text = mutated(&mut random, expected.offer);
            for outcome in [
                answer(&text, &local()).map(|(_, agreed)| agreed),
                accept(&local(), &text),
            ] {
                match outcome {
                    Ok(agreed) => assert!((1..=FORMATS_MAX).contains(&agreed.formats.len()), "{text}"),
                    Err(error) => assert_sentence(&error.to_string(), &text),
                }
            }
        }
    }
}

fn assert_sentence(sentence: &str, text: &str) {
    assert!(
        sentence.len() < 600 && !sentence.contains(char::is_control),
        "{sentence:?} for {text}"
    );
    assert!(
        sentence.contains("SDP") || sentence.contains("line") || sentence.contains("support"),
        "{sentence:?}"
    );
}

/// One to four edits: a byte changed, a stretch cut out, doubled or put elsewhere.
fn mutated(random: &mut fastrand::Rng, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.usize(1..=4) {
        let start = random.usize(0..bytes.len());
        let end = random.usize(start..=(start + 12).min(bytes.len()));
        match random.u8(0..4) {
            0 => bytes[start] = random.u8(..),
            1 => drop(bytes.drain(start..end)),
            2 => {
                let stretch = bytes[start..end].to_vec();
                let at = random.usize(0..=bytes.len());
                bytes.splice(at..at, stretch);
            }
            _ => {
                let digits = random.u64(..).to_string().into_bytes();
                bytes.splice(start..end, digits);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
