"""How far what was heard is from what was said: PESQ (ITU-T P.862; P.862.2 for wide band) after alignment."""

import numpy as np
from pesq import PesqError, pesq
from scipy.signal import correlate

from .corpus import resampled

WORST = 1.0
"""Where nothing was heard at all."""


def lag(said: np.ndarray, heard: np.ndarray) -> int:
    """By how many samples `heard` is late (or, negative, early): where the two are most alike."""
    return int(np.argmax(correlate(heard, said, method="fft"))) - (len(said) - 1)


def aligned(said: np.ndarray, heard: np.ndarray) -> np.ndarray:
    """`heard` moved to where `said` is, and of its length."""
    late = lag(said, heard)
    moved = heard[late:] if late >= 0 else np.pad(heard, (-late, 0))
    return np.pad(moved, (0, max(0, len(said) - len(moved))))[: len(said)]


def score(said: np.ndarray, heard: np.ndarray, heard_rate: int, band_rate: int) -> float:
    """The PESQ of `heard` against `said`, which is at `band_rate`: 8000 (narrow band) or 16000 (wide band)."""
    heard = resampled(heard, heard_rate, band_rate)
    if len(heard) == 0 or not np.any(heard):
        return WORST
    mode = "nb" if band_rate == 8000 else "wb"
    try:
        return float(pesq(band_rate, said, aligned(said, heard), mode))
    except PesqError:
        return WORST
