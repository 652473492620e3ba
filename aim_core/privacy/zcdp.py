"""Privacy accounting in zCDP with exact rationals; every rounding is against the user.

Sources: [CKS20] Canonne, Kamath, Steinke, The Discrete Gaussian for Differential Privacy (zCDP to
approximate DP); [WRRW23] Whitehouse, Ramdas, Rogers, Wu, Fully-Adaptive Composition (filters).
"""

import math
import re
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

from aim_core.errors import BudgetExceeded, MechanismError

_NUMBER = re.compile(
    r"[+-]?([0-9]{1,60}(\.[0-9]{0,60})?|\.[0-9]{1,60})(e[+-]?[0-9]{1,3})?"
    r"|[+-]?[0-9]{1,60}/0{0,9}[1-9][0-9]{0,60}",
    re.IGNORECASE,
)

_DIGITS = 60
_MARGIN = Fraction(1, 10**40)
"""Allowance for the rounding of a dozen Decimal operations of 60 digits each, as a part of the sum
of the terms' sizes: about 10**-58 of it is possible, 10**-40 is claimed."""

MAX_EPSILON = 10**6
"""Larger epsilons are refused: they protect nothing, and are typing errors."""

_SEARCH = (-12.0, 30.0)
"""Where log(alpha - 1) is searched. Every alpha > 1 gives a valid bound, so a best alpha outside
costs tightness (epsilon above 10**5 or below 10**-11), never privacy."""


def parse_rational(text: str, name: str) -> Fraction:
    """Read a number such as `1`, `0.1`, `1e-9` or `1/3` exactly; MechanismError if it is none."""
    # Lengths are bounded because Fraction("1e999999999") would fill the memory.
    if not _NUMBER.fullmatch(text):
        raise MechanismError(
            f"{name} is {text[:50]!r}, which is not a number; write it like 1, 0.1, 1e-9 or 1/3"
        )
    return Fraction(text)


def round_down(value: Fraction, bits: int = 40) -> Fraction:
    """Round a non-negative value down to `bits` significant bits, so that sums stay short."""
    if value <= 0:
        return Fraction(0)
    # The value lies within a factor of two of this power of two.
    size = value.numerator.bit_length() - value.denominator.bit_length()
    step = Fraction(2) ** (size - bits)
    return (value // step) * step


def round_up(value: Fraction, bits: int = 40) -> Fraction:
    """Round a non-negative value up to `bits` significant bits, so that sums stay short."""
    down = round_down(value, bits)
    if down == value:
        return down
    size = value.numerator.bit_length() - value.denominator.bit_length()
    return down + Fraction(2) ** (size - bits)


def sqrt_down(value: Fraction, bits: int = 40) -> Fraction:
    """Return the square root of a non-negative value, rounded down to about `bits` bits."""
    scale = 4 ** (bits + max(0, value.denominator.bit_length() - value.numerator.bit_length()))
    root = Fraction(math.isqrt(value * scale // 1), math.isqrt(scale))
    return round_down(root, bits)


def check_budget(epsilon: Fraction, delta: Fraction) -> None:
    """Raise MechanismError unless 0 < epsilon <= MAX_EPSILON and 0 < delta < 1."""
    if not 0 < epsilon <= MAX_EPSILON:
        raise MechanismError(
            f"epsilon is {_short(epsilon)}; it must be greater than 0 and at most {MAX_EPSILON}"
        )
    if not 0 < delta < 1:
        raise MechanismError(f"delta is {_short(delta)}; it must lie between 0 and 1")


def check_alpha(alpha: Fraction) -> None:
    """Raise MechanismError unless `alpha`, the part of a budget that measures, is in (0, 1)."""
    if not 0 < alpha < 1:
        raise MechanismError(f"alpha is {alpha}; the part that measures must lie between 0 and 1")


def rho_from_epsilon_delta(epsilon: Fraction, delta: Fraction) -> Fraction:
    """Return a rho, as large as can be, such that rho-zCDP implies (epsilon, delta)-DP.

    [CKS20] Corollary 13: rho-zCDP implies (epsilon, delta)-DP if, for any one alpha > 1,
    delta = exp((alpha - 1)(alpha rho - epsilon)) / (alpha - 1) * (1 - 1/alpha)^alpha. Solved for
    rho, it is (epsilon + c(alpha)) / alpha with c as in `_c`, and the best alpha is searched
    in floats. The value at that alpha is then computed in 60 digits and rounded down.

    Raises MechanismError for what `check_budget` refuses, and for too little to compute with.
    """
    check_budget(epsilon, delta)
    eps, log_delta = float(epsilon), _log(delta)

    def rho(alpha_minus_1: float) -> float:
        return (eps + _c_float(alpha_minus_1, log_delta)) / (1 + alpha_minus_1)

    alpha_minus_1 = Fraction(_maximise(rho))
    c, error = _c(alpha_minus_1, delta)
    value = (epsilon + c - error) / (1 + alpha_minus_1)
    if value <= 0:
        raise MechanismError(
            f"epsilon {_short(epsilon)} with delta {_short(delta)} is too little budget to "
            "compute with; raise epsilon"
        )
    return round_down(value, 60)


def _short(value: Fraction) -> str:
    """Show a rational of any size in a few digits."""
    with localcontext(prec=6):
        return f"{(Decimal(value.numerator) / Decimal(value.denominator)).normalize():g}"


def _log(value: Fraction) -> float:
    # Numerator and denominator apart: the quotient may be too small for a float.
    return math.log(value.numerator) - math.log(value.denominator)


def _c_float(alpha_minus_1: float, log_delta: float) -> float:
    """Evaluate (log delta + log(alpha - 1) - alpha log(1 - 1/alpha)) / (alpha - 1) in floats."""
    alpha = 1 + alpha_minus_1
    return (
        log_delta + math.log(alpha_minus_1) + alpha * math.log1p(1 / alpha_minus_1)
    ) / alpha_minus_1


def _c(alpha_minus_1: Fraction, delta: Fraction) -> tuple[Fraction, Fraction]:
    """Evaluate the same in 60 digits, with a bound on the absolute error."""
    with localcontext(prec=_DIGITS):
        less_one = Decimal(alpha_minus_1.numerator) / Decimal(alpha_minus_1.denominator)
        alpha = 1 + less_one
        log_delta = (Decimal(delta.numerator) / Decimal(delta.denominator)).ln()
        terms = (log_delta, less_one.ln(), alpha * (alpha / less_one).ln())
        value = sum(terms, Decimal(0)) / less_one
        size = sum((abs(term) for term in terms), Decimal(1)) * (1 + alpha) / less_one
    return Fraction(value), Fraction(size) * _MARGIN


def _maximise(function: Callable[[float], float]) -> float:
    """Find alpha - 1 by ternary search on its logarithm.

    The function searched is quasi-concave: log delta is convex in alpha for fixed rho and epsilon,
    with second derivative 2 rho + 1/(alpha - 1) - 1/alpha.
    """
    low, high = _SEARCH
    for _ in range(200):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if function(math.exp(left)) < function(math.exp(right)):
            low = left
        else:
            high = right
    return math.exp((low + high) / 2)


class PrivacyFilter:
    """A zCDP budget for adaptively chosen releases [WRRW23]: their costs add up to at most it."""

    def __init__(self, budget: Fraction) -> None:
        if budget <= 0:
            raise MechanismError(f"the budget is rho = {float(budget):g}; it must be positive")
        self.budget = budget
        self._spent = Fraction(0)

    def __repr__(self) -> str:
        return f"PrivacyFilter(spent={float(self._spent):g} of {float(self.budget):g})"

    @property
    def spent(self) -> Fraction:
        """The sum of all charges so far."""
        return self._spent

    @property
    def remaining(self) -> Fraction:
        """What can still be charged; never negative."""
        return self.budget - self._spent

    def check(self, cost: Fraction) -> None:
        """Raise BudgetExceeded if the cost is more than what remains.

        MechanismError for a cost that is not positive.
        """
        if cost <= 0:
            raise MechanismError(f"a release cannot cost rho = {float(cost):g}")
        if cost > self.remaining:
            raise BudgetExceeded(
                f"a release of rho = {float(cost):.6g} was refused: {float(self.remaining):.6g} "
                f"of {float(self.budget):.6g} remain; nothing was released for it"
            )

    def charge(self, cost: Fraction) -> None:
        """Book a release before it is made; raises as `check`, with nothing booked."""
        self.check(cost)
        self._spent += cost
