"""Integer scores of candidates, the same in the clear and under MPC (docs/protocol.md, scores)."""

from collections.abc import Sequence
from fractions import Fraction

from aim_core.errors import MechanismError


def multipliers(weights: Sequence[int], epsilon: Fraction, fraction_bits: int) -> list[int]:
    """Return per candidate C_r = floor(2**f * epsilon * w_r / (2 max w)), f = `fraction_bits`.

    One record changes L_r by at most 1, so S_r = C_r (L_r - bias_r) by at most C_r, and
    C_r <= 2**f epsilon / 2: with Gumbel noise of scale 2**f, the argmax is the exponential
    mechanism with bounded range epsilon, exactly, whatever the rounding did to utility.

    Raises MechanismError for no candidates, a weight below 1, or epsilon <= 0.
    """
    if not weights or min(weights) < 1:
        raise MechanismError("a selection needs candidates, each with a weight of at least 1")
    if epsilon <= 0:
        raise MechanismError(f"a selection needs epsilon > 0, got {float(epsilon):g}")
    scale = 2**fraction_bits * epsilon / (2 * max(weights))
    return [int(scale * weight) for weight in weights]


def scores(factors: Sequence[int], distances: Sequence[int], biases: Sequence[int]) -> list[int]:
    """Return per candidate S_r = C_r (L_r - bias_r), exact.

    `factors` come from `multipliers`; `distances` are L_r = sum |x_i - Y_i| and `biases` the L1
    distance that noise alone would leave, both in whole counts.
    """
    return [
        factor * (distance - bias)
        for factor, distance, bias in zip(factors, distances, biases, strict=True)
    ]
