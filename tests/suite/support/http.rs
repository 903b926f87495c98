//! A daemon on a port of its own, and an HTTP client that sends paths exactly as they are written.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use mixminus::config::Config;
use mixminus::control::daemon::Daemon;
use serde_json::{Value, json};

use super::logs::{self, Log};

static STARTED: AtomicU16 = AtomicU16::new(0);

pub struct Served {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub dir: PathBuf,
    /// What it was started with.
    sets: Vec<String>,
    daemon: Option<Daemon>,
    runtime: tokio::runtime::Runtime,
    /// What it logs. Searched last, when all that could say something is gone.
    log: Option<Log>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub bytes: Vec<u8>,
}

/// A range of 40 media ports and a directory that no other test of this process uses.
pub fn place_of_its_own() -> (String, PathBuf) {
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    // Below what the kernel gives to whoever asks for any port.
    let first = 24_000 + number * 40;
    let dir = std::env::temp_dir().join(format!("mixminus-control-{}-{number}", std::process::id()));
    (format!("{first}-{}", first + 39), dir)
}

impl Served {
    pub fn start(sets: &[&str]) -> Served {
        let (ports, dir) = place_of_its_own();
        let mut all = vec![
            "http.listen=127.0.0.1:0".to_owned(),
            "grpc.listen=127.0.0.1:0".to_owned(),
            format!("rtp.ports={ports}"),
            format!("recording.dir={}", dir.join("recordings").display()),
            "engine.threads=2".to_owned(),
            "engine.legs=64".to_owned(),
            "engine.rooms=64".to_owned(),
            "admission.calibrate=assumed".to_owned(),
            "rtp.port_rest_s=0".to_owned(),
        ];
        std::fs::create_dir_all(&dir).unwrap();
        all.extend(sets.iter().map(|set| set.replace("$DIR", dir.to_str().unwrap())));
        let log = Log::within(&all);
        let config = Config::load(None, [], &all).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let daemon = runtime.block_on(Daemon::start(config)).unwrap();
        Served {
            http: daemon.http(),
            grpc: daemon.grpc(),
            dir,
            sets: all,
            daemon: Some(daemon),
            runtime,
            log: Some(log),
        }
    }

    /// Reads keys, limits and certificates again.
    pub fn reload(&self) -> Result<(), String> {
        let config = Config::load(None, [], &self.sets).unwrap();
        let reloaded = self.daemon.as_ref().unwrap().reload(&config);
        reloaded.map_err(|error| error.to_string())
    }

    pub fn drain(&self) {
        self.daemon.as_ref().unwrap().drain();
    }

    pub fn get(&self, path: &str) -> Reply {
        send(self.http, "GET", path, &[], b"")
    }

    pub fn delete(&self, path: &str) -> Reply {
        send(self.http, "DELETE", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        send(self.http, "POST", path, &[], body.to_string().as_bytes())
    }

    pub fn patch(&self, path: &str, body: &Value) -> Reply {
        send(self.http, "PATCH", path, &[], body.to_string().as_bytes())
    }

    /// A PCMU leg that was made, as the reply shows it.
    pub fn leg(&self, conference: &str, call: &str) -> Value {
        let reply = self.post(
            "/v1/legs",
            &json!({ "conferenceId": conference, "callId": call, "sdp": offer(5004) }),
        );
        reply.json(201)
    }

    /// The value of a series of `/metrics`, written as it stands there.
    pub fn metric(&self, series: &str) -> f64 {
        let page = String::from_utf8(self.get("/metrics").bytes).unwrap();
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("{series} in {page}"))
            .parse()
            .unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            self.runtime.block_on(daemon.stop());
        }
        drop(self.log.take());
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Reply {
    /// The body as JSON, once the status is the one expected.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The message of an error in the one form all errors have.
    #[track_caller]
    pub fn refused(&self, code: u64) -> String {
        let body = self.json((code / 100) as u16);
        assert_eq!(body["errorCode"], code, "{body}");
        assert!(body["reference"].is_string(), "{body}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        body["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn empty(&self, status: u16) {
        assert_eq!((self.status, self.text().as_str()), (status, ""));
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// One request on a connection of its own.
pub fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    raw(to, &[head.as_bytes(), body].concat())
}

/// Sends bytes as they are and reads one reply.
pub fn raw(to: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    logs::learn(&String::from_utf8_lossy(request));
    // A refused request may be answered before it is sent to its end.
    let _ = stream.write_all(request);
    let reply = read_reply(&mut BufReader::new(stream), !request.starts_with(b"HEAD "));
    logs::learn(&reply.text());
    reply
}

fn read_head(stream: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut lines = stream
        .lines()
        .map(|line| line.unwrap())
        .take_while(|line| !line.is_empty());
    let status = lines
        .next()
        .expect("a status line")
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_lowercase(), value.trim().to_owned()))
    });
    (status, headers.collect())
}

/// The next reply of a connection.
pub fn read_reply(stream: &mut impl BufRead, has_body: bool) -> Reply {
    let (status, headers) = read_head(stream);
    let mut reply = Reply {
        status,
        headers,
        bytes: Vec::new(),
    };
    if !has_body {
        return reply;
    }
    let length = reply
        .header("content-length")
        .map(|length| length.parse::<usize>().unwrap());
    match length {
        Some(length) => {
            reply.bytes.resize(length, 0);
            stream.read_exact(&mut reply.bytes).unwrap();
        }
        None => drop(stream.read_to_end(&mut reply.bytes)),
    }
    reply
}

/// A stream of server-sent events.
pub struct Events {
    stream: BufReader<TcpStream>,
}

impl Events {
    pub fn open(to: SocketAddr, query: &str, headers: &str) -> Events {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        logs::learn(headers);
        write!(
            stream,
            "GET /v1/events{query} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n"
        )
        .unwrap();
        let mut stream = BufReader::new(stream);
        let (status, headers) = read_head(&mut stream);
        assert_eq!(status, 200);
        assert!(headers.contains(&("content-type".into(), "text/event-stream".into())));
        Events { stream }
    }

    /// The next event: the number to resume after, and the object, all of which a message of gRPC can carry.
    #[track_caller]
    pub fn next(&mut self) -> (u64, Value) {
        self.next_if_any().expect("the stream has ended")
    }

    /// The same; none where the stream has ended.
    pub fn next_if_any(&mut self) -> Option<(u64, Value)> {
        let (mut id, mut data) = (None, None);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(number) = line.strip_prefix("id: ") {
                id = Some(number.parse().unwrap());
            } else if let Some(text) = line.strip_prefix("data: ") {
                // One that a kill has cut short is none.
                data = serde_json::from_str(text).ok();
                if let Some(event) = &data {
                    super::grpc::encoded(&super::grpc::method("StreamEvents").output(), event);
                }
            } else if line.is_empty()
                && let (Some(id), Some(data)) = (id, data.take())
            {
                return Some((id, data));
            }
        }
    }

    /// Reads on until an event of this type.
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.until_of(kind);
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Reads on until an event whose type begins so.
    pub fn until_of(&mut self, beginning: &str) -> Value {
        loop {
            let (_, event) = self.next();
            if event["type"]
                .as_str()
                .is_some_and(|kind| kind.starts_with(beginning))
            {
                return event;
            }
        }
    }
}

/// An offer of PCMU and PCMA from the port given.
pub fn offer(port: u16) -> String {
    sdp(port, "RTP/AVP 0 8", "")
}

pub fn sdp(port: u16, formats: &str, attributes: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} {formats}\r\n{attributes}"
    )
}

/// Waits until it is so.
#[track_caller]
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
