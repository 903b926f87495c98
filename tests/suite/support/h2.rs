//! HTTP/2 frame by frame (RFC 9113), for what no client library would send.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of HTTP/2, section 4.1.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `GET path` in HPACK without compression: indexed method and scheme, literal path and authority.
pub fn get(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x01\x09localhost");
    block
}

/// `POST path`, of the type that gRPC has.
pub fn post(path: &str) -> Vec<u8> {
    let mut block = vec![0x83];
    block.extend_from_slice(&get(path)[1..]);
    block.extend_from_slice(b"\x0f\x10\x10application/grpc");
    block
}

/// A connection that was greeted.
pub fn connect(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).unwrap();
    stream
}

/// The next frame: kind, stream, payload.
pub fn read(stream: &mut impl Read) -> std::io::Result<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload)?;
    Ok((
        head[3],
        u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
        payload,
    ))
}

/// Sends what `frames` makes of the numbers 0, 1, 2… until the peer ends the connection.
pub fn flood(to: SocketAddr, frames: impl Fn(u32) -> Vec<u8>) {
    let mut stream = connect(to);
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    // Answers are taken, so that the peer is not held up by them.
    let reader = std::thread::spawn(move || while read(&mut answers).is_ok() {});
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut number = 0;
    loop {
        let batch: Vec<u8> = (number..number + 50).flat_map(&frames).collect();
        number += 50;
        if stream.write_all(&batch).is_err() {
            break;
        }
        assert!(Instant::now() < deadline, "the flood is never ended");
    }
    drop(stream);
    reader.join().unwrap();
}
