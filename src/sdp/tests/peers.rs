//! What becomes of the offers of real peers, and of the same offers when they are damaged.

use super::*;

#[test]
fn offers_of_real_peers_are_answered_as_written_here() {
    for expected in offers::OFFERS {
        for text in [expected.offer.to_owned(), expected.offer.replace('\n', "\r\n")] {
            let (answer, agreed) =
                answer(&text, &local()).unwrap_or_else(|e| panic!("{}: {e}", expected.name));
            let formats: Vec<Format> = expected
                .formats
                .iter()
                .map(|(number, codec, ptime, bps, flags)| {
                    with_flags(format(*number, *codec, *ptime, *bps), flags)
                })
                .collect();
            assert_eq!(agreed.formats, formats, "{}", expected.name);
            for (companions, expected_companions) in [
                (&agreed.comfort_noise, expected.comfort_noise),
                (&agreed.telephone_events, expected.telephone_events),
            ] {
                let found: Vec<(u8, u32)> = companions
                    .iter()
                    .map(|companion| (companion.payload_type_receive, companion.clock_hz))
                    .collect();
                assert_eq!(found, expected_companions, "{}", expected.name);
            }
            let srtp = agreed.srtp.as_ref().map(|terms| {
                assert_eq!(
                    terms.ours,
                    key(terms.theirs.suite(), OUR_KEY_BYTE),
                    "{}",
                    expected.name
                );
                (terms.theirs.suite(), terms.their_mki_bytes)
            });
            assert_eq!(srtp, expected.srtp, "{}", expected.name);
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
    for expected in offers::OFFERS {
        for _ in 0..1_000 {
            let text = mutated(&mut random, expected.offer);
            let encrypted = LocalMedia {
                srtp_offer: SrtpOffer::Sdes,
                ..local()
            };
            for outcome in [
                answer(&text, &local()).map(|(_, agreed)| agreed),
                accept(&local(), &text),
                accept(&encrypted, &text),
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
        ["SDP", "line", "support", "transport"]
            .iter()
            .any(|word| sentence.contains(word)),
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
