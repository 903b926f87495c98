//! A service whose every interleaving is chosen: clients are polled, engines stepped and heard one at a time, by a seed.

use std::collections::VecDeque;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::super::{Config, RecordingNews, Scratch, Service};
use super::requests::{Reply, Request};
use super::search::Answered;
use crate::control::admission::Calibration;
use crate::control::service::driver_config;
use crate::driver::Driver;
use crate::driver::stepped::Stepped;

/// Moments that a history may take: some that wait for an engine take a hundred.
const MOMENTS_MAX: u64 = 20_000;

/// Moments after the last answer until all that is over has come to rest.
const REST_MAX: usize = 2_000;

/// How much there is of everything.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub legs: usize,
    pub rooms: usize,
    pub commands: usize,
}

pub struct House {
    pub service: Service,
    engines: Stepped,
    news: Arc<RecordingNews>,
    /// Kept for the timers and the blocking work of the service.
    runtime: tokio::runtime::Runtime,
    ports: usize,
    /// Moments so far.
    moment: u64,
    _dir: Scratch,
}

/// One who asks for one thing after the other.
struct Client {
    number: usize,
    program: VecDeque<Request>,
    asking: Option<Asking>,
}

struct Asking {
    request: Request,
    made: u64,
    future: Pin<Box<dyn Future<Output = Reply>>>,
    rung: Arc<Bell>,
    polls: usize,
}

/// Rung when a client can go on.
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.0.store(true, Ordering::Release);
    }
}

impl House {
    pub fn open(dir: &Path, first_port: u16, size: Size) -> House {
        let sets = [
            format!("rtp.ports={first_port}-{}", first_port + 63),
            "rtp.port_rest_s=0".to_owned(),
            "rtp.media_timeout_s=0".to_owned(),
            // Nobody waits for a disk here.
            "events.disk_mib=0".to_owned(),
            "engine.threads=2".to_owned(),
            format!("engine.legs={}", size.legs),
            format!("engine.rooms={}", size.rooms),
            format!("recording.dir={}", dir.display()),
        ];
        let config = Config::load(None, [], &sets).unwrap();
        // One thread for what blocks: when it has done this, it has done all before.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        let (driver, engines) = Driver::stepped(&driver_config(&config), size.commands).unwrap();
        let (service, news) = {
            let _inside = runtime.enter();
            Service::with(config, Calibration::assumed(), driver).unwrap()
        };
        House {
            ports: service.inner.ports.unused().free,
            moment: 0,
            service,
            engines,
            news,
            runtime,
            _dir: Scratch(dir.to_owned()),
        }
    }

    /// Has the clients ask for all of their programs; gives what they were answered, in the order of the answers.
    pub fn play(&mut self, programs: Vec<Vec<Request>>, chance: &mut fastrand::Rng) -> Vec<Answered> {
        let begun_at = self.moment;
        let mut clients: Vec<Client> = programs
            .into_iter()
            .enumerate()
            .map(|(number, program)| Client {
                number,
                program: program.into(),
                asking: None,
            })
            .collect();
        let mut answered = Vec::new();
        // Some clients are fast and some engines slow.
        let (clients_share, engines_share) = (chance.u8(1..8), chance.u8(1..8));
        loop {
            self.moment += 1;
            let moment = self.moment;
            let ready: Vec<usize> = (0..clients.len())
                .filter(|client| clients[*client].can_go_on())
                .collect();
            if clients.iter().all(Client::is_done) {
                break;
            }
            assert!(
                moment < begun_at + MOMENTS_MAX,
                "some are never answered: {answered:#?}"
            );
            let dice = chance.u8(..clients_share + engines_share + 2);
            if !ready.is_empty() && dice < clients_share {
                let client = ready[chance.usize(..ready.len())];
                let gives_up = chance.u8(..8) == 0;
                answered.extend(self.go_on(&mut clients[client], moment, gives_up));
            } else if dice < clients_share + engines_share {
                self.engines.step(chance.usize(..2));
            } else {
                self.listen(chance.usize(..2));
            }
        }
        answered
    }

    fn go_on(&self, client: &mut Client, moment: u64, gives_up: bool) -> Option<Answered> {
        let _inside = self.runtime.enter();
        let asking = match &mut client.asking {
            Some(asking) => asking,
            nobody => {
                let request = client.program.pop_front()?;
                nobody.insert(Asking {
                    future: Box::pin(request.clone().ask(self.service.clone())),
                    request,
                    made: moment,
                    rung: Arc::new(Bell(AtomicBool::new(true))),
                    polls: 0,
                })
            }
        };
        asking.rung.0.store(false, Ordering::Release);
        if asking.polls > 0 && gives_up && asking.request.only_looks() {
            client.asking = None;
            return None;
        }
        asking.polls += 1;
        let waker = Waker::from(Arc::clone(&asking.rung));
        let polled = asking.future.as_mut().poll(&mut Context::from_waker(&waker));
        if asking.request.may_block() {
            let after = self.runtime.spawn_blocking(|| ());
            self.runtime.block_on(after).unwrap();
        }
        let Poll::Ready(reply) = polled else { return None };
        let Asking { request, made, .. } = client.asking.take()?;
        Some(Answered {
            client: client.number,
            request,
            reply,
            made,
            answered: moment,
        })
    }

    /// What is left of recordings is done by threads: waits for it, within reason.
    pub fn until(&mut self, mut is_so: impl FnMut(&mut House) -> bool) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while !is_so(self) && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    pub fn listen_to_all(&self) {
        (0..2).for_each(|engine| self.listen(engine));
    }

    /// What the pump does for an engine, and with what the recorder says.
    fn listen(&self, engine: usize) {
        let _inside = self.runtime.enter();
        self.service.inner.listen(engine);
        let mut news = std::pin::pin!(self.news.next());
        if let Poll::Ready(news) = news.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            news.iter()
                .for_each(|status| self.service.inner.tell_of_recording(status));
        }
    }

    /// Lets engines and service go on until nothing more is under way, and sees that nothing is left of anything.
    pub fn come_to_rest(&mut self) -> Result<(), String> {
        let mut left = self.left();
        for step in 0..REST_MAX {
            if left.is_empty() {
                break;
            }
            self.engines.step(step % 2);
            self.listen(step % 2);
            left = self.left();
        }
        match left.is_empty() {
            true => Ok(()),
            false => Err(left.join(", ")),
        }
    }

    /// What is not as it was before anybody came.
    fn left(&self) -> Vec<String> {
        let inner = &self.service.inner;
        let state = inner.state();
        let mut left: Vec<(&str, usize)> = vec![
            ("legs", state.legs.len()),
            ("rooms", state.rooms.len()),
            ("turns of legs", inner.legs_in_turn.len()),
            ("turns of recordings", inner.recordings_in_turn.len()),
            (
                "reports of legs awaited",
                super::super::locked(&inner.answers.legs).len(),
            ),
            (
                "reports of engines awaited",
                super::super::locked(&inner.answers.engines).len(),
            ),
            (
                "ends of recordings awaited",
                super::super::locked(&inner.answers.recordings_off).len(),
            ),
            (
                "pauses awaited",
                super::super::locked(&inner.answers.recordings_paused).len(),
            ),
            ("ports", self.ports - inner.ports.unused().free),
            ("panics", self.engines.panics() as usize),
            ("recorded descriptors", state.fds() as usize),
        ];
        for engine in &state.engines {
            left.push(("slots of legs", engine.legs.taken()));
            left.push(("slots of rooms", engine.rooms.taken()));
            left.push(("commands", engine.outbox.len()));
        }
        left.retain(|(_, count)| *count > 0);
        left.iter()
            .map(|(what, count)| format!("{count} {what}"))
            .collect()
    }
}

impl Client {
    fn is_done(&self) -> bool {
        self.asking.is_none() && self.program.is_empty()
    }

    fn can_go_on(&self) -> bool {
        match &self.asking {
            Some(asking) => asking.rung.0.load(Ordering::Acquire),
            None => !self.program.is_empty(),
        }
    }
}

/// UDP sockets and files of this process that belong to the ports and to the folder, but for its lock: none where nothing
/// is under way.
pub fn descriptors(ports: std::ops::Range<u16>, dir: &Path) -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let links: Vec<String> = open
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    let table = std::fs::read_to_string("/proc/self/net/udp").unwrap();
    let bound = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let port = u16::from_str_radix(fields.nth(1)?.rsplit(':').next()?, 16).ok()?;
        ports
            .contains(&port)
            .then(|| format!("socket:[{}]", fields.nth(7).unwrap_or_default()))
    });
    let bound: Vec<String> = bound.collect();
    let dir = dir.to_string_lossy();
    links
        .into_iter()
        .filter(|link| bound.contains(link) || link.starts_with(&*dir) && !link.ends_with("/.spool/lock"))
        .collect()
}
