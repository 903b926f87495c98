//! The parameters of each codec, in both roles; comfort noise and telephone events beside them; what a call keeps.

use super::*;

/// An offer, or an answer, of these formats with these lines.
fn described(numbers: &str, lines: &str) -> String {
    format!(
        "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 4000 RTP/AVP {numbers}\n{lines}\n"
    )
}

fn ours(names: &[&str]) -> LocalMedia {
    LocalMedia {
        codecs: Codecs::named(names.iter().copied()).expect("known codecs"),
        ..local()
    }
}

#[test]
fn annex_b_is_agreed_unless_one_side_says_no() {
    let table = [
        ("", true),
        ("a=fmtp:18 annexb=yes", true),
        ("a=fmtp:18 annexb=no", false),
        ("a=fmtp:18 AnnexB = NO ; x=1", false),
        ("a=fmtp:18 annexb=maybe", true),
        ("a=fmtp:18 annexb", true),
    ];
    for (fmtp, agreed_on) in table {
        for map in ["", "a=rtpmap:18 G729/8000\n", "a=rtpmap:18 g729a/8000/1\n"] {
            let text = described("18", &format!("{map}{fmtp}"));
            let (answer, agreed) = answer(&text, &local()).unwrap();
            let word = if agreed_on { "yes" } else { "no" };
            assert!(
                answer.contains(&format!("\r\na=fmtp:18 annexb={word}\r\n")),
                "{text}{answer}"
            );
            assert_eq!(agreed.formats[0].encoding.dtx, agreed_on, "{text}");
            let accepted = accept(&ours(&["G729"]), &text).unwrap();
            assert_eq!(accepted.formats, agreed.formats, "{text}");
        }
    }
    assert!(offer(&ours(&["G729"])).contains("\r\na=fmtp:18 annexb=yes\r\n"));
}

#[test]
fn ilbc_takes_the_longer_frame_of_both_sides_and_whole_frames_in_a_packet() {
    // What the remote says, what a packet then holds, and the mode: answered, and accepted for our offers at 20 and 30.
    let table = [
        ("mode=20", "", (ILBC_20, 20), (ILBC_20, 20), (ILBC_30, 30)),
        ("mode=30", "", (ILBC_30, 30), (ILBC_30, 30), (ILBC_30, 30)),
        ("", "", (ILBC_30, 30), (ILBC_30, 30), (ILBC_30, 30)),
        ("mode=25", "", (ILBC_30, 30), (ILBC_30, 30), (ILBC_30, 30)),
        (
            "mode=20",
            "a=ptime:30",
            (ILBC_20, 40),
            (ILBC_20, 40),
            (ILBC_30, 30),
        ),
        (
            "mode=20",
            "a=ptime:60",
            (ILBC_20, 60),
            (ILBC_20, 60),
            (ILBC_30, 60),
        ),
        (
            "mode=20",
            "a=ptime:10",
            (ILBC_20, 20),
            (ILBC_20, 20),
            (ILBC_30, 30),
        ),
        (
            "mode=30",
            "a=ptime:20",
            (ILBC_30, 30),
            (ILBC_30, 30),
            (ILBC_30, 30),
        ),
        (
            "mode=30",
            "a=ptime:50",
            (ILBC_30, 60),
            (ILBC_30, 60),
            (ILBC_30, 60),
        ),
        (
            "mode=30",
            "a=ptime:60\na=maxptime:59",
            (ILBC_30, 30),
            (ILBC_30, 30),
            (ILBC_30, 30),
        ),
        (
            "mode=30",
            "a=maxptime:20",
            (ILBC_30, 30),
            (ILBC_30, 30),
            (ILBC_30, 30),
        ),
    ];
    for (fmtp, lines, answered, at_20, at_30) in table {
        let text = described("97", &format!("a=rtpmap:97 iLBC/8000\na=fmtp:97 {fmtp}\n{lines}"));
        let (answer, agreed) = answer(&text, &local()).unwrap();
        let found = |agreed: &Agreed| {
            let encoding = agreed.formats[0].encoding;
            (encoding.codec, encoding.ptime_ms)
        };
        assert_eq!(found(&agreed), answered, "{text}");
        let mode = answered.0.payload_bytes_received_max();
        let written = if mode == ILBC_20.payload_bytes_received_max() {
            20
        } else {
            30
        };
        assert!(
            answer.contains(&format!("\r\na=fmtp:97 mode={written}\r\n")),
            "{answer}"
        );
        assert!(
            answer.contains(&format!("\r\na=ptime:{}\r\n", answered.1)),
            "{answer}"
        );
        for (ptime_ms, expected) in [(20, at_20), (30, at_30)] {
            let local = LocalMedia {
                ptime_ms,
                ..ours(&["iLBC"])
            };
            assert!(offer(&local).contains(&format!("\r\na=fmtp:97 mode={ptime_ms}\r\n")));
            assert_eq!(found(&accept(&local, &text).unwrap()), expected, "{text}");
        }
    }
}

#[test]
fn g722_is_known_by_its_number_and_by_the_rate_it_should_have_had() {
    for map in [
        "",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:9 g722/8000/1",
        "a=rtpmap:9 G722/16000",
    ] {
        let (answer, agreed) = answer(&described("9", map), &local()).unwrap();
        assert_eq!(agreed.formats, [format(9, Codec::G722, 20, 0)]);
        assert!(answer.contains("\r\na=rtpmap:9 G722/8000\r\n"), "{answer}");
    }
    let stereo = described("9", "a=rtpmap:9 G722/8000/2");
    assert!(matches!(
        answer(&stereo, &local()),
        Err(SdpError::NoCommonCodec { .. })
    ));
}

#[test]
fn opus_takes_what_the_remote_says_of_fec_and_dtx_and_says_that_it_uses_fec() {
    let table = [
        ("", ""),
        ("useinbandfec=1", "fec"),
        ("useinbandfec=0;usedtx=1", "dtx"),
        ("UseInbandFec=1; UseDTX=1; cbr=1", "fec dtx"),
        ("useinbandfec=yes;usedtx=2", ""),
    ];
    for (parameters, flags) in table {
        let text = described("96", &format!("a=rtpmap:96 opus/48000/2\na=fmtp:96 {parameters}"));
        let (answer, agreed) = answer(&text, &local()).unwrap();
        let expected = with_flags(format(96, OPUS_48K, 20, 32_000), flags);
        assert_eq!(agreed.formats, [expected], "{text}");
        assert!(
            answer.contains(";useinbandfec=1\r\n") && !answer.contains("usedtx"),
            "{answer}"
        );
        assert_eq!(
            accept(&ours(&["opus"]), &text).unwrap().formats,
            [expected],
            "{text}"
        );
    }
}

#[test]
fn comfort_noise_goes_with_codecs_that_have_no_pauses_of_their_own() {
    let maps = "a=rtpmap:96 opus/48000/2\na=rtpmap:97 iLBC/8000\na=fmtp:97 mode=20\na=rtpmap:98 L16/16000\n\
                a=rtpmap:99 CN/48000\na=rtpmap:100 CN/16000\na=rtpmap:102 CN/8000\na=rtpmap:104 CN/32000\n\
                a=fmtp:18 annexb=no";
    /// Offered, comfort noise agreed on, and the formats that pause with it.
    type Row = (&'static str, &'static [(u8, u32)], &'static [u8]);
    let table: &[Row] = &[
        ("0 13", &[(13, 8_000)], &[0]),
        ("9 8 13", &[(13, 8_000)], &[9, 8]),
        ("97 102 13", &[(102, 8_000)], &[97]),
        ("98 100 13", &[(100, 16_000)], &[98]),
        ("98 0 13 100", &[(13, 8_000), (100, 16_000)], &[98, 0]),
        ("96 13 99", &[], &[]),
        ("18 13", &[], &[]),
        ("18 0 13", &[(13, 8_000)], &[0]),
        ("0 104", &[], &[]),
        ("0 8", &[], &[]),
    ];
    for (numbers, noise, pausing) in table {
        let text = described(numbers, maps);
        let (answer, agreed) = answer(&text, &local()).unwrap();
        let found: Vec<(u8, u32)> = agreed
            .comfort_noise
            .iter()
            .map(|companion| (companion.payload_type_send, companion.clock_hz))
            .collect();
        assert_eq!(&found, noise, "{numbers}");
        let found: Vec<u8> = agreed
            .formats
            .iter()
            .filter(|format| format.encoding.dtx)
            .map(|format| format.payload_type_send)
            .collect();
        assert_eq!(&found, pausing, "{numbers}");
        assert_eq!(answer.matches(" CN/").count(), noise.len(), "{answer}");
    }
}

#[test]
fn telephone_events_go_with_any_codec_of_their_clock() {
    let maps = "a=rtpmap:96 opus/48000/2\na=rtpmap:98 L16/16000\na=rtpmap:101 telephone-event/8000\n\
                a=fmtp:101 0-15,66,70\na=rtpmap:102 TELEPHONE-EVENT/16000\na=rtpmap:103 telephone-event/48000\n\
                a=rtpmap:104 telephone-event/8000";
    let table: &[(&str, &[(u8, u32)])] = &[
        ("0 101", &[(101, 8_000)]),
        ("104 0 101", &[(104, 8_000)]),
        ("9 101 102", &[(101, 8_000)]),
        ("98 101 102", &[(102, 16_000)]),
        ("96 101", &[]),
        ("96 18 101 103", &[(101, 8_000), (103, 48_000)]),
        ("0", &[]),
    ];
    for (numbers, events) in table {
        let (answer, agreed) = answer(&described(numbers, maps), &local()).unwrap();
        let found: Vec<(u8, u32)> = agreed
            .telephone_events
            .iter()
            .map(|companion| (companion.payload_type_receive, companion.clock_hz))
            .collect();
        assert_eq!(&found, events, "{numbers}");
        for (number, _) in *events {
            assert!(
                answer.contains(&format!("\r\na=fmtp:{number} 0-15\r\n")),
                "{answer}"
            );
        }
    }
}

#[test]
fn a_number_like_that_of_an_rtcp_packet_forbids_rtcp_mux_whatever_it_is_for() {
    for (number, is_muxed) in [(63, true), (64, false), (95, false), (96, true)] {
        for name in ["telephone-event", "CN", "iLBC"] {
            let text = described(
                &format!("0 {number}"),
                &format!("a=rtcp-mux\na=rtpmap:{number} {name}/8000"),
            );
            assert_eq!(agreed(&text).rtcp_mux, is_muxed, "{text}");
        }
    }
}

#[test]
fn an_answer_numbers_what_goes_along_as_it_likes_and_we_receive_by_our_own_numbers() {
    let text = described("8 97 19", "a=rtpmap:97 telephone-event/8000\na=rtpmap:19 CN/8000");
    let agreed = accept(&local(), &text).unwrap();
    let companion = |receive, send| Companion {
        payload_type_receive: receive,
        payload_type_send: send,
        clock_hz: 8_000,
    };
    assert_eq!(agreed.telephone_events, [companion(101, 97)]);
    assert_eq!(agreed.comfort_noise, [companion(13, 19)]);
    // Without a word on what our numbers mean, they mean the same.
    let agreed = accept(&local(), &described("8 101 13", "")).unwrap();
    assert_eq!(agreed.telephone_events, [companion(101, 101)]);
    assert_eq!(agreed.comfort_noise, [companion(13, 13)]);
    // Neither is taken where our offer had none.
    let plain = accept(&ours(&["PCMA", "CN"]), &text).unwrap();
    assert_eq!((plain.telephone_events.len(), plain.comfort_noise.len()), (0, 1));
}

#[test]
fn an_allow_list_limits_what_goes_along_only_by_naming_one_of_it() {
    let text = described("0 13 101", "a=rtpmap:101 telephone-event/8000");
    let table: &[(&[&str], usize, usize)] = &[
        (&["PCMU"], 1, 1),
        (&["PCMU", "CN", "telephone-event"], 1, 1),
        (&["cn/8000", "PCMU"], 1, 0),
        (&["PCMU", "Telephone-Event"], 0, 1),
    ];
    for (names, noise, events) in table {
        let local = ours(names);
        let (_, agreed) = answer(&text, &local).unwrap();
        assert_eq!(agreed.comfort_noise.len(), *noise, "{names:?}");
        assert_eq!(agreed.telephone_events.len(), *events, "{names:?}");
        let offer = offer(&local);
        assert_eq!(offer.contains(" CN/8000"), *noise == 1, "{offer}");
        assert_eq!(offer.contains(" telephone-event/8000"), *events == 1, "{offer}");
    }
    let named = |name| Codecs::named([name]);
    assert!(matches!(named("telephone-event"), Err(SdpError::NoCodecs { .. })));
    assert!(matches!(named("CN/32000"), Err(SdpError::UnknownCodec { .. })));
}

#[test]
fn numbers_keep_their_meaning_for_a_whole_call() {
    // Ours do not depend on what else is offered.
    for names in [
        &["opus", "iLBC", "L16"][..],
        &["L16/16000", "iLBC"],
        &["iLBC", "L16/16000", "opus"],
    ] {
        let text = offer(&ours(names));
        assert!(text.contains("a=rtpmap:97 iLBC/8000\r\n"), "{text}");
        assert!(text.contains("a=rtpmap:99 L16/16000\r\n"), "{text}");
    }
    // The remote's are kept when it offers the same again with another first choice, packet time and direction.
    let first = sample!("freeswitch_srtp");
    let again = first
        .replace("RTP/SAVP 102 9 0", "RTP/SAVP 9 102 0")
        .replace("a=ptime:20", "a=ptime:40\na=sendonly");
    let (_, before) = answer(first, &local()).unwrap();
    let later = LocalMedia {
        session_version: 4,
        ..local()
    };
    let (text, after) = answer(&again, &later).unwrap();
    for format in &before.formats {
        let same = after.formats.iter().find(|other| {
            (other.payload_type_receive, other.encoding.codec)
                == (format.payload_type_receive, format.encoding.codec)
        });
        assert!(same.is_some(), "{format:?} in {text}");
    }
    assert_eq!(after.telephone_events, before.telephone_events);
    assert_eq!(after.formats[0].encoding.codec, Codec::G722);
    assert_eq!(
        (after.formats[0].encoding.ptime_ms, after.direction),
        (40, Direction::ReceiveOnly)
    );
    assert_eq!(after.srtp, before.srtp, "the same keys are no re-key");
}
