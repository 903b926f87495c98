//! A bad network between real sockets: a pair of them for each leg, one that its party knows and one that the daemon
//! knows, and a thread that passes on what comes, when and as often as a `Network` says.
//!
//! The thread wakes on a grid of half a millisecond. Arrivals bear the kernel's times, so a late wake delays a datagram
//! but never changes its lot; by how much it did is measured.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::UdpSocket;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};

use super::distribution::Distribution;
use super::network::Network;
use super::party::GRID;
use super::ready::Ready;
use super::socket::{Inbox, WallTime};
use super::stream::Stream;
use crate::time::Time;

/// The two directions of a leg, as they index what there is two of.
pub const TO_DAEMON: usize = 0;
pub const TO_PARTY: usize = 1;

/// A leg's sockets, each connected to its end, and the ways between them.
pub struct Line {
    /// What comes from the party is read from the first and leaves by the second; from the daemon, the other way.
    pub sockets: [UdpSocket; 2],
    pub ways: [Network; 2],
}

/// What became of the datagrams of one direction since measuring began.
#[derive(Debug, Clone)]
pub struct Passed {
    pub offered: u64,
    pub lost: u64,
    /// Of the lost, RTP.
    pub lost_rtp: u64,
    /// Passed on; what is sent twice is two.
    pub delivered: u64,
    /// A socket did not take them.
    pub refused: u64,
    /// What the ways took for those that were delivered.
    pub took: Distribution,
    /// RTP that had not even come to the proxy, by its sequence numbers.
    pub missing: u64,
}

/// What the thread has when it is done.
#[derive(Debug, Clone)]
pub struct Relayed {
    pub directions: [Passed; 2],
    /// How much later than due datagrams were passed on: the proxy's own fault.
    pub lateness: Distribution,
}

pub struct Proxy {
    orders: Sender<Order>,
    thread: JoinHandle<Relayed>,
}

enum Order {
    Join(Box<Line>),
    Measure,
    Finish,
}

impl Proxy {
    pub fn start() -> io::Result<Proxy> {
        let (orders, to_do) = mpsc::channel();
        let ready = Ready::new()?;
        let thread = thread::Builder::new()
            .name("proxy".into())
            .spawn(move || Relay::new(ready).work(&to_do))?;
        Ok(Proxy { orders, thread })
    }

    /// From here on what arrives at a line's sockets is passed on.
    pub fn join(&self, line: Line) {
        // The thread hears orders until it is told to finish, and that takes the proxy.
        let _ = self.orders.send(Order::Join(Box::new(line)));
    }

    /// Forgets all figures so far; from here on they count.
    pub fn measure(&self) {
        let _ = self.orders.send(Order::Measure);
    }

    pub fn finish(self) -> Relayed {
        let _ = self.orders.send(Order::Finish);
        match self.thread.join() {
            Ok(relayed) => relayed,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// A datagram under way.
struct Flying {
    due: Time,
    /// In the order of arrival, where two are due at once.
    number: u64,
    line: usize,
    direction: usize,
    datagram: Box<[u8]>,
}

impl PartialEq for Flying {
    fn eq(&self, other: &Flying) -> bool {
        self.number == other.number
    }
}
impl Eq for Flying {}
impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Flying) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flying {
    fn cmp(&self, other: &Flying) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

struct Relay {
    ready: Ready,
    /// With what their sequence numbers tell, each way.
    lines: Vec<(Line, [Stream; 2])>,
    flying: BinaryHeap<Reverse<Flying>>,
    number: u64,
    epoch: WallTime,
    relayed: Relayed,
}

impl Relay {
    fn new(ready: Ready) -> Relay {
        Relay {
            ready,
            lines: Vec::new(),
            flying: BinaryHeap::new(),
            number: 0,
            epoch: WallTime::now(),
            relayed: Relayed::nothing(),
        }
    }

    fn work(mut self, orders: &Receiver<Order>) -> Relayed {
        let mut inbox = Inbox::new();
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Join(line)) => self.join(*line),
                    Ok(Order::Measure) => self.measure(),
                    Ok(Order::Finish) | Err(TryRecvError::Disconnected) => return self.finish(),
                    Err(TryRecvError::Empty) => break,
                }
            }
            for socket in self.ready.take() {
                self.fetch(socket, &mut inbox);
            }
            self.pass_on();
            thread::sleep(GRID);
        }
    }

    fn join(&mut self, line: Line) {
        for (side, socket) in line.sockets.iter().enumerate() {
            // Without its events a socket is a line that is cut, and its legs are silent in the report.
            let _ = self.ready.watch(socket, 2 * self.lines.len() + side);
        }
        self.lines.push((line, Default::default()));
    }

    fn measure(&mut self) {
        self.relayed = Relayed::nothing();
        for (_, streams) in &mut self.lines {
            streams.iter_mut().for_each(Stream::restart);
        }
    }

    fn finish(mut self) -> Relayed {
        for (_, streams) in &self.lines {
            for (passed, stream) in self.relayed.directions.iter_mut().zip(streams) {
                passed.missing += stream.missing();
            }
        }
        self.relayed
    }

    /// Takes what waits in a socket, and decides its lot.
    fn fetch(&mut self, socket: usize, inbox: &mut Inbox) {
        let (index, direction) = (socket / 2, socket % 2);
        let Some((line, streams)) = self.lines.get_mut(index) else {
            return;
        };
        let Line { sockets, ways } = line;
        let passed = &mut self.relayed.directions[direction];
        inbox.drain(&sockets[direction], |at, datagram| {
            let place = place_in_stream(datagram);
            if let Some((ssrc, sequence)) = place {
                streams[direction].arrive(at, ssrc, sequence, datagram.len());
            }
            let arrival = Time::from_nanos(u64::try_from(at.nanos_since(self.epoch)).unwrap_or(0));
            let deliveries = ways[direction].offer(arrival, datagram.len());
            passed.offered += 1;
            let is_lost = deliveries.times().is_empty();
            passed.lost += u64::from(is_lost);
            passed.lost_rtp += u64::from(is_lost && place.is_some());
            for due in deliveries.times() {
                passed.took.record(due.since(arrival));
                self.number += 1;
                self.flying.push(Reverse(Flying {
                    due: *due,
                    number: self.number,
                    line: index,
                    direction,
                    datagram: (&*datagram).into(),
                }));
            }
        });
    }

    fn pass_on(&mut self) {
        while let Some(Reverse(next)) = self.flying.peek() {
            let now = Time::from_nanos(u64::try_from(WallTime::now().nanos_since(self.epoch)).unwrap_or(0));
            if next.due > now {
                return;
            }
            self.relayed.lateness.record(now.since(next.due));
            let Some(Reverse(next)) = self.flying.pop() else {
                return;
            };
            let passed = &mut self.relayed.directions[next.direction];
            let sent = self.lines[next.line].0.sockets[1 - next.direction].send(&next.datagram);
            match sent {
                Ok(_) => passed.delivered += 1,
                Err(_) => passed.refused += 1,
            }
        }
    }
}

impl Relayed {
    fn nothing() -> Relayed {
        Relayed {
            directions: [(); 2].map(|()| Passed {
                offered: 0,
                lost: 0,
                lost_rtp: 0,
                delivered: 0,
                refused: 0,
                took: Distribution::new(),
                missing: 0,
            }),
            lateness: Distribution::new(),
        }
    }
}

/// SSRC and sequence number of what is RTP (RFC 3550 §5.1) and not RTCP (RFC 5761 §4: types 192 to 223).
fn place_in_stream(datagram: &[u8]) -> Option<(u32, u16)> {
    let header = datagram.first_chunk::<12>()?;
    let is_rtp = header[0] >> 6 == 2 && !(192..=223).contains(&header[1]);
    let ssrc = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    is_rtp.then_some((ssrc, u16::from_be_bytes([header[2], header[3]])))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::load::impair::Impairment;
    use crate::load::socket;

    /// Two ends with a line between them.
    fn line(text: &str) -> ([UdpSocket; 2], Line) {
        let bind = || socket::bind(Ipv4Addr::LOCALHOST.into()).expect("loopback has a free port");
        let ends = [bind(), bind()];
        let sockets = [bind(), bind()];
        for (end, socket) in ends.iter().zip(&sockets) {
            end.connect(socket.local_addr().expect("it is bound"))
                .expect("loopback has a route");
            socket
                .connect(end.local_addr().expect("it is bound"))
                .expect("loopback has a route");
        }
        let impairment: Impairment = text.parse().expect(text);
        let ways = impairment.ways(0);
        (ends, Line { sockets, ways })
    }

    /// Sends 200 packets of a stream, one each millisecond and a half, and gives what arrives with its times.
    fn through(text: &str) -> (Vec<WallTime>, Vec<(WallTime, u16)>, Relayed) {
        let (ends, line) = line(text);
        let proxy = Proxy::start().expect("a thread can be had");
        proxy.join(line);
        proxy.measure();
        let mut sent = Vec::new();
        for sequence in 0..200_u16 {
            let mut packet = [0_u8; 32];
            packet[0] = 0x80;
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            sent.push(WallTime::now());
            ends[0].send(&packet).expect("loopback takes it");
            thread::sleep(Duration::from_micros(1_500));
        }
        let expected = sequences_of(text).len();
        let mut heard = Vec::new();
        let mut inbox = Inbox::new();
        // As long as it takes on a busy machine, and a moment for what nobody expects.
        for _ in 0..500 {
            let is_last = heard.len() >= expected;
            thread::sleep(Duration::from_millis(20));
            inbox.drain(&ends[1], |at, datagram| {
                heard.push((at, u16::from_be_bytes([datagram[2], datagram[3]])));
            });
            if is_last {
                break;
            }
        }
        (sent, heard, proxy.finish())
    }

    /// What the network makes of 200 packets of one way, where each is delayed alike.
    fn sequences_of(text: &str) -> Vec<u16> {
        let mut network = text.parse::<Impairment>().expect("it is good").ways(0)[TO_DAEMON].clone();
        let deliveries = |sequence: u16| {
            let deliveries = network.offer(Time::from_millis(u64::from(sequence)), 32);
            vec![sequence; deliveries.times().len()]
        };
        (0..200).flat_map(deliveries).collect()
    }

    #[test]
    fn what_is_not_impaired_comes_whole_in_order_and_soon() {
        let (sent, heard, relayed) = through("loss=0");
        let sequences: Vec<u16> = heard.iter().map(|(_, sequence)| *sequence).collect();
        assert_eq!(sequences, (0..200).collect::<Vec<u16>>());
        assert!(heard.iter().zip(&sent).all(|((at, _), sent)| at >= sent));
        let [up, down] = &relayed.directions;
        assert_eq!((up.offered, up.delivered, up.lost, up.missing), (200, 200, 0, 0));
        assert_eq!(down.offered, 0);
        assert_eq!(relayed.lateness.count(), 200);
    }

    #[test]
    fn what_is_lost_delayed_and_doubled_is_what_the_network_says() {
        let text = "loss=20,delay=50,duplicate=10,seed=3";
        let (sent, heard, relayed) = through(text);
        let sequences: Vec<u16> = heard.iter().map(|(_, sequence)| *sequence).collect();
        assert_eq!(sequences, sequences_of(text));
        for (at, sequence) in &heard {
            assert!(at.nanos_since(sent[usize::from(*sequence)]) >= 50_000_000);
        }
        let up = &relayed.directions[TO_DAEMON];
        assert_eq!(up.offered, 200);
        assert_eq!(up.delivered, heard.len() as u64);
        assert!((20..=60).contains(&up.lost), "{}", up.lost);
        assert_eq!(up.lost_rtp, up.lost);
        assert_eq!(up.missing, 0);
        let took = up.took.quantile(0.5).expect("some came");
        assert!(
            took.abs_diff(Duration::from_millis(50)) < Duration::from_millis(2),
            "{took:?}"
        );
    }
}
