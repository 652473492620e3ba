"""Exact arithmetic to as many digits as the caller's decimal context has."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction


def as_decimal(value: Fraction) -> Decimal:
    """Return a rational, rounded to the context's digits."""
    return Decimal(value.numerator) / Decimal(value.denominator)


def gaussian_weights(sigma2: Fraction, values: Iterable[int]) -> list[Decimal]:
    """Return exp(-x^2 / (2 sigma2)) for every value."""
    rate = as_decimal(1 / (2 * sigma2))
    return [(-rate * x * x).exp() for x in values]
