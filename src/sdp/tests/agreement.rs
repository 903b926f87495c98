//! Each rule by which two descriptions become one agreement.

use std::net::Ipv6Addr;

use super::*;

#[test]
fn the_answer_opens_with_our_address_and_the_timing_of_the_offer() {
    let (text, _) = answer(sample!("sbc_best_effort_srtp"), &local()).unwrap();
    let opening = "v=0\r\no=mixminus 77 3 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\n\
                   t=1690000000 1690003600\r\n";
    assert!(text.starts_with(opening), "{text}");

    let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    let (text, agreed) = answer(sample!("asterisk"), &LocalMedia { address, ..local() }).unwrap();
    assert!(text.contains("\r\nc=IN IP6 2001:db8::1\r\n"), "{text}");
    assert_eq!(
        agreed.remote_family,
        Family::Ipv4,
        "another family than ours is for the caller to judge"
    );
}

#[test]
fn the_family_to_bind_is_that_of_the_audio_used() {
    assert_eq!(offered_family(sample!("baresip")), Some(Family::Ipv6));
    assert_eq!(
        offered_family(sample!("sbc_best_effort_srtp")),
        Some(Family::Ipv4)
    );
    assert_eq!(offered_family(sample!("hold_by_address")), Some(Family::Ipv4));
    assert_eq!(offered_family(sample!("browser")), None);
    assert_eq!(offered_family("v=0\r\n"), None);
}

#[test]
fn every_direction_is_mirrored() {
    let pairs = [
        ("sendrecv", Direction::SendReceive),
        ("sendonly", Direction::ReceiveOnly),
        ("recvonly", Direction::SendOnly),
        ("inactive", Direction::Inactive),
    ];
    for (theirs, ours) in pairs {
        let (text, agreed) = answer(&pcmu_with(&format!("a={theirs}\r\n")), &local()).unwrap();
        assert_eq!(agreed.direction, ours);
        assert!(text.contains(&format!("\r\na={}\r\n", ours.name())), "{text}");
    }
}

#[test]
fn a_media_direction_overrides_that_of_the_session() {
    let offer = sample!("hold_by_direction").to_owned() + "a=recvonly\n";
    assert_eq!(agreed(&offer).direction, Direction::SendOnly);
}

#[test]
fn ptime_is_rounded_to_what_can_be_sent_and_capped_by_maxptime() {
    let table = [
        ("", 20),
        ("a=ptime:10", 10),
        ("a=ptime:60", 60),
        ("a=ptime:2.5", 10),
        ("a=ptime:24", 20),
        ("a=ptime:25", 30),
        ("a=ptime:120", 60),
        ("a=ptime:99999999999999", 60),
        ("a=ptime:0", 20),
        ("a=maxptime:10", 10),
        ("a=ptime:40\r\na=maxptime:35", 30),
        ("a=maxptime:5", 10),
        ("a=ptime:30\r\na=maxptime:0", 30),
    ];
    for (lines, ptime_ms) in table {
        assert_eq!(
            agreed(&pcmu_with(lines)).formats[0].encoding.ptime_ms,
            ptime_ms,
            "{lines}"
        );
    }
    let asked = sample!("l16_48k").to_owned() + "a=ptime:20\n";
    assert_eq!(agreed(&asked).formats[0].encoding, encoding(L16_48K, 20, 0));
}

#[test]
fn opus_parameters_decide_rate_and_bit_rate() {
    let table = [
        ("", OPUS_48K, 32_000),
        ("a=fmtp:111 maxplaybackrate=8000", OPUS_8K, 16_000),
        ("a=fmtp:111 maxplaybackrate=12000", OPUS_16K, 24_000),
        ("a=fmtp:111 maxplaybackrate=24000", OPUS_48K, 32_000),
        ("a=fmtp:111 sprop-maxcapturerate=16000", OPUS_16K, 24_000),
        (
            "a=fmtp:111 sprop-maxcapturerate=8000;maxplaybackrate=48000",
            OPUS_48K,
            32_000,
        ),
        (
            "a=fmtp:111 stereo=1; sprop-stereo=1;minptime=10; ptime=40",
            OPUS_48K,
            32_000,
        ),
        (
            "a=fmtp:111 MaxAverageBitrate = 20000 ;MAXPLAYBACKRATE= 16000",
            OPUS_16K,
            20_000,
        ),
        ("a=fmtp:111 maxaveragebitrate=1", OPUS_48K, 6_000),
        ("a=fmtp:111 maxaveragebitrate=510000", OPUS_48K, 32_000),
        (
            "a=fmtp:111 maxplaybackrate=fast;maxaveragebitrate",
            OPUS_48K,
            32_000,
        ),
    ];
    for (fmtp, codec, bitrate) in table {
        let offer =
            format!("v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 111\na=rtpmap:111 OPUS/48000/2\n{fmtp}\n");
        assert_eq!(
            agreed(&offer).formats,
            [format(111, codec, 20, bitrate)],
            "{fmtp}"
        );
    }

    let generous = LocalMedia {
        opus_bitrate: Some(64_000),
        ..local()
    };
    let (_, agreed) = answer(sample!("ffmpeg"), &generous).unwrap();
    assert_eq!(agreed.formats[0].encoding.bitrate, 64_000);
    let (_, agreed) = answer(sample!("freeswitch"), &generous).unwrap();
    assert_eq!(
        agreed.formats[0].encoding.bitrate, 30_000,
        "the remote's maxaveragebitrate holds"
    );
}

#[test]
fn our_preference_decides_where_it_is_to() {
    let codecs = Codecs::named(["pcma", "opus"]).unwrap();
    let leg = LocalMedia {
        codecs,
        order: Order::OursFirst,
        ..local()
    };
    let (text, agreed) = answer(sample!("freeswitch"), &leg).unwrap();
    assert!(text.contains("m=audio 10000 RTP/AVP 8 102 103 101\r\n"), "{text}");
    assert_eq!(agreed.formats[0].encoding.codec, Codec::Pcma);

    let offerer_first = LocalMedia {
        order: Order::OffererFirst,
        ..leg
    };
    let (text, _) = answer(sample!("freeswitch"), &offerer_first).unwrap();
    assert!(text.contains("m=audio 10000 RTP/AVP 102 8 103 101\r\n"), "{text}");
}

#[test]
fn a_codec_offered_twice_is_agreed_once() {
    let offer = "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 96 97 0 0\n\
                 a=rtpmap:96 opus/48000/2\na=rtpmap:97 opus/48000/2\n";
    let (text, agreed) = answer(offer, &local()).unwrap();
    assert!(text.contains("m=audio 10000 RTP/AVP 96 0\r\n"), "{text}");
    assert_eq!(agreed.formats.len(), 2);
}

#[test]
fn an_rtcp_address_of_its_own_is_used() {
    let rtcp = |lines: &str| {
        agreed(&pcmu_with(lines))
            .remote_rtcp
            .map(|address| address.to_string())
    };
    assert_eq!(rtcp("a=rtcp:5000").as_deref(), Some("192.0.2.1:5000"));
    assert_eq!(
        rtcp("a=rtcp:5000 IN IP6 2001:db8::9").as_deref(),
        Some("[2001:db8::9]:5000")
    );
    assert_eq!(rtcp("a=rtcp:9 IN IP4 0.0.0.0").as_deref(), None);
    assert_eq!(
        rtcp("a=rtcp:5000\r\na=rtcp-mux").as_deref(),
        Some("192.0.2.1:4000")
    );
    assert_eq!(agreed(&pcmu_with("").replace("4000", "65535")).remote_rtcp, None);
}

#[test]
fn our_offer_lists_our_codecs_in_our_order() {
    let text = offer(&local());
    let expected = "v=0
o=mixminus 77 3 IN IP4 203.0.113.1
s=-
c=IN IP4 203.0.113.1
t=0 0
m=audio 10000 RTP/AVP 96 9 0 8 97 18 98 99 100 13 104 105 101 102 103
a=rtpmap:96 opus/48000/2
a=fmtp:96 maxplaybackrate=48000;sprop-maxcapturerate=48000;stereo=0;useinbandfec=1
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:97 iLBC/8000
a=fmtp:97 mode=20
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=yes
a=rtpmap:98 L16/48000
a=rtpmap:99 L16/16000
a=rtpmap:100 L16/8000
a=rtpmap:13 CN/8000
a=rtpmap:104 CN/16000
a=rtpmap:105 CN/48000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtpmap:102 telephone-event/16000
a=fmtp:102 0-15
a=rtpmap:103 telephone-event/48000
a=fmtp:103 0-15
a=ptime:20
a=rtcp-mux
a=sendrecv
";
    assert_eq!(text.replace("\r\n", "\n"), expected);
}

#[test]
fn our_own_offer_and_answer_agree_with_each_other() {
    for names in [
        &["opus"][..],
        &["L16"],
        &["PCMA", "L16/48000", "opus"],
        &["opus", "PCMU", "PCMA", "L16"],
        &["G729", "G722", "telephone-event"],
        &["opus", "CN"],
    ] {
        for ptime_ms in [10, 20, 30, 60] {
            let codecs = Codecs::named(names.iter().copied()).unwrap();
            let caller = LocalMedia {
                codecs,
                ptime_ms,
                rtp_port: 20_000,
                ..local()
            };
            let (text, callee_side) = answer(&offer(&caller), &local()).unwrap();
            let caller_side = accept(&caller, &text).unwrap();
            assert_eq!(caller_side.formats, callee_side.formats);
            assert_eq!(caller_side.comfort_noise, callee_side.comfort_noise);
            assert_eq!(caller_side.telephone_events, callee_side.telephone_events);
            assert_eq!(caller_side.formats.len(), caller.codecs.as_slice().len());
            assert_eq!(caller_side.formats[0].encoding.ptime_ms, ptime_ms);
            assert!(caller_side.rtcp_mux && callee_side.rtcp_mux);
            assert_eq!(caller_side.remote.unwrap().port(), 10_000);
            assert_eq!(callee_side.remote.unwrap().port(), 20_000);
        }
    }
}

#[test]
fn an_answer_may_number_and_order_the_codecs_its_own_way() {
    let text = "v=0\r\nc=IN IP4 192.0.2.5\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8 111\r\n\
                a=rtpmap:111 opus/48000/2\r\na=fmtp:111 maxplaybackrate=16000\r\na=recvonly\r\n";
    let agreed = accept(
        &LocalMedia {
            ptime_ms: 40,
            ..local()
        },
        text,
    )
    .unwrap();
    let opus = Format {
        payload_type_receive: 96,
        payload_type_send: 111,
        encoding: encoding(OPUS_16K, 40, 24_000),
        fec_bitrate_max: None,
    };
    assert_eq!(agreed.formats, [format(8, Codec::Pcma, 40, 0), opus]);
    assert_eq!(agreed.direction, Direction::SendOnly);
    assert!(!agreed.rtcp_mux);
    assert_eq!(agreed.remote_rtcp.unwrap().port(), 6_001);

    let ours = accept(
        &LocalMedia {
            order: Order::OursFirst,
            ..local()
        },
        text,
    )
    .unwrap();
    assert_eq!(
        ours.formats[0],
        Format {
            encoding: encoding(OPUS_16K, 20, 24_000),
            ..opus
        }
    );
}

#[test]
fn an_answer_may_leave_out_what_our_offer_has_defined() {
    let text = "v=0\nc=IN IP4 192.0.2.5\nm=audio 6000 RTP/AVP 99 102\n";
    assert_eq!(
        accept(&local(), text).unwrap().formats,
        [format(99, L16_16K, 20, 0)]
    );
    assert!(
        matches!(answer(text, &local()), Err(SdpError::NoCommonCodec { .. })),
        "an offer may not"
    );
}

#[test]
fn the_bit_rate_stays_within_what_opus_takes() {
    let narrow = LocalMedia {
        opus_bitrate: Some(1),
        ..local()
    };
    let (_, agreed) = answer(sample!("linphone"), &narrow).unwrap();
    assert_eq!(agreed.formats[0].encoding, encoding(OPUS_16K, 20, 6_000));
    let sentence = "Opus works at 16000 Hz, the remote has use for no more, with 6000 bit/s; it may carry FEC (the \
                    remote's useinbandfec); without DTX, which the remote does not ask for.";
    assert!(
        agreed.negotiation.iter().any(|said| said == sentence),
        "{:?}",
        agreed.negotiation
    );
}

#[test]
fn each_choice_is_explained() {
    let (_, agreed) = answer(sample!("linphone"), &local()).unwrap();
    let expected = [
        "We send opus/48000/2 as payload type 96: it is the first of the offer that we have.",
        "May also arrive: PCMU/8000, PCMA/8000, G729/8000.",
        "Left out: speex/16000, speex/8000, telephone-event/16000 (not supported, not allowed for this leg, without a \
         codec of that clock rate, or a repetition).",
        "Opus works at 16000 Hz, the remote has use for no more, with 20000 bit/s (the remote's maxaveragebitrate); it \
         may carry FEC (the remote's useinbandfec); without DTX, which the remote does not ask for.",
        "G.729 has Annex B (silence is described, not sent): the remote does not say annexb=no.",
        "Each packet we send holds 20 ms: the remote asks for nothing else.",
        "No comfort noise: what we send has pauses of its own, or none.",
        "Digits go as payload type 101 (telephone-event/48000), payload type 100 (telephone-event/8000).",
        "No SRTP: the offer has no a=crypto line.",
        "RTCP shares the RTP port, as both sides say (rtcp-mux).",
        "M-line 2 (video) is refused: one audio m-line is used.",
    ];
    assert_eq!(agreed.negotiation, expected);
}

#[test]
fn allow_lists_name_codecs_as_registered() {
    let named =
        |names: &[&str]| Codecs::named(names.iter().copied()).map(|codecs| codecs.as_slice().to_vec());
    assert_eq!(
        named(&["pcma/8000", "OPUS/48000/2", "L16/16000"]),
        Ok(vec![Codec::Pcma, OPUS_48K, L16_16K])
    );
    assert_eq!(
        named(&["opus/48000", "opus", "PCMU"]),
        Ok(vec![OPUS_48K, Codec::Pcmu])
    );
    assert_eq!(named(&["L16/8000", "L16"]), Ok(vec![L16_8K, L16_48K, L16_16K]));
    assert!(matches!(named(&[]), Err(SdpError::NoCodecs { .. })));
    let unknown = named(&["PCMA", "SILK\u{7}/24000-and-a-tail-that-goes-on-and-on"]).unwrap_err();
    let sentence = "the codec SILK?/24000-and-a-tail-t… is not known; supported are opus/48000/2, G722/8000, \
                    PCMU/8000, PCMA/8000, iLBC/8000, G729/8000, L16/48000, L16/16000, L16/8000, CN, telephone-event";
    assert_eq!(unknown.to_string(), sentence);
}

#[test]
fn a_side_with_narrower_opus_brings_both_sides_down_to_it() {
    let codecs = Codecs::new([OPUS_16K, OPUS_48K, Codec::Pcmu]).unwrap();
    assert_eq!(codecs.as_slice(), [OPUS_16K, Codec::Pcmu], "Opus is one codec");
    let wideband = LocalMedia { codecs, ..local() };
    let (text, wide_side) = answer(&offer(&wideband), &local()).unwrap();
    assert_eq!(wide_side.formats[0].encoding, encoding(OPUS_16K, 20, 24_000));
    assert_eq!(accept(&wideband, &text).unwrap().formats, wide_side.formats);

    let (text, agreed) = answer(sample!("freeswitch"), &wideband).unwrap();
    assert!(
        text.contains(
            "a=fmtp:102 maxplaybackrate=16000;sprop-maxcapturerate=16000;stereo=0;useinbandfec=1\r\n"
        ),
        "{text}"
    );
    let sentence = "Opus works at 16000 Hz, our list of codecs allows no more, with 24000 bit/s; it may carry FEC (the \
                    remote's useinbandfec); without DTX, which the remote does not ask for.";
    assert!(
        agreed.negotiation.iter().any(|said| said == sentence),
        "{:?}",
        agreed.negotiation
    );
}
