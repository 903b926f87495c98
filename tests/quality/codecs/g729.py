"""ITU-T G.729 Annex A by libbcg729 (Debian's libbcg729-0), without the silence suppression of Annex B.

A lost packet is two erased frames, which the decoder conceals.
"""

import ctypes
from ctypes import POINTER, c_int16, c_uint8, c_void_p

import numpy as np

from .codec import Codec, Payloads, from_int16, packets_of, to_int16

FRAME_SAMPLES = 80
FRAME_BYTES = 10
FRAMES = 2
"""In a packet."""

library = ctypes.CDLL("libbcg729.so.0")
library.initBcg729EncoderChannel.restype = c_void_p
library.initBcg729EncoderChannel.argtypes = [c_uint8]
library.bcg729Encoder.argtypes = [c_void_p, POINTER(c_int16), POINTER(c_uint8), POINTER(c_uint8)]
library.bcg729Encoder.restype = None
library.closeBcg729EncoderChannel.argtypes = [c_void_p]
library.initBcg729DecoderChannel.restype = c_void_p
library.initBcg729DecoderChannel.argtypes = []
library.bcg729Decoder.argtypes = [
    c_void_p,
    POINTER(c_uint8),
    c_uint8,  # bytes
    c_uint8,  # 1: the frame is lost
    c_uint8,  # 1: the frame is a SID
    c_uint8,  # 1: the SID is that of RFC 3389
    POINTER(c_int16),
]
library.bcg729Decoder.restype = None
library.closeBcg729DecoderChannel.argtypes = [c_void_p]


def encode(sound: np.ndarray) -> list[bytes]:
    state = library.initBcg729EncoderChannel(0)
    frame, coded, size = (c_int16 * FRAME_SAMPLES)(), (c_uint8 * FRAME_BYTES)(), c_uint8()
    packets = []
    for packet in packets_of(to_int16(sound), FRAMES * FRAME_SAMPLES):
        payload = b""
        for at in range(0, len(packet), FRAME_SAMPLES):
            frame[:] = packet[at : at + FRAME_SAMPLES].tolist()
            library.bcg729Encoder(state, frame, coded, size)
            payload += bytes(coded[: size.value])
        packets.append(payload)
    library.closeBcg729EncoderChannel(state)
    return packets


def decode(payloads: Payloads) -> np.ndarray:
    state = library.initBcg729DecoderChannel()
    frame, coded = (c_int16 * FRAME_SAMPLES)(), (c_uint8 * FRAME_BYTES)()
    sound = []
    for payload in payloads:
        for index in range(FRAMES):
            lost = payload is None
            if not lost:
                coded[:] = payload[index * FRAME_BYTES : (index + 1) * FRAME_BYTES]
            library.bcg729Decoder(state, coded, 0 if lost else FRAME_BYTES, lost, 0, 0, frame)
            sound.extend(frame)
    library.closeBcg729DecoderChannel(state)
    return from_int16(np.array(sound, dtype=np.int16))


G729 = Codec("G729", 8000, 8000, 20, 18, "G729/8000", "annexb=no", encode, decode)
