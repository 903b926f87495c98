use super::*;
use crate::record::scratch::Scratch;
use read::read;

#[test]
fn wav_and_flac_come_back_as_they_were() {
    for format in [Format::Wav, Format::Flac, Format::Ogg] {
        let scratch = Scratch::new();
        let path = scratch.path("a");
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        let mut image = Image::create(&path, file, format, Rate::Hz16000, 7).unwrap();
        let mut chance = fastrand::Rng::with_seed(5);
        let samples: Vec<i16> = (0..40_000).map(|_| chance.i16(..) / 4).collect();
        for piece in samples.chunks(320) {
            image.append(piece);
            image.write().unwrap();
        }
        let finished = image.finish().unwrap();
        println!("{format:?} {finished:?}");
        let (rate, back) = read(&path, format);
        assert_eq!(rate, Rate::Hz16000);
        assert_eq!(back.len(), samples.len());
        if format != Format::Ogg {
            assert!(back == samples);
        }
    }
}
