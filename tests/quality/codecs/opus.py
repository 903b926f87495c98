"""Opus (RFC 6716) by Debian's libopus, with the settings of the daemon's own encoder.

A lost packet is what the packet after it says of it (in-band FEC), where there is one and it says something, and
else concealed.
"""

import ctypes
from ctypes import POINTER, byref, c_float, c_int, c_int32, c_ubyte, c_void_p
from dataclasses import dataclass

import numpy as np

from .codec import Codec, Payloads, packets_of

PACKET_BYTES_MAX = 1400
COMPLEXITY = 5
BITRATES = {8000: 16000, 16000: 24000, 48000: 32000}
"""Bits per second by the rate in use, as `opus.bitrate = 0` has it."""

APPLICATION_VOIP = 2048
SIGNAL_VOICE = 3001
SET_BITRATE = 4002
SET_VBR = 4006
SET_COMPLEXITY = 4010
SET_INBAND_FEC = 4012
SET_PACKET_LOSS_PERC = 4014
SET_DTX = 4016
SET_VBR_CONSTRAINT = 4020
SET_SIGNAL = 4024
SET_LSB_DEPTH = 4036

library = ctypes.CDLL("libopus.so.0")
library.opus_encoder_create.argtypes = [c_int32, c_int, c_int, POINTER(c_int)]
library.opus_encoder_create.restype = c_void_p
library.opus_encode_float.argtypes = [c_void_p, POINTER(c_float), c_int, POINTER(c_ubyte), c_int32]
library.opus_encoder_destroy.argtypes = [c_void_p]
library.opus_decoder_create.argtypes = [c_int32, c_int, POINTER(c_int)]
library.opus_decoder_create.restype = c_void_p
library.opus_decode_float.argtypes = [c_void_p, c_void_p, c_int32, POINTER(c_float), c_int, c_int]
library.opus_decoder_destroy.argtypes = [c_void_p]


@dataclass(frozen=True)
class Fec:
    """In-band FEC as a sender sets it."""

    bitrate: int
    expected_loss_percent: int


def encode(sound: np.ndarray, rate: int, fec: Fec | None = None) -> list[bytes]:
    error = c_int()
    state = c_void_p(library.opus_encoder_create(rate, 1, APPLICATION_VOIP, byref(error)))
    for request, value in (
        (SET_BITRATE, fec.bitrate if fec else BITRATES[rate]),
        (SET_COMPLEXITY, COMPLEXITY),
        (SET_SIGNAL, SIGNAL_VOICE),
        (SET_VBR, 1),
        (SET_VBR_CONSTRAINT, 1),
        (SET_LSB_DEPTH, 16),
        (SET_DTX, 0),
        (SET_INBAND_FEC, int(fec is not None)),
        (SET_PACKET_LOSS_PERC, fec.expected_loss_percent if fec else 0),
    ):
        if library.opus_encoder_ctl(state, c_int(request), c_int32(value)) != 0:
            raise RuntimeError(f"libopus refuses {value} for request {request}")
    samples, coded, payloads = rate // 50, (c_ubyte * PACKET_BYTES_MAX)(), []
    for packet in packets_of(sound.astype(np.float32), samples):
        pcm = (c_float * samples)(*packet.tolist())
        size = library.opus_encode_float(state, pcm, samples, coded, PACKET_BYTES_MAX)
        payloads.append(bytes(coded[:size]))
    library.opus_encoder_destroy(state)
    return payloads


def decode(payloads: Payloads, rate: int) -> np.ndarray:
    error = c_int()
    state = c_void_p(library.opus_decoder_create(rate, 1, byref(error)))
    samples = rate // 50
    pcm = (c_float * samples)()
    sound = np.zeros((len(payloads), samples), dtype=np.float32)
    for index, payload in enumerate(payloads):
        later = payloads[index + 1] if index + 1 < len(payloads) else None
        # Without FEC in the packet, libopus conceals.
        coded, recover = (payload, 0) if payload is not None else (later, 1)
        if coded is None:
            decoded = library.opus_decode_float(state, None, 0, pcm, samples, 0)
        else:
            decoded = library.opus_decode_float(state, coded, len(coded), pcm, samples, recover)
        if decoded != samples:
            raise RuntimeError(f"libopus made {decoded} samples of packet {index}")
        sound[index] = pcm
    library.opus_decoder_destroy(state)
    return sound.reshape(-1)


def at(rate: int, payload_type: int, fmtp: str) -> Codec:
    return Codec(
        f"opus{rate // 1000}",
        rate,
        48000,
        20,
        payload_type,
        "opus/48000/2",
        fmtp,
        lambda sound: encode(sound, rate),
        lambda payloads: decode(payloads, rate),
    )


OPUS16 = at(16000, 99, "maxplaybackrate=16000;sprop-maxcapturerate=16000")
OPUS48 = at(48000, 100, "")
