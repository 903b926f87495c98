//! Real sockets, for what the simulation cannot show: ports, addresses, kernel timestamps, media threads, and legs that
//! change their engine while packets flow.

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use mixminus::rtp::ntp;
use mixminus::rtp::rtcp::{self, ReportBlock, Rtcp, SenderReport};
use serde_json::json;

use crate::support::http::{Served, eventually};
use crate::support::phone::{Phone, TONE_A, TONE_B, listen, share_with, wait};

#[test]
fn two_phones_hear_each_other_and_not_themselves_over_either_family() {
    for (ip, bind) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1")] {
        if UdpSocket::bind((ip.parse::<IpAddr>().unwrap(), 0)).is_err() {
            eprintln!("skipped for {ip}: this machine has no such address");
            continue;
        }
        let served = Served::start(&[&format!("rtp.bind={bind}")]);
        let (mut a, mut b) = (Phone::bind(ip), Phone::bind(ip));
        a.seat(&served, "room", "a", TONE_A);
        b.seat(&served, "room", "b", TONE_B);
        wait(1_500);
        let (a, b) = (listen(&a.hang_up()), listen(&b.hang_up()));
        assert!(
            share_with(&a, TONE_B) > 0.8 && share_with(&b, TONE_A) > 0.8,
            "{ip}"
        );
        assert!(
            share_with(&a, TONE_A) == 0.0 && share_with(&b, TONE_B) == 0.0,
            "{ip}"
        );
    }
}

#[test]
fn a_phone_that_moves_between_engines_gets_every_packet_and_is_heard_where_it_went() {
    let served = Served::start(&[]);
    let (mut a, mut b, mut c) = (
        Phone::bind("127.0.0.1"),
        Phone::bind("127.0.0.1"),
        Phone::bind("127.0.0.1"),
    );
    a.seat(&served, "one", "a", TONE_A);
    b.seat(&served, "one", "b", 0.0);
    c.seat(&served, "two", "c", 0.0);
    let engine = |room: &str| served.get(&format!("/v1/conferences/id/{room}")).json(200)["engine"].clone();
    assert_ne!(engine("one"), engine("two"));
    wait(400);
    for round in 0..9 {
        let to = if round % 2 == 0 { "two" } else { "one" };
        served
            .patch("/v1/legs/a", &json!({ "conferenceId": to }))
            .json(200);
        wait(150);
    }
    wait(1_000);
    // No packet of what it said was lost on the way, nor of what it heard.
    let media = served.get("/v1/legs/a").json(200)["media"].clone();
    assert_eq!(media["packetsLost"], 0, "{media}");
    let (a, b, c) = (a.hang_up(), listen(&b.hang_up()), listen(&c.hang_up()));
    listen(&a);
    assert!(share_with(&c, TONE_A) > 0.8, "it is heard where it went");
    assert!(share_with(&b, TONE_A) == 0.0, "and no longer where it was");
}

#[test]
fn what_is_sent_carries_the_configured_code_point() {
    use std::os::fd::AsRawFd;
    let served = Served::start(&["rtp.dscp=34"]);
    // It only listens: the daemon sends to where the SDP says, whether it is spoken to or not.
    let a = Phone::bind("127.0.0.1");
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option value is an int of the length given.
    let set = unsafe {
        libc::setsockopt(
            a.socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_RECVTOS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
    let body = json!({ "conferenceId": "room", "callId": "a", "sdp": a.offer() });
    served.post("/v1/legs", &body).json(201);
    let mut traffic_class = None;
    let deadline = Instant::now() + Duration::from_secs(5);
    while traffic_class.is_none() && Instant::now() < deadline {
        traffic_class = received_traffic_class(&a.socket);
        wait(5);
    }
    assert_eq!(traffic_class, Some(34 << 2));
}

/// The traffic class of the next datagram, if there is one.
fn received_traffic_class(socket: &UdpSocket) -> Option<u8> {
    use std::os::fd::AsRawFd;
    let (mut bytes, mut control) = ([0_u8; 2_048], [0_u64; 8]);
    let mut segment = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all-zero bytes are a valid msghdr.
    let mut message = unsafe { std::mem::zeroed::<libc::msghdr>() };
    message.msg_iov = &raw mut segment;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: iov and control point to live buffers of the lengths given; the descriptor is open.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    if len < 0 {
        return None;
    }
    // SAFETY: the message was filled by recvmsg, and a message of this type carries one byte.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (!header.is_null() && (*header).cmsg_type == libc::IP_TOS).then(|| *libc::CMSG_DATA(header))
    }
}

#[test]
fn a_recording_of_real_packets_holds_what_was_said() {
    let served = Served::start(&[]);
    let mut a = Phone::bind("127.0.0.1");
    a.seat(&served, "room", "a", TONE_A);
    let started = served
        .post(
            "/v1/conferences/id/room/recording",
            &json!({ "sampleRate": 8000 }),
        )
        .json(201);
    wait(1_500);
    served.delete("/v1/conferences/id/room/recording");
    let id = started["recordingId"].as_str().unwrap().to_owned();
    let path = format!("/v1/recordings/{id}");
    eventually("the recording is available", || {
        served.get(&path).json(200)["state"] == "available"
    });
    let wav = served.get(&format!("{path}/audio")).bytes;
    let sound: Vec<f32> = wav[44..]
        .chunks_exact(2)
        .map(|bytes| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32_768.0)
        .collect();
    assert!(sound.len() > 8_000, "{} samples", sound.len());
    assert!(share_with(&sound, TONE_A) > 0.8);
    a.hang_up();
}

/// The first sender report of ours among what came.
fn sender_report(reports: &[Vec<u8>]) -> Option<SenderReport<'_>> {
    let mut packets = reports.iter().flat_map(|report| rtcp::validate(report).unwrap());
    packets.find_map(|packet| match packet {
        Rtcp::SenderReport(report) => Some(report),
        _ => None,
    })
}

/// What the remote answers at once to a report of ours.
fn answer_to(report: &SenderReport) -> Vec<u8> {
    let block = ReportBlock {
        ssrc: report.ssrc,
        fraction_lost: 128,
        last_sender_report: report.sender.last_sender_report(),
        ..ReportBlock::default()
    };
    let mut answer = vec![0; rtcp::DATAGRAM_BYTES_MAX];
    let len = rtcp::write_receiver_report(&mut answer, 77, &[block], b"phone").unwrap();
    answer.truncate(len);
    answer
}

fn says_bye(report: &[u8]) -> bool {
    rtcp::validate(report)
        .unwrap()
        .any(|packet| matches!(packet, Rtcp::Bye(_)))
}

#[test]
fn reports_go_both_ways_over_the_port_that_was_agreed_on_and_the_end_is_told() {
    let served = Served::start(&[]);
    let (mut shared, mut apart) = (Phone::bind("127.0.0.1"), Phone::bind("127.0.0.1"));
    let own = UdpSocket::bind("127.0.0.1:0").unwrap();
    own.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    shared.attributes = "a=rtcp-mux\r\n".to_owned();
    apart.attributes = format!("a=rtcp:{}\r\n", own.local_addr().unwrap().port());
    let port_of_shared = shared.seat(&served, "room", "shared", TONE_A);
    let port_of_apart = apart.seat(&served, "room", "apart", TONE_B);

    let mut buffer = [0; 2_048];
    let (len, from) = own.recv_from(&mut buffer).unwrap();
    assert_eq!(from.port(), port_of_apart.port() + 1, "by the port beside");
    let reports = [buffer[..len].to_vec()];
    let report = sender_report(&reports).expect("it is sent sound");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let told = (report.sender.ntp >> 32) as u32;
    let now = (now + 2_208_988_800) as u32;
    assert!(
        now.wrapping_sub(told).wrapping_add(2) < 30,
        "{told} is about {now}"
    );
    assert_ne!(ntp::middle(report.sender.ntp), 0);
    own.send_to(&answer_to(&report), from).unwrap();

    eventually("a report came over the shared port", || {
        sender_report(&shared.reports.lock().unwrap()).is_some()
    });
    let answer = answer_to(&sender_report(&shared.reports.lock().unwrap()).unwrap());
    shared.socket.send_to(&answer, port_of_shared).unwrap();

    for call in ["shared", "apart"] {
        let path = format!("/v1/legs/{call}");
        eventually("the answer is taken in", || {
            served.get(&path).json(200)["media"]["rtcpReceived"] == 1
        });
        let media = served.get(&path).json(200)["media"].clone();
        assert_eq!(media["remoteLossPercent"], 50.0, "{media}");
        assert!(media["rtcpSent"].as_u64().unwrap() >= 1, "{media}");
        // However busy the machine: the phone answered within the seconds that this test takes.
        let round_trip = media["roundTripMs"].as_f64().unwrap();
        assert!((0.0..20_000.0).contains(&round_trip), "{media}");
        assert_eq!(media["byeReceived"], false);
        served.delete(&path);
    }
    loop {
        let (len, _) = own.recv_from(&mut buffer).expect("a leave is told");
        if says_bye(&buffer[..len]) {
            break;
        }
    }
    eventually("the leave is told over the shared port", || {
        shared
            .reports
            .lock()
            .unwrap()
            .iter()
            .any(|report| says_bye(report))
    });
    listen(&apart.hang_up());
    listen(&shared.hang_up());
}
