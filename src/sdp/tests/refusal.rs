//! Everything that can be wrong with an SDP, and how it is said.

use super::*;

#[test]
fn what_is_wrong_is_named() {
    let bad = |line, field| SdpError::BadField {
        line,
        field,
        allowed: "",
    };
    let table = [
        (String::new(), SdpError::NoVersion),
        ("garbage".to_owned(), SdpError::NoVersion),
        ("v=1\r\n".to_owned(), SdpError::NoVersion),
        ("v=0\r\n".to_owned(), SdpError::NoAudio),
        ("v=0\r\nm=video 9 RTP/AVP 96\r\n".to_owned(), SdpError::NoAudio),
        ("v=0\n".repeat(16_385), SdpError::TooLong { bytes: 65_540 }),
        (
            pcmu_with(&format!("a=x:{}\r\n", "y".repeat(4_093))),
            SdpError::LineTooLong {
                line: 7,
                bytes: 4_097,
            },
        ),
        (pcmu_with("nonsense\r\n"), SdpError::BadLine { line: 7 }),
        (pcmu_with("A=sendrecv\r\n"), SdpError::BadLine { line: 7 }),
        (
            pcmu_with("a=sendrecv\rm=audio 1 RTP/AVP 0\r\n"),
            SdpError::BadLine { line: 7 },
        ),
        (pcmu_with("a=x\0y\r\n"), SdpError::BadLine { line: 7 }),
        (
            pcmu_with(&"m=video 0 RTP/AVP 96\r\n".repeat(16)),
            SdpError::TooManyMedia,
        ),
        (
            pcmu_with("").replace("AVP 0", &format!("AVP{}", " 0".repeat(65))),
            SdpError::TooManyFormats { line: 6 },
        ),
        (pcmu_with("").replace("AVP 0", "AVP 128"), bad(6, "payload type")),
        (pcmu_with("").replace("AVP 0", "AVP x"), bad(6, "payload type")),
        (pcmu_with("").replace("AVP 0", "AVP"), bad(6, "m-line")),
        (pcmu_with("").replace("4000", "65536"), bad(6, "m-line")),
        (pcmu_with("").replace("4000", "-1"), bad(6, "m-line")),
        (pcmu_with("m=vid\u{e9}o 0 RTP/AVP 96\r\n"), bad(7, "m-line")),
        (pcmu_with("m=video 0 RTP/AVP \"96\"\r\n"), bad(7, "m-line")),
        (pcmu_with("m=video 0 RTP//AVP 96\r\n"), bad(7, "m-line")),
        (pcmu_with("c=IN IP4 example.com\r\n"), bad(7, "c= line")),
        (pcmu_with("c=IN IP4 2001:db8::1\r\n"), bad(7, "c= line")),
        (pcmu_with("c=IN IP6 192.0.2.1\r\n"), bad(7, "c= line")),
        (pcmu_with("c=IN IP4 224.2.1.1/127/3\r\n"), bad(7, "c= line")),
        (pcmu_with("c=IN IP4 224.2.1.1\r\n"), bad(7, "c= line")),
        (pcmu_with("c=IN IP4 255.255.255.255\r\n"), bad(7, "c= line")),
        (pcmu_with("c=IN IP6 ff02::1\r\n"), bad(7, "c= line")),
        (pcmu_with("c=IN IP4\r\n"), bad(7, "c= line")),
        (pcmu_with("").replace("t=0 0", "t=now"), bad(5, "t= line")),
        (pcmu_with("a=rtpmap:0\r\n"), bad(7, "rtpmap")),
        (pcmu_with("a=rtpmap:128 PCMU/8000\r\n"), bad(7, "rtpmap")),
        (pcmu_with("a=rtpmap:0 PCMU\r\n"), bad(7, "rtpmap")),
        (pcmu_with("a=rtpmap:0 PCMU/fast\r\n"), bad(7, "rtpmap")),
        (pcmu_with("a=rtpmap:0 PCMU/8000/many\r\n"), bad(7, "rtpmap")),
        (pcmu_with("a=fmtp:x mode=20\r\n"), bad(7, "fmtp")),
        (pcmu_with("a=ptime\r\n"), bad(7, "ptime")),
        (pcmu_with("a=ptime:-20\r\n"), bad(7, "ptime")),
        (pcmu_with("a=maxptime:2.\r\n"), bad(7, "maxptime")),
        (pcmu_with("a=rtcp:0\r\n"), bad(7, "rtcp")),
        (pcmu_with("a=rtcp:5000 IN IP4\r\n"), bad(7, "rtcp")),
        (pcmu_with("").replace("4000", "0"), SdpError::AudioRefused),
        (
            pcmu_with("").replace("c=IN IP4 192.0.2.1\r\n", ""),
            SdpError::NoConnection,
        ),
        (
            sample!("browser").to_owned(),
            SdpError::UnsupportedProtocol {
                offered: "UDP/TLS/RTP/SAVPF".to_owned(),
            },
        ),
        (
            pcmu_with("a=rtpmap:97 CN/8000\r\na=rtpmap:98 telephone-event/8000\r\n")
                .replace("AVP 0", "AVP 10 3 97 98 99"),
            SdpError::NoCommonCodec {
                offered:
                    "L16/44100/2, GSM/8000, CN/8000, telephone-event/8000, payload type 99 without rtpmap"
                        .to_owned(),
                supported: "opus/48000/2, G722/8000, PCMU/8000, PCMA/8000, iLBC/8000, G729/8000, L16/48000, \
                            L16/16000, L16/8000"
                    .to_owned(),
            },
        ),
    ];
    for (text, expected) in table {
        let error = answer(&text, &local()).expect_err(&text);
        match (&error, &expected) {
            (
                SdpError::BadField { line, field, .. },
                SdpError::BadField {
                    line: l, field: f, ..
                },
            ) => {
                assert_eq!((line, field), (l, f), "{text}");
            }
            _ => assert_eq!(error, expected, "{text}"),
        }
    }
}

#[test]
fn refusals_are_sentences_a_switch_operator_understands() {
    let sentence = |text: &str| answer(text, &local()).unwrap_err().to_string();
    assert_eq!(
        sentence(&pcmu_with("").replace("RTP/AVP", "UDP/TLS/RTP/SAVPF")),
        "the transport UDP/TLS/RTP/SAVPF is not supported; supported are RTP/AVP, RTP/AVPF, RTP/SAVP, RTP/SAVPF"
    );
    assert_eq!(
        sentence(&pcmu_with("c=IN IP4 example.com\r\n")),
        "line 7 of the SDP: bad c= line; allowed is IN, IP4 or IP6, and a unicast address of that family (no host name)"
    );
    let numbers = (96..=127)
        .map(|number| number.to_string())
        .collect::<Vec<_>>()
        .join(" ");
    let maps: String = (96..=127)
        .map(|number| format!("a=rtpmap:{number} {}/8000\n", "X".repeat(60)))
        .collect();
    let many = sentence(&format!(
        "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP {numbers}\n{maps}"
    ));
    assert!(many.contains(" and 24 more; supported are"), "{many}");
    assert!(many.len() < 450, "{many}");
}

#[test]
fn an_answer_that_does_not_fit_the_offer_is_refused() {
    let pcmu = pcmu_with("");
    assert_eq!(
        accept(&local(), "v=0\r\n"),
        Err(SdpError::AnswerMediaCount { count: 0 })
    );
    let two = pcmu_with("m=video 0 RTP/AVP 96\r\n");
    assert_eq!(
        accept(&local(), &two),
        Err(SdpError::AnswerMediaCount { count: 2 })
    );
    assert_eq!(
        accept(&local(), &pcmu.replace("4000", "0")),
        Err(SdpError::AudioRefused)
    );
    let opus_only = LocalMedia {
        codecs: Codecs::named(["opus"]).unwrap(),
        ..local()
    };
    assert!(matches!(
        accept(&opus_only, &pcmu),
        Err(SdpError::NoCommonCodec { .. })
    ));
}
