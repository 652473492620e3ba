"""The public domain: which attributes there are and how many codes each one has."""

import difflib
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from aim_core.errors import SchemaError, WorkloadError

Clique = tuple[str, ...]
"""Names of attributes, always in the order of the domain."""


@dataclass(frozen=True)
class StructuralZeros:
    """The cells of one marginal that no record can be in, by what is publicly known.

    `allowed` has a byte per cell of the clique's flat marginal: 1 where records may be, else 0.
    """

    clique: Clique
    allowed: bytes = field(repr=False)


@dataclass(frozen=True)
class Domain:
    """Attributes in column order with their numbers of codes, and cells that stay empty.

    A marginal over a clique is a flat C-ordered array over `shape(clique)`: the clique's last
    attribute varies fastest. A model over the domain gives the cells that `zeros` rule out no mass
    at all; a table may have such rows all the same.

    Raises SchemaError for no attribute, a name that is empty or occurs twice, or a size below 1;
    also for zeros that do not fit the attributes or leave no cell of their clique.
    """

    attributes: tuple[str, ...]
    sizes: tuple[int, ...]
    zeros: tuple[StructuralZeros, ...] = ()
    _position: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.attributes:
            raise SchemaError("the domain has no attributes; name at least one column")
        if len(self.attributes) != len(self.sizes):
            raise SchemaError(
                f"the domain names {len(self.attributes)} attributes but has "
                f"{len(self.sizes)} sizes; give each attribute one size"
            )
        position = {name: index for index, name in enumerate(self.attributes)}
        if len(position) != len(self.attributes) or "" in position:
            raise SchemaError("attribute names must be distinct and not empty; rename the columns")
        for name, size in zip(self.attributes, self.sizes, strict=True):
            if size < 1:
                raise SchemaError(f"attribute {name!r} has size {size}; a size is at least 1")
        object.__setattr__(self, "_position", position)
        for zeros in self.zeros:
            self._check_zeros(zeros)

    def _check_zeros(self, zeros: StructuralZeros) -> None:
        names = ", ".join(zeros.clique)
        try:
            fits = bool(zeros.clique) and self.canonical(zeros.clique) == zeros.clique
        except WorkloadError as error:
            raise SchemaError(f"structural zeros of ({names}): {error}") from error
        if not fits or len(zeros.allowed) != self.n_cells(zeros.clique):
            raise SchemaError(
                f"structural zeros of ({names}) are not in column order or have not one byte per "
                "cell; make them for this domain"
            )
        if 1 not in zeros.allowed:
            raise SchemaError(f"nothing is allowed in ({names}); leave some combination of values")

    def __len__(self) -> int:
        return len(self.attributes)

    def position(self, attribute: str) -> int:
        """Return an attribute's index in column order; WorkloadError if it is unknown."""
        try:
            return self._position[attribute]
        except KeyError:
            known = ", ".join(self.attributes[:20]) + (", ..." if len(self) > 20 else "")
            near = near_spelling(attribute, self.attributes)
            raise WorkloadError(
                f"the domain has no attribute {attribute!r}{near}; it has: {known}"
            ) from None

    def size_of(self, attribute: str) -> int:
        """Return how many codes an attribute has; WorkloadError if it is unknown."""
        return self.sizes[self.position(attribute)]

    def positions(self, clique: Iterable[str]) -> tuple[int, ...]:
        """Return the column indices of a clique; WorkloadError as in `position`."""
        return tuple(self.position(name) for name in clique)

    def shape(self, clique: Iterable[str]) -> tuple[int, ...]:
        """Return the axes of a clique's marginal; WorkloadError as in `position`."""
        return tuple(self.size_of(name) for name in clique)

    def n_cells(self, clique: Iterable[str]) -> int:
        """Count the cells of a clique's marginal (1 for the empty clique)."""
        return math.prod(self.shape(clique))

    def canonical(self, clique: Iterable[str]) -> Clique:
        """Put a clique in column order; WorkloadError for an unknown or repeated attribute."""
        positions = sorted(self.positions(clique))
        names = tuple(self.attributes[position] for position in positions)
        for left, right in itertools.pairwise(names):
            if left == right:
                raise WorkloadError(f"a clique names {left!r} twice; name each attribute once")
        return names


def near_spelling(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of the known names, or the empty text."""
    by_lower = {other.lower(): other for other in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f"; did you mean {by_lower[found[0]]!r}?" if found else ""
