"""Our own codecs without the daemon, by `examples/codec_pipe.rs`."""

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .codecs import Payloads
from .codecs.codec import from_int16, to_int16

LENGTH = struct.Struct("<H")


@dataclass(frozen=True)
class Pipe:
    program: Path

    def encode(self, codec: str, sound: np.ndarray) -> list[bytes]:
        packets = self.run(codec, "encode", to_int16(sound).astype("<i2").tobytes())
        payloads, at = [], 0
        while at < len(packets):
            (size,) = LENGTH.unpack_from(packets, at)
            payloads.append(packets[at + LENGTH.size : at + LENGTH.size + size])
            at += LENGTH.size + size
        return payloads

    def decode(self, codec: str, payloads: Payloads) -> np.ndarray:
        packets = b"".join(LENGTH.pack(len(payload or b"")) + (payload or b"") for payload in payloads)
        return from_int16(np.frombuffer(self.run(codec, "decode", packets), dtype="<i2"))

    def run(self, codec: str, direction: str, given: bytes) -> bytes:
        done = subprocess.run([self.program, codec, direction], input=given, capture_output=True)
        if done.returncode != 0:
            raise OurCodecFails(f"our {codec} does not {direction}: {done.stderr.decode().strip()}")
        return done.stdout


class OurCodecFails(Exception):
    """In its own words."""
