"""Linear 16 bit in network byte order (RFC 3551 §4.5.11): what the daemon does to sound, with no codec in the way.

A lost packet is silence.
"""

import numpy as np

from .codec import Codec, Payloads, from_int16, packets_of, to_int16


def at(rate: int, payload_type: int) -> Codec:
    samples = rate // 50

    def encode(sound: np.ndarray) -> list[bytes]:
        return [packet.astype(">i2").tobytes() for packet in packets_of(to_int16(sound), samples)]

    def decode(payloads: Payloads) -> np.ndarray:
        whole = b"".join(bytes(2 * samples) if payload is None else payload for payload in payloads)
        return from_int16(np.frombuffer(whole, dtype=">i2"))

    return Codec(f"L16/{rate // 1000}", rate, rate, 20, payload_type, f"L16/{rate}", "", encode, decode)


L16_8 = at(8000, 101)
L16_16 = at(16000, 102)
