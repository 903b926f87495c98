"""What one codec is to the harness: its figures in SDP and RTP, and two functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Payloads = Sequence[bytes | None]


@dataclass(frozen=True)
class Codec:
    """A codec as one party offers it; `encode` and `decode` make and take whole streams, each with a new state."""

    name: str
    rate: int
    """Of the sound, in Hz."""
    clock_hz: int
    """Of RTP timestamps."""
    ptime_ms: int
    payload_type: int
    rtpmap: str
    fmtp: str
    encode: Callable[[np.ndarray], list[bytes]]
    decode: Callable[[Payloads], np.ndarray]

    @property
    def packet_clock(self) -> int:
        """RTP timestamp units in a packet."""
        return self.clock_hz // 1000 * self.ptime_ms

    @property
    def packet_samples(self) -> int:
        """Samples of sound in a packet."""
        return self.rate // 1000 * self.ptime_ms


def packets_of(sound: np.ndarray, samples: int) -> np.ndarray:
    """The sound as rows of one packet each, the last one filled up with silence."""
    count = -(-len(sound) // samples)
    return np.pad(sound, (0, count * samples - len(sound))).reshape(count, samples)


def to_int16(sound: np.ndarray) -> np.ndarray:
    """Rounded and saturated."""
    return np.clip(np.rint(sound * 32768.0), -32768, 32767).astype(np.int16)


def from_int16(sound: np.ndarray) -> np.ndarray:
    return sound.astype(np.float32) / 32768.0
