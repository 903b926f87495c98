//! A bad network between real sockets and a real daemon, as `mixminus load --impair` puts it there: the kernel's
//! sockets, clocks and threads in the place of the simulated ones.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mixminus::codec::Codec;
use mixminus::load::api::Api;
use mixminus::load::codecs::encoding;
use mixminus::load::run::{Target, Timing, run};
use mixminus::load::scenario::Scenario;

use crate::support::http::Served;

const IMPAIRMENT: &str = "loss=5,jitter=40,seed=7";

#[test]
fn over_a_bad_network_of_real_sockets_all_hear_each_other_and_every_packet_is_accounted_for() {
    let served = Served::start(&[]);
    // Two rooms of two who both speak, with bursts that are found again in what the other hears.
    let scenario = Scenario {
        impairment: Some(IMPAIRMENT.parse().expect("it is a good one")),
        ..Scenario::plan(4, 2, 2, encoding(Codec::Pcmu, 20), 7)
    };
    let timing = Timing {
        ramp: Duration::from_millis(200),
        measured: Duration::from_secs(7),
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let target = Target::Daemon(Api::new(&format!("http://{}", served.http), None));
    let report =
        run(&scenario, &target, &timing, "pcmu", &AtomicBool::new(false)).expect("the daemon is there");
    assert!(report.is_good(), "{report}");

    // More than three quarters of the bursts: none of the four streams is without.
    let delay = &report.added_delay;
    assert_eq!(delay.streams, 4);
    assert!(
        4 * delay.bursts_heard > 3 * delay.bursts_sent && delay.bursts_sent >= 16,
        "{report}"
    );
    assert!(delay.likeness.is_some_and(|likeness| likeness > 0.75), "{report}");

    let impaired = report.impaired.as_ref().expect("it was asked for");
    for way in [&impaired.to_daemon, &impaired.to_parties] {
        assert!((0.02..0.09).contains(&way.lost_share), "{report}");
        assert_eq!((way.refused, way.missing_before), (0, 0), "{report}");
        assert!(way.took_ms.max.is_some_and(|ms| ms < 41.0), "{report}");
    }
    // Where measuring begins and ends each leg may be wrong by what was under way.
    assert!(impaired.missing_besides <= 4 * 3, "{report}");

    let legs = &impaired.legs;
    assert_eq!(legs.legs, 4);
    assert!(
        legs.packets_received.abs_diff(impaired.to_daemon.delivered) < impaired.to_daemon.delivered / 10,
        "{report}"
    );
    // What was lost is made up, and a little of what was late. Real threads are late too, on a busy machine.
    let lost = impaired.to_daemon.lost_share;
    assert!(
        (0.3 * lost..lost + 0.08).contains(&legs.concealed_share),
        "{report}"
    );
    assert!(legs.delay_ms.max.is_some_and(|ms| ms <= 320.0), "{report}");
    assert!(
        legs.dropped
            .keys()
            .all(|reason| reason == "late" || reason == "overflow"),
        "{report}"
    );
}
