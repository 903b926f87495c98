use super::*;

fn arrivals(network: &mut Network, datagrams: u64) -> Vec<Vec<Time>> {
    (0..datagrams)
        .map(|n| network.offer(Time::from_millis(20 * n), 172).times().to_vec())
        .collect()
}

#[test]
fn a_perfect_network_delivers_all_at_once() {
    let mut network = Network::seeded(1, Conditions::PERFECT);
    for (n, times) in arrivals(&mut network, 100).into_iter().enumerate() {
        assert_eq!(times, [Time::from_millis(20 * n as u64)]);
    }
}

#[test]
fn the_same_seed_gives_the_same_deliveries() {
    let conditions = Conditions {
        loss: 0.1,
        loss_burst: 3.0,
        jitter: Jitter::Exponential(Duration::from_millis(15)),
        duplication: 0.1,
        reordering: 0.1,
        reordering_by: Duration::from_millis(50),
        ..Conditions::PERFECT
    };
    let run = |seed| arrivals(&mut Network::seeded(seed, conditions), 500);
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn loss_has_the_asked_share_and_burst_length() {
    for loss_burst in [1.0, 4.0] {
        let conditions = Conditions {
            loss: 0.05,
            loss_burst,
            ..Conditions::PERFECT
        };
        let lost: Vec<bool> = arrivals(&mut Network::seeded(3, conditions), 200_000)
            .iter()
            .map(Vec::is_empty)
            .collect();
        let losses = lost.iter().filter(|&&lost| lost).count() as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((losses / 200_000.0 - 0.05).abs() < 0.005, "{losses} lost");
        // Independent losses also come in a row by chance: 1 / (1 - 0.05).
        let expected = if loss_burst == 1.0 { 1.05 } else { loss_burst };
        assert!(
            (losses / bursts / expected - 1.0).abs() < 0.08,
            "bursts of {}",
            losses / bursts
        );
    }
}

#[test]
fn jitter_alone_never_changes_the_order() {
    let conditions = Conditions {
        jitter: Jitter::Exponential(Duration::from_millis(40)),
        ..Conditions::PERFECT
    };
    let times: Vec<Time> = arrivals(&mut Network::seeded(5, conditions), 5_000)
        .into_iter()
        .flatten()
        .collect();
    assert!(times.is_sorted());
    let late = times
        .iter()
        .enumerate()
        .filter(|(n, at)| at.as_millis() > 20 * *n as u64 + 40)
        .count();
    assert!(
        (1_000..3_500).contains(&late),
        "{late} of 5000 later than the mean"
    );
}

#[test]
fn reordered_datagrams_are_overtaken() {
    let conditions = Conditions {
        reordering: 0.2,
        reordering_by: Duration::from_millis(100),
        ..Conditions::PERFECT
    };
    let times: Vec<Time> = arrivals(&mut Network::seeded(5, conditions), 1_000)
        .into_iter()
        .flatten()
        .collect();
    let overtaken = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!((100..250).contains(&overtaken), "{overtaken}");
}

#[test]
fn duplicates_come_in_the_asked_share() {
    let conditions = Conditions {
        duplication: 0.25,
        ..Conditions::PERFECT
    };
    let twice = arrivals(&mut Network::seeded(2, conditions), 10_000)
        .iter()
        .filter(|times| times.len() == 2)
        .count();
    assert!((2_300..2_700).contains(&twice), "{twice}");
}

#[test]
fn a_narrow_link_makes_datagrams_wait_for_each_other() {
    let mut network = Network::seeded(
        2,
        Conditions {
            bytes_per_second: Some(10_000),
            ..Conditions::PERFECT
        },
    );
    let arrivals: Vec<u64> = (0..3)
        .map(|_| network.offer(Time::from_millis(5), 100).times()[0].as_millis())
        .collect();
    assert_eq!(arrivals, [15, 25, 35]);
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// How late each datagram is that arrives, in milliseconds.
fn delays(conditions: Conditions, datagrams: u64) -> Vec<f64> {
    let arrivals = arrivals(&mut Network::seeded(9, conditions), datagrams);
    let delay = |(n, times): (usize, &Vec<Time>)| {
        let sent = Time::from_millis(20 * n as u64);
        times.first().map(|at| at.since(sent).as_secs_f64() * 1e3)
    };
    arrivals.iter().enumerate().filter_map(delay).collect()
}

#[test]
fn jitters_have_their_mean_and_their_tails() {
    // The mean given, and the share of delays beyond one and five times it.
    for (jitter, beyond_mean, beyond_five) in [
        (Jitter::Uniform(ms(20)), 0.5, 0.0),
        (Jitter::Exponential(ms(10)), 0.37, 0.0067),
        (Jitter::HeavyTailed(ms(10)), 0.263, 0.027),
    ] {
        let mut chance = fastrand::Rng::with_seed(4);
        let mut drawn = Vec::new();
        for _ in 0..100_000 {
            drawn.push(jitter.draw(&mut chance).as_secs_f64() * 1e3);
        }
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!((9.0..10.5).contains(&mean), "{jitter:?}: {mean}");
        let beyond = |ms: f64| drawn.iter().filter(|delay| **delay > ms).count() as f64 / drawn.len() as f64;
        assert!(
            (beyond(10.0) - beyond_mean).abs() < 0.01,
            "{jitter:?}: {}",
            beyond(10.0)
        );
        assert!(
            (beyond(50.0) - beyond_five).abs() < 0.003,
            "{jitter:?}: {}",
            beyond(50.0)
        );
        assert_eq!(beyond(401.0), 0.0);
    }
}

#[test]
fn another_jitter_loses_the_same_datagrams() {
    let lost = |jitter| {
        let conditions = Conditions {
            loss: 0.1,
            jitter,
            ..Conditions::PERFECT
        };
        let mut network = Network::seeded(6, conditions);
        let lost: Vec<bool> = arrivals(&mut network, 500).iter().map(Vec::is_empty).collect();
        assert_eq!(network.lost(), lost.iter().filter(|lost| **lost).count() as u64);
        lost
    };
    assert_eq!(lost(Jitter::NONE), lost(Jitter::HeavyTailed(ms(30))));
}

#[test]
fn what_is_sent_into_a_stall_arrives_together_at_its_end() {
    let conditions = Conditions {
        delay: ms(7),
        stalls: Some(Spells::once(ms(100), ms(90))),
        ..Conditions::PERFECT
    };
    assert_eq!(
        delays(conditions, 12),
        [7., 7., 7., 7., 7., 97., 77., 57., 37., 17., 7., 7.]
    );
}

#[test]
fn spells_come_again_after_gaps_of_the_mean_that_is_asked_for() {
    let stalls = Spells {
        first: ms(0),
        lasts: ms(200),
        mean_gap: Some(ms(1_800)),
    };
    let conditions = Conditions {
        stalls: Some(stalls),
        ..Conditions::PERFECT
    };
    let delays = delays(conditions, 100_000);
    let begun = delays.windows(2).filter(|pair| pair[1] > pair[0] + 50.0).count();
    assert!((900..1_100).contains(&begun), "{begun} in 2000 seconds");
    assert!(delays.iter().all(|delay| *delay <= 200.0));
}

#[test]
fn nothing_survives_an_outage() {
    let conditions = Conditions {
        outages: Some(Spells::once(ms(400), ms(2_000))),
        ..Conditions::PERFECT
    };
    let arrivals = arrivals(&mut Network::seeded(1, conditions), 200);
    let lost: Vec<usize> = (0..200).filter(|n| arrivals[*n].is_empty()).collect();
    assert_eq!(lost, (20..120).collect::<Vec<usize>>());
}

#[test]
fn on_a_shorter_way_datagrams_overtake_those_still_on_the_old_one() {
    let rerouted = |from, to| Conditions {
        delay: ms(from),
        rerouted: Some((ms(100), ms(to))),
        ..Conditions::PERFECT
    };
    assert_eq!(
        delays(rerouted(100, 20), 7),
        [100., 100., 100., 100., 100., 20., 20.]
    );
    assert_eq!(
        delays(rerouted(20, 100), 7),
        [20., 20., 20., 20., 20., 100., 100.]
    );
}

#[test]
fn a_fast_clock_sends_what_it_owes_early_and_a_slow_one_late() {
    let departure = |drift_ppm| {
        let conditions = Conditions {
            drift_ppm,
            ..Conditions::PERFECT
        };
        conditions.departure(Duration::from_secs(1_000)).as_secs_f64()
    };
    assert_eq!(departure(0.0), 1_000.0);
    assert!((departure(300.0) - 999.7).abs() < 0.001);
    assert!((departure(-300.0) - 1_000.3).abs() < 0.001);
}
