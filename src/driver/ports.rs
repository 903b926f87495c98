//! The RTP ports: even port for RTP, the next for RTCP. The longest released is reused first, so a port rests.
