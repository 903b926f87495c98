//! Files of ours in players of others.

use std::process::Command;

use super::*;

/// What a program of the machine says to standard output; `None`, and a line, where the machine has not got it.
fn output(program: &str, arguments: &[&str]) -> Option<Vec<u8>> {
    let run = Command::new(program).args(arguments).output();
    let output = match run {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("skipped: {program} is not installed");
            return None;
        }
        run => run.expect("the program starts"),
    };
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.trim().is_empty(),
        "{program} {arguments:?}: {complaints}"
    );
    Some(output.stdout)
}

fn ffmpeg(path: &Path, rate: Rate) -> Option<Vec<i16>> {
    let path = path.to_str().unwrap();
    let hz = rate.hz().to_string();
    let decode = ["-v", "error", "-xerror", "-i", path, "-f", "s16le", "-ac", "1"];
    let raw = output("ffmpeg", &[&decode[..], &["-ar", &hz, "-"]].concat())?;
    Some(
        raw.chunks_exact(2)
            .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
            .collect(),
    )
}

#[test]
fn ffmpeg_hears_what_was_said() {
    for rate in Rate::ALL {
        let samples = voice(rate, 3 * rate.hz() as usize + 1_234);
        for format in [Format::Wav, Format::Flac] {
            let (growing, _) = image_of(format, rate, &samples);
            let Some(heard) = ffmpeg(&growing.path(), rate) else {
                return;
            };
            assert!(heard == samples, "{format:?} at {rate:?}");
        }
        // A player decodes Opus at 48 kHz, whatever the rate of the sound was.
        let (growing, _) = image_of(Format::Ogg, rate, &samples);
        let Some(heard) = ffmpeg(&growing.path(), Rate::Hz48000) else {
            return;
        };
        let times = (48_000 / rate.hz()) as usize;
        assert_eq!(heard.len(), samples.len() * times, "{rate:?}");
        let said: Vec<i16> = heard.iter().copied().step_by(times).collect();
        let (lag, like) = likeness(&samples, &said);
        println!("{rate:?}: like {like:.4} at lag {lag} for ffmpeg");
        // Its own decoder takes a little longer than the reference from 8 kHz to 48.
        let lag_max = if rate == Rate::Hz8000 { 1 } else { 0 };
        assert!(lag.abs() <= lag_max && like > 0.99, "{rate:?}: {like} at {lag}");
    }
}

#[test]
fn ffprobe_knows_what_each_file_is() {
    for (format, name, codec) in [
        (Format::Wav, "wav", "pcm_s16le"),
        (Format::Flac, "flac", "flac"),
        (Format::Ogg, "ogg", "opus"),
    ] {
        let (growing, _) = image_of(format, Rate::Hz16000, &voice(Rate::Hz16000, 40_000));
        let path = growing.path();
        let entries = "format=format_name,duration:stream=codec_name,channels";
        let arguments = [
            "-v",
            "error",
            "-of",
            "default=nk=1:nw=1",
            "-show_entries",
            entries,
        ];
        let Some(told) = output("ffprobe", &[&arguments[..], &[path.to_str().unwrap()]].concat()) else {
            return;
        };
        let told = String::from_utf8(told).unwrap();
        let mut told: Vec<&str> = told.lines().collect();
        let seconds: f64 = told.pop().unwrap().parse().unwrap();
        assert_eq!(told, [codec, "1", name]);
        // ffprobe counts the pre-skip of Opus as sound.
        assert!((2.5..2.51).contains(&seconds), "{format:?}: {seconds} s");
    }
}

#[test]
fn opusinfo_finds_nothing_to_complain_of() {
    for samples in [0, 1, 16_000, 100_000] {
        let (growing, _) = image_of(Format::Ogg, Rate::Hz16000, &voice(Rate::Hz16000, samples));
        let Some(told) = output("opusinfo", &[growing.path().to_str().unwrap()]) else {
            return;
        };
        let told = String::from_utf8_lossy(&told).to_lowercase();
        assert!(
            !told.contains("warning") && !told.contains("error"),
            "{samples} samples: {told}"
        );
    }
}
