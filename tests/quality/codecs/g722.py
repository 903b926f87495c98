"""ITU-T G.722 at 64 kbit/s by ffmpeg, a process a stream."""

import subprocess

import numpy as np

from .codec import Codec, Payloads, from_int16, packets_of, to_int16

SAMPLES = 320
"""Of a packet, and half as many bytes."""

SILENCE = 0xFA
"""What an encoder says over and over that has nothing to say: near zero in both bands."""


def ffmpeg(arguments: list[str], given: bytes) -> bytes:
    command = ["ffmpeg", "-nostdin", "-v", "error", *arguments, "pipe:1"]
    return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def encode(sound: np.ndarray) -> list[bytes]:
    pcm = packets_of(to_int16(sound), SAMPLES).astype("<i2").tobytes()
    raw = ["-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "pipe:0"]
    coded = ffmpeg([*raw, "-c:a", "g722", "-f", "g722"], pcm)
    return [coded[at : at + SAMPLES // 2] for at in range(0, len(pcm) // 4, SAMPLES // 2)]


def decode(payloads: Payloads) -> np.ndarray:
    whole = b"".join(bytes([SILENCE]) * (SAMPLES // 2) if payload is None else payload for payload in payloads)
    pcm = ffmpeg(["-f", "g722", "-i", "pipe:0", "-f", "s16le"], whole)
    return from_int16(np.frombuffer(pcm, dtype="<i2"))


# RFC 3551 §4.5.2: the RTP clock of G.722 is 8000, though it samples at 16000.
G722 = Codec("G722", 16000, 8000, 20, 9, "G722/8000", "", encode, decode)
