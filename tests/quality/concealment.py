"""Lost and late packets through our playout, beside what others make of the same packets: all of it offline."""

from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from . import corpus, measure, report
from .codecs import BY_NAME
from .corpus import Clip
from .loss import SEEDS, Network
from .peers import NetEq, spandsp
from .pipe import Pipe, Playout

ALLOWED = 0.05
"""That ours may be below a peer where nothing is known but the sound before the gap; with jitter there is more."""

JITTER_ALLOWED = 0.15
"""That jitter without loss may cost."""

NETWORKS = (
    *(Network(percent) for percent in (0, 1, 5, 10, 20)),
    *(Network(percent, bursts=True) for percent in (5, 10)),
    *(Network(percent, jitter_ms=40) for percent in (0, 5, 10)),
)

SPANDSP_SEEN = (2.6, 3.4)
"""What it scores at 5 % on any corpus: outside of that something else is measured, and no gate means anything."""

CODECS = {"PCMU": SEEDS, "PCMA": SEEDS[:1]}
"""And with which seeds: the laws differ in nothing that matters here."""

OWN_CONCEALMENT = {"G729": corpus.NARROW, "iLBC20": corpus.NARROW, "opus16": corpus.WIDE}
OWN_NETWORK = Network(10)


@dataclass
class Cell:
    """A codec on a network: scores of each clip and seed."""

    name: str
    spandsp: list[float]
    neteq: list[float]
    ours: list[float]
    least: float
    """What ours must reach in the mean."""
    delay_ms: float

    def holds(self) -> bool:
        return float(np.mean(self.ours)) >= self.least - 0.0005


@dataclass
class Table:
    title: str
    cells: list[Cell] = field(default_factory=list)

    def print(self) -> None:
        width = max(len(cell.name) for cell in self.cells)
        print(f"\n{self.title}\n")
        print(f"{'':{width}} {'spandsp':>8} {'neteq':>8} {'ours':>8} {'least':>8} {'delay p50':>10}")
        for cell in self.cells:
            means = " ".join(f"{np.mean(scores):8.3f}" for scores in (cell.spandsp, cell.neteq, cell.ours))
            verdict = "" if cell.holds() else "  FAILS"
            print(f"{cell.name:{width}} {means} {cell.least:8.3f} {cell.delay_ms:7.0f} ms{verdict}")
        print(flush=True)

    def failures(self) -> list[str]:
        failing = [f"{self.title}: {cell.name}" for cell in self.cells if not cell.holds()]
        at_five = np.mean([cell.spandsp for cell in self.cells if cell.name == f"PCMU {Network(5)}"])
        if not SPANDSP_SEEN[0] <= at_five <= SPANDSP_SEEN[1]:
            failing.append(f"{self.title}: spandsp itself scores {at_five:.2f} at 5 %")
        return failing


def failures(pipe: Pipe, playout: Playout, neteq: NetEq, pool: Executor) -> list[str]:
    """Prints both tables, and returns what fails in them."""
    found = []
    for table in (beside_peers(playout, neteq, pool), beside_the_decoder(pipe, playout, pool)):
        table.print()
        found += table.failures()
    return found


def beside_peers(playout: Playout, neteq: NetEq, pool: Executor) -> Table:
    """Under jitter spandsp, which has no buffer, gets what is not lost as if it came in time."""
    futures = {
        (codec, network): [
            pool.submit(scores, playout, neteq, codec, network, clip, seed)
            for clip in corpus.NARROW
            for seed in (seeds if network != Network() else seeds[:1])
        ]
        for codec, seeds in CODECS.items()
        for network in NETWORKS
    }
    table = Table("G.711 over loss and jitter, mean PESQ (narrow band)")
    clean = {}
    for (codec, network), cell in futures.items():
        spandsps, neteqs, ours, delays_ms = zip(*(future.result() for future in cell), strict=True)
        if network == Network():
            clean[codec] = float(np.mean(ours))
        best = float(max(np.mean(spandsps), np.mean(neteqs)))
        if network.jitter_ms and network.percent:
            least = best
        elif network.jitter_ms:
            least = clean[codec] - JITTER_ALLOWED
        else:
            least = best - ALLOWED
        delay_ms = float(np.median(delays_ms))
        table.cells.append(Cell(f"{codec} {network}", spandsps, neteqs, ours, least, delay_ms))
    return table


def scores(playout: Playout, neteq: NetEq, codec: str, network: Network, clip: Clip, seed: int) -> tuple[float, ...]:
    """Of spandsp, `neteq` and ours, and our delay in ms."""
    oracle = BY_NAME[codec]
    said = corpus.said(clip, oracle.rate)
    payloads = oracle.encode(said)
    delays_us = network.delays_us(len(payloads), seed)
    ours, figures = playout.heard(codec, payloads, delays_us)
    heard = (
        spandsp(oracle, arrived(payloads, delays_us)),
        neteq.heard(oracle, payloads, delays_us),
        ours,
    )
    return (*(measure.score(said, sound, oracle.rate, oracle.rate) for sound in heard), figures["delay_ms_p50"])


def beside_the_decoder(pipe: Pipe, playout: Playout, pool: Executor) -> report.Table:
    """Codecs that conceal by themselves: the playout must not make it worse."""
    futures = {
        codec: [pool.submit(scores_of_own, pipe, playout, codec, clip, seed) for clip in clips for seed in SEEDS]
        for codec, clips in OWN_CONCEALMENT.items()
    }
    rows = []
    for codec, found in futures.items():
        alone, through = zip(*(future.result() for future in found), strict=True)
        rows.append(report.Row(f"{codec}, {OWN_NETWORK} lost", list(alone), list(through), ALLOWED))
    return report.Table("Codecs with a concealment of their own, mean PESQ", "decoder", "playout", rows)


def scores_of_own(pipe: Pipe, playout: Playout, codec: str, clip: Clip, seed: int) -> tuple[float, float]:
    """Of our decoder alone, and of the playout."""
    rate = BY_NAME[codec].rate
    said = corpus.said(clip, rate)
    payloads = pipe.encode(codec, said)
    delays_us = OWN_NETWORK.delays_us(len(payloads), seed)
    alone = pipe.decode(codec, arrived(payloads, delays_us))
    through, _ = playout.heard(codec, payloads, delays_us)
    return measure.score(said, alone, rate, rate), measure.score(said, through, rate, rate)


def arrived(payloads: list[bytes], delays_us: list[int | None]) -> list[bytes | None]:
    """The stream with those missing that never arrive."""
    return [None if delay is None else payload for payload, delay in zip(payloads, delays_us, strict=True)]
