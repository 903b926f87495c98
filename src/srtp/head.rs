//! What SRTP reads of a packet before it is known to be authentic: where the header ends, and whose packet it is.

/// The first part of an SRTCP packet, which is never encrypted (RFC 3711 §3.4).
pub const RTCP_HEAD_BYTES: usize = 8;

/// No datagram is longer, and no key stream runs out within it (2¹⁶ blocks, RFC 3711 §4.1.1).
const PACKET_BYTES_MAX: usize = 65_535;

/// Of an RTP packet, encrypted or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// With contributing sources and extension: what is encrypted begins behind it (RFC 3711 §3.1).
    pub bytes: usize,
    pub sequence: u16,
    pub ssrc: u32,
}

impl Head {
    /// `None` if this is not RTP, or if the header does not end before the packet does. Padding is not looked at: in a
    /// packet from the wire it is encrypted.
    #[inline]
    pub fn parse(packet: &[u8]) -> Option<Head> {
        let &[flags, _, s0, s1, _, _, _, _, i0, i1, i2, i3] = packet.first_chunk()?;
        if flags >> 6 != 2 || packet.len() > PACKET_BYTES_MAX {
            return None;
        }
        let mut bytes = 12 + 4 * usize::from(flags & 0x0F);
        if flags & 0x10 != 0 {
            let &[_, _, w0, w1] = packet.get(bytes..)?.first_chunk()?;
            bytes += 4 + 4 * usize::from(u16::from_be_bytes([w0, w1]));
        }
        (bytes <= packet.len()).then_some(Head {
            bytes,
            sequence: u16::from_be_bytes([s0, s1]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
        })
    }
}

/// The sender of a compound RTCP packet, encrypted or not; `None` if this is not RTCP.
pub fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let &[flags, _, _, _, i0, i1, i2, i3] = packet.first_chunk::<RTCP_HEAD_BYTES>()?;
    (flags >> 6 == 2 && packet.len() <= PACKET_BYTES_MAX).then_some(u32::from_be_bytes([i0, i1, i2, i3]))
}
