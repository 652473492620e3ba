"""Drafting a schema from a table: a start for review, not yet public.

Everything drafted is marked in the file: categories and ranges were read from the data, and a
schema is published, so its owner replaces them by what is publicly known.
"""

import itertools
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

from aim_core.errors import SchemaError
from aim_core.tables.column_profile import MAX_DECIMALS, ColumnProfile
from aim_core.tables.columns.base import Column, loose_text
from aim_core.tables.columns.calendar import UNITS, next_unit, unit_start, unit_starts
from aim_core.tables.columns.listed import FALSE_TEXTS, TRUE_TEXTS, BooleanColumn, CategoricalColumn
from aim_core.tables.columns.numbers import ContinuousColumn, IntegerColumn
from aim_core.tables.columns.temporal import DateColumn
from aim_core.tables.files.formats import TableSource
from aim_core.tables.files.reading import read_chunks
from aim_core.tables.schema import Schema
from aim_core.tables.toml import toml_text

N_BINS = 32
MAX_CATEGORIES = 100
_MIN_RUNNING = 20

_HEADER = """DRAFT SCHEMA - NOT PRIVATE UNTIL REVIEWED.
A schema is public: all parties see it, and it is not protected by differential privacy.
Each entry marked "taken from the data" was read from this table and may reveal a person
(a rare category, an extreme value). Replace it by what is publicly known, for example the code
book's categories or a range that holds for anybody, then remove the mark.
At the end remove `draft = true`."""


@dataclass(frozen=True)
class DraftedSchema:
    """A drafted schema, what to review per column, and why columns were left out."""

    schema: Schema
    notes: dict[str, str]
    dropped: dict[str, str]

    def to_toml(self) -> str:
        """Write the draft with its marks as comments; `load_schema` reads it."""
        reasons = [f"{name}: {reason}" for name, reason in self.dropped.items()]
        notes = enumerate(self.notes[column.name] for column in self.schema.columns)
        return toml_text(
            self.schema.to_dict(),
            {
                (): _HEADER,
                ("drop",): "\n".join(["Ignored columns of the table:", *reasons]),
                **{("columns", number): note for number, note in notes},
            },
        )


def draft_schema(
    source: TableSource | Path | str, bins: int = N_BINS, max_categories: int = MAX_CATEGORIES
) -> DraftedSchema:
    """Infer columns from a table, read in chunks with bounded memory.

    A column of texts with more than `max_categories` different values, a running number and a
    column without values are dropped, with the reason. Raises SchemaError if nothing is left or
    `bins` or `max_categories` is below 1, and TableError as `read_chunks` does.
    """
    if bins < 1 or max_categories < 1:
        raise SchemaError("a draft needs at least 1 bin and 1 category; give larger numbers")
    profiles: dict[str, ColumnProfile] = {}
    for chunk in read_chunks(source):
        for name, cells in chunk.items():
            profiles.setdefault(name, ColumnProfile(name, max_categories)).add(cells)
    columns, notes, dropped = [], {}, {}
    for name, profile in profiles.items():
        reason = _reason_to_drop(profile)
        if reason:
            dropped[name] = reason
            continue
        column, note = _column(profile, bins)
        columns.append(column)
        notes[name] = note
    if not columns:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in dropped.items())
        raise SchemaError(
            f"no column of {TableSource.of(source).path} can be drafted ({reasons}); "
            "write a schema by hand"
        )
    return DraftedSchema(Schema(tuple(columns), tuple(dropped), draft=True), notes, dropped)


def _reason_to_drop(profile: ColumnProfile) -> str:
    """Say why the column is of no use; the empty text if it is of use."""
    if not profile.n_present:
        return "it has no values"
    if profile.integers and profile.is_running and profile.n_present >= _MIN_RUNNING:
        return "a running number, which says nothing about a row"
    typed = profile.integers or profile.numbers or profile.days
    if not typed and len(profile.categories) > profile.max_categories:
        return (
            f"more than {profile.max_categories} different texts, like names or identifiers "
            "(or numbers among other texts: clean those and draft again)"
        )
    return ""


def _column(profile: ColumnProfile, bins: int) -> tuple[Column, str]:
    """Choose the column's type; returns it with the note for its reviewer."""
    missing = profile.n_missing > 0
    seen = "; so is that there are missing values" if missing else ""
    pair = _boolean_pair(profile)
    if pair:
        note = "boolean; its spellings are taken from the data"
        return BooleanColumn(profile.name, missing, *pair), note + seen
    if profile.days:
        return _date(profile, bins, missing), "min and max are taken from the data" + seen
    if profile.integers:
        return _integer(profile, bins, missing), "min and max are taken from the data" + seen
    if profile.numbers:
        return _continuous(profile, bins, missing), "min and max are taken from the data" + seen
    distinct = {loose_text(text): text for text in sorted(profile.categories, reverse=True)}
    values = tuple(sorted(distinct.values()))
    return CategoricalColumn(profile.name, missing, values), "values are taken from the data" + seen


def _boolean_pair(profile: ColumnProfile) -> tuple[tuple[str], tuple[str]] | None:
    spelled = {loose_text(text).casefold(): text for text in sorted(profile.categories)}
    for true, false in zip(TRUE_TEXTS, FALSE_TEXTS, strict=True):
        if set(spelled) == {true, false}:
            return (spelled[true],), (spelled[false],)
    return None


def _date(profile: ColumnProfile, bins: int, missing: bool) -> DateColumn:
    low, high = profile.days or (1, 1)
    unit = next((unit for unit in UNITS if _n_units(low, high, unit, bins) <= bins), UNITS[-1])
    return DateColumn(profile.name, missing, unit_start(low, unit), next_unit(high, unit) - 1, unit)


def _integer(profile: ColumnProfile, bins: int, missing: bool) -> IntegerColumn:
    low, high = profile.integers or (0, 0)
    if high - low < bins:
        return IntegerColumn(profile.name, missing, low, high)
    low, high = (int(limit) for limit in _outwards(Decimal(low), Decimal(high), whole=True))
    return IntegerColumn(profile.name, missing, low, high, bins)


def _continuous(profile: ColumnProfile, bins: int, missing: bool) -> ContinuousColumn:
    low, high = (Decimal(str(limit)) for limit in profile.numbers or (0, 1))
    low, high = _outwards(low, high, whole=False)
    decimals = profile.n_decimals if profile.n_decimals <= MAX_DECIMALS else None
    return ContinuousColumn(profile.name, missing, float(low), float(high), bins, decimals=decimals)


def _n_units(low: int, high: int, unit: str, enough: int) -> int:
    """Count calendar units, at most one more than `enough`: there may be millions of days."""
    return sum(1 for _ in itertools.islice(unit_starts(low, high, unit), enough + 1))


def _outwards(low: Decimal, high: Decimal, *, whole: bool) -> tuple[Decimal, Decimal]:
    """Round a range outwards to limits with about two digits of the range's width."""
    width = (high - low) or abs(high) or Decimal(1)
    unit = Decimal(1).scaleb(width.adjusted() - 1)
    if whole:
        unit = max(unit, Decimal(1))
    nice_low = (low / unit).to_integral_value(ROUND_FLOOR) * unit
    nice_high = (high / unit).to_integral_value(ROUND_CEILING) * unit
    return nice_low, nice_high if nice_high > nice_low else nice_high + unit
