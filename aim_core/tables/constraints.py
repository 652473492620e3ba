"""Constraints of a schema: what no record can be, by public knowledge and never by the data."""

import graphlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from aim_core.arrays import BoolArray, Codes, FloatArray
from aim_core.domain import StructuralZeros
from aim_core.errors import SchemaError
from aim_core.tables.cells import Cells, Chunk
from aim_core.tables.columns.base import Column
from aim_core.tables.columns.binned import BinnedColumn
from aim_core.tables.columns.comparing import code_ends, scale_of
from aim_core.tables.columns.listed import CategoricalColumn

MAX_CELLS = 1 << 24
"""Most combinations of codes that one constraint may be about."""


@dataclass(frozen=True)
class Constraint(ABC):
    """What records cannot be. `columns` are those that it is about."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that the constraint is about."""

    @abstractmethod
    def describe(self) -> str:
        """Say in a few words what has to hold."""

    @abstractmethod
    def allowed(self, known: Mapping[str, Column]) -> BoolArray:
        """Return which combinations of codes are allowed: a table with one axis per column.

        SchemaError for a constraint that does not fit the columns, or allows nothing.
        """

    @abstractmethod
    def n_broken(
        self, known: Mapping[str, Column], codes: Mapping[str, Codes], chunk: Chunk
    ) -> int:
        """Count the rows of a table that break the constraint: for the table's holder only.

        `codes` are (n_rows,) those of each column, negative where a value does not fit.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, object]:
        """Return the keys that a schema file has for this constraint, its type first."""

    @classmethod
    @abstractmethod
    def from_keys(cls, keys: Mapping[str, object]) -> Self:
        """Make a constraint of its type's keys; SchemaError if they make no sense."""

    def refuse(self, text: str) -> SchemaError:
        """Make the error that names this constraint."""
        return SchemaError(f"constraint {self.describe()}: {text}")


@dataclass(frozen=True)
class Order(Constraint):
    """`left` is never above `right`, and never equal to it where `strict`.

    Bins are allowed together if some of their values are in order. Missing and special values have
    no order and are always allowed.
    """

    kind = "order"
    left: str
    right: str
    strict: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The two columns."""
        return self.left, self.right

    def describe(self) -> str:
        """Say which order has to hold."""
        return f"{self.left} {'<' if self.strict else '<='} {self.right}"

    def allowed(self, known: Mapping[str, Column]) -> BoolArray:
        """Return (left codes, right codes) which pairs of codes have values in order."""
        left, right = known[self.left], known[self.right]
        if scale_of(left) != scale_of(right):
            raise self.refuse(
                f"a column of type {left.kind} cannot be compared with one of type {right.kind}, "
                "unless both are numbers; dates and times need one type and zone, categories one "
                "and the same list"
            )
        lows, highs = code_ends(left)[0], code_ends(right)[1]
        if np.isnan(lows).all():
            raise self.refuse("the columns have no order; `ordered = true` gives categories one")
        broken = self.broken(lows[:, None], highs[None, :])
        if broken[~np.isnan(lows)][:, ~np.isnan(highs)].all():
            raise self.refuse("no value of the one is in order with any of the other; remove it")
        return ~broken

    def broken(self, left: FloatArray, right: FloatArray) -> BoolArray:
        """Tell which pairs of numbers are out of order; none with NaN is."""
        broken: BoolArray = left >= right if self.strict else left > right
        return broken

    def n_broken(
        self, known: Mapping[str, Column], codes: Mapping[str, Codes], chunk: Chunk
    ) -> int:
        """Count the rows that are out of order, within bins as well."""
        left, right = (
            _cell_numbers(known[name], codes[name], chunk[name]) for name in self.columns
        )
        return int(np.count_nonzero(self.broken(left, right)))

    def to_dict(self) -> dict[str, object]:
        """Return `columns` and perhaps `strict`."""
        strict = {"strict": True} if self.strict else {}
        return {"type": self.kind, "columns": list(self.columns), **strict}

    @classmethod
    def from_keys(cls, keys: Mapping[str, object]) -> Self:
        """Make an order of `columns`, two names, and perhaps `strict`."""
        columns, strict = keys.get("columns"), keys.get("strict", False)
        if set(keys) - {"columns", "strict"} or not isinstance(strict, bool):
            raise SchemaError('an order has `columns = ["start", "end"]` and perhaps `strict`')
        match columns:
            case [str(left), str(right)] if left != right:
                return cls(left, right, strict)
        raise SchemaError(f"`columns` of an order must name two columns, not {columns!r}")


@dataclass(frozen=True)
class Forbidden(Constraint):
    """The listed values of the columns never occur all together.

    Values are named as a table has them, or by the label of their code: "18 to 21", "missing".
    """

    kind = "forbidden"
    values: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values are listed."""
        return tuple(name for name, _ in self.values)

    def describe(self) -> str:
        """Say which values never meet."""
        named = (f"{name} = {' or '.join(values)}" for name, values in self.values)
        return f"never {' with '.join(named)}"

    def allowed(self, known: Mapping[str, Column]) -> BoolArray:
        """Return which combinations of codes are not made of listed values alone."""
        allowed = np.ones([known[name].size for name in self.columns], dtype=np.bool_)
        allowed[np.ix_(*(self._codes(known[name], values) for name, values in self.values))] = False
        if not allowed.any():
            raise self.refuse("it allows nothing; list fewer values")
        return allowed

    def n_broken(
        self, known: Mapping[str, Column], codes: Mapping[str, Codes], chunk: Chunk
    ) -> int:
        """Count the rows with listed values in all columns."""
        del chunk
        broken = [np.isin(codes[name], self._codes(known[name], v)) for name, v in self.values]
        return int(np.count_nonzero(np.logical_and.reduce(broken)))

    def to_dict(self) -> dict[str, object]:
        """Return `values`."""
        return {"type": self.kind, "values": {name: list(values) for name, values in self.values}}

    @classmethod
    def from_keys(cls, keys: Mapping[str, object]) -> Self:
        """Make a constraint of `values`, a list per column."""
        values = keys.get("values")
        if set(keys) != {"values"} or not isinstance(values, Mapping) or not values:
            raise SchemaError(
                "forbidden combinations have `values`, a list for each of their columns, such as "
                '{male = ["yes"], pregnant = ["yes"]}'
            )
        return cls(tuple((str(name), _texts(str(name), listed)) for name, listed in values.items()))

    def _codes(self, column: Column, texts: Sequence[str]) -> Codes:
        """Find the codes of listed values; SchemaError for one that is no code's only value."""
        return np.array(sorted({self._code(column, text) for text in texts}))

    def _code(self, column: Column, text: str) -> int:
        labels = column.labels()
        if text in labels:
            return labels.index(text)
        encoded = column.encode(Cells.of([text]))
        code = int(encoded.codes[0])
        if code < 0 or encoded.n_clipped or encoded.n_other:
            raise self.refuse(
                f"{text!r} is not {column.describe()}, and no code of {column.name!r} is named so"
            )
        low, high = code_ends(column)
        if low[code] < high[code] or (isinstance(column, CategoricalColumn) and column.groups):
            raise self.refuse(
                f"{text!r} is one of several values of the code {labels[code]!r} of "
                f"{column.name!r}, and a model tells no more apart than codes; name the code, or "
                "give the value one of its own"
            )
        return code


def constraints_from(data: object) -> tuple[Constraint, ...]:
    """Make the constraints of a parsed schema file; SchemaError for what makes no sense."""
    kinds: dict[object, type[Constraint]] = {Order.kind: Order, Forbidden.kind: Forbidden}
    if not isinstance(data, list):
        raise SchemaError("`constraints` must be a list ([[constraints]] in TOML)")
    constraints = []
    for number, entry in enumerate(data, 1):
        kind = entry.get("type") if isinstance(entry, Mapping) else None
        if kind not in kinds:
            raise SchemaError(
                f"constraint number {number} of the schema has the type {kind!r}; the types are "
                f"{', '.join(map(str, kinds))}"
            )
        keys = {key: value for key, value in entry.items() if key != "type"}
        try:
            constraints.append(kinds[kind].from_keys(keys))
        except SchemaError as error:
            raise SchemaError(f"constraint number {number} of the schema: {error}") from error
    return tuple(constraints)


def structural_zeros(
    constraints: Sequence[Constraint], columns: Sequence[Column]
) -> tuple[StructuralZeros, ...]:
    """Return the cells that constraints rule out, from the columns alone.

    A constraint that rules nothing out gives none. Raises SchemaError for one that does not fit the
    columns, allows nothing or has more than MAX_CELLS combinations, and for orders in a circle.
    """
    known = {column.name: column for column in columns}
    places = {column.name: place for place, column in enumerate(columns)}
    zeros = []
    for constraint in constraints:
        _check(constraint, known)
        allowed = constraint.allowed(known)
        if allowed.all():
            continue
        names = constraint.columns
        axes = sorted(range(len(names)), key=lambda axis: places[names[axis]])
        table = np.ascontiguousarray(allowed.transpose(axes))
        zeros.append(StructuralZeros(tuple(names[axis] for axis in axes), table.tobytes()))
    _check_circles([order for order in constraints if isinstance(order, Order)])
    return tuple(zeros)


def _check(constraint: Constraint, known: Mapping[str, Column]) -> None:
    unknown = [name for name in constraint.columns if name not in known]
    if unknown:
        raise constraint.refuse(
            f"the schema has no column {', '.join(map(repr, unknown))} that is in the model"
        )
    n_cells = math.prod(known[name].size for name in constraint.columns)
    if n_cells > MAX_CELLS:
        raise constraint.refuse(
            f"its columns have {n_cells:,} combinations, and {MAX_CELLS:,} are allowed; take "
            "coarser bins or fewer columns"
        )


def _check_circles(orders: Sequence[Order]) -> None:
    above: dict[str, set[str]] = {}
    for order in orders:
        above.setdefault(order.right, set()).add(order.left)
    try:
        graphlib.TopologicalSorter(above).prepare()
    except graphlib.CycleError as error:
        circle = " <= ".join(error.args[1])
        raise SchemaError(
            f"the constraints put columns into a circle, {circle}; remove one of these orders, or "
            "the columns that are equal to another"
        ) from None


def _cell_numbers(column: Column, codes: Codes, cells: Cells) -> FloatArray:
    """Return (n_rows,) what cells mean as numbers, NaN where their code has no order."""
    lows = np.append(code_ends(column)[0], np.nan)
    numbers = lows[np.where(codes < 0, column.size, codes)]
    if isinstance(column, BinnedColumn):
        own = ~np.isnan(numbers)
        texts = np.array([column.number_of(text) for text in cells.stripped])
        numbers[own] = texts[cells.indices[own]]
    return numbers


def _texts(name: str, values: object) -> tuple[str, ...]:
    is_sound = isinstance(values, list) and all(isinstance(v, str | int | float) for v in values)
    if not isinstance(values, list) or not values or not is_sound:
        raise SchemaError(f"`values` must list texts or numbers for {name!r}, not {values!r}")
    return tuple(str(value).strip() for value in values)
