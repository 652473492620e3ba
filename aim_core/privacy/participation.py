"""Which data holders take part in a round: Poisson samples from a public seed."""

from dataclasses import dataclass
from fractions import Fraction

from aim_core.errors import MechanismError
from aim_core.public_draws import DrawFor, public_draw


def check_rate(rate: Fraction) -> None:
    """Raise MechanismError unless 0 < rate <= 1: at others nobody, or more than all, would join."""
    if not 0 < rate <= 1:
        raise MechanismError(
            f"a participation of {float(rate):g} cannot be; it is the rate at which holders join "
            "in each round, above 0 and at most 1"
        )


@dataclass(frozen=True)
class Participation:
    """Every round each of `n_holders` joins with probability `rate`, independently.

    Samples follow from the public `seed`: they decide whose data is used when, not what is
    released of it, and no amplification by sampling is claimed.

    Raises MechanismError for fewer than one holder or a rate outside (0, 1].
    """

    n_holders: int
    rate: Fraction
    seed: int

    def __post_init__(self) -> None:
        if self.n_holders < 1:
            raise MechanismError(f"{self.n_holders} holders cannot take part; name at least one")
        check_rate(self.rate)

    def sampled(self, round_number: int) -> frozenset[int]:
        """Return the holders of one round; the one with the smallest draw if it is nobody's turn.

        With `rate` 1 that is everybody.
        """
        draws = [
            public_draw(DrawFor.PARTICIPATION, self.seed, round_number, holder)
            for holder in range(self.n_holders)
        ]
        limit = self.rate * 2**64
        chosen = frozenset(holder for holder, draw in enumerate(draws) if draw < limit)
        return chosen or frozenset({draws.index(min(draws))})

    def present(self, round_number: int) -> frozenset[int]:
        """Return everybody sampled up to a round: who has joined stays."""
        joined: frozenset[int] = frozenset()
        for earlier in range(round_number + 1):
            joined |= self.sampled(earlier)
            if len(joined) == self.n_holders:
                break
        return joined

    def growth(self, round_number: int) -> float:
        """Return by what factor the records in the sums are expected to grow from round to round.

        Holders are public, their numbers of records are not.
        """
        return len(self.present(round_number)) / len(self.present(round_number - 1))


EVERYBODY = Participation(1, Fraction(1), 0)
"""All the data in every round, as if one holder had it."""
