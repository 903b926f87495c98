"""Our iLBC and G.729 against the oracles, frame for frame and without a daemon: clean, and with packets lost."""

from concurrent.futures import Executor
from dataclasses import dataclass

from . import corpus, loss, measure
from .codecs import BY_NAME
from .corpus import Clip
from .pipe import OurCodecFails, Pipe
from .report import Row, Table

ALLOWED = 0.05


@dataclass(frozen=True)
class Way:
    """Who encodes and who decodes: the oracle, or we."""

    name: str
    our_encoder: bool
    our_decoder: bool


THEIRS = Way("oracle → oracle", False, False)
OUR_ENCODER = Way("ours → oracle", True, False)
OUR_DECODER = Way("oracle → ours", False, True)


def ilbc(pipe: Pipe, pool: Executor) -> Table:
    cases = [
        (codec, way, percent)
        for codec in ("iLBC20", "iLBC30")
        for percent in (0, 10)
        for way in (OUR_ENCODER, OUR_DECODER)
    ]
    return table("iLBC, mean PESQ (narrow band)", pipe, pool, cases)


def g729(pipe: Pipe, pool: Executor) -> Table:
    cases = [("G729", OUR_ENCODER, 0), ("G729", OUR_DECODER, 0), ("G729", OUR_DECODER, 10)]
    return table("G.729, mean PESQ (narrow band)", pipe, pool, cases)


def table(title: str, pipe: Pipe, pool: Executor, cases: list[tuple[str, Way, int]]) -> Table:
    """Each case beside what the oracle alone makes of the same clips with the same packets lost."""
    theirs = {
        (codec, percent): scores(pipe, pool, codec, THEIRS, percent)
        for codec, percent in dict.fromkeys((codec, percent) for codec, _, percent in cases)
    }
    ours = {case: scores(pipe, pool, *case) for case in cases}
    rows = []
    for codec, way, percent in cases:
        name = f"{codec} {way.name}, " + (f"{percent} % lost" if percent else "clean")
        reference = [score.result() for score in theirs[codec, percent]]
        try:
            found = [score.result() for score in ours[codec, way, percent]]
            rows.append(Row(name, reference, found, ALLOWED))
        except OurCodecFails as failure:
            rows.append(Row(name, reference, [], ALLOWED, str(failure)))
    return Table(title, "oracle", "ours", rows)


def scores(pipe: Pipe, pool: Executor, codec: str, way: Way, percent: int) -> list:
    """Futures, one for each clip and, where there is loss, seed."""
    seeds = loss.SEEDS if percent else loss.SEEDS[:1]
    return [pool.submit(score, pipe, codec, way, clip, percent, seed) for clip in corpus.NARROW for seed in seeds]


def score(pipe: Pipe, codec: str, way: Way, clip: Clip, percent: int, seed: int) -> float:
    oracle = BY_NAME[codec]
    said = corpus.said(clip, oracle.rate)
    payloads = pipe.encode(codec, said) if way.our_encoder else oracle.encode(said)
    arrived = loss.after_loss(payloads, percent, seed)
    heard = pipe.decode(codec, arrived) if way.our_decoder else oracle.decode(arrived)
    return measure.score(said, heard, oracle.rate, oracle.rate)
