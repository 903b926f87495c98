"""iLBC by the float code of RFC 3951, which the extension of the Python package `pjsua2-python` exports.

The enhancer is on. A lost packet is one erased frame, which the decoder conceals.
"""

import ctypes
import importlib.util
from ctypes import POINTER, c_float, c_int, c_short, c_ubyte, c_void_p
from pathlib import Path

import numpy as np

from .codec import Codec, Payloads, packets_of

STATE_BYTES = 65536
"""More than either state takes."""

FULL_SCALE = 32768.0
"""The code works on floats in the range of 16 bit samples (RFC 3951 §4)."""


def load() -> ctypes.CDLL:
    package = importlib.util.find_spec("pjsua2")
    if package is None or package.origin is None:
        raise RuntimeError("the Python package pjsua2-python is not installed: run `make quality`")
    library = ctypes.CDLL(str(next(Path(package.origin).parent.glob("_pjsua2*.so"))))
    library.initEncode.argtypes = [c_void_p, c_int]
    library.initEncode.restype = c_short
    library.iLBC_encode.argtypes = [POINTER(c_ubyte), POINTER(c_float), c_void_p]
    library.iLBC_encode.restype = None
    library.initDecode.argtypes = [c_void_p, c_int, c_int]
    library.initDecode.restype = c_short
    library.iLBC_decode.argtypes = [POINTER(c_float), POINTER(c_ubyte), c_void_p, c_int]
    library.iLBC_decode.restype = None
    return library


library = load()


def mode(ptime_ms: int, payload_bytes: int, payload_type: int) -> Codec:
    samples = 8 * ptime_ms

    def encode(sound: np.ndarray) -> list[bytes]:
        state, coded = ctypes.create_string_buffer(STATE_BYTES), (c_ubyte * payload_bytes)()
        library.initEncode(state, ptime_ms)
        payloads = []
        for packet in packets_of(sound.astype(np.float32), samples):
            scaled = (c_float * samples)(*np.clip(packet * FULL_SCALE, -32768, 32767).tolist())
            library.iLBC_encode(coded, scaled, state)
            payloads.append(bytes(coded))
        return payloads

    def decode(payloads: Payloads) -> np.ndarray:
        state, pcm = ctypes.create_string_buffer(STATE_BYTES), (c_float * samples)()
        library.initDecode(state, ptime_ms, 1)
        sound = np.zeros((len(payloads), samples), dtype=np.float32)
        for index, payload in enumerate(payloads):
            coded = (c_ubyte * payload_bytes)(*(payload or b""))
            library.iLBC_decode(pcm, coded, state, int(payload is not None))
            sound[index] = pcm
        return np.clip(sound.reshape(-1) / FULL_SCALE, -1.0, 1.0)

    return Codec(f"iLBC{ptime_ms}", 8000, 8000, ptime_ms, payload_type, "iLBC/8000", f"mode={ptime_ms}", encode, decode)


# RFC 3951 §3.1: 304 bits for 20 ms, 400 for 30.
ILBC20 = mode(20, 38, 97)
ILBC30 = mode(30, 50, 98)
