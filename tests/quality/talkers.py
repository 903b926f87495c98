"""Who is heard: the decision whether a leg contributes, on real speech of five languages, on noise and on music.

Without a daemon: `examples/activity_pipe.rs` says for each 20 ms whether it would be in the mix. What was said is known
before noise is added to it, so what is lost of it can be counted.
"""

import os
import subprocess
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from . import corpus
from .codecs.codec import to_int16

RATE = 16000
TICK = RATE // 50
SEED = 7
SECONDS = 60.0
"""Of each language, pauses included."""

PAUSES_S = (0.3, 1.6)
"""Between two prompts: some are bridged, some are not."""

SETTLE_S = 5.0
"""Of noise alone before the first word: its level is known then."""

VOICES = ("en_US_f_Allison", "es_MX_f_Allison", "fr_CA_f_June", "it_IT_m_Carlo", "ru_RU_f_IvrvoiceRU")
"""A language each."""

ROOMS = ((None, None), ("white", -65.0), ("pink", -55.0), ("babble", -55.0), ("hum", -50.0))
"""Kinds of noise and their levels (dBFS)."""

SPEECH_DBFS = (-26.0, -40.0, -45.0, -50.0)
SNR_DB_MIN = 6.0

AUDIBLE_DB = 25.0
"""What is further below the active level is no part of a word: breath, room, the tail of a sound."""

EDGE_TICKS = 5
FADE_IN_MS = 5
"""As `src/engine/talkers.rs` has it."""

EDGE_LOST_MAX = 0.02
"""In a silent room at a usual level."""

ONSET_PAUSE_TICKS = 30
"""After so long a pause the hangover has ended."""

LOST_MAX = 0.003
"""Of the energy of what was said."""

ONSET_MS_MAX = 40.0
"""Cut from the beginning of a word, in the mean."""

NOISES = tuple((kind, dbfs) for kind in ("white", "pink", "fan", "hum", "babble") for dbfs in (-65.0, -58.0, -50.0, -45.0))
NOISE_S = 30.0
CEASE_S_MAX = 4.5

MUSIC_DBFS = (-20.0, -26.0, -32.0)
MUSIC_HEARD_MIN = 0.995


@dataclass(frozen=True)
class Figures:
    lost: float
    """Share of the energy of what was said."""
    onset_ms: float
    """Mean over the beginnings after a pause."""
    onset_ms_worst: float
    edge: float
    """Share of the energy of the first 100 ms after a pause, the fade included."""
    changes: float
    """Between heard and not heard, a minute, beyond those that the pauses ask for."""


def contributes(program: Path, sound: np.ndarray) -> np.ndarray:
    given = to_int16(sound).astype("<i2").tobytes()
    done = subprocess.run([program, str(RATE)], input=given, capture_output=True, check=True)
    return np.frombuffer(done.stdout, dtype=np.uint8).astype(bool)


def power(sound: np.ndarray) -> np.ndarray:
    """The mean square of each tick."""
    return np.mean(sound[: len(sound) // TICK * TICK].reshape(-1, TICK).astype(np.float64) ** 2, axis=1)


def at_level(sound: np.ndarray, dbfs: float) -> np.ndarray:
    """By its mean level."""
    return (sound * 10 ** (dbfs / 20) / np.sqrt(np.mean(sound.astype(np.float64) ** 2))).astype(np.float32)


@cache
def said(voice: str) -> np.ndarray:
    """Prompts in an order of their own, with pauses from a seed, at an active level of 0 dB."""
    chance = np.random.default_rng(SEED)
    directory = f"{corpus.SOUNDS}/{voice}"
    files = sorted(file for file in os.listdir(directory) if file.endswith(".g722"))
    chance.shuffle(files)
    parts, seconds = [], 0.0
    for file in files:
        if seconds > SECONDS:
            break
        prompt = corpus.read(f"{directory}/{file}", RATE)
        if not 0.8 < len(prompt) / RATE < 8.0:
            continue
        # The prompts' own noise is far below; their ends are what the pauses make of them.
        pause = np.zeros(int(chance.uniform(*PAUSES_S) * RATE), dtype=np.float32)
        prompt = at_level(prompt, 0.0) * 10 ** (-corpus.speech_level_dbfs(at_level(prompt, 0.0), RATE) / 20)
        parts += [prompt, pause]
        seconds += (len(prompt) + len(pause)) / RATE
    return np.concatenate(parts).astype(np.float32)


@cache
def noise(kind: str, seconds: float) -> np.ndarray:
    """At a mean level of 0 dB."""
    chance = np.random.default_rng(SEED)
    samples = int(seconds * RATE)
    if kind == "babble":
        # Twenty voices far away: all languages, at different places of their texts.
        talkers = [np.roll(said(voice), shift) for voice in VOICES for shift in chance.integers(0, 40 * RATE, 4)]
        return at_level(sum(np.resize(talker, samples) for talker in talkers), 0.0)
    time = np.arange(samples) / RATE
    if kind == "hum":
        return at_level(sum(np.sin(2 * np.pi * 50 * k * time + k) / k for k in (1, 2, 3, 5, 7)), 0.0)
    spectrum = np.fft.rfft(chance.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / RATE)
    if kind != "white":
        spectrum[1:] /= np.sqrt(hz[1:])
        spectrum[hz < 60] = 0
    sound = np.fft.irfft(spectrum, samples)
    if kind == "fan":
        # Its blades are heard.
        sound *= 1 + 0.3 * np.sin(2 * np.pi * 7 * time)
    return at_level(sound, 0.0)


@cache
def music(seconds: float) -> np.ndarray:
    """Plucked chords, three a second, at a mean level of 0 dB: it swells and fades, and never pauses for long."""
    chance = np.random.default_rng(SEED)
    samples = int(seconds * RATE)
    sound = np.zeros(samples + RATE)
    time = np.arange(RATE) / RATE
    for start in range(0, samples, RATE // 3):
        for semitones in chance.choice([0, 4, 7, 12, 16], 3, replace=False):
            hz = 220 * 2 ** (semitones / 12)
            sound[start : start + RATE] += np.exp(-3 * time) * np.sin(2 * np.pi * hz * time)
    return at_level(sound[:samples], 0.0)


def speech_figures(program: Path, voice: str, dbfs: float, kind: str | None, noise_dbfs: float | None) -> Figures:
    lead = np.zeros(int(SETTLE_S * RATE), dtype=np.float32)
    clean = np.concatenate([lead, said(voice) * 10 ** (dbfs / 20)])
    sound = clean
    if kind is not None:
        sound = clean + noise(kind, len(clean) / RATE + 1)[: len(clean)] * 10 ** (noise_dbfs / 20)
    heard, powers = contributes(program, sound), power(clean)
    audible = powers > 10 ** ((dbfs - AUDIBLE_DB) / 10)
    gains, onsets_ms, edges, pause = np.repeat(heard, TICK).astype(float), [], [], ONSET_PAUSE_TICKS
    fade = np.arange(1, FADE_IN_MS * RATE // 1000 + 1) / (FADE_IN_MS * RATE // 1000)
    for tick in np.nonzero(np.diff(heard.astype(int)) > 0)[0] + 1:
        gains[tick * TICK : tick * TICK + len(fade)] = fade
    for tick, speaks in enumerate(audible):
        if speaks and pause >= ONSET_PAUSE_TICKS:
            rest = heard[tick:]
            onsets_ms.append(20.0 * (np.argmax(rest) if rest.any() else len(rest)))
            edge = slice(tick * TICK, (tick + EDGE_TICKS) * TICK)
            energy = clean[edge].astype(np.float64) ** 2
            edges.append(1 - np.sum(energy * gains[edge] ** 2) / np.sum(energy))
        pause = 0 if speaks else pause + 1
    changes = np.count_nonzero(np.diff(heard.astype(int))) - 2 * len(onsets_ms)
    minutes = len(powers) / 50 / 60
    lost = powers[~heard & audible].sum() / powers.sum()
    onset_ms, onset_ms_worst = float(np.mean(onsets_ms)), float(np.max(onsets_ms))
    return Figures(float(lost), onset_ms, onset_ms_worst, float(np.mean(edges)), max(0, changes) / minutes)


def ceases_after_s(program: Path, kind: str, dbfs: float) -> float:
    heard = contributes(program, noise(kind, NOISE_S) * 10 ** (dbfs / 20))
    return float(np.max(np.nonzero(heard)[0], initial=-1) + 1) / 50


def music_heard(program: Path, dbfs: float) -> float:
    return float(np.mean(contributes(program, music(NOISE_S) * 10 ** (dbfs / 20))))


def failures(program: Path, pool: Executor) -> list[str]:
    """Prints the tables, and returns what fails in them."""
    failing = []
    print(f"\nWho is heard: speech of {SECONDS:.0f} s in each language, seed {SEED}\n")
    print(f"{'':34} {'lost':>8} {'onset':>8} {'worst':>8} {'edge':>8} {'changes':>9}")
    cases = [
        (voice, dbfs, kind, level)
        for dbfs in SPEECH_DBFS
        for kind, level in ROOMS
        if level is None or dbfs - level >= SNR_DB_MIN
        for voice in VOICES
    ]
    figures = {case: pool.submit(speech_figures, program, *case) for case in cases}
    for case in cases:
        voice, dbfs, kind, level = case
        found = figures[case].result()
        room = "silence" if kind is None else f"{kind} {level:.0f}"
        name = f"{voice[:2]} at {dbfs:.0f} dBFS, {room}"
        # Below what is promised, and where the noise is near, the figures are for information.
        promised = dbfs >= -45.0 and (level is None or dbfs - level >= 10.0)
        fails = promised and (found.lost > LOST_MAX or found.onset_ms > ONSET_MS_MAX)
        fails |= kind is None and dbfs == corpus.ACTIVE_LEVEL_DBFS and found.edge > EDGE_LOST_MAX
        print(
            f"{name:34} {100 * found.lost:6.2f} % {found.onset_ms:5.1f} ms {found.onset_ms_worst:5.0f} ms"
            f" {100 * found.edge:6.2f} % {found.changes:5.1f}/min{'  FAILS' if fails else ''}"
        )
        if fails:
            failing.append(f"talkers: {name}")
    print(f"\nSteady noise: contributes for the last time after (at most {CEASE_S_MAX} s)\n")
    ceasing = {case: pool.submit(ceases_after_s, program, *case) for case in NOISES}
    for case, seconds in ceasing.items():
        kind, dbfs = case
        # Voices far away are voices: what is to be heard of them is a matter of taste.
        fails = seconds.result() > CEASE_S_MAX and kind != "babble"
        print(f"{kind} at {dbfs:.0f} dBFS{'':2} {seconds.result():6.2f} s{'  FAILS' if fails else ''}")
        if fails:
            failing.append(f"talkers: {kind} at {dbfs:.0f} dBFS")
    print(f"\nMusic: heard for (at least {100 * MUSIC_HEARD_MIN:.1f} % of the time)\n")
    for dbfs in MUSIC_DBFS:
        share = music_heard(program, dbfs)
        fails = share < MUSIC_HEARD_MIN
        print(f"music at {dbfs:.0f} dBFS {100 * share:6.1f} %{'  FAILS' if fails else ''}")
        if fails:
            failing.append(f"talkers: music at {dbfs:.0f} dBFS")
    print(flush=True)
    return failing
