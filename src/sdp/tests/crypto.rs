//! SRTP keys in both roles (RFC 4568): which line is used, what is answered, what is refused, and that no key shows.

use super::*;

/// Keys of the examples in RFC 4568.
const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const OTHER_KEY: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";
/// 28, 44 and 46 bytes.
const GCM_KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJQ==";
const GCM_256_KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSojd0RmdmcmVCspeEc3QGY=";
const CM_256_KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSojd0RmdmcmVCspeEc3QGZiNQ==";

const CM_80: &str = "AES_CM_128_HMAC_SHA1_80";

/// PCMU over `transport` with these `a=crypto` lines.
fn offered(transport: &str, lines: &[&str]) -> String {
    let crypto: String = lines.iter().map(|line| format!("a=crypto:{line}\r\n")).collect();
    pcmu_with(&crypto).replace("RTP/AVP", transport)
}

fn encrypted() -> LocalMedia {
    LocalMedia {
        srtp_offer: SrtpOffer::Sdes,
        ..local()
    }
}

fn suite_and_mki(agreed: &Agreed) -> Option<(Suite, u8)> {
    let terms = agreed.srtp.as_ref()?;
    assert_eq!(terms.ours, key(terms.theirs.suite(), OUR_KEY_BYTE));
    Some((terms.theirs.suite(), terms.their_mki_bytes))
}

#[test]
fn a_line_is_used_or_left_out_with_its_reason() {
    use Suite::*;
    /// A line, and the suite with the length of the MKI, or the reason.
    type Row = (String, Result<(Suite, u8), &'static str>);
    let table: &[Row] = &[
        (
            format!("1 {CM_80} inline:{KEY}|2^20|1:4"),
            Ok((AesCm128HmacSha1_80, 4)),
        ),
        (format!("1 {CM_80} inline:{KEY}"), Ok((AesCm128HmacSha1_80, 0))),
        (
            format!("1 {CM_80} inline:{KEY}|1:128"),
            Ok((AesCm128HmacSha1_80, 128)),
        ),
        (
            format!("1 {CM_80} INLINE:{KEY}|1048576"),
            Ok((AesCm128HmacSha1_80, 0)),
        ),
        (
            format!("1 {CM_80}  inline:{KEY} \t"),
            Ok((AesCm128HmacSha1_80, 0)),
        ),
        (
            format!("1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^48|17:32"),
            Ok((AesCm128HmacSha1_32, 32)),
        ),
        (
            format!("1 AEAD_AES_128_GCM inline:{GCM_KEY}"),
            Ok((AeadAes128Gcm, 0)),
        ),
        (
            format!("1 AEAD_AES_128_GCM inline:{}", GCM_KEY.trim_end_matches('=')),
            Ok((AeadAes128Gcm, 0)),
        ),
        (
            format!("1 AEAD_AES_256_GCM inline:{GCM_256_KEY}"),
            Ok((AeadAes256Gcm, 0)),
        ),
        (
            format!("1 AES_256_CM_HMAC_SHA1_80 inline:{CM_256_KEY}"),
            Ok((AesCm256HmacSha1_80, 0)),
        ),
        (
            format!("1 AES_CM_256_HMAC_SHA1_80 inline:{CM_256_KEY}"),
            Ok((AesCm256HmacSha1_80, 0)),
        ),
        (
            format!("1 {CM_80} inline:{KEY}|2^20|1:4;inline:{OTHER_KEY}|2^20|2:4"),
            Ok((AesCm128HmacSha1_80, 4)),
        ),
        (
            format!("1 {CM_80} inline:{KEY} WSH=64 -EXT=1"),
            Ok((AesCm128HmacSha1_80, 0)),
        ),
        (
            format!("999999999 {CM_80} inline:{KEY}"),
            Ok((AesCm128HmacSha1_80, 0)),
        ),
        (String::new(), Err("no tag, suite and key")),
        ("1".to_owned(), Err("no tag, suite and key")),
        (format!("1 {CM_80}"), Err("no tag, suite and key")),
        (
            format!("1234567890 {CM_80} inline:{KEY}"),
            Err("its tag is not a number"),
        ),
        (format!("+1 {CM_80} inline:{KEY}"), Err("its tag is not a number")),
        (format!("{CM_80} inline:{KEY}"), Err("its tag is not a number")),
        (
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            Err("its suite F8_128_HMAC_SHA1_80 is not supported"),
        ),
        (format!("1 inline:{KEY} {CM_80}"), Err("its suite is not known")),
        (format!("1 {KEY} {CM_80}"), Err("its suite is not known")),
        (format!("1 {CM_80} {KEY}"), Err("its key is not given inline")),
        (format!("1 {CM_80} uri:{KEY}"), Err("its key is not given inline")),
        (
            format!("1 {CM_80} inline:{KEY};{OTHER_KEY}"),
            Err("its key is not given inline"),
        ),
        (
            format!("1 {CM_80} inline: {KEY}"),
            Err("its key and salt have 0 bytes"),
        ),
        (
            format!("1 {CM_80} inline:{}", &KEY[..37]),
            Err("its key is not valid base64"),
        ),
        (
            format!("1 {CM_80} inline:-{}", &KEY[1..]),
            Err("its key is not valid base64"),
        ),
        (
            format!("1 {CM_80} inline:{}", &KEY[..36]),
            Err("its key and salt have 27 bytes"),
        ),
        (
            format!("1 {CM_80} inline:{}8=", &KEY[..38]),
            Err("its key and salt have 29 bytes"),
        ),
        (
            format!("1 {CM_80} inline:{CM_256_KEY}"),
            Err("its key and salt have 46 bytes"),
        ),
        (
            format!("1 {CM_80} inline:{}", KEY.repeat(3)),
            Err("its key and salt have 90 bytes"),
        ),
        (
            format!("1 {CM_80} inline:{}", KEY.repeat(40)),
            Err("too many bytes for AES_CM_128"),
        ),
        (
            format!("1 AEAD_AES_128_GCM inline:{KEY}"),
            Err("its key and salt have 30 bytes"),
        ),
        (format!("1 {CM_80} inline:{KEY}|2^49"), Err("its lifetime")),
        (format!("1 {CM_80} inline:{KEY}|0"), Err("its lifetime")),
        (format!("1 {CM_80} inline:{KEY}|+1"), Err("its lifetime")),
        (format!("1 {CM_80} inline:{KEY}|"), Err("its lifetime")),
        (format!("1 {CM_80} inline:{KEY}|2^20|"), Err("its MKI")),
        (format!("1 {CM_80} inline:{KEY}|2^20|:4"), Err("its MKI")),
        (format!("1 {CM_80} inline:{KEY}|2^20|1:0"), Err("its MKI")),
        (format!("1 {CM_80} inline:{KEY}|2^20|1:129"), Err("its MKI")),
        (format!("1 {CM_80} inline:{KEY}|2^20|1:4|2:4"), Err("its MKI")),
        (format!("1 {CM_80} inline:{KEY}|1:4|2^20"), Err("its MKI")),
        (
            format!("1 {CM_80} inline:{KEY};inline:{OTHER_KEY}"),
            Err("it has several keys"),
        ),
        (
            format!("1 {CM_80} inline:{KEY}|1:4;inline:{OTHER_KEY}|2:2"),
            Err("it has several keys"),
        ),
        (
            format!("1 {CM_80} inline:{KEY} KDR=0"),
            Err("its session parameter KDR is"),
        ),
        (
            format!("1 {CM_80} inline:{KEY} WSH=64 UNENCRYPTED_SRTP"),
            Err("its session parameter UNENCRYPTED_SRTP is"),
        ),
        (
            format!("1 {CM_80} inline:{KEY} unencrypted_srtcp"),
            Err("its session parameter UNENCRYPTED_SRTCP is"),
        ),
        (
            format!("1 {CM_80} inline:{KEY} UNAUTHENTICATED_SRTP"),
            Err("its session parameter UNAUTHENTICATED_SRTP is"),
        ),
        (
            format!("1 {CM_80} inline:{KEY} FEC_ORDER=SRTP_FEC"),
            Err("its session parameter FEC_ORDER is"),
        ),
        (
            format!("1 {CM_80} inline:{KEY} FEC_KEY=inline:{OTHER_KEY}"),
            Err("its session parameter FEC_KEY is"),
        ),
        (
            format!("1 {CM_80} inline:{KEY} {OTHER_KEY}"),
            Err("it has a session parameter that is not known"),
        ),
    ];
    for (line, expected) in table {
        match (answer(&offered("RTP/SAVP", &[line]), &local()), expected) {
            (Ok((_, agreed)), Ok(expected)) => assert_eq!(suite_and_mki(&agreed), Some(*expected), "{line}"),
            (Err(SdpError::NoUsableCrypto { reasons }), Err(reason)) => {
                assert!(reasons.starts_with("of line 1, "), "{line}: {reasons}");
                assert!(reasons.contains(reason), "{line}: {reasons}");
            }
            (outcome, _) => panic!("{line}: {outcome:?}"),
        }
        let (text, agreed) = answer(&offered("RTP/AVP", &[line]), &local()).expect("plain RTP will do");
        assert_eq!(suite_and_mki(&agreed), expected.ok(), "{line}");
        assert_eq!(text.contains("a=crypto"), expected.is_ok(), "{text}");
        if let Err(reason) = expected {
            let says = |sentence: &String| {
                sentence.starts_with("The a=crypto line 1 is left out: ") && sentence.contains(reason)
            };
            assert!(
                agreed.negotiation.iter().any(says),
                "{line}: {:?}",
                agreed.negotiation
            );
        }
    }
}

#[test]
fn the_first_usable_line_is_answered_with_its_tag_and_suite_and_our_key() {
    let lines = [
        format!("07 F8_128_HMAC_SHA1_80 inline:{KEY}"),
        format!("008 AES_CM_256_HMAC_SHA1_80 inline:{CM_256_KEY}"),
        format!("9 AEAD_AES_128_GCM inline:{GCM_KEY}"),
        format!("8 {CM_80} inline:{KEY}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    for transport in ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"] {
        let (text, agreed) = answer(&offered(transport, &lines), &local()).unwrap();
        let terms = agreed.srtp.expect("keys are agreed on");
        assert_eq!(terms.theirs.suite(), Suite::AesCm256HmacSha1_80);
        assert_eq!(&terms.theirs.as_bytes()[..5], b"wDfvg");
        assert!(
            text.contains(&format!("\r\nm=audio 10000 {transport} 0\r\n")),
            "{text}"
        );
        let ours = "\r\na=crypto:008 AES_CM_256_HMAC_SHA1_80 inline:WlpaWlpaWlpa";
        assert!(text.contains(ours), "{text}");
        assert_eq!(text.matches("a=crypto").count(), 1, "{text}");
        let sentences = [
            "SRTP with AES_256_CM_HMAC_SHA1_80, by the a=crypto line of tag 008: the first of the offer that can be used.",
            "The a=crypto line 1 is left out: its suite F8_128_HMAC_SHA1_80 is not supported.",
            "The a=crypto line 4 is left out: its tag stands on a line before it.",
        ];
        for sentence in sentences {
            assert!(
                agreed.negotiation.iter().any(|said| said == sentence),
                "{:?}",
                agreed.negotiation
            );
        }
    }
}

#[test]
fn a_transport_for_srtp_alone_is_refused_without_a_key_and_the_reply_says_why() {
    let sentence = |lines: &[&str]| {
        answer(&offered("RTP/SAVP", lines), &local())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        sentence(&[]),
        "the media has to be encrypted, and no a=crypto line can be used: there is none"
    );
    assert_eq!(
        sentence(&["1 NULL_HMAC_SHA1_80 inline:", "x", "3", "4", "5"]),
        "the media has to be encrypted, and no a=crypto line can be used: of line 1, its suite NULL_HMAC_SHA1_80 is not \
         supported; of line 2, its tag is not a number of 1 to 9 digits; of line 3, it has no tag, suite and key; and 2 \
         more"
    );
    let good = format!("99 {CM_80} inline:{KEY}");
    let mut many = vec!["x"; 32];
    many.push(&good);
    assert!(sentence(&many).ends_with("; and 30 more"), "{}", sentence(&many));
    many.remove(0);
    assert!(
        answer(&offered("RTP/SAVP", &many), &local()).is_ok(),
        "32 lines are read"
    );
    let without_keys = LocalMedia {
        keys: Vec::new(),
        ..local()
    };
    let refused = answer(&offered("RTP/SAVP", &[&good]), &without_keys);
    assert!(matches!(refused, Err(SdpError::NoUsableCrypto { .. })));
}

#[test]
fn an_encrypted_m_line_without_a_key_gives_way_to_a_plain_one() {
    let two = |crypto: &str| {
        pcmu_with(&format!(
            "c=IN IP6 2001:db8::1\r\n{crypto}m=audio 4002 RTP/AVP 8\r\n"
        ))
        .replace("RTP/AVP 0", "RTP/SAVP 0")
    };
    let text = two("a=crypto:1 NONE_NONE inline:x\r\n");
    let (answered, agreed) = answer(&text, &local()).unwrap();
    assert!(
        answered.contains("m=audio 0 RTP/SAVP 0\r\nm=audio 10000 RTP/AVP 8\r\n"),
        "{answered}"
    );
    assert_eq!((offered_family(&text), agreed.srtp), (Some(Family::Ipv4), None));

    let text = two(&format!("a=crypto:1 {CM_80} inline:{KEY}\r\n"));
    let (answered, agreed) = answer(&text, &local()).unwrap();
    assert!(answered.contains("m=audio 10000 RTP/SAVP 0\r\n"), "{answered}");
    assert_eq!(offered_family(&text), Some(Family::Ipv6));
    assert!(agreed.srtp.is_some());
}

#[test]
fn our_offer_has_a_line_for_each_suite_and_the_answer_picks_one_by_tag_and_suite() {
    let text = offer(&encrypted());
    assert!(text.contains("\r\nm=audio 10000 RTP/SAVP 96 "), "{text}");
    let offered_suites: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("a=crypto:")?.split(" inline:").next())
        .collect();
    let expected = [
        "1 AEAD_AES_128_GCM",
        "2 AES_CM_128_HMAC_SHA1_80",
        "3 AES_CM_128_HMAC_SHA1_32",
        "4 AEAD_AES_256_GCM",
        "5 AES_256_CM_HMAC_SHA1_80",
    ];
    assert_eq!(offered_suites, expected);

    let accepted = |transport: &str, lines: &[&str]| accept(&encrypted(), &offered(transport, lines));
    let good = format!("2 {CM_80} inline:{KEY}|2^31|1:4");
    for transport in ["RTP/SAVP", "RTP/SAVPF", "RTP/AVP"] {
        let agreed = accepted(transport, &[&good]).unwrap();
        assert_eq!(suite_and_mki(&agreed), Some((Suite::AesCm128HmacSha1_80, 4)));
        let sentence = "SRTP with AES_CM_128_HMAC_SHA1_80, by the a=crypto line of tag 2: the line of our offer that the \
                        answer repeats. The remote's packets carry an MKI (length 4), which is not looked at.";
        assert!(
            agreed.negotiation.iter().any(|said| said == sentence),
            "{:?}",
            agreed.negotiation
        );
    }
    let wrong_tag = format!("3 {CM_80} inline:{KEY}");
    let unknown_tag = format!("6 {CM_80} inline:{KEY}");
    let wrong_suite = format!("2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}");
    for line in [&wrong_tag, &unknown_tag, &wrong_suite] {
        for transport in ["RTP/SAVP", "RTP/AVP"] {
            let reasons = "of line 1, its tag and suite are not those of a line of our offer".to_owned();
            let refused = Err(SdpError::NoUsableCrypto { reasons });
            assert_eq!(accepted(transport, &[line]), refused, "{line}");
        }
    }
    let reasons = "there is none".to_owned();
    assert_eq!(
        accepted("RTP/AVP", &[]),
        Err(SdpError::NoUsableCrypto { reasons }),
        "an answer does not take the encryption away"
    );
}

#[test]
fn an_answer_adds_no_encryption_to_a_plain_offer() {
    let line = format!("1 {CM_80} inline:{KEY}");
    assert_eq!(
        accept(&local(), &offered("RTP/SAVP", &[&line])),
        Err(SdpError::AnswerNeedsSrtp)
    );
    let agreed = accept(&local(), &offered("RTP/AVP", &[&line])).unwrap();
    assert_eq!(agreed.srtp, None);
    let sentence = "No SRTP: our offer asks for none.";
    assert!(
        agreed.negotiation.iter().any(|said| said == sentence),
        "{:?}",
        agreed.negotiation
    );
}

#[test]
fn two_of_us_agree_on_each_others_keys() {
    let callee = LocalMedia {
        keys: SUITES.map(|suite| key(suite, 0xa5)).to_vec(),
        ..local()
    };
    for suite in SUITES {
        let caller = LocalMedia {
            keys: vec![key(suite, OUR_KEY_BYTE)],
            ..encrypted()
        };
        let (text, callee_side) = answer(&offer(&caller), &callee).unwrap();
        let caller_side = accept(&caller, &text).unwrap().srtp.unwrap();
        let callee_side = callee_side.srtp.unwrap();
        assert_eq!(
            (&caller_side.ours, &caller_side.theirs),
            (&callee_side.theirs, &callee_side.ours)
        );
        assert_eq!(caller_side.ours.suite(), suite);
        assert_eq!((caller_side.their_mki_bytes, callee_side.their_mki_bytes), (0, 0));
    }
}

#[test]
fn a_re_offer_is_obeyed_in_its_keys() {
    let terms = |transport: &str, lines: &[&str]| {
        let (_, agreed) = answer(&offered(transport, lines), &local()).unwrap();
        agreed.srtp
    };
    let first = format!("1 {CM_80} inline:{KEY}");
    let before = terms("RTP/SAVP", &[&first]);
    assert!(before.is_some());
    assert_eq!(terms("RTP/SAVP", &[&first]), before, "the same keys");
    let same_in_other_words = format!("2 {CM_80} inline:{KEY}|2^20 WSH=128");
    assert_eq!(terms("RTP/AVP", &[&same_in_other_words]), before);

    let rekeyed = terms("RTP/SAVP", &[&format!("1 {CM_80} inline:{OTHER_KEY}")]);
    assert_ne!(rekeyed, before);
    assert_eq!(
        rekeyed.unwrap().ours,
        before.clone().unwrap().ours,
        "ours goes on"
    );
    let other_suite = terms("RTP/SAVP", &[&format!("1 AEAD_AES_128_GCM inline:{GCM_KEY}")]);
    assert_ne!(other_suite.unwrap().ours, before.unwrap().ours);
    assert_eq!(terms("RTP/AVP", &[]), None, "encryption is dropped");
}

#[test]
fn no_key_shows_in_what_is_said_or_printed() {
    let lines = [
        format!("1 {CM_80} inline:{KEY} {OTHER_KEY}"),
        format!("2 {KEY} inline:{OTHER_KEY}"),
        format!("3 {CM_80} {KEY}"),
        format!("{KEY} {CM_80} inline:{OTHER_KEY}"),
        format!("4 {CM_80} inline:{KEY} FEC_KEY=inline:{OTHER_KEY}"),
        format!("5 {CM_80} inline:{KEY}|{OTHER_KEY}"),
        format!("6 {CM_80} inline:{KEY}|1:4;{OTHER_KEY}"),
        format!("7 {CM_80} inline:{KEY}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    // Our own key is a repeated byte, known by any stretch of its base64 or of its bytes.
    let is_absent = |shown: &str| {
        for key in [KEY, OTHER_KEY, "WlpaWlpa"] {
            for stretch in (0..=key.len() - 8).map(|at| &key[at..at + 8]) {
                assert!(!shown.contains(stretch), "{stretch} in {shown}");
            }
        }
        assert!(!shown.contains("90, 90") && !shown.contains("5a, 5a"), "{shown}");
    };
    for count in 0..=lines.len() {
        for transport in ["RTP/AVP", "RTP/SAVP"] {
            let text = offered(transport, &lines[..count]);
            is_absent(&format!("{:?}", Session::parse(&text)));
            is_absent(&format!("{:?}", SdpText::from(text.clone())));
            match answer(&text, &local()) {
                Ok((_, agreed)) => {
                    is_absent(&format!("{agreed:?}"));
                    is_absent(&agreed.negotiation.join(" "));
                }
                Err(error) => {
                    is_absent(&format!("{error:?}"));
                    is_absent(&error.to_string());
                }
            }
            for local in [local(), encrypted()] {
                is_absent(&format!("{local:?} {:?}", accept(&local, &text)));
            }
        }
    }
}
