//! What legs cost on this machine: measured at the start, kept in a file for the next start, or assumed.
//!
//! It is measured before there are media threads, at the priority of any other program, in processor time: a busy machine
//! takes longer and measures the same. The caches are warm then as they never are beside a thousand legs; what engines are
//! measured to use later corrects that.

mod bench;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cost::Costs;
use crate::config::{Admission, Calibrate};

/// How long measuring may take. What is not measured by then is assumed, at the speed that was measured.
const BOUND: Duration = Duration::from_millis(1_500);

/// No machine is so many times as fast as the one whose costs are assumed.
const FASTER_MAX: u64 = 20;

/// Costs, and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calibration {
    /// `measured`, `file` or `assumed`.
    pub source: &'static str,
    pub costs: Costs,
}

/// What is kept in a file. It holds for the machine, the program and the effort of Opus that it was measured with.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    version: String,
    optimised: bool,
    cpu: String,
    opus_complexity: u8,
    costs: Costs,
}

impl Calibration {
    pub fn assumed() -> Calibration {
        Calibration {
            source: "assumed",
            costs: Costs::ASSUMED,
        }
    }

    /// As configured. Blocks for as long as measuring takes.
    pub fn obtain(config: &Admission, opus_complexity: u8) -> Calibration {
        if config.calibrate == Calibrate::Assumed {
            return Calibration::assumed();
        }
        let cpu = cpu_model();
        let file = config.calibration_file.as_deref();
        if let Some(costs) = file.and_then(|file| kept(file, &cpu, opus_complexity)) {
            return Calibration {
                source: "file",
                costs,
            };
        }
        let costs = bench::measure(opus_complexity, BOUND);
        if let Some(file) = file {
            let kept = Kept {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                optimised: !cfg!(debug_assertions),
                cpu,
                opus_complexity,
                costs: costs.clone(),
            };
            if let Err(error) = keep(file, &kept) {
                tracing::warn!(file = %file.display(), %error, "the calibration could not be kept");
            }
        }
        Calibration {
            source: "measured",
            costs,
        }
    }
}

/// The costs in the file, where they hold for this machine and program.
fn kept(file: &Path, cpu: &str, opus_complexity: u8) -> Option<Costs> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the calibration cannot be read and is measured anew");
            return None;
        }
    };
    let Ok(kept) = serde_json::from_slice::<Kept>(&bytes) else {
        tracing::warn!(file = %file.display(), "the file holds no calibration; it is measured anew");
        return None;
    };
    let holds = kept.version == env!("CARGO_PKG_VERSION")
        && kept.optimised != cfg!(debug_assertions)
        && kept.cpu == cpu
        && kept.opus_complexity == opus_complexity;
    // A file that somebody has spoilt must not let everybody in.
    holds.then(|| kept.costs.at_least(&Costs::ASSUMED.scaled(1, FASTER_MAX)))
}

/// Complete from the moment it is there.
fn keep(file: &Path, kept: &Kept) -> io::Result<()> {
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".tmp");
    fs::write(&unfinished, serde_json::to_vec_pretty(kept)?)?;
    fs::rename(&unfinished, file)
}

/// As the kernel names it; its architecture where it has no name.
fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let named = info.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    named.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::admission::Kind;

    #[test]
    fn a_calibration_is_kept_and_holds_for_the_machine_and_the_program_it_was_measured_with() {
        let file = std::env::temp_dir().join(format!("mixminus-calibration-{}", std::process::id()));
        let config = Admission {
            cpu_percent: 70,
            calibrate: Calibrate::Start,
            memory_reserve_bytes: 0,
            calibration_file: Some(file.clone()),
        };
        let costs = Costs::ASSUMED.scaled(3, 2);
        let kept = || Kept {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            optimised: !cfg!(debug_assertions),
            cpu: cpu_model(),
            opus_complexity: 5,
            costs: costs.clone(),
        };
        keep(&file, &kept()).unwrap();
        let obtained = Calibration::obtain(&config, 5);
        assert_eq!((obtained.source, &obtained.costs), ("file", &costs));
        for other in [
            Kept {
                version: "0.0.0".to_owned(),
                ..kept()
            },
            Kept {
                cpu: "another".to_owned(),
                ..kept()
            },
            Kept {
                opus_complexity: 9,
                ..kept()
            },
            Kept {
                optimised: cfg!(debug_assertions),
                ..kept()
            },
        ] {
            keep(&file, &other).unwrap();
            assert_eq!(super::kept(&file, &cpu_model(), 5), None, "{other:?}");
        }
        let mut free = kept();
        free.costs = Costs::ASSUMED.scaled(0, 1);
        free.costs.socket = 7_000;
        keep(&file, &free).unwrap();
        let costs = super::kept(&file, &cpu_model(), 5).unwrap();
        assert_eq!(costs.socket, 7_000);
        let floor = Costs::ASSUMED.scaled(1, FASTER_MAX);
        assert_eq!(
            costs,
            Costs {
                socket: 7_000,
                ..floor
            }
        );
        fs::write(&file, "no calibration").unwrap();
        assert_eq!(super::kept(&file, &cpu_model(), 5), None);
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn what_is_measured_is_something_and_tells_the_dear_codecs_from_the_cheap() {
        let costs = bench::measure(5, Duration::from_secs(20));
        for kind in Kind::ALL {
            let (leg, encode) = (costs.leg[kind as usize], costs.encode[kind as usize]);
            assert!((100..20_000_000).contains(&leg), "{kind:?}: {leg} ns");
            assert!((10..20_000_000).contains(&encode), "{kind:?}: {encode} ns");
        }
        let encode = |kind: Kind| costs.encode[kind as usize];
        assert!(encode(Kind::G729) > 3 * encode(Kind::Pcmu), "{costs:?}");
        assert!(encode(Kind::OpusAt48) > 3 * encode(Kind::Pcmu), "{costs:?}");
        assert!(costs.socket > 100 && costs.srtp > 10, "{costs:?}");
    }

    #[test]
    fn measuring_ends_when_its_time_is_over_and_the_rest_is_assumed_at_the_speed_that_was_measured() {
        let costs = bench::measure(5, Duration::ZERO);
        let ratio = |nanos: u64, assumed: u64| nanos as f64 / assumed as f64;
        let at = |kind: Kind| ratio(costs.encode[kind as usize], Costs::ASSUMED.encode[kind as usize]);
        assert!(
            (at(Kind::OpusAt16) / at(Kind::G722) - 1.0).abs() < 0.01,
            "{costs:?}"
        );
    }
}
