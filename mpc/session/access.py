"""The threshold access structure of replicated (CNF) secret sharing.

Parties 0..m-1, any t < m/2 of them may collude. For each set T of t parties a secret has one
component x_T, held by every party that is not in T [CDI05]. Sets are numbered in lexicographic
order; "component 3" is the component of set number 3.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from mpc.errors import MpcError

MAX_PARTIES = 7


@dataclass(frozen=True)
class AccessStructure:
    """Who holds which component, and who computes and corrects what.

    Raises MpcError: m and t are outside 3 <= m <= 7, 1 <= t < m/2.
    """

    n_parties: int
    threshold: int

    def __post_init__(self) -> None:
        m, t = self.n_parties, self.threshold
        if not (3 <= m <= MAX_PARTIES and t >= 1 and 2 * t < m):
            raise MpcError(
                f"{m} compute parties with a threshold of {t} cannot work: the protocol needs 3 "
                f"to {MAX_PARTIES} parties and a threshold of at least 1 and below one half of them"
            )

    @cached_property
    def sets(self) -> tuple[frozenset[int], ...]:
        """The sets T, in the order of the component numbers."""
        return tuple(map(frozenset, combinations(range(self.n_parties), self.threshold)))

    @cached_property
    def holders(self) -> tuple[tuple[int, ...], ...]:
        """Per component the parties that hold it, ascending."""
        return tuple(
            tuple(p for p in range(self.n_parties) if p not in excluded) for excluded in self.sets
        )

    @cached_property
    def held(self) -> tuple[tuple[int, ...], ...]:
        """Per party the components that it holds, ascending."""
        return tuple(
            tuple(i for i, excluded in enumerate(self.sets) if party not in excluded)
            for party in range(self.n_parties)
        )

    @cached_property
    def correction(self) -> tuple[int, ...]:
        """Per party the component that takes its correction when it reshares a summand.

        It is the set of the t parties before it, so that the recipients are the m - t - 1
        parties after it; with m = 3 this is the resharing of Araki et al. (CCS 2016).
        """
        m, t = self.n_parties, self.threshold
        index = {excluded: i for i, excluded in enumerate(self.sets)}
        return tuple(
            index[frozenset((party - j) % m for j in range(1, t + 1))] for party in range(m)
        )

    @cached_property
    def products(self) -> tuple[dict[int, tuple[int, ...]], ...]:
        """Per party: component of the left factor -> components of the right factor.

        Every ordered pair of components belongs to exactly one party that holds both: the first
        one after their last excluded party, cyclically.
        """
        m = self.n_parties
        assigned: list[dict[int, list[int]]] = [{} for _ in range(m)]
        for left, left_set in enumerate(self.sets):
            for right, right_set in enumerate(self.sets):
                excluded = left_set | right_set
                start = max(excluded) + 1
                party = next(p % m for p in range(start, start + m) if p % m not in excluded)
                assigned[party].setdefault(left, []).append(right)
        return tuple({left: tuple(right) for left, right in row.items()} for row in assigned)

    def addends(self, rotation: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Group the components into t + 1 addends, each known to one party.

        Returns (party, components) pairs; the components of a pair are all held by its party.
        The last pair has a single component. `rotation` shifts the roles for balance.
        """
        m = self.n_parties
        order = [(rotation + j) % m for j in range(self.threshold + 1)]
        groups: dict[int, list[int]] = {party: [] for party in order}
        for i, excluded in enumerate(self.sets):
            groups[next(p for p in order if p not in excluded)].append(i)
        return tuple((party, tuple(components)) for party, components in groups.items())

    def component_excluding(self, parties: frozenset[int]) -> int:
        """Return the number of the component that exactly `parties` (t of them) do not hold."""
        return self.sets.index(parties)
