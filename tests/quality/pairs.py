"""Each codec to each codec: real speech through the running daemon, beside the same two codecs back to back."""

from concurrent.futures import Executor
from itertools import product

from . import corpus, work
from .call import Call, made
from .codecs import ALL, BY_NAME
from .daemon import Daemon
from .report import Row, Table

ALLOWED = 0.10

WORTH_EXPLAINING = 0.05
"""From this loss on a row says what it would be with everybody mixed always."""


def table(daemon: Daemon, pool: Executor, names: list[str]) -> Table:
    """Every ordered pair of `names` (all there are, if empty)."""
    names = names or [codec.name for codec in ALL]
    pairs = list(product(names, repeat=2))
    spoken = {(name, clip.name): pool.submit(work.encoded, name, clip) for name in names for clip in corpus.WIDE}
    streams = {key: future.result() for key, future in spoken.items()}
    offline, calls = {}, {}
    for (first, second), clip in product(pairs, corpus.WIDE):
        payloads = streams[first, clip.name]
        key = (first, second, clip.name)
        offline[key] = pool.submit(work.score_back_to_back, first, payloads, second, clip)
        calls[key] = Call(BY_NAME[first], payloads, BY_NAME[second])
    through = heard(daemon, pool, calls)
    rows = [row(first, second, offline, through, calls) for first, second in pairs]
    explain(daemon, pool, rows, pairs, streams)
    return Table("Each codec to each codec, mean PESQ", "offline", rows=rows)


def heard(daemon: Daemon, pool: Executor, calls: dict) -> dict:
    """Scores of what the listeners heard, by the keys of the calls; none for a call that was refused."""
    keys = {id(call): key for key, call in calls.items()}
    clips = {clip.name: clip for clip in corpus.WIDE}
    scores = {}
    for call in made(daemon, list(calls.values())):
        first, second, clip = keys[id(call)]
        if not call.refused:
            band = work.band(first, second)
            scores[first, second, clip] = pool.submit(work.score_of, second, call.heard, clips[clip], band)
    return scores


def row(first: str, second: str, offline: dict, through: dict, calls: dict) -> Row:
    keys = [(first, second, clip.name) for clip in corpus.WIDE]
    of_pair = [calls[key] for key in keys]
    band = "NB" if work.band(first, second) == 8000 else "WB"
    return Row(
        f"{first:>7} → {second:7} {band}",
        [offline[key].result() for key in keys],
        [through[key].result() for key in keys if key in through],
        ALLOWED,
        note_of(of_pair),
    )


def note_of(calls: list[Call]) -> str:
    """What happened on the way that a reader of the scores should know."""
    refused = next((call.refused for call in calls if call.refused), "")
    if refused:
        return f"not offered by the daemon: {refused[:40]}…"
    notes = []
    if holes := sum(payload is None for call in calls for payload in call.heard):
        notes.append(f"{holes} packets did not come")
    if concealed_ms := sum(call.concealed_ms for call in calls if None not in call.payloads):
        notes.append(f"the daemon conceals or skips {concealed_ms:.0f} ms")
    if not all(call.fair() for call in calls):
        late_ms = 1000 * max(call.late_s for call in calls)
        notes.append(f"sent up to {late_ms:.0f} ms late")
    return ", ".join(notes)


def explain(daemon: Daemon, pool: Executor, rows: list[Row], pairs: list, streams: dict) -> None:
    """Where a pair loses something, tells whether it does so with everybody mixed always, too."""
    short = [pair for pair, row in zip(pairs, rows, strict=True) if row.ours and row.difference() < -WORTH_EXPLAINING]
    calls = {
        (first, second, clip.name): Call(BY_NAME[first], streams[first, clip.name], BY_NAME[second], activity="off")
        for (first, second), clip in product(short, corpus.WIDE)
    }
    through = heard(daemon, pool, calls)
    for pair, row in zip(pairs, rows, strict=True):
        scores = [score.result() for key, score in through.items() if key[:2] == pair]
        if scores:
            row.note = f"{row.note}; {sum(scores) / len(scores):.3f} with activity off".removeprefix("; ")
