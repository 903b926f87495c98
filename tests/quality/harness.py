"""What the measurement itself must show before its tables mean anything."""

from concurrent.futures import Executor

import numpy as np

from . import corpus, loss, measure, pairs, work
from .call import Call, made
from .codecs import BY_NAME
from .daemon import Daemon
from .report import Row

PLAUSIBLE_PCMU = (3.6, 4.5)
"""PESQ of speech coded once in G.711: its tandems in the field lie here, and no better than 4.55 exists."""

DELAY_SAMPLES = 1237
DELAY_MATTERS = 0.02
LOSS_PERCENT = 5


def failures(daemon: Daemon, pool: Executor) -> list[str]:
    """Sentences; none where the measurement can be trusted."""
    found = []
    spoken = {clip: pool.submit(work.encoded, "PCMU", clip).result() for clip in corpus.WIDE}
    for clip, payloads in spoken.items():
        once = work.score_of("PCMU", payloads, clip, 8000)
        if not PLAUSIBLE_PCMU[0] < once < PLAUSIBLE_PCMU[1]:
            found.append(f"clip {clip.name} coded once in PCMU scores {once:.3f}, outside {PLAUSIBLE_PCMU}")
        said = corpus.said(clip, 8000)
        later = np.pad(work.decoded("PCMU", payloads), (DELAY_SAMPLES, 0))
        moved = measure.score(said, later, 8000, 8000) - once
        if abs(moved) > DELAY_MATTERS:
            found.append(f"a delay of clip {clip.name} changes its score by {moved:+.3f}")
    row = broken_row(daemon, pool, spoken)
    if row.holds():
        found.append(f"{LOSS_PERCENT} % loss passes the gate: {row.difference():+.3f}")
    print(f"Of the measurement itself: a path that loses {LOSS_PERCENT} % shows by {row.difference():+.3f}.")
    return [f"Measurement: {sentence}" for sentence in found]


def broken_row(daemon: Daemon, pool: Executor, spoken: dict) -> Row:
    """PCMU to PCMU as the table of pairs has it, but with packets lost that it does not know of."""
    pcmu = BY_NAME["PCMU"]
    calls = {
        clip: Call(pcmu, loss.after_loss(payloads, LOSS_PERCENT, seed=1), pcmu) for clip, payloads in spoken.items()
    }
    list(made(daemon, list(calls.values())))
    whole = [pool.submit(work.score_back_to_back, "PCMU", spoken[clip], "PCMU", clip) for clip in calls]
    broken = [pool.submit(work.score_of, "PCMU", call.heard, clip, 8000) for clip, call in calls.items()]
    return Row(
        "PCMU → PCMU with loss",
        [score.result() for score in whole],
        [score.result() for score in broken],
        pairs.ALLOWED,
    )
