"""Who else conceals lost packets of G.711: spandsp, frame by frame, and the crate `neteq` with its jitter buffer."""

import ctypes
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from .codecs import Codec, Payloads
from .codecs.codec import from_int16, to_int16
from .pipe import PHASE_US, trace


@cache
def library() -> ctypes.CDLL:
    spandsp = ctypes.CDLL("libspandsp.so.2")
    spandsp.plc_init.restype = ctypes.c_void_p
    spandsp.plc_init.argtypes = [ctypes.c_void_p]
    spandsp.plc_free.argtypes = [ctypes.c_void_p]
    for function in (spandsp.plc_rx, spandsp.plc_fillin):
        function.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int16), ctypes.c_int]
    return spandsp


def spandsp(codec: Codec, payloads: Payloads) -> np.ndarray:
    """What is heard where each packet comes in time or never."""
    decoded = to_int16(codec.decode(payloads))
    pointer = ctypes.POINTER(ctypes.c_int16)
    state = library().plc_init(None)
    for index, payload in enumerate(payloads):
        frame = decoded[index * codec.packet_samples : (index + 1) * codec.packet_samples]
        conceal = library().plc_fillin if payload is None else library().plc_rx
        conceal(state, frame.ctypes.data_as(pointer), len(frame))
    library().plc_free(state)
    return from_int16(decoded)


@dataclass(frozen=True)
class NetEq:
    """The crate, on the clock of the trace (`neteq_peer`)."""

    program: Path

    def heard(self, codec: Codec, payloads: Payloads, delays_us: list[int | None]) -> np.ndarray:
        sound = codec.decode(payloads).astype("<f4").tobytes()
        with trace(delays_us) as file:
            done = subprocess.run([self.program, file, str(PHASE_US)], input=sound, capture_output=True, check=True)
        return np.frombuffer(done.stdout, dtype="<f4")
