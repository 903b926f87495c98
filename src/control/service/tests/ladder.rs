//! The whole ladder, from ticks that are late to what is heard: engines are stepped and told how late they were, all else
//! is as in a daemon that runs: legs by offer and answer, packets through sockets, recordings on the disk.
//!
//! The same story is told twice, once with engines that keep their time and once with engines that do not, packet for
//! packet at the same ticks. What must not give way is the same in both, to the sample.

use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::codec::{Codec, Decoder, Encoder, PAYLOAD_SAMPLES_MAX};
use crate::control::admission::Calibration;
use crate::control::metrics;
use crate::control::requests::RecordingOptions;
use crate::control::service::driver_config;
use crate::driver::stepped::Stepped;
use crate::frame::Rate;
use crate::id::LegId;
use crate::load::codecs::encoding;
use crate::record::RecordingState;
use crate::rtp::is_rtcp;
use crate::rtp::packet::{HEADER_BYTES, Header, Packet};
use crate::time::TICK;

/// Ticks between two looks at the load, and of a time in which nothing changes and all is watched.
const LOOK: u32 = 10;
const WINDOW: u32 = 80;

/// Of a window, how long the one speaks who does not speak all the time.
const SPURT: u32 = 30;

/// What engines are told: a phase began later than one lasts, and took most of it; and one that did not.
const LATE: (Duration, Duration) = (Duration::from_millis(6), Duration::from_millis(4));
const IN_TIME: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(1));

/// Who talks in the large room, the loudest first.
const TALKERS: [(f32, f32); 5] = [
    (400.0, -14.0),
    (600.0, -17.0),
    (900.0, -20.0),
    (1_300.0, -23.0),
    (1_900.0, -26.0),
];
/// As many as the switch lets be heard there, and as many as are once that has given way.
const TALKERS_MAX: usize = 4;
const TALKERS_LOW: usize = 3;
const LISTENERS: usize = 5;

/// In the small room: three who talk all the time, and one who pauses.
const SMALL: [(f32, f32); 4] = [(500.0, -18.0), (800.0, -18.0), (1_100.0, -18.0), (1_700.0, -18.0)];

/// One end of a leg.
struct Party {
    socket: UdpSocket,
    leg: SocketAddr,
    place: (usize, LegId),
    voice: Option<Voice>,
    /// Sequence number, timestamp and payload of what came.
    heard: Vec<(u16, u32, Vec<u8>)>,
}

/// A steady tone in PCMU.
struct Voice {
    hz: f32,
    amplitude: f32,
    is_on: bool,
    encoder: Encoder,
    header: Header,
}

impl Voice {
    fn next(&mut self) -> Vec<u8> {
        let first = self.header.timestamp;
        let amplitude = if self.is_on { self.amplitude } else { 0.0 };
        let sample = |n: u32| {
            let seconds = (first + n) as f32 / 8_000.0;
            amplitude * (std::f32::consts::TAU * self.hz * seconds).sin()
        };
        let pcm: Vec<f32> = (0..160).map(sample).collect();
        let mut datagram = vec![0; HEADER_BYTES + 160];
        self.header
            .write((&mut datagram[..HEADER_BYTES]).try_into().unwrap());
        self.encoder.encode(&pcm, &mut datagram[HEADER_BYTES..]);
        self.header.sequence += 1;
        self.header.timestamp += 160;
        datagram
    }
}

struct Stage {
    service: Service,
    engines: Stepped,
    news: Arc<RecordingNews>,
    runtime: tokio::runtime::Runtime,
    begun: Instant,
    ticks: u32,
    looked_at: u32,
    parties: Vec<Party>,
    /// Of these, whose packets are taken, one a tick.
    listeners: Vec<usize>,
    dir: Scratch,
}

impl Stage {
    fn open(name: &str) -> Stage {
        let process_id = std::process::id().to_le_bytes();
        let dir = Scratch(std::env::temp_dir().join(format!("mixminus-{name}-{}", std::process::id())));
        let sets = [
            // An address of its own: nobody else takes its ports.
            format!("rtp.bind=127.{}.{}.252", process_id[1], process_id[0]),
            "rtp.ports=20000-20063".to_owned(),
            "rtp.media_timeout_s=0".to_owned(),
            "events.disk_mib=0".to_owned(),
            "events.report_interval_s=1".to_owned(),
            "engine.threads=2".to_owned(),
            "engine.legs=32".to_owned(),
            "engine.rooms=4".to_owned(),
            format!("recording.dir={}", dir.0.display()),
        ];
        let config = Config::load(None, [], &sets).unwrap();
        // One thread for what blocks: when it has done this, it has done all before.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (driver, engines) = Driver::stepped(&driver_config(&config), 1_024).unwrap();
        let (service, news) = {
            let _inside = runtime.enter();
            Service::with(config, Calibration::assumed(), driver).unwrap()
        };
        let mut stage = Stage {
            service,
            engines,
            news,
            runtime,
            begun: Instant::now(),
            ticks: 0,
            looked_at: 0,
            parties: Vec::new(),
            listeners: Vec::new(),
            dir,
        };
        (0..2).for_each(|engine| stage.engines.strain(engine, IN_TIME));
        stage
    }

    /// Ticks go by until this is done, and none where it needs none.
    fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            for _ in 0..4 {
                let _inside = self.runtime.enter();
                if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    return done;
                }
                self.runtime.block_on(self.runtime.spawn_blocking(|| ())).unwrap();
            }
            self.tick();
        }
    }

    fn seat(&mut self, conference: &str, call: &str, codec: &str, tone: Option<(f32, f32)>) -> usize {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let port = socket.local_addr().unwrap().port();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {codec}\r\n"
        );
        let body = json!({ "conferenceId": conference, "callId": call, "sdp": sdp });
        let fields = Fields::parse(body.to_string().as_bytes()).unwrap();
        let request = CreateLeg::parse(fields, &Rules::default()).unwrap();
        let service = self.service.clone();
        self.during(service.create_leg(request, tester())).unwrap();
        let state = self.service.inner.state();
        let leg = &state.legs[&CallId::parse(call).unwrap()];
        let voice = tone.map(|(hz, dbfs)| Voice {
            hz,
            amplitude: std::f32::consts::SQRT_2 * 10_f32.powf(dbfs / 20.0),
            is_on: true,
            encoder: Encoder::new(encoding(Codec::Pcmu, 20)).unwrap(),
            header: Header {
                marker: false,
                payload_type: 0,
                sequence: 1,
                timestamp: 0,
                ssrc: hz as u32,
            },
        });
        self.parties.push(Party {
            socket,
            leg: leg.local,
            place: (leg.place.engine, leg.place.slot),
            voice,
            heard: Vec::new(),
        });
        self.parties.len() - 1
    }

    fn record(&mut self, conference: &str, options: serde_json::Value) -> String {
        let options = RecordingOptions::parse(
            Fields::parse(options.to_string().as_bytes()).unwrap(),
            &Rules::default(),
        );
        let (service, conference, actor) = (self.service.clone(), room(conference), tester());
        let started = self.during(service.start_recording(&conference, options.unwrap(), &actor));
        started.unwrap().status.recording_id
    }

    /// All speak, both engines run through a tick, all that is to be heard is heard, and the service hears the engines.
    fn tick(&mut self) {
        for party in &mut self.parties {
            let Some(voice) = &mut party.voice else { continue };
            party.socket.send_to(&voice.next(), party.leg).unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        for party in self.parties.iter().filter(|party| party.voice.is_some()) {
            let (engine, leg) = party.place;
            while self.engines.has_leg(engine, leg) && !self.engines.has_mail(engine, leg) {
                assert!(Instant::now() < deadline, "a packet over loopback");
                std::thread::yield_now();
            }
        }
        for engine in [0, 1].repeat(crate::time::PHASES) {
            self.engines.step(engine);
        }
        self.ticks += 1;
        let now = self.begun + TICK * self.ticks;
        let _inside = self.runtime.enter();
        for engine in 0..2 {
            self.service.inner.listen(engine);
        }
        self.service.inner.ask_for_reports(now);
        let mut news = pin!(self.news.next());
        if let Poll::Ready(news) = news.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            news.iter()
                .for_each(|status| self.service.inner.tell_of_recording(status));
        }
        for listener in &self.listeners {
            self.parties[*listener].hear();
        }
    }

    fn ticks(&mut self, ticks: u32) {
        (0..ticks).for_each(|_| self.tick());
    }

    /// From here on these are listened to: what came before is not counted.
    fn listen_to(&mut self, listeners: &[usize]) {
        for listener in listeners {
            let socket = &self.parties[*listener].socket;
            socket.set_nonblocking(true).unwrap();
            while socket.recv_from(&mut [0; 2_048]).is_ok() {}
            socket.set_nonblocking(false).unwrap();
        }
        self.listeners = listeners.to_vec();
    }

    /// Looks at the load after some ticks.
    fn look(&mut self) -> u8 {
        self.ticks(LOOK);
        let elapsed = TICK * (self.ticks - self.looked_at);
        self.looked_at = self.ticks;
        self.service.inner.look_at_load(elapsed);
        self.service.inner.overload.level()
    }

    fn told(&self, kind: &str) -> usize {
        let told = self.runtime.block_on(told(&self.service, None));
        told.iter().filter(|message| message.kind == kind).count()
    }
}

impl Party {
    /// The next packet, which is there or on its way over loopback.
    fn hear(&mut self) {
        let mut buffer = [0; 2_048];
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).expect("one packet a tick");
            let datagram = &buffer[..length];
            if !is_rtcp(datagram) {
                let packet = Packet::parse(datagram).unwrap();
                self.heard
                    .push((packet.sequence, packet.timestamp, packet.payload.to_vec()));
                return;
            }
        }
    }
}

/// Of these tones, which the last packets of PCMU carry.
fn carried(heard: &[(u16, u32, Vec<u8>)], tones: &[(f32, f32)]) -> Vec<bool> {
    let mut decoder = Decoder::new(Codec::Pcmu).unwrap();
    let mut pcm = Vec::new();
    let mut samples = [0.0; PAYLOAD_SAMPLES_MAX];
    for (_, _, payload) in heard {
        let count = decoder.decode(payload, &mut samples).unwrap();
        pcm.extend_from_slice(&samples[..count]);
    }
    let power = |hz: f32| {
        let angle = |n: usize| std::f32::consts::TAU * hz * n as f32 / Rate::Hz8000.hz() as f32;
        let part = |wave: fn(f32) -> f32| -> f32 {
            pcm.iter()
                .enumerate()
                .map(|(n, sample)| sample * wave(angle(n)))
                .sum()
        };
        let (re, im) = (part(f32::cos), part(f32::sin));
        2.0 * (re * re + im * im) / (pcm.len() * pcm.len()) as f32
    };
    tones
        .iter()
        .map(|(hz, dbfs)| power(*hz) > 0.25 * 10_f32.powf(dbfs / 10.0))
        .collect()
}

/// What is seen while nothing changes.
#[derive(Debug)]
struct Watched {
    level: u8,
    /// In the large room and in the small one.
    talkers: (usize, usize),
    /// Events of `leg.talking` and changes of it that were not told, and whether reports came as often as they should.
    talking: usize,
    untold: u64,
    reports_are_rare: bool,
    /// The effort of Opus that both engines allow.
    effort: [u8; 2],
}

/// What must not give way.
struct Kept {
    /// What the small room's listener heard, and its recording with each leg's track.
    heard: Vec<Vec<u8>>,
    small: Vec<Vec<u8>>,
    /// Samples of the large room's recording.
    large: u64,
    ticks: u32,
}

struct Told {
    levels: Vec<u8>,
    watched: Vec<Watched>,
    kept: Kept,
    opus: Vec<Vec<u8>>,
    /// How many packets were heard when the third thing should have given way.
    third: usize,
    degradations: u64,
}

fn told_story(name: &str, is_strained: bool) -> Told {
    let mut stage = Stage::open(name);
    for (number, tone) in TALKERS.into_iter().enumerate() {
        stage.seat("large", &format!("talker-{number}"), "0", Some(tone));
    }
    let in_large = (0..LISTENERS).map(|number| stage.seat("large", &format!("listener-{number}"), "0", None));
    let in_large: Vec<usize> = in_large.collect();
    for (number, tone) in SMALL.into_iter().enumerate() {
        stage.seat("small", &format!("small-{number}"), "0", Some(tone));
    }
    let pauses = stage.parties.len() - 1;
    let in_small = stage.seat("small", "hears", "0", None);
    let by_opus = stage.seat("small", "opus", "96\r\na=rtpmap:96 opus/48000/2", None);
    let listeners = [in_large[0], in_small, by_opus];
    assert_ne!(
        stage.parties[in_large[0]].place.0, stage.parties[in_small].place.0,
        "an engine each"
    );
    let change = ChangeConference::parse(
        Fields::parse(json!({ "maxTalkers": TALKERS_MAX }).to_string().as_bytes()).unwrap(),
    );
    stage
        .service
        .change_conference(&room("large"), change.unwrap())
        .unwrap();
    let recordings = [
        stage.record("small", json!({ "tracks": "mix+legs" })),
        stage.record("large", json!({})),
    ];
    stage.parties[pauses].voice.as_mut().unwrap().is_on = false;
    stage.ticks(WINDOW);
    stage.listen_to(&listeners);
    let (mut levels, mut watched) = (Vec::new(), Vec::new());

    let mut watch = |stage: &mut Stage| {
        let before = (
            stage.told("leg.talking"),
            stage.told("leg.report"),
            stage.service.inner.overload.untold(),
        );
        let from = stage.parties[in_large[0]].heard.len();
        stage.parties[pauses].voice.as_mut().unwrap().is_on = true;
        stage.ticks(SPURT);
        let in_spurt = [in_large[0], in_small]
            .map(|listener| stage.parties[listener].heard[from + SPURT as usize / 2..].to_vec());
        stage.parties[pauses].voice.as_mut().unwrap().is_on = false;
        stage.ticks(WINDOW - SPURT);
        let heard = |carried: Vec<bool>| {
            let count = carried.iter().filter(|is_heard| **is_heard).count();
            assert!(
                carried[..count].iter().all(|is_heard| *is_heard),
                "the loudest: {carried:?}"
            );
            count
        };
        let shown = stage.service.conference(&room("large")).unwrap().max_talkers;
        assert_eq!(shown, Some(TALKERS_MAX as u16), "as the switch has set it");
        let level = seen_everywhere(stage);
        let reports = stage.told("leg.report") - before.1;
        watched.push(Watched {
            level,
            talkers: (
                heard(carried(&in_spurt[0], &TALKERS)),
                heard(carried(&in_spurt[1], &SMALL)),
            ),
            talking: stage.told("leg.talking") - before.0,
            untold: stage.service.inner.overload.untold() - before.2,
            // In 1.6 s, of 16 legs: once a second, or once in four.
            reports_are_rare: reports < 16,
            effort: [0, 1].map(|engine| stage.engines.engine(engine).complexity_max()),
        });
    };

    watch(&mut stage);
    levels.push(stage.look());
    let mut third = 0;
    for level in 1..=4 {
        if is_strained {
            // One engine is enough.
            let engine = stage.parties[in_large[0]].place.0;
            stage.engines.strain(engine, LATE);
        }
        levels.extend((0..3).map(|_| stage.look()));
        if level == 3 {
            third = stage.parties[by_opus].heard.len();
        }
        watch(&mut stage);
    }
    (0..2).for_each(|engine| stage.engines.strain(engine, IN_TIME));
    // What was late until now is in this look.
    levels.push(stage.look());
    for _ in 0..4 {
        levels.extend((0..10).map(|_| stage.look()));
        watch(&mut stage);
    }

    let service = stage.service.clone();
    for conference in ["small", "large"] {
        let stopped = stage.during(service.stop_recording(&room(conference)));
        stopped.unwrap();
    }
    let ticks = stage.ticks;
    let audio = recordings.map(|id| settled(&mut stage, &id));
    let [small, large] = audio;
    let folder = stage.dir.0.clone();
    let mut files = vec![small.key.clone()];
    files.extend(small.tracks.iter().map(|track| track.key.clone()));
    assert_eq!(
        files.len(),
        1 + SMALL.len() + 2,
        "the mix and who was there: {files:?}"
    );
    for receipt in [&small, &large] {
        assert_eq!(
            (receipt.gap_samples, receipt.late_frames, receipt.truncated),
            (0, 0, false)
        );
    }
    for listener in listeners {
        let heard = &stage.parties[listener].heard;
        let steps = heard.windows(2).map(|two| {
            let (one, next) = (&two[0], &two[1]);
            (next.0.wrapping_sub(one.0), next.1.wrapping_sub(one.1))
        });
        let step = if listener == by_opus { 960 } else { 160 };
        assert!(
            steps.into_iter().all(|by| by == (1, step)),
            "a packet each tick, and no time left out"
        );
    }
    let payloads = |listener: usize| -> Vec<Vec<u8>> {
        let heard = stage.parties[listener].heard.iter();
        heard.map(|(_, _, payload)| payload.clone()).collect()
    };
    assert_eq!(stage.engines.panics(), 0);
    Told {
        levels,
        watched,
        kept: Kept {
            heard: payloads(in_small),
            small: files
                .iter()
                .map(|file| std::fs::read(folder.join(file)).unwrap())
                .collect(),
            large: large.samples,
            ticks,
        },
        opus: payloads(by_opus),
        third,
        degradations: service.inner.overload.degradations(),
    }
}

/// The level, which everybody is told alike.
fn seen_everywhere(stage: &mut Stage) -> u8 {
    let service = stage.service.clone();
    let level = service.inner.overload.level();
    let shown = serde_json::to_value(service.capacity().degradation).unwrap();
    assert_eq!(shown["level"], level);
    assert_eq!(shown["givenUp"].as_array().unwrap().len(), usize::from(level));
    let page = metrics::render(&stage.during(service.figures()));
    let line = format!("mixminus_degradation_level {level}");
    assert!(page.lines().any(|found| found == line), "{line}");
    level
}

/// The receipt of a recording, once all is written.
fn settled(stage: &mut Stage, id: &str) -> crate::record::Receipt {
    let deadline = Instant::now() + Duration::from_secs(60);
    let service = stage.service.clone();
    loop {
        let status = stage.during(service.recording(id)).unwrap();
        if let (RecordingState::Available, Some(receipt)) = (status.state, status.receipt) {
            return receipt;
        }
        assert!(Instant::now() < deadline, "{:?}", status.error);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Fault row S4.
#[test]
fn under_late_ticks_the_ladder_is_climbed_and_left_in_order_and_neither_mix_nor_recording_knows() {
    let calm = told_story("ladder-calm", false);
    let strained = told_story("ladder-strained", true);

    assert_eq!(calm.levels, [0; 54]);
    let mut expected = vec![0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4];
    for level in [4, 3, 2, 1] {
        expected.extend([level; 9]);
        expected.push(level - 1);
    }
    assert_eq!(strained.levels, expected);
    assert_eq!((calm.degradations, strained.degradations), (0, 4));

    for watched in calm.watched.iter().chain(&strained.watched) {
        let level = watched.level;
        let is_told = level < 1;
        assert_eq!(
            (watched.talking > 0, watched.untold > 0),
            (is_told, !is_told),
            "{watched:?}"
        );
        assert_eq!(watched.reports_are_rare, level >= 2, "{watched:?}");
        assert_eq!(
            watched.effort,
            [if level >= 3 { 1 } else { 10 }; 2],
            "{watched:?}"
        );
        let in_large = if level >= 4 { TALKERS_LOW } else { TALKERS_MAX };
        assert_eq!(watched.talkers, (in_large, SMALL.len()), "{watched:?}");
    }
    let levels: Vec<u8> = strained.watched.iter().map(|watched| watched.level).collect();
    assert_eq!(levels, [0, 1, 2, 3, 4, 3, 2, 1, 0]);

    assert_eq!(strained.kept.ticks, calm.kept.ticks);
    assert_eq!(strained.kept.large, calm.kept.large);
    assert!(
        strained.kept.heard == calm.kept.heard,
        "the mix is the same to the sample"
    );
    assert!(
        strained.kept.small == calm.kept.small,
        "and so is what is recorded"
    );
    // What costs less is another encoding of the same sound, and begins where the third thing gives way.
    let differ = |from: usize, to: usize| strained.opus[from..to] != calm.opus[from..to];
    let third = calm.third;
    assert!(!differ(0, third), "as long as less has given way");
    assert!(differ(third, third + WINDOW as usize));
    assert_eq!(strained.opus.len(), calm.opus.len());
}
