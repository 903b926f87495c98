//! Offers as the peers write them, and what becomes of each.

use super::*;

pub struct Expected {
    pub name: &'static str,
    pub offer: &'static str,
    /// Payload type, codec, packet time, bit rate, and which of `dtx` and `fec`.
    pub formats: &'static [(u8, Codec, u8, u32, &'static str)],
    /// Payload type and clock rate.
    pub comfort_noise: &'static [(u8, u32)],
    pub telephone_events: &'static [(u8, u32)],
    /// The suite, and the length of the MKI in what arrives.
    pub srtp: Option<(Suite, u8)>,
    pub remote: Option<&'static str>,
    pub remote_rtcp: Option<&'static str>,
    pub rtcp_mux: bool,
    pub direction: Direction,
    /// From the first m-line on.
    pub answer: &'static str,
}

pub const OFFERS: &[Expected] = &[
    Expected {
        name: "FreeSWITCH: Opus with a bit rate, digits at both clocks, separate RTCP",
        offer: sample!("freeswitch"),
        formats: &[
            (102, OPUS_48K, 20, 30000, "fec=30000"),
            (0, Codec::Pcmu, 20, 0, ""),
            (8, Codec::Pcma, 20, 0, ""),
        ],
        comfort_noise: &[],
        telephone_events: &[(103, 48000), (101, 8000)],
        srtp: None,
        remote: Some("192.0.2.10:22130"),
        remote_rtcp: Some("192.0.2.10:22131"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 102 0 8 103 101
a=rtpmap:102 opus/48000/2
a=fmtp:102 maxplaybackrate=48000;sprop-maxcapturerate=48000;stereo=0;useinbandfec=1
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:103 telephone-event/48000
a=fmtp:103 0-15
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "Asterisk: GSM is left out, RTCP goes to the next port",
        offer: sample!("asterisk"),
        formats: &[
            (0, Codec::Pcmu, 20, 0, ""),
            (8, Codec::Pcma, 20, 0, ""),
            (9, Codec::G722, 20, 0, ""),
        ],
        comfort_noise: &[],
        telephone_events: &[(101, 8000)],
        srtp: None,
        remote: Some("198.51.100.7:14702"),
        remote_rtcp: Some("198.51.100.7:14703"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 0 8 9 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:9 G722/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "ffmpeg: no ptime, no direction",
        offer: sample!("ffmpeg"),
        formats: &[(97, OPUS_48K, 20, 32000, "")],
        comfort_noise: &[],
        telephone_events: &[],
        srtp: None,
        remote: Some("127.0.0.1:5004"),
        remote_rtcp: Some("127.0.0.1:5005"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 97
a=rtpmap:97 opus/48000/2
a=fmtp:97 maxplaybackrate=48000;sprop-maxcapturerate=48000;stereo=0;useinbandfec=1
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "Linphone: AVPF, wideband Opus, rtcp-mux, a media-level address, video refused unread",
        offer: sample!("linphone"),
        formats: &[
            (96, OPUS_16K, 20, 20000, "fec=20000"),
            (0, Codec::Pcmu, 20, 0, ""),
            (8, Codec::Pcma, 20, 0, ""),
            (18, Codec::G729, 20, 0, "dtx"),
        ],
        comfort_noise: &[],
        telephone_events: &[(101, 48000), (100, 8000)],
        srtp: None,
        remote: Some("203.0.113.21:7078"),
        remote_rtcp: Some("203.0.113.21:7078"),
        rtcp_mux: true,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVPF 96 0 8 18 101 100
a=rtpmap:96 opus/48000/2
a=fmtp:96 maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;useinbandfec=1
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=yes
a=rtpmap:101 telephone-event/48000
a=fmtp:101 0-15
a=rtpmap:100 telephone-event/8000
a=fmtp:100 0-15
a=ptime:20
a=rtcp-mux
a=sendrecv
m=video 0 RTP/AVPF 96 97
",
    },
    Expected {
        name: "baresip: IPv6, linear audio, stereo left out, 40 ms",
        offer: sample!("baresip"),
        formats: &[
            (96, L16_16K, 40, 0, ""),
            (98, L16_8K, 40, 0, ""),
            (0, Codec::Pcmu, 40, 0, ""),
        ],
        comfort_noise: &[],
        telephone_events: &[(101, 8000)],
        srtp: None,
        remote: Some("[2001:db8::25]:10100"),
        remote_rtcp: Some("[2001:db8::25]:10100"),
        rtcp_mux: true,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 96 98 0 101
a=rtpmap:96 L16/16000
a=rtpmap:98 L16/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:40
a=rtcp-mux
a=sendrecv
m=video 0 RTP/AVP 99
",
    },
    Expected {
        name: "Cisco gateway: 30 ms, comfort noise beside all but G.729, a fax m-line already refused",
        offer: sample!("cisco"),
        formats: &[
            (18, Codec::G729, 30, 0, ""),
            (8, Codec::Pcma, 30, 0, "dtx"),
            (0, Codec::Pcmu, 30, 0, "dtx"),
        ],
        comfort_noise: &[(19, 8000)],
        telephone_events: &[(101, 8000)],
        srtp: None,
        remote: Some("192.0.2.77:17540"),
        remote_rtcp: Some("192.0.2.77:17541"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 18 8 0 19 101
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:19 CN/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:30
a=sendrecv
m=image 0 udptl t38
",
    },
    Expected {
        name: "an SBC: the encrypted one of two audio m-lines comes first",
        offer: sample!("sbc_best_effort_srtp"),
        formats: &[(8, Codec::Pcma, 20, 0, ""), (0, Codec::Pcmu, 20, 0, "")],
        comfort_noise: &[],
        telephone_events: &[],
        srtp: Some((Suite::AesCm128HmacSha1_80, 0)),
        remote: Some("198.51.100.90:30000"),
        remote_rtcp: Some("198.51.100.90:30001"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/SAVP 8 0
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpa
a=ptime:20
a=sendrecv
m=audio 0 RTP/AVP 8 0
m=application 0 UDP/DTLS/SCTP webrtc-datachannel
",
    },
    Expected {
        name: "hold by a session-level direction",
        offer: sample!("hold_by_direction"),
        formats: &[(0, Codec::Pcmu, 20, 0, "")],
        comfort_noise: &[],
        telephone_events: &[],
        srtp: None,
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
        formats: &[(0, Codec::Pcmu, 20, 0, "")],
        comfort_noise: &[],
        telephone_events: &[],
        srtp: None,
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
        formats: &[(8, Codec::Pcma, 20, 0, "")],
        comfort_noise: &[],
        telephone_events: &[],
        srtp: None,
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
            (96, L16_48K, 10, 0, ""),
            (8, Codec::Pcma, 20, 0, ""),
            (70, OPUS_8K, 20, 16000, ""),
        ],
        comfort_noise: &[],
        telephone_events: &[],
        srtp: None,
        remote: Some("192.0.2.1:4000"),
        remote_rtcp: Some("192.0.2.1:4001"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 96 8 70
a=rtpmap:96 L16/48000
a=rtpmap:8 PCMA/8000
a=rtpmap:70 opus/48000/2
a=fmtp:70 maxplaybackrate=8000;sprop-maxcapturerate=8000;stereo=0;useinbandfec=1
a=ptime:10
a=sendrecv
",
    },
    Expected {
        name: "a narrow gateway: G.729 by its static number, iLBC",
        offer: sample!("g729_only"),
        formats: &[(18, Codec::G729, 20, 0, "dtx"), (97, ILBC_20, 20, 0, "")],
        comfort_noise: &[],
        telephone_events: &[],
        srtp: None,
        remote: Some("192.0.2.1:4000"),
        remote_rtcp: Some("192.0.2.1:4001"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 18 97
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=yes
a=rtpmap:97 iLBC/8000
a=fmtp:97 mode=20
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "Asterisk with SRTP: Annex B refused, iLBC with its longer frames",
        offer: sample!("asterisk_srtp"),
        formats: &[
            (9, Codec::G722, 20, 0, ""),
            (8, Codec::Pcma, 20, 0, ""),
            (0, Codec::Pcmu, 20, 0, ""),
            (18, Codec::G729, 20, 0, ""),
            (97, ILBC_30, 30, 0, ""),
        ],
        comfort_noise: &[],
        telephone_events: &[(101, 8000)],
        srtp: Some((Suite::AesCm128HmacSha1_80, 0)),
        remote: Some("198.51.100.7:11784"),
        remote_rtcp: Some("198.51.100.7:11785"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/SAVP 9 8 0 18 97 101
a=rtpmap:9 G722/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:97 iLBC/8000
a=fmtp:97 mode=30
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpa
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "FreeSWITCH with SRTP: suites we lack, an older name of one we have; DTX, comfort noise",
        offer: sample!("freeswitch_srtp"),
        formats: &[
            (102, OPUS_48K, 20, 30000, "dtx fec=30000"),
            (9, Codec::G722, 20, 0, "dtx"),
            (0, Codec::Pcmu, 20, 0, "dtx"),
            (18, Codec::G729, 20, 0, "dtx"),
        ],
        comfort_noise: &[(13, 8000)],
        telephone_events: &[(103, 48000), (101, 8000)],
        srtp: Some((Suite::AesCm256HmacSha1_80, 0)),
        remote: Some("192.0.2.10:18420"),
        remote_rtcp: Some("192.0.2.10:18421"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/SAVP 102 9 0 18 13 103 101
a=rtpmap:102 opus/48000/2
a=fmtp:102 maxplaybackrate=48000;sprop-maxcapturerate=48000;stereo=0;useinbandfec=1
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=yes
a=rtpmap:13 CN/8000
a=rtpmap:103 telephone-event/48000
a=fmtp:103 0-15
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=crypto:2 AES_CM_256_HMAC_SHA1_80 inline:WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWg==
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "Cisco Unified CM: a short tag, a lifetime and an MKI; G.729 with Annex B",
        offer: sample!("cisco_srtp"),
        formats: &[(18, Codec::G729, 20, 0, "dtx"), (116, ILBC_20, 20, 0, "")],
        comfort_noise: &[],
        telephone_events: &[(101, 8000)],
        srtp: Some((Suite::AesCm128HmacSha1_32, 1)),
        remote: Some("192.0.2.77:24578"),
        remote_rtcp: Some("192.0.2.77:24579"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/SAVP 18 116 101
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=yes
a=rtpmap:116 iLBC/8000
a=fmtp:116 mode=20
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpa
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "Janus: SRTP where both want it, comfort noise and digits at more clocks than there are codecs",
        offer: sample!("janus"),
        formats: &[
            (111, OPUS_48K, 20, 32000, "fec"),
            (9, Codec::G722, 20, 0, "dtx"),
            (0, Codec::Pcmu, 20, 0, "dtx"),
            (8, Codec::Pcma, 20, 0, "dtx"),
        ],
        comfort_noise: &[(13, 8000)],
        telephone_events: &[(110, 48000), (126, 8000)],
        srtp: Some((Suite::AesCm128HmacSha1_32, 0)),
        remote: Some("203.0.113.40:22048"),
        remote_rtcp: Some("203.0.113.40:22049"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 111 9 0 8 13 110 126
a=rtpmap:111 opus/48000/2
a=fmtp:111 maxplaybackrate=48000;sprop-maxcapturerate=48000;stereo=0;useinbandfec=1
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=fmtp:110 0-15
a=rtpmap:126 telephone-event/8000
a=fmtp:126 0-15
a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpa
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "Linphone with SRTP: AVPF, GCM first, iLBC without a mode",
        offer: sample!("linphone_srtp"),
        formats: &[
            (96, OPUS_16K, 20, 24000, "fec"),
            (99, ILBC_30, 30, 0, ""),
            (9, Codec::G722, 20, 0, ""),
            (0, Codec::Pcmu, 20, 0, ""),
        ],
        comfort_noise: &[],
        telephone_events: &[(100, 48000), (101, 8000)],
        srtp: Some((Suite::AeadAes128Gcm, 0)),
        remote: Some("[2001:db8::77]:7078"),
        remote_rtcp: Some("[2001:db8::77]:7078"),
        rtcp_mux: true,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/SAVPF 96 99 9 0 100 101
a=rtpmap:96 opus/48000/2
a=fmtp:96 maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;useinbandfec=1
a=rtpmap:99 iLBC/8000
a=fmtp:99 mode=30
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:100 telephone-event/48000
a=fmtp:100 0-15
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=crypto:1 AEAD_AES_128_GCM inline:WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWg==
a=ptime:20
a=rtcp-mux
a=sendrecv
",
    },
    Expected {
        name: "a desk phone: wideband first, SRTP only in forms we do not do, so none",
        offer: sample!("polycom"),
        formats: &[
            (9, Codec::G722, 20, 0, ""),
            (102, L16_16K, 20, 0, ""),
            (0, Codec::Pcmu, 20, 0, ""),
            (8, Codec::Pcma, 20, 0, ""),
            (18, Codec::G729, 20, 0, ""),
        ],
        comfort_noise: &[],
        telephone_events: &[(127, 8000)],
        srtp: None,
        remote: Some("192.0.2.120:2228"),
        remote_rtcp: Some("192.0.2.120:2229"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 9 102 0 8 18 127
a=rtpmap:9 G722/8000
a=rtpmap:102 L16/16000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:127 telephone-event/8000
a=fmtp:127 0-15
a=ptime:20
a=sendrecv
",
    },
    Expected {
        name: "a carrier: iLBC in packets of two frames, since maxptime forbids three",
        offer: sample!("carrier_ilbc"),
        formats: &[(97, ILBC_20, 40, 0, "dtx"), (18, Codec::G729, 50, 0, "dtx")],
        comfort_noise: &[(13, 8000)],
        telephone_events: &[(96, 8000)],
        srtp: None,
        remote: Some("198.51.100.200:16384"),
        remote_rtcp: Some("198.51.100.200:16385"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 97 18 13 96
a=rtpmap:97 iLBC/8000
a=fmtp:97 mode=20
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=yes
a=rtpmap:13 CN/8000
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-15
a=ptime:40
a=sendrecv
",
    },
    Expected {
        name: "every way to spoil an a=crypto line, on a transport that does without",
        offer: sample!("crypto_odd"),
        formats: &[(0, Codec::Pcmu, 20, 0, "")],
        comfort_noise: &[],
        telephone_events: &[],
        srtp: None,
        remote: Some("192.0.2.1:4000"),
        remote_rtcp: Some("192.0.2.1:4001"),
        rtcp_mux: false,
        direction: Direction::SendReceive,
        answer: "m=audio 10000 RTP/AVP 0
a=rtpmap:0 PCMU/8000
a=ptime:20
a=sendrecv
",
    },
];
