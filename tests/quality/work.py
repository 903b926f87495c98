"""Work off the calls' thread: encoding, decoding and measuring, in processes that step back for the calls."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

import numpy as np

from . import corpus, measure
from .codecs import BY_NAME, Payloads
from .corpus import Clip

BACK = 10
"""Niceness."""


@contextmanager
def workers() -> Iterator[Executor]:
    with ProcessPoolExecutor(initializer=os.nice, initargs=(BACK,)) as pool:
        yield pool


def band(*codecs: str) -> int:
    """The rate at which what went through these codecs is measured: as far as the narrowest of them reaches."""
    return min([16000, *(BY_NAME[codec].rate for codec in codecs)])


def encoded(codec: str, clip: Clip) -> list[bytes]:
    return BY_NAME[codec].encode(corpus.said(clip, BY_NAME[codec].rate))


def decoded(codec: str, payloads: Payloads) -> np.ndarray:
    return BY_NAME[codec].decode(payloads) if payloads else np.zeros(0, dtype=np.float32)


def score_of(codec: str, payloads: Payloads, clip: Clip, band_rate: int) -> float:
    """How well one hears the clip who gets these payloads."""
    heard = decoded(codec, payloads)
    return measure.score(corpus.said(clip, band_rate), heard, BY_NAME[codec].rate, band_rate)


def score_back_to_back(first: str, payloads: Payloads, second: str, clip: Clip) -> float:
    """How well one hears the clip through two codecs with nothing but a change of rate between them."""
    a, b = BY_NAME[first], BY_NAME[second]
    between = corpus.resampled(a.decode(payloads), a.rate, b.rate)
    return score_of(second, b.encode(between), clip, band(first, second))
