//! SRTP keys between switch and daemon: in the descriptions of a leg, and nowhere else.

use serde_json::{Value, json};

use crate::support::http::{Served, sdp};

/// Those of the examples in RFC 4568.
pub const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";
const OTHER_KEY: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";
const GCM_KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJQ==";

fn encrypted(crypto: &str) -> String {
    sdp(5004, "RTP/SAVP 0", &format!("a=crypto:{crypto}\r\n"))
}

/// Tag, suite and key of each `a=crypto` line in the leg's description.
pub fn crypto_lines(leg: &Value) -> Vec<(String, String, String)> {
    let text = leg["sdp"].as_str().unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
    lines
        .map(|line| {
            let mut fields = line.split(' ').map(str::to_owned);
            let mut next = || fields.next().unwrap();
            (next(), next(), next().strip_prefix("inline:").unwrap().to_owned())
        })
        .collect()
}

#[test]
fn an_encrypted_leg_keeps_our_key_until_the_suite_is_another() {
    let served = Served::start(&[]);
    let create = |call: &str| {
        let offer = encrypted(&format!("7 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"));
        let body = json!({ "conferenceId": "r", "callId": call, "sdp": offer });
        served.post("/v1/legs", &body).json(201)
    };
    let offered_again = |offer: String| {
        let leg = served.patch("/v1/legs/a", &json!({ "sdp": offer })).json(200);
        crypto_lines(&leg).into_iter().next()
    };
    let first = crypto_lines(&create("a")).remove(0);
    assert_eq!((&first.0[..], &first.1[..]), ("7", "AES_CM_128_HMAC_SHA1_80"));
    assert_eq!(first.2.len(), 40);
    assert_ne!(first.2, KEY);
    assert_ne!(
        crypto_lines(&create("b"))[0].2,
        first.2,
        "each leg has a key of its own"
    );

    let rekeyed = offered_again(encrypted(&format!(
        "1 AES_CM_128_HMAC_SHA1_80 inline:{OTHER_KEY}"
    )));
    assert_eq!(rekeyed.unwrap().2, first.2, "the remote's new key is not ours");
    let other_suite = offered_again(encrypted(&format!("1 AEAD_AES_128_GCM inline:{GCM_KEY}")));
    assert_eq!(other_suite.unwrap().1, "AEAD_AES_128_GCM");
    let back = offered_again(encrypted(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"))).unwrap();
    assert_ne!(back.2, first.2, "a key does not come back");
    assert_eq!(offered_again(sdp(5004, "RTP/AVP 0", "")), None);
    let again = offered_again(encrypted(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"))).unwrap();
    assert_ne!(again.2, back.2, "nor after a time without encryption");
}

#[test]
fn our_offer_is_encrypted_where_it_is_asked_to_be() {
    let served = Served::start(&[]);
    let body = json!({
        "conferenceId": "r", "callId": "a", "codecs": ["PCMU"], "offer": { "srtp": "sdes" },
    });
    let offered = served.post("/v1/legs", &body).json(201);
    let text = offered["sdp"].as_str().unwrap();
    assert!(text.contains(" RTP/SAVP 0 "), "{text}");
    let lines = crypto_lines(&offered);
    assert_eq!(lines.len(), 5);
    let answer = |tag: &str| encrypted(&format!("{tag} AES_CM_128_HMAC_SHA1_80 inline:{KEY}"));
    for refused in [
        answer("1"),
        sdp(5004, "RTP/AVP 0", ""),
        sdp(5004, "RTP/SAVP 0", ""),
    ] {
        let message = served
            .patch("/v1/legs/a", &json!({ "sdp": refused }))
            .refused(40001);
        assert!(message.contains("no a=crypto line can be used"), "{message}");
        assert!(!message.contains(&KEY[..8]), "{message}");
    }
    let line = lines
        .iter()
        .find(|line| line.1 == "AES_CM_128_HMAC_SHA1_80")
        .unwrap();
    let connected = served
        .patch("/v1/legs/a", &json!({ "sdp": answer(&line.0) }))
        .json(200);
    assert_eq!(connected["state"], "connected");
    let sentences = connected["negotiation"].to_string();
    assert!(
        sentences.contains("SRTP with AES_CM_128_HMAC_SHA1_80"),
        "{sentences}"
    );
    assert!(
        !sentences.contains(&KEY[..8]) && !sentences.contains(&line.2[..8]),
        "{sentences}"
    );
    // What was offered goes on as the answer to what the remote offers later.
    let later = served
        .patch("/v1/legs/a", &json!({ "sdp": answer("4") }))
        .json(200);
    assert_eq!(
        crypto_lines(&later),
        [("4".to_owned(), line.1.clone(), line.2.clone())]
    );
}
