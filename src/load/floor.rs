//! The physical floor: a bare reflector that does with its sockets what any server that ticks must do, and nothing
//! else. No parsing, no mixing; its cost per leg is what all others are compared with.
//!
//! It runs in a process of its own, so that its processor time is not the generator's.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::socket::{self, Envelope};
use crate::time::{PHASES, Tick};

/// A reflector in a child process; it ends with this value.
pub struct Reflector {
    child: Child,
    /// The child reads its standard input until this closes.
    lifeline: Option<ChildStdin>,
    pub ports: Vec<SocketAddr>,
}

impl Reflector {
    /// Starts this program anew, as a reflector with so many sockets.
    pub fn start(sockets: usize, bind: IpAddr) -> io::Result<Reflector> {
        let mut child = Command::new(env::current_exe()?)
            .args([
                "load",
                "--reflect",
                "--legs",
                &sockets.to_string(),
                "--bind",
                &bind.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lifeline = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let ports: Vec<SocketAddr> = line
            .split_whitespace()
            .filter_map(|port| Some(SocketAddr::new(bind, port.parse().ok()?)))
            .collect();
        let reflector = Reflector {
            child,
            lifeline,
            ports,
        };
        if reflector.ports.len() != sockets {
            return Err(io::Error::other(
                "the reflector did not get its sockets; see its message above",
            ));
        }
        Ok(reflector)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Reflector {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.child.wait();
    }
}

/// The child's side: binds, says on standard output which ports it got, and reflects until standard input closes.
pub fn serve(sockets: usize, bind: IpAddr) -> io::Result<()> {
    socket::raise_open_files();
    let sockets = (0..sockets)
        .map(|_| socket::bind(bind))
        .collect::<io::Result<Vec<UdpSocket>>>()?;
    let mut line = String::new();
    for socket in &sockets {
        line.push_str(&format!("{} ", socket.local_addr()?.port()));
    }
    println!("{line}");
    io::stdout().flush()?;
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        ended.store(true, Ordering::Relaxed);
    });
    reflect(&sockets, &over);
    Ok(())
}

/// Each 20 ms, a quarter of the sockets in each phase: everything is read, the last datagram goes back.
pub fn reflect(sockets: &[UdpSocket], over: &AtomicBool) {
    let start = Instant::now();
    let mut envelope = Envelope::new();
    let mut tick = Tick::default();
    while !over.load(Ordering::Relaxed) {
        for phase in 0..PHASES {
            let due = start + tick.due(phase).since(Tick::default().due(0));
            thread::sleep(due.saturating_duration_since(Instant::now()));
            for socket in sockets.iter().skip(phase).step_by(PHASES) {
                let mut any = false;
                while envelope.receive(socket) {
                    any = true;
                }
                if any {
                    envelope.send_back(socket);
                }
            }
        }
        tick = tick.next();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::load::socket::Inbox;

    #[test]
    fn the_last_datagram_of_each_tick_comes_back() {
        let bind = || socket::bind(Ipv4Addr::LOCALHOST.into()).expect("loopback has a free port");
        let sockets: Vec<UdpSocket> = (0..6).map(|_| bind()).collect();
        let client = bind();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let reflector = scope.spawn(|| reflect(&sockets, &over));
            for (n, socket) in sockets.iter().enumerate() {
                client
                    .send_to(&[n as u8; 40], socket.local_addr().expect("it is bound"))
                    .expect("loopback takes it");
            }
            thread::sleep(Duration::from_millis(80));
            let mut heard = Vec::new();
            Inbox::new().drain(&client, |_, datagram| heard.push(datagram[0]));
            heard.sort_unstable();
            over.store(true, Ordering::Relaxed);
            assert_eq!(heard, [0, 1, 2, 3, 4, 5]);
            reflector.join().expect("it ends");
        });
    }
}
