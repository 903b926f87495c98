"""Lost packets: which, by a seed."""

import numpy as np

from .codecs import Payloads

SEEDS = (1, 2, 3)


def after_loss(payloads: Payloads, percent: int, seed: int) -> list[bytes | None]:
    """The stream with so many of its packets lost, each as likely as any other but the first."""
    chance = np.random.default_rng(seed)
    lost = set(chance.choice(np.arange(1, len(payloads)), len(payloads) * percent // 100, replace=False))
    return [None if index in lost else payload for index, payload in enumerate(payloads)]
