use std::fs::OpenOptions;

use md5::{Digest, Md5};

use super::*;
use crate::record::scratch::Scratch;
use read::{OpusFile, read};

mod players;

const SERIAL: u32 = 0x6d69_786d;

/// An image in a directory of its own.
struct Growing {
    scratch: Scratch,
    image: Image,
    format: Format,
}

impl Growing {
    fn new(format: Format, rate: Rate) -> Growing {
        let scratch = Scratch::new();
        let path = scratch.path(format.extension());
        let file = new_file(&path);
        Growing {
            image: Image::create(&path, file, format, rate, SERIAL).expect("room for a header"),
            scratch,
            format,
        }
    }

    fn path(&self) -> PathBuf {
        self.scratch.path(self.format.extension())
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).expect("the file is there")
    }

    fn append(&mut self, samples: &[i16]) {
        for piece in samples.chunks(320) {
            self.image.append(piece);
            self.image.write().expect("room for the sound");
        }
    }

    fn append_silence(&mut self, rate: Rate, seconds: u64) {
        for _ in 0..seconds {
            self.image.append_silence(u64::from(rate.hz()));
            self.image.write().expect("room for silence");
        }
    }

    /// Replaces the file by one to which nothing can be written, and gives it back.
    fn disk_full(&mut self) -> File {
        let full = OpenOptions::new().read(true).write(true).open("/dev/full");
        std::mem::replace(&mut self.image.file, full.expect("every Linux has it"))
    }
}

fn new_file(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    options.open(path).expect("a directory of our own")
}

/// The whole file of these samples.
fn image_of(format: Format, rate: Rate, samples: &[i16]) -> (Growing, Finished) {
    let mut growing = Growing::new(format, rate);
    growing.append(samples);
    let finished = growing.image.finish().expect("a file that is as it was written");
    (growing, finished)
}

/// Syllables of a gliding buzz with breath in it: a spectrum that a codec for speech keeps, and no two stretches alike.
fn voice(rate: Rate, samples: usize) -> Vec<i16> {
    let mut chance = fastrand::Rng::with_seed(11);
    let hz = rate.hz() as f32;
    let mut phase = 0.0f32;
    (0..samples)
        .map(|n| {
            let seconds = n as f32 / hz;
            phase = (phase + (130.0 + 40.0 * (5.3 * seconds).sin()) / hz).fract();
            let syllable = (std::f32::consts::TAU * 2.7 * seconds).sin().max(0.05);
            let buzz: f32 = (1..22)
                .map(|harmonic| (std::f32::consts::TAU * phase * harmonic as f32).sin() / harmonic as f32)
                .sum();
            (6_000.0 * syllable * buzz + 200.0 * (chance.f32() - 0.5)) as i16
        })
        .collect()
}

/// Sound, a long silence and the loudest noise: what a format treats in different ways.
fn mixture(rate: Rate) -> Vec<i16> {
    let second = rate.hz() as usize;
    let mut chance = fastrand::Rng::with_seed(12);
    let mut samples = voice(rate, 2 * second + 77);
    samples.resize(samples.len() + 3 * second, 0);
    samples.extend((0..second / 3).map(|_| chance.i16(..)));
    samples.extend([i16::MIN, i16::MAX].repeat(300));
    samples.extend(voice(rate, second));
    samples
}

/// The lag at which `heard` is most like `said`, and how like: 1 is the same but for its level.
fn likeness(said: &[i16], heard: &[i16]) -> (isize, f64) {
    const LAG_MAX: isize = 60;
    let margin = LAG_MAX as usize;
    let said = &said[margin..said.len() - margin];
    (-LAG_MAX..=LAG_MAX)
        .map(|lag| {
            let heard = &heard[(margin as isize + lag) as usize..][..said.len()];
            let (mut product, mut power, mut heard_power) = (0.0, 1.0, 1.0);
            for (a, b) in said.iter().zip(heard) {
                let (a, b) = (f64::from(*a), f64::from(*b));
                product += a * b;
                power += a * a;
                heard_power += b * b;
            }
            (lag, product / (power * heard_power).sqrt())
        })
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .expect("there are lags")
}

#[test]
fn what_went_into_wav_or_flac_comes_out_of_it() {
    for format in [Format::Wav, Format::Flac] {
        for rate in Rate::ALL {
            let samples = mixture(rate);
            let (growing, finished) = image_of(format, rate, &samples);
            let (read_rate, read) = read(&growing.path(), format);
            assert_eq!((read_rate, read.len()), (rate, samples.len()));
            assert!(read == samples, "{format:?} at {rate:?}");
            assert_eq!(finished.bytes, growing.bytes().len() as u64);
            assert_eq!(growing.image.samples(), samples.len() as u64);
            assert_eq!(growing.image.bytes(), finished.bytes);
        }
    }
}

#[test]
fn a_flac_file_carries_the_digest_of_its_samples() {
    let samples = mixture(Rate::Hz16000);
    let (growing, _) = image_of(Format::Flac, Rate::Hz16000, &samples);
    let raw: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    assert_eq!(growing.bytes()[26..42], *Md5::digest(raw));
}

#[test]
fn opus_in_ogg_is_the_voice_at_its_place_and_of_its_length() {
    for rate in Rate::ALL {
        let samples = voice(rate, 5 * rate.hz() as usize + 123);
        let (growing, finished) = image_of(Format::Ogg, rate, &samples);
        let opus = OpusFile::read(&growing.path());
        assert_eq!((opus.rate, opus.serial, opus.is_ended), (rate, SERIAL, true));
        assert!(
            opus.page_packets_max <= 50,
            "{} packets of 20 ms",
            opus.page_packets_max
        );
        let heard = opus.decode(rate);
        assert_eq!(heard.len(), samples.len());
        let (lag, like) = likeness(&samples, &heard);
        println!(
            "{rate:?}: like {like:.4} at lag {lag}, {} bit/s",
            finished.bytes * 8 / 5
        );
        assert_eq!(lag, 0, "{rate:?}");
        assert!(like > 0.99, "{rate:?}: {like}");
    }
}

#[test]
fn an_ogg_file_of_any_length_ends_with_its_last_sample() {
    let rate = Rate::Hz16000;
    let tick = rate.samples_per_tick();
    let lookahead = 104;
    let page = 50 * tick;
    let mut lengths = vec![0, 1, tick - 1, tick, tick + 1, page - 1, page, page + 1, 2 * page];
    // Where the delay of the coder just fits into the last packet, and just does not.
    lengths.extend([
        tick - lookahead,
        tick - lookahead + 1,
        page - lookahead,
        page - lookahead + 1,
    ]);
    let voice = voice(rate, 2 * page);
    for length in lengths {
        let (growing, _) = image_of(Format::Ogg, rate, &voice[..length]);
        let opus = OpusFile::read(&growing.path());
        assert_eq!(opus.pre_skip, 3 * lookahead as u64);
        assert!(opus.is_ended, "{length} samples");
        assert_eq!(opus.end, opus.pre_skip + 3 * length as u64);
        assert_eq!(
            opus.packets.len() as u64,
            opus.end.div_ceil(960),
            "{length} samples"
        );
        assert_eq!(opus.decode(rate).len(), length);
    }
}

#[test]
fn the_same_samples_make_the_same_bytes_however_they_are_cut() {
    let mut chance = fastrand::Rng::with_seed(13);
    for format in Format::ALL {
        for rate in Rate::ALL {
            let samples = mixture(rate);
            let (whole, expected) = image_of(format, rate, &samples);
            for _ in 0..4 {
                let mut growing = Growing::new(format, rate);
                let mut rest = &samples[..];
                while !rest.is_empty() {
                    let silent = rest.iter().take_while(|sample| **sample == 0).count();
                    let length = rest.len().min(chance.usize(1..=rate.hz() as usize));
                    let length = if silent > 0 { length.min(silent) } else { length };
                    let (piece, others) = rest.split_at(length);
                    if silent > 0 && chance.bool() {
                        growing.image.append_silence(length as u64);
                    } else {
                        growing.image.append(piece);
                    }
                    if chance.bool() {
                        growing.image.write().unwrap();
                    }
                    if chance.bool() {
                        growing.image.publish().unwrap();
                    }
                    rest = others;
                }
                assert_eq!(growing.image.finish().unwrap(), expected);
                assert!(growing.bytes() == whole.bytes(), "{format:?} at {rate:?}");
            }
        }
    }
}

#[test]
fn a_growing_file_can_be_read_up_to_a_second_before_its_end() {
    for format in Format::ALL {
        let rate = Rate::Hz16000;
        let samples = mixture(rate);
        let mut growing = Growing::new(format, rate);
        let mut appended = 0;
        for piece in samples.chunks(7_919) {
            growing.append(piece);
            growing.image.publish().unwrap();
            appended += piece.len();
            let (_, read) = read(&growing.path(), format);
            assert!(
                read.len() <= appended && read.len() + rate.hz() as usize + 320 > appended,
                "{format:?}: {} of {appended}",
                read.len()
            );
            if format != Format::Ogg {
                assert!(read == samples[..read.len()]);
            }
        }
    }
}

#[test]
fn a_wav_header_never_promises_more_than_there_is() {
    let mut growing = Growing::new(Format::Wav, Rate::Hz8000);
    growing.image.append(&[1; 160]);
    growing.image.publish().unwrap();
    assert!(read(&growing.path(), Format::Wav).1.is_empty());
    growing.image.write().unwrap();
    growing.image.publish().unwrap();
    assert_eq!(read(&growing.path(), Format::Wav).1, [1; 160]);
}

#[test]
fn what_is_stable_never_changes() {
    for format in Format::ALL {
        let mut growing = Growing::new(format, Rate::Hz48000);
        let mut held: Vec<u8> = Vec::new();
        for piece in mixture(Rate::Hz48000).chunks(30_000) {
            growing.append(piece);
            growing.image.publish().unwrap();
            let (first, end) = growing.image.stable();
            let stable = growing.bytes()[first as usize..end as usize].to_vec();
            assert!(stable.starts_with(&held), "{format:?}");
            held = stable;
        }
        growing.image.finish().unwrap();
        let (first, end) = growing.image.stable();
        assert_eq!(end, growing.image.bytes());
        assert!(growing.bytes()[first as usize..].starts_with(&held));
    }
}

#[test]
fn an_image_goes_on_after_a_full_disk_as_if_nothing_had_been() {
    for format in Format::ALL {
        let samples = mixture(Rate::Hz16000);
        let (whole, expected) = image_of(format, Rate::Hz16000, &samples);
        let mut growing = Growing::new(format, Rate::Hz16000);
        let (before, behind) = samples.split_at(50_000);
        growing.append(before);
        let (first, rest) = behind.split_at(16_000);
        growing.image.append(first);
        let file = growing.disk_full();
        let at = growing.image.stable().1;
        for _ in 0..2 {
            let error = growing.image.write().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert_eq!(growing.image.stable().1, at);
        }
        // As far as there was room.
        let half = growing.image.waiting.len() / 2;
        file.write_all_at(&growing.image.waiting[..half], at).unwrap();
        growing.image.file = file;
        growing.append(rest);

        let file = growing.disk_full();
        for _ in 0..2 {
            let Err(FinishError::Io { path, error }) = growing.image.finish() else {
                panic!("finished on a full disk");
            };
            assert_eq!((path, error.kind()), (growing.path(), io::ErrorKind::StorageFull));
        }
        growing.image.file = file;
        // What comes after the end is not taken.
        growing.image.append(&[1; 320]);
        growing.image.append_silence(320);
        for _ in 0..2 {
            assert_eq!(growing.image.finish().unwrap(), expected, "{format:?}");
        }
        assert!(growing.bytes() == whole.bytes());
    }
}

#[test]
fn a_byte_that_changed_on_the_disk_is_found_in_the_last_pass() {
    for format in Format::ALL {
        for at in [100, 3_000] {
            let mut growing = Growing::new(format, Rate::Hz16000);
            growing.append(&voice(Rate::Hz16000, 48_000));
            let bytes = growing.bytes();
            growing
                .image
                .file
                .write_all_at(&[bytes[at] ^ 0x10], at as u64)
                .unwrap();
            let Err(FinishError::Damaged { path, part: 0 }) = growing.image.finish() else {
                panic!("{format:?}: byte {at} of {} is another", bytes.len());
            };
            assert_eq!(path, growing.path());
        }
    }
}

#[test]
fn damage_is_told_by_its_part_and_so_is_a_file_too_short_or_too_long() {
    type Damage = fn(&File);
    let samples = vec![5; PART_BYTES as usize / 2];
    let damage: [(Damage, usize); 4] = [
        (|file| file.write_all_at(&[9], PART_BYTES + 10).unwrap(), 1),
        (|file| file.write_all_at(&[9], PART_BYTES - 1).unwrap(), 0),
        (|file| file.set_len(PART_BYTES + 3).unwrap(), 1),
        (|file| file.set_len(2 * PART_BYTES + 3).unwrap(), 1),
    ];
    for (damage, expected) in damage {
        let mut growing = Growing::new(Format::Wav, Rate::Hz48000);
        for piece in samples.chunks(48_000) {
            growing.append(piece);
        }
        growing.append_silence(Rate::Hz48000, 1);
        damage(&growing.image.file);
        match growing.image.finish() {
            Err(FinishError::Damaged { part, .. }) => assert_eq!(part, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn parts_are_known_by_their_checksums_while_the_file_grows() {
    for format in [Format::Wav, Format::Flac] {
        let mut growing = Growing::new(format, Rate::Hz48000);
        let mut chance = fastrand::Rng::with_seed(14);
        while growing.image.stable().1 < 2 * PART_BYTES + 1_000 {
            let noise: Vec<i16> = (0..48_000).map(|_| chance.i16(..)).collect();
            growing.append(&noise);
        }
        let before = [0, 1, 2].map(|part| growing.image.part_crc32c(part));
        let finished = growing.image.finish().unwrap();
        assert_eq!(finished.parts.len(), 3);
        assert_eq!(before, [None, Some(finished.parts[1]), None], "{format:?}");
    }
}

#[test]
fn silence_stays_silent_and_small_and_the_voice_after_it_is_whole() {
    for rate in Rate::ALL {
        let second = rate.hz() as usize;
        let said = voice(rate, 3 * second);
        let mut growing = Growing::new(Format::Ogg, rate);
        growing.append(&said);
        let before = growing.image.bytes();
        growing.append_silence(rate, 600);
        let silence_bytes = growing.image.bytes() - before;
        growing.append(&said);
        growing.image.finish().unwrap();
        let (_, heard) = read(&growing.path(), Format::Ogg);
        assert_eq!(heard.len(), 606 * second);
        let silence = &heard[4 * second..603 * second - rate.samples_per_tick()];
        let loudest = silence.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        let (lag, like) = likeness(&said, &heard[603 * second..]);
        println!(
            "{rate:?}: {} bytes a second of silence, at most {loudest}, then like {like:.4}",
            silence_bytes / 600
        );
        assert!(loudest <= 2, "{rate:?}: {loudest}");
        assert!(silence_bytes / 600 < 1_000, "{rate:?}: {silence_bytes}");
        assert!(lag == 0 && like > 0.99, "{rate:?}: {like} at {lag}");
    }
}

#[test]
fn an_image_begins_anew_in_a_file_that_held_something() {
    let samples = voice(Rate::Hz8000, 20_000);
    for format in Format::ALL {
        let (whole, expected) = image_of(format, Rate::Hz8000, &samples);
        let scratch = Scratch::new();
        let path = scratch.path("a");
        std::fs::write(&path, vec![0xa5; 1 << 20]).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut image = Image::create(&path, file, format, Rate::Hz8000, SERIAL).unwrap();
        image.append(&samples);
        assert_eq!(image.finish().unwrap(), expected);
        assert!(std::fs::read(&path).unwrap() == whole.bytes());
    }
}
