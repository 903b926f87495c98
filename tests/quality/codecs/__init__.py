"""The oracles: each codec as somebody else made it, loaded at test time and never linked to the daemon.

Sound is a `numpy` array of `float32`, mono, full scale 1.0, at the codec's rate. A payload is `bytes`, and `None`
where it was lost; one codec makes all its payloads the same length of time.
"""

from .codec import Codec, Payloads
from .g711 import PCMA, PCMU
from .g722 import G722
from .g729 import G729
from .ilbc import ILBC20, ILBC30
from .l16 import L16_8, L16_16
from .opus import OPUS16, OPUS48

ALL = (PCMU, PCMA, G722, G729, ILBC20, ILBC30, OPUS16, OPUS48, L16_8, L16_16)

BY_NAME = {codec.name: codec for codec in ALL}

__all__ = ["ALL", "BY_NAME", "Codec", "Payloads"]
