"""How numbers are spelled in a text table: 1.234,56 or 1,234.56, and what they are in plain texts.

Only cells that are numbers as a whole are touched, and only in columns of numbers, so that dates,
codes and lists stay as they are.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aim_core.errors import TableError
from aim_core.tables.files.formats import TableFormat, option
from aim_core.tables.parsing import MISSING_TEXTS

_MARKS = ",.'’ \u00a0\u202f"
_NUMERIC = re.compile(rf"[+-]?[0-9{_MARKS}]*[0-9][0-9{_MARKS}]*(?:[eE][+-]?[0-9]{{1,3}})?")
_FOREIGN_MARKS = frozenset(_MARKS) - {"."}
_MANY_POINTS = re.compile(r"[0-9]\.[0-9]{3}\.[0-9]{3}(?![0-9.])")

_LONG = re.compile(r"[+-]?[0-9]{4}")
"""A number that lacks marks between its groups, if others have them."""

_MOST_ODD = 3
"""Texts that are no numbers, such as unknown, that a column of numbers may have in any case."""


@dataclass(frozen=True)
class Spelling:
    """A decimal mark, and a mark between groups of three digits or the empty text.

    A number may also lack the marks between its groups.
    """

    decimal: str
    thousands: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        ones = "0|[1-9][0-9]*"
        if self.thousands:
            ones += f"|[1-9][0-9]{{0,2}}(?:{re.escape(self.thousands)}[0-9]{{3}})+"
        mark = re.escape(self.decimal)
        return re.compile(
            rf"[+-]?(?:(?:{ones})(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]{{1,3}})?"
        )

    def fits(self, text: str) -> bool:
        """Tell whether a text is a number in this spelling."""
        return self._pattern.fullmatch(text) is not None

    def plain(self, text: str) -> str:
        """Return a number's plain text, such as 1234.56, and any other text as it is."""
        stripped = text.strip()
        if not self.fits(stripped):
            return text
        without = stripped.replace(self.thousands, "") if self.thousands else stripped
        return without.replace(self.decimal, ".")


_PLAIN = Spelling(".", "")


@dataclass(frozen=True)
class _Numbers:
    """A column's numbers as texts, and the spellings in which all of them are numbers."""

    texts: Sequence[str]
    spellings: Sequence[Spelling]

    @property
    def decimal(self) -> str | None:
        """Return the only decimal mark that it can have, None if it can have either or none."""
        decimals = {spelling.decimal for spelling in self.spellings}
        return decimals.pop() if len(decimals) == 1 else None

    def with_decimal(self, decimal: str) -> Spelling | None:
        """Return the spelling with that decimal mark, None if there is none or several."""
        found = [each for each in self.spellings if each.decimal == decimal]
        return found[0] if len(found) == 1 else None

    def shows(self, spelling: Spelling) -> bool:
        """Tell whether a number here has two groups, or groups and decimals: no other reading."""
        mark = spelling.thousands
        return mark != "" and any(
            text.count(mark) > 1 or (mark in text and spelling.decimal in text)
            for text in self.texts
        )

    def is_grouped(self, spelling: Spelling) -> bool:
        """Tell whether all numbers have their marks between groups; one blank may mean no group."""
        return spelling.thousands != " " and not any(map(_LONG.match, self.texts))


def found_spellings(
    path: Path,
    separator: str,
    known: TableFormat,
    columns: Mapping[str, Collection[str]],
    skip: Collection[str],
) -> dict[str, Spelling]:
    """Find how each column spells its numbers, from its different texts in the first rows.

    Columns whose numbers are plain, or might mean two things, are left out: they stay as written.
    TableError for a column in which points between groups of three may be decimals, since that
    would read as a number; but not if it is in `skip`.
    """
    if known.decimal is None and known.thousands is None and not _has_marks(columns):
        return {}
    numbers = {name: _numbers(texts, known) for name, texts in columns.items()}
    chosen = _chosen(separator, known, numbers)
    sure = {each.thousands for name, each in chosen.items() if numbers[name].shows(each)}
    sure |= {known.thousands} if known.thousands else set()
    spellings = {}
    for name, spelling in chosen.items():
        if not spelling.thousands and len(sure) == 1 and spelling.decimal not in sure:
            # numbers below 1,000 in the first rows: larger ones will have the others' mark
            spellings[name] = Spelling(spelling.decimal, next(iter(sure)))
        elif spelling.thousands == "." and "." not in sure and name not in skip:
            raise _either_mark(path, name, numbers[name])
        elif spelling.thousands in {"", *sure} or numbers[name].is_grouped(spelling):
            spellings[name] = spelling
    return {name: spelling for name, spelling in spellings.items() if spelling != _PLAIN}


def _chosen(
    separator: str, known: TableFormat, numbers: Mapping[str, _Numbers]
) -> dict[str, Spelling]:
    """Choose the spelling of each column by the decimal mark of the table.

    It is the one that some column must have, or a point where cells are separated by commas. If
    columns contradict each other each has its own, and commas between commas are no decimals.
    """
    evidence = {column.decimal for column in numbers.values()} - {None}
    decimal = known.decimal
    if decimal is None and len(evidence) == 1:
        decimal = next(iter(evidence))
    elif decimal is None and not evidence and separator == ",":
        decimal = "."
    chosen = {}
    for name, column in numbers.items():
        own = column.decimal if separator != "," or column.decimal == "." else None
        mark = decimal or own
        spelling = column.with_decimal(mark) if mark else None
        if spelling:
            chosen[name] = spelling
    return chosen


def _has_marks(columns: Mapping[str, Collection[str]]) -> bool:
    """Tell whether any number has a mark besides one point."""
    for texts in columns.values():
        joined = "\n".join(texts)
        if _MANY_POINTS.search(joined):
            return True
        if not _FOREIGN_MARKS.isdisjoint(joined) and any(
            not _FOREIGN_MARKS.isdisjoint(text.strip()) and _NUMERIC.fullmatch(text.strip())
            for text in texts
        ):
            return True
    return False


def _numbers(texts: Collection[str], known: TableFormat) -> _Numbers:
    """Find in which spellings a column has nothing but numbers, and a few odd texts."""
    present = [text for text in map(str.strip, texts) if text not in MISSING_TEXTS]
    numeric = [text for text in present if _NUMERIC.fullmatch(text)]
    n_odd = len(present) - len(numeric)
    if n_odd > max(_MOST_ODD, len(present) // 10) or n_odd > len(numeric):
        return _Numbers(numeric, [])
    used = set(_MARKS).intersection("".join(numeric))
    decimals = [known.decimal] if known.decimal else [m for m in ".," if m != known.thousands]
    groupings = used if known.thousands is None else used & {known.thousands}
    spellings = [
        Spelling(decimal, thousands)
        for decimal in decimals
        for thousands in ["", *sorted(groupings - {decimal})]
    ]
    fitting = [each for each in spellings if all(map(each.fits, numeric))]
    return _Numbers(numeric, fitting)


def _either_mark(path: Path, name: str, column: _Numbers) -> TableError:
    example = next(text for text in column.texts if "." in text)
    return TableError(
        f"column {name!r} of {path} has numbers such as {example!r}, in a table with decimal "
        f"commas; say what the point means: {option('thousands', 'point')}, or --thousands none"
    )
