"""Public draws: numbers from a public seed that any program can compute again.

What a draw is for is part of its preimage, so draws for different ends are independent.
docs/protocol.md, section 23, lists the preimages.
"""

import hashlib
from enum import StrEnum

import rfc8785


class DrawFor(StrEnum):
    """What is drawn: constants of the protocol."""

    PARTICIPATION = "participation"
    MODEL_OFFSET = "model-offset"


def public_draw(purpose: DrawFor, seed: int, *which: int | tuple[str, ...]) -> int:
    """Return a number of 64 bits that follows from a seed and from which draw it is.

    The seed is written as text: whole numbers in canonical JSON end at 2^53.
    """
    preimage = f"distaim/{purpose.value}/v1\0".encode() + rfc8785.dumps([str(seed), *which])
    return int.from_bytes(hashlib.sha256(preimage).digest()[:8], "big")
