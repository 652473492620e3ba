"""The kinds of noise by name, apart from their samplers: naming one loads no arithmetic."""

from enum import StrEnum


class NoiseKind(StrEnum):
    """How noise is made, by its name in a manifest."""

    DEALERS = "dealers"
    """`DealerNoise`: every party deals its part."""

    JOINT = "joint"
    """`JointNoise`: sampled on shares."""
