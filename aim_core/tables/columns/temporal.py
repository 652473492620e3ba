"""Columns of days, moments, times of day and durations: whole numbers, in bins."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from fractions import Fraction
from typing import Self

import numpy as np

from aim_core.arrays import Codes
from aim_core.tables.columns.base import MAX_CODES, Values
from aim_core.tables.columns.binned import BinnedColumn, range_or_edges
from aim_core.tables.columns.bins import IntegerBins, integer_bins
from aim_core.tables.columns.calendar import UNITS, unit_starts
from aim_core.tables.columns.clock import (
    DAY_SECONDS,
    UNIT_SECONDS,
    duration_text,
    formatted_day,
    moment_text,
    parse_duration,
    parse_formatted_day,
    parse_moment,
    parse_step,
    parse_time,
    step_text,
    time_text,
    zone_of,
)
from aim_core.tables.columns.keys import ColumnKeys
from aim_core.tables.parsing import day_text, parse_day, parse_integer

DURATION_FORMS = ("days", "clock", "iso")


@dataclass(frozen=True)
class _TemporalColumn(BinnedColumn[int]):
    """Whole numbers that are written as texts.

    A value drawn within a bin is a multiple of `step`, which has the numbers' unit.
    """

    low: int | None = None
    high: int | None = None
    step: int = field(default=1, kw_only=True)
    format: str | None = field(default=None, kw_only=True)
    bins: IntegerBins = field(init=False, repr=False, compare=False)

    @abstractmethod
    def text_of(self, number: int) -> str:
        """Write a number as the column's values are written."""

    @property
    def grid(self) -> Fraction:
        """`step`."""
        return Fraction(self.step)

    def _take_steps(self, bins: IntegerBins) -> None:
        """Take the bins; SchemaError for one without a multiple of the step."""
        if (empty := bins.without_multiple(self.step)) is not None:
            low, high = map(self.text_of, bins.intervals()[empty])
            raise self._refuse(f"its bin from {low} to {high} has no multiple of `step`")
        self._take(bins)
        first = int(bins.starts[0])
        if self._number_of(self.text_of(first)) != first:
            raise self._refuse(
                f"its `format` writes the first value as {self.text_of(first)!r}, which does not "
                "read back as the same; give a format that says all, such as %d.%m.%Y"
            )

    def _values_of(self, codes: Codes, generator: np.random.Generator) -> Values:
        numbers, rows = np.unique(self.bins.draw(codes, generator, self.step), return_inverse=True)
        return np.array([self._value_of(int(number)) for number in numbers], dtype=object)[rows]

    def _value_of(self, number: int) -> object:
        return self.text_of(number)

    def _label(self, number: float) -> str:
        return self.text_of(int(number))

    def describe(self) -> str:
        """Say which values fit."""
        limits = self.bins.intervals()
        first, last = self.text_of(limits[0][0]), self.text_of(limits[-1][1])
        return f"a {self.kind} from {first} to {last} written like {first}"

    def _cut_keys(
        self, plain: Callable[[int], str], edges: tuple[int, ...] | None, **cut: object
    ) -> dict[str, object]:
        """Return the keys of the bins, their numbers written by `plain`."""
        if edges is not None:
            return {"edges": [plain(number) for number in edges]}
        limits = {"min": self.low, "max": self.high}
        return {key: plain(n) for key, n in limits.items() if n is not None} | cut

    def _format_key(self) -> dict[str, object]:
        return {} if self.format is None else {"format": self.format}


@dataclass(frozen=True)
class DateColumn(_TemporalColumn):
    """Days: bin `edges`, or `low` to `high` (day numbers) cut at calendar units.

    Weeks begin on Monday. The first and the last bin are cut off at `low` and `high`. Without a
    `format` days are ISO dates, and a time of day after one is not looked at.
    """

    kind = "date"
    unit: str | None = None
    edges: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        low, high = range_or_edges(self.name, self.low, self.high, self.edges, self.unit)
        if self.edges is not None:
            starts = list(self.edges[:-1])
        elif self.unit in UNITS:
            starts = list(unit_starts(low, high, self.unit))
        else:
            raise self._refuse(f"`unit` must be one of {', '.join(UNITS)}, not {self.unit!r}")
        self._take_steps(IntegerBins(np.array(starts, dtype=np.int64), high))

    def with_edges(self, edges: Sequence[Fraction]) -> Self:
        """Return this column with other bins, whose edges are day numbers."""
        return replace(self, low=None, high=None, unit=None, edges=tuple(map(int, edges)))

    def _number_of(self, text: str) -> int | None:
        return parse_day(text) if self.format is None else parse_formatted_day(text, self.format)

    def text_of(self, number: int) -> str:
        """Write a number as the column's values are written."""
        return day_text(number) if self.format is None else formatted_day(number, self.format)

    def _keys(self) -> dict[str, object]:
        cut = self._cut_keys(day_text, self.edges, unit=self.unit)
        return {**cut, **self._format_key(), **self._clip_key()}

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `edges`, or of `min`, `max` and `unit`; and of `format` and `clip`."""
        low, high, edges = keys.day("min"), keys.day("max"), keys.days("edges")
        unit = keys.text("unit") if edges is None else None
        form, clip = keys.optional_text("format"), keys.flag("clip")
        return cls(keys.column, False, low, high, unit, edges, format=form, clip=clip)


@dataclass(frozen=True)
class DatetimeColumn(_TemporalColumn):
    """Moments: wall time in `zone` (None: no zone), cut at units from a second to a year.

    `low`, `high` and `edges` are seconds since the beginning of the year 1. Without a `format`
    they are written as ISO 8601 says.
    """

    kind = "datetime"
    unit: str | None = None
    edges: tuple[int, ...] | None = None
    zone: str | None = field(default=None, kw_only=True)
    _zone: tzinfo | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        zone = None if self.zone is None else zone_of(self.zone)
        if zone is None and self.zone is not None:
            raise self._refuse(
                f"there is no time zone {self.zone!r}; give a name such as UTC or Europe/Berlin, "
                "or an offset such as +02:00"
            )
        object.__setattr__(self, "_zone", zone)
        low, high = range_or_edges(self.name, self.low, self.high, self.edges, self.unit)
        starts = self.edges[:-1] if self.edges is not None else self._unit_starts(low, high)
        self._take_steps(IntegerBins(np.array(starts, dtype=np.int64), high))

    def _unit_starts(self, low: int, high: int) -> list[int]:
        """Return `low` and where the units after it begin."""
        if self.unit in UNIT_SECONDS:
            size = UNIT_SECONDS[self.unit]
            if (high - low) // size > MAX_CODES:
                raise self._refuse(f"it would have more than {MAX_CODES} codes; take a larger unit")
            return [low, *range((low // size + 1) * size, high + 1, size)]
        if self.unit not in UNITS:
            units = ", ".join((*UNIT_SECONDS, *UNITS))
            raise self._refuse(f"`unit` must be one of {units}, not {self.unit!r}")
        days = unit_starts(low // DAY_SECONDS + 1, high // DAY_SECONDS + 1, self.unit)
        return [low, *((day - 1) * DAY_SECONDS for day in days if (day - 1) * DAY_SECONDS > low)]

    def with_edges(self, edges: Sequence[Fraction]) -> Self:
        """Return this column with other bins, whose edges are seconds since the year 1."""
        return replace(self, low=None, high=None, unit=None, edges=tuple(map(int, edges)))

    def _number_of(self, text: str) -> int | None:
        return parse_moment(text, self.format, self._zone)

    def text_of(self, number: int) -> str:
        """Write a number as the column's values are written."""
        return moment_text(number, self.format, self._zone)

    def _keys(self) -> dict[str, object]:
        cut = self._cut_keys(lambda n: moment_text(n, None, None), self.edges, unit=self.unit)
        zone = {} if self.zone is None else {"zone": self.zone}
        step = {"step": step_text(self.step)}
        return {**cut, **step, **zone, **self._format_key(), **self._clip_key()}

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `edges`, or `min`, `max`, `unit`; `step`, `zone`, `format`, `clip`."""

        def wall_time(text: str) -> int | None:
            return parse_moment(text, None, None)

        example = "wall times like 2024-01-31T17:30:00, without a zone"
        low, high = keys.read("min", wall_time, example), keys.read("max", wall_time, example)
        edges = keys.read_all("edges", wall_time, example)
        unit = keys.text("unit") if edges is None else None
        step = keys.read("step", parse_step, "a step like 1s, 15min, 1h or 1d") or 1
        zone, form = keys.optional_text("zone"), keys.optional_text("format")
        clip = keys.flag("clip")
        return cls(
            keys.column, False, low, high, unit, edges,
            step=step, zone=zone, format=form, clip=clip,
        )  # fmt: skip


@dataclass(frozen=True)
class _SpanColumn(_TemporalColumn):
    """Seconds: bin `edges`, or `low` to `high` in `n_bins` bins whose sizes hardly differ."""

    n_bins: int | None = None
    edges: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        low, high = range_or_edges(self.name, self.low, self.high, self.edges, self.n_bins)
        if self.edges is not None:
            self._take_steps(IntegerBins(np.array(self.edges[:-1], dtype=np.int64), high))
            return
        n_steps = high // self.step - low // self.step + 1
        if self.n_bins is None or not 1 <= self.n_bins <= n_steps:
            raise self._refuse(f"give `bins` between 1 and {n_steps}, the number of steps")
        steps = integer_bins(low // self.step, high // self.step, self.n_bins)
        starts = steps.starts * self.step
        starts[0] = low
        self._take_steps(IntegerBins(starts, high))

    def with_edges(self, edges: Sequence[Fraction]) -> Self:
        """Return this column with other bins, whose edges are seconds."""
        return replace(self, low=None, high=None, n_bins=None, edges=tuple(map(int, edges)))

    def _plain(self, number: int) -> str:
        """Write a number as the keys of the schema have it."""
        return self.text_of(number)

    def _keys(self) -> dict[str, object]:
        cut = self._cut_keys(self._plain, self.edges, bins=self.n_bins)
        step = {"step": step_text(self.step)}
        return {**cut, **step, **self._format_key(), **self._clip_key()}

    @classmethod
    def _from_spans(
        cls, keys: ColumnKeys, parse: Callable[[str], int | None], example: str
    ) -> Self:
        low, high = keys.read("min", parse, example), keys.read("max", parse, example)
        n_bins, edges = keys.integer("bins"), keys.read_all("edges", parse, example)
        step = keys.read("step", parse_step, "a step like 1s, 15min, 1h or 1d") or 1
        form, clip = keys.optional_text("format"), keys.flag("clip")
        return cls(keys.column, False, low, high, n_bins, edges, step=step, format=form, clip=clip)


@dataclass(frozen=True)
class TimeColumn(_SpanColumn):
    """Times of day in seconds since midnight.

    Without a `format` they are written like 17:30:00; the format `hhmm` is the number 1730.
    """

    kind = "time"

    def _number_of(self, text: str) -> int | None:
        return parse_time(text, self.format)

    def text_of(self, number: int) -> str:
        """Write a number as the column's values are written."""
        return time_text(number, self.format)

    def _value_of(self, number: int) -> object:
        text = self.text_of(number)
        return int(text) if self.format == "hhmm" else text

    def _special_value(self, text: str) -> object:
        whole = parse_integer(text)
        return text if whole is None or self.format != "hhmm" else whole

    def _plain(self, number: int) -> str:
        return time_text(number, None)

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `edges`, or `min`, `max` and `bins`; and of `step`, `format`, `clip`."""
        return cls._from_spans(keys, lambda text: parse_time(text, None), "times like 17:30:00")


@dataclass(frozen=True)
class DurationColumn(_SpanColumn):
    """Durations in seconds, written in a form of `DURATION_FORMS` (`days`: 1 days 02:03:04)."""

    kind = "duration"

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in DURATION_FORMS:
            raise self._refuse(
                f"`format` must be one of {', '.join(DURATION_FORMS)}, not {self.format!r}"
            )
        super().__post_init__()

    def _number_of(self, text: str) -> int | None:
        return parse_duration(text)

    def text_of(self, number: int) -> str:
        """Write a number as the column's values are written."""
        return duration_text(number, self.format or DURATION_FORMS[0])

    @classmethod
    def from_keys(cls, keys: ColumnKeys) -> Self:
        """Make a column of `edges`, or `min`, `max` and `bins`; and of `step`, `format`, `clip`."""
        return cls._from_spans(keys, parse_duration, "durations like 1 days 02:03:04 or 26:03:04")
