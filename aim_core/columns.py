"""Types of columns: what values a column may hold and which code each value has."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from aim_core.bins import (
    MISFIT,
    Codes,
    IntegerBins,
    RealBins,
    integer_bins,
    natural_decimals,
    real_bins,
)
from aim_core.days import UNITS, unit_starts
from aim_core.errors import SchemaError
from aim_core.settings import ColumnSettings
from aim_core.texts import (
    MISSING_TEXTS,
    Texts,
    day_text,
    parse_day,
    parse_integer,
    parse_number,
    plain_number,
)

Number = TypeVar("Number", int, float)

ABSENT = -2
"""What `Column.encode` returns for a missing value that has no code."""

MAX_CODES = 1_000_000
"""Most codes that one column may have."""

TRUE_TEXTS = ("true", "t", "yes", "y", "1")
FALSE_TEXTS = ("false", "f", "no", "n", "0")


@dataclass(frozen=True)
class Column(ABC):
    """A column of the schema. A missing value has the last code, where `missing` is true."""

    kind: ClassVar[str]
    dtypes: ClassVar[tuple[str, str]] = ("object", "object")

    name: str
    missing: bool

    @abstractmethod
    def _count(self) -> int:
        """Count the codes without the one for missing."""

    @abstractmethod
    def _codes_of(self, texts: Sequence[str]) -> Codes:
        """Find the codes of stripped texts, `MISFIT` where a text does not fit."""

    @abstractmethod
    def _values_of(
        self, codes: Codes, generator: np.random.Generator
    ) -> npt.NDArray[np.object_ | np.int64 | np.float64]:
        """Turn codes below `n_values` into values, drawn within bins."""

    @abstractmethod
    def _limits(self) -> str:
        """Say what values fit, for error texts."""

    @abstractmethod
    def _keys(self) -> dict[str, object]:
        """Return this type's own keys as a schema file has them."""

    def __post_init__(self) -> None:
        if not 1 <= self.n_values <= MAX_CODES:
            raise self._refuse(
                f"it would have {self.n_values} codes; a column has 1 to {MAX_CODES}, "
                "so list at least one value, or use fewer and wider bins"
            )

    @property
    def n_values(self) -> int:
        """Number of codes, not counting the one for missing."""
        return self._count()

    @property
    def size(self) -> int:
        """Number of codes, with the one for missing."""
        return self.n_values + self.missing

    def encode(self, texts: Texts) -> Codes:
        """Code a column of texts.

        Returns (n,) codes, `MISFIT` for a value that does not fit and `ABSENT` for a missing one
        that has no code.
        """
        places, distinct = pd.factorize(texts)
        stripped = [str(text).strip() for text in distinct]
        codes = self._codes_of(stripped)
        blank = np.array([text in MISSING_TEXTS for text in stripped], dtype=bool)
        absent = self.n_values if self.missing else ABSENT
        codes[blank & (codes == MISFIT)] = absent
        # factorize marks None with place -1, which picks the entry appended here
        return np.append(codes, np.int32(absent))[places]

    def decode(self, codes: Codes, generator: np.random.Generator) -> "pd.Series[Any]":
        """Turn (n,) codes into values of the column's type; missing becomes null."""
        absent = codes >= self.n_values
        values = self._values_of(np.where(absent, 0, codes), generator)
        series = pd.Series(values, name=self.name, dtype=self.dtypes[self.missing])
        return series.mask(absent) if absent.any() else series

    def describe(self) -> str:
        """Say what values fit, for error texts."""
        return self._limits()

    def settings(self) -> dict[str, object]:
        """Return the keys that a schema file has for this column, its name first."""
        missing = {"missing": True} if self.missing else {}
        return {"name": self.name, "type": self.kind, **self._keys(), **missing}

    def _refuse(self, text: str) -> SchemaError:
        return SchemaError(f"column {self.name!r}: {text}")


@dataclass(frozen=True)
class CategoricalColumn(Column):
    """Listed values; `1`, `1.0` and a Parquet integer 1 are the same category."""

    kind = "categorical"
    values: tuple[str, ...]
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        exact = {value: code for code, value in enumerate(self.values)}
        loose = {loose_text(value): code for code, value in enumerate(self.values)}
        if len(loose) < len(self.values) or "" in exact:
            raise self._refuse(
                "its values must be distinct and not empty (`1` and `1.0` are the same, "
                "an empty cell is a missing value); remove the repeated or empty one"
            )
        object.__setattr__(self, "_codes", loose | exact)

    def _count(self) -> int:
        return len(self.values)

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return _looked_up(texts, self._codes, loose_text)

    def _values_of(
        self, codes: Codes, generator: np.random.Generator
    ) -> npt.NDArray[np.object_ | np.int64 | np.float64]:
        del generator
        return np.array(self.values, dtype=object)[codes]

    def _limits(self) -> str:
        return f"one of the {self.n_values} listed categories"

    def _keys(self) -> dict[str, object]:
        return {"values": list(self.values)}


@dataclass(frozen=True)
class BooleanColumn(Column):
    """No (code 0) or yes (code 1), in any case; the first spelling is written on decoding."""

    kind = "boolean"
    true: tuple[str, ...] = TRUE_TEXTS
    false: tuple[str, ...] = FALSE_TEXTS
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        spellings = [loose_text(text).casefold() for text in (*self.false, *self.true)]
        if not self.true or not self.false or len(set(spellings)) < len(spellings):
            raise self._refuse(
                "`true` and `false` must each list a spelling, and none may occur twice "
                "(upper and lower case are the same)"
            )
        codes = {text: int(place >= len(self.false)) for place, text in enumerate(spellings)}
        object.__setattr__(self, "_codes", codes)

    def _count(self) -> int:
        return 2

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return _looked_up(texts, self._codes, lambda text: loose_text(text).casefold())

    def _values_of(
        self, codes: Codes, generator: np.random.Generator
    ) -> npt.NDArray[np.object_ | np.int64 | np.float64]:
        del generator
        return np.array([self.false[0], self.true[0]], dtype=object)[codes]

    def _limits(self) -> str:
        return f"a boolean ({', '.join((*self.true, *self.false))})"

    def _keys(self) -> dict[str, object]:
        return {"true": list(self.true), "false": list(self.false)}


@dataclass(frozen=True)
class CodedColumn(Column):
    """Values that are codes already: 0 up to `n_codes` - 1."""

    kind = "coded"
    dtypes = ("int64", "Int64")
    n_codes: int

    def _count(self) -> int:
        return self.n_codes

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        bins = IntegerBins(np.arange(self.n_codes, dtype=np.int64), self.n_codes - 1)
        return bins.codes([parse_integer(text) for text in texts])

    def _values_of(
        self, codes: Codes, generator: np.random.Generator
    ) -> npt.NDArray[np.object_ | np.int64 | np.float64]:
        del generator
        return codes.astype(np.int64)

    def _limits(self) -> str:
        return f"a code from 0 to {self.n_codes - 1}"

    def _keys(self) -> dict[str, object]:
        return {"size": self.n_codes}


@dataclass(frozen=True)
class IntegerColumn(Column):
    """Whole numbers: `edges`, or `low` to `high` with a code each or cut into `n_bins` bins."""

    kind = "integer"
    dtypes = ("int64", "Int64")
    low: int | None = None
    high: int | None = None
    n_bins: int | None = None
    edges: tuple[int, ...] | None = None
    bins: IntegerBins = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = _range_or_edges(self.name, self.low, self.high, self.edges, self.n_bins)
        width = high - low + 1
        if self.edges is None and not 1 <= (self.n_bins or width) <= min(width, MAX_CODES):
            raise self._refuse(
                f"{self.n_bins or width} bins do not suit the {width} numbers from {low} to "
                f"{high}; give `bins` between 1 and {min(width, MAX_CODES)}"
            )
        if self.edges is None:
            bins = integer_bins(low, high, self.n_bins or width)
        else:
            bins = IntegerBins(np.array(self.edges[:-1], dtype=np.int64), high)
        object.__setattr__(self, "bins", bins)
        super().__post_init__()

    def _count(self) -> int:
        return self.bins.n_bins

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return self.bins.codes([parse_integer(text) for text in texts])

    def _values_of(
        self, codes: Codes, generator: np.random.Generator
    ) -> npt.NDArray[np.object_ | np.int64 | np.float64]:
        return self.bins.draw(codes, generator)

    def _limits(self) -> str:
        return f"a whole number from {self.bins.starts[0]} to {self.bins.last}"

    def _keys(self) -> dict[str, object]:
        if self.edges is not None:
            return {"edges": list(self.edges)}
        bins = {} if self.n_bins is None else {"bins": self.n_bins}
        return {"min": self.low, "max": self.high, **bins}


@dataclass(frozen=True)
class ContinuousColumn(Column):
    """Real numbers: bin `edges`, or `low` to `high` cut into `n_bins` bins of equal width.

    Decoding draws within the bin, with `decimals` decimals (by default a hundredth of a bin).
    """

    kind = "continuous"
    dtypes = ("float64", "float64")
    low: float | None = None
    high: float | None = None
    n_bins: int | None = None
    edges: tuple[float, ...] | None = None
    decimals: int | None = None
    bins: RealBins = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = _range_or_edges(self.name, self.low, self.high, self.edges, self.n_bins)
        if self.edges is not None:
            bins = RealBins(np.array(self.edges))
        elif low < high and self.n_bins is not None and 1 <= self.n_bins <= MAX_CODES:
            bins = real_bins(low, high, self.n_bins)
        else:
            raise self._refuse(
                f"give `min` < `max` and `bins` from 1 to {MAX_CODES} (the number of codes)"
            )
        if not bool(np.all(np.diff(bins.edges) > 0)):
            raise self._refuse("its bins are too narrow for double precision; use fewer bins")
        if self.decimals is not None and not 0 <= self.decimals <= 15:
            raise self._refuse(f"`decimals` must be from 0 to 15, not {self.decimals}")
        object.__setattr__(self, "bins", bins)
        super().__post_init__()

    def _count(self) -> int:
        return self.bins.n_bins

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        numbers = np.array([parse_number(text) for text in texts], dtype=np.float64)
        return self.bins.codes(numbers)

    def _values_of(
        self, codes: Codes, generator: np.random.Generator
    ) -> npt.NDArray[np.object_ | np.int64 | np.float64]:
        decimals = natural_decimals(self.bins) if self.decimals is None else self.decimals
        return self.bins.draw(codes, generator, decimals)

    def _limits(self) -> str:
        return f"a number from {self.bins.edges[0]:g} to {self.bins.edges[-1]:g}"

    def _keys(self) -> dict[str, object]:
        decimals = {} if self.decimals is None else {"decimals": self.decimals}
        if self.edges is not None:
            return {"edges": list(self.edges), **decimals}
        return {"min": self.low, "max": self.high, "bins": self.n_bins, **decimals}


@dataclass(frozen=True)
class DateColumn(Column):
    """Days: bin `edges`, or `low` to `high` (day numbers) cut at calendar units.

    Weeks begin on Monday. The first and the last bin are cut off at `low` and `high`.
    """

    kind = "date"
    low: int | None = None
    high: int | None = None
    unit: str | None = None
    edges: tuple[int, ...] | None = None
    bins: IntegerBins = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = _range_or_edges(self.name, self.low, self.high, self.edges, self.unit)
        if self.edges is not None:
            starts = list(self.edges[:-1])
        elif self.unit in UNITS:
            starts = unit_starts(low, high, self.unit)
        else:
            raise self._refuse(f"`unit` must be one of {', '.join(UNITS)}, not {self.unit!r}")
        object.__setattr__(self, "bins", IntegerBins(np.array(starts, dtype=np.int64), high))
        super().__post_init__()

    def _count(self) -> int:
        return self.bins.n_bins

    def _codes_of(self, texts: Sequence[str]) -> Codes:
        return self.bins.codes([parse_day(text) for text in texts])

    def _values_of(
        self, codes: Codes, generator: np.random.Generator
    ) -> npt.NDArray[np.object_ | np.int64 | np.float64]:
        days = self.bins.draw(codes, generator)
        return np.array([day_text(int(day)) for day in days], dtype=object)

    def _limits(self) -> str:
        first, last = day_text(int(self.bins.starts[0])), day_text(self.bins.last)
        return f"a date from {first} to {last} written like {first}"

    def _keys(self) -> dict[str, object]:
        if self.edges is not None:
            return {"edges": [day_text(day) for day in self.edges]}
        limits = {"min": self.low, "max": self.high}
        return {key: day_text(day) for key, day in limits.items() if day is not None} | {
            "unit": self.unit
        }


def loose_text(text: str) -> str:
    """Return one text for all spellings of a number, or of true and false."""
    folded = text.casefold()
    return folded if folded in ("true", "false") else plain_number(text) or text


def _looked_up(
    texts: Sequence[str], codes: Mapping[str, int], loosen: Callable[[str], str]
) -> Codes:
    found = [codes.get(text, codes.get(loosen(text), MISFIT)) for text in texts]
    return np.array(found, dtype=np.int32)


def _range_or_edges(
    name: str,
    low: Number | None,
    high: Number | None,
    edges: tuple[Number, ...] | None,
    cut: int | str | None,
) -> tuple[Number, Number]:
    """Return the limits; SchemaError unless there are either rising edges or low <= high."""
    if edges is not None:
        rising = len(edges) >= 2 and all(a < b for a, b in itertools.pairwise(edges))
        if not rising or not (low is None and high is None and cut is None):
            raise SchemaError(
                f"column {name!r}: `edges` must rise strictly, be at least two and stand alone "
                "(without `min`, `max`, `bins` or `unit`)"
            )
        return edges[0], edges[-1]
    if low is None or high is None or low > high:
        raise SchemaError(
            f"column {name!r}: give `min` and `max` with `min` <= `max`, or a list `edges`; "
            "they are public, so take them from what is known, not from the data"
        )
    return low, high


def _categorical(settings: ColumnSettings, name: str, missing: bool) -> Column:
    values = settings.labels("values")
    if values is None:
        raise settings.refuse("a categorical column needs `values`, the list of its categories")
    return CategoricalColumn(name, missing, values)


def _boolean(settings: ColumnSettings, name: str, missing: bool) -> Column:
    true, false = settings.labels("true"), settings.labels("false")
    if true is None and false is None:
        return BooleanColumn(name, missing)
    return BooleanColumn(name, missing, true or (), false or ())


def _coded(settings: ColumnSettings, name: str, missing: bool) -> Column:
    return CodedColumn(name, missing, settings.integer("size") or 0)


def _integer(settings: ColumnSettings, name: str, missing: bool) -> Column:
    low, high = settings.integer("min"), settings.integer("max")
    n_bins, edges = settings.integer("bins"), settings.integers("edges")
    return IntegerColumn(name, missing, low, high, n_bins, edges)


def _continuous(settings: ColumnSettings, name: str, missing: bool) -> Column:
    low, high = settings.number("min"), settings.number("max")
    n_bins, edges = settings.integer("bins"), settings.numbers("edges")
    return ContinuousColumn(name, missing, low, high, n_bins, edges, settings.integer("decimals"))


def _date(settings: ColumnSettings, name: str, missing: bool) -> Column:
    low, high, edges = settings.day("min"), settings.day("max"), settings.days("edges")
    unit = settings.text("unit") if edges is None else None
    return DateColumn(name, missing, low, high, unit, edges)


_MAKERS = {
    "categorical": _categorical,
    "integer": _integer,
    "continuous": _continuous,
    "date": _date,
    "boolean": _boolean,
    "coded": _coded,
}


def column_from_settings(name: str, keys: Mapping[str, object]) -> Column:
    """Make a column of the keys that a schema file has for it (all but its name).

    Raises SchemaError for an unknown type, an unknown key, or keys that contradict each other.
    """
    settings = ColumnSettings(name, keys)
    kind = settings.text("type")
    if kind not in _MAKERS:
        raise settings.refuse(f"unknown type {kind!r}; the types are {', '.join(_MAKERS)}")
    missing = settings.flag("missing")
    column = _MAKERS[kind](settings, name, missing)
    settings.finish(kind)
    return column
