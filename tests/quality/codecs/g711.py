"""ITU-T G.711 in both laws, from the definition of its output levels. A lost packet is silence.

The recommendation puts its decision values half way between output levels (but for the edges of segments, by half a
step of the finer one), so the encoder is a search for the nearest level.
"""

import numpy as np

from .codec import Codec, Payloads, from_int16, packets_of, to_int16

SAMPLES = 160
"""Of a packet."""


def levels_mu() -> np.ndarray:
    """The 16 bit output of each of the 256 codes (G.711 table 2)."""
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude)


def levels_a() -> np.ndarray:
    """The 16 bit output of each of the 256 codes (G.711 table 1)."""
    code = np.arange(256) ^ 0x55
    segment = (code & 0x70) >> 4
    step = (code & 0x0F) << 4
    magnitude = np.where(segment == 0, step + 8, step + 0x108 << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude)


def of(name: str, payload_type: int, levels: np.ndarray, silence: int) -> Codec:
    # µ-law has two codes for zero; the later in the list, all ones, is the one that is sent.
    order = np.argsort(levels, kind="stable")
    sorted_levels = levels[order]
    decisions = (sorted_levels[1:] + sorted_levels[:-1]) / 2

    def encode(sound: np.ndarray) -> list[bytes]:
        packets = packets_of(to_int16(sound), SAMPLES)
        codes = order[np.searchsorted(decisions, packets, side="right")].astype(np.uint8)
        return [packet.tobytes() for packet in codes]

    def decode(payloads: Payloads) -> np.ndarray:
        whole = b"".join(bytes([silence]) * SAMPLES if payload is None else payload for payload in payloads)
        return from_int16(levels[np.frombuffer(whole, dtype=np.uint8)])

    return Codec(name, 8000, 8000, 20, payload_type, f"{name}/8000", "", encode, decode)


PCMU = of("PCMU", 0, levels_mu(), 0xFF)
PCMA = of("PCMA", 8, levels_a(), 0xD5)
