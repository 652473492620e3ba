"""Groups of a categorical column's values by a public map, such as the chapters of a code book."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aim_core.errors import SchemaError
from aim_core.tables.columns.base import loose_text

_RANGE = ".."


@dataclass(frozen=True)
class Groups:
    """Which group each value is in; SchemaError for a map that contradicts itself.

    A group lists values (`A00`), beginnings (`A0*`), and ranges (`A00..B99`: a value whose
    beginnings of the bounds' lengths lie between them). A value is in the group that lists it; else
    in that of its longest listed beginning; else in that of the first range that it lies in.
    """

    column: str
    lists: Mapping[str, Sequence[str]] = field(hash=False)
    _exact: dict[str, str] = field(init=False, repr=False, compare=False)
    _beginnings: dict[str, str] = field(init=False, repr=False, compare=False)
    _ranges: list[tuple[str, str, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        exact: dict[str, str] = {}
        beginnings: dict[str, str] = {}
        ranges: list[tuple[str, str, str]] = []
        for group, entries in self.lists.items():
            for entry in entries:
                low, is_range, high = entry.partition(_RANGE)
                if is_range:
                    self._check_range(entry, low, high)
                    ranges.append((low, high, group))
                    continue
                into = beginnings if entry.endswith("*") else exact
                key = entry.removesuffix("*") if into is beginnings else loose_text(entry)
                if into.setdefault(key, group) != group:
                    raise self._refuse(f"{entry!r} stands in two groups; remove one of them")
        for name, found in (("_exact", exact), ("_beginnings", beginnings), ("_ranges", ranges)):
            object.__setattr__(self, name, found)

    def find(self, text: str) -> str | None:
        """Return the group that a value is in, None if it is in none."""
        if found := self._exact.get(loose_text(text)):
            return found
        for length in range(len(text), -1, -1):
            if found := self._beginnings.get(text[:length]):
                return found
        return next(
            (
                group
                for low, high, group in self._ranges
                if low <= text[: len(low)] and text[: len(high)] <= high
            ),
            None,
        )

    def to_dict(self) -> dict[str, list[str]]:
        """Return the lists as a schema file has them."""
        return {group: list(entries) for group, entries in self.lists.items()}

    def _check_range(self, entry: str, low: str, high: str) -> None:
        if not low or len(low) != len(high) or low > high:
            raise self._refuse(
                f"the range {entry!r} must have two bounds of one length, the lower first, "
                "such as A00..B99"
            )

    def _refuse(self, text: str) -> SchemaError:
        return SchemaError(f"column {self.column!r}: `groups`: {text}")
