//! What each fuzz target does with its bytes: it calls a parser and checks what must hold of any outcome.
//!
//! Both the fuzzer and `cargo test` (`tests/suite/fuzz_corpus.rs`) run these functions; a broken promise is a panic.

use std::net::{IpAddr, Ipv4Addr};

use mixminus::sdp::{self, Agreed, Codecs, FORMATS_MAX, LocalMedia, Order, SdpError, Session};

/// A session description: as an offer to answer and as the answer to an offer of ours.
pub fn sdp(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let local = local_media();

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
        }
        Err(error) => check_refusal(&error),
    }
    match sdp::accept(&local, text) {
        Ok(agreed) => check_agreement(&agreed),
        Err(error) => check_refusal(&error),
    }
}

fn local_media() -> LocalMedia {
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
    }
}

fn check_agreement(agreed: &Agreed) {
    assert!((1..=FORMATS_MAX).contains(&agreed.formats.len()));
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
