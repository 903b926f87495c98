"""Calls: one party speaks, another listens, in a room of their own in the running daemon; many rooms at once.

Everything is encoded before and decoded after, so that while calls run one thread does nothing but send packets at
absolute times and keep those that come.
"""

import gc
import heapq
import os
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from .codecs import Codec, Payloads
from .daemon import Daemon, Refused
from .party import Party

AT_ONCE = 40
"""Calls that run at the same time."""

SETTLE_S = 0.2
"""Between the last leg and the first packet."""

TICK_S = 0.020

AFTER_TICK_S = 0.005
"""When in the daemon's tick a packet is sent. What is late by less than the rest of it changes nothing: this is about
codecs, what a network does to sound is for other tests. 30 ms packets meet the ticks here and 10 ms later."""

LINGER_S = 0.5
"""What is still on its way when the last packet is sent: delay in the daemon, packet times."""

LATE_S_MAX = 0.004
"""A call with a packet later than this was not a fair one: the sender stood still, so it is made again."""

TRIES = 3

REAL_TIME_PRIORITY = 10

numbers = count(1)


@dataclass
class Call:
    """What is to be said and heard, and, once it was made, what came of it."""

    speaker: Codec
    payloads: Payloads
    listener: Codec
    activity: str = "auto"
    heard: list[bytes | None] = field(default_factory=list)
    refused: str = ""
    late_s: float = 0.0
    """Of the speaker's latest packet."""
    concealed_ms: float = 0.0
    """Of the speaker's sound, what the daemon made up or left out."""

    def fair(self) -> bool:
        return self.late_s <= LATE_S_MAX


def made(daemon: Daemon, calls: Sequence[Call]) -> Iterator[Call]:
    """Makes the calls, some at a time, and gives each as it is done; one that could not be made says `refused`."""
    waiting = [(call, TRIES) for call in calls]
    while waiting:
        batch, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
        make(daemon, [call for call, _ in batch])
        for call, tries in batch:
            if call.fair() or call.refused or tries == 1:
                yield call
            else:
                waiting.append((call, tries - 1))


def make(daemon: Daemon, calls: Sequence[Call]) -> None:
    """Makes these calls all at once."""
    seated = []
    for call in calls:
        room = f"quality-{next(numbers)}"
        speaker, listener = Party(call.speaker, call.payloads), Party(call.listener)
        try:
            for party, name in ((speaker, f"{room}-speaker"), (listener, f"{room}-listener")):
                party.accept(daemon.seat(room, name, party.offer())["sdp"])
            if call.activity != "auto":
                daemon.change_room(room, activity=call.activity)
            seated.append((call, room, speaker, listener))
        except Refused as refused:
            call.refused = str(refused)
            # The speaker may be there already; where nobody is, there is no room.
            with suppress(Refused):
                daemon.clear(room)
            speaker.close()
            listener.close()
    lateness = exchange([(speaker, listener) for _, _, speaker, listener in seated])
    for (call, room, speaker, listener), late_s in zip(seated, lateness, strict=True):
        call.late_s = late_s
        call.heard = listener.heard()
        media = daemon.leg(f"{room}-speaker")["media"]
        samples = media["samplesConcealed"] + media["samplesAccelerated"]
        call.concealed_ms = 1000 * samples / call.speaker.rate
        daemon.clear(room)
        speaker.close()
        listener.close()


def exchange(pairs: Sequence[tuple[Party, Party]]) -> list[float]:
    """Lets each first party send all it has. Returns how late, in seconds, the latest packet of each pair was."""
    poll = select.epoll()
    parties = {party.socket.fileno(): party for pair in pairs for party in pair}
    for descriptor in parties:
        poll.register(descriptor, select.EPOLLIN)
    lateness = [0.0] * len(pairs)
    with real_time():
        drain(poll, parties, time.monotonic() + SETTLE_S)
        now = time.monotonic()
        due = [(first_due(listener, now), index, 0) for index, (_, listener) in enumerate(pairs)]
        heapq.heapify(due)
        while due:
            at, index, packet = due[0]
            drain(poll, parties, at)
            speaker = pairs[index][0]
            speaker.send(packet)
            lateness[index] = max(lateness[index], time.monotonic() - at)
            if packet + 1 < len(speaker.payloads):
                heapq.heapreplace(due, (at + speaker.codec.ptime_ms / 1000, index, packet + 1))
            else:
                heapq.heappop(due)
        drain(poll, parties, time.monotonic() + LINGER_S)
    poll.close()
    return lateness


def first_due(listener: Party, now: float) -> float:
    """When the first packet leaves: so long after a tick, as told by what the daemon sends at each."""
    if listener.last_arrival is None:
        return now + TICK_S
    ticks = (now - listener.last_arrival) // TICK_S + 2
    return listener.last_arrival + ticks * TICK_S + AFTER_TICK_S


def drain(poll: select.epoll, parties: dict[int, Party], until: float) -> None:
    """Receives until that time."""
    while (wait := until - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(wait):
            parties[descriptor].receive(time.monotonic())


@contextmanager
def real_time() -> Iterator[None]:
    """Ahead of the machine's other work, where that is allowed, and without pauses for garbage."""
    gc.disable()
    try:
        # Denied to ordinary users: then a call that was disturbed shows by its lateness.
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(REAL_TIME_PRIORITY))
        yield
    finally:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        gc.enable()
