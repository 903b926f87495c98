"""Which speech: clips of several prompts each, from Debian's `asterisk-core-sounds-*` packages.

A clip is its prompts one after the other with a pause between them, at an active level of -26 dBFS (the usual level
of test speech, ITU-T P.56), with silence before and after so that nobody judges a connection that is just being made.
"""

import subprocess
from dataclasses import dataclass
from functools import cache
from math import gcd

import numpy as np
from scipy.signal import firwin, resample_poly

SOUNDS = "/usr/share/asterisk/sounds"
PAUSE_S = 0.4
LEAD_S = 0.6
TAIL_S = 0.4
ACTIVE_LEVEL_DBFS = -26.0
PEAK_MAX = 0.95


@dataclass(frozen=True)
class Clip:
    """Some prompts of one voice; `seconds` of them are taken, pauses included, from `start_s` on."""

    name: str
    package: str
    directory: str
    files: tuple[str, ...]
    start_s: float
    seconds: float


def g722(language: str, directory: str, *files: str, seconds: float) -> Clip:
    package = f"asterisk-core-sounds-{language}-g722"
    return Clip(language, package, directory, tuple(f"{file}.g722" for file in files), 0.0, seconds)


WIDE = (
    g722("en", "en_US_f_Allison", "vm-intro", "demo-thanks", seconds=11.0),
    g722("fr", "fr_CA_f_June", "vm-rec-unv", "dictate/both_help", seconds=12.0),
    g722("it", "it_IT_m_Carlo", "vm-review", "dir-instr", seconds=12.0),
    g722("ru", "ru_RU_f_IvrvoiceRU", "vm-instructions", "demo-thanks", seconds=12.0),
)
"""At 16 kHz, a voice each: one man, three women."""

NARROW = (
    Clip(
        "en8",
        "asterisk-core-sounds-en-wav",
        "en_US_f_Allison",
        ("vm-record-prepend.wav", "dir-usingkeypad.wav"),
        0.0,
        12.0,
    ),
    g722("es", "es_MX_f_Allison", "vm-nobox", "dir-usingkeypad", seconds=12.0),
    *WIDE[1:],
)
"""For codecs at 8 kHz."""


def read(path: str, rate: int) -> np.ndarray:
    """A prompt, by ffmpeg."""
    form = ["-f", "g722"] if path.endswith(".g722") else []
    command = ["ffmpeg", "-nostdin", "-v", "error", *form, "-i", path]
    command += ["-ac", "1", "-ar", str(rate), "-f", "f32le", "pipe:1"]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, dtype="<f4")


def speech_level_dbfs(sound: np.ndarray, rate: int) -> float:
    """The mean power of those 20 ms that are less than 25 dB below the loudest."""
    frame = rate // 50
    power = np.mean(sound[: len(sound) // frame * frame].reshape(-1, frame) ** 2, axis=1)
    return float(10 * np.log10(np.mean(power[power > power.max() / 316.0])))


@cache
def said(clip: Clip, rate: int) -> np.ndarray:
    """The clip at that rate, made at 16 kHz (8 kHz, where its files are) and resampled from there."""
    source = 8000 if clip.files[0].endswith(".wav") else 16000
    if rate != source:
        return resampled(said(clip, source), source, rate)
    pause = np.zeros(int(PAUSE_S * rate), dtype=np.float32)
    parts = []
    for file in clip.files:
        parts += [read(f"{SOUNDS}/{clip.directory}/{file}", rate), pause]
    start = int(clip.start_s * rate)
    speech = np.concatenate(parts[:-1])[start : start + int(clip.seconds * rate)]
    if len(speech) < 8 * rate:
        raise RuntimeError(f"clip {clip.name} is only {len(speech) / rate:.1f} s long")
    gain = 10 ** ((ACTIVE_LEVEL_DBFS - speech_level_dbfs(speech, rate)) / 20)
    speech = speech * min(gain, PEAK_MAX / np.max(np.abs(speech)))
    return np.pad(speech, (int(LEAD_S * rate), int(TAIL_S * rate))).astype(np.float32)


def resampled(sound: np.ndarray, rate: int, to: int) -> np.ndarray:
    """By a filter far better than a telephone needs: 128 taps at the lower rate, 80 dB down."""
    if rate == to:
        return sound
    up, down = to // gcd(rate, to), rate // gcd(rate, to)
    ratio = max(up, down)
    taps = firwin(128 * ratio + 1, 0.97 / ratio, window=("kaiser", 8.0))
    return resample_poly(sound, up, down, window=taps).astype(np.float32)
