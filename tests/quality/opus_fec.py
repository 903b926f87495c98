"""Opus with in-band FEC over a network that loses packets: the daemon beside an ideal receiver.

The ideal receiver recovers each lost packet whose next one arrived, however late that would be. Then it encodes with
our own encoder, as the daemon does for a listener in Opus; for a listener in L16 nothing is encoded again.
"""

from concurrent.futures import Executor
from itertools import product

import numpy as np

from . import corpus, loss, measure, work
from .call import Call, made
from .codecs import BY_NAME, Payloads, opus
from .corpus import Clip
from .daemon import Daemon
from .pairs import note_of
from .pipe import Pipe
from .report import Row, Table

ALLOWED = 0.15
BITRATE = 40000
"""Enough that the repetition is worth something (RFC 7587 §3.1.2 leaves it to the sender)."""

PERCENTS = (5, 10)
SEEDS = loss.SEEDS[:2]
SPEAKERS = ("opus16", "opus48")
LISTENERS = ("L16/16", "opus16")


def table(daemon: Daemon, pipe: Pipe, pool: Executor) -> Table:
    cases = list(product(SPEAKERS, LISTENERS, PERCENTS))
    streams = {
        (speaker, clip, percent, seed): pool.submit(stream, speaker, clip, percent, seed)
        for speaker, percent, clip, seed in product(SPEAKERS, PERCENTS, corpus.WIDE, SEEDS)
    }
    ideal, calls = {}, {}
    for (speaker, listener, percent), clip, seed in product(cases, corpus.WIDE, SEEDS):
        key = (speaker, listener, percent, clip.name, seed)
        arrived = streams[speaker, clip, percent, seed].result()
        ideal[key] = pool.submit(score_ideal, pipe, speaker, arrived, listener, clip)
        calls[key] = Call(BY_NAME[speaker], arrived, BY_NAME[listener])
    clips = {clip.name: clip for clip in corpus.WIDE}
    keys = {id(call): key for key, call in calls.items()}
    through = {}
    for call in made(daemon, list(calls.values())):
        speaker, listener, _, clip, _ = key = keys[id(call)]
        if not call.refused:
            band = work.band(speaker, listener)
            through[key] = pool.submit(work.score_of, listener, call.heard, clips[clip], band)
    rows = []
    for case in cases:
        of_case = [key for key in calls if key[:3] == case]
        rows.append(
            Row(
                "{} → {}, {} % lost".format(*case),
                [ideal[key].result() for key in of_case],
                [through[key].result() for key in of_case if key in through],
                ALLOWED,
                note_of([calls[key] for key in of_case]),
            )
        )
    return Table("Opus with FEC over loss, mean PESQ (wide band)", "ideal", rows=rows)


def stream(speaker: str, clip: Clip, percent: int, seed: int) -> list[bytes | None]:
    rate = BY_NAME[speaker].rate
    payloads = opus.encode(corpus.said(clip, rate), rate, opus.Fec(BITRATE, percent))
    return loss.after_loss(payloads, percent, seed)


def score_ideal(pipe: Pipe, speaker: str, arrived: Payloads, listener: str, clip: Clip) -> float:
    a, b = BY_NAME[speaker], BY_NAME[listener]
    heard: np.ndarray = corpus.resampled(a.decode(arrived), a.rate, b.rate)
    if listener.startswith("opus"):
        heard = b.decode(pipe.encode(listener, heard))
    return measure.score(corpus.said(clip, 16000), heard, b.rate, 16000)
