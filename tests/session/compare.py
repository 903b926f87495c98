"""Two lives beside each other, field by field. What chance or the clock decides need only be of the same kind."""

import re

# Random, of the clock, or of how long things took.
BY_CHANCE = {"reference", "recordingId", "recording", "seq", "globalSeq",  "at", "since", "start", "from", "to", "duration", "durationS", "bytes", "sha256", "samples"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")

# Numbers that go on while nobody asks.
FIGURES = re.compile(r"packets|samples|rtcp|bytes|Ms|delay|Dbfs|ssrc|Nanos|mos|jitter|gaps|attendance|dropped|oneWay", re.I)


# Events that silence brings about after a while, and so not in each life.
BY_THE_WAY = {"leg.one_way", "leg.talking", "leg.report"}


def in_order(events: list[dict]) -> list[dict]:
    """By type and leg: what an engine tells and what the control plane tells need not come in one order. Whose numbers
    have gaps is no true life."""
    numbers = [event["globalSeq"] for event in events]
    if numbers != list(range(1, len(numbers) + 1)):
        raise AssertionError(f"events are numbered {numbers}")
    kept = (event for event in events if event["type"] not in BY_THE_WAY)
    return sorted(kept, key=lambda event: (event["type"], event.get("callId", "")))


def differences(one: object, other: object, where: str = "") -> list[str]:
    """Sentences; none where both say the same."""
    name = where.rsplit(".", 1)[-1].split("[")[0]
    if isinstance(one, dict) and isinstance(other, dict):
        if FIGURES.search(name):
            return []
        found = []
        for key in sorted(one.keys() | other.keys()):
            path = f"{where}.{key}"
            if key in one and key in other:
                found += differences(one[key], other[key], path)
            elif not is_nothing(one.get(key)) or not is_nothing(other.get(key)):
                if not FIGURES.search(key):
                    found.append(f"{path} is {one.get(key, 'absent')!r} here and {other.get(key, 'absent')!r} there")
        return found
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other) and not FIGURES.search(name):
            return [f"{where} has {len(one)} here and {len(other)} there"]
        return [text for index, pair in enumerate(zip(one, other)) for text in differences(*pair, f"{where}[{index}]")]
    if name in BY_CHANCE or FIGURES.search(name):
        return [] if kind(one) == kind(other) else [f"{where} is a {kind(one)} here and a {kind(other)} there"]
    if name == "sdp":
        # The session's number is chance (RFC 8866 §5.2).
        one, other = (re.sub(r"\r\no=(\S+) \d+ ", r"\r\no=\1 ", text) for text in (one, other))
    return [] if one == other else [f"{where} is {one!r} here and {other!r} there"]


def is_nothing(value: object) -> bool:
    """Protobuf does not tell it from what was never said."""
    return value in (None, "", 0, False) or value == [] or value == {}


def kind(value: object) -> str:
    """As far as what is random can be told."""
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, int | float):
        return "number"
    return "time" if TIME.match(str(value)) else "text"
