//! Replays the kept fuzz corpora through the very functions the fuzzer calls, so that what it once found stays found.

use std::fs;
use std::path::Path;

#[path = "../fuzz/promises.rs"]
mod promises;

#[test]
fn every_kept_session_description_keeps_the_promises_of_the_parser() {
    replay("sdp", promises::sdp);
}

#[test]
fn every_kept_datagram_keeps_the_promises_of_the_rtp_parser() {
    replay("rtp", promises::rtp);
}

#[test]
fn every_kept_report_keeps_the_promises_of_the_rtcp_parser() {
    replay("rtcp", promises::rtcp);
}

#[test]
fn every_kept_header_extension_keeps_the_promises_of_the_rtp_parser() {
    replay("header_extension", promises::header_extension);
}

#[test]
fn every_kept_series_of_arrivals_keeps_the_promises_of_the_playout() {
    replay("playout", promises::playout);
}

#[test]
fn every_kept_run_of_telephone_events_keeps_the_promises_of_the_receiver() {
    replay("telephone_event", promises::telephone_event);
}

#[test]
fn every_kept_series_of_payloads_keeps_the_promises_of_the_decoders() {
    replay("decoders", promises::decoders);
}

#[test]
fn every_kept_description_of_noise_keeps_the_promises_of_the_comfort_noise() {
    replay("comfort_noise", promises::comfort_noise);
}

#[test]
fn every_kept_course_of_reports_leaves_a_leg_that_goes_on_and_says_what_can_be() {
    replay("reports", promises::reports);
}

#[test]
fn every_kept_srtp_datagram_is_refused_and_every_packet_in_it_comes_back() {
    replay("srtp", promises::srtp);
}

#[test]
fn every_kept_srtcp_datagram_is_refused_and_every_packet_in_it_comes_back() {
    replay("srtcp", promises::srtcp);
}

#[test]
fn every_kept_heap_of_segments_is_read_in_order_and_to_an_end() {
    replay("journal", promises::journal);
}

#[test]
fn every_kept_destination_stays_where_it_may_be_and_keeps_its_secret() {
    replay("destination", promises::destination);
}

/// Runs `body` on each file of a corpus. The name of the one that fails is printed.
fn replay(corpus: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(corpus);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a corpus is readable").path())
        .collect();
    files.sort();
    assert!(
        files.len() >= 10,
        "{} holds only {} files",
        folder.display(),
        files.len()
    );
    for file in files {
        let bytes = fs::read(&file).expect("a corpus is readable");
        if let Err(broken) = std::panic::catch_unwind(|| body(&bytes)) {
            eprintln!("the corpus file {} breaks a promise", file.display());
            std::panic::resume_unwind(broken);
        }
    }
}
