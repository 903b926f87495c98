//! A proxy in front of an object store that does what networks and stores do: it refuses, freezes, answers with
//! errors, cuts connections and mangles answers, as a script says. One request a connection; every call is noted.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What happens to one request.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Taken, and never answered.
    Freeze,
    /// Not passed on; this status with this code.
    Status(u16, &'static str),
    /// The connection is reset when half of the body is there.
    ResetHalfway,
    /// Passed on, and the connection is cut before the answer.
    LoseAnswer,
    /// Not passed on; status 200 with an error for a body.
    ErrorBody,
    /// Passed on; each ETag of the answer is another.
    WrongEtag,
    /// Passed on; the answer is that of a bucket which encrypts with a key of KMS: its ETags are no MD5.
    Kms,
    /// The body is read at so many bytes a second, then passed on.
    Slow(usize),
}

/// The next `times` calls of this name fare so.
#[derive(Debug)]
struct Line {
    call: &'static str,
    times: usize,
    fault: Fault,
}

pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    script: Mutex<Vec<Line>>,
    calls: Mutex<Vec<String>>,
    is_closed: AtomicBool,
}

struct Request {
    /// Start line and headers, with the empty line.
    head: Vec<u8>,
    body_bytes: usize,
    waits_for_continue: bool,
    call: &'static str,
}

impl FaultProxy {
    pub fn start(store: SocketAddr) -> FaultProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State::default());
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                if state.is_closed.load(Ordering::Acquire) {
                    // Both ends see a connection that is over at once.
                    drop(client);
                    continue;
                }
                // A client that goes away in the middle is what is tested here.
                thread::spawn(move || drop(serve(client, store, &state)));
            }
        });
        FaultProxy { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds to the script: the next `times` calls of this name (`""`: of any).
    pub fn fault(&self, call: &'static str, times: usize, fault: Fault) -> &FaultProxy {
        lock(&self.state.script).push(Line { call, times, fault });
        self
    }

    /// Closes every connection as it comes, until told otherwise.
    pub fn close(&self, is_closed: bool) {
        self.state.is_closed.store(is_closed, Ordering::Release);
    }

    /// The calls so far, in the order they came.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.state.calls).clone()
    }

    pub fn count(&self, call: &str) -> usize {
        lock(&self.state.calls)
            .iter()
            .filter(|made| *made == call)
            .count()
    }
}

fn serve(mut client: TcpStream, store: SocketAddr, state: &State) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let request = Request::read(&mut reader)?;
    lock(&state.calls).push(request.call.to_owned());
    let fault = state.next(request.call);
    if request.waits_for_continue {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    match fault {
        Some(Fault::Freeze) => {
            // Until the client has had enough.
            return io::copy(&mut reader, &mut io::sink()).map(drop);
        }
        Some(Fault::ResetHalfway) => {
            reader.read_exact(&mut vec![0; request.body_bytes / 2])?;
            // Closed with bytes unread: a reset.
            return Ok(());
        }
        _ => {}
    }
    let mut body = vec![0; request.body_bytes];
    match fault {
        Some(Fault::Slow(bytes_per_s)) => {
            for piece in body.chunks_mut((bytes_per_s / 20).max(1)) {
                reader.read_exact(piece)?;
                thread::sleep(Duration::from_millis(50));
            }
        }
        _ => reader.read_exact(&mut body)?,
    }
    let answer = match fault {
        Some(Fault::Status(status, code)) => error_of(status, code),
        Some(Fault::ErrorBody) => error_of(200, "InternalError"),
        _ => pass_on(store, &request.head, &body)?,
    };
    match fault {
        Some(Fault::LoseAnswer) => return Ok(()),
        Some(Fault::WrongEtag) => client.write_all(&other_etags(&answer))?,
        Some(Fault::Kms) => client.write_all(&with_kms(&other_etags(&answer)))?,
        _ => client.write_all(&answer)?,
    }
    client.shutdown(Shutdown::Both)
}

impl State {
    fn next(&self, call: &str) -> Option<Fault> {
        let mut script = lock(&self.script);
        let line = script
            .iter_mut()
            .find(|line| line.times > 0 && (line.call.is_empty() || line.call == call))?;
        line.times -= 1;
        Some(line.fault)
    }
}

impl Request {
    fn read(reader: &mut impl BufRead) -> io::Result<Request> {
        let mut request = Request {
            head: Vec::new(),
            body_bytes: 0,
            waits_for_continue: false,
            call: "",
        };
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if request.call.is_empty() {
                request.call = call_of(&line);
            }
            let header = line.to_ascii_lowercase();
            if let Some(length) = header.strip_prefix("content-length:") {
                request.body_bytes = length.trim().parse().map_err(io::Error::other)?;
            }
            // The upstream connection is for this request only, and its body is here already.
            let is_ours = header.starts_with("connection:") || header.starts_with("expect:");
            request.waits_for_continue |= header.starts_with("expect:");
            assert!(
                !header.starts_with("transfer-encoding:"),
                "every body is sent with its length: {line}"
            );
            if line == "\r\n" {
                request.head.extend_from_slice(b"connection: close\r\n\r\n");
                return Ok(request);
            }
            if !is_ours {
                request.head.extend_from_slice(line.as_bytes());
            }
        }
    }
}

/// The call behind `PUT /bucket/key?partNumber=1&uploadId=… HTTP/1.1`.
fn call_of(line: &str) -> &'static str {
    let query = line.split(' ').nth(1).and_then(|target| target.split_once('?'));
    let query = query.map_or("", |(_, query)| query);
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    match line.split(' ').next() {
        Some("POST") if has("uploads") => "Create",
        Some("POST") if has("uploadId") => "Complete",
        Some("PUT") if has("partNumber") => "Part",
        Some("DELETE") if has("uploadId") => "Abort",
        Some("PUT") if query.is_empty() || query == "x-id=PutObject" => "Put",
        _ => "something else",
    }
}

fn pass_on(store: SocketAddr, head: &[u8], body: &[u8]) -> io::Result<Vec<u8>> {
    let mut upstream = TcpStream::connect(store)?;
    upstream.write_all(head)?;
    upstream.write_all(body)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn error_of(status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>as scripted</Message></Error>"
    );
    format!(
        "HTTP/1.1 {status} Scripted\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Turns the first digit after each quote of an ETag into another.
fn other_etags(answer: &[u8]) -> Vec<u8> {
    let mut changed = answer.to_vec();
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    for (at, _) in text.match_indices("etag") {
        let digit =
            (at + 4..changed.len()).find(|&at| changed[at].is_ascii_hexdigit() && changed[at - 1] == b'"');
        if let Some(digit) = digit {
            changed[digit] = if changed[digit] == b'0' { b'1' } else { b'0' };
        }
    }
    changed
}

/// One header more, after the status line.
fn with_kms(answer: &[u8]) -> Vec<u8> {
    let end = answer
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let (status, rest) = answer.split_at(end);
    [status, b"x-amz-server-side-encryption: aws:kms\r\n", rest].concat()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
