//! Whoever callbacks are sent to: keeps what comes, and answers as it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Callback {
    pub head: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What a receiver does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Status(u16),
    /// With this header.
    With(u16, String),
    /// None, and the connection stays open.
    Nothing,
    /// 200, and a body without end.
    Endless,
    /// 200, and a body that does not come.
    Stalling,
}

type Manners = Box<dyn Fn(&Callback) -> Answer + Send + Sync>;

pub struct Receiver {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    manners: Mutex<Manners>,
    taken: Mutex<Vec<Callback>>,
    is_over: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
    /// Bytes of endless answers that were taken, once those connections were closed.
    endless: Mutex<Vec<usize>>,
}

impl Callback {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }
}

impl Receiver {
    pub fn start(manners: impl Fn(&Callback) -> Answer + Send + Sync + 'static) -> Receiver {
        Receiver::listen("127.0.0.1:0".parse().unwrap(), None, manners)
    }

    pub fn listen(
        at: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        manners: impl Fn(&Callback) -> Answer + Send + Sync + 'static,
    ) -> Receiver {
        let listener = TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            manners: Mutex::new(Box::new(manners)),
            taken: Mutex::default(),
            is_over: AtomicBool::new(false),
            tls,
            endless: Mutex::default(),
        });
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let state = Arc::clone(&serving);
                std::thread::spawn(move || state.serve(stream.unwrap()));
            }
        });
        Receiver { address, state }
    }

    pub fn url(&self) -> String {
        let scheme = if self.state.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/hooks/voice?of=test", self.address)
    }

    pub fn behave(&self, manners: impl Fn(&Callback) -> Answer + Send + Sync + 'static) {
        *self.state.manners.lock().unwrap() = Box::new(manners);
    }

    /// All that came, whatever was answered.
    pub fn came(&self) -> Vec<Callback> {
        self.state.taken.lock().unwrap().clone()
    }

    pub fn endless(&self) -> Vec<usize> {
        self.state.endless.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that listens.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
        match &self.tls {
            None => self.talk(stream),
            Some(tls) => {
                let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
                self.talk(StreamOwned::new(connection, stream));
            }
        }
    }

    fn talk(&self, stream: impl Read + Write) {
        let mut stream = BufReader::new(stream);
        while let Some(callback) = read(&mut stream) {
            self.taken.lock().unwrap().push(callback.clone());
            let answer = (self.manners.lock().unwrap())(&callback);
            let out = stream.get_mut();
            let (status, header) = match answer {
                Answer::Status(status) => (status, String::new()),
                Answer::With(status, header) => (status, header + "\r\n"),
                Answer::Nothing => {
                    // Until the other side has had enough.
                    let _ = stream.read(&mut [0]);
                    return;
                }
                Answer::Endless => return self.never_end(out),
                Answer::Stalling => {
                    let _ = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
                    let _ = stream.read(&mut [0]);
                    return;
                }
            };
            let reply = format!("HTTP/1.1 {status} \r\n{header}content-length: 2\r\n\r\n{{}}");
            if out
                .write_all(reply.as_bytes())
                .and_then(|()| out.flush())
                .is_err()
            {
                return;
            }
        }
    }

    fn never_end(&self, out: &mut impl Write) {
        let begun = out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n");
        let mut bytes = 0;
        if begun.is_ok() {
            while out.write_all(&[b'x'; 16_384]).is_ok() {
                bytes += 16_384;
            }
        }
        self.endless.lock().unwrap().push(bytes);
    }
}

fn read(stream: &mut impl BufRead) -> Option<Callback> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let headers: Vec<(String, String)> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(Callback {
        head: lines.remove(0),
        headers,
        body,
    })
}
