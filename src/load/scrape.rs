//! The daemon's own figures, from the text of its `/metrics` (Prometheus exposition format) and, where it runs on
//! this machine, from `/proc`. What is not there is `None`, never zero.

use std::fs;
use std::time::{Duration, Instant};

/// One reading of `/metrics`.
#[derive(Debug, Clone)]
pub struct Scrape {
    pub at: Instant,
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Scrape {
    pub fn parse(at: Instant, text: &str) -> Scrape {
        let samples = text.lines().filter_map(sample).collect();
        Scrape { at, samples }
    }

    /// The sum of a metric over all its labels.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.named(name)
            .map(|sample| sample.value)
            .reduce(|one, other| one + other)
    }

    pub fn label(&self, name: &str, label: &str) -> Option<&str> {
        self.named(name).find_map(|sample| sample.label(label))
    }

    fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Sample> {
        let name = name.to_owned();
        self.samples.iter().filter(move |sample| sample.name == name)
    }
}

impl Sample {
    fn label(&self, label: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(name, _)| name == label)
            .map(|(_, value)| value.as_str())
    }
}

/// `name{label="value",…} 1.5`; comments and what cannot be read are `None`.
fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    let name_end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, mut rest) = line.split_at(name_end);
    if name.is_empty() || name.starts_with('#') {
        return None;
    }
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, quoted) = rest.split_once("=\"")?;
            // The values we look at contain no escaped quotes.
            let (value, after) = quoted.split_once('"')?;
            labels.push((label.trim().to_owned(), value.to_owned()));
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// What a histogram counted between two readings, all its series together: the buckets' upper edges in seconds
/// (the last is infinite) and how many fell between an edge and the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    pub counts: Vec<(f64, f64)>,
}

impl Buckets {
    pub fn between(earlier: &Scrape, later: &Scrape, histogram: &str) -> Option<Buckets> {
        let name = format!("{histogram}_bucket");
        let cumulative = |scrape: &Scrape, edge: f64| -> f64 {
            scrape
                .named(&name)
                .filter(|sample| edge_of(sample) == Some(edge))
                .map(|sample| sample.value)
                .sum()
        };
        let mut edges: Vec<f64> = later.named(&name).filter_map(edge_of).collect();
        edges.sort_by(f64::total_cmp);
        edges.dedup();
        let mut below = 0.0;
        let counts: Vec<(f64, f64)> = edges
            .into_iter()
            .map(|edge| {
                let up_to = cumulative(later, edge) - cumulative(earlier, edge);
                let count = up_to - below;
                below = up_to;
                (edge, count)
            })
            .collect();
        (below > 0.0).then_some(Buckets { counts })
    }

    pub fn count(&self) -> f64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }

    /// The upper edge, in seconds, of the bucket in which the share `quantile` of all is reached.
    pub fn quantile(&self, quantile: f64) -> f64 {
        let rank = self.count() * quantile;
        let mut below = 0.0;
        for (edge, count) in &self.counts {
            below += count;
            if below >= rank && *count > 0.0 {
                return *edge;
            }
        }
        f64::INFINITY
    }

    /// The upper edge of the last bucket with anything in it.
    pub fn max(&self) -> f64 {
        self.counts
            .iter()
            .rev()
            .find(|(_, count)| *count > 0.0)
            .map_or(0.0, |(edge, _)| *edge)
    }
}

fn edge_of(sample: &Sample) -> Option<f64> {
    match sample.label("le")? {
        "+Inf" => Some(f64::INFINITY),
        edge => edge.parse().ok(),
    }
}

/// User and system time of a process on this machine so far, to the nanosecond: its processor-time clock
/// (clock_getcpuclockid(3)) is finer than the hundredths of a second in `/proc/<pid>/stat`.
pub fn process_cpu(pid: u32) -> Option<Duration> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is a valid place for the clock's number.
    if unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } != 0 {
        return None;
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the time; a clock of a process that has ended is an error.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    Some(Duration::new(
        u64::try_from(time.tv_sec).ok()?,
        u32::try_from(time.tv_nsec).ok()?,
    ))
}

/// Resident memory of a process on this machine, in bytes.
pub fn process_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: &str = "\
# HELP mixminus_tick_lateness_seconds How late a tick began.
# TYPE mixminus_tick_lateness_seconds histogram
mixminus_tick_lateness_seconds_bucket{engine=\"0\",le=\"0.00005\"} 10
mixminus_tick_lateness_seconds_bucket{engine=\"0\",le=\"0.001\"} 10
mixminus_tick_lateness_seconds_bucket{engine=\"0\",le=\"+Inf\"} 10
process_cpu_seconds_total 1.5
";
    const LATER: &str = "\
mixminus_tick_lateness_seconds_bucket{engine=\"0\",le=\"0.00005\"} 100
mixminus_tick_lateness_seconds_bucket{engine=\"0\",le=\"0.001\"} 108
mixminus_tick_lateness_seconds_bucket{engine=\"0\",le=\"+Inf\"} 108
mixminus_tick_lateness_seconds_bucket{engine=\"1\",le=\"0.00005\"} 0
mixminus_tick_lateness_seconds_bucket{engine=\"1\",le=\"0.001\"} 1
mixminus_tick_lateness_seconds_bucket{engine=\"1\",le=\"+Inf\"} 2
mixminus_process_info{pid=\"4711\",version=\"0.1.0\"} 1
process_cpu_seconds_total 2.75 1700000000
mixminus_legs{codec=\"PCMU\"} 3
mixminus_legs{codec=\"opus\"} 4
nonsense
";

    #[test]
    fn a_histogram_is_what_came_between_two_readings() {
        let now = Instant::now();
        let (earlier, later) = (Scrape::parse(now, EARLIER), Scrape::parse(now, LATER));
        let buckets =
            Buckets::between(&earlier, &later, "mixminus_tick_lateness_seconds").expect("it is there");
        assert_eq!(
            buckets.counts,
            [(0.00005, 90.0), (0.001, 9.0), (f64::INFINITY, 1.0)]
        );
        assert_eq!(buckets.quantile(0.5), 0.00005);
        assert_eq!(buckets.quantile(0.95), 0.001);
        assert_eq!(buckets.max(), f64::INFINITY);
        assert_eq!(
            Buckets::between(&later, &later, "mixminus_tick_lateness_seconds"),
            None
        );
        assert_eq!(
            Buckets::between(&earlier, &later, "mixminus_tick_duration_seconds"),
            None
        );
    }

    #[test]
    fn values_and_labels_are_read_and_what_is_absent_is_none() {
        let scrape = Scrape::parse(Instant::now(), LATER);
        assert_eq!(scrape.sum("process_cpu_seconds_total"), Some(2.75));
        assert_eq!(scrape.sum("mixminus_legs"), Some(7.0));
        assert_eq!(scrape.label("mixminus_process_info", "pid"), Some("4711"));
        assert_eq!(scrape.sum("process_resident_memory_bytes"), None);
        assert_eq!(scrape.label("mixminus_legs", "pid"), None);
    }

    #[test]
    fn this_process_has_used_memory_and_time() {
        let pid = std::process::id();
        let before = process_cpu(pid).expect("we run");
        let spin = Instant::now();
        while spin.elapsed() < Duration::from_millis(20) {}
        let used = process_cpu(pid).expect("we run") - before;
        assert!(
            used > Duration::ZERO && used < Duration::from_secs(60),
            "{used:?}"
        );
        assert!(process_memory(pid).expect("we run on Linux") > 1 << 20);
        assert_eq!(process_cpu(u32::MAX), None);
    }
}
