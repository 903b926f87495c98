"""Our own codecs and our playout without the daemon, by `examples/codec_pipe.rs` and `examples/playout_pipe.rs`."""

import json
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .codecs import Payloads
from .codecs.codec import from_int16, to_int16

LENGTH = struct.Struct("<H")

PHASE_US = 5000
"""How long after a packet of 20 ms is sent a tick of the playout falls; as in the calls through the daemon."""


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
        return from_int16(np.frombuffer(self.run(codec, "decode", as_packets(payloads)), dtype="<i2"))

    def run(self, codec: str, direction: str, given: bytes) -> bytes:
        done = subprocess.run([self.program, codec, direction], input=given, capture_output=True)
        if done.returncode != 0:
            raise OurCodecFails(f"our {codec} does not {direction}: {done.stderr.decode().strip()}")
        return done.stdout


@dataclass(frozen=True)
class Playout:
    program: Path

    def heard(self, codec: str, payloads: Payloads, delays_us: list[int | None]) -> tuple[np.ndarray, dict]:
        """What a leg plays of packets that come so late, or not at all, and its figures."""
        with trace(delays_us) as file:
            command = [self.program, codec, file, "--phase-us", str(PHASE_US)]
            done = subprocess.run(command, input=as_packets(payloads), capture_output=True, check=True)
        return from_int16(np.frombuffer(done.stdout, dtype="<i2")), json.loads(done.stderr)


@contextmanager
def trace(delays_us: list[int | None]) -> Iterator[str]:
    """A file that says which packets arrive, and how late."""
    with tempfile.NamedTemporaryFile("w", suffix=".trace") as file:
        file.writelines(f"{packet} {delay}\n" for packet, delay in enumerate(delays_us) if delay is not None)
        file.flush()
        yield file.name


def as_packets(payloads: Payloads) -> bytes:
    return b"".join(LENGTH.pack(len(payload or b"")) + (payload or b"") for payload in payloads)


class OurCodecFails(Exception):
    """In its own words."""
