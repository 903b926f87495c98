//! The packets that wait for their turn, in sequence.
//!
//! All memory is made at the start: a fixed number of slots of one size. The lowest free slot is taken first, so that
//! a clean network touches one or two of them, whatever the rest could hold. One packet more may wait aside: the
//! first of what may become another stream.

use crate::time::Time;

/// 64 packets: 480 ms of the shortest packets (10 ms) and a third more.
pub(super) const SLOTS: usize = 64;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A payload for the leg's decoder of this index.
    Sound(u8),
    /// A description of silence (RFC 3389): comfort noise from here on.
    ComfortNoise { clock_hz: u32 },
    /// A piece of a telephone event (RFC 4733): it has its place in the sequence and makes no sound, and its timestamp
    /// is that of the event's beginning.
    Event { clock_hz: u32 },
}

impl Default for Content {
    fn default() -> Content {
        Content::Sound(0)
    }
}

impl Content {
    /// The leg's decoder for it.
    pub(super) const fn format(self) -> Option<u8> {
        match self {
            Content::Sound(format) => Some(format),
            Content::ComfortNoise { .. } | Content::Event { .. } => None,
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Packet {
    /// Counts on over the wrap of the 16 bits on the wire.
    pub sequence: u64,
    /// As it came.
    pub stamp: u32,
    /// By its format's clock, at which the sender's may not run.
    pub timestamp: u32,
    pub arrival: Time,
    /// How much later than the fastest packets it came.
    pub relative_delay_us: u32,
    /// How much faster than all before it came.
    pub lead_us: u32,
    pub content: Content,
    /// Its timestamp does not go on from the packet before: it follows at once, whatever the difference says.
    pub fresh: bool,
    pub length: u16,
}

#[derive(Debug)]
pub(super) struct PacketBuffer {
    packets: Vec<Packet>,
    /// Slots of the waiting packets, by ascending sequence; never longer than `SLOTS`.
    order: Vec<u8>,
    aside: Option<u8>,
    /// A bit for each free slot.
    free: u64,
    slot_bytes: usize,
    payloads: Vec<u8>,
}

impl PacketBuffer {
    pub fn new(slot_bytes: usize) -> PacketBuffer {
        let slot_bytes = slot_bytes.clamp(1, usize::from(u16::MAX));
        PacketBuffer {
            packets: vec![Packet::default(); SLOTS],
            order: Vec::with_capacity(SLOTS),
            aside: None,
            free: u64::MAX,
            slot_bytes,
            // Zeroed memory fresh from the system takes no page before it is written to.
            payloads: vec![0; SLOTS * slot_bytes],
        }
    }

    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_full(&self) -> bool {
        self.free == 0
    }

    /// The next packet in sequence and its payload.
    pub fn head(&self) -> Option<(&Packet, &[u8])> {
        self.order.first().map(|&slot| self.slot(slot))
    }

    /// The last in sequence that holds sound.
    pub fn newest_sound(&self) -> Option<(&Packet, &[u8])> {
        let mut newest_first = self.order.iter().rev().map(|&slot| self.slot(slot));
        newest_first.find(|(packet, _)| packet.content.format().is_some())
    }

    /// The waiting packets, in sequence.
    pub fn iter(&self) -> impl Iterator<Item = &Packet> {
        self.order.iter().map(|&slot| &self.packets[usize::from(slot)])
    }

    /// As `iter`, to change what is known of them, but for their sequence.
    pub fn for_each(&mut self, mut change: impl FnMut(&mut Packet)) {
        for &slot in &self.order {
            change(&mut self.packets[usize::from(slot)]);
        }
    }

    pub fn aside(&self) -> Option<&Packet> {
        self.aside.map(|slot| &self.packets[usize::from(slot)])
    }

    /// Puts a packet in its place. It must fit a slot, one must be free, and its sequence must be new.
    pub fn insert(&mut self, packet: Packet, payload: &[u8]) {
        let place = self
            .order
            .iter()
            .rposition(|&slot| self.packets[usize::from(slot)].sequence < packet.sequence);
        if let Some(slot) = self.fill(packet, payload) {
            self.order.insert(place.map_or(0, |before| before + 1), slot);
        }
    }

    /// Lets a packet wait aside, in place of the one that did.
    pub fn set_aside(&mut self, packet: Packet, payload: &[u8]) {
        self.drop_aside();
        self.aside = self.fill(packet, payload);
    }

    pub fn drop_aside(&mut self) {
        if let Some(slot) = self.aside.take() {
            self.release(slot);
        }
    }

    /// Gives up all waiting packets for the one aside.
    pub fn take_aside(&mut self) {
        self.clear_waiting();
        if let Some(slot) = self.aside.take() {
            self.order.push(slot);
        }
    }

    pub fn drop_head(&mut self) {
        if !self.order.is_empty() {
            let slot = self.order.remove(0);
            self.release(slot);
        }
    }

    /// Puts every packet through `keep`, which may change what it carries; gives up those for which it returns false,
    /// the one aside included, and returns how many those were.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Packet) -> bool) -> u64 {
        let before = self.order.len() + usize::from(self.aside.is_some());
        let mut place = 0;
        while let Some(&slot) = self.order.get(place) {
            if keep(&mut self.packets[usize::from(slot)]) {
                place += 1;
            } else {
                self.order.remove(place);
                self.release(slot);
            }
        }
        if let Some(slot) = self.aside
            && !keep(&mut self.packets[usize::from(slot)])
        {
            self.drop_aside();
        }
        (before - self.order.len() - usize::from(self.aside.is_some())) as u64
    }

    /// Takes over all packets of `other`, whose slots are no larger, into none of its own.
    pub fn fill_from(&mut self, other: &PacketBuffer) {
        for &slot in &other.order {
            let (packet, payload) = other.slot(slot);
            self.insert(*packet, payload);
        }
        if let Some(slot) = other.aside {
            let (packet, payload) = other.slot(slot);
            self.set_aside(*packet, payload);
        }
    }

    pub fn clear_waiting(&mut self) {
        while let Some(slot) = self.order.pop() {
            self.release(slot);
        }
    }

    fn slot(&self, slot: u8) -> (&Packet, &[u8]) {
        let packet = &self.packets[usize::from(slot)];
        let start = usize::from(slot) * self.slot_bytes;
        (packet, &self.payloads[start..start + usize::from(packet.length)])
    }

    /// The slot that now holds the packet; none when there is no room for it.
    fn fill(&mut self, packet: Packet, payload: &[u8]) -> Option<u8> {
        if self.is_full() || payload.len() > self.slot_bytes {
            return None;
        }
        let slot = self.free.trailing_zeros() as u8;
        self.free &= !(1 << slot);
        self.packets[usize::from(slot)] = Packet {
            length: payload.len() as u16,
            ..packet
        };
        let start = usize::from(slot) * self.slot_bytes;
        self.payloads[start..start + payload.len()].copy_from_slice(payload);
        Some(slot)
    }

    fn release(&mut self, slot: u8) {
        self.free |= 1 << slot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u64) -> Packet {
        Packet {
            sequence,
            ..Packet::default()
        }
    }

    #[test]
    fn packets_leave_in_sequence_whatever_order_they_came_in() {
        let mut buffer = PacketBuffer::new(4);
        for sequence in [5u64, 3, 9, 4, 1] {
            buffer.insert(packet(sequence), &[sequence as u8]);
        }
        let mut left = Vec::new();
        while let Some((packet, payload)) = buffer.head() {
            assert_eq!(payload, [packet.sequence as u8]);
            left.push(packet.sequence);
            buffer.drop_head();
        }
        assert_eq!(left, [1, 3, 4, 5, 9]);
    }

    #[test]
    fn one_packet_at_a_time_never_leaves_the_first_slot() {
        let mut buffer = PacketBuffer::new(160);
        for sequence in 0..1_000 {
            buffer.insert(packet(sequence), &[0xff; 160]);
            buffer.drop_head();
        }
        assert!(buffer.payloads[160..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn all_slots_come_back() {
        let mut buffer = PacketBuffer::new(4);
        for round in 0..10 {
            for sequence in 0..SLOTS as u64 - 1 {
                buffer.insert(packet(round * 100 + sequence), &[1, 2]);
            }
            buffer.set_aside(packet(7), &[3]);
            assert!(buffer.is_full());
            buffer.take_aside();
            assert_eq!(buffer.len(), 1);
            assert_eq!(buffer.head().map(|(_, payload)| payload), Some(&[3u8][..]));
            buffer.clear_waiting();
            assert_eq!(buffer.free, u64::MAX);
        }
    }
}
