"""Drafting a schema from a table: a start for review, not yet public.

Everything drafted is marked in the file: categories and ranges were read from the data, and a
schema is published, so its owner replaces them by what is publicly known.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from aim_core.errors import SchemaError
from aim_core.tables.cells import Chunk
from aim_core.tables.column_profile import NO_VALUES, ColumnProfile
from aim_core.tables.columns.base import Column, loose_text
from aim_core.tables.columns.listed import (
    FALSE_TEXTS,
    TRUE_TEXTS,
    BooleanColumn,
    CategoricalColumn,
)
from aim_core.tables.files.formats import TableSource
from aim_core.tables.files.reading import read_chunks
from aim_core.tables.numbers_draft import draft_numbers
from aim_core.tables.schema import Schema
from aim_core.tables.schema_file import save_schema
from aim_core.tables.times_draft import MIN_TIMES, draft_times
from aim_core.tables.toml import toml_text

N_BINS = 32
MAX_CATEGORIES = 100
_MIN_RUNNING = 20
_MIN_PERSONS = 10
_MAX_ODD = 10
_PLACEHOLDERS = frozenset({".", "?", "-", "--", "*"})

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

    def save(self, path: Path | str) -> None:
        """Write a schema file: JSON, which has no comments, where the name ends so, else TOML."""
        path = Path(path)
        if path.suffix.lower() == ".json":
            save_schema(self.schema, path)
        else:
            path.write_text(self.to_toml(), encoding="utf-8")


def draft_schema(
    source: TableSource | Path | str, bins: int = N_BINS, max_categories: int = MAX_CATEGORIES
) -> DraftedSchema:
    """Draft a schema from a table's file; raises as `draft_of_chunks` and `read_chunks` do."""
    return draft_of_chunks(read_chunks(source), bins, max_categories)


def draft_of_chunks(
    chunks: Iterable[Chunk], bins: int = N_BINS, max_categories: int = MAX_CATEGORIES
) -> DraftedSchema:
    """Infer columns from the chunks of a table, with bounded memory.

    A column of texts with more than `max_categories` different values, a running number and a
    column without values are dropped, with the reason. Raises SchemaError if nothing is left or
    `bins` or `max_categories` is below 1.
    """
    if bins < 1 or max_categories < 1:
        raise SchemaError("a draft needs at least 1 bin and 1 category; give larger numbers")
    profiles: dict[str, ColumnProfile] = {}
    for chunk in chunks:
        for name, cells in chunk.items():
            profiles.setdefault(name, ColumnProfile(name)).add(cells)
    columns, notes, dropped = [], {}, {}
    for name, profile in profiles.items():
        reason = _no_use(profile)
        typed = None if reason else _typed(profile, bins)
        if typed is None:
            reason = reason or _too_telling(profile, max_categories)
        if reason:
            dropped[name] = reason
            continue
        column, notes[name] = _column(profile, typed)
        columns.append(column)
    if not columns:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in dropped.items())
        raise SchemaError(
            f"no column of the table can be drafted ({reasons}); write a schema by hand"
        )
    return DraftedSchema(Schema(tuple(columns), tuple(dropped), draft=True), notes, dropped)


def _too_telling(profile: ColumnProfile, max_categories: int) -> str:
    """Say why a column of texts is too close to persons; the empty text if it may stay."""
    n_rows, texts = profile.n_present, profile.counts
    if len(texts) > max_categories or not profile.is_complete:
        return (
            f"more than {max_categories} different texts, like names or identifiers "
            "(or numbers among other texts: clean those and draft again)"
        )
    n_single = sum(n == 1 for n in texts.values())
    near_unique = n_rows >= _MIN_PERSONS and 2 * n_single > n_rows
    return "most rows have a text of their own, like names or free text" if near_unique else ""


def _no_use(profile: ColumnProfile) -> str:
    """Say that there are no values, or identifiers in whole numbers; else the empty text."""
    if not profile.n_present:
        return "it has no values"
    if not profile.integers or profile.n_odd or profile.n_present < _MIN_RUNNING:
        return ""
    if profile.is_running:
        return "a running number, which says nothing about a row"
    low, high = profile.integers
    all_differ = profile.is_complete and len(profile.counts) == profile.n_present
    if all_differ and 5 * (high - low) < 6 * profile.n_present and not profile.n_missing:
        return "different whole numbers in every row, like shuffled identifiers"
    return ""


def _typed(profile: ColumnProfile, bins: int) -> tuple[Column, str] | None:
    """Draft a column of times or numbers, with its note; None for one of texts."""
    missing = profile.n_missing > 0
    texts = [text for text in profile.counts if text not in NO_VALUES]
    if not texts or _boolean_pair(profile):
        return None
    may_be_times = profile.n_odd or len(texts) >= MIN_TIMES
    if may_be_times and (column := draft_times(profile.name, missing, texts, bins)):
        return column, f"{column.kind}: min, max and format are taken from the data"
    if 20 * profile.n_odd > profile.n_present or len(profile.odd) > _MAX_ODD:
        return None
    counts: Counter[Decimal] = Counter()
    for text in texts:
        if text not in profile.odd:
            counts[Decimal(text).normalize()] += profile.counts[text]
    for limit in (Decimal(str(number)).normalize() for number in profile.numbers):
        counts[limit] = max(counts[limit], 1)
    if not counts:
        return None
    draft = draft_numbers(
        profile.name,
        missing,
        counts,
        bins,
        n_rows=profile.n_present,
        is_complete=profile.is_complete,
    )
    odd = "".join(f"; the text {text!r} in {n} rows" for text, n in profile.odd.items())
    special = (*draft.column.special, *profile.odd)
    return replace(draft.column, special=special), draft.note + odd


def _column(profile: ColumnProfile, typed: tuple[Column, str] | None) -> tuple[Column, str]:
    """Choose the column's type, `typed` if it is one; return it with the note for its reviewer."""
    missing = profile.n_missing > 0
    seen = "; so is that there are missing values" if missing else ""
    pair = _boolean_pair(profile)
    if pair:
        note = "boolean; its spellings are taken from the data"
        return BooleanColumn(profile.name, missing, *pair), note + seen
    if typed is not None:
        column, note = typed
        return _with_missing_texts(column, profile, NO_VALUES, note + seen)
    absent = _PLACEHOLDERS if len(profile.counts) > 1 else frozenset[str]()
    texts = [text for text in profile.counts if text not in absent]
    distinct = {loose_text(text): text for text in sorted(texts, reverse=True)}
    column = CategoricalColumn(profile.name, missing, tuple(sorted(distinct.values())))
    return _with_missing_texts(column, profile, absent, "values are taken from the data" + seen)


def _with_missing_texts(
    column: Column, profile: ColumnProfile, absent: Collection[str], note: str
) -> tuple[Column, str]:
    """Propose texts that seem to mean missing as such, with how often they occur."""
    found = {text: n for text, n in profile.counts.items() if text in absent}
    if not found:
        return column, note
    counted = ", ".join(f"{text!r} in {n} rows" for text, n in found.items())
    changed = replace(column, missing=True, missing_values=tuple(found))
    return changed, f"{note}; taken to mean missing: {counted}"


def _boolean_pair(profile: ColumnProfile) -> tuple[tuple[str], tuple[str]] | None:
    if len(profile.counts) > 4:
        return None
    spelled = {loose_text(text).casefold(): text for text in sorted(profile.counts)}
    for true, false in zip(TRUE_TEXTS, FALSE_TEXTS, strict=True):
        if set(spelled) == {true, false}:
            return (spelled[true],), (spelled[false],)
    return None
