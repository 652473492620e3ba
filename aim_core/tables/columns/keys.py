"""Checked reading of the keys that describe one column in a schema file."""

from collections.abc import Callable, Mapping
from datetime import date, time

from aim_core.errors import SchemaError
from aim_core.tables.parsing import parse_day

_ABSENT = object()


class ColumnKeys:
    """The keys of one column, taken out one by one; what is left over is refused."""

    def __init__(self, column: str, keys: Mapping[str, object]) -> None:
        self.column = column
        self._keys = dict(keys)

    def refuse(self, text: str) -> SchemaError:
        """Make the error that names this column."""
        return SchemaError(f"column {self.column!r}: {text}")

    def text(self, key: str) -> str:
        """Take a text that must be there."""
        value = self._keys.pop(key, _ABSENT)
        if not isinstance(value, str):
            raise self.refuse(f"`{key}` must be given as a text")
        return value

    def optional_text(self, key: str) -> str | None:
        """Take a text, or None if the key is absent."""
        return self.text(key) if key in self._keys else None

    def flag(self, key: str) -> bool:
        """Take true or false; an absent key is false."""
        value = self._keys.pop(key, False)
        if not isinstance(value, bool):
            raise self.refuse(f"`{key}` must be true or false, not {value!r}")
        return value

    def integer(self, key: str) -> int | None:
        """Take a whole number, or None if the key is absent."""
        value = self._keys.pop(key, _ABSENT)
        return None if value is _ABSENT else self._whole(key, value)

    def number(self, key: str) -> float | None:
        """Take a number, or None if the key is absent."""
        value = self._keys.pop(key, _ABSENT)
        return None if value is _ABSENT else self._real(key, value)

    def day(self, key: str) -> int | None:
        """Take a date as its day number, or None if the key is absent."""
        value = self._keys.pop(key, _ABSENT)
        return None if value is _ABSENT else self._day(key, value)

    def read(self, key: str, parse: Callable[[str], int | None], example: str) -> int | None:
        """Take a text that `parse` reads, or None if the key is absent."""
        value = self._keys.pop(key, _ABSENT)
        return None if value is _ABSENT else self._read(key, value, parse, example)

    def read_all(
        self, key: str, parse: Callable[[str], int | None], example: str
    ) -> tuple[int, ...] | None:
        """Take a list of texts that `parse` reads, or None if the key is absent."""
        values = self._list(key)
        if values is None:
            return None
        return tuple(self._read(key, value, parse, example) for value in values)

    def integers(self, key: str) -> tuple[int, ...] | None:
        """Take a list of whole numbers, or None if the key is absent."""
        values = self._list(key)
        return None if values is None else tuple(self._whole(key, value) for value in values)

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """Take a list of numbers, or None if the key is absent."""
        values = self._list(key)
        return None if values is None else tuple(self._real(key, value) for value in values)

    def days(self, key: str) -> tuple[int, ...] | None:
        """Take a list of dates as day numbers, or None if the key is absent."""
        values = self._list(key)
        return None if values is None else tuple(self._day(key, value) for value in values)

    def labels(self, key: str) -> tuple[str, ...] | None:
        """Take a list of texts, numbers or booleans as texts, or None if the key is absent."""
        values = self._list(key)
        if values is None:
            return None
        if not all(isinstance(value, str | int | float) for value in values):
            raise self.refuse(f"`{key}` must list texts or numbers")
        return tuple(str(value).strip() for value in values)

    def lists(self, key: str) -> dict[str, tuple[str, ...]] | None:
        """Take a table of lists of texts, or None if the key is absent."""
        table = self._keys.pop(key, _ABSENT)
        if table is _ABSENT:
            return None
        if not isinstance(table, Mapping) or not all(isinstance(name, str) for name in table):
            raise self.refuse(f"`{key}` must be a table of lists, not {table!r}")
        inner = ColumnKeys(self.column, table)
        return {name.strip(): inner.labels(name) or () for name in table}

    def finish(self, kind: str) -> None:
        """Refuse keys that nobody took."""
        if self._keys:
            names = ", ".join(f"`{key}`" for key in self._keys)
            raise self.refuse(f"a column of type {kind} knows no {names}; remove it or correct it")

    def _list(self, key: str) -> list[object] | None:
        values = self._keys.pop(key, _ABSENT)
        if values is _ABSENT:
            return None
        if not isinstance(values, list | tuple):
            raise self.refuse(f"`{key}` must be a list, not {values!r}")
        return list(values)

    def _whole(self, key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**62:
            raise self.refuse(f"`{key}` must be made of whole numbers below 2^62, not {value!r}")
        return value

    def _real(self, key: str, value: object) -> float:
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or not abs(float(str(value))) < 1e300:
            raise self.refuse(f"`{key}` must be made of finite numbers, not {value!r}")
        return float(str(value))

    def _read(
        self, key: str, value: object, parse: Callable[[str], int | None], example: str
    ) -> int:
        number = parse(str(value)) if isinstance(value, str | date | time) else None
        if number is None:
            raise self.refuse(f"`{key}` must be made of {example}, not {value!r}")
        return number

    def _day(self, key: str, value: object) -> int:
        if isinstance(value, date):
            return value.toordinal()
        day = parse_day(value) if isinstance(value, str) else None
        if day is None:
            raise self.refuse(f"`{key}` must be made of dates like 2024-01-31, not {value!r}")
        return day
