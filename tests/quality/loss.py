"""Lost and delayed packets: which and by how much, by a seed."""

from dataclasses import dataclass

import numpy as np

from .codecs import Payloads

SEEDS = (1, 2, 3)

BURST_PACKETS = 2.5
"""How many packets a burst loses in the mean."""


def lost(packets: int, percent: int, seed: int) -> set[int]:
    """So many of the packets, each as likely as any other but the first."""
    chance = np.random.default_rng(seed)
    return set(chance.choice(np.arange(1, packets), packets * percent // 100, replace=False).tolist())


def lost_in_bursts(packets: int, percent: int, seed: int) -> set[int]:
    """Gilbert's model: a good state that loses nothing and a bad one that loses everything, and so much lost in the mean.

    The model runs until it has lost exactly as many as `lost` would; which it is started for is by chance.
    """
    chance = np.random.default_rng([seed, percent])
    wanted = packets * percent // 100
    leaves_bad = 1 / BURST_PACKETS
    leaves_good = leaves_bad * percent / (100 - percent)
    for _ in range(10_000):
        bad, found = False, set()
        for packet in range(1, packets):
            bad = chance.random() < (1 - leaves_bad if bad else leaves_good)
            if bad:
                found.add(packet)
        if len(found) == wanted:
            return found
    raise RuntimeError(f"no bursts lose {wanted} of {packets} packets")


def after_loss(payloads: Payloads, percent: int, seed: int) -> list[bytes | None]:
    """The stream with so many of its packets lost at random."""
    missing = lost(len(payloads), percent, seed)
    return [None if index in missing else payload for index, payload in enumerate(payloads)]


@dataclass(frozen=True)
class Network:
    """What a network does to packets: `percent` of them it loses, at random or in bursts; each other one it delays by
    up to `jitter_ms`, evenly distributed."""

    percent: int = 0
    bursts: bool = False
    jitter_ms: int = 0

    def __str__(self) -> str:
        loss = f"{self.percent} %" + (" in bursts" if self.bursts else "")
        return f"{loss}, jitter {self.jitter_ms} ms" if self.jitter_ms else loss

    def lost(self, packets: int, seed: int) -> set[int]:
        return (lost_in_bursts if self.bursts else lost)(packets, self.percent, seed)

    def delays_us(self, packets: int, seed: int) -> list[int | None]:
        """Of each packet; none where it is lost."""
        missing = self.lost(packets, seed)
        delays = np.random.default_rng([seed, self.jitter_ms]).integers(0, 1000 * self.jitter_ms + 1, packets)
        return [None if packet in missing else int(delay) for packet, delay in enumerate(delays)]
